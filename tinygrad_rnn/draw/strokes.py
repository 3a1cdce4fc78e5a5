"""One picture: what a pen has written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from ..errors import ArgumentError, ShapeError
from .plots import BLACK, PathName, _picture

__all__ = ["plot_strokes"]


def plot_strokes(
    path: PathName, rows: Mapping[str, Sequence[ArrayLike]], *, title: str = ""
) -> None:
    """Draw each named row of writings, one beside the other, from their movements (N, 3).

    A movement is (Δx, Δy, lifted); where the pen is lifted the line is broken. All are drawn to
    one scale.

    Raises:
        ArgumentError: nothing to draw, or the file cannot be written. ShapeError: no movements.
        MissingDependencyError.
    """
    drawn = {name: [_points(moves) for moves in row] for name, row in rows.items()}
    if not any(drawn.values()):
        raise ArgumentError("plot_strokes", "at least one writing", "none")
    every = [points for row in drawn.values() for points, _ in row]
    cell = 1.25 * max(np.ptp(points, axis=0).max() for points in every) or 1.0
    longest = max(map(len, drawn.values()))
    with _picture(path, 0.9 * longest + 1.5, 0.95 * len(drawn) + 0.6, len(drawn)) as panels:
        for axes, (name, row) in zip(panels, drawn.items(), strict=True):
            for place, (points, ends) in enumerate(row):
                middle = (points.max(0) + points.min(0)) / 2
                for stroke in np.split(points - middle + [cell * place, 0], ends):
                    axes.plot(*stroke.T, color=BLACK, linewidth=1.3, solid_capstyle="round")
            axes.set(aspect="equal", xticks=[], yticks=[], ylim=(-cell / 2, cell / 2))
            axes.set_xlim(-cell / 2, cell * (longest - 0.5))
            axes.set_ylabel(name, rotation=0, ha="right", va="center")
            axes.spines[:].set_visible(False)
        panels[0].set_title(title)


def _points(moves: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """The points, and where a new stroke begins among them."""
    given = np.asarray(moves, dtype=np.float64)
    if given.ndim != 2 or given.shape[1] != 3:
        raise ShapeError("plot_strokes", "movements (N, 3)", str(given.shape))
    points = np.cumsum(np.vstack([[0, 0], given[:, :2]]), axis=0)
    return points, np.flatnonzero(given[:, 2] > 0) + 2
