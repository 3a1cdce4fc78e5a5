"""Schedules: closed forms, states, groups added later, and options that are refused."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import pytest

import tinygrad_rnn as tg
from tinygrad_rnn import optim
from tinygrad_rnn.errors import ArgumentError, DTypeError, StateDictError


def make(*rates: float) -> optim.Optimizer:
    groups = [{"params": tg.tensor([0.0], requires_grad=True), "lr": r} for r in rates or (1.0,)]
    return optim.SGD(groups, momentum=0.5)


Maker = Callable[[optim.Optimizer], optim.LRScheduler]
SCHEDULES: dict[str, Maker] = {
    "step": lambda o: optim.StepLR(o, 3, 0.5),
    "multistep": lambda o: optim.MultiStepLR(o, [7, 2], 0.5),
    "exponential": lambda o: optim.ExponentialLR(o, 0.5),
    "constant": lambda o: optim.ConstantLR(o, 0.25, 3),
    "linear": lambda o: optim.LinearLR(o, 0.5, 1.0, 4),
    "polynomial": lambda o: optim.PolynomialLR(o, 8, 2.0),
    "cosine": lambda o: optim.CosineAnnealingLR(o, 8, 0.1),
    "restarts": lambda o: optim.CosineAnnealingWarmRestarts(o, 4, 2, 0.1),
    "lambda": lambda o: optim.LambdaLR(o, lambda t: 1 / (1 + t)),
    "warmup": lambda o: optim.LinearWarmup(o, 4),
    "warmup, cosine": lambda o: optim.LinearWarmup(o, 4, optim.CosineAnnealingLR(o, 8)),
    "sequential": lambda o: optim.SequentialLR(
        o, [optim.ConstantLR(o, 0.5, 9), optim.ExponentialLR(o, 0.5)], [3]
    ),
    "one cycle": lambda o: optim.OneCycleLR(o, 2.0, 40),
}
EVERY = pytest.mark.parametrize("schedule_of", SCHEDULES.values(), ids=SCHEDULES)

ARCS = [(u, d) for d in (8, 16, 32) for u in range(d // 2)]  # a quarter of the cosine's square
CLOSED: list[tuple[str, list[float]]] = [
    ("step", [1, 1, 1, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25]),
    ("multistep", [1, 1, 0.5, 0.5, 0.5, 0.5, 0.5, 0.25, 0.25]),
    ("exponential", [0.5**t for t in range(9)]),
    ("constant", [0.25, 0.25, 0.25, 1, 1, 1, 1, 1, 1]),
    ("linear", [0.5, 0.625, 0.75, 0.875, 1, 1, 1, 1, 1]),
    ("polynomial", [(1 - t / 8) ** 2 for t in range(9)]),
    ("cosine", [0.1 + 0.9 * math.cos(math.pi * t / 16) ** 2 for t in range(9)]),
    ("restarts", [0.1 + 0.9 * math.cos(math.pi * u / d) ** 2 for u, d in ARCS]),
    ("lambda", [1 / (1 + t) for t in range(9)]),
    ("warmup", [0.25, 0.5, 0.75, 1, 1, 1, 1, 1, 1]),
    ("warmup, cosine", [0.25, 0.5, 0.75, 1, *(math.cos(math.pi * t / 16) ** 2 for t in range(5))]),
    ("sequential", [0.5, 0.5, 0.5, 1, 0.5, 0.25, 0.125]),
]  # fmt: skip


@pytest.mark.parametrize(("name", "expected"), CLOSED, ids=[c[0] for c in CLOSED])
def test_closed_forms(name: str, expected: list[float]) -> None:
    optimizer = make(2.0, 3.0)
    schedule = SCHEDULES[name](optimizer)
    for epoch, factor in enumerate(expected):
        rates = [group["lr"] for group in optimizer.param_groups]
        if name in ("cosine", "restarts"):  # whose end is a rate, not a factor
            part = (factor - 0.1) / 0.9
            assert rates == pytest.approx([0.1 + 1.9 * part, 0.1 + 2.9 * part], rel=1e-13)
        else:
            assert rates == pytest.approx([2 * factor, 3 * factor], rel=1e-13)
        assert schedule.last_epoch == epoch
        assert schedule.get_last_lr() == rates
        schedule.step()


@EVERY
def test_the_rate_of_any_epoch_is_known_beforehand(schedule_of: Maker) -> None:
    optimizer = make(2.0, 3.0)
    schedule = schedule_of(optimizer)
    expected = [[schedule.lr_at(t, 0), schedule.lr_at(t, 1)] for t in range(12)]
    for rates in expected:
        assert [group["lr"] for group in optimizer.param_groups] == rates
        schedule.step()
    assert schedule.lr_at(3) == expected[3][0]


@EVERY
def test_a_state_goes_on_where_it_was(schedule_of: Maker) -> None:
    optimizer, fresh = make(2.0, 3.0), make(5.0, 5.0)
    schedule, other = schedule_of(optimizer), schedule_of(fresh)
    for _ in range(5):
        schedule.step()
    other.load_state_dict(json.loads(json.dumps(schedule.state_dict(), allow_nan=False)))
    for _ in range(6):
        for mine, loaded in zip(optimizer.param_groups, fresh.param_groups, strict=True):
            assert (mine["lr"], mine["momentum"]) == (loaded["lr"], loaded["momentum"])
        schedule.step()
        other.step()


@EVERY
def test_a_state_that_does_not_fit_changes_nothing(schedule_of: Maker) -> None:
    optimizer = make(2.0, 3.0)
    schedule = schedule_of(optimizer)
    schedule.step()
    before = schedule.state_dict(), schedule.get_last_lr()
    for wrong in ({}, {"last_epoch": 3}, {"last_epoch": 3, "base_lrs": [1.0]}):
        with pytest.raises(StateDictError):
            schedule.load_state_dict(wrong)
    for wrong in ({"last_epoch": -1, "base_lrs": [1, 1]}, {"last_epoch": 3, "base_lrs": [1, "x"]}):
        with pytest.raises(ArgumentError):
            schedule.load_state_dict(wrong)
    assert (schedule.state_dict(), schedule.get_last_lr()) == before


def test_going_on_after_an_epoch() -> None:
    optimizer = make(2.0)
    with pytest.raises(ArgumentError, match="initial_lr"):
        optim.ExponentialLR(optimizer, 0.5, last_epoch=3)
    optim.ExponentialLR(optimizer, 0.5)
    schedule = optim.ExponentialLR(optimizer, 0.5, last_epoch=3)
    assert (schedule.last_epoch, schedule.get_last_lr()) == (4, [2 * 0.5**4])


def test_a_group_added_later_joins_with_its_own_rate() -> None:
    optimizer = make(2.0)
    schedule = optim.ExponentialLR(optimizer, 0.5)
    schedule.step()
    optimizer.add_param_group({"params": tg.tensor([0.0]), "lr": 8.0})
    schedule.step()
    assert schedule.get_last_lr() == [0.5, 2.0]
    assert schedule.base_lrs == [2.0, 8.0]


def test_a_schedule_that_reaches_zero_stops_the_parameters() -> None:
    optimizer = make(1.0)
    (x,) = optimizer.param_groups[0]["params"]
    schedule = optim.PolynomialLR(optimizer, 2)
    for _ in range(5):
        x.grad = tg.tensor([1.0])
        optimizer.step()
        schedule.step()
    assert x.tolist() == [-1.0 - 0.5 * 1.5]  # momentum ½; nothing moves at rate 0


# ------------------------------------------------------------------------------- one cycle
@pytest.mark.parametrize("kind", ["SGD", "Adam"])
def test_one_cycle_turns_rate_and_momentum_against_each_other(kind: str) -> None:
    x = tg.tensor([0.0], requires_grad=True)
    optimizer = getattr(optim, kind)([x], lr=1.0)
    schedule = optim.OneCycleLR(optimizer, 2.0, 20, div_factor=10.0, final_div_factor=100.0)
    rates, momenta = [], []
    for _ in range(20):
        group = optimizer.param_groups[0]
        rates.append(group["lr"])
        momenta.append(group["betas"][0] if kind == "Adam" else group["momentum"])
        schedule.step()
    assert (rates[0], max(rates), rates[-1]) == pytest.approx((0.2, 2.0, 0.002))
    assert (momenta[0], min(momenta), momenta[-1]) == pytest.approx((0.95, 0.85, 0.95))
    assert rates.index(max(rates)) == momenta.index(min(momenta)) == 5
    assert optimizer.param_groups[0]["lr"] == rates[-1]  # one step() after every batch is in order
    with pytest.raises(ArgumentError, match="at most 20 calls"):
        schedule.step()
    assert schedule.last_epoch == 20


def test_one_cycle_in_three_phases_comes_back_before_it_ends() -> None:
    optimizer = make(1.0)
    schedule = optim.OneCycleLR(
        optimizer, 1.0, 21, 1 / 3, "linear", div_factor=4.0, three_phase=True
    )
    assert schedule.lr_at(0) == schedule.lr_at(12) == 0.25
    assert schedule.lr_at(6) == 1.0
    assert schedule.lr_at(3) == schedule.lr_at(9) == 0.625
    assert schedule.lr_at(20) == pytest.approx(0.25e-4)


def test_one_cycle_refuses_a_state_beyond_its_end() -> None:
    optimizer = make(1.0)
    schedule = optim.OneCycleLR(optimizer, 2.0, 20)
    before = schedule.state_dict(), optimizer.param_groups[0]["lr"]
    with pytest.raises(ArgumentError, match="at most 20 calls"):
        schedule.load_state_dict({"last_epoch": 21, "base_lrs": [9.0]})
    assert (schedule.state_dict(), optimizer.param_groups[0]["lr"]) == before


# --------------------------------------------------------------------------------- plateau
def test_a_plateau_lowers_the_rate_after_patience_is_over() -> None:
    optimizer = make(1.0, 0.3)
    schedule = optim.ReduceLROnPlateau(
        optimizer, factor=0.5, patience=1, cooldown=1, min_lr=[0.3, 0.2]
    )
    rates = []
    for loss in [5.0, 4.0, 4.0, 4.0, 4.0, 4.0, 4.0, 4.0, 4.0]:
        schedule.step(tg.tensor(loss))
        rates.append(schedule.get_last_lr())
    assert [r[0] for r in rates] == [1, 1, 1, 0.5, 0.5, 0.5, 0.3, 0.3, 0.3]
    assert [r[1] for r in rates] == [0.3] * 3 + [0.2] * 6


def test_a_plateau_does_not_bother_with_changes_below_epsilon() -> None:
    optimizer = make(1.0)
    schedule = optim.ReduceLROnPlateau(optimizer, factor=0.5, patience=0, eps=0.2)
    for _ in range(6):
        schedule.step(1.0)
    assert schedule.get_last_lr() == [0.25]  # 0.125 would be a change of 0.125


def test_a_plateau_remembers_through_its_state() -> None:
    figures = [3.0, math.nan, 2.0, 2.5, 2.5, 2.0, 1.0, 1.0, 1.0, 1.0, 1.0]
    for cut in range(len(figures)):
        whole, before, after = make(1.0), make(1.0), make(1.0)
        full, first, second = (
            optim.ReduceLROnPlateau(o, factor=0.5, patience=1) for o in (whole, before, after)
        )
        for number, figure in enumerate(figures):
            if number == cut:
                second.load_state_dict(json.loads(json.dumps(first.state_dict(), allow_nan=False)))
                after.load_state_dict(before.state_dict())
            full.step(figure)
            (first if number < cut else second).step(figure)
        assert after.param_groups[0]["lr"] == whole.param_groups[0]["lr"] < 1.0
        assert second.state_dict() == full.state_dict()


@pytest.mark.parametrize("threshold_mode", ["rel", "abs"])
@pytest.mark.parametrize(("mode", "sign"), [("min", 1), ("max", -1)])
def test_a_plateau_is_not_deaf_after_an_infinite_figure(
    mode: str, sign: int, threshold_mode: str
) -> None:
    """A first loss that overflowed must not be a best that no later loss can be compared with."""
    optimizer = make(1.0)
    schedule = optim.ReduceLROnPlateau(
        optimizer, mode=mode, patience=2, threshold_mode=threshold_mode
    )
    for figure in [math.inf, math.inf, 9.0, 8.0, 7.0, 6.0, math.inf, math.inf, 5.0, 4.0]:
        schedule.step(sign * figure)
    assert schedule.get_last_lr() == [1.0]
    assert schedule.state_dict()["best"] == sign * 4.0


def test_a_plateau_of_an_infinite_best_can_be_stored() -> None:
    schedule, other = (optim.ReduceLROnPlateau(make(1.0), mode="max") for _ in range(2))
    schedule.step(math.inf)
    other.load_state_dict(schedule.state_dict())
    assert other.state_dict() == schedule.state_dict()


# ---------------------------------------------------------------------------------- errors
@pytest.mark.parametrize("bad", ["1.0", None, True, [1.0]])
def test_a_plateau_listens_to_numbers_only(bad: Any) -> None:
    schedule = optim.ReduceLROnPlateau(make())
    with pytest.raises(ArgumentError, match="a number"):
        schedule.step(bad)
    assert schedule.last_epoch == 0


@pytest.mark.parametrize("bad", [None, [], "state", 3])
@pytest.mark.parametrize("kind", [optim.ReduceLROnPlateau, lambda o: optim.StepLR(o, 3)])
def test_what_is_no_state_at_all_is_refused(kind: Any, bad: Any) -> None:
    schedule = kind(make(1.0))
    with pytest.raises(StateDictError, match=r"last_epoch.* expected, got"):
        schedule.load_state_dict(bad)


def test_rates_in_a_state_that_are_no_list_are_refused() -> None:
    with pytest.raises(StateDictError, match="rates of 1 groups"):
        optim.StepLR(make(1.0), 3).load_state_dict({"last_epoch": 1, "base_lrs": 0.1})


def test_a_plateau_refuses_a_foreign_state() -> None:
    schedule = optim.ReduceLROnPlateau(make())
    with pytest.raises(StateDictError):
        schedule.load_state_dict({"last_epoch": 1, "base_lrs": [1.0]})
    state = {**schedule.state_dict(), "num_bad_epochs": -1}
    with pytest.raises(ArgumentError, match="num_bad_epochs"):
        schedule.load_state_dict(state)
    assert schedule.state_dict()["best"] is None


WRONG: list[tuple[Any, tuple[Any, ...], str]] = [
    (optim.StepLR, (0,), "step_size"),
    (optim.StepLR, (1.5,), "step_size"),
    (optim.StepLR, (2, -0.1), "gamma"),
    (optim.StepLR, (2, math.nan), "gamma"),
    (optim.StepLR, (2, 0.1, -2), "last_epoch"),
    (optim.MultiStepLR, ([2, -1],), "milestones"),
    (optim.MultiStepLR, ([True],), "milestones"),
    (optim.ExponentialLR, ("0.9",), "gamma"),
    (optim.ConstantLR, (-1,), "factor"),
    (optim.ConstantLR, (0.5, -1), "total_iters"),
    (optim.LinearLR, (0.5, math.inf), "end_factor"),
    (optim.LinearLR, (0.5, 1.0, 0), "total_iters"),
    (optim.PolynomialLR, (0,), "total_iters"),
    (optim.PolynomialLR, (3, -1), "power"),
    (optim.CosineAnnealingLR, (0,), "T_max"),
    (optim.CosineAnnealingLR, (3, -0.1), "eta_min"),
    (optim.CosineAnnealingWarmRestarts, (0,), "T_0"),
    (optim.CosineAnnealingWarmRestarts, (3, 0), "T_mult"),
    (optim.LambdaLR, (0.5,), "one function"),
    (optim.LambdaLR, ([abs, abs],), "one function"),
    (optim.LambdaLR, ([0.5],), "one function"),
    (optim.LambdaLR, (lambda t: -1.0,), "lr_lambda"),
    (optim.LambdaLR, (lambda t: None,), "lr_lambda"),
    (optim.LinearWarmup, (-1,), "warmup_steps"),
    (optim.OneCycleLR, (0.0, 10), "max_lr"),
    (optim.OneCycleLR, ([1.0, 1.0], 10), "max_lr"),
    (optim.OneCycleLR, (1.0, 1), "total_steps"),
    (optim.OneCycleLR, (1.0, 10, 1.5), "pct_start"),
    (optim.OneCycleLR, (1.0, 10, 0.01), "pct_start"),
    (optim.OneCycleLR, (1.0, 10, 0.3, "step"), "anneal_strategy"),
    (optim.OneCycleLR, (1.0, 10, 0.3, "cos", True, 1.0), "base_momentum"),
    (optim.OneCycleLR, (1.0, 10, 0.3, "cos", True, 0.8, 0.9, 0), "div_factor"),
    (optim.ReduceLROnPlateau, ("least",), "mode"),
    (optim.ReduceLROnPlateau, ("min", 1.0), "factor"),
    (optim.ReduceLROnPlateau, ("min", 0), "factor"),
    (optim.ReduceLROnPlateau, ("min", 0.1, -1), "patience"),
    (optim.ReduceLROnPlateau, ("min", 0.1, 1, -1), "threshold"),
    (optim.ReduceLROnPlateau, ("min", 0.1, 1, 0, "relative"), "threshold_mode"),
    (optim.ReduceLROnPlateau, ("min", 0.1, 1, 0, "rel", -1), "cooldown"),
    (optim.ReduceLROnPlateau, ("min", 0.1, 1, 0, "rel", 0, -1.0), "min_lr"),
    (optim.ReduceLROnPlateau, ("min", 0.1, 1, 0, "rel", 0, [0, 0]), "min_lr"),
]


@pytest.mark.parametrize(("kind", "arguments", "words"), WRONG)
def test_options_out_of_their_range(kind: Any, arguments: tuple[Any, ...], words: str) -> None:
    optimizer = make(1.0)
    with pytest.raises(ArgumentError, match=words) as caught:
        kind(optimizer, *arguments)
    assert caught.value.called == kind.__name__
    assert optimizer.param_groups[0]["lr"] == 1.0
    assert optimizer.param_groups[0]["momentum"] == 0.5


def test_what_is_not_an_optimiser() -> None:
    for wrong in (None, 0.1, [make()]):
        with pytest.raises(DTypeError, match="an optimiser"):
            optim.StepLR(wrong, 1)  # type: ignore[arg-type]
        with pytest.raises(DTypeError, match="an optimiser"):
            optim.ReduceLROnPlateau(wrong)  # type: ignore[arg-type]


def test_one_cycle_needs_a_momentum_to_cycle() -> None:
    optimizer = optim.Adagrad([tg.tensor([0.0])])
    with pytest.raises(ArgumentError, match="cycle_momentum=False"):
        optim.OneCycleLR(optimizer, 1.0, 10)
    optim.OneCycleLR(optimizer, 1.0, 10, cycle_momentum=False)


def test_schedules_in_a_row_that_do_not_fit() -> None:
    optimizer = make()
    step, plateau = optim.StepLR(optimizer, 1), optim.ReduceLROnPlateau(optimizer)
    for schedules, milestones, error in [
        ([step, step], [], ArgumentError),
        ([step], [3], ArgumentError),
        ([], [], ArgumentError),
        ([step, step, step], [4, 3], ArgumentError),
        ([step, step], [0], ArgumentError),
        ([step, plateau], [3], DTypeError),
        ([step, optim.StepLR(make(), 1)], [3], ArgumentError),
    ]:
        with pytest.raises(error):
            optim.SequentialLR(optimizer, schedules, milestones)  # type: ignore[arg-type]
    with pytest.raises(DTypeError):
        optim.LinearWarmup(optimizer, 3, plateau)  # type: ignore[arg-type]


def test_every_schedule_stands_in_lr_scheduler_too() -> None:
    module = optim.lr_scheduler
    assert module.__all__ == [name for name in optim.__all__ if hasattr(module, name)]
    assert {"OneCycleLR", "ReduceLROnPlateau"} < set(module.__all__)
    assert all(getattr(module, name) is getattr(optim, name) for name in module.__all__)
