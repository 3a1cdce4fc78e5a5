"""Checkpoints inside of a compiled scan: less memory, and not a bit of difference."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scan_cells import CELLS, B, H, difference, measured

import tinygrad_rnn as tg
from tinygrad_rnn.compiler import llvm_jit, native_engine, workers
from tinygrad_rnn.errors import InPlaceError

EXACT = ["native", "llvm"] if llvm_jit.available() else []
EVERY = ["numpy", *EXACT]
OPTIONS: list[Any] = [{}, {"reverse": True}, {"truncate": 2}, {"truncate": 3, "reverse": True}]


@pytest.mark.parametrize("engine", EXACT)
@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("name", sorted(CELLS))
def test_checkpointing_changes_no_bit(name: str, options: Any, engine: str) -> None:
    plain = measured(name, engine, steps=9, **options)
    for every in (1, 2, 4, 8, 20):
        found = measured(name, engine, steps=9, checkpoint_every=every, **options)
        assert all(np.array_equal(a, b) for a, b in zip(found, plain, strict=True))


@pytest.mark.parametrize("engine", EXACT)
@pytest.mark.parametrize("dtype", [tg.float32, tg.float64])
@pytest.mark.parametrize(("batch", "width"), [(1, 33), (32, 64), (5, 128), (70, 7)])
def test_checkpointing_changes_no_bit_of_long_sums(
    batch: int, width: int, dtype: Any, engine: str
) -> None:
    """Sums over more rows than are added up in registers, which spans cut anywhere."""
    tg.manual_seed(0)
    lstm = tg.nn.LSTMCell(3, width).to(dtype)
    xs = tg.randn(40, batch, 3, dtype=dtype, requires_grad=True)
    start = (tg.zeros(batch, width, dtype=dtype),) * 2
    results = []
    for every in (None, 1, 7, 39):
        final, ys = tg.scan(lstm, start, xs, checkpoint_every=every, engine=engine)
        found = tg.gradients((ys * ys).sum() + final[1].sum(), [xs, *lstm.parameters()])
        results.append([t.detach().numpy() for t in (*final, ys, *found)])
    for found in results[1:]:
        assert all(np.array_equal(a, b) for a, b in zip(found, results[0], strict=True))


@pytest.mark.skipif(not EXACT, reason="needs llvmlite")
def test_a_span_runs_on_as_many_threads_as_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sums over the batch, as the gradient of a bias is, are made for each thread, then added."""
    monkeypatch.setattr(native_engine, "EACH", 170_000)  # all steps have 3 times that, 7 less
    monkeypatch.setattr(workers, "threads", lambda: 3)
    counts: set[int] = set()
    original = native_engine.at_once
    monkeypatch.setattr(
        native_engine, "at_once", lambda calls: counts.add(len(calls)) or original(calls)
    )
    lstm = tg.nn.LSTMCell(3, 16)
    xs, start = tg.randn(40, 33, 3), (tg.zeros(33, 16),) * 2
    results = []
    for every in (None, 1, 7):
        ys = tg.scan(lstm, start, xs, checkpoint_every=every, engine="native")[1]
        found = tg.gradients((ys * ys).sum(), list(lstm.parameters()))
        results.append([t.detach().numpy() for t in (ys, *found)])
    assert counts == {3}
    for found in results[1:]:
        assert all(np.array_equal(a, b) for a, b in zip(found, results[0], strict=True))


@pytest.mark.parametrize("engine", EVERY)
@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("name", sorted(CELLS))
def test_checkpointing_agrees_with_the_loop(name: str, options: Any, engine: str) -> None:
    expected = measured(name, "loop", steps=9, second=True, **options)
    for every in (1, 4):
        found = measured(name, engine, steps=9, second=True, checkpoint_every=every, **options)
        assert difference(found, expected) < 1e-12


@pytest.mark.parametrize("engine", EVERY)
def test_checkpointing_draws_as_without(engine: str) -> None:
    """Draws of several kinds; the generator goes on as if backward had drawn nothing."""
    results = []
    for every in (None, 1, 4):
        tg.manual_seed(0)
        w = tg.randn(H, H, requires_grad=True)

        def step(h: Any, x: Any, w: Any = w) -> Any:
            h = (h @ w + x * (tg.rand(B, H) < 0.7) + 0.1 * tg.randn(B, H)).tanh()
            return h, h

        xs = tg.randn(9, B, H)
        ys = tg.scan(step, tg.zeros(B, H), xs, checkpoint_every=every, engine=engine)[1]
        (gradient,) = tg.gradients((ys * ys).sum(), [w])
        results.append([t.detach().numpy() for t in (ys, gradient, tg.rand(3))])
    for found in results[1:]:
        assert np.array_equal(found[0], results[0][0])
        assert np.array_equal(found[2], results[0][2])
        assert difference(found, results[0]) < 1e-5


@pytest.mark.parametrize("engine", EVERY)
def test_inputs_changed_before_a_checkpointed_backward(engine: str) -> None:
    w = tg.randn(H, H, requires_grad=True)
    xs = tg.randn(9, B, H)
    step = lambda h, x: ((h @ w + x).tanh(),) * 2  # noqa: E731
    ys = tg.scan(step, tg.zeros(B, H), xs, checkpoint_every=4, engine=engine)[1]
    xs.add_(1.0)
    with pytest.raises(InPlaceError):
        ys.sum().backward()


@pytest.mark.parametrize("engine", EVERY)
@pytest.mark.parametrize("name", ["lstm_joined", "dropped", "lstm_layer_norm"])
def test_checkpointing_is_the_same_each_time(name: str, engine: str) -> None:
    plain = measured(name, engine, steps=9)
    for every in (1, 4, 20):
        found, again = (measured(name, engine, steps=9, checkpoint_every=every) for _ in "12")
        assert all(np.array_equal(a, b) for a, b in zip(found, again, strict=True))
        assert difference(found, plain) < 1e-13
