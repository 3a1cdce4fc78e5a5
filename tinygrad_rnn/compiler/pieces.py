"""Packed rows as compiled code goes through them: in pieces, divided among threads.

A piece is some steps with one number of rows. The longest rows come first, so a share of the sorted
batch has rows that follow each other in every step, and a thread can do it without waiting for the
others, if none writes where another one is. What a step makes lies behind its own rows, where the
next step looks for it; but what rows that end there leave is where longer ones will be one step
later, and has to be moved to the final carry first. That will do for the share of the longest rows,
beside which nobody is left when the first of them end. Any other share has the step with which some
of its rows end written into the final carry, and those that go on are copied from there.

Legend: n rows of one step.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from .packing import Ragged

__all__ = ["Division", "PIECE", "Share", "divided"]

# Columns of a piece: the packed row it starts at, its steps, the rows of a share in each, packed
# rows from one step to the next, and from a step to the next carry, which is in the carry or
# (`aside`) in the final carry; then how many rows are copied from there to the other of the two.
PIECE = ("start", "steps", "rows", "stride", "ahead", "aside", "source", "target", "copied")
TOGETHER = 2  # rows of a product that take as long as one


class Share(NamedTuple):
    """What one thread does: its first row, and (pieces, columns) forward and backward in time."""

    first: int
    pieces: tuple[Any, Any]


class Division(NamedTuple):
    """The shares; and the rows w of which as many equal shares would save as much time.

    With s shares these save w − w/s of the time of w rows, and ours all but the largest one.
    """

    shares: list[Share]
    worth: int


@lru_cache(maxsize=32)  # two for each of the batches that `ragged` remembers
def divided(how: Ragged, count: int) -> Division:
    """The rows in `count` shares of about the same work, or in fewer if one would be empty."""
    segments = np.array(how.segments).T
    if count == 1:
        return Division([_share(segments, 0, how.batch)], 0)
    _, steps, n = segments
    ending = -np.diff(n, append=0)  # rows that are as long as all segments up to here
    lengths = steps.cumsum()[::-1].repeat(ending[::-1])  # of each row, the longest first
    done = TOGETHER * lengths[::TOGETHER].cumsum()  # work up to and with each pair of rows
    equal = done[-1] * np.arange(1, count) / count
    last = sorted({*np.abs(done - equal[:, None]).argmin(1).tolist(), len(done) - 1})
    bounds = [0, *(TOGETHER * (pair + 1) for pair in last[:-1]), how.batch]
    shares = [_share(segments, first, end) for first, end in pairwise(bounds)]
    saved = int(done[-1] - np.diff(done[last], prepend=0).max())
    return Division(shares, saved * len(shares) // max(1, len(shares) - 1))


def _share(segments: Any, first: int, end: int) -> Share:
    """The pieces of the rows from `first` to `end`."""
    start, steps, n = segments[:, segments[2] > first]
    rows, behind, none = np.minimum(n, end) - first, start + steps * n, np.zeros_like(n)
    less = none.copy()
    less[:-1] = rows[1:]
    pieces = np.array((start, steps, rows, n, n, none, behind + less, less, rows - less))
    if first:
        ends = less < rows
        last = behind - n, ends, rows, n, n - behind, none + 1, none, behind, less
        pieces[1] -= ends
        pieces[-1] = 0
        pieces = np.array((pieces, last)).transpose(1, 2, 0).reshape(len(PIECE), -1)
        pieces = pieces[:, pieces[1] > 0]
    back = np.array((behind - n, steps, rows, -n, *[none] * 5))[:, ::-1]
    return Share(first, (pieces.T.copy(), back.T.copy()))
