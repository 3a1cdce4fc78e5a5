"""Linear AR and persistence against loops, normal equations and closed forms."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tinygrad_rnn.baselines import LinearAR, persistence
from tinygrad_rnn.errors import ArgumentError, DataError, DTypeError, ShapeError

Array = NDArray[np.float64]


def simulate(rng: np.random.Generator, coefficients: list[float], n: int, noise: float) -> Array:
    p = len(coefficients)
    y = list(rng.normal(size=p))
    for _ in range(n - p):
        past = sum(a * y[-k] for k, a in enumerate(coefficients, start=1))
        y.append(0.3 + past + noise * rng.normal())
    return np.array(y)


def by_loop(model: LinearAR, past: list[float]) -> float:
    return model.intercept + sum(a * past[-k] for k, a in enumerate(model.coefficients, start=1))


def test_noiseless_recursion_is_found_exactly(rng: np.random.Generator) -> None:
    y = simulate(rng, [1.6, -0.9], 60, noise=0)
    model = LinearAR.fit(y, order=2)
    np.testing.assert_allclose(model.coefficients, [1.6, -0.9], rtol=1e-9)
    assert model.intercept == pytest.approx(0.3, rel=1e-9)
    np.testing.assert_allclose(model.forecast(y[:30], 30), y[30:], rtol=1e-7)


@pytest.mark.parametrize("order", [1, 3, 8])
def test_fit_equals_the_normal_equations(order: int, rng: np.random.Generator) -> None:
    y = simulate(rng, [0.5, 0.2], 200, noise=1)
    rows = [[1, *(y[t - k] for k in range(1, order + 1))] for t in range(order, len(y))]
    X, target = np.array(rows), y[order:]
    expected = np.linalg.solve(X.T @ X, X.T @ target)
    model = LinearAR.fit(y, order)
    np.testing.assert_allclose([model.intercept, *model.coefficients], expected, rtol=1e-9)
    assert model.order == order


@given(st.integers(1, 6), st.integers(0, 5), st.integers(1, 6), st.integers(0, 1000))
def test_one_step_and_free_run_equal_the_loop(order: int, skip: int, steps: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    model = LinearAR(rng.normal(), rng.normal(size=order) / order)
    y = rng.normal(size=order + skip + steps)
    start = order + skip
    expected = [by_loop(model, y[:t].tolist()) for t in range(start, len(y))]
    np.testing.assert_allclose(model.one_step(y, start), expected, rtol=1e-12, atol=1e-12)
    free = y[:start].tolist()
    for _ in range(steps):
        free.append(by_loop(model, free))
    np.testing.assert_allclose(model.forecast(y[:start], steps), free[start:], atol=1e-12)


def test_series_side_by_side_run_as_each_alone(rng: np.random.Generator) -> None:
    model, history = LinearAR(0.1, rng.normal(size=3) / 3), rng.normal(size=(5, 4))
    together = model.forecast(history, 6)
    assert together.shape == (6, 4)
    for column in range(4):
        np.testing.assert_allclose(together[:, column], model.forecast(history[:, column], 6))


def test_forecast_never_sees_the_value_it_forecasts(rng: np.random.Generator) -> None:
    model, y = LinearAR.fit(rng.normal(size=50), 4), rng.normal(size=30)
    changed = y.copy()
    changed[20:] = 1e6
    np.testing.assert_array_equal(model.one_step(y, 10)[:11], model.one_step(changed, 10)[:11])


@pytest.mark.parametrize(("factor", "shift"), [(1e-9, 0.0), (1e9, -3e9), (2.0, 1e6)])
def test_unit_of_measurement_does_not_matter(
    factor: float, shift: float, rng: np.random.Generator
) -> None:
    y = simulate(rng, [1.2, -0.5], 120, noise=0.1)
    plain, other = LinearAR.fit(y, 5), LinearAR.fit(factor * y + shift, 5)
    np.testing.assert_allclose(other.coefficients, plain.coefficients, rtol=1e-6, atol=1e-8)
    expected = factor * plain.forecast(y, 10) + shift
    np.testing.assert_allclose(other.forecast(factor * y + shift, 10), expected, rtol=1e-6)


def test_constant_series_is_forecast_as_constant() -> None:
    model = LinearAR.fit(np.full(20, 7.0), 3)
    np.testing.assert_allclose(model.forecast(np.full(3, 7.0), 5), 7.0, rtol=1e-14)


def test_selected_order_is_the_best_on_the_validation_part(rng: np.random.Generator) -> None:
    y = simulate(rng, [0.2, 0.1, 0.6], 400, noise=1)
    train, validation = y[:300], y[300:]
    model = LinearAR.select(train, validation, max_order=10)
    errors = []
    for order in range(1, 11):
        each = LinearAR.fit(train, order)
        forecasts = [by_loop(each, y[:t].tolist()) for t in range(300, 400)]
        errors.append(np.square(np.array(forecasts) - validation).mean())
    assert model.order == 1 + int(np.argmin(errors))
    assert model.order >= 3
    np.testing.assert_array_equal(model.coefficients, LinearAR.fit(train, model.order).coefficients)


def test_selection_leaves_out_orders_that_the_text_is_too_short_for(
    rng: np.random.Generator,
) -> None:
    assert LinearAR.select(rng.normal(size=7), rng.normal(size=5)).order <= 3
    with pytest.raises(DataError, match=r"at least 2 \* 1 \+ 1 = 3 values expected, got 2"):
        LinearAR.select([1, 2], [3])


def test_runaway_forecast_is_infinite_without_a_warning() -> None:
    assert LinearAR(0.0, np.array([1e30])).forecast([1.0], 20)[-1] == np.inf


@given(st.integers(1, 5), st.integers(0, 12), st.integers(0, 4))
def test_persistence_repeats_the_last_season(period: int, steps: int, extra: int) -> None:
    history = np.arange(period + extra) + 0.1
    season = history[-period:].tolist()
    expected = [season[k % period] for k in range(steps)]
    assert persistence(period).forecast(history, steps).tolist() == expected
    series = np.arange(30) ** 2
    assert (
        persistence(period).one_step(series, 10).tolist() == series[10 - period : -period].tolist()
    )
    assert persistence(period).order == period


# -- what is refused -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("series", "order", "error", "words"),
    [
        ([1, 2, 3, 4], 2, DataError, r"at least 2 \* 2 \+ 1 = 5 values expected, got 4"),
        ([1, 2, 3], 0, ArgumentError, "order, a whole number >= 1, expected, got 0"),
        ([1, 2, 3], 1.0, ArgumentError, "order, a whole number >= 1, expected, got 1.0"),
        ([1, np.nan, 3], 1, DataError, r"a series, all finite, expected, got nan at index"),
        ([[1], [2], [3]], 1, ShapeError, r"a series of shape \(N,\) expected, got \(3, 1\)"),
        (["a", "b", "c"], 1, DTypeError, "a series of numbers expected, got <U1"),
    ],
)
def test_unfit_series_is_refused(
    series: Any, order: Any, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        LinearAR.fit(series, order)


def test_unfit_questions_are_refused() -> None:
    model = LinearAR(0.0, np.array([0.5, 0.5]))
    with pytest.raises(DataError, match="a value to forecast expected, got 2 values and start=2"):
        model.one_step([1, 2])
    with pytest.raises(ArgumentError, match="start, a whole number >= 2, expected, got 1"):
        model.one_step([1, 2, 3], start=1)
    with pytest.raises(DataError, match=r"a history of at least 2 expected, got shape \(1,\)"):
        model.forecast([1], 3)
    with pytest.raises(ShapeError, match="an axis of time expected, got a single number"):
        model.forecast(1.0, 3)
    with pytest.raises(DataError, match="a history, all finite, expected, got inf at index"):
        model.forecast([1, np.inf], 3)
    with pytest.raises(ArgumentError, match="steps, a whole number >= 0, expected, got -1"):
        model.forecast([1, 2], -1)
    with pytest.raises(ArgumentError, match="period, a whole number >= 1, expected, got 0"):
        persistence(0)
    with pytest.raises(ArgumentError, match="max_order, a whole number >= 1, expected, got 0"):
        LinearAR.select([1, 2, 3], [4], max_order=0)
    with pytest.raises(DataError, match="at least one value for validation expected, got none"):
        LinearAR.select([1, 2, 3], [])
