"""Dates as people write them, to be written as machines do: a translation with one right answer.

Legend: S symbols of the longest source, B batch.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...errors import ShapeError
from .base import Task, TaskBatch

__all__ = ["DateTranslation"]

MONTHS = ("january february march april may june july august september october november "
          "december").split()  # fmt: skip
DAYS = "monday tuesday wednesday thursday friday saturday sunday".split()
FORMS = (
    "{day} {month} {year}", "{month} {day}, {year}", "{weekday}, {day} {month} {year}",
    "{day} {short} {year}", "{short} {day}, {year}", "{day:02}/{number:02}/{year}",
    "{day}.{number}.{year}", "{weekday} {month} {day} {year}",
)  # fmt: skip
FIRST, COUNT, UNSEEN = datetime.date(1950, 1, 1), 36525, 2000  # a hundred years
TARGETS = "0123456789-"
SOURCES = "".join(sorted(set("".join([*MONTHS, *DAYS, "0123456789 ,./"]))))
LENGTH = len("2019-03-07")


@dataclass(frozen=True)
class DateTranslation(Task):
    """Write "thursday, 7 march 2019" as "2019-03-07"; eight forms, the days of 100 years.

    Unlike other tasks its inputs are symbols, (S, B), from 1 on, padded with 0; its targets are
    symbols (10, B), from 1 on, so that 0 is free to begin an output.

    Args:
        unseen: draw from 2,000 dates that are never drawn otherwise.

    >>> task = DateTranslation()
    >>> batch = task.draw(np.random.default_rng(0), 2)
    >>> task.sources(batch)[1], task.read(batch.targets)[1]
    ('wednesday, 21 december 2039', '2039-12-21')
    """

    unseen: bool = False

    @property
    def input_size(self) -> int:
        """Source symbols, the padding among them."""
        return len(SOURCES) + 1

    @property
    def output_size(self) -> int:
        """Target symbols, the beginning among them."""
        return len(TARGETS) + 1

    def draw(self, rng: np.random.Generator, batch: int) -> TaskBatch:
        """`batch` dates, each in one of the forms."""
        dates = _dates()[-UNSEEN:] if self.unseen else _dates()[:-UNSEEN]
        chosen = [dates[k] for k in rng.integers(len(dates), size=batch)]
        texts = [_written(date, FORMS[rng.integers(len(FORMS))]) for date in chosen]
        lengths = np.array([len(text) for text in texts], dtype=np.int64)
        source = np.zeros((lengths.max(initial=0), batch), dtype=np.int64)
        for column, text in enumerate(texts):
            source[: len(text), column] = [SOURCES.index(c) + 1 for c in text]
        target = np.array([[TARGETS.index(c) + 1 for c in d.isoformat()] for d in chosen])
        return TaskBatch(source, target.reshape(batch, LENGTH).T, lengths)

    def wrong(self, outputs: ArrayLike, batch: TaskBatch) -> NDArray[np.bool_]:
        """Whether any of the symbols (10, B) is another than in the date."""
        found = np.asarray(outputs)
        if found.shape != batch.targets.shape:
            expected = f"symbols of shape {batch.targets.shape}"
            raise ShapeError("DateTranslation.wrong", expected, str(found.shape))
        result: NDArray[np.bool_] = (found != batch.targets).any(axis=0)
        return result

    def sources(self, batch: TaskBatch) -> list[str]:
        """What stands in the columns of the inputs."""
        return ["".join(SOURCES[k - 1] for k in column if k) for column in batch.inputs.T]

    def read(self, outputs: ArrayLike) -> list[str]:
        """What the columns of the outputs spell; 0 is a question mark."""
        return ["".join(("?" + TARGETS)[k] for k in column) for column in np.asarray(outputs).T]


@cache
def _dates() -> list[datetime.date]:
    """The same order always, so that what is unseen stays so."""
    days = np.random.default_rng(0).permutation(COUNT)
    return [FIRST + datetime.timedelta(days=int(day)) for day in days]


def _written(date: datetime.date, form: str) -> str:
    month = MONTHS[date.month - 1]
    return form.format(
        day=date.day, month=month, short=month[:3], number=date.month, year=date.year,
        weekday=DAYS[date.weekday()],
    )  # fmt: skip
