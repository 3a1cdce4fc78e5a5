"""Fates of σ, tanh and ReLU under recursion, against what can be solved by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tinygrad_rnn.errors import ArgumentError, ShapeError
from tinygrad_rnn.recurrence import FATES, recursion, stability

GRID = np.linspace(-2.0, 2.0, 9)[:, None]


def fates(function: str, weight: float) -> set[str]:
    return {FATES[code] for code in stability(function, [[weight]], GRID).fate}


@pytest.mark.parametrize(
    ("function", "weight", "expected"),
    [
        ("tanh", 0.5, {"fixed point"}),
        ("tanh", 3.0, {"fixed point"}),
        ("tanh", -3.0, {"fixed point", "cycle of two"}),  # 0 stays 0
        ("sigmoid", 10.0, {"fixed point"}),
        ("sigmoid", -3.9, {"fixed point"}),  # σ′ ≤ ¼: a cycle needs w < −4
        ("sigmoid", -8.0, {"cycle of two"}),
        ("relu", 0.9, {"fixed point"}),
        ("relu", 1.1, {"fixed point", "explosion"}),  # negative starts die
        ("relu", -5.0, {"fixed point"}),
    ],
)
def test_fates_in_one_dimension(function: str, weight: float, expected: set[str]) -> None:
    assert fates(function, weight) == expected


def test_tanh_ends_where_h_is_tanh_of_w_h_and_saturates() -> None:
    found = stability("tanh", [[2.0]], [[0.5], [-0.5]])
    h = found.final[:, 0]
    np.testing.assert_allclose(h, np.tanh(2.0 * h), rtol=1e-12)
    np.testing.assert_allclose(h, [0.957504, -0.957504], rtol=1e-6)
    np.testing.assert_allclose(found.growth, np.log(2.0 * (1 - h * h)), rtol=1e-9)
    assert found.saturated.tolist() == [0.0, 0.0]
    assert stability("tanh", [[5.0]], [[0.5]]).saturated.tolist() == [1.0]


def test_growth_is_the_log_of_the_spectral_radius_where_nothing_bends() -> None:
    w = np.array([[0.6, 0.5], [0.1, 0.7]])  # positive: ReLU is linear on positive starts
    found = stability("relu", w, [[1.0, 1.0]], steps=2000)
    assert found.growth[0] == pytest.approx(np.log(np.abs(np.linalg.eigvals(w)).max()), abs=1e-3)
    assert found.growth[0] < 0


def test_a_rotation_finds_no_rest() -> None:
    angle = 0.7
    turn = 3 * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    assert FATES[stability("tanh", turn, [[0.3, 0.1]]).fate[0]] == "no rest"


def test_explosion_stands_still_and_dead_units_have_no_slope() -> None:
    found = stability("relu", [[2.0]], [[1.0], [-1.0]], steps=200)
    assert found.final[:, 0].tolist() == [1e12, 0.0]
    assert found.growth[1] == -np.inf
    assert found.saturated.tolist() == [0.0, 1.0]


def test_bias_moves_the_fixed_point() -> None:
    runs = recursion("sigmoid", [[1.0]], [[0.0]], 200, bias=-0.5)
    h = runs[-1, 0, 0]
    assert h == pytest.approx(1 / (1 + np.exp(0.5 - h)), rel=1e-12)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        (("gelu", [[1.0]], [[0.0]], 3), ArgumentError, "sigmoid, tanh, relu"),
        (("tanh", [[1.0]], [[0.0]], 0), ArgumentError, "steps >= 1"),
        (("tanh", [[1.0]], [0.0], 3), ShapeError, "starts"),
        (("tanh", [[1.0, 2.0]], [[0.0]], 3), ShapeError, "weight"),
    ],
)
def test_bad_input(arguments: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        recursion(*arguments)
