"""Hidden Markov models against sums over all paths of hidden states."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_rnn.baselines import HMM, DiscreteEmissions, GaussianEmissions
from tinygrad_rnn.errors import (
    ArgumentError,
    DataError,
    DTypeError,
    IndexRangeError,
    ShapeError,
)

Array = np.ndarray
V, D = 3, 2


def random_model(rng: np.random.Generator, states: int, gaussian: bool, gaps: bool = False) -> HMM:
    """A model; with `gaps` some transitions and symbols are impossible."""
    transition = rng.dirichlet(np.ones(states), states)
    table = rng.dirichlet(np.ones(V), states)
    if gaps:
        transition = np.triu(transition) / np.triu(transition).sum(1, keepdims=True)
        table[0] = [0.5, 0.5, 0]
    emissions: Any = DiscreteEmissions(table)
    if gaussian:
        means, variances = rng.standard_normal((states, D)), rng.uniform(0.3, 2, (states, D))
        emissions = GaussianEmissions(means, variances)
    return HMM(rng.dirichlet(np.ones(states)), transition, emissions)


def density(model: HMM, state: int, x: Any) -> float:
    """p(x | state), from its formula."""
    emissions = model.emissions
    if isinstance(emissions, DiscreteEmissions):
        return float(emissions.table[state, x])
    assert isinstance(emissions, GaussianEmissions)
    p = 1.0
    for value, mean, variance in zip(
        x, emissions.means[state], emissions.variances[state], strict=True
    ):
        p *= math.exp(-((value - mean) ** 2) / (2 * variance)) / math.sqrt(2 * math.pi * variance)
    return p


def all_paths(model: HMM, xs: Array) -> dict[tuple[int, ...], float]:
    """p(path, observations) of one sequence."""
    found = {}
    for path in itertools.product(range(len(model.start)), repeat=len(xs)):
        p = model.start[path[0]]
        for i, j in itertools.pairwise(path):
            p *= model.transition[i, j]
        found[path] = p * math.prod(density(model, s, x) for s, x in zip(path, xs, strict=True))
    return found


@st.composite
def cases(draw: Any) -> tuple[HMM, Array, Array]:
    """A model, observations of three sequences, and their lengths."""
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    model = random_model(rng, draw(st.integers(1, 3)), draw(st.booleans()), draw(st.booleans()))
    steps = draw(st.integers(1, 5))
    xs, _ = model.sample(steps, 3, rng)
    return model, xs, rng.integers(1, steps + 1, 3)


# ---------------------------------------------------------------------------- against all paths
@given(cases())
def test_likelihood_and_posteriors(case: Any) -> None:
    model, xs, lengths = case
    found = model.posteriors(xs, lengths)
    np.testing.assert_allclose(found.log_likelihood, model.log_likelihood(xs, lengths), rtol=1e-12)
    between = np.zeros_like(model.transition)
    for row, length in enumerate(lengths):
        paths = all_paths(model, xs[:length, row])
        total = sum(paths.values())
        assert found.log_likelihood[row] == pytest.approx(math.log(total), rel=1e-11, abs=1e-11)
        states = np.zeros((len(xs), len(model.start)))
        for path, p in paths.items():
            states[range(length), path] += p / total
            for pair in itertools.pairwise(path):
                between[pair] += p / total
        np.testing.assert_allclose(found.states[:, row], states, atol=1e-12)
    np.testing.assert_allclose(found.transitions, between, atol=1e-12)


@given(cases())
def test_viterbi(case: Any) -> None:
    model, xs, lengths = case
    found, log_probs = model.viterbi(xs, lengths)
    for row, length in enumerate(lengths):
        paths = all_paths(model, xs[:length, row])
        assert math.exp(log_probs[row]) == pytest.approx(max(paths.values()), rel=1e-10)
        own = paths[tuple(found[:length, row].tolist())]
        assert own == pytest.approx(max(paths.values()), rel=1e-10)
        assert (found[length:, row] == found[length - 1, row]).all()


@given(cases())
def test_one_step_of_learning_is_the_expectation_over_paths(case: Any) -> None:
    model, xs, lengths = case
    fitted, _ = model.fit(xs, lengths, iterations=1)
    states = len(model.start)
    first, between = np.zeros(states), np.zeros((states, states))
    weights = np.zeros((*xs.shape[:2], states))
    for row, length in enumerate(lengths):
        paths = all_paths(model, xs[:length, row])
        for path, p in paths.items():
            share = p / sum(paths.values())
            first[path[0]] += share
            weights[range(length), row, path] += share
            for pair in itertools.pairwise(path):
                between[pair] += share
    np.testing.assert_allclose(fitted.start, first / first.sum(), atol=1e-11)
    left = between.sum(1, keepdims=True)
    kept = np.where(left > 0, between / np.where(left > 0, left, 1), model.transition)
    np.testing.assert_allclose(fitted.transition[left[:, 0] > 1e-9], kept[left[:, 0] > 1e-9],
                               atol=1e-9)  # fmt: skip
    for state in np.flatnonzero(weights.sum((0, 1)) > 1e-9):
        w = weights[:, :, state]
        if isinstance(fitted.emissions, DiscreteEmissions):
            wanted = [w[xs == k].sum() / w.sum() for k in range(V)]
            np.testing.assert_allclose(fitted.emissions.table[state], wanted, atol=1e-9)
        else:
            assert isinstance(fitted.emissions, GaussianEmissions)
            mean = (w[..., None] * xs).sum((0, 1)) / w.sum()
            spread = (w[..., None] * (xs - mean) ** 2).sum((0, 1)) / w.sum()
            np.testing.assert_allclose(fitted.emissions.means[state], mean, atol=1e-8)
            np.testing.assert_allclose(
                fitted.emissions.variances[state], np.maximum(spread, 1e-6), atol=1e-8
            )


# -------------------------------------------------------------------------------------- learning
@given(st.integers(0, 10**6), st.booleans())
def test_learning_never_lowers_the_likelihood(seed: int, gaussian: bool) -> None:
    rng = np.random.default_rng(seed)
    xs, _ = random_model(rng, 3, gaussian).sample(12, 4, rng)
    lengths = rng.integers(1, 13, 4)
    model = HMM.gaussian(2, xs, rng) if gaussian else HMM.discrete(2, V, rng)
    fitted, history = model.fit(xs, lengths, iterations=15, tolerance=0.0)
    history.append(float(fitted.log_likelihood(xs, lengths).sum()))
    assert min(np.diff(history)) >= -1e-8 * max(1.0, *map(abs, history))
    assert history[0] == pytest.approx(model.log_likelihood(xs, lengths).sum())


def test_learning_finds_the_model_that_made_the_observations() -> None:
    rng = np.random.default_rng(1)
    truth = HMM(
        [0.5, 0.5], [[0.9, 0.1], [0.3, 0.7]],
        GaussianEmissions([[0.0, 0.0], [3.0, -3.0]], [[1.0, 0.5], [0.25, 1.0]]),
    )  # fmt: skip
    xs, states = truth.sample(60, 40, rng)
    fitted, history = HMM.gaussian(2, xs, rng).fit(xs)
    assert len(history) < 100  # it stopped by itself
    assert history[-1] >= truth.log_likelihood(xs).sum()
    order = np.argsort(fitted.emissions.means[:, 0])
    np.testing.assert_allclose(fitted.transition[order][:, order], truth.transition, atol=0.04)
    np.testing.assert_allclose(fitted.emissions.means[order], truth.emissions.means, atol=0.1)
    path, _ = fitted.viterbi(xs)
    assert (order[states] == path).mean() > 0.99


def test_a_state_that_is_never_used_keeps_what_it_had() -> None:
    for emissions, xs in (
        (DiscreteEmissions([[1.0, 0.0], [0.4, 0.6]]), np.array([[0], [0]])),
        (GaussianEmissions([[0.0], [1.0]], [[1.0], [2.0]]), np.array([[[0.5]], [[0.1]]])),
    ):
        model = HMM([1.0, 0.0], [[1.0, 0.0], [0.5, 0.5]], emissions)
        fitted, _ = model.fit(xs, iterations=3)
        assert fitted.transition.tolist() == [[1.0, 0.0], [0.5, 0.5]]
        for name in ("table", "means", "variances"):
            if hasattr(emissions, name):
                np.testing.assert_array_equal(
                    getattr(fitted.emissions, name)[1], getattr(emissions, name)[1]
                )


def test_variances_stop_at_the_floor() -> None:
    emissions = GaussianEmissions([[0.0], [5.0]], [[1.0], [1.0]], floor=0.01)
    model = HMM([0.5, 0.5], [[0.5, 0.5], [0.5, 0.5]], emissions)
    xs = np.array([[[0.0], [5.0]], [[0.0], [5.0]]])
    fitted, history = model.fit(xs, tolerance=0.0, iterations=10)
    np.testing.assert_allclose(fitted.emissions.variances, 0.01)
    assert min(np.diff(history)) >= -1e-9


# ------------------------------------------------------------------------------- long sequences
def test_long_sequences_do_not_underflow() -> None:
    rng = np.random.default_rng(2)
    model = random_model(rng, 3, False)
    xs, _ = model.sample(3000, 2, rng)
    found = model.posteriors(xs)
    assert (found.log_likelihood < -2000).all()  # exp of it is 0
    np.testing.assert_allclose(found.states.sum(-1), 1, rtol=1e-9)
    np.testing.assert_allclose(found.transitions.sum(), 2 * 2999, rtol=1e-9)


def assert_drawn_from(draws: Array, chances: Array) -> None:
    """Frequencies within 4.5 standard deviations of their probabilities."""
    shares = np.bincount(draws.ravel(), minlength=len(chances)) / draws.size
    deviations = np.sqrt(chances * (1 - chances) / draws.size)
    assert (np.abs(shares - chances) <= 4.5 * deviations).all()


def test_samples_have_the_frequencies_of_the_model() -> None:
    rng = np.random.default_rng(3)
    model = random_model(rng, 3, False)
    xs, states = model.sample(2, 100_000, rng)
    assert_drawn_from(states[0], model.start)
    for state in range(3):
        assert_drawn_from(states[1, states[0] == state], model.transition[state])
        assert_drawn_from(xs[states == state], model.emissions.table[state])
    gaussian = random_model(rng, 2, True)
    points, states = gaussian.sample(1, 20_000, rng)
    for state in range(2):
        own = points[states == state]
        np.testing.assert_allclose(own.mean(0), gaussian.emissions.means[state], atol=0.06)
        np.testing.assert_allclose(own.var(0), gaussian.emissions.variances[state], rtol=0.08)


# ------------------------------------------------------------------------------------ bad input
def test_what_the_model_cannot_make() -> None:
    model = HMM([1.0, 0.0], [[1.0, 0.0], [0.0, 1.0]], DiscreteEmissions(np.eye(2)))
    xs = np.array([[0, 0], [0, 1]])
    assert model.log_likelihood(xs).tolist() == [0.0, -math.inf]
    assert model.viterbi(xs)[1].tolist() == [0.0, -math.inf]
    with pytest.raises(DataError, match="got row 1"):
        model.posteriors(xs)


DISCRETE = DiscreteEmissions([[0.5, 0.5], [0.2, 0.8]])
GAUSSIAN = GaussianEmissions([[0.0], [1.0]], [[1.0], [1.0]])
EVEN = [[0.5, 0.5], [0.5, 0.5]]
MODEL, NORMAL = HMM([0.5, 0.5], EVEN, DISCRETE), HMM([0.5, 0.5], EVEN, GAUSSIAN)
XS = np.zeros((3, 2), int)
RNG = np.random.default_rng(0)
BAD: list[tuple[Any, Any, str]] = [
    (lambda: HMM([1.0], EVEN, DISCRETE), ShapeError, r"start of shape \(2,\)"),
    (lambda: HMM([0.5, 0.5], [[1.0, 0.0]], DISCRETE), ShapeError, r"transition of shape \(2, 2\)"),
    (lambda: HMM([0.5, 0.4], EVEN, DISCRETE), DataError, "start >= 0 that sums to 1"),
    (lambda: HMM([1.5, -0.5], EVEN, DISCRETE), DataError, "start >= 0"),
    (lambda: HMM([np.nan, 1.0], EVEN, DISCRETE), DataError, "start >= 0"),
    (lambda: DiscreteEmissions([0.5, 0.5]), ShapeError, r"\(N, V\)"),
    (lambda: DiscreteEmissions([[0.5, 0.6]]), DataError, "sum to 1"),
    (lambda: GaussianEmissions([[0.0]], [[0.0]]), ArgumentError, "variances > 0"),
    (lambda: GaussianEmissions([[0.0]], [1.0]), ShapeError, r"\(1, 1\) and \(1,\)"),
    (lambda: GaussianEmissions([[0.0]], [[1.0]], floor=0), ArgumentError, "floor > 0"),
    (lambda: MODEL.log_likelihood(XS + 2), IndexRangeError, "0 <= symbol < 2"),
    (lambda: MODEL.log_likelihood(XS[0]), ShapeError, r"\(T, B\)"),
    (lambda: MODEL.log_likelihood(XS + 0.5), DTypeError, "integer symbols"),
    (lambda: MODEL.log_likelihood(XS[:0]), DataError, "at least one step"),
    (lambda: MODEL.viterbi(XS, [3, 4]), ArgumentError, "lengths in 1 … 3 expected, got 4 in row 1"),
    (lambda: MODEL.viterbi(XS, [0, 3]), ArgumentError, "got 0 in row 0"),
    (lambda: MODEL.viterbi(XS, [3]), ShapeError, r"lengths of shape \(2,\)"),
    (lambda: MODEL.fit(XS, iterations=0), ArgumentError, "iterations"),
    (lambda: MODEL.fit(XS, tolerance=-1.0), ArgumentError, "tolerance >= 0"),
    (lambda: MODEL.sample(0, 1, RNG), ArgumentError, "steps"),
    (lambda: NORMAL.log_likelihood(np.zeros((3, 2))), ShapeError, r"\(T, B, 1\)"),
    (lambda: NORMAL.log_likelihood(np.full((3, 2, 1), np.nan)), DataError, "finite"),
    (lambda: HMM.gaussian(4, np.zeros((3, 1, 1)), RNG), DataError, "at least 4 observations"),
    (lambda: HMM.discrete(0, 2, RNG), ArgumentError, "states"),
]


@pytest.mark.parametrize(("call", "error", "match"), BAD, ids=[b[2] for b in BAD])
def test_bad_input(call: Any, error: Any, match: str) -> None:
    with pytest.raises(error, match=match):
        call()
