"""Edit distance against its recursive definition."""

from __future__ import annotations

from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_rnn.decode import edit_distance, label_error_rate
from tinygrad_rnn.errors import DataError, ShapeError

WORDS = st.text("abc", max_size=7)


def by_recursion(a: str, b: str) -> int:
    @cache
    def distance(i: int, j: int) -> int:
        if not i or not j:
            return i + j
        swap = distance(i - 1, j - 1) + (a[i - 1] != b[j - 1])
        return min(distance(i - 1, j) + 1, distance(i, j - 1) + 1, swap)

    return distance(len(a), len(b))


@given(WORDS, WORDS)
def test_edit_distance(a: str, b: str) -> None:
    assert edit_distance(a, b) == by_recursion(a, b) == edit_distance(b, a)


@given(WORDS, WORDS, WORDS)
def test_it_is_a_distance(a: str, b: str, c: str) -> None:
    assert (edit_distance(a, b) == 0) == (a == b)
    assert edit_distance(a, c) <= edit_distance(a, b) + edit_distance(b, c)


def test_any_labels_are_compared() -> None:
    assert edit_distance(["the", "cat"], ["the", "black", "cat"]) == 1
    assert edit_distance((1, "1", None), (1, 1, None)) == 1


def test_label_error_rate_weighs_by_length() -> None:
    assert label_error_rate(["abcd", "x"], ["abcd", "y"]) == 1 / 5
    assert label_error_rate(["aaa"], ["b"]) == 3
    assert label_error_rate([""], ["ab"]) == 1


def test_error_rates_that_mean_nothing() -> None:
    with pytest.raises(ShapeError, match="got 1 and 2"):
        label_error_rate(["a"], ["a", "b"])
    with pytest.raises(DataError, match="at least one true label"):
        label_error_rate(["a"], [""])
