"""A recurrent forecaster of one series: what it is, how it is trained, how well it predicts.

Legend: N times, T times in a window, B windows side by side, I inputs beside the series.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..baselines import LinearAR, nmse
from ..create import manual_seed
from ..data import (
    LengthBatches,
    PaddedBatch,
    SplitInTime,
    Standardizer,
    Windows,
    read_csv,
    split_in_time,
    windows,
)
from ..errors import ArgumentError, DataError, TinygradRNNError
from ..graph import no_grad
from ..losses import mse_loss
from ..nn import Dropout, Linear, Module
from ..ops.shape import cat
from ..tensor import Tensor, as_tensor
from .checkpoint import load_checkpoint
from .loop import Trainer, read_about
from .packing import unpack
from .recipe import CELLS, adam_with_schedule
from .settings import SeriesSettings

__all__ = [
    "Forecaster",
    "SeriesRun",
    "Table",
    "forecast_loss",
    "forecasts",
    "load_forecaster",
    "series_run",
]

FloatArray = NDArray[np.float64]
WASHOUT = 0.2  # share of a window at whose times the state is still too young to be judged


class Forecaster(Module):
    """Predicts the next value of a series: recurrent layers, and a linear map to the change.

    ``model(xs (T, B, 1 + I), state) -> (next values (T, B, 1), state)``, where column 0 of xs is
    the series itself: ŷ(t+1) = y(t) + W h(t) + b.

    >>> import tinygrad_rnn as tg
    >>> model = Forecaster(inputs=2, hidden_size=8)
    >>> model(tg.zeros(5, 4, 3))[0].shape
    (5, 4, 1)
    """

    def __init__(
        self,
        inputs: int,
        hidden_size: int,
        num_layers: int = 1,
        *,
        cell: str = "lstm",
        dropout: float = 0.0,
    ) -> None:
        if cell not in CELLS:
            raise ArgumentError("Forecaster", f"a cell among {', '.join(CELLS)}", repr(cell))
        between = dropout if num_layers != 1 else 0.0
        self.recurrent = CELLS[cell](1 + inputs, hidden_size, num_layers, dropout=between)
        self.dropout = Dropout(dropout)
        self.output = Linear(hidden_size, 1)

    def forward(self, xs: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """The value that follows each time, and the state to go on from."""
        hidden, state = self.recurrent(xs, state)
        return xs[..., :1] + self.output(self.dropout(hidden)), state

    def run_free(self, first: Tensor, state: Any, steps: int, controls: Tensor) -> list[Tensor]:
        """Go on for ``steps`` steps from the forecast ``first`` (1, B, 1), each fed back.

        ``controls`` (steps, B, I) are the inputs at the times of the forecasts.
        """
        found = [first]
        for step in range(steps - 1):
            fed = cat([found[-1], controls[step : step + 1]], dim=2)
            value, state = self(fed, state)
            found.append(value)
        return found


def forecast_loss(model: Forecaster, cut: Windows, device: str = "cpu") -> Any:
    """``loss(batch, carry) -> (loss, carry)`` for a Trainer over windows picked by number.

    The mean squared error one step ahead at every time of a window but its first fifth, plus,
    for a horizon above 1, that of the values which the model runs freely to.
    """
    following = cut.next_values
    washout = int(WASHOUT * len(following))
    steps = len(cut.targets)

    def loss(batch: PaddedBatch, carry: None) -> tuple[Tensor, None]:
        history, later, targets, controls = (
            as_tensor(part, dtype="float32", device=device)
            for part in (
                batch.inputs,
                following[washout:, batch.indices],
                cut.targets[:, batch.indices],
                cut.controls[:, batch.indices],
            )
        )
        predicted, state = model(history)
        error = mse_loss(predicted[washout:], later)
        if steps == 1:
            return error, None
        free = model.run_free(predicted[-1:], state, steps, controls)
        return error + mse_loss(cat(free), targets), None

    return loss


def forecasts(model: Forecaster, cut: Windows, steps: int, batch: int = 256) -> FloatArray:
    """Free-running forecasts (steps, B) after every window, in the units of the windows."""
    device = next(iter(model.parameters())).device
    found = []
    with no_grad():
        for start in range(0, cut.history.shape[1], batch):
            part = slice(start, start + batch)
            history, controls = (
                as_tensor(whole[:, part], dtype="float32", device=device)
                for whole in (cut.history, cut.controls)
            )
            predicted, state = model(history)
            free = cat(model.run_free(predicted[-1:], state, steps, controls))
            found.append(free[..., 0].to("cpu").numpy().astype(np.float64))
    return np.concatenate(found, axis=1)


def _measured(series: FloatArray, inputs: FloatArray) -> Standardizer:
    part = split_in_time(len(series)).train
    return Standardizer.fit(np.column_stack([series, inputs])[part])


@dataclass(frozen=True, eq=False)
class Table:
    """A series (N,), its inputs (N, I), and how to standardize both."""

    series: FloatArray
    inputs: FloatArray
    scales: Standardizer

    @classmethod
    def read(
        cls, path: str | os.PathLike[str], settings: SeriesSettings, scales: Standardizer | None
    ) -> Table:
        """Read a CSV file; scales are measured on its training part if none are given."""
        series, inputs = read_csv(path, settings.target, settings.inputs, settings.delimiter)
        return cls(series, inputs, scales or _measured(series, inputs))

    def was_trained_on(self) -> bool:
        """Whether the scales are those of this very table, so that a model has seen its start."""
        try:
            return _measured(self.series, self.inputs).to_dict() == self.scales.to_dict()
        except TinygradRNNError:  # too short a table, or a constant column: none to train on
            return False

    def windows(self, window: int, horizon: int, part: slice | None = None) -> Windows:
        """The standardized windows whose targets lie in ``part``."""
        both = self.scales.transform(np.column_stack([self.series, self.inputs]))
        return windows(both[:, 0], window, horizon, both[:, 1:], part)

    def in_units(self, values: FloatArray) -> FloatArray:
        """Standardized values of the series in the units of the file."""
        return values * self.scales.scale[0] + self.scales.mean[0]


@dataclass
class SeriesRun:
    """A run on one table: its parts, which follow each other, and what trains on them."""

    settings: SeriesSettings
    table: Table
    parts: SplitInTime
    model: Forecaster
    baseline: LinearAR  # of the order that does best on the validation part
    trainer: Trainer


def series_run(settings: SeriesSettings) -> SeriesRun:
    """Read the table, split it, build model and trainer; nothing is trained yet.

    Raises:
        DataError: a file that is no such table, or one too short for the settings.
        DeviceError, MissingDependencyError: the device is not there.
    """
    table = Table.read(settings.file, settings, None)
    parts = split_in_time(len(table.series))
    cut, held = (
        _cut(table, settings, part, name)
        for part, name in ((parts.train, "training"), (parts.validation, "validation"))
    )
    for part, name in ((parts.validation, "validation"), (parts.test, "test")):
        _check_varies(table.series[part], name)
    baseline = LinearAR.select(table.series[parts.train], table.series[parts.validation])
    manual_seed(settings.seed)
    model = _build(settings).to(settings.device)
    batches = LengthBatches(
        list(cut.history.swapaxes(0, 1)), batch_size=settings.batch, seed=settings.seed, pool=1
    )
    optimizer, schedule = adam_with_schedule(model, settings)
    trainer = Trainer(
        model,
        optimizer,
        batches,
        forecast_loss(model, cut, settings.device),
        validate=lambda: nmse(held.targets[..., 0], forecasts(model, held, settings.horizon)),
        schedule=schedule,
        max_norm=settings.clip or None,
        about={
            "kind": "series",
            "settings": settings.to_dict(),
            "scales": table.scales.to_dict(),
            "baseline": [baseline.intercept, baseline.coefficients.tolist()],
        },
    )
    return SeriesRun(settings, table, parts, model, baseline, trainer)


def _cut(table: Table, settings: SeriesSettings, part: slice, name: str) -> Windows:
    need, have = settings.window + settings.horizon, part.stop
    if (name == "training" and have < need) or part.stop - part.start < settings.horizon:
        got = f"{part.stop - part.start} of the {len(table.series)} rows"
        hint = "lower --window or --horizon, or give a longer series"
        raise DataError("train series", f"enough rows to cut the {name} windows from", got, hint)
    return table.windows(settings.window, settings.horizon, part)


def _check_varies(values: FloatArray, name: str) -> None:
    """Errors are measured in units of the spread of what is forecast."""
    if np.ptp(values) == 0:
        expected, got = f"a {name} part that varies", f"{len(values)} times {values[0]:g}"
        raise DataError("train series", expected, got, "leave out the rows at the end?")


def _build(settings: SeriesSettings) -> Forecaster:
    return Forecaster(
        len(settings.inputs),
        settings.hidden,
        settings.layers,
        cell=settings.cell,
        dropout=settings.dropout,
    )


class Loaded(NamedTuple):
    """What a checkpoint of a series run holds for use."""

    model: Forecaster
    settings: SeriesSettings
    scales: Standardizer
    baseline: LinearAR


def load_forecaster(path: str | os.PathLike[str], device: str = "cpu") -> Loaded:
    """The model of a checkpoint, in eval mode, and all it takes to use and to judge it.

    Raises:
        CheckpointError: the file is not a whole checkpoint of a forecaster.
        DeviceError, MissingDependencyError: the device is not there.
    """
    checkpoint = load_checkpoint(path)
    about = read_about(path, checkpoint, "series", ("settings", "scales", "baseline"))
    settings = SeriesSettings.from_dict(about["settings"])
    model = _build(settings)
    model.load_state_dict(unpack(checkpoint.tensors, checkpoint.state["model"]))
    intercept, coefficients = about["baseline"]
    scales = Standardizer.from_dict(about["scales"])
    baseline = LinearAR(intercept, np.array(coefficients))
    return Loaded(model.to(device).eval(), settings, scales, baseline)
