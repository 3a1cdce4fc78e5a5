"""Dates to be translated: every one is written rightly, and those to judge by are apart."""

from __future__ import annotations

from datetime import date, datetime

import numpy as np
import pytest

from tinygrad_rnn.data.tasks import DateTranslation
from tinygrad_rnn.errors import ShapeError

LAYOUTS = (
    "%d %B %Y", "%B %d, %Y", "%A, %d %B %Y", "%d %b %Y", "%b %d, %Y", "%d/%m/%Y", "%d.%m.%Y",
    "%A %B %d %Y",
)  # fmt: skip


def understood(text: str) -> date:
    """The date that the standard library reads in a text, whatever its form."""
    for layout in LAYOUTS:
        try:
            return datetime.strptime(text, layout).date()
        except ValueError:
            continue
    raise AssertionError(text)


@pytest.mark.parametrize("unseen", [False, True])
def test_sources_and_targets_are_the_same_day(unseen: bool) -> None:
    task = DateTranslation(unseen)
    batch = task.draw(np.random.default_rng(0), 400)
    sources, targets = task.sources(batch), task.read(batch.targets)
    assert [understood(text).isoformat() for text in sources] == targets
    np.testing.assert_array_equal([len(text) for text in sources], batch.lengths)
    assert batch.inputs.shape == (max(map(len, sources)), 400)
    assert set(np.unique(batch.inputs)) <= set(range(task.input_size))
    assert set(np.unique(batch.targets)) == set(range(1, task.output_size))


def test_weekdays_are_right() -> None:
    batch = DateTranslation().draw(np.random.default_rng(1), 300)
    named = [text for text in DateTranslation().sources(batch) if "day" in text]
    assert named
    assert all(f"{understood(text):%A}".lower() in text for text in named)


def test_unseen_dates_are_never_drawn_otherwise() -> None:
    drawn = []
    for unseen in (False, True):
        task = DateTranslation(unseen)
        batches = [task.draw(np.random.default_rng(seed), 5000) for seed in range(4)]
        drawn.append({text for batch in batches for text in task.read(batch.targets)})
    assert not drawn[0] & drawn[1]
    assert 1900 < len(drawn[1]) <= 2000 < len(drawn[0])


def test_one_wrong_symbol_is_a_wrong_date() -> None:
    task = DateTranslation()
    batch = task.draw(np.random.default_rng(2), 3)
    outputs = batch.targets.copy()
    assert not task.wrong(outputs, batch).any()
    outputs[9, 1] = 0
    assert task.wrong(outputs, batch).tolist() == [False, True, False]
    assert task.read(outputs)[1].endswith("?")
    with pytest.raises(ShapeError, match=r"symbols of shape \(10, 3\) expected, got \(9, 3\)"):
        task.wrong(outputs[:9], batch)


def test_streams_are_seeded() -> None:
    streams = [DateTranslation().stream(8, seed) for seed in (0, 0, 1)]
    one, same, other = (next(stream).inputs.tobytes() for stream in streams)
    assert one == same != other
