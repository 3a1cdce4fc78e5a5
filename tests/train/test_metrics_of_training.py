"""Averages and histories."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tinygrad_rnn.errors import ArgumentError
from tinygrad_rnn.train import History, MovingAverage, perplexity


def test_a_moving_average_weighs_by_age(rng: np.random.Generator) -> None:
    values = rng.standard_normal(40)
    average = MovingAverage(0.9)
    for count, value in enumerate(values, 1):
        weights = 0.9 ** np.arange(count)[::-1]
        expected = (weights * values[:count]).sum() / weights.sum()
        assert average.update(value) == pytest.approx(expected, rel=1e-12)


def test_a_moving_average_of_nothing_is_not_a_number() -> None:
    assert math.isnan(MovingAverage().value)
    with pytest.raises(ArgumentError, match="decay"):
        MovingAverage(1.0)


def test_a_history_survives_its_arrays(rng: np.random.Generator) -> None:
    history = History(rng.standard_normal(5).tolist(), [(2, 0.1), (4, 1 / 3)])
    assert History.from_arrays(**history.to_arrays()) == history
    assert History.from_arrays(**History().to_arrays()) == History()


def test_the_first_of_equal_validations_is_the_best() -> None:
    assert History(validations=[(1, 2.0), (2, 1.0), (3, 1.0)]).best == (2, 1.0)
    assert History().best is None


def test_a_perplexity_beyond_all_numbers_is_infinite() -> None:
    assert perplexity(709.0) == math.exp(709)
    assert perplexity(1000.0) == perplexity(math.inf) == math.inf
    assert math.isnan(perplexity(math.nan))
