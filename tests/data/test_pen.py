"""Handwriting as movements: they lead where the points are, and letters come out as asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_rnn.data import PEN_LETTERS, pen_letters, pen_movements, read_pendigits
from tinygrad_rnn.errors import DataError, ShapeError

POINT = st.tuples(st.integers(-50, 50), st.integers(-50, 50))
STROKES = st.lists(st.lists(POINT, min_size=1, max_size=6), min_size=1, max_size=4)
LINE = ",".join(f"{k:3}" for k in [0, 100, 50, *range(13), 7])


@given(STROKES)
def test_movements_lead_from_point_to_point(strokes: Any) -> None:
    points = [point for stroke in strokes for point in stroke]
    if len(points) < 2:
        with pytest.raises(ShapeError, match="two points or more"):
            pen_movements(strokes)
        return
    moves = pen_movements(strokes)
    np.testing.assert_array_equal(np.cumsum(moves[:, :2], 0), np.subtract(points, points[0])[1:])
    ends = np.cumsum([len(stroke) for stroke in strokes]) - 2
    assert np.flatnonzero(moves[:, 2]).tolist() == [end for end in ends if end >= 0]


@pytest.mark.parametrize("bad", [[[1.0, 2.0]], [[(1, 2, 3), (4, 5, 6)]], []])
def test_what_are_no_strokes(bad: Any) -> None:
    with pytest.raises(ShapeError, match=r"strokes \(n, 2\)"):
        pen_movements(bad)


def test_points_are_finite() -> None:
    with pytest.raises(DataError, match="points, all finite"):
        pen_movements([[(0, 0), (np.nan, 1)]])


def test_letters_are_of_all_kinds_and_no_two_alike() -> None:
    found = pen_letters(np.random.default_rng(0), 400)
    counts = np.bincount([place for _, place in found], minlength=len(PEN_LETTERS))
    assert counts.min() > 50
    assert len({moves.tobytes() for moves, _ in found}) == 400
    strokes = {PEN_LETTERS[place]: int(moves[:, 2].sum()) for moves, place in found}
    assert strokes == {"e": 1, "l": 1, "o": 1, "m": 1, "t": 2}
    lengths = np.concatenate([np.hypot(*moves[:, :2].T) for moves, _ in found])
    assert 0.5 < lengths.mean() < 2


def test_letters_are_seeded() -> None:
    one, same, other = (pen_letters(np.random.default_rng(s), 3)[0][0] for s in (0, 0, 1))
    assert one.tobytes() == same.tobytes() != other.tobytes()


def test_pendigits_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.tra").write_text(f"{LINE}\n{LINE}\n")
    found = read_pendigits(tmp_path / "a.tra")
    assert [digit for _, digit in found] == [7, 7]
    moves = found[0][0]
    assert moves.shape == (7, 3) and moves[0].tolist() == [1.25, -2.5, 0.0]
    assert moves[:, 2].tolist() == [0.0] * 6 + [1.0]


@pytest.mark.parametrize("line", ["1,2,3", LINE + ",1", LINE.replace("7", "17"), "x" + LINE])
def test_lines_of_another_kind_are_named(line: str, tmp_path: Path) -> None:
    (tmp_path / "a.tra").write_text(f"{LINE}\n{line}\n")
    with pytest.raises(DataError, match="in line 2"):
        read_pendigits(tmp_path / "a.tra")
