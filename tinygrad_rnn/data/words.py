"""Words as symbols: a text cut into words, the frequent ones numbered, the rest one symbol.

Legend: N words in a text, V words in the vocabulary.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tinygrad_rnn.errors import DataError

from ..arguments import several, string, symbol_vector, whole_number
from ._checks import shorten

__all__ = ["WordVocabulary", "split_words"]

IntArray = NDArray[np.int64]
# A word with what is inside it (o'clock, 3.5), or any other sign by itself; the end of a line too.
WORD = re.compile(r"\w+(?:[’'.,-]\w+)*|\n|[^\w\s]")


def split_words(text: str, lower: bool = False) -> list[str]:
    r"""Words, signs and ends of lines, in order.

    >>> split_words("Well, it's 3.5 o'clock!\n")
    ['Well', ',', "it's", '3.5', "o'clock", '!', '\n']
    """
    written = string("split_words", "text", text)
    return WORD.findall(written.lower() if lower else written)


class WordVocabulary:
    """V words and the way there and back; a word that is none of them is ``unknown``.

    Raises:
        DataError: no words, a repeated one, or an ``unknown`` that is none of them.

    >>> vocabulary = WordVocabulary.from_words("the cat saw the dog".split(), size=3)
    >>> vocabulary.words, vocabulary.encode(["the", "dog", "saw"])
    (('<unk>', 'the', 'cat'), array([1, 0, 0]))
    """

    def __init__(self, words: Sequence[str], unknown: str | None = None) -> None:
        self.words = tuple(several("WordVocabulary", "words", words))
        self.unknown = unknown
        self._index = {word: place for place, word in enumerate(self.words)}
        if not self.words or len(self._index) < len(self.words):
            got = "none" if not self.words else shorten(Counter(self.words).most_common(1)[0][0])
            raise DataError("WordVocabulary", "one or more different words", got)
        if unknown is not None and unknown not in self._index:
            raise DataError("WordVocabulary", f"{unknown!r} among the words", shorten(self.words))

    @classmethod
    def from_words(
        cls, words: Iterable[str], size: int | None = None, unknown: str | None = "<unk>"
    ) -> WordVocabulary:
        """The ``size`` most frequent words, by falling frequency, ``unknown`` before them.

        Without ``size`` all of them; without ``unknown`` a word that is not there is an error.
        """
        counts = Counter(words)
        first = [] if unknown is None else [unknown]
        for word in first:
            del counts[word]
        limit = None if size is None else whole_number("WordVocabulary", "size", size) - len(first)
        return cls([*first, *(word for word, _ in counts.most_common(limit))], unknown)

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> WordVocabulary:
        """Rebuild a vocabulary from what ``to_dict`` gave."""
        words = state.get("words")
        if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
            expected = "a mapping with a list of strings 'words'"
            raise DataError("WordVocabulary.from_dict", expected, shorten(dict(state)))
        return cls(words, state.get("unknown"))

    def to_dict(self) -> dict[str, Any]:
        """The vocabulary as plain values that JSON can write."""
        return {"words": list(self.words), "unknown": self.unknown}

    def __len__(self) -> int:
        return len(self.words)

    def __contains__(self, word: str) -> bool:
        return word in self._index

    def encode(self, words: Sequence[str]) -> IntArray:
        """Number words, shape ``(N,)``, from 0 to V - 1.

        Raises:
            DataError: a word is not there, and there is no ``unknown``; the message names it.
        """
        other = -1 if self.unknown is None else self._index[self.unknown]
        found = np.array([self._index.get(word, other) for word in words], dtype=np.int64)
        if len(found) and found.min() < 0:
            place = int(found.argmin())
            expected = f"only the {len(self)} words of the vocabulary"
            got = f"{shorten(words[place])} at position {place}"
            hint = 'build it with unknown="<unk>"'
            raise DataError("WordVocabulary.encode", expected, got, hint)
        return found

    def decode(self, indices: ArrayLike) -> list[str]:
        """The words of one index or of a vector of them.

        Raises:
            ShapeError, DTypeError, IndexRangeError: not a vector of integers from 0 to V - 1.
        """
        found = symbol_vector("WordVocabulary.decode", np.atleast_1d(indices), len(self))
        return [self.words[index] for index in found.tolist()]
