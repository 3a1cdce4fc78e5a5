"""The tiles of products: all rows, once, whatever number of registers there is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_rnn.compiler import llvm_jit, llvm_products
from tinygrad_rnn.compiler.long_products import Sum, rows_times_of, sum_kernels

pytestmark = pytest.mark.skipif(not llvm_jit.available(), reason="needs llvmlite")


@given(st.integers(0, 300), st.integers(1, 12))
def test_rows_are_shared_out_evenly(size: int, most: int) -> None:
    pieces = llvm_products.evenly(size, most)
    starts = [first + i * height for first, count, height in pieces for i in range(count)]
    heights = [height for _, count, height in pieces for _ in range(count)]
    assert starts == [sum(heights[:i]) for i in range(len(heights))]
    assert sum(heights) == size
    assert len(heights) == -(-size // most)
    assert max(heights, default=0) - min(heights, default=0) <= 1


@pytest.fixture
def forget() -> Iterator[Callable[[], None]]:
    """Has code for other registers forgotten, at the end in any case."""

    def both() -> None:
        rows_times_of.cache_clear()
        sum_kernels.cache_clear()

    yield both
    both()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_bits_do_not_depend_on_the_registers(
    dtype: str, forget: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    rng, here = np.random.default_rng(0), llvm_jit.machine()
    cases = [
        (rows, height, width) for rows in (5, 70) for height in (7, 37, 64) for width in (3, 64)
    ]
    arrays = [
        [rng.standard_normal(shape).astype(dtype) for shape in ((r, m), (m, n), (r, n))]
        for r, m, n in cases
    ]
    found: list[list[Any]] = []
    for registers in (16, 32):
        monkeypatch.setattr(
            llvm_products, "machine", lambda n=registers: here._replace(registers=n)
        )
        forget()
        assert llvm_products.tallest() == {16: 6, 32: 8}[registers]
        results = []
        for x, matrix, y in arrays:
            total = Sum()
            total.add(x, [y], 1)
            results += [rows_times_of(x.dtype, *matrix.shape)(x, matrix), *total.results()]
        found.append(results)
    for few, many in zip(*found, strict=True):
        assert np.array_equal(few, many)
    for (x, matrix, y), i in zip(arrays, range(0, 2 * len(cases), 2), strict=True):
        exact = [a.astype("float64") for a in (x, matrix, y)]
        np.testing.assert_allclose(found[0][i], exact[0] @ exact[1], rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(found[0][i + 1], exact[0].T @ exact[2], rtol=1e-4, atol=1e-4)
