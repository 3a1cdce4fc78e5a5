"""Options that a group of a Kalman filter has of its own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn.errors import ArgumentError
from tinygrad_rnn.optim import EKF

MEASURED = 8


def leaf(size: int) -> tg.Tensor:
    return tg.tensor(np.zeros(size)).requires_grad_()


def filtered(decoupling: str, first: dict[str, Any], second: dict[str, Any]) -> tuple[Any, EKF]:
    """Two groups of weights of one linear model, after a few measurements."""
    rng = np.random.default_rng(2)
    params = [leaf(2), leaf(1)]
    groups = [{"params": params[0], **first}, {"params": params[1], **second}]
    optimizer = EKF(groups, decoupling=decoupling, measurement_noise=0.5)
    for x in rng.standard_normal((MEASURED, 3)):
        target = x @ [1.0, 2.0, 3.0]
        optimizer.step(lambda p, x=x: tg.tensor(x[:2]) @ p[0] + tg.tensor(x[2:]) @ p[1], target)
    return np.concatenate([p.detach().numpy() for p in params]), optimizer


def test_each_group_has_its_own_covariance_noise_and_rate() -> None:
    found, _ = filtered(
        "global",
        {"initial_covariance": 4.0, "process_noise": 0.1},
        {"initial_covariance": 9.0, "process_noise": 0.3, "lr": 0.5},
    )
    rng, weights = np.random.default_rng(2), np.zeros(3)
    p, q, rates = np.diag([4.0, 4.0, 9.0]), np.diag([0.1, 0.1, 0.3]), np.array([1.0, 1.0, 0.5])
    for x in rng.standard_normal((MEASURED, 3)):
        gain = p @ x / (0.5 + x @ p @ x)
        weights = weights + rates * gain * (x @ [1.0, 2.0, 3.0] - x @ weights)
        p = p - np.outer(gain, x @ p) + q
    np.testing.assert_allclose(found, weights, rtol=1e-10)


@pytest.mark.parametrize("name", ["lr", "process_noise", "initial_covariance"])
@pytest.mark.parametrize("decoupling", ["global", "node"])
def test_no_option_of_a_later_group_is_passed_over(decoupling: str, name: str) -> None:
    plain, _ = filtered(decoupling, {}, {})
    for options in ([{name: 0.25}, {}], [{}, {name: 0.25}]):
        assert not np.allclose(filtered(decoupling, *options)[0], plain, rtol=1e-6)


def test_the_noise_of_a_measurement_belongs_to_no_group() -> None:
    with pytest.raises(ArgumentError, match="one measurement_noise for all groups"):
        filtered("global", {}, {"measurement_noise": 5.0})
    _, optimizer = filtered("global", {}, {})
    optimizer.param_groups[1]["measurement_noise"] = 5.0
    with pytest.raises(ArgumentError, match="one measurement_noise for all groups"):
        optimizer.step(lambda p: p[0], [0.0, 0.0])
