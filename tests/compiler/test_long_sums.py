"""All sums over the rows of a pass as one function: the bits of sums that come in spans."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_rnn as tg
from tinygrad_rnn.compiler import llvm_jit, long_products, workers
from tinygrad_rnn.compiler.long_sums import InSpans, RowSum, written_sums

pytestmark = pytest.mark.skipif(not llvm_jit.available(), reason="needs llvmlite")

SIZES = st.sampled_from([1, 2, 5, 8, 33, 70])
ORDERS: list[Any] = [
    lambda x: x,
    lambda x: np.asfortranarray(x),
    lambda x: np.repeat(x, 2, 0)[::2],
    lambda x: np.ascontiguousarray(x[::-1])[::-1],
]


def several(rows: int, height: int, width: int, dtype: str) -> list[RowSum]:
    """A product of two, one of which the transpose is wanted, and plain sums."""
    kind = np.dtype(dtype)
    return [
        RowSum(kind, rows, height, shapes=[(height, width), (height, 3)]),
        RowSum(kind, 1, shapes=[(), (width, 2)]),
        RowSum(kind, rows, width, True, [(height, width)]),
        RowSum(kind, rows, shapes=[(width,), (1, height)]),
    ]


def drawn(rng: Any, sums: list[RowSum], length: int) -> list[Any]:
    return [
        rng.standard_normal((length, each.rows, n)).astype(each.dtype)
        for each in sums
        for n in each.columns
    ]


def in_spans(sums: list[RowSum], arrays: list[Any], turn: int, cut: int) -> list[Any]:
    """The results of sums to which the steps come in two spans."""
    rest, found = list(arrays), []
    for each in sums:
        here = [rest.pop(0) for _ in each.columns]
        total = InSpans(each)
        for part in [slice(None, cut), slice(cut, None)][::turn]:
            if len(here[0][part]):
                total.add(*(a[part] for a in here), turn)
        found += total.results()
    return found


@given(
    st.integers(1, 90), st.sampled_from([1, 3]), SIZES, SIZES,
    st.sampled_from(["float32", "float64"]), st.sampled_from([1, -1]), st.integers(0, 2**32 - 1),
)  # fmt: skip
def test_the_bits_of_spans_in_any_order_of_memory(
    length: int, rows: int, height: int, width: int, dtype: str, turn: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    sums = several(rows, height, width, dtype)
    arrays, call = drawn(rng, sums, length), written_sums(sums, turn)
    expected = in_spans(sums, arrays, turn, int(rng.integers(0, length + 1)))
    for change in ORDERS:
        found = call(*map(change, arrays))
        for one, other in zip(found, expected, strict=True):
            assert one.shape == other.shape
            assert np.array_equal(one, other)
    a, b = arrays[0].reshape(-1, height), arrays[1].reshape(-1, width)
    tolerance = 1e-3 if dtype == "float32" else 1e-12
    np.testing.assert_allclose(expected[0], a.T @ b, atol=tolerance)
    np.testing.assert_allclose(expected[2], arrays[3].sum((0, 1, 2)), atol=tolerance)


def test_another_number_of_steps_is_the_same_function() -> None:
    rng = np.random.default_rng(0)
    sums = several(3, 5, 8, "float64")
    call = written_sums(sums, -1)
    for length in (1, 50, 7):
        arrays = drawn(rng, sums, length)
        found, expected = call(*arrays), in_spans(sums, arrays, -1, length // 2)
        assert all(np.array_equal(x, y) for x, y in zip(found, expected, strict=True))


def test_each_result_is_memory_of_its_own() -> None:
    rng = np.random.default_rng(0)
    sums = several(3, 5, 8, "float32")
    call, arrays = written_sums(sums, 1), drawn(rng, sums, 4)
    first, second = call(*arrays), call(*arrays)
    assert all(found.base is None and found.flags.writeable for found in first)
    for found in first:
        found.fill(np.nan)
    assert all(np.isfinite(found).all() for found in second)


@pytest.mark.parametrize("height", [1, 64, 520])
def test_threads_change_no_bit(height: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    sums = several(3, height, 64, "float32")
    arrays, call = drawn(rng, sums, 100), written_sums(sums, -1)
    expected, counts = call(*arrays), []
    original = long_products.at_once
    monkeypatch.setattr(long_products, "EACH", 1)
    monkeypatch.setattr(
        long_products, "at_once", lambda calls: counts.append(len(calls)) or original(calls)
    )
    for count in (1, 2, 3):
        monkeypatch.setattr(workers, "threads", lambda count=count: count)
        found = call(*arrays)
        assert all(np.array_equal(x, y) for x, y in zip(found, expected, strict=True))
    assert max(counts) == (3 if height > 64 else 2)  # a thread has 32 columns of a at least


@pytest.mark.parametrize("reverse", [False, True])
def test_a_later_call_compiles_nothing(reverse: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever its number of steps is, and if its arrays are in another order."""
    lstm = tg.nn.LSTMCell(3, 5)
    start = (tg.zeros(2, 5),) * 2

    def run(xs: Any) -> None:
        tg.scan(lstm, start, xs, engine="native", reverse=reverse)[1].sum().backward()

    run(tg.randn(9, 2, 3))
    compiled: list[str] = []
    original = llvm_jit._compile
    monkeypatch.setattr(
        llvm_jit, "_compile", lambda text, how: compiled.append(text) or original(text, how)
    )
    for xs in (tg.randn(4, 2, 3), tg.randn(200, 2, 3), tg.randn(2, 70, 3).swapaxes(0, 1)):
        run(xs)
    assert not compiled
