"""Products over all rows of a sequence: right, and the same bits however the rows come."""

from __future__ import annotations

import itertools
from functools import lru_cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_rnn.compiler import llvm_jit, long_products, long_sums, workers
from tinygrad_rnn.compiler.long_products import Sum, rows_times_of

pytestmark = pytest.mark.skipif(not llvm_jit.available(), reason="needs llvmlite")

SIZES = st.sampled_from([1, 2, 5, 8, 31, 32, 33, 70, 128])
DTYPES = st.sampled_from(["float32", "float64"])


def numbers(rng: Any, dtype: str, *shape: int) -> Any:
    return rng.standard_normal(shape).astype(dtype)


def rows_times(x: Any, matrix: Any) -> Any:
    """The product of all rows."""
    return rows_times_of(x.dtype, *matrix.shape)(x, matrix)


def tolerance(dtype: str) -> float:
    return 1e-4 if dtype == "float32" else 1e-12


@given(st.integers(1, 300), SIZES, SIZES, DTYPES, st.integers(0, 2**32 - 1))
def test_rows_times_a_matrix(rows: int, inner: int, columns: int, dtype: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, matrix = numbers(rng, dtype, rows, inner), numbers(rng, dtype, inner, columns)
    found = rows_times(x, matrix)
    np.testing.assert_allclose(found, x @ matrix, atol=tolerance(dtype))
    low, high = sorted(rng.integers(0, rows + 1, 2))
    if low < high:  # no row knows of the others
        assert np.array_equal(rows_times(x[low:high], matrix), found[low:high])
    assert np.array_equal(rows_times(np.asfortranarray(x), np.asfortranarray(matrix)), found)


@given(st.integers(1, 700), SIZES, SIZES, DTYPES, st.sampled_from([1, -1]), st.integers(0, 2**32))
def test_sums_in_parts(
    rows: int, height: int, width: int, dtype: str, turn: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    a, b = numbers(rng, dtype, rows, height), numbers(rng, dtype, rows, width)
    cuts = sorted({0, rows, *rng.integers(0, rows + 1, 3).tolist()})
    parts = [slice(*ends) for ends in itertools.pairwise(cuts)][::turn]
    for left in (a, None):
        whole, cut = Sum(), Sum()
        whole.add(left, [b], turn)
        for part in parts:
            cut.add(None if left is None else left[part], [b[part]], turn)
        expected = b.sum(0)[None] if left is None else a.T @ b
        np.testing.assert_allclose(whole.results()[0], expected, atol=10 * tolerance(dtype))
        assert np.array_equal(whole.results()[0], cut.results()[0])


@pytest.mark.parametrize("turn", [1, -1])
def test_one_row_of_any_stride(turn: int) -> None:
    """NumPy calls one row contiguous whatever its stride is."""
    rows = np.arange(20.0).reshape(2, 10)
    for row in (rows[::2], np.broadcast_to(rows[1], (1, 10))):
        assert row.flags.c_contiguous
        plain, product = Sum(), Sum()
        plain.add(None, [row], turn)
        product.add(row, [row], turn)
        assert np.array_equal(plain.results()[0], row)
        assert np.array_equal(product.results()[0], np.outer(row, row))
        assert np.array_equal(rows_times(row, np.eye(10)), row)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("height", "width"), [(1, 64), (520, 64), (1100, 64), (600, 450), (1100, 999)]
)
def test_threads_change_no_bit(
    height: int, width: int, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    a, b = numbers(rng, dtype, 300, height), numbers(rng, dtype, 300, width)
    w = numbers(rng, dtype, width, 96)
    monkeypatch.setattr(long_products, "EACH", 1)
    results = []
    for count in (1, 2, 3):
        monkeypatch.setattr(workers, "threads", lambda count=count: count)
        total = Sum()
        total.add(a, [b], -1)
        results.append((total.results()[0], rows_times(b, w)))
    for found in results[1:]:
        assert all(np.array_equal(x, y) for x, y in zip(found, results[0], strict=True))


@pytest.mark.parametrize(
    ("height", "widths", "near", "block"),
    [
        (129, (70,), 10**6, 64),
        (512, (256, 255), 10**6, 64),
        (512, (256, 256), 10**6, 128),
        (600, (410, 63), 10**6, 128),
        (1024, (512, 511), 10**6, 128),
        (1024, (512, 512), 10**6, 256),
        (1030, (1030,), 10**6, 256),
        (1030, (1030,), 2 * 10**6, 128),  # so many rows of b stay in the cache
    ],
)
def test_the_further_away_sums_are_the_more_rows_they_take(
    height: int, widths: tuple[int, ...], near: int, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = long_products.machine()._replace(near=near)
    monkeypatch.setattr(long_products, "machine", lambda: cache)
    sum_kernels = lru_cache(long_products.sum_kernels.__wrapped__)
    monkeypatch.setattr(long_products, "sum_kernels", sum_kernels)
    rng = np.random.default_rng(0)
    assert long_products.sum_kernels(np.dtype("float32"), height, widths, 1, True).block == block
    a, bs = numbers(rng, "float32", 600, height), [numbers(rng, "float32", 600, n) for n in widths]
    whole, cut = Sum(), Sum()
    whole.add(a, bs, 1)
    for start in range(0, 600, 90):
        cut.add(a[start : start + 90], [b[start : start + 90] for b in bs], 1)
    for b, found, again in zip(bs, whole.results(), cut.results(), strict=True):
        np.testing.assert_allclose(found, a.T @ b, atol=1e-3)
        assert np.array_equal(found, again)


def test_what_is_not_finite_stays() -> None:
    a = np.ones((70, 9), np.float32)
    b = np.ones((70, 33), np.float32)
    b[3, 1], b[69, 2], b[5, 32] = np.nan, np.inf, -np.inf
    total = Sum()
    total.add(a, [b], -1)
    expected = np.full(33, 70, np.float32)
    expected[1], expected[2], expected[32] = np.nan, np.inf, -np.inf
    assert np.array_equal(total.results()[0], np.tile(expected, (9, 1)), equal_nan=True)


@given(st.integers(1, 300), SIZES, st.lists(SIZES, min_size=2, max_size=3), DTYPES)
def test_several_sums_with_one_factor(
    rows: int, height: int, widths: list[int], dtype: str
) -> None:
    rng = np.random.default_rng(rows)
    a, bs = numbers(rng, dtype, rows, height), [numbers(rng, dtype, rows, w) for w in widths]
    for left in (a, None):
        together = Sum()
        together.add(left, bs, -1)
        for b, found in zip(bs, together.results(), strict=True):
            alone = Sum()
            alone.add(left, [b], -1)
            assert np.array_equal(found, alone.results()[0])


@pytest.mark.parametrize("turn", [1, -1])
@pytest.mark.parametrize("product", [True, False])
@pytest.mark.parametrize("cuts", [(300,), (70, 300), (10, 20, 300), (128, 256, 300), (0,), (5,)])
def test_memory_need_not_be_clean(
    cuts: tuple[int, ...], product: bool, turn: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dirty(shape: Any, dtype: Any = float, order: Any = "C") -> Any:
        return np.full(shape, np.nan, dtype, order)

    rng = np.random.default_rng(0)
    a, b = numbers(rng, "float32", cuts[-1], 40), numbers(rng, "float32", cuts[-1], 33)
    monkeypatch.setattr(np, "empty", dirty)
    monkeypatch.setattr(long_products.pool, "array", dirty)
    total = Sum()
    for part in [slice(*ends) for ends in itertools.pairwise((0, *cuts))][::turn]:
        total.add(a[part] if product else None, [b[part]], turn)
    expected = a.T @ b if product else b.sum(0)[None]
    np.testing.assert_allclose(total.results()[0], expected, atol=1e-3)
    height = 40 if product else None
    sums = long_sums.RowSum(np.dtype("float32"), 1, height, shapes=[(40, 33) if product else (33,)])
    arrays = [a[:, None], b[:, None]] if product else [b[:, None]]
    found = long_sums.written_sums([sums], turn)(*arrays)
    np.testing.assert_allclose(found[0], expected if product else expected[0], atol=1e-3)


@pytest.mark.parametrize("product", [True, False])
@pytest.mark.parametrize("rows", [5, 64, 70, 128, 200])
def test_a_sum_of_zeros_has_one_sign_however_it_is_cut(rows: int, product: bool) -> None:
    """−10⁻³⁰ · 10⁻³⁰ is −0 in float32."""
    value = -1e-30 if product else -0.0
    a, b = np.full((rows, 3), value, "float32"), np.full((rows, 16), abs(value), "float32")
    b = b if product else -b
    found = []
    for cuts in ([rows], [3, rows], [64, rows], [rows - 1, rows]):
        total = Sum()
        for first, last in itertools.pairwise(sorted({0, *(min(c, rows) for c in cuts)})):
            total.add(a[first:last] if product else None, [b[first:last]], 1)
        found.append(total.results()[0].tobytes())
    height = 3 if product else None
    sums = long_sums.RowSum(np.dtype("float32"), 1, height, shapes=[(3, 16) if product else (16,)])
    arrays = [a[:, None], b[:, None]] if product else [b[:, None]]
    found.append(long_sums.written_sums([sums], 1)(*arrays)[0].tobytes())
    assert set(found) == {bytes(len(found[0]))}
