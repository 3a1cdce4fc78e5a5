"""One picture: how many times faster than each peer, on a logarithmic axis.

Dots are the medians, with a line to the figure of the minima; a short bar marks the target.
"""

from __future__ import annotations

from itertools import cycle
from pathlib import Path
from typing import Any

from .measure import Measure, from_json

__all__ = ["draw"]

COLORS = (
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#222222", "#8c6d31",
)  # fmt: skip
GREY, PALE = "#8a8a8a", "#e6e6e6"
ROW, MARGIN = 0.24, 1.1  # inches
Rows = dict[str, list[Measure]]  # label → the measures that stand there


def draw(report: dict[str, dict[str, Any]], path: Path) -> bool:
    """Write the picture; False where there is nothing to draw or no matplotlib."""
    panels = {key: _rows(part) for key, part in report.items()}
    panels = {key: rows for key, rows in panels.items() if rows}
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return False
    if not panels:
        return False
    heights = [len(rows) + 2 for rows in panels.values()]
    figure = Figure(figsize=(9, ROW * sum(heights) + MARGIN), layout="constrained")
    axes = figure.subplots(len(panels), 1, squeeze=False, sharex=True, height_ratios=heights)
    drawn = [m for rows in panels.values() for measures in rows.values() for m in measures]
    colors = dict(zip(sorted({_family(m) for m in drawn}), cycle(COLORS), strict=False))
    for axis, (key, rows) in zip(axes[:, 0], panels.items(), strict=True):
        _panel(axis, key, rows, colors)
    axes[-1, 0].set_xlabel(
        "times faster than the peer (left of 1: slower); the labels end in T, B, H"
    )
    _legend(figure, colors)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130, bbox_inches="tight")
    return True


def _family(measure: Measure) -> str:
    """What shares a colour: nn.LSTM, nn.GRU and nn.RNN do."""
    return "PyTorch's layers" if measure.against.startswith("nn.") else measure.against


def _rows(part: dict[str, Any]) -> Rows:
    rows: Rows = {}
    for measure in map(from_json, part["measures"]):
        if measure.kind == "times faster":
            rows.setdefault(f"{measure.what}  {measure.size}", []).append(measure)
    return rows


def _panel(axis: Any, key: str, rows: Rows, colors: dict[str, str]) -> None:
    part, threads = key.split("/")
    axis.set_title(f"{part}, {threads} thread{'s' * (threads != '1')}", loc="left", fontsize=11)
    axis.set_xscale("log")
    axis.axvline(1.0, color=GREY, linewidth=1)
    for height, measures in enumerate(rows.values()):
        for m in measures:
            color = colors[_family(m)]
            axis.plot(m.figure, [height, height], color=color, linewidth=2)
            axis.plot(m.figure.median, height, "o", color=color, markersize=5)
            if m.target is not None:
                axis.plot(m.target, height, "|", color=color, markersize=11, markeredgewidth=2)
    axis.set_yticks(range(len(rows)), rows, fontsize=8)
    axis.set_ylim(len(rows) - 0.4, -0.6)
    axis.xaxis.set_major_formatter("{x:g}")
    axis.grid(axis="x", which="both", color=PALE)
    axis.set_axisbelow(True)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)


def _legend(figure: Any, colors: dict[str, str]) -> None:
    from matplotlib.lines import Line2D

    entries = [
        Line2D([], [], color=color, marker="o", linewidth=2, label=peer)
        for peer, color in colors.items()
    ]
    entries.append(Line2D([], [], color=GREY, marker="|", linewidth=0, markersize=11,
                          markeredgewidth=2, label="target"))  # fmt: skip
    figure.legend(handles=entries, loc="outside upper center", ncols=5, frameon=False, fontsize=9)
