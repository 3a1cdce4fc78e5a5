"""Character n-gram models, smoothed as well as counting can be.

Legend: N symbols of text, V symbols in the vocabulary, M types (distinct n-grams) of one order.

An n-gram is stored as the pair (its first n-1 symbols, its last symbol), the former as the number
of an (n-1)-gram; so a text is numbered order by order, each step one search in a sorted array.
Position 0 of a padded text holds the symbol V, "before the text", and is its own predecessor: it
stands for as many such symbols as a context needs.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tinygrad_rnn.errors import DataError

from ..arguments import symbol_vector, whole_number

__all__ = ["NGram"]

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]

UNSEEN = -1
# For 1, 2, 3 and more occurrences where a text is too small to estimate them.
FALLBACK_DISCOUNTS = np.array([0.0, 0.5, 1.0, 1.5])


class NGram:
    """An n-gram model by interpolated modified Kneser-Ney smoothing.

    With h' the context h without its oldest symbol and D(c) one of three discounts,
    ``p(w|h) = (c(hw) - D(c(hw))) / c(h) + p(w|h') Σ_v D(c(hv)) / c(h)``, ``p(w|h) = p(w|h')``
    after an unseen h, ending in 1 / V. The counts c are occurrences at the highest order and
    below it the number of different symbols seen before the n-gram (Kneser and Ney, 1995;
    Chen and Goodman, 1999). ``fit`` trains it on numbered symbols, 0 to V - 1.

    >>> model = NGram.fit([0, 1, 2, 0, 1, 2, 0, 1, 2, 0], order=3, vocabulary_size=3)
    >>> model.probabilities([0, 1]).round(2)
    array([0.1 , 0.07, 0.82])
    >>> round(model.bits_per_char([0, 1, 2, 0, 1, 2]), 2)
    0.26
    """

    def __init__(self, vocabulary_size: int, orders: list[_Order]) -> None:
        self.vocabulary_size = vocabulary_size
        self._orders = orders

    @classmethod
    def fit(cls, symbols: ArrayLike, order: int, vocabulary_size: int) -> NGram:
        """Count and smooth the n-grams of a text up to ``order``.

        Raises:
            ArgumentError: ``order`` or ``vocabulary_size`` is not a whole number of at least 1.
            DataError: the text is empty.
            ShapeError, DTypeError, IndexRangeError: not a vector of integers from 0 to V - 1.
        """
        order = whole_number("NGram.fit", "order", order)
        vocabulary_size = whole_number("NGram.fit", "vocabulary_size", vocabulary_size)
        text = symbol_vector("NGram.fit", symbols, vocabulary_size)
        if len(text) == 0:
            raise DataError("NGram.fit", "a text of at least one symbol", "an empty one")
        types = _count_types(_pad(text, vocabulary_size), order, vocabulary_size + 1)
        return cls(vocabulary_size, [_Order.smooth(each) for each in types])

    @property
    def order(self) -> int:
        """The n of the longest n-grams."""
        return len(self._orders)

    def __repr__(self) -> str:
        return f"NGram(order={self.order}, vocabulary_size={self.vocabulary_size})"

    def bits(self, symbols: ArrayLike, context: ArrayLike = ()) -> FloatArray:
        """-log2 p of each symbol, shape ``(N,)``, given all before it and ``context`` before that.

        Without a context, or with one shorter than the order needs, the text begins there.
        """
        before = symbol_vector("NGram.bits", context, self.vocabulary_size)
        text = symbol_vector("NGram.bits", symbols, self.vocabulary_size)
        padded = _pad(np.concatenate([before, text]), self.vocabulary_size)
        histories = [_previous(each)[len(before) + 1 :] for each in self._number(padded)]
        return -np.log2(self._interpolate(histories, text))

    def bits_per_char(self, symbols: ArrayLike, context: ArrayLike = ()) -> float:
        """The mean of ``bits``: the cross-entropy on held-out text.

        Raises:
            DataError: there is no text to measure on.
        """
        bits = self.bits(symbols, context)
        if len(bits) == 0:
            raise DataError("NGram.bits_per_char", "a text of at least one symbol", "an empty one")
        return float(bits.mean())

    def probabilities(self, context: ArrayLike = ()) -> FloatArray:
        """The distribution of the next symbol, shape ``(V,)``, after ``context``."""
        before = symbol_vector("NGram.probabilities", context, self.vocabulary_size)
        recent = before[max(0, len(before) - self.order) :]  # all that can matter
        histories = [each[-1:] for each in self._number(_pad(recent, self.vocabulary_size))]
        return self._interpolate(histories, np.arange(self.vocabulary_size))

    def sample(
        self, length: int, generator: np.random.Generator, context: ArrayLike = ()
    ) -> IntArray:
        """Draw ``length`` symbols one after the other, shape ``(length,)``."""
        text = symbol_vector("NGram.sample", context, self.vocabulary_size).tolist()
        start = len(text)
        for _ in range(length):
            distribution = self.probabilities(text[-self.order :])
            text.append(int(generator.choice(self.vocabulary_size, p=distribution)))
        return np.array(text[start:], dtype=np.int64)

    def _number(self, padded: IntArray) -> list[IntArray]:
        """For n = 0 .. order - 1 the number of the n-gram that ends at each position."""
        numbers = [np.zeros_like(padded)]
        for each in self._orders[:-1]:
            numbers.append(each.find(_previous(numbers[-1]), padded))
        return numbers

    def _interpolate(self, histories: list[IntArray], symbols: IntArray) -> FloatArray:
        probability = np.full(len(symbols), 1 / self.vocabulary_size)
        for each, history in zip(self._orders, histories, strict=True):
            probability = each.refine(probability, history, symbols)
        return probability


@dataclass(frozen=True)
class _Types:
    """The M types of one order with their counts; type ``k`` is (history, symbol)[k]."""

    base: int
    keys: IntArray  # history * base + symbol, sorted
    counts: FloatArray
    histories: int  # how many there are to choose from

    @cached_property
    def history(self) -> IntArray:
        return self.keys // self.base

    def find(self, history: IntArray, symbols: IntArray) -> IntArray:
        """The numbers of the types (history, symbol), ``UNSEEN`` where there is none."""
        wanted = history * self.base + symbols
        place = np.minimum(np.searchsorted(self.keys, wanted), len(self.keys) - 1)
        return np.where((self.keys[place] == wanted) & (history != UNSEEN), place, UNSEEN)

    def sum_by_history(self, values: FloatArray) -> FloatArray:
        return _sums(self.history, values, self.histories)


@dataclass(frozen=True)
class _Order:
    """One order after smoothing: p(w|h) = own(hw) + passed(h) p(w|h')."""

    types: _Types
    own: FloatArray  # per type, and 0 for UNSEEN at the end
    passed: FloatArray  # per history, and 1 for UNSEEN at the end

    @classmethod
    def smooth(cls, types: _Types) -> _Order:
        """Take the discounts off the counts and pass what they free on to the lower order."""
        discount = _discounts(types.counts)[np.minimum(types.counts, 3).astype(np.int64)]
        total = types.sum_by_history(types.counts)
        known = total > 0  # not so for the n-gram that ends the text, if it occurs only there
        freed = types.sum_by_history(discount)
        passed = np.divide(freed, total, out=np.ones_like(total), where=known)
        kept = types.counts - discount
        own = np.divide(kept, total[types.history], out=np.zeros_like(kept), where=kept > 0)
        return cls(types, np.append(own, 0.0), np.append(passed, 1.0))

    def find(self, history: IntArray, symbols: IntArray) -> IntArray:
        return self.types.find(history, symbols)

    def refine(self, lower: FloatArray, history: IntArray, symbols: IntArray) -> FloatArray:
        return self.own[self.find(history, symbols)] + self.passed[history] * lower


class _Numbered(NamedTuple):
    """A text's n-grams of one order: the types' keys, where each is first, each place's type."""

    keys: IntArray
    first: IntArray
    number: IntArray


def _count_types(padded: IntArray, order: int, base: int) -> list[_Types]:
    """The types of orders 1 to ``order``; below the highest, counts are of what precedes them."""
    texts = [_Numbered(np.zeros(1, np.int64), np.zeros(1, np.int64), np.zeros_like(padded))]
    for _ in range(order):
        keys = _previous(texts[-1].number) * base + padded
        texts.append(_Numbered(*np.unique(keys, return_index=True, return_inverse=True)))
    # Position 0 is no symbol of the text: the n-grams that end there count nothing.
    number = texts[-1].number[1:]
    counts = _sums(number, np.ones(len(number)), len(texts[-1].keys))
    types = []
    for text, shorter in zip(reversed(texts[1:]), reversed(texts[:-1])):
        types.append(_Types(base, text.keys, counts, len(shorter.keys)))
        suffix = shorter.number[text.first]
        counts = _sums(suffix, np.sign(counts), len(shorter.keys))
    return types[::-1]


def _sums(groups: IntArray, values: FloatArray, count: int) -> FloatArray:
    """The sum of ``values`` in each of the groups 0 to ``count`` - 1."""
    return np.bincount(groups, values, minlength=count).astype(np.float64, copy=False)


def _discounts(counts: FloatArray) -> FloatArray:
    """D(0) = 0, D(1), D(2), D(3 or more), from how many types have the counts 1 to 4."""
    n = np.bincount(np.minimum(counts, 5).astype(np.int64), minlength=6)
    if (n[1:5] == 0).any():
        return FALLBACK_DISCOUNTS
    c = np.array([1, 2, 3])
    discounts = c - (c + 1) * n[1] / (n[1] + 2 * n[2]) * n[c + 1] / n[c]
    # A discount of 0 would leave nothing for unseen symbols, one below 0 would invent counts.
    return np.append(0.0, discounts) if (discounts > 0).all() else FALLBACK_DISCOUNTS


def _previous(numbers: IntArray) -> IntArray:
    return np.concatenate([numbers[:1], numbers[:-1]])


def _pad(text: IntArray, vocabulary_size: int) -> IntArray:
    return np.concatenate([[vocabulary_size], text])
