"""What a first training loop gets wrong: refused by name, before anything has changed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from runs_in_tests import assert_resumes, assert_same_run

import tinygrad_rnn as tg
from tinygrad_rnn import nn, optim
from tinygrad_rnn.data import ContinuousBatches
from tinygrad_rnn.errors import ArgumentError, CheckpointError, DTypeError
from tinygrad_rnn.train import Trainer, load_char_lm, load_forecaster, save_checkpoint

DATA = np.random.default_rng(7).standard_normal((40, 3)).astype(np.float32)


def error_of(model: nn.Module) -> Any:
    return lambda batch, carry: (10 * model(tg.tensor(batch[0])).square().mean(), None)


def made(rate: Any = None, loss: Any = None, **options: Any) -> Trainer:
    """A network of two layers of which only the second is trained."""
    tg.manual_seed(3)
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))
    optimizer = optim.SGD(model[2].parameters(), lr=0.1)
    batches = ContinuousBatches(DATA, batch_size=3, steps=2)
    schedule = None if rate is None else rate(optimizer)
    return Trainer(model, optimizer, batches, loss or error_of(model), schedule=schedule, **options)


def weights(trainer: Trainer) -> list[Any]:
    return [p.tolist() for p in trainer.model.parameters()]


def decay(optimizer: Any) -> Any:
    return optim.ExponentialLR(optimizer, 0.9)


def plateau(optimizer: Any) -> Any:
    return optim.ReduceLROnPlateau(optimizer, factor=0.5, patience=0)


# ------------------------------------------------------------ parameters that nobody trains
def test_gradients_that_the_optimiser_does_not_use_shorten_no_step() -> None:
    """They are never cleared, so that their norm would grow and the steps fade away."""
    one, other = made(max_norm=0.5), made(max_norm=0.5)
    for layer in list(other.model)[:1]:
        layer.requires_grad_(False)
    one.run(8)
    other.run(8)
    assert weights(one) == weights(other)


def test_a_resumed_run_does_not_miss_gradients_that_nobody_clears(tmp_path: Path) -> None:
    assert_resumes(lambda: made(max_norm=0.5), 3, 8, tmp_path)


# ------------------------------------------------------------------------------- schedules
@pytest.mark.parametrize(("stored", "here"), [(None, decay), (decay, None)])
def test_a_schedule_is_not_dropped_or_begun_in_a_resumed_run(
    stored: Any, here: Any, tmp_path: Path
) -> None:
    earlier, trainer = made(stored), made(here)
    earlier.run(3)
    earlier.save(tmp_path / "run.ckpt")
    before = weights(trainer)
    with pytest.raises(CheckpointError, match="schedule"):
        trainer.load(tmp_path / "run.ckpt")
    assert weights(trainer) == before
    assert trainer.step == 0


def test_a_plateau_listens_to_the_validations() -> None:
    values = iter([3.0, 2.0, 2.0, 1.0, 1.0])
    trainer = made(plateau, validate=lambda: next(values))
    rates = []
    trainer.run(10, validate_every=2, on_step=lambda t, _: rates.append(t.schedule.get_last_lr()))
    assert [rate for (rate,) in rates] == [0.1] * 6 + [0.05] * 4
    assert trainer.schedule.get_last_lr() == [0.025]


def test_a_run_on_a_plateau_resumes_bit_for_bit(tmp_path: Path) -> None:
    def run(folder: str, stop: int, start: str | None = None) -> None:
        values = iter([3.0, 2.0, 2.0, 1.0, 1.0])
        trainer = made(plateau, validate=lambda: next(values))
        if start:
            trainer.load(tmp_path / start / "last.ckpt")
            for _ in trainer.history.validations:
                next(values)
        trainer.run(stop, folder=tmp_path / folder, validate_every=2)

    run("whole", 10)
    run("part", 6)
    run("resumed", 10, "part")
    assert_same_run(tmp_path / "resumed" / "last.ckpt", tmp_path / "whole" / "last.ckpt")


def test_a_plateau_without_a_validation_has_nothing_to_listen_to() -> None:
    with pytest.raises(ArgumentError, match="a validation"):
        made(plateau)


def test_a_schedule_that_ends_before_the_run_is_refused_before_the_first_step() -> None:
    """It would end the run after a step of the optimiser that no history knows of."""

    def cycle(optimizer: Any) -> Any:
        return optim.OneCycleLR(optimizer, 0.1, 5, cycle_momentum=False)

    trainer = made(cycle)
    trainer.run(3)
    before = weights(trainer)
    with pytest.raises(ArgumentError, match="at most 5 calls"):
        trainer.run(6)
    assert weights(trainer) == before
    assert trainer.step == 3
    assert len(trainer.run(5).losses) == 5


@pytest.mark.parametrize("kind", [optim.LBFGS, optim.HessianFree, optim.EKF])
def test_an_optimiser_that_asks_for_more_than_a_gradient_is_refused(kind: Any) -> None:
    trainer = made()
    with pytest.raises(DTypeError, match=f"a gradient of a batch is enough for.*{kind.__name__}"):
        Trainer(trainer.model, kind(trainer.model.parameters()), trainer.batches, trainer.loss)


# ------------------------------------------------------------------------- what a loss gives
@pytest.mark.parametrize(
    "give",
    [
        lambda loss: loss,
        lambda loss: (loss,),
        lambda loss: (loss.item(), None),
        lambda loss: None,
    ],
)
def test_a_loss_that_is_no_pair_is_named(give: Any) -> None:
    trainer = made()
    whole = trainer.loss
    trainer.loss = lambda batch, carry: give(whole(batch, carry)[0])
    before = weights(trainer)
    with pytest.raises(DTypeError, match=r"to give \(loss, carry\)"):
        trainer.run(2)
    assert weights(trainer) == before


@pytest.mark.parametrize("carry", [3, {"h": np.zeros(2)}, "state"])
def test_a_carry_of_what_is_no_tensor_stops_before_the_step(carry: Any) -> None:
    trainer = made()
    whole = trainer.loss
    trainer.loss = lambda batch, _: (whole(batch, None)[0], carry)
    before = weights(trainer)
    with pytest.raises(DTypeError, match="a carry of tensors"):
        trainer.run(2)
    assert weights(trainer) == before


@pytest.mark.parametrize("value", [None, "low", [1.0, 2.0]])
def test_a_validation_that_is_no_number_is_named(value: Any) -> None:
    with pytest.raises(DTypeError, match="a number expected"):
        made(validate=lambda: value).run(1)


@pytest.mark.parametrize("batches", [[1, 2], iter([1]), None])
def test_batches_without_a_place_are_refused(batches: Any) -> None:
    trainer = made()
    with pytest.raises(DTypeError, match="batches that know their place"):
        Trainer(trainer.model, trainer.optimizer, batches, trainer.loss)


class Few:
    """A data set whose epoch has ended before its first batch."""

    position = 0

    def __iter__(self) -> Iterator[Any]:
        return iter(())

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        pass


def test_an_epoch_without_a_batch_ends_the_run_with_a_word() -> None:
    """Looking for a batch in one epoch after another would never end."""
    trainer = made()
    with pytest.raises(ArgumentError, match="at least one batch in an epoch"):
        Trainer(trainer.model, trainer.optimizer, Few(), trainer.loss).run(1)


# ---------------------------------------------------------------------- foreign checkpoints
@pytest.mark.parametrize("state", [[1, 2], "run", 3, {"model": 1, "about": 2}])
def test_a_checkpoint_of_something_else_is_no_run(state: Any, tmp_path: Path) -> None:
    path = tmp_path / "other.ckpt"
    save_checkpoint(path, {"w": np.zeros(2)}, state)
    for load in (made().load, load_char_lm, load_forecaster):
        with pytest.raises(CheckpointError):
            load(path)


@pytest.mark.parametrize(("kind", "load"), [("text", load_char_lm), ("series", load_forecaster)])
def test_a_run_that_only_calls_itself_so_is_refused(kind: str, load: Any, tmp_path: Path) -> None:
    made(about={"kind": kind}).save(tmp_path / "own.ckpt")
    with pytest.raises(CheckpointError, match="settings"):
        load(tmp_path / "own.ckpt")
