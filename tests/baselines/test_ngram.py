"""The n-gram model against a dictionary model written from the paper's equations."""

from __future__ import annotations

import math
from collections import defaultdict
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import tinygrad_rnn.baselines.ngram as ngram_module
from tinygrad_rnn.baselines import NGram
from tinygrad_rnn.errors import (
    ArgumentError,
    DataError,
    DTypeError,
    IndexRangeError,
    ShapeError,
)

Gram = tuple[int, ...]
Array = NDArray[Any]
V = 4
TEXTS = st.lists(st.integers(0, V - 2), min_size=1, max_size=60)  # symbol V - 1 is never seen
CONTEXTS = st.lists(st.integers(0, V - 1), max_size=6)


class DictionaryModel:
    """Chen and Goodman's equations, word for word: slow, plain, and independent."""

    def __init__(self, text: list[int], order: int, vocabulary_size: int) -> None:
        self.order, self.size = order, vocabulary_size
        padded = [-1] * (order - 1) + text
        grams: list[dict[Gram, int]] = [defaultdict(int) for _ in range(order + 1)]
        before: list[dict[Gram, set[int]]] = [defaultdict(set) for _ in range(order + 1)]
        for end in range(order, len(padded) + 1):
            grams[order][tuple(padded[end - order : end])] += 1
            for n in range(1, order):
                before[n][tuple(padded[end - n : end])].add(padded[end - n - 1])
        for n in range(1, order):
            grams[n] = {gram: len(symbols) for gram, symbols in before[n].items()}
        self.counts = grams
        self.discounts = [self.estimate(each) for each in grams]

    @staticmethod
    def estimate(counts: dict[Gram, int]) -> list[float]:
        n1, n2, n3, n4 = (sum(c == k for c in counts.values()) for k in (1, 2, 3, 4))
        if min(n1, n2, n3, n4) > 0:
            y = n1 / (n1 + 2 * n2)
            d = [0, 1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3]
            if min(d[1:]) > 0:
                return d
        return [0, 0.5, 1, 1.5]

    def probability(self, symbol: int, context: list[int]) -> float:
        history = ([-1] * self.order + context)[len(context) + 1 :]
        return self.of(symbol, tuple(history))

    def of(self, symbol: int, history: Gram) -> float:
        n = len(history) + 1
        lower = self.of(symbol, history[1:]) if history else 1 / self.size
        counts, discounts = self.counts[n], self.discounts[n]
        following = [c for gram, c in counts.items() if gram[:-1] == history]
        if not following:
            return lower
        count = counts.get((*history, symbol), 0)
        kept = count - discounts[min(count, 3)]
        freed = sum(discounts[min(c, 3)] for c in following)
        return kept / sum(following) + freed / sum(following) * lower


@pytest.mark.parametrize("order", [1, 2, 3, 4, 5])
@settings(max_examples=settings.default.max_examples // 2)
@given(text=TEXTS, context=CONTEXTS)
def test_equals_the_dictionary_model_and_sums_to_one(
    order: int, text: list[int], context: list[int]
) -> None:
    model, reference = NGram.fit(text, order, V), DictionaryModel(text, order, V)
    probabilities = model.probabilities(context)
    expected = [reference.probability(symbol, context) for symbol in range(V)]
    np.testing.assert_allclose(probabilities, expected, rtol=1e-12)
    assert abs(probabilities.sum() - 1) < 1e-12
    assert probabilities.min() > 0


def markov_source(symbols: int) -> Array:
    """p(w | u, v) of a source with a memory of two: one likely symbol, the rest ever rarer."""
    rare = 0.65 ** np.arange(symbols)
    source = np.tile(0.4 * rare / rare.sum(), (symbols, symbols, 1))
    for u, v in np.ndindex(symbols, symbols):
        source[u, v, (5 * u + 3 * v + 1) % symbols] += 0.6
    return source


def markov_text(rng: np.random.Generator, length: int, symbols: int = 12) -> list[int]:
    source, text = markov_source(symbols).cumsum(axis=-1), [0, 1]
    for draw in rng.random(length):
        place = int(np.searchsorted(source[text[-2], text[-1]], draw))
        text.append(min(place, symbols - 1))
    return text


@pytest.mark.parametrize("order", [1, 2, 3, 5])
def test_estimated_discounts_equal_the_dictionary_model(
    order: int, rng: np.random.Generator
) -> None:
    text = markov_text(rng, 700)
    model, reference = NGram.fit(text, order, 13), DictionaryModel(text, order, 13)
    if order > 2:  # the equations, not the constants for tiny texts, are what is compared
        assert reference.discounts[order] != [0, 0.5, 1, 1.5]
    for context in ([], [3], text[:2], text[50:57], [12, 12, 12], [1, 12, 3, 4]):
        expected = [reference.probability(symbol, context) for symbol in range(13)]
        np.testing.assert_allclose(model.probabilities(context), expected, rtol=1e-12)


def test_a_bigram_by_hand() -> None:
    """Text a b a c: every discount is the fallback; 'a' was preceded by the start and by b."""
    model = NGram.fit([0, 1, 0, 2], order=2, vocabulary_size=3)
    # Unigrams: continuation counts a 2, b 1, c 1 of 4; freed (1 + .5 + .5) / 4.
    unigram = np.array([2 - 1, 1 - 0.5, 1 - 0.5]) / 4 + (2 / 4) / 3
    # After a: b 1, c 1 of 2; freed (.5 + .5) / 2.
    after_a = np.array([0, 0.5, 0.5]) / 2 + 0.5 * unigram
    np.testing.assert_allclose(model.probabilities([0]), after_a, rtol=1e-15)
    # c was never followed by anything: the unigram is all there is.
    np.testing.assert_allclose(model.probabilities([2]), unigram, rtol=1e-15)


@given(TEXTS, TEXTS, CONTEXTS, st.integers(1, 5))
def test_bits_are_those_of_the_growing_context(
    text: list[int], held_out: list[int], context: list[int], order: int
) -> None:
    model = NGram.fit(text, order, V)
    expected = [
        -math.log2(model.probabilities(context + held_out[:place])[symbol])
        for place, symbol in enumerate(held_out)
    ]
    np.testing.assert_allclose(model.bits(held_out, context), expected, rtol=1e-12, atol=1e-15)
    assert model.bits_per_char(held_out, context) == pytest.approx(np.mean(expected))


def test_the_source_is_the_limit_and_the_right_order_comes_near(rng: np.random.Generator) -> None:
    text = markov_text(rng, 20_000)
    train, held_out = text[:18_000], text[18_000:]
    source = markov_source(12)
    steps = zip(text[17_998:], text[17_999:], held_out, strict=False)
    limit = float(np.mean([-math.log2(source[u, v, w]) for u, v, w in steps]))
    one, two, three, five = (
        NGram.fit(train, order, 12).bits_per_char(held_out, train) for order in (1, 2, 3, 5)
    )
    assert one > two > three + 0.5
    assert limit < three < limit + 0.1
    assert three < five < three + 0.2  # longer memory than the source's costs, but little


def test_noise_of_mostly_unseen_n_grams_costs_little_more_than_its_entropy(
    rng: np.random.Generator,
) -> None:
    train, held_out = rng.integers(0, 8, (2, 5000))  # 32,768 possible 5-grams
    assert 3 < NGram.fit(train, 5, 8).bits_per_char(held_out) < 3.2


def test_large_vocabularies_do_not_overflow(rng: np.random.Generator) -> None:
    size = 1_000_000  # size ** 5 is far beyond 64 bits
    text = rng.integers(0, size, 300)
    model = NGram.fit(np.concatenate([text, text]), 5, size)
    assert model.bits_per_char(text[10:], text[:10]) < 2
    assert model.probabilities(text[:5]).argmax() == text[5]


def test_samples_follow_the_model() -> None:
    model = NGram.fit([0, 1, 2] * 200, order=3, vocabulary_size=3)
    sample = model.sample(300, np.random.default_rng(0), context=[0, 1])
    assert sample.shape == (300,)
    assert sample[0] == 2
    assert model.bits_per_char(sample, [0, 1]) < 0.3
    again = model.sample(300, np.random.default_rng(0), context=[0, 1])
    np.testing.assert_array_equal(sample, again)
    assert model.sample(0, np.random.default_rng(0)).shape == (0,)


def test_model_says_what_it_is() -> None:
    model = NGram.fit([0], order=4, vocabulary_size=2)
    assert repr(model) == "NGram(order=4, vocabulary_size=2)"
    assert model.order == 4


def test_discounts_that_would_be_negative_fall_back() -> None:
    many_threes = np.repeat([1.0, 2.0, 3.0, 4.0], [5, 5, 40, 5])
    estimated = np.repeat([1.0, 2.0, 3.0, 4.0, 9.0], [40, 20, 10, 6, 3])
    assert ngram_module._discounts(many_threes).tolist() == [0, 0.5, 1, 1.5]
    expected = [0, 0.5, 2 - 1.5 * 10 / 20, 3 - 2 * 6 / 10]
    np.testing.assert_allclose(ngram_module._discounts(estimated), expected, rtol=1e-15)


# -- what is refused -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        (([0], 0, 2), ArgumentError, "order, a whole number >= 1, expected, got 0"),
        (([0], 1.5, 2), ArgumentError, "order, a whole number >= 1, expected, got 1.5"),
        (([0], True, 2), ArgumentError, "order, a whole number >= 1, expected, got True"),
        (([0], 2, 0), ArgumentError, "vocabulary_size, a whole number >= 1, expected, got 0"),
        (([], 2, 2), DataError, "a text of at least one symbol expected, got an empty one"),
        (([[0]], 2, 2), ShapeError, r"a vector of symbols expected, got \(1, 1\)"),
        (([0.0], 2, 2), DTypeError, "integer symbols expected, got float64"),
        (("text", 2, 2), ShapeError, r"a vector of symbols expected, got \(\)"),
        (([0, 2], 2, 2), IndexRangeError, "0 <= symbol < 2 expected, got 2 at position 1"),
        (([-1], 2, 2), IndexRangeError, "0 <= symbol < 2 expected, got -1 at position 0"),
    ],
)
def test_unfit_text_is_refused(arguments: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=f"NGram.fit: {words}"):
        NGram.fit(*arguments)


def test_unfit_queries_are_refused() -> None:
    model = NGram.fit([0, 1], order=2, vocabulary_size=2)
    with pytest.raises(DataError, match=r"NGram\.bits_per_char: a text of at least one symbol"):
        model.bits_per_char([])
    with pytest.raises(IndexRangeError, match=r"NGram\.bits: 0 <= symbol < 2 expected, got 2"):
        model.bits([0], context=[2])
    with pytest.raises(IndexRangeError, match=r"NGram\.probabilities: 0 <= symbol < 2"):
        model.probabilities([5])
    with pytest.raises(DTypeError, match=r"NGram\.sample: integer symbols"):
        model.sample(3, np.random.default_rng(0), context=[0.5])
