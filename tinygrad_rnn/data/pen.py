"""Handwriting as the movements of a pen: made-up letters, and digits from a file.

A movement is (Δx, Δy, lifted): to the next point, and 1 if the pen leaves the paper there.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tinygrad_rnn.errors import DataError, ShapeError

from ..arguments import finite_array, whole_number
from .text import read_text

__all__ = ["PEN_LETTERS", "pen_letters", "pen_movements", "read_pendigits"]

FloatArray = NDArray[np.float32]
PEN_LETTERS = "elomt"
_T, _TURN = np.linspace(0, 1, 22), 2 * np.pi * np.linspace(0, 1, 22)
_SHAPES: dict[str, list[Any]] = {  # strokes as x + iy over time; a movement is about 1 long
    "e": [4 * _T + 3 * np.sin(_TURN) - 3j * np.cos(_TURN)],
    "l": [4 * _T + 2.2 * np.sin(_TURN) - 7j * np.cos(_TURN)],
    "o": [3.5 * np.exp(1j * (1.6 + 1.05 * _TURN))],
    "m": [9 * _T + 5j * np.abs(np.sin(1.5 * _TURN))],
    "t": [_T[::2] ** 4 - 12j * _T[::2], 6 * _T[::4] - 3 - 4j],
}


def pen_movements(strokes: Sequence[ArrayLike]) -> FloatArray:
    """Strokes, each of points (n, 2), as movements (N - 1, 3) from the first of all N points.

    Raises:
        ShapeError: a stroke that is no list of points, or fewer than two points in all.
        DataError: NaN or infinity.

    >>> pen_movements([[(0, 0), (1, 0)], [(1, 2)]]).tolist()
    [[1.0, 0.0, 1.0], [0.0, 2.0, 1.0]]
    """
    drawn = [finite_array("pen_movements", "points", stroke) for stroke in strokes]
    if any(stroke.shape[1:] != (2,) for stroke in drawn) or sum(map(len, drawn)) < 2:
        shapes = str([stroke.shape for stroke in drawn])
        raise ShapeError("pen_movements", "strokes (n, 2), of two points or more", shapes)
    ends = np.concatenate([np.arange(1, len(stroke) + 1) == len(stroke) for stroke in drawn])
    moves = np.diff(np.concatenate(drawn), axis=0)
    return np.column_stack([moves, ends[1:]]).astype(np.float32)


def pen_letters(rng: np.random.Generator, count: int) -> list[tuple[FloatArray, int]]:
    """Made-up letters e, l, o, m and t, each slanted, stretched and shaken: (movements, place).

    >>> moves, place = pen_letters(np.random.default_rng(0), 1)[0]
    >>> moves.shape, PEN_LETTERS[place]
    ((16, 3), 't')
    """
    places = rng.integers(len(PEN_LETTERS), size=whole_number("pen_letters", "count", count))
    return [(pen_movements(_written(rng, PEN_LETTERS[place])), int(place)) for place in places]


def _written(rng: np.random.Generator, letter: str) -> list[NDArray[Any]]:
    slant, (wide, high) = rng.normal(0.2, 0.15), np.exp(rng.normal(0, 0.15, 2))
    strokes = []
    for shape in _SHAPES[letter]:
        x, y = np.array([shape.real, shape.imag]) + rng.normal(0, 0.08, (2, len(shape))).cumsum(1)
        strokes.append(np.column_stack([wide * x + slant * high * y, high * y]))
    return strokes


def read_pendigits(path: str | os.PathLike[str]) -> list[tuple[FloatArray, int]]:
    """The UCI set "Pen-Based Recognition of Handwritten Digits": (movements, digit) of each line.

    A line has eight points x, y from 0 to 100, which are divided by 40, and the digit.

    Raises:
        DataError: not such a file; the message names the line.
    """
    found = []
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        words = [word.strip() for word in line.split(",")]
        if len(words) != 17 or not all(w.isdigit() for w in words) or int(words[-1]) > 9:
            got = f"{line[:40]!r} in line {number}"
            raise DataError("read_pendigits", "16 coordinates and a digit a line", got)
        points = np.array(words[:16], dtype=float).reshape(8, 2) / 40
        found.append((pen_movements([points]), int(words[-1])))
    return found
