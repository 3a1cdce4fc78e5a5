"""The picture of writings: one line for each stroke, rows named, nothing accepted that is none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tinygrad_rnn.data import pen_letters
from tinygrad_rnn.draw import plot_strokes
from tinygrad_rnn.draw.strokes import _points
from tinygrad_rnn.errors import ArgumentError, ShapeError

pytest.importorskip("matplotlib", reason="pictures need matplotlib")


def test_letters_are_drawn(tmp_path: Path) -> None:
    letters = [moves for moves, _ in pen_letters(np.random.default_rng(0), 5)]
    rows = {"five": letters, "two": letters[:2], "none": []}
    plot_strokes(tmp_path / "a.png", rows, title="Letters")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_points_begin_anew_behind_a_lift() -> None:
    points, ends = _points([[1, 0, 0], [0, 1, 1], [2, 2, 0], [1, 0, 1]])
    assert points.tolist() == [[0, 0], [1, 0], [1, 1], [3, 3], [4, 3]]
    strokes = np.split(points, ends)
    assert [len(stroke) for stroke in strokes] == [3, 2, 0]
    assert strokes[1].tolist() == [[3, 3], [4, 3]]


def test_one_place_alone_can_be_drawn(tmp_path: Path) -> None:
    plot_strokes(tmp_path / "a.png", {"dot": [np.zeros((2, 3))]})


@pytest.mark.parametrize("rows", [{}, {"none": []}])
def test_nothing_to_draw(rows: Any, tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="at least one writing"):
        plot_strokes(tmp_path / "a.png", rows)
    assert not (tmp_path / "a.png").exists()


def test_what_are_no_movements(tmp_path: Path) -> None:
    with pytest.raises(ShapeError, match=r"movements \(N, 3\) expected, got \(4, 2\)"):
        plot_strokes(tmp_path / "a.png", {"a": [np.zeros((4, 2))]})
