"""Schedules whose groups grow while they run, as layer after layer is set free."""

from __future__ import annotations

from typing import Any

import pytest

import tinygrad_rnn as tg
from tinygrad_rnn import optim
from tinygrad_rnn.errors import ArgumentError, DTypeError


def make(*rates: float) -> optim.Optimizer:
    groups = [{"params": tg.tensor([0.0], requires_grad=True), "lr": rate} for rate in rates]
    return optim.SGD(groups, momentum=0.5)


@pytest.mark.parametrize(
    "schedule_of",
    [
        lambda o: optim.LambdaLR(o, lambda t: 1 / (1 + t)),
        lambda o: optim.OneCycleLR(o, 2.0, 40),
        lambda o: optim.LinearWarmup(o, 2, optim.OneCycleLR(o, 2.0, 40)),
    ],
)
def test_what_was_said_of_all_groups_holds_for_one_added_later(schedule_of: Any) -> None:
    optimizer, whole = make(2.0), make(2.0, 2.0)
    schedule, other = schedule_of(optimizer), schedule_of(whole)
    optimizer.add_param_group({"params": tg.tensor([0.0]), "lr": 2.0})
    for _ in range(3):
        schedule.step()
        other.step()
    assert schedule.get_last_lr() == other.get_last_lr()


@pytest.mark.parametrize(
    "schedule_of",
    [
        lambda o: optim.LambdaLR(o, [lambda t: 1.0, lambda t: 0.5]),
        lambda o: optim.OneCycleLR(o, [1.0, 2.0], 10),
        lambda o: optim.ReduceLROnPlateau(o, patience=0, min_lr=[0.0, 0.1]),
    ],
)
def test_what_was_said_of_each_group_says_nothing_of_one_added_later(schedule_of: Any) -> None:
    optimizer = make(1.0, 2.0)
    schedule = schedule_of(optimizer)
    figure = [1.0] if isinstance(schedule, optim.ReduceLROnPlateau) else []
    schedule.step(*figure)
    optimizer.add_param_group({"params": tg.tensor([0.0])})
    before = schedule.get_last_lr(), schedule.last_epoch
    with pytest.raises(ArgumentError, match="one for each of 3 groups"):
        schedule.step(*figure)
    assert before == (schedule.get_last_lr(), schedule.last_epoch)


def test_a_plateau_lowers_the_rate_of_a_group_added_later() -> None:
    optimizer = make(1.0)
    schedule = optim.ReduceLROnPlateau(optimizer, factor=0.5, patience=0, min_lr=0.3)
    optimizer.add_param_group({"params": tg.tensor([0.0]), "lr": 2.0})
    for _ in range(4):
        schedule.step(1.0)
    assert schedule.get_last_lr() == [0.3, 0.3]


# --------------------------------------------------------- one schedule for an optimiser
def test_two_schedules_do_not_undo_each_other_in_silence() -> None:
    """A rate is a function of the epoch: the second would overwrite what the first one set."""
    optimizer = make(1.0)
    first, second = optim.ExponentialLR(optimizer, 0.9), optim.StepLR(optimizer, 3)
    first.step()
    with pytest.raises(ArgumentError, match=r"StepLR: rates as step\(\) left them") as caught:
        second.step()
    assert "SequentialLR" in str(caught.value)
    assert (second.last_epoch, optimizer.param_groups[0]["lr"]) == (0, 0.9)


def test_a_rate_set_by_hand_is_not_undone_in_silence() -> None:
    optimizer = make(1.0, 2.0)
    schedule = optim.ExponentialLR(optimizer, 0.5)
    schedule.step()
    optimizer.param_groups[1]["lr"] = 0.1
    with pytest.raises(ArgumentError, match=r"\[0\.5, 1\.0\] expected, got \[0\.5, 0\.1\]"):
        schedule.step()
    schedule.load_state_dict(schedule.state_dict())  # says that the schedule is right
    schedule.step()
    assert schedule.get_last_lr() == [0.25, 0.5]


def test_schedules_in_a_row_are_one() -> None:
    optimizer = make(1.0)
    parts = [optim.LinearLR(optimizer, 0.1, 1.0, 2), optim.ExponentialLR(optimizer, 0.5)]
    schedule = optim.SequentialLR(optimizer, parts, [2])
    for _ in range(3):
        schedule.step()
    assert schedule.get_last_lr() == [0.5]
    state, copy = schedule.state_dict(), make(1.0)
    other = optim.ExponentialLR(copy, 0.5)
    copy.load_state_dict(optimizer.state_dict())
    other.load_state_dict(state)
    other.step()
    assert other.last_epoch == 4


@pytest.mark.parametrize(("milestones", "error"), [([], ArgumentError), (None, DTypeError)])
def test_no_schedules_in_a_row_are_none(milestones: Any, error: Any) -> None:
    with pytest.raises(error, match="milestones"):
        optim.SequentialLR(make(1.0), [], milestones)
