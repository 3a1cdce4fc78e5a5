"""The forecaster: its forecasts are what stepping it by hand gives, in the units of the file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from runs_in_tests import assert_same_run, small_text_settings, write_series, write_text

import tinygrad_rnn as tg
from tinygrad_rnn.baselines import LinearAR
from tinygrad_rnn.data import LengthBatches, windows
from tinygrad_rnn.errors import CheckpointError, DataError
from tinygrad_rnn.optim import Adam
from tinygrad_rnn.train import (
    LAST,
    Forecaster,
    SeriesSettings,
    Trainer,
    forecasts,
    load_forecaster,
    series_run,
    text_run,
)
from tinygrad_rnn.train.forecasting import forecast_loss

SMALL: dict[str, Any] = {"hidden": 5, "window": 12, "batch": 8, "steps": 14, "validate_every": 5}


def settings(file: Path, **others: Any) -> SeriesSettings:
    return SeriesSettings(file=str(file), target="y", **{**SMALL, **others})


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write_series(tmp_path)


def by_hand(model: Forecaster, history: Any, steps: int, controls: Any) -> list[float]:
    """One window, one value at a time: the true ones, then the model's own."""
    said, state = [], None
    for row in history:
        value, state = model(tg.tensor(np.array(row, np.float32)[None, None]), state)
    for step in range(steps):
        said.append(value.item())
        row = np.array([said[-1], *controls[step]], np.float32)
        value, state = model(tg.tensor(row[None, None]), state)
    return said


def test_free_forecasts_are_those_of_stepping_by_hand(rng: np.random.Generator) -> None:
    model = Forecaster(inputs=2, hidden_size=4, num_layers=2).eval()
    series, inputs = rng.standard_normal(30), rng.standard_normal((30, 2))
    cut = windows(series, 6, 5, inputs)
    with tg.no_grad():
        expected = [
            by_hand(model, cut.history[:, b], 5, cut.controls[:, b])
            for b in range(len(cut.origins))
        ]
    found = forecasts(model, cut, 5, batch=7)  # in several parts
    np.testing.assert_allclose(found.T, expected, atol=1e-6)


def test_an_untrained_forecaster_with_no_output_is_persistence(rng: np.random.Generator) -> None:
    model = Forecaster(inputs=0, hidden_size=4).eval()
    with tg.no_grad():
        model.output.weight.zero_()
        model.output.bias.zero_()
    cut = windows(rng.standard_normal(20), 5, 3)
    last = np.float32(cut.history[-1, :, 0])
    np.testing.assert_array_equal(forecasts(model, cut, 3), [last] * 3)


@pytest.mark.parametrize("horizon", [1, 4])
def test_the_loss_is_one_step_plus_free(horizon: int, rng: np.random.Generator) -> None:
    model = Forecaster(inputs=1, hidden_size=4)
    cut = windows(rng.standard_normal(40), 10, horizon, rng.standard_normal(40))
    chosen = np.array([3, 0, 7])

    class Batch:
        inputs, indices = cut.history[:, chosen], chosen

    with tg.no_grad():
        loss, carry = forecast_loss(model, cut)(Batch, None)
        history = tg.tensor(cut.history[:, chosen].astype(np.float32))
        ahead = model(history)[0].numpy()
    expected = np.mean((ahead[2:] - cut.next_values[2:, chosen]) ** 2)
    if horizon > 1:
        free = forecasts(model, cut, horizon)[:, chosen]
        expected += np.mean((free - cut.targets[:, chosen, 0]) ** 2)
    assert carry is None
    assert loss.item() == pytest.approx(expected, rel=1e-5)


def test_a_resumed_run_is_the_uninterrupted_run(file: Path, tmp_path: Path) -> None:
    chosen = settings(file, inputs=("push",), horizon=2, dropout=0.3)
    series_run(chosen).trainer.run(14, folder=tmp_path / "whole", validate_every=5)
    folder = tmp_path / "parts"

    def stop(trainer: Any, batch: Any) -> None:
        if trainer.step == 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        series_run(chosen).trainer.run(14, folder=folder, validate_every=5, on_step=stop)
    run = series_run(chosen)
    run.trainer.load(folder / LAST)
    assert run.trainer.step == 5
    run.trainer.run(14, folder=folder, validate_every=5)
    assert_same_run(folder / LAST, tmp_path / "whole" / LAST)


def test_a_loaded_forecaster_says_the_same(file: Path, tmp_path: Path) -> None:
    run = series_run(settings(file, inputs=("push",)))
    run.trainer.run(3, folder=tmp_path)
    model, chosen, scales, baseline = load_forecaster(tmp_path / LAST)
    run.model.eval()
    cut = run.table.windows(12, 4, run.parts.test)
    np.testing.assert_array_equal(forecasts(model, cut, 4), forecasts(run.model, cut, 4))
    assert chosen == run.settings
    assert scales.to_dict() == run.table.scales.to_dict()
    past = run.table.series[:50]
    np.testing.assert_array_equal(baseline.forecast(past, 6), run.baseline.forecast(past, 6))


def test_nothing_is_measured_on_the_held_out_parts(file: Path) -> None:
    """Another future changes neither scales nor the baseline's order of candidates."""
    run = series_run(settings(file))
    first = run.table.scales.to_dict()
    lines = file.read_text().splitlines()
    lines[-20:] = ["x,1000,1000"] * 20  # the test part
    file.write_text("\n".join(lines))
    again = series_run(settings(file))
    assert again.table.scales.to_dict() == first
    assert again.baseline.coefficients.tolist() == run.baseline.coefficients.tolist()


def test_values_come_back_in_the_units_of_the_file(file: Path) -> None:
    table = series_run(settings(file, inputs=("push",))).table
    cut = table.windows(12, 1)
    np.testing.assert_allclose(table.in_units(cut.targets[0, :, 0]), table.series[12:], rtol=1e-9)


def test_training_on_a_linear_series_comes_near_its_law(file: Path) -> None:
    run = series_run(settings(file, inputs=("push",), hidden=16, lr=0.02))
    run.trainer.run(150, validate_every=150)
    (_, error), *_ = run.trainer.history.validations
    assert error < 0.3
    assert isinstance(run.baseline, LinearAR)


def test_a_language_model_is_no_forecaster(tmp_path: Path) -> None:
    text_run(small_text_settings(write_text(tmp_path))).trainer.run(1, folder=tmp_path)
    with pytest.raises(CheckpointError, match="a run of kind 'series' expected"):
        load_forecaster(tmp_path / LAST)


@pytest.mark.parametrize("others", [{"window": 200}, {"horizon": 60}, {"window": 112}])
def test_a_series_too_short_is_refused_with_what_to_do(others: Any, file: Path) -> None:
    with pytest.raises(DataError, match="lower --window or --horizon"):
        series_run(settings(file, **others))


def test_everything_stays_on_the_device(device: str, rng: np.random.Generator) -> None:
    series, inputs = rng.standard_normal(60), rng.standard_normal((60, 1))
    cut = windows(series, 8, 3, inputs)
    batches = LengthBatches(list(cut.history.swapaxes(0, 1)), batch_size=7, pool=1)
    model = Forecaster(inputs=1, hidden_size=4).to(device)
    optimizer = Adam(model.parameters(), lr=0.01)
    trainer = Trainer(
        model, optimizer, batches, forecast_loss(model, cut, device),
        validate=lambda: float(np.square(forecasts(model, cut, 3) - cut.targets[..., 0]).mean()),
    )  # fmt: skip
    history = trainer.run(20, validate_every=10)
    assert model.output.weight.device == device
    assert history.validations[1][1] < history.validations[0][1]


@pytest.mark.parametrize(("name", "part"), [("validation", (112, 136)), ("test", (136, 160))])
def test_a_part_that_does_not_vary_is_refused_before_training(
    name: str, part: tuple[int, int], file: Path
) -> None:
    """Its NMSE is 0/0: found out at the first validation, or at the end, the work were lost."""
    rows = file.read_text(encoding="utf-8").splitlines()
    for row in range(*part):
        rows[1 + row] = f"day{row},0.5,{row}"
    file.write_text("\n".join(rows) + "\n", encoding="utf-8")
    with pytest.raises(DataError, match=f"a {name} part that varies"):
        series_run(settings(file))
