"""Words as symbols: where a text is cut, which words are numbered, what becomes of the rest."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_rnn.data import WordVocabulary, builtin_text, split_words
from tinygrad_rnn.errors import ArgumentError, DataError, DTypeError, IndexRangeError, ShapeError

WORDS = st.lists(st.text("abc", min_size=1, max_size=2), min_size=1, max_size=60)


@given(st.text("ab9.,'-’! \n\t", max_size=40))
def test_a_text_is_its_words_and_nothing_but_blanks_is_lost(text: str) -> None:
    words = split_words(text)
    assert "".join(words) == text.replace(" ", "").replace("\t", "")
    assert all(words)


def test_words_of_english() -> None:
    found = split_words("The cat's 3,000.50 mice -- don't ask!\n(Über)")
    expected = ["The", "cat's", "3,000.50", "mice", "-", "-", "don't", "ask", "!", "\n", "("]
    assert found == [*expected, "Über", ")"]
    assert split_words("Über ALLES", lower=True) == ["über", "alles"]


@given(WORDS)
def test_decode_undoes_encode(words: list[str]) -> None:
    vocabulary = WordVocabulary.from_words(words)
    assert vocabulary.decode(vocabulary.encode(words)) == words
    assert set(vocabulary.words) == {*words, "<unk>"}


@given(WORDS, st.integers(2, 8))
def test_the_frequent_words_are_kept_and_the_rest_is_unknown(words: list[str], size: int) -> None:
    vocabulary = WordVocabulary.from_words(words, size)
    counts = Counter(words)
    assert len(vocabulary) == min(size, len(counts) + 1)
    kept, lost = vocabulary.words[1:], set(counts) - set(vocabulary.words)
    assert [counts[w] for w in kept] == sorted((counts[w] for w in kept), reverse=True)
    assert all(counts[w] <= min(counts[k] for k in kept) for w in lost)
    found = vocabulary.decode(vocabulary.encode(words))
    assert found == [w if w in kept else "<unk>" for w in words]


def test_a_word_that_is_the_unknown_one_is_not_there_twice() -> None:
    vocabulary = WordVocabulary.from_words(["a", "<unk>", "<unk>"])
    assert vocabulary.words == ("<unk>", "a")
    assert vocabulary.encode(["<unk>", "b"]).tolist() == [0, 0]


def test_without_an_unknown_word_what_is_lacking_is_named() -> None:
    vocabulary = WordVocabulary.from_words(["a", "b"], unknown=None)
    assert vocabulary.words == ("a", "b")
    with pytest.raises(DataError, match=r"only the 2 words of the vocabulary .* 'c' at position 1"):
        vocabulary.encode(["a", "c"])


def test_a_vocabulary_survives_json() -> None:
    for unknown in ("<unk>", None):
        vocabulary = WordVocabulary.from_words("b a b".split(), unknown=unknown)
        state = json.loads(json.dumps(vocabulary.to_dict()))
        assert WordVocabulary.from_dict(state).to_dict() == vocabulary.to_dict()
    assert "a" in vocabulary and "c" not in vocabulary


def test_numbers_fall_with_frequency_as_a_log_uniform_sampler_wants() -> None:
    words = split_words(builtin_text(), lower=True)
    vocabulary = WordVocabulary.from_words(words, unknown=None)
    counts = np.bincount(vocabulary.encode(words), minlength=len(vocabulary))
    assert (np.diff(counts) <= 0).all() and counts.sum() == len(words)


@pytest.mark.parametrize(("words", "unknown"), [([], None), (["a", "a"], None), (["a"], "<unk>")])
def test_words_that_are_no_vocabulary(words: list[str], unknown: str | None) -> None:
    with pytest.raises(DataError, match="WordVocabulary"):
        WordVocabulary(words, unknown)


@pytest.mark.parametrize("state", [{}, {"words": "ab"}, {"words": [1]}])
def test_foreign_state_is_refused(state: dict[str, Any]) -> None:
    with pytest.raises(DataError, match="list of strings"):
        WordVocabulary.from_dict(state)


@pytest.mark.parametrize(
    ("indices", "error"),
    [([[0]], ShapeError), ([0.0], DTypeError), ([0, 2], IndexRangeError), (-1, IndexRangeError)],
)
def test_bad_indices_are_refused(indices: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match=r"WordVocabulary\.decode"):
        WordVocabulary(["a", "b"]).decode(indices)


def test_sizes_are_whole_numbers() -> None:
    with pytest.raises(ArgumentError, match="size, a whole number >= 1"):
        WordVocabulary.from_words(["a"], 0)
