"""One measured figure, and what it is held to."""

from __future__ import annotations

from typing import Any, NamedTuple

from .timing import Spread

__all__ = ["Measure", "absolute", "as_json", "faster", "from_json", "longer", "verdict"]


class Measure(NamedTuple):
    """A line of a table.

    `ours` and `theirs` are in `unit`, as minimum and median; `figure` is what the target speaks
    of, once from the minima and once from the medians: how many times faster we are, how many
    times longer we take, or the value itself. `sense` is ">=" or "<=".
    """

    part: str
    what: str
    size: str
    unit: str
    ours: Spread
    against: str
    theirs: Spread | None
    figure: Spread
    kind: str
    sense: str
    target: float | None


def faster(
    part: str, what: str, size: str, ours: Spread, against: str, theirs: Spread,
    target: float | None = None, unit: str = "s",
) -> Measure:  # fmt: skip
    """How many times faster than another: theirs / ours."""
    figure = _over(theirs, ours)
    return Measure(
        part, what, size, unit, ours, against, theirs, figure, "times faster", ">=", target
    )


def longer(
    part: str, what: str, size: str, ours: Spread, against: str, theirs: Spread,
    target: float | None = None, unit: str = "s",
) -> Measure:  # fmt: skip
    """How many times as long, or as large, as another: ours / theirs."""
    figure = _over(ours, theirs)
    return Measure(part, what, size, unit, ours, against, theirs, figure, "times", "<=", target)


def absolute(
    part: str, what: str, size: str, ours: Spread, unit: str = "s", target: float | None = None,
    sense: str = "<=",
) -> Measure:  # fmt: skip
    """A value that stands for itself."""
    return Measure(part, what, size, unit, ours, "", None, ours, "value", sense, target)


def _over(above: Spread, below: Spread) -> Spread:
    """The quotients; 1 where both are too small to be seen."""
    low, median = (a / max(b, 1e-9) if a != b else 1.0 for a, b in zip(above, below, strict=True))
    return Spread(low, median)


def verdict(measure: Measure) -> str:
    """Is it met: "yes", "no", only "by minimum" or "by median"; "" where there is no target."""
    if measure.target is None:
        return ""
    at_least, target = measure.sense == ">=", measure.target
    low, median = ((f >= target) if at_least else (f <= target) for f in measure.figure)
    if low == median:
        return "yes" if low else "no"
    return "by minimum" if low else "by median"


def as_json(measure: Measure) -> dict[str, Any]:
    """A plain dict; spreads become pairs."""
    return measure._asdict()


def from_json(fields: dict[str, Any]) -> Measure:
    """The measure that `as_json` wrote."""
    spreads = {name: Spread(*fields[name]) for name in ("ours", "figure")}
    theirs = fields["theirs"] and Spread(*fields["theirs"])
    return Measure(**{**fields, **spreads, "theirs": theirs})
