"""Packed rows in pieces: what compiled code does with them, done by Python in any order."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_rnn.compiler.packing import Ragged, ragged
from tinygrad_rnn.compiler.pieces import PIECE, Share, divided

T = 6


def packed(lengths: list[int]) -> Ragged:
    return ragged(np.array(lengths), T, False)


def test_pieces_of_one_share() -> None:
    ((first, (forward, backward)),) = divided(packed([2, 4, 1, 4]), 1).shares
    assert first == 0
    assert forward.tolist() == [
        [0, 1, 4, 4, 4, 0, 7, 3, 1], [4, 1, 3, 3, 3, 0, 9, 2, 1], [7, 2, 2, 2, 2, 0, 11, 0, 2],
    ]  # fmt: skip
    assert backward[:, :4].tolist() == [[9, 2, 2, -2], [4, 1, 3, -3], [0, 1, 4, -4]]


def test_pieces_of_two_shares() -> None:
    """The second one's last row to end is alone with it: nothing of it goes on."""
    (first, (forward, backward)), (second, (other, back)) = divided(packed([4, 3, 1, 4]), 2).shares
    assert (first, second) == (0, 2)
    assert forward.tolist() == [
        [0, 1, 2, 4, 4, 0, 6, 2, 0], [4, 2, 2, 3, 3, 0, 12, 2, 0], [10, 1, 2, 2, 2, 0, 12, 0, 2],
    ]  # fmt: skip
    # one step into the final carry, from which a row is copied; two, the last of them there as well
    assert other.tolist() == [
        [0, 1, 2, 4, 0, 1, 0, 4, 1], [4, 1, 1, 3, 3, 0, 10, 0, 0], [7, 1, 1, 3, -7, 1, 0, 10, 0],
    ]  # fmt: skip
    assert backward[:, :4].tolist() == [[10, 1, 2, -2], [7, 2, 2, -3], [0, 1, 2, -4]]
    assert back[:, :4].tolist() == [[7, 2, 1, -3], [0, 1, 2, -4]]


@pytest.mark.parametrize(
    ("lengths", "count", "firsts"),
    [
        ([5, 5, 5, 5], 2, [0, 2]),
        ([5] * 8, 3, [0, 2, 6]),
        ([6, 1, 1, 1, 1, 1], 4, [0, 2]),
        ([1, 2, 3, 4, 5, 6] * 2, 2, [0, 4]),
        ([3, 4], 4, [0]),
        ([3, 4, 0, -1], 4, [0]),
        ([4], 3, [0]),
    ],
)
def test_shares_have_about_the_same_work(lengths: Any, count: int, firsts: list[int]) -> None:
    assert [share.first for share in divided(packed(lengths), count).shares] == firsts


def test_what_threads_are_worth() -> None:
    """As much as equal shares of so many rows; what waits for the longest rows is worth little."""
    assert divided(packed([6, 6, 6, 6]), 2).worth == 24
    assert divided(packed([6] * 6), 3).worth == 36
    assert divided(packed([6, 6, 1, 1]), 2).worth == 4
    assert divided(packed([6, 6]), 2).worth == 0


class Memory:
    """What a recurrence counts: each step adds one to the carry of a row, which begins with 100 i.

    What no step has written is −1, and reading it is an error.
    """

    def __init__(self, how: Ragged) -> None:
        self.carry = np.full(how.total + how.batch, -1)
        self.final = 100 * np.arange(how.batch)
        self.kept = np.full(how.total, -1)  # the carry before each step

    def run(self, share: Share) -> Iterator[None]:
        """All pieces, with a stop after all that is done at a stretch."""
        places = self.carry[share.first :], self.final[share.first :]
        pieces = share.pieces[0]
        begin = pieces[0][PIECE.index("rows")]
        places[0][:begin] = places[1][:begin]
        yield
        for piece in pieces.tolist():
            start, steps, rows, stride, ahead, aside, source, target, copied = piece
            for at in range(start, start + steps * stride, stride):
                before = places[0][at : at + rows].copy()
                self.kept[share.first + at :][:rows] = before
                yield
                places[aside][at + ahead :][:rows] = before + 1
                yield
            places[1 - aside][target:][:copied] = places[aside][source:][:copied]
            yield


@given(
    st.lists(st.integers(0, T), min_size=1, max_size=9), st.integers(1, 4), st.randoms(), st.data()
)
def test_no_order_of_the_threads_changes_anything(
    lengths: list[int], count: int, random: Any, data: st.DataObject
) -> None:
    if not any(lengths):
        lengths[0] = 1
    how = packed(lengths)
    memory = Memory(how)
    turns = [memory.run(share) for share in divided(how, count).shares]
    alone = data.draw(st.booleans(), "one after the other, the last first")
    while turns:
        turn = turns[-1] if alone else random.choice(turns)
        if next(turn, "over") == "over":
            turns.remove(turn)
    longest = np.array(lengths)[how.order]
    rows = np.arange(how.batch)
    assert memory.final.tolist() == (100 * rows + longest).tolist()
    expected = [100 * i + t for t in range(T) for i in rows if longest[i] > t]
    assert memory.kept.tolist() == expected


@given(st.lists(st.integers(1, T), min_size=1, max_size=9), st.integers(1, 4))
def test_back_in_time_each_row_of_each_step_is_there_once(lengths: list[int], count: int) -> None:
    how = packed(lengths)
    seen = []
    for first, (_, backward) in divided(how, count).shares:
        done = [
            first + at + row
            for start, steps, rows, stride, *_ in backward.tolist()
            for at in range(start, start + steps * stride, stride)
            for row in range(rows)
        ]
        seen += done
        times = [np.searchsorted([s for s, _, _ in how.segments], d, "right") for d in done]
        assert times == sorted(times, reverse=True)
    assert sorted(seen) == list(range(how.total))
