"""Sampling: which symbols can be chosen, how often, and with what state."""

from __future__ import annotations

import math
from itertools import islice
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_rnn as tg
from tinygrad_rnn.decode import Sampler, generate
from tinygrad_rnn.errors import ArgumentError, DataError, ShapeError

LOGITS = st.lists(st.floats(-50, 50), min_size=1, max_size=12)


def softmax(logits: Any) -> np.ndarray:
    weights = [math.exp(x - max(logits)) for x in logits]
    return np.array(weights) / sum(weights)


@given(LOGITS, st.floats(0.05, 20))
def test_temperature_divides_the_logits(logits: list[float], temperature: float) -> None:
    found = Sampler(temperature).probabilities(logits)
    np.testing.assert_allclose(found, softmax(np.array(logits) / temperature), atol=1e-12)


@given(LOGITS, st.integers(1, 15))
def test_top_k_keeps_the_k_largest(logits: list[float], k: int) -> None:
    found = Sampler(top_k=k).probabilities(logits)
    full = softmax(logits)
    assert (found > 0).sum() <= k
    assert found.sum() == pytest.approx(1)
    dropped, kept = full[found == 0], full[found > 0]
    assert len(dropped) == 0 or dropped.max() <= kept.min()
    np.testing.assert_allclose(found[found > 0], kept / kept.sum(), rtol=1e-9)


@given(LOGITS, st.floats(0.01, 1))
def test_top_p_keeps_the_fewest_that_reach_p(logits: list[float], p: float) -> None:
    found = Sampler(top_p=p).probabilities(logits)
    kept = np.sort(softmax(logits)[found > 0])
    assert kept.sum() >= p - 1e-9
    assert kept[1:].sum() < p + 1e-9  # without the least of them it would be too little


def test_top_k_comes_before_top_p() -> None:
    found = Sampler(top_k=2, top_p=0.6).probabilities(np.log([0.4, 0.3, 0.3]))
    np.testing.assert_allclose(found, [4 / 7, 3 / 7, 0])  # 0.4 of 0.7 falls short of 0.6


def test_draws_have_the_frequencies_of_the_probabilities(rng: np.random.Generator) -> None:
    sampler, logits = Sampler(0.7, top_k=3), [0.0, 1.0, 2.0, -1.0]
    chances = sampler.probabilities(logits)
    counts = np.bincount([sampler.choose(logits, rng) for _ in range(4000)], minlength=4)
    deviation = np.sqrt(4000 * chances * (1 - chances))
    assert counts[3] == 0
    assert (np.abs(counts - 4000 * chances) <= 4 * deviation).all()


def test_greedy_takes_the_largest_and_no_random_number(rng: np.random.Generator) -> None:
    before = rng.bit_generator.state
    assert Sampler(temperature=0).choose([1.0, 3.0, 3.0], rng) == 1
    assert rng.bit_generator.state == before


@pytest.mark.parametrize("temperature", [1e-30, 1e-308])
def test_a_tiny_temperature_is_greedy(temperature: float) -> None:
    assert Sampler(temperature).probabilities([1.0, 3.0, 2.0]).tolist() == [0, 1, 0]


def test_impossible_symbols_stay_impossible(rng: np.random.Generator) -> None:
    logits = [-math.inf, 0.0, -math.inf]
    assert Sampler(5.0).probabilities(logits).tolist() == [0, 1, 0]


class Least(np.random.Generator):
    """Draws the least number there is."""

    def __init__(self) -> None:
        super().__init__(np.random.PCG64(0))

    def random(self, *args: Any, **kwargs: Any) -> Any:
        return 0.0


def test_the_least_random_number_chooses_nothing_impossible() -> None:
    assert Sampler().choose([-math.inf, 0.0, 0.0], Least()) == 1


@pytest.mark.parametrize(
    "options",
    [
        {"temperature": -0.1},
        {"temperature": math.nan},
        {"temperature": math.inf},
        {"top_k": 0},
        {"top_p": 0.0},
        {"top_p": 1.1},
        {"top_p": math.nan},
        {"top_p": "0.9"},
        {"top_p": True},
    ],
)
def test_options_outside_their_range_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ArgumentError, match=next(iter(options))):
        Sampler(**options)


@pytest.mark.parametrize("logits", [[math.nan, 1.0], [math.inf, 1.0], [-math.inf, -math.inf]])
def test_scores_that_mean_nothing_are_refused(logits: list[float]) -> None:
    with pytest.raises(DataError, match="Sampler"):
        Sampler().probabilities(logits)


@pytest.mark.parametrize("logits", [[], [[1.0, 2.0]], 3.0])
def test_scores_are_one_vector(logits: Any) -> None:
    with pytest.raises(ShapeError, match="Sampler"):
        Sampler().probabilities(logits)


class Recorder:
    """A model that scores the sum of all it has read, modulo 5, and remembers its calls."""

    def __init__(self) -> None:
        self.read: list[list[int]] = []
        self.recorded: list[bool] = []

    def __call__(self, symbols: tg.Tensor, state: Any) -> tuple[tg.Tensor, Any]:
        self.read.append(symbols.tolist())
        self.recorded.append(tg.is_grad_enabled())
        total = (state or 0) + int(symbols.sum())
        return tg.one_hot(symbols * 0 + total % 5, 5).to("float32"), total


def test_the_prompt_is_read_once_and_the_state_is_carried(rng: np.random.Generator) -> None:
    model = Recorder()
    found = list(islice(generate(model, [1, 2], Sampler(temperature=0), rng), 3))
    assert found == [3, 1, 2]  # 3; 3 + 3 = 6; 6 + 1 = 7
    assert model.read == [[[1], [2]], [[3]], [[1]]]
    assert not any(model.recorded)
    assert tg.is_grad_enabled()


def test_nothing_is_computed_before_it_is_asked_for(rng: np.random.Generator) -> None:
    model = Recorder()
    generate(model, [1], Sampler(), rng)
    assert model.read == []


@pytest.mark.parametrize("prompt", [[], [[1]], 1])
def test_a_prompt_is_a_vector_of_symbols(prompt: Any, rng: np.random.Generator) -> None:
    with pytest.raises(ShapeError, match="a prompt of at least one symbol"):
        generate(Recorder(), prompt, Sampler(), rng)
