"""The language tasks of "What it learns", on text that is there without the real data."""

from __future__ import annotations

import numpy as np

from benchmarks.tasks import language
from tinygrad_rnn.data import builtin_text

TEXT = builtin_text()[:60_000]


def test_characters_and_words_of_any_text() -> None:
    found = language.characters(TEXT, seed=0, quick=True, rows=2)
    assert 0 < found["bits"] < np.log2(len(set(TEXT))) + 1
    found = language.words(TEXT, seed=0, quick=True)
    assert found["gap %"] == 100 * (found["NCE"] / found["full"] - 1)
    assert 1 < found["full"] < language.WORDS["V"]


def test_parts_follow_each_other() -> None:
    parts = language._parts(np.arange(100), (0.85, 0.9))
    assert [len(part) for part in parts] == [85, 5, 10]
    assert np.concatenate(parts).tolist() == list(range(100))
