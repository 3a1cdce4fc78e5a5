"""Text files, vocabularies and splits."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_rnn.data.text as text_module
from tinygrad_rnn.data import CharVocabulary, builtin_text, read_text, train_validation_split
from tinygrad_rnn.errors import (
    ArgumentError,
    DataError,
    DTypeError,
    IndexRangeError,
    ShapeError,
)

ANY_TEXT = st.text(st.characters(), min_size=1)  # lone surrogates too


def write(folder: Path, name: str, data: bytes) -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


# -- files -----------------------------------------------------------------------------------


def test_files_are_joined_in_the_given_order(tmp_path: Path) -> None:
    first, second = write(tmp_path, "a", "é\n".encode()), write(tmp_path, "b", b"z")
    assert read_text([second, str(first)]) == "zé\n"
    assert read_text(str(first)) == read_text(first) == "é\n"


def test_line_ends_and_byte_order_mark_do_not_become_symbols(tmp_path: Path) -> None:
    path = write(tmp_path, "dos.txt", b"\xef\xbb\xbfa\r\nb\rc\n")
    assert read_text(path) == "a\nb\nc\n"


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_wrong_byte_is_named_by_offset_and_line(tmp_path: Path, mark: bytes) -> None:
    path = write(tmp_path, "latin.txt", mark + b"one\ntwo\ncaf\xe9\n")
    with pytest.raises(DataError) as caught:
        read_text(path)
    offset = len(mark) + 11
    assert f"byte 0xe9 at offset {offset}, line 3 of {path}" in str(caught.value)
    assert "UTF-8" in str(caught.value)


def test_what_is_not_a_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for path, got in [
        (tmp_path / "absent.txt", "no such file"),
        (tmp_path, "a directory"),
        (tmp_path / "pipe", "something else"),
        (tmp_path / "loop", "something else"),
        (Path(os.devnull), "something else"),
    ]:
        with pytest.raises(DataError, match=f"read_text: a regular file expected, got {got}") as e:
            read_text(path)
        assert str(path) in str(e.value)


@pytest.mark.parametrize("data", [b"", b"\xef\xbb\xbf"])
def test_empty_file_is_refused_even_among_others(tmp_path: Path, data: bytes) -> None:
    full, empty = write(tmp_path, "full", b"x"), write(tmp_path, "empty", data)
    with pytest.raises(DataError, match=r"an empty one \(.*empty\)"):
        read_text([full, empty])


def test_unreadable_file_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    path = write(tmp_path, "secret", b"x")
    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(DataError, match="a readable file expected, got Permission denied"):
        read_text(path)


def test_no_path_is_refused() -> None:
    with pytest.raises(ArgumentError, match="at least one path expected, got none"):
        read_text([])


# -- vocabulary ------------------------------------------------------------------------------


@given(ANY_TEXT)
def test_decode_undoes_encode(text: str) -> None:
    vocabulary = CharVocabulary.from_text(text)
    indices = vocabulary.encode(text)
    assert indices.dtype == np.int64
    assert indices.tolist() == [vocabulary.symbols.index(symbol) for symbol in text]
    assert vocabulary.decode(indices) == text


@given(ANY_TEXT, ANY_TEXT)
def test_unknown_symbol_is_named_by_its_first_position(known: str, text: str) -> None:
    vocabulary = CharVocabulary.from_text(known)
    unknown = [position for position, symbol in enumerate(text) if symbol not in known]
    if not unknown:
        assert vocabulary.decode(vocabulary.encode(text)) == text
        return
    with pytest.raises(DataError) as caught:
        vocabulary.encode(text)
    symbol = text[unknown[0]]
    assert f"{symbol!r} (U+{ord(symbol):04X}) at position {unknown[0]}" in str(caught.value)


@given(ANY_TEXT)
def test_vocabulary_survives_json(text: str) -> None:
    vocabulary = CharVocabulary.from_text(text)
    again = CharVocabulary.from_dict(json.loads(json.dumps(vocabulary.to_dict())))
    assert again == vocabulary and hash(again) == hash(vocabulary)
    assert again.encode(text).tolist() == vocabulary.encode(text).tolist()


def test_vocabulary_knows_its_symbols() -> None:
    vocabulary = CharVocabulary("abc")
    assert len(vocabulary) == 3 and repr(vocabulary) == "CharVocabulary('abc')"
    assert "b" in vocabulary and "ab" not in vocabulary and "" not in vocabulary
    assert vocabulary != CharVocabulary("abd") and vocabulary != "abc"
    assert vocabulary.encode("").shape == (0,) and vocabulary.decode([]) == ""
    assert vocabulary.decode(2) == "c" and vocabulary.decode(np.uint8([0, 2])) == "ac"


@pytest.mark.parametrize("symbols", ["", "ba", "aab"])
def test_vocabulary_needs_sorted_different_symbols(symbols: str) -> None:
    with pytest.raises(DataError, match="different symbols in order of code point"):
        CharVocabulary(symbols)


@pytest.mark.parametrize("state", [{}, {"symbols": ["a"]}, {"symbols": None}])
def test_foreign_state_is_refused(state: dict[str, object]) -> None:
    with pytest.raises(DataError, match=r"CharVocabulary\.from_dict"):
        CharVocabulary.from_dict(state)


def test_long_values_are_shortened_in_messages() -> None:
    with pytest.raises(DataError) as caught:
        CharVocabulary("ba" * 1000)
    assert len(str(caught.value)) < 150 and "…" in str(caught.value)


@pytest.mark.parametrize(
    ("indices", "error", "words"),
    [
        ([[0, 1]], ShapeError, r"a vector of symbols expected, got \(1, 2\)"),
        ([0.0, 1.0], DTypeError, "integer symbols expected, got float64"),
        ([True], DTypeError, "integer symbols expected, got bool"),
        ([0, 1, 3, -1], IndexRangeError, "0 <= symbol < 3 expected, got 3 at position 2"),
        ([0, -1], IndexRangeError, "0 <= symbol < 3 expected, got -1 at position 1"),
    ],
)
def test_bad_indices_are_refused(indices: object, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        CharVocabulary("abc").decode(indices)


# -- splits and the built-in text ------------------------------------------------------------


@given(st.text(min_size=2), st.floats(0.01, 0.99))
def test_split_loses_nothing(text: str, validation: float) -> None:
    count = round(len(text) * validation)
    if count in (0, len(text)):
        with pytest.raises(DataError, match="two parts that are not empty"):
            train_validation_split(text, validation)
    else:
        train, held_out = train_validation_split(text, validation)
        assert train + held_out == text and len(held_out) == count


def test_split_takes_arrays() -> None:
    train, held_out = train_validation_split(np.arange(10), 0.3)
    assert train.tolist() == list(range(7)) and held_out.tolist() == [7, 8, 9]


@pytest.mark.parametrize("validation", [0, 1, -0.1, float("nan")])
def test_split_needs_a_fraction(validation: float) -> None:
    with pytest.raises(ArgumentError, match="0 < validation < 1"):
        train_validation_split("abc", validation)


def test_builtin_text_is_long_english_and_always_the_same() -> None:
    text = builtin_text()
    assert text == builtin_text()
    assert len(text) > 300_000 and text.count(" the ") > 2_000
    assert 60 < len(CharVocabulary.from_text(text)) < 400


def test_python_without_its_topics_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_module, "HELP_TOPICS", {})
    with pytest.raises(DataError, match="without pydoc_data") as caught:
        builtin_text()
    assert "a text file of your own" in str(caught.value)
