"""The scores of forecasts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_rnn.baselines import nmse, nrmse84
from tinygrad_rnn.errors import ArgumentError, DataError, DTypeError, ShapeError


@given(st.lists(st.tuples(st.integers(-99, 99), st.integers(-99, 99)), min_size=2, max_size=20))
def test_nmse_is_the_ratio_of_two_sums(pairs: list[tuple[int, int]]) -> None:
    target, prediction = (list(column) for column in zip(*pairs, strict=True))
    if len(set(target)) == 1:
        with pytest.raises(DataError, match=f"got {len(target)} equal values"):
            nmse(target, prediction)
        return
    mean = sum(target) / len(target)
    error = sum((t - y) ** 2 for t, y in pairs)
    expected = error / sum((t - mean) ** 2 for t in target)
    assert nmse(target, prediction) == pytest.approx(expected, rel=1e-12)


def test_nmse_of_truth_is_0_and_of_the_mean_1(rng: np.random.Generator) -> None:
    target = rng.normal(size=(50, 2, 1))
    assert nmse(target, target) == 0
    assert nmse(target, np.full_like(target, target.mean())) == pytest.approx(1)


def test_nmse_does_not_depend_on_the_unit(rng: np.random.Generator) -> None:
    target, prediction = rng.normal(size=(2, 50))
    expected = nmse(target, prediction)
    assert nmse(3 * target - 5, 3 * prediction - 5) == pytest.approx(expected, rel=1e-12)


def test_diverged_forecasts_have_no_finite_score() -> None:
    assert nmse([0, 1], [0, np.inf]) == np.inf
    assert nmse([0, 1], [0, 1e300]) == np.inf
    assert np.isnan(nmse([0, 1], [0, np.nan]))


@pytest.mark.parametrize(
    ("target", "prediction", "error", "words"),
    [
        (
            np.zeros(3),
            np.zeros((3, 1)),
            ShapeError,
            r"target and prediction of one shape expected, got \(3,\) and \(3, 1\)",
        ),
        (np.zeros(3), np.ones(3), DataError, "a target that varies expected, got 3 equal values"),
        ([], [], DataError, "a target that varies expected, got no values"),
        ([1, np.nan], [1, 2], DataError, "a target, all finite, expected, got nan"),
        (["a"], [1], DTypeError, "a target of numbers expected"),
    ],
)
def test_unfit_pairs_are_refused(
    target: Any, prediction: Any, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=f"nmse: {words}"):
        nmse(target, prediction)


def test_nrmse84_looks_at_step_84_alone(rng: np.random.Generator) -> None:
    target, prediction = rng.normal(size=(2, 100, 7))
    expected = np.sqrt(np.mean((target[83] - prediction[83]) ** 2)) / 0.5
    assert nrmse84(target, prediction, 0.5) == pytest.approx(expected)
    other = prediction.copy()
    other[:83] = other[84:] = 1e9
    assert nrmse84(target, other, 0.5) == nrmse84(target, prediction, 0.5)
    assert nrmse84(target[:, 0], prediction[:, 0], 0.5) == pytest.approx(
        abs(target[83, 0] - prediction[83, 0]) / 0.5
    )


def test_nrmse84_refuses_short_runs_and_no_deviation() -> None:
    with pytest.raises(ShapeError, match=r"84 or more steps expected, got \(83,\)"):
        nrmse84(np.zeros(83), np.zeros(83), 1.0)
    with pytest.raises(ShapeError, match=r"84 or more steps expected, got \(84, 0\)"):
        nrmse84(np.zeros((84, 0)), np.zeros((84, 0)), 1.0)
    for deviation in (0.0, -1.0, np.nan, np.inf):
        with pytest.raises(ArgumentError, match="a finite deviation > 0 expected, got"):
            nrmse84(np.zeros(84), np.zeros(84), deviation)
