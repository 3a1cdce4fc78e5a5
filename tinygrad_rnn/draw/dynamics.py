"""Two pictures of recurrences: whether gradients survive, and where recursion leads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..errors import ArgumentError
from ..recurrence import FATES, stability
from .plots import COLORS, GREY, PathName, _picture

__all__ = ["plot_gradient_norms", "plot_recursions"]


def plot_gradient_norms(path: PathName, norms: Mapping[str, ArrayLike], *, title: str = "") -> None:
    """Draw ‖∂L/∂hₜ‖ against t, one line for each named row (see `recurrence.gradient_norms`).

    The scale is logarithmic: a straight line that falls to the left is a gradient that vanishes at
    a constant rate. A norm of 0 leaves a gap.

    Raises:
        ArgumentError: no row, or the file cannot be written. MissingDependencyError.
    """
    if not norms:
        raise ArgumentError("plot_gradient_norms", "at least one row of norms", "none")
    with _picture(path, 8.5, 4.8, 1) as (axes,):
        for number, (label, row) in enumerate(norms.items()):
            values = np.asarray(row, dtype=np.float64)
            seen = np.where((values > 0) & np.isfinite(values), values, np.nan)
            axes.plot(seen, label=label, color=COLORS[number % len(COLORS)], linewidth=1.6)
        axes.set(xlabel="time step t", ylabel="‖∂L/∂h(t)‖", title=title, yscale="log")
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))


def plot_recursions(
    path: PathName,
    functions: Sequence[str] = ("sigmoid", "tanh", "relu"),
    weights: ArrayLike | None = None,
    *,
    steps: int = 400,
) -> None:
    """Draw where h ← f(w h) ends from a grid of starts, for each w: one panel a function.

    Dots are coloured by fate: a fixed point, a cycle of two, or no rest; where starts explode, a
    mark stands at the upper margin.

    Raises:
        ArgumentError: an unknown function, or the file cannot be written. MissingDependencyError.
    """
    grid = np.linspace(-8, 8, 257) if weights is None else np.asarray(weights, dtype=np.float64)
    starts = np.linspace(-2, 2, 17)[:, None]
    with _picture(path, 8.5, 2.6 * len(functions), len(functions)) as rows:
        for axes, function in zip(rows, functions):
            found = [stability(function, [[w]], starts, steps) for w in grid]
            ends = np.stack([each.final[:, 0] for each in found])
            fates = np.stack([each.fate for each in found])
            _draw_ends(axes, np.repeat(grid, len(starts)), ends.ravel(), fates.ravel())
            axes.set(title=function, ylabel="h after many steps", ylim=(-1.15, 1.15))
            axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), markerscale=3)
        rows[-1].set_xlabel("w in h ← f(w h)")


def _draw_ends(axes: Any, x: Any, y: Any, fates: Any) -> None:
    for code, (name, color) in enumerate(zip(FATES, (COLORS[0], COLORS[2], COLORS[1], GREY))):
        chosen = fates == code
        if chosen.any():
            shown = np.minimum(y[chosen], 1.08) if name == "explosion" else y[chosen]
            axes.plot(x[chosen], shown, ".", markersize=2.5, color=color, label=name)
