"""Two pictures: how a loss went down, and how forecasts follow the truth.

A curve is (label, x, y). All text stands beside the data, never on it; the colours can be told
apart by colour-blind readers too (Okabe and Ito, 2008).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..errors import ArgumentError, MissingDependencyError

__all__ = ["plot_forecast", "plot_losses"]

PathName = str | os.PathLike[str]
Curve = tuple[str, ArrayLike, ArrayLike]

BLACK, GREY, PALE = "#222222", "#8a8a8a", "#c4c4c4"
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
STYLE = {
    "axes.spines.right": False, "axes.spines.top": False, "axes.edgecolor": GREY,
    "axes.grid": True, "axes.axisbelow": True, "grid.color": "#e6e6e6", "grid.linewidth": 0.8,
    "axes.titlelocation": "left", "axes.titlesize": 12, "axes.labelcolor": BLACK,
    "xtick.color": BLACK, "ytick.color": BLACK, "font.size": 10, "legend.frameon": False,
    "legend.fontsize": 9,
}  # fmt: skip


@contextmanager
def _picture(path: PathName, width: float, height: float, rows: int) -> Iterator[list[Any]]:
    """Axes to draw on; the picture is written when the block ends.

    The figure stands outside pyplot: no window, no global state.
    """
    try:
        import matplotlib
        import matplotlib.figure
    except ImportError:
        hint = 'pip install "tinygrad-rnn[viz]"'
        raise MissingDependencyError("draw", "the package matplotlib", "none", hint) from None
    with matplotlib.rc_context(STYLE):
        figure = matplotlib.figure.Figure(figsize=(width, height), layout="constrained")
        yield list(figure.subplots(rows, 1, squeeze=False)[:, 0])
        try:
            figure.savefig(path, dpi=150)
        except (OSError, ValueError) as error:  # ValueError: an extension that is no picture's
            raise ArgumentError("draw", "a picture file that can be written", error) from error


def plot_losses(
    path: PathName,
    losses: ArrayLike,
    validations: Sequence[tuple[int, float]] = (),
    *,
    smoothed: ArrayLike | None = None,
    levels: Mapping[str, float] | None = None,
    ylabel: str = "loss",
    title: str = "",
    logarithmic: bool = False,
) -> None:
    """Draw the loss of every step, its average, the validations, and levels to compare with.

    ``levels`` are horizontal lines, each named at the right margin, the model's own first. The
    picture's format is that of the path's extension.

    Raises:
        ArgumentError: no losses, or the file cannot be written.
        MissingDependencyError: matplotlib is not installed.
    """
    values = np.asarray(losses, dtype=np.float64)
    if values.ndim != 1 or len(values) == 0:
        raise ArgumentError("plot_losses", "at least one loss", f"shape {values.shape}")
    with _picture(path, 8.5, 4.8, 1) as (axes,):
        _draw_losses(axes, values, smoothed)
        if validations:
            style = {"color": COLORS[1], "marker": "o", "markersize": 3.5, "linewidth": 1.4}
            style["clip_on"] = False  # the last one stands on the frame
            axes.plot(*zip(*validations), label="held out (validation)", **style)
        axes.set(xlabel="training step", ylabel=ylabel, xlim=(0, len(values)))
        axes.set_yscale("log" if logarithmic else "linear")
        _frame(axes, values, [value for _, value in validations], levels or {})
        _draw_levels(axes, levels or {})
        axes.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=3, borderaxespad=0.2)
        axes.set_title(title, pad=26)


def _draw_losses(axes: Any, values: Any, smoothed: ArrayLike | None) -> None:
    steps = np.arange(1, len(values) + 1)
    axes.plot(steps, values, color=COLORS[5], linewidth=0.7, alpha=0.6, label="training, each step")
    if smoothed is not None:
        axes.plot(steps, smoothed, color=COLORS[0], linewidth=1.6, label="training, average")


def _frame(
    axes: Any, losses: Any, validations: Sequence[float], levels: Mapping[str, float]
) -> None:
    """Leave the first steps' peaks above the frame if they would flatten all that follows."""
    finite = losses[np.isfinite(losses)]
    shown = [*np.quantile(finite, [0.0, 0.995]), *validations, *levels.values()]
    low, high = min(shown), max(shown)
    if axes.get_yscale() == "log":
        axes.set_ylim(low / 1.15, high * 1.15)
    else:
        margin = 0.04 * (high - low) or 0.5
        axes.set_ylim(low - margin, high + margin)


def _draw_levels(axes: Any, levels: Mapping[str, float]) -> None:
    """Horizontal lines, named beside the axes; the first, the model's own, in its colour."""
    own = next(iter(levels), None)
    ordered = sorted(levels.items(), key=lambda item: item[1])
    scale = axes.transData.transform
    low, high = (scale((0, y))[1] for y in axes.get_ylim())
    heights = [(scale((0, value))[1] - low) / (high - low) for _, value in ordered]
    for (name, value), place in zip(ordered, _push_apart(heights, 0.045)):
        color, width = (COLORS[2], 1.4) if name == own else (GREY, 0.9)
        axes.axhline(value, color=color, linewidth=width, linestyle=(0, (4, 3)), zorder=1.5)
        axes.annotate(
            name, (1.0, value), (1.03, place), axes.get_yaxis_transform(), "axes fraction",
            {"arrowstyle": "-", "color": color, "linewidth": width, "shrinkA": 1, "shrinkB": 0},
            annotation_clip=False, va="center", fontsize=9,
        )  # fmt: skip


def _push_apart(places: Sequence[float], gap: float) -> list[float]:
    """Sorted places moved at least ``gap`` apart, by the least sum of squares.

    Less k gaps, the k-th place must not decrease: neighbours that would are given their mean.
    """
    blocks: list[list[float]] = []
    for index, place in enumerate(places):
        blocks.append([place - index * gap])
        while len(blocks) > 1 and fmean(blocks[-2]) > fmean(blocks[-1]):
            blocks[-2:] = [blocks[-2] + blocks[-1]]
    means = [fmean(block) for block in blocks for _ in block]
    return [mean + index * gap for index, mean in enumerate(means)]


def plot_forecast(
    path: PathName,
    panels: Mapping[str, Sequence[Curve]],
    *,
    xlabel: str = "time",
    ylabel: str = "value",
    marks: Mapping[str, float] | None = None,
) -> None:
    """Draw one panel below the other, each a title and its curves; the first curve is the truth.

    ``marks`` gives, by title, an x at which a panel gets a vertical line: where a forecast
    starts. The frame follows the truth, so a forecast that runs away leaves it.

    Raises:
        ArgumentError: no panel, or the file cannot be written.
        MissingDependencyError: matplotlib is not installed.
    """
    if not panels or not all(panels.values()):
        raise ArgumentError("plot_forecast", "panels with a curve each", dict(panels))
    with _picture(path, 10, 3.3 * len(panels), len(panels)) as rows:
        for axes, (title, curves) in zip(rows, panels.items()):
            _draw_curves(axes, curves)
            if marks and title in marks:
                axes.axvline(marks[title], color=GREY, linewidth=1, linestyle=(0, (2, 2)))
            _follow(axes, curves[0][2])
            axes.set(title=title, ylabel=ylabel)
            axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
        rows[-1].set_xlabel(xlabel)


def _draw_curves(axes: Any, curves: Sequence[Curve]) -> None:
    for number, (label, x, y) in enumerate(curves):
        # The truth lies below, broad and pale, so that a good forecast can be seen upon it.
        color, width = (PALE, 5.0) if number == 0 else (COLORS[(number - 1) % len(COLORS)], 1.4)
        order = 2 if number == 0 else 3 - 0.1 * number
        axes.plot(x, y, label=label, color=color, linewidth=width, zorder=order)


def _follow(axes: Any, truth: ArrayLike) -> None:
    values = np.asarray(truth, dtype=np.float64)
    low, high = float(values.min()), float(values.max())
    margin = 0.25 * (high - low) or 1.0
    axes.set_ylim(low - margin, high + margin)
