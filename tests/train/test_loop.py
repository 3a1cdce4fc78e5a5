"""The training loop: resumed runs are the same run, and what goes wrong spoils nothing."""

from __future__ import annotations

import math
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from runs_in_tests import assert_same_run, small_text_settings, write_text

import tinygrad_rnn as tg
from tinygrad_rnn import nn, optim
from tinygrad_rnn.errors import (
    ArgumentError,
    CheckpointError,
    DataError,
    NonFiniteLossError,
    TinygradRNNError,
)
from tinygrad_rnn.train import (
    BEST,
    LAST,
    TextRun,
    Trainer,
    load_checkpoint,
    save_checkpoint,
    text_run,
)


@pytest.fixture
def text(tmp_path: Path) -> Path:
    return write_text(tmp_path)


def fresh(text: Path, **others: Any) -> TextRun:
    return text_run(small_text_settings(text, **others))


@pytest.fixture
def whole(text: Path, tmp_path: Path) -> Path:
    """The folder of a run that nothing interrupted."""
    run = fresh(text)
    run.trainer.run(24, folder=tmp_path / "whole", validate_every=6)
    return tmp_path / "whole"


class Line:
    """Batches that are numbers; a minimal data set with a place in it."""

    def __init__(self, length: int = 4) -> None:
        self.position, self.length = 0, length

    def __iter__(self) -> Iterator[int]:
        while self.position < self.length:
            self.position += 1
            yield self.position - 1
        self.position = 0

    def state_dict(self) -> dict[str, Any]:
        return {"position": self.position}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.position = state["position"]


class Slope(nn.Module):
    """One weight, which the loss below pulls to 3."""

    def __init__(self) -> None:
        self.weight = nn.Parameter([0.0])


def slope(loss: Any = None, **options: Any) -> Trainer:
    model = Slope()

    def pull(batch: int, carry: Any) -> tuple[Any, Any]:
        return ((model.weight - 3.0) ** 2).sum(), None

    optimizer = optim.SGD(model.parameters(), lr=0.1)
    return Trainer(model, optimizer, Line(), loss(model) if loss else pull, **options)


# ------------------------------------------------------------------------------- it trains
def test_every_step_is_one_step_of_the_optimiser() -> None:
    trainer = slope()
    history = trainer.run(3)
    weights = [0.0, 0.6, 1.08]  # w ← w − 0.1·2(w − 3)
    np.testing.assert_allclose(history.losses, [(w - 3) ** 2 for w in weights], rtol=1e-6)
    assert trainer.step == 3


def test_a_second_run_goes_on_to_the_new_number_of_steps() -> None:
    trainer = slope()
    trainer.run(3)
    assert len(trainer.run(5).losses) == 5
    assert len(trainer.run(5).losses) == 5


def test_the_gradient_is_clipped() -> None:
    trainer = slope(max_norm=0.5)
    trainer.run(1)
    assert trainer.model.weight.item() == pytest.approx(0.05)  # of 0.6 without


def test_the_carry_is_handed_on_detached_and_reset_with_each_epoch() -> None:
    seen: list[tuple[int, Any]] = []

    def counting(model: Slope) -> Any:
        def loss(batch: int, carry: Any) -> tuple[Any, Any]:
            assert carry is None or not carry["h"].requires_grad
            seen.append((batch, None if carry is None else carry["h"].item()))
            return (model.weight**2).sum(), {"h": model.weight.sum() * 0 + batch}

        return loss

    slope(counting).run(6)
    assert seen == [(0, None), (1, 0.0), (2, 1.0), (3, 2.0), (0, None), (1, 0.0)]


def test_validation_runs_in_eval_mode_and_records_nothing() -> None:
    states: list[tuple[bool, bool]] = []
    trainer = slope()

    def validate() -> float:
        states.append((trainer.model.training, tg.is_grad_enabled()))
        return 1.0

    trainer.validate = validate
    trainer.run(5, validate_every=2)
    assert states == [(False, False)] * 3  # steps 2, 4 and the last
    assert [step for step, _ in trainer.history.validations] == [2, 4, 5]


def test_the_best_checkpoint_is_that_of_the_lowest_validation(tmp_path: Path) -> None:
    values = iter([3.0, 1.0, 2.0])
    trainer = slope(validate=lambda: next(values))
    trainer.run(3, folder=tmp_path, validate_every=1)
    assert trainer.history.best == (2, 1.0)
    assert load_checkpoint(tmp_path / BEST).tensors["model.weight"] == pytest.approx(1.08)
    assert load_checkpoint(tmp_path / LAST).tensors["model.weight"] == pytest.approx(1.464)


# ------------------------------------------------------------------------- resumed runs
@pytest.mark.parametrize("stop", [1, 5, 12, 13, 16, 23])
def test_a_resumed_run_is_the_uninterrupted_run_bit_for_bit(
    stop: int, text: Path, whole: Path, tmp_path: Path
) -> None:
    def interrupt(trainer: Trainer, batch: Any) -> None:
        if trainer.step == stop:
            signal.raise_signal(signal.SIGINT)

    folder = tmp_path / "parts"
    with pytest.raises(KeyboardInterrupt, match=f"after step {stop}; saved to"):
        fresh(text).trainer.run(24, folder=folder, validate_every=6, on_step=interrupt)
    tg.manual_seed(123)  # whatever a new process would start with
    run = fresh(text)
    run.trainer.load(folder / LAST)
    assert run.trainer.step == stop
    run.trainer.run(24, folder=folder, validate_every=6)
    assert_same_run(folder / LAST, whole / LAST)
    assert_same_run(folder / BEST, whole / BEST)


def test_a_run_killed_without_warning_resumes_from_its_last_save(
    text: Path, whole: Path, tmp_path: Path
) -> None:
    class Killed(Exception):
        pass

    def kill(trainer: Trainer, batch: Any) -> None:
        if trainer.step == 17:
            raise Killed

    with pytest.raises(Killed):
        fresh(text).trainer.run(24, folder=tmp_path, validate_every=6, on_step=kill)
    run = fresh(text)
    run.trainer.load(tmp_path / LAST)
    assert run.trainer.step == 12
    run.trainer.run(24, folder=tmp_path, validate_every=6)
    assert_same_run(tmp_path / LAST, whole / LAST)
    assert_same_run(tmp_path / BEST, whole / BEST)


def test_a_run_can_go_back_to_a_checkpoint_of_its_own(text: Path, tmp_path: Path) -> None:
    run = fresh(text)
    run.trainer.run(5, folder=tmp_path)
    run.trainer.save(tmp_path / "five.ckpt")
    run.trainer.run(8)
    run.trainer.save(tmp_path / "first.ckpt")
    run.trainer.load(tmp_path / "five.ckpt")
    run.trainer.run(8)
    run.trainer.save(tmp_path / "second.ckpt")
    assert_same_run(tmp_path / "second.ckpt", tmp_path / "first.ckpt")


def test_saving_changes_nothing(text: Path, whole: Path, tmp_path: Path) -> None:
    run = fresh(text)
    run.trainer.run(
        24,
        folder=tmp_path,
        validate_every=6,
        on_step=lambda trainer, batch: trainer.save(tmp_path / "now.ckpt"),
    )
    assert_same_run(tmp_path / LAST, whole / LAST)


def test_a_checkpoint_of_another_text_changes_nothing(text: Path, tmp_path: Path) -> None:
    run = fresh(text)
    run.trainer.run(3, folder=tmp_path)
    text.write_text(text.read_text().replace("fox", "ape").replace("five", "foxy"))
    other = fresh(text)
    other.trainer.save(tmp_path / "before.ckpt")
    with pytest.raises(DataError, match="checksum"):
        other.trainer.load(tmp_path / LAST)
    other.trainer.save(tmp_path / "after.ckpt")
    assert_same_run(tmp_path / "after.ckpt", tmp_path / "before.ckpt")


def test_a_checkpoint_of_another_model_changes_nothing(text: Path, tmp_path: Path) -> None:
    fresh(text).trainer.run(3, folder=tmp_path)
    other = fresh(text, hidden=7)
    other.trainer.save(tmp_path / "before.ckpt")
    with pytest.raises(TinygradRNNError, match="weight_hh_l0"):
        other.trainer.load(tmp_path / LAST)
    other.trainer.save(tmp_path / "after.ckpt")
    assert_same_run(tmp_path / "after.ckpt", tmp_path / "before.ckpt")


def test_a_checkpoint_that_is_no_run_is_refused(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "w.ckpt", {"w": np.zeros(2)}, {"step": 3})
    with pytest.raises(CheckpointError, match="the state of a run expected"):
        slope().load(tmp_path / "w.ckpt")


# ----------------------------------------------------------------------- what goes wrong
def turns(at: int, value: float) -> Any:
    """A loss that is multiplied by ``value`` in one step."""

    def make(model: Slope) -> Any:
        count = iter(range(1, 100))

        def loss(batch: int, carry: Any) -> tuple[Any, Any]:
            factor = value if next(count) == at else 1.0
            return ((model.weight - 3.0) ** 2).sum() * factor, None

        return loss

    return make


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_not_finite_stops_and_names_the_step(value: float, tmp_path: Path) -> None:
    trainer = slope(turns(4, value))
    with pytest.raises(NonFiniteLossError, match="in step 4") as caught:
        trainer.run(9, folder=tmp_path, validate_every=2)
    assert f"the last good checkpoint is {tmp_path / LAST}" in str(caught.value)
    assert trainer.step == 3
    assert trainer.model.weight.item() == pytest.approx(1.464)  # as after step 3
    assert load_checkpoint(tmp_path / LAST).tensors["model.weight"] == pytest.approx(1.08)


def test_a_gradient_that_is_not_finite_stops_before_it_is_used() -> None:
    def steep(model: Slope) -> Any:
        return lambda batch, carry: (tg.sqrt(model.weight.sum()), None)

    trainer = slope(steep)
    with pytest.raises(
        NonFiniteLossError, match="finite gradient norm expected, got inf in step 1"
    ):
        trainer.run(1)
    assert trainer.model.weight.item() == 0


def test_a_validation_that_is_not_finite_saves_nothing(tmp_path: Path) -> None:
    values = iter([1.0, math.nan])
    trainer = slope(validate=lambda: next(values))
    with pytest.raises(NonFiniteLossError, match="finite validation"):
        trainer.run(4, folder=tmp_path, validate_every=2)
    assert load_checkpoint(tmp_path / LAST).tensors["model.weight"] == pytest.approx(1.08)


@pytest.mark.parametrize(
    "options", [{"steps": 0}, {"steps": 1.5}, {"steps": True}, {"validate_every": 0}]
)
def test_numbers_of_steps_are_checked(options: dict[str, Any]) -> None:
    with pytest.raises(ArgumentError, match=next(iter(options))):
        slope().run(**{"steps": 3, **options})


def test_a_folder_that_cannot_be_made_is_refused_before_training(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    trainer = slope()
    with pytest.raises(ArgumentError, match="a folder that can be made"):
        trainer.run(3, folder=tmp_path / "file" / "runs")
    assert trainer.step == 0


# ----------------------------------------------------------------------------- Ctrl-C
def test_a_stop_signal_waits_for_the_end_of_the_step(tmp_path: Path) -> None:
    def interrupting(model: Slope) -> Any:
        def loss(batch: int, carry: Any) -> tuple[Any, Any]:
            signal.raise_signal(signal.SIGTERM)
            return ((model.weight - 3.0) ** 2).sum(), None

        return loss

    trainer = slope(interrupting)
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt, match="after step 1; saved"):
        trainer.run(5, folder=tmp_path)
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before
    assert trainer.model.weight.item() == pytest.approx(0.6)


def test_a_stop_signal_during_the_first_save_is_heeded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who waits for the file and then sends a signal must not kill the run by it."""
    trainer = slope()
    save = trainer.save

    def signalling(path: Path) -> None:
        save(path)
        if trainer.step == 0 and signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
            signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(trainer, "save", signalling)
    with pytest.raises(KeyboardInterrupt, match="after step 0; saved"):
        trainer.run(5, folder=tmp_path)


def test_a_second_ctrl_c_stops_at_once() -> None:
    def impatient(model: Slope) -> Any:
        def loss(batch: int, carry: Any) -> tuple[Any, Any]:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
            raise AssertionError("the second signal did nothing")

        return loss

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may ignore it
    try:
        with pytest.raises(KeyboardInterrupt):
            slope(impatient).run(5)
    finally:
        signal.signal(signal.SIGINT, before)


def test_training_works_in_another_thread() -> None:
    trainer = slope()
    thread = threading.Thread(target=trainer.run, args=(3,))
    thread.start()
    thread.join()
    assert trainer.step == 3
