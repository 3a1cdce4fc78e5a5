"""Twenty steps beside PyTorch's optimisers: same names, defaults, equations and state."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest
from optim_reference import CASE_NAMES, CASES, give, gradients, grouped, host, start, tensors

import tinygrad_rnn as tg
from tinygrad_rnn import optim

torch = pytest.importorskip("torch")

STEPS = 20
TOLERANCE = {"float32": 1e-6, "float64": 1e-12}


def pair(name: str, options: dict[str, Any], first: list[Any], device: str) -> tuple[Any, ...]:
    ours = tensors(first, device)
    theirs = [torch.tensor(value, requires_grad=True) for value in first]
    made = getattr(optim, name)(grouped(ours), **options)
    return ours, theirs, made, getattr(torch.optim, name)(grouped(theirs), **options)


def give_both(ours: list[Any], theirs: list[Any], found: list[Any]) -> None:
    give(ours, found)
    for param, g in zip(theirs, found, strict=True):
        param.grad = None if g is None else torch.tensor(g)


@pytest.mark.parametrize("missing", [False, True], ids=["all", "missing"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("name", "options"), CASES, ids=CASE_NAMES)
def test_twenty_steps_equal_pytorch(
    name: str,
    options: dict[str, Any],
    dtype: str,
    missing: bool,
    device: str,
    rng: np.random.Generator,
) -> None:
    ours, theirs, optimizer, other = pair(name, options, start(rng, dtype), device)
    for found in gradients(rng, dtype, STEPS, missing):
        give_both(ours, theirs, found)
        optimizer.step()
        other.step()
    scale = TOLERANCE[dtype]
    for param, expected in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(host(param), expected.detach().numpy(), rtol=scale, atol=scale)
    for param, expected in zip(ours, theirs, strict=True):
        for key, value in other.state[expected].items():
            if value is not None:
                mine = optimizer.state[param][key]
                mine = mine if key == "step" else host(mine)
                np.testing.assert_allclose(mine, value.numpy(), rtol=scale, atol=scale)


@pytest.mark.parametrize("name", ["SGD", "Adagrad", "RMSprop", "Adadelta", "Adam", "AdamW"])
def test_options_and_defaults_are_pytorchs(name: str) -> None:
    theirs = inspect.signature(getattr(torch.optim, name)).parameters
    ours = inspect.signature(getattr(optim, name)).parameters
    own = [p for p in ours if p != "error_if_nonfinite"]
    assert [p for p in theirs if p in own and p != "maximize"] == [
        p for p in own if p != "maximize"
    ]
    assert {p: theirs[p].default for p in own} == {p: ours[p].default for p in own}


@pytest.mark.parametrize(("name", "options"), CASES, ids=CASE_NAMES)
def test_a_state_of_pytorch_can_be_taken_over(
    name: str, options: dict[str, Any], device: str, rng: np.random.Generator
) -> None:
    first = start(rng, "float64")
    unused, theirs, _, other = pair(name, options, first, device)
    steps = list(gradients(rng, "float64", 8, missing=True))
    for found in steps[:4]:
        give_both(unused, theirs, found)
        other.step()
    ours = tensors([p.detach().numpy() for p in theirs], device)
    optimizer = getattr(optim, name)(grouped(ours))
    optimizer.load_state_dict(other.state_dict())
    for found in steps[4:]:
        give_both(ours, theirs, found)
        optimizer.step()
        other.step()
    for param, expected in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(host(param), expected.detach().numpy(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("norm_type", [1.0, 2.0, 3.0, 0.5, float("inf")])
@pytest.mark.parametrize("max_norm", [0.01, 1.0, 1e6])
def test_clipping_by_norm_equals_pytorch(
    max_norm: float, norm_type: float, device: str, rng: np.random.Generator
) -> None:
    first = [*start(rng, "float64")]
    ours, theirs = tensors(first, device), [torch.tensor(v, requires_grad=True) for v in first]
    give_both(ours, theirs, next(gradients(rng, "float64", 1, missing=True)))
    expected = torch.nn.utils.clip_grad_norm_(theirs, max_norm, norm_type)
    assert optim.clip_grad_norm_(ours, max_norm, norm_type).item() == pytest.approx(
        expected.item(), rel=1e-13
    )
    for param, other in zip(ours, theirs, strict=True):
        if other.grad is not None:  # PyTorch divides by the norm plus 1e-6
            assert param.grad is not None
            np.testing.assert_allclose(host(param.grad), other.grad.numpy(), rtol=2e-6)


SCHEDULES: list[tuple[str, dict[str, Any]]] = [
    ("StepLR", {"step_size": 3, "gamma": 0.5}),
    ("MultiStepLR", {"milestones": [2, 5, 5, 11]}),
    ("ExponentialLR", {"gamma": 0.9}),
    ("ConstantLR", {"factor": 0.25, "total_iters": 4}),
    ("ConstantLR", {}),
    ("LinearLR", {}),
    ("LinearLR", {"start_factor": 0.2, "end_factor": 0.8, "total_iters": 7}),
    ("PolynomialLR", {"total_iters": 9, "power": 2.0}),
    ("CosineAnnealingLR", {"T_max": 6}),
    ("CosineAnnealingLR", {"T_max": 20, "eta_min": 0.01}),
    ("CosineAnnealingWarmRestarts", {"T_0": 4}),
    ("CosineAnnealingWarmRestarts", {"T_0": 3, "T_mult": 2, "eta_min": 0.01}),
    ("LambdaLR", {"lr_lambda": lambda t: 1 / (1 + t)}),
    ("LambdaLR", {"lr_lambda": [lambda t: 0.5**t, lambda t: 1.0 + t]}),
    ("OneCycleLR", {"max_lr": 0.4, "total_steps": 25}),
    ("OneCycleLR", {"max_lr": [0.4, 0.2], "total_steps": 30, "anneal_strategy": "linear"}),
    ("OneCycleLR", {"max_lr": 0.4, "total_steps": 25, "three_phase": True, "div_factor": 5.0}),
    ("OneCycleLR", {"max_lr": 0.4, "total_steps": 25, "cycle_momentum": False}),
]


def optimizers(kind: str) -> tuple[Any, Any]:
    ours = [tg.tensor([0.0], requires_grad=True) for _ in range(2)]
    theirs = [torch.zeros(1, requires_grad=True) for _ in range(2)]
    return tuple(
        getattr(module, kind)([{"params": p}, {"params": q, "lr": 0.3}], lr=0.1)
        for module, (p, q) in ((optim, ours), (torch.optim, theirs))
    )


def options_of(optimizer: Any) -> list[float]:
    found = []
    for group in optimizer.param_groups:
        found += [group["lr"], group.get("momentum", 0.0), *group.get("betas", ())]
    return found


@pytest.mark.filterwarnings("ignore")  # PyTorch asks for optimizer.step() in between
@pytest.mark.parametrize("kind", ["SGD", "Adam"])
@pytest.mark.parametrize(("name", "options"), SCHEDULES, ids=[s[0] for s in SCHEDULES])
def test_schedules_equal_pytorch(name: str, options: dict[str, Any], kind: str) -> None:
    ours, theirs = optimizers(kind)
    mine = getattr(optim, name)(ours, **options)
    other = getattr(torch.optim.lr_scheduler, name)(theirs, **options)
    for _ in range(24):
        assert options_of(ours) == pytest.approx(options_of(theirs), rel=1e-11, abs=1e-15)
        mine.step()
        other.step()


@pytest.mark.filterwarnings("ignore")
def test_schedules_one_after_another_equal_pytorch() -> None:
    ours, theirs = optimizers("SGD")
    made = []
    for module, optimizer in ((optim, ours), (torch.optim.lr_scheduler, theirs)):
        parts = [
            module.LinearLR(optimizer, 0.1, total_iters=4),
            module.CosineAnnealingLR(optimizer, T_max=6),
            module.ExponentialLR(optimizer, 0.5),
        ]
        made.append(module.SequentialLR(optimizer, parts, milestones=[4, 10]))
    for _ in range(15):
        assert options_of(ours) == pytest.approx(options_of(theirs), rel=1e-12)
        for schedule in made:
            schedule.step()


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"mode": "max", "patience": 0, "threshold": 0.1, "threshold_mode": "abs"},
        {"factor": 0.5, "patience": 1, "cooldown": 2, "min_lr": [0.02, 0.1]},
        {"patience": 2, "threshold_mode": "abs", "threshold": 0.5, "eps": 0.01},
        {"patience": 1, "mode": "max", "factor": 0.3},
    ],
)
def test_plateau_equals_pytorch(options: dict[str, Any], rng: np.random.Generator) -> None:
    ours, theirs = optimizers("SGD")
    mine = optim.ReduceLROnPlateau(ours, **options)
    other = torch.optim.lr_scheduler.ReduceLROnPlateau(theirs, **options)
    figures = 3 * 0.9 ** np.arange(60) + rng.standard_normal(60)
    figures[[5, 17]] = np.nan, np.inf
    for figure in figures:
        mine.step(figure)
        other.step(figure)
        assert options_of(ours) == pytest.approx(options_of(theirs), rel=1e-13)
