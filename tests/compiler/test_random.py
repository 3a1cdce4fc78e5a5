"""Random numbers made by compiled code are those of NumPy's generator, bit for bit."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

pytest.importorskip("llvmlite")

import tinygrad_rnn as tg
from tinygrad_rnn.compiler import draws, llvm_random
from tinygrad_rnn.compiler.llvm_engine import address_of
from tinygrad_rnn.compiler.llvm_jit import machine


def forget() -> None:
    """What has been compiled for another width."""
    llvm_random._compiled.cache_clear()
    llvm_random._sum.cache_clear()


@pytest.fixture(params=[16, 32, 64])
def width(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Bytes of a vector, as other processors have them."""
    known = machine()
    monkeypatch.setattr(llvm_random, "machine", lambda: (*known[:2], request.param))
    forget()
    yield request.param
    forget()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("sizes", [(1,), (7, 64), (15, 1, 33), (512, 510)])
@pytest.mark.parametrize("before", [0, 1])
def test_numbers_and_state(width: int, dtype: str, sizes: tuple[int, ...], before: int) -> None:
    steps, expected = 3, np.random.Generator(np.random.PCG64(width + before))
    expected.random(before, dtype="float32")  # of an odd number one half waits
    found = np.random.Generator(np.random.PCG64())
    found.bit_generator.state = expected.bit_generator.state
    arrays = [np.full((steps, n), np.nan, dtype) for n in sizes]
    parts = [(address_of(a), a.strides[0], a.shape[1]) for a in arrays]
    llvm_random.fill(found, steps, parts, np.dtype(dtype))
    for t in range(steps):
        for array in arrays:
            np.testing.assert_array_equal(array[t], expected.random(len(array[t]), dtype=dtype))
    assert found.bit_generator.state == expected.bit_generator.state


@pytest.mark.parametrize("reverse", [False, True])
def test_a_scan_draws_what_the_loop_draws(reverse: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def spied(generator: Any, length: int, *rest: Any) -> None:
        asked.append(length)
        llvm_random.fill(generator, length, *rest)

    monkeypatch.setattr(draws, "fill", spied)
    steps, batch = 6, draws.MANY // 6 + 1

    def step(h: Any, x: Any) -> tuple[Any, Any]:
        h = tg.where(tg.rand(batch, 3) < 0.3, h, (h + x).tanh())
        return h, h * tg.rand(batch, 1)

    def run(engine: str) -> tuple[np.ndarray, float]:
        tg.manual_seed(11)
        xs = tg.ones(steps, batch, 3)
        ys = tg.scan(step, tg.zeros(batch, 3), xs, reverse=reverse, engine=engine)[1]
        return ys.numpy(), tg.rand(1).item()

    (expected, after), (found, then) = run("loop"), run("native")
    assert asked == [steps]
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert after == then
