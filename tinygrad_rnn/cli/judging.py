"""A forecaster beside persistence and a linear autoregression: numbers, a table, a picture.

Legend: N times of the series, B origins, the times at which free runs start.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..baselines import LinearAR, nmse, persistence
from ..data import Windows
from ..draw import plot_forecast
from ..errors import ArgumentError, DataError
from ..train import Forecaster, Table, forecasts
from .console import optional_picture, show_files, show_table

__all__ = ["Contest", "judge"]

FloatArray = NDArray[np.float64]
SHOWN = 200  # times in the picture of one-step forecasts
LEAST_BEFORE = 30  # times before a free run, to see where it comes from
ORIGINS = 400  # free runs to average over, at most


class Forecasts(NamedTuple):
    """The truth, and by name what each model said of it, in the units of the file."""

    truth: FloatArray
    said: dict[str, FloatArray]

    def errors(self) -> dict[str, float]:
        """The NMSE of every model."""
        return {name: nmse(self.truth, values) for name, values in self.said.items()}


@dataclass(frozen=True)
class Contest:
    """A model, its rivals, and the part of a series on which they are compared."""

    name: str
    model: Forecaster
    window: int
    table: Table
    baseline: LinearAR
    part: slice

    @property
    def rivals(self) -> dict[str, LinearAR]:
        """The baselines by name."""
        return {f"linear AR({self.baseline.order})": self.baseline, "persistence": persistence()}

    def one_step(self) -> Forecasts:
        """Forecasts of every time of the part from the true values before it, shape (N,)."""
        series = self.table.series[: self.part.stop]
        cut = self.table.windows(self.window, 1, self.part)
        said = {self.name: self.table.in_units(forecasts(self.model, cut, 1)[0])}
        for name, rival in self.rivals.items():
            said[name] = rival.one_step(series, start=self.part.start)
        return Forecasts(series[self.part], said)

    def free(self, steps: int) -> tuple[NDArray[np.int64], Forecasts]:
        """The origins, and forecasts (steps, B) that see no true value behind their origin."""
        cut = _thinned(self.table.windows(self.window, steps, self.part))
        said = {self.name: self.table.in_units(forecasts(self.model, cut, steps))}
        for name, rival in self.rivals.items():
            past = self.table.series[np.arange(-rival.order, 0)[:, None] + cut.origins]
            said[name] = rival.forecast(past, steps)
        truth = self.table.series[np.arange(steps)[:, None] + cut.origins]
        return cut.origins, Forecasts(truth, said)


def _thinned(cut: Windows) -> Windows:
    """Origins evenly spread, so that a long part does not take for ever; the first is kept."""
    stride = -(-len(cut.origins) // ORIGINS)
    history, targets, controls, origins = cut
    return Windows(
        history[:, ::stride], targets[:, ::stride], controls[:, ::stride], origins[::stride]
    )


def judge(contest: Contest, label: str, steps: int, folder: Path) -> None:
    """Compare one step ahead and running freely; print it, and write a table and a picture.

    Raises:
        DataError: the part is shorter than a free run, or does not vary.
    """
    available = max(0, contest.part.stop - contest.part.start)
    if available < steps:
        hint = "lower --steps, or give a longer table"
        raise DataError("forecast", f"at least {steps} values to compare with", available, hint)
    ahead = contest.one_step()
    origins, free = contest.free(steps)
    runs = f"{len(origins)} run{'s' * (len(origins) != 1)} of {steps} steps"
    _report(contest.name, f"One step ahead, {available:,} forecasts", ahead)
    _report(contest.name, f"Running freely, {runs}", free)
    with optional_picture():
        _draw(folder / "forecast.png", contest, label, ahead, int(origins[0]), free)
    _write(folder / "forecast.csv", contest.part.start, ahead, int(origins[0]), free)
    written = {
        "forecast.png": "truth, forecasts and baselines",
        "forecast.csv": "the same in numbers, all one-step forecasts and the first free run",
    }
    show_files(f"in {folder}", folder, written)


def _report(name: str, title: str, compared: Forecasts) -> None:
    errors = compared.errors()
    own = errors.pop(name)
    rows = [[name, f"{own:.3g}", ""]]
    rows += [
        [rival, f"{error:.3g}", "beaten" if own < error else "not beaten"]
        for rival, error in errors.items()
    ]
    show_table(title, ["", "NMSE", ""], rows)


def _draw(
    path: Path, contest: Contest, label: str, ahead: Forecasts, origin: int, free: Forecasts
) -> None:
    stop = contest.part.stop
    times = np.arange(max(contest.part.start, stop - SHOWN), stop)
    ends = np.arange(origin, origin + len(free.truth))
    before = np.arange(max(0, origin - max(len(ends), LEAST_BEFORE)), origin)
    series = contest.table.series
    one = [("truth", times, series[times])]
    run = [("truth", np.append(before, ends), series[before[0] : ends[-1] + 1])]
    for name, error in ahead.errors().items():
        one.append((f"{name}\nNMSE {error:.3g}", times, ahead.said[name][-len(times) :]))
    for name, error in free.errors().items():
        run.append((f"{name}\nNMSE {error:.3g}", ends, free.said[name][:, 0]))
    title = f"Running freely for {len(ends)} steps (NMSE: mean over all runs)"
    panels = {"One step ahead": one, title: run}
    plot_forecast(path, panels, xlabel="row", ylabel=label, marks={title: origin - 0.5})


def _write(path: Path, start: int, ahead: Forecasts, origin: int, free: Forecasts) -> None:
    header = ["row", "truth", *ahead.said, *(f"{name}, free" for name in free.said)]
    columns = [ahead.truth, *ahead.said.values()]
    columns += [
        _placed(values[:, 0], origin - start, len(ahead.truth)) for values in free.said.values()
    ]
    try:
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(header)
            for row, values in enumerate(np.column_stack(columns).tolist(), start):
                writer.writerow([row, *("" if np.isnan(v) else v for v in values)])
    except OSError as error:
        raise ArgumentError("forecast", "a table that can be written", error) from error


def _placed(values: FloatArray, offset: int, length: int) -> FloatArray:
    """The values at their place in a column that is empty elsewhere."""
    column = np.full(length, np.nan)
    column[offset : offset + len(values)] = values
    return column
