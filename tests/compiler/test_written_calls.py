"""The call of a loop on the numpy engine, written as a function: the numbers of the general way."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn.compiler import numpy_block, numpy_engine
from tinygrad_rnn.compiler.pool import ALIGNMENT


def run(step: Any, init: Any, length: int, reverse: bool = False) -> list[Any]:
    tg.manual_seed(2)
    xs = tg.randn(length, 3, 4, requires_grad=True)
    final, ys = tg.scan(step, init, xs, engine="numpy", reverse=reverse)
    ((final * final).sum() + (ys * ys).sum()).backward()
    return [final.detach().numpy(), ys.detach().numpy(), xs.grad.numpy()]


def cell(h: Any, x: Any) -> Any:
    h = (h * 0.5 + x).tanh()
    return h, h * 2


def number(c: Any, x: Any) -> Any:
    c = (c + x.sum()).tanh()
    return c, c


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("length", [1, 4, 9])
@pytest.mark.parametrize("largest", [numpy_block.LARGEST, 0])
@pytest.mark.parametrize(("step", "shape"), [(cell, (3, 4)), (number, ())])
def test_the_same_bits(
    step: Any, shape: Any, largest: int, length: int, reverse: bool, monkeypatch: Any
) -> None:
    init = tg.full(shape, 0.3)
    monkeypatch.setattr(numpy_block.CallRunner, "__call__", numpy_engine.NumpyRunner.__call__)
    expected = run(step, init, length, reverse)
    monkeypatch.undo()
    monkeypatch.setattr(numpy_block, "LARGEST", largest)
    monkeypatch.setattr("tinygrad_rnn.compiler.structures._structures", {})
    monkeypatch.setattr("tinygrad_rnn.compiler.structures._known", {})
    for a, b in zip(run(step, init, length, reverse), expected, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("length", [4, 40_000])
def test_two_calls_that_are_both_alive_do_not_share_memory(length: int) -> None:
    xs = tg.randn(length, 3, 4)
    first = tg.scan(cell, tg.zeros(3, 4), xs, engine="numpy")[1]
    before = first.numpy().copy()
    second = tg.scan(cell, tg.zeros(3, 4), xs + 1, engine="numpy")[1]
    np.testing.assert_array_equal(first.numpy(), before)
    assert not np.array_equal(first.numpy(), second.numpy())


def off_by(array: Any, shift: int) -> Any:
    """The same numbers at an address so many bytes behind the beginning of a cache line."""
    memory = np.empty(array.nbytes + 2 * ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % ALIGNMENT + shift
    found = np.ndarray(array.shape, array.dtype, memory, start)
    found[...] = array
    return found


def test_a_matrix_is_read_where_vectors_begin(monkeypatch: Any) -> None:
    given: list[Any] = []
    as_it_was = numpy_engine.NumpyRunner.given

    def seen(self: Any, number: int, array: Any) -> Any:
        found = as_it_was(self, number, array)
        given.append((array, found))
        return found

    monkeypatch.setattr(numpy_engine.NumpyRunner, "given", seen)
    matrix = np.random.default_rng(0).normal(size=(4, 4)) / 4
    xs = tg.randn(5, 3, 4, dtype=tg.float64)
    found = []
    for shift in (0, 8, 16):
        w = tg.Tensor(off_by(matrix, shift))

        def step(h: Any, x: Any, w: Any = w) -> Any:
            h = (h @ w + x).tanh()
            return h, h

        found.append(tg.scan(step, tg.zeros(3, 4, dtype=tg.float64), xs, engine="numpy")[1])
        assert (given[-1][0] is given[-1][1]) == (shift == 0)
        assert given[-1][1].ctypes.data % ALIGNMENT == 0
    np.testing.assert_array_equal(found[0].numpy(), found[1].numpy())
    np.testing.assert_array_equal(found[0].numpy(), found[2].numpy())


@pytest.mark.parametrize("reverse", [False, True])
def test_numbers_without_an_axis_stay_so(reverse: bool) -> None:
    def run(engine: str) -> list[Any]:
        a, c = (tg.tensor(v, dtype=tg.float64, requires_grad=True) for v in (0.3, 0.1))
        xs = tg.tensor([0.1, 0.5, -0.3, 0.2, 0.4], dtype=tg.float64, requires_grad=True)

        def step(h: Any, x: Any) -> Any:
            h = (h * a + x).tanh()
            return h, h * a

        last, ys = tg.scan(step, c, xs, engine=engine, reverse=reverse)
        found = tg.gradients(last + ys.sum(), [a, c, xs])
        return [t.detach().numpy() for t in (last, ys, *found)]

    for found, expected in zip(run("numpy"), run("loop"), strict=True):
        assert found.shape == expected.shape
        np.testing.assert_allclose(found, expected, rtol=1e-13)
