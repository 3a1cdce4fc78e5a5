"""A picture of a labelling: what is heard above, and below when the network says which label.

Legend: T steps, C classes, D bands of a spectrogram.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..errors import ArgumentError, ShapeError
from .plots import COLORS, GREY, PathName, _picture

__all__ = ["plot_labelling"]

SHOWN = 0.5  # a label is named where its probability is above


def plot_labelling(
    path: PathName,
    spectrogram: ArrayLike,
    probabilities: ArrayLike,
    names: Sequence[str],
    *,
    seconds: float,
    blank: int = 0,
    title: str = "",
) -> None:
    """Draw a spectrogram (any number of frames, D) above the probabilities (T, C) of CTC.

    Args:
        names: of the C classes; that of the blank is in the legend only, its curve is grey.
        seconds: the length of both.

    Raises:
        ShapeError: not two arrays of two axes, or not as many names as classes.
        ArgumentError: seconds <= 0, a blank that is no class, or a file that cannot be written.
        MissingDependencyError: matplotlib is not installed.
    """
    heard, found = np.asarray(spectrogram), np.asarray(probabilities)
    if heard.ndim != 2 or found.ndim != 2 or not heard.size or not found.size:
        got = f"{heard.shape} and {found.shape}"
        raise ShapeError("plot_labelling", "arrays of shapes (frames, D) and (T, C)", got)
    if len(names) != found.shape[1]:
        raise ShapeError("plot_labelling", f"{found.shape[1]} names of classes", len(names))
    if not seconds > 0 or not 0 <= blank < len(names):
        got = f"{seconds} and {blank}"
        raise ArgumentError("plot_labelling", "seconds > 0 and a blank among the classes", got)
    with _picture(path, 10, 5.6, 2) as (above, below):
        above.imshow(
            heard.T, origin="lower", aspect="auto", cmap="magma",
            extent=(0, seconds, 0, heard.shape[1]), interpolation="nearest",
        )  # fmt: skip
        above.grid(False)
        above.set(title=title, ylabel="mel band", xlim=(0, seconds))
        _draw_classes(below, found, names, seconds, blank)


def _draw_classes(
    axes: Any, found: np.ndarray, names: Sequence[str], seconds: float, blank: int
) -> None:
    times = (np.arange(len(found)) + 0.5) * seconds / len(found)
    axes.plot(times, found[:, blank], color=GREY, linewidth=1, label=names[blank])
    others = [k for k in range(len(names)) if k != blank]
    for number, k in enumerate(others):
        axes.plot(times, found[:, k], color=COLORS[number % len(COLORS)], linewidth=1.6)
        for peak in _peaks(found[:, k]):
            axes.annotate(
                names[k], (times[peak], found[peak, k]), (0, 3), textcoords="offset points",
                ha="center", fontsize=11,
            )  # fmt: skip
    axes.set(xlim=(0, seconds), ylim=(0, 1.18), xlabel="seconds", ylabel="probability")
    axes.set_yticks([0, 0.5, 1])
    axes.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), borderaxespad=0.2)


def _peaks(curve: np.ndarray) -> list[int]:
    """The highest step of each stretch in which a label is probable."""
    likely = np.flatnonzero(curve > SHOWN)
    stretches = np.split(likely, np.flatnonzero(np.diff(likely) > 1) + 1)
    return [int(stretch[curve[stretch].argmax()]) for stretch in stretches if len(stretch)]
