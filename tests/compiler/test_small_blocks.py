"""A small loop's memory is one block: the same numbers as with an array for each buffer."""

from __future__ import annotations

import numpy as np
import pytest

import tinygrad_rnn as tg

pytest.importorskip("llvmlite")

from tinygrad_rnn.compiler import native_engine
from tinygrad_rnn.compiler.pool import pool


def lstm_like(w, u):
    def step(carry, x):
        h, c = carry
        i, f, g, o = (x @ w + h @ u).chunk(4, -1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        h = o.sigmoid() * c.tanh()
        return (h, c), (h, c * 2)

    return step


def run(reverse, truncate, length):
    tg.manual_seed(3)
    w, u = (tg.randn(n, 64, requires_grad=True) for n in (5, 16))
    h, c = (tg.randn(3, 16, requires_grad=True) for _ in range(2))
    x = tg.randn(length, 3, 5, requires_grad=True)
    options = {"reverse": reverse, "truncate": truncate, "engine": "native"}
    final, ys = tg.scan(lstm_like(w, u), (h, c), x, **options)
    outputs = [*final, *ys]
    weights = [tg.randn(*y.shape) for y in outputs]
    sum((y * v).sum() for y, v in zip(outputs, weights, strict=True)).backward()
    return [*(y.detach().numpy() for y in outputs), *(t.grad.numpy() for t in (w, u, h, c, x))]


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("truncate", [None, 3])
@pytest.mark.parametrize("length", [4, 7])
def test_the_same_bits_in_one_block_and_apart(monkeypatch, reverse, truncate, length):
    together = run(reverse, truncate, length)
    monkeypatch.setattr(native_engine.NativeRunner, "small", lambda *_: None)
    apart = run(reverse, truncate, length)
    for a, b in zip(together, apart, strict=True):
        np.testing.assert_array_equal(a, b)


def test_two_calls_that_are_both_alive_do_not_share_memory():
    w, u = tg.randn(5, 64), tg.randn(16, 64)
    x, init = tg.randn(6, 3, 5), (tg.zeros(3, 16), tg.zeros(3, 16))
    first = tg.scan(lstm_like(w, u), init, x, engine="native")[1][0]
    before = first.numpy().copy()
    second = tg.scan(lstm_like(w, u), init, x + 1, engine="native")[1][0]
    np.testing.assert_array_equal(first.numpy(), before)
    assert not np.array_equal(first.numpy(), second.numpy())


def test_a_large_loop_keeps_its_arrays_apart(monkeypatch):
    found = []
    small = native_engine.NativeRunner.small

    def seen(*args):
        found.append(small(*args))
        return found[-1]

    monkeypatch.setattr(native_engine.NativeRunner, "small", seen)
    init = tg.zeros(64, 64)
    tg.scan(lambda h, x: ((h + x).tanh(),) * 2, init, tg.randn(5, 64, 64), engine="native")
    tg.scan(lambda h, x: ((h + x).tanh(),) * 2, init, tg.randn(80, 64, 64), engine="native")
    assert found[0] is not None
    assert found[1] is None


def test_memory_that_is_held_as_it_was_given_is_not_given_again():
    blocks = [pool.block(12_345) for _ in range(3)]
    again = pool.block(12_345)  # the third was put on its shelf, and taken from there, as others
    addresses = {address for _, _, address in [*blocks, again]}
    assert len(addresses) == 4
    del again, blocks
    assert pool.block(12_345)[2] in addresses


@pytest.mark.parametrize("width", [8, 64])
def test_packed_rows_of_a_small_loop_and_of_a_large_one_are_the_rows_alone(width):
    rng = np.random.default_rng(4)
    w, u = (tg.tensor(0.2 * rng.normal(size=(n, 4 * width))) for n in (5, width))
    lengths = np.arange(60, 28, -1)[np.random.default_rng(0).permutation(32)]
    x, init = tg.tensor(rng.normal(size=(60, 32, 5))), (tg.zeros(32, width, dtype=tg.float64),) * 2
    step = lstm_like(w.requires_grad_(), u.requires_grad_())
    found = []
    for engine in ("native", "loop"):
        (_, c), (ys, _) = tg.scan(step, init, x, lengths=lengths, engine=engine)
        loss = (ys * ys).sum() + c.sum()
        found.append([ys, c, *tg.gradients(loss, [w, u])])
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a.detach(), b.detach(), rtol=1e-12, atol=1e-12)
