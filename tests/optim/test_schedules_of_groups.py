"""Schedules whose groups grow while they run, as layer after layer is set free."""

from __future__ import annotations

from typing import Any

import pytest

import tinygrad_rnn as tg
from tinygrad_rnn import optim
from tinygrad_rnn.errors import ArgumentError


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


def test_what_was_said_of_each_group_says_nothing_of_one_added_later() -> None:
    optimizer = make(1.0, 2.0)
    schedules = [
        optim.LambdaLR(optimizer, [lambda t: 1.0, lambda t: 0.5]),
        optim.OneCycleLR(optimizer, [1.0, 2.0], 10),
    ]
    plateau = optim.ReduceLROnPlateau(optimizer, patience=0, min_lr=[0.0, 0.1])
    plateau.step(1.0)
    optimizer.add_param_group({"params": tg.tensor([0.0])})
    before = [group["lr"] for group in optimizer.param_groups], plateau.state_dict()
    for step in [schedule.step for schedule in schedules] + [lambda: plateau.step(1.0)]:
        with pytest.raises(ArgumentError, match="one for each of 3 groups"):
            step()
    assert before == ([group["lr"] for group in optimizer.param_groups], plateau.state_dict())


def test_a_plateau_lowers_the_rate_of_a_group_added_later() -> None:
    optimizer = make(1.0)
    schedule = optim.ReduceLROnPlateau(optimizer, factor=0.5, patience=0, min_lr=0.3)
    optimizer.add_param_group({"params": tg.tensor([0.0]), "lr": 2.0})
    for _ in range(4):
        schedule.step(1.0)
    assert schedule.get_last_lr() == [0.3, 0.3]
