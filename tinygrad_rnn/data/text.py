"""Text as data: files to a string, a string to numbers and back.

Legend: N symbols in a text, V symbols in the vocabulary.
"""

from __future__ import annotations

import codecs
import contextlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tinygrad_rnn.errors import ArgumentError, DataError, DTypeError

from ..arguments import several, string, symbol_vector
from ._checks import shorten

__all__ = ["CharVocabulary", "builtin_text", "read_text", "train_validation_split"]

IntArray = NDArray[np.int64]
HELP_TOPICS: dict[str, str] = {}
with contextlib.suppress(ImportError):  # some builds of Python leave their help out
    from pydoc_data.topics import topics

    HELP_TOPICS = topics

PathName = str | os.PathLike[str]
SequenceT = TypeVar("SequenceT", str, NDArray[Any])


def read_text(paths: PathName | Sequence[PathName]) -> str:
    r"""Read one UTF-8 file, or several one after the other, as text.

    A byte-order mark is dropped and every line ends in ``\n``, whatever wrote the file.

    Raises:
        ArgumentError: no path is given.
        DataError: a path is not a readable, non-empty file of UTF-8 text; for a wrong byte
            the message names its offset and line.

    >>> import tempfile, pathlib
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "two.txt")
    ...     _ = path.write_bytes(b"one\r\ntwo\n")
    ...     read_text([path, path])
    'one\ntwo\none\ntwo\n'
    """
    if isinstance(paths, (str, os.PathLike)):
        paths = [paths]
    paths = several("read_text", "paths", paths)
    if not paths:
        raise ArgumentError("read_text", "at least one path", "none")
    return "".join(read_file("read_text", path) for path in paths)


def read_file(called: str, path: PathName) -> str:
    """One file for ``read_text`` and for what else reads text; ``called`` is who is asking."""
    data = read_bytes(called, path)
    start = len(codecs.BOM_UTF8) if data.startswith(codecs.BOM_UTF8) else 0
    if len(data) == start:
        raise DataError(called, "a file with text in it", f"an empty one ({path})")
    try:
        text = data[start:].decode("utf-8")
    except UnicodeDecodeError as error:
        raise _not_utf8(called, path, data, start + error.start) from error
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read_bytes(called: str, path: PathName) -> bytes:
    """The content of a regular file, for all that reads one; ``called`` is who is asking."""
    if not isinstance(path, (str, os.PathLike)):
        raise DTypeError(called, "a path", type(path).__name__)
    # Only regular files: a device or a pipe could keep the reader waiting for ever.
    if not os.path.isfile(path):
        found = "a directory" if os.path.isdir(path) else "something else"
        got = found if os.path.lexists(path) else "no such file"
        raise DataError(called, "a regular file", f"{got} ({path})")
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise DataError(called, "a readable file", f"{error.strerror} ({path})") from error


def _not_utf8(called: str, path: PathName, data: bytes, offset: int) -> DataError:
    line = data.count(b"\n", 0, offset) + 1
    got = f"byte 0x{data[offset]:02x} at offset {offset}, line {line} of {path}"
    return DataError(called, "UTF-8 text", got, "convert the file to UTF-8 first")


class CharVocabulary:
    """The V distinct symbols of a text in order of code point, and the way there and back.

    Raises:
        DataError: no symbols, a repeated one, or symbols out of order.

    >>> vocabulary = CharVocabulary.from_text("hello")
    >>> vocabulary.symbols, len(vocabulary), vocabulary.encode("hole")
    ('ehlo', 4, array([1, 3, 2, 0]))
    >>> vocabulary.decode([1, 0, 2, 3])
    'helo'
    """

    def __init__(self, symbols: str) -> None:
        string("CharVocabulary", "symbols", symbols)
        if not symbols or list(symbols) != sorted(set(symbols)):
            expected = "one or more different symbols in order of code point"
            raise DataError("CharVocabulary", expected, shorten(symbols))
        self.symbols = symbols
        self._codes = _code_points(symbols)
        # The last entry answers for every code point beyond the largest known one.
        self._table = np.full(int(self._codes[-1]) + 2, -1, dtype=np.int64)
        self._table[self._codes] = np.arange(len(symbols))

    @classmethod
    def from_text(cls, text: str) -> CharVocabulary:
        """Collect the symbols of a text."""
        return cls("".join(sorted(set(string("CharVocabulary.from_text", "text", text)))))

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> CharVocabulary:
        """Rebuild a vocabulary from what ``to_dict`` gave."""
        symbols = state.get("symbols")
        if not isinstance(symbols, str):
            expected = "a mapping with the string 'symbols'"
            raise DataError("CharVocabulary.from_dict", expected, shorten(state))
        return cls(symbols)

    def to_dict(self) -> dict[str, Any]:
        """The vocabulary as plain values that JSON can write."""
        return {"symbols": self.symbols}

    def __len__(self) -> int:
        return len(self.symbols)

    def __contains__(self, symbol: str) -> bool:
        return len(symbol) == 1 and symbol in self.symbols

    def __eq__(self, other: object) -> bool:
        return isinstance(other, CharVocabulary) and self.symbols == other.symbols

    def __hash__(self) -> int:
        return hash(self.symbols)

    def __repr__(self) -> str:
        return f"CharVocabulary({self.symbols!r})"

    def encode(self, text: str) -> IntArray:
        """Number the symbols of a text, shape ``(N,)``, from 0 to V - 1.

        Raises:
            DataError: a symbol is not in the vocabulary; the message names it and its position.
        """
        string("CharVocabulary.encode", "text", text)
        codes = np.minimum(_code_points(text), len(self._table) - 1)
        indices = self._table[codes]
        if len(indices) and indices.min() < 0:
            raise self._unknown(text, int(np.argmin(indices)))
        return indices

    def _unknown(self, text: str, position: int) -> DataError:
        symbol = text[position]
        expected = f"only the {len(self)} symbols of the vocabulary"
        got = f"{symbol!r} (U+{ord(symbol):04X}) at position {position}"
        return DataError("CharVocabulary.encode", expected, got)

    def decode(self, indices: ArrayLike) -> str:
        """The text of one index or of a vector of them.

        Raises:
            ShapeError, DTypeError, IndexRangeError: not a vector of integers from 0 to V - 1.
        """
        given = np.atleast_1d(indices)
        codes = self._codes[symbol_vector("CharVocabulary.decode", given, len(self))]
        return codes.tobytes().decode("utf-32-le", "surrogatepass")


def _code_points(text: str) -> NDArray[np.uint32]:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")


def train_validation_split(
    sequence: SequenceT, validation: float = 0.1
) -> tuple[SequenceT, SequenceT]:
    """Cut off the last part of a text or an array: neighbours stay together, nothing is shuffled.

    Raises:
        ArgumentError: ``validation`` is not strictly between 0 and 1.
        DataError: one of the two parts would be empty.

    >>> train_validation_split("abcdefghij", 0.2)
    ('abcdefgh', 'ij')
    """
    if not isinstance(validation, (int, float)) or not 0 < validation < 1:
        raise ArgumentError("train_validation_split", "0 < validation < 1", validation)
    if not hasattr(sequence, "__len__"):
        got = type(sequence).__name__
        raise DTypeError("train_validation_split", "a text or an array", got)
    cut = len(sequence) - round(len(sequence) * validation)
    if not 0 < cut < len(sequence):
        got = f"{len(sequence)} symbols and validation={validation}"
        raise DataError("train_validation_split", "two parts that are not empty", got)
    return sequence[:cut], sequence[cut:]


def builtin_text() -> str:
    """The English text that every Python carries: the help topics of ``pydoc``, in order of name.

    About 465,000 characters; the words vary a little with the version of Python. About 18 % of
    it stands in paragraphs that occur before, because some topics contain others.

    Raises:
        DataError: this Python was installed without its help topics.

    >>> builtin_text().startswith('The "assert" statement')
    True
    """
    if not HELP_TOPICS:
        expected, got = "a Python with its help topics", "one without pydoc_data"
        raise DataError("builtin_text", expected, got, "give a text file of your own")
    return "\n".join(HELP_TOPICS[name] for name in sorted(HELP_TOPICS))
