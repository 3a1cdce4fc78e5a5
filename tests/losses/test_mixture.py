"""The mixture density loss against Gaussians written with matrices; what is drawn from it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn.decode import sample_pen
from tinygrad_rnn.errors import ArgumentError, DataError, DTypeError, ShapeError
from tinygrad_rnn.losses import mixture_density_loss
from tinygrad_rnn.testing import check_grads

M = 3


def parts(y: Any) -> tuple[Any, Any, Any, Any]:
    """π (M,), means (M, 2), covariances (M, 2, 2) and p(lift), by the definition."""
    weights = np.exp(y[:M]) / np.exp(y[:M]).sum()
    means = np.stack([y[M : 2 * M], y[2 * M : 3 * M]], -1)
    covariances = []
    for k in range(M):
        sx, sy, rho = np.exp(y[3 * M + k]), np.exp(y[4 * M + k]), np.tanh(y[5 * M + k])
        covariances.append([[sx * sx, rho * sx * sy], [rho * sx * sy, sy * sy]])
    return weights, means, np.array(covariances), 1 / (1 + np.exp(-y[-1]))


def by_matrices(y: Any, target: Any) -> float:
    weights, means, covariances, lift = parts(y)
    density = 0.0
    for weight, mean, covariance in zip(weights, means, covariances, strict=True):
        away = target[:2] - mean
        distance = away @ np.linalg.inv(covariance) @ away
        size = 2 * math.pi * math.sqrt(np.linalg.det(covariance))
        density += weight * math.exp(-0.5 * distance) / size
    return -math.log(density) - math.log(lift if target[2] else 1 - lift)


def case(rng: np.random.Generator) -> tuple[Any, Any]:
    outputs, target = rng.standard_normal((4, 2, 6 * M + 1)), rng.standard_normal((4, 2, 3))
    target[..., 2] = rng.integers(0, 2, (4, 2))
    return outputs, target


def test_equals_the_definition(rng: np.random.Generator) -> None:
    outputs, target = case(rng)
    y, t = tg.tensor(outputs, dtype=tg.float64), tg.tensor(target, dtype=tg.float64)
    expected = [[by_matrices(outputs[i, j], target[i, j]) for j in range(2)] for i in range(4)]
    found = mixture_density_loss(y, t, "none").numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    assert mixture_density_loss(y, t).item() == pytest.approx(np.mean(expected))
    check_grads(lambda y: mixture_density_loss(y, t), (y,), directions=2)


def test_one_round_component_is_squared_distance() -> None:
    outputs = tg.tensor([[0.0, 1.0, 2.0, 0.0, 0.0, 0.0, 0.0]], dtype=tg.float64)
    loss = mixture_density_loss(outputs, tg.tensor([[4.0, 6.0, 0.0]], dtype=tg.float64))
    assert loss.item() == pytest.approx(25 / 2 + math.log(2 * math.pi) + math.log(2))


@pytest.mark.parametrize("twist", [-30.0, 30.0])
def test_correlations_of_one_stay_finite(twist: float) -> None:
    """tanh 30 is 1 in floating point, and 1 − ρ² is 4e⁻⁶⁰."""
    sign = math.copysign(1.0, twist)
    outputs = tg.tensor([[0.0, 0, 0, 0, 0, twist, 0]], dtype=tg.float64, requires_grad=True)
    target = tg.tensor([[2.0, 2.0 * sign, 0.0]], dtype=tg.float64)
    loss = mixture_density_loss(outputs, target)
    log_rest = 2 * math.log(2) - 2 * abs(twist)
    expected = 0.5 * (4 + log_rest) + math.log(2 * math.pi) + math.log(2)
    assert loss.item() == pytest.approx(expected, rel=1e-6)
    loss.backward()
    assert outputs.grad is not None and np.isfinite(outputs.grad.numpy()).all()


def test_samples_have_the_moments_of_the_mixture(rng: np.random.Generator) -> None:
    y = rng.standard_normal(6 * M + 1)
    drawn = sample_pen(np.tile(y, (40_000, 1)), np.random.default_rng(0))
    weights, means, covariances, lift = parts(y)
    mean = weights @ means
    second = np.einsum("k,kij->ij", weights, covariances + means[:, :, None] * means[:, None])
    covariance = second - np.outer(mean, mean)
    scale = np.sqrt(np.diag(covariance))
    assert (np.abs(drawn[:, :2].mean(0) - mean) < 5 * scale / 200).all()
    found = np.cov(drawn[:, :2].T)
    assert (np.abs(found - covariance) < 0.06 * np.outer(scale, scale)).all()
    assert abs(drawn[:, 2].mean() - lift) < 0.0125
    assert set(np.unique(drawn[:, 2])) <= {0.0, 1.0}


def test_bias_makes_the_hand_neater() -> None:
    y = np.tile([1.0, 0.0, 5, -5, 0, 0, 0, 0, 0, 0, 0, 0, 0], (4000, 1))  # two apart
    loose, neat = (sample_pen(y, np.random.default_rng(0), bias) for bias in (0.0, 2.0))
    right = neat[:, 0] > 0
    assert right.mean() > 0.93 > (loose[:, 0] > 0).mean()  # 1/(1 + e⁻³) and 1/(1 + e⁻¹)
    assert neat[right, 0].std() == pytest.approx(math.exp(-2), rel=0.1)


def test_what_is_refused() -> None:
    with pytest.raises(ShapeError, match=r"outputs \(…, 6M \+ 1\), M >= 1 expected, got \(2, 12\)"):
        mixture_density_loss(tg.zeros(2, 12), tg.zeros(2, 3))
    with pytest.raises(ShapeError, match=r"6M \+ 1"):
        mixture_density_loss(tg.zeros(2, 1), tg.zeros(2, 3))
    with pytest.raises(ShapeError, match=r"target of shape \(2, 3\) expected, got \(3,\)"):
        mixture_density_loss(tg.zeros(2, 7), tg.zeros(3))
    with pytest.raises(DTypeError, match="floating-point outputs"):
        mixture_density_loss(tg.zeros(2, 7, dtype=tg.int64), tg.zeros(2, 3))
    with pytest.raises(ArgumentError, match="reduction"):
        mixture_density_loss(tg.zeros(2, 7), tg.zeros(2, 3), "all")
    with pytest.raises(ArgumentError, match="bias >= 0"):
        sample_pen(np.zeros(7), np.random.default_rng(0), -1.0)
    with pytest.raises(DataError, match="finite outputs"):
        sample_pen(np.full(7, np.nan), np.random.default_rng(0))
