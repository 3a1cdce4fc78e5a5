"""Hidden Markov models: the baseline of speech and handwriting before recurrent networks.

A chain of hidden states z, ``p(z_1 = i) = start[i]`` and ``p(z_{t+1} = j | z_t = i) =
transition[i, j]``, and an observation at each step that depends on the state alone. All sums over
paths are in the log domain, as in Rabiner (1989):

    α_1(i) = log start_i + e_1(i)            α_{t+1}(j) = e_{t+1}(j) + log Σ_i exp(α_t(i) + a_ij)
    β_T(i) = 0                               β_t(i) = log Σ_j exp(a_ij + e_{t+1}(j) + β_{t+1}(j))

with a = log transition and e_t(i) the log-probability of observation t in state i. Beyond the
length of a sequence e is taken to be 0, as if nothing were observed; so β is 0 there by itself.

Legend: T steps, B sequences, N hidden states, V symbols, D dimensions of an observation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tinygrad_rnn.errors import ArgumentError, DataError, DTypeError, ShapeError

from ..arguments import whole_number
from .emissions import DiscreteEmissions, GaussianEmissions

__all__ = ["HMM", "Posteriors"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


class Emissions(Protocol):
    """What the observations are: symbols, vectors, or what else has these four."""

    @property
    def states(self) -> int:
        """N."""

    def log_probs(self, observations: Any) -> FloatArray:
        """(T, B, N) of observations (T, B, …)."""

    def fitted(self, observations: Any, weights: FloatArray) -> Any:
        """The most likely emissions if each state has made each observation with (T, B, N)."""

    def sample(self, states: IntArray, generator: np.random.Generator) -> NDArray[Any]:
        """An observation for each state of any shape."""


class Posteriors(NamedTuple):
    """What the observations say of the hidden states.

    Attributes:
        states: (T, B, N) p(z_t = i | observations), 0 beyond a sequence's length.
        transitions: (N, N) the expected number of each transition, over all sequences.
        log_likelihood: (B,) log p(observations).
    """

    states: FloatArray
    transitions: FloatArray
    log_likelihood: FloatArray


@dataclass(frozen=True, eq=False)
class HMM:
    """A hidden Markov model (Rabiner 1989) of discrete or Gaussian observations.

    Args:
        start: (N,) the distribution of the first state.
        transition: (N, N) from each state (a row) to each.
        emissions: `DiscreteEmissions` or `GaussianEmissions`.

    Raises:
        ShapeError, DataError: shapes that do not fit, rows that are no distributions.

    >>> model = HMM([1.0, 0.0], [[0.5, 0.5], [0.0, 1.0]], DiscreteEmissions(np.eye(2)))
    >>> path, log_prob = model.viterbi(np.array([[0], [0], [1]]))
    >>> path[:, 0].tolist(), np.exp(log_prob).tolist()
    ([0, 0, 1], [0.25])
    """

    start: FloatArray
    transition: FloatArray
    emissions: Emissions

    def __init__(self, start: ArrayLike, transition: ArrayLike, emissions: Emissions) -> None:
        count = getattr(emissions, "states", None)
        if count is None:
            hint = "DiscreteEmissions(table) or GaussianEmissions(means, variances)"
            raise DTypeError("HMM", "emissions", type(emissions).__name__, hint)
        object.__setattr__(self, "start", _distribution("start", start, (count,)))
        object.__setattr__(
            self, "transition", _distribution("transition", transition, (count,) * 2)
        )
        object.__setattr__(self, "emissions", emissions)

    @classmethod
    def discrete(cls, states: int, symbols: int, generator: np.random.Generator) -> HMM:
        """A random model of symbols, to begin `fit` with."""
        whole_number("HMM.discrete", "states", states)
        whole_number("HMM.discrete", "symbols", symbols)
        rows = [generator.dirichlet(np.ones(states) * 5, n) for n in (1, states)]
        table = generator.dirichlet(np.ones(symbols) * 5, states)
        return cls(rows[0][0], rows[1], DiscreteEmissions(table))

    @classmethod
    def gaussian(cls, states: int, observations: ArrayLike, generator: np.random.Generator) -> HMM:
        """A model of vectors, to begin `fit` with: means at observations drawn without repeats."""
        whole_number("HMM.gaussian", "states", states)
        points = np.asarray(observations, dtype=np.float64)
        points = points.reshape(-1, points.shape[-1])
        if len(points) < states:
            raise DataError("HMM.gaussian", f"at least {states} observations", len(points))
        means = points[generator.choice(len(points), states, replace=False)]
        emissions = GaussianEmissions(means, np.tile(points.var(axis=0) + 1e-6, (states, 1)))
        transition = generator.dirichlet(np.ones(states) * 5, states)
        return cls(np.full(states, 1 / states), transition, emissions)

    # ------------------------------------------------------------------------ sums over paths
    def log_likelihood(self, observations: Any, lengths: ArrayLike | None = None) -> FloatArray:
        """log p of each sequence, (B,), by the forward recursion.

        Args:
            observations: (T, B) symbols or (T, B, D) vectors, padded with valid ones.
            lengths: (B,) in 1 … T, all T if not given.

        Raises:
            ShapeError, ArgumentError, IndexRangeError, DataError: what does not fit the model.
        """
        emitted, ends = self._emitted("HMM.log_likelihood", observations, lengths)
        alpha = self._alphas(emitted)
        last: FloatArray = alpha[ends - 1, np.arange(len(ends))]
        return _log_sum(last, 1)

    def posteriors(self, observations: Any, lengths: ArrayLike | None = None) -> Posteriors:
        """The hidden states and transitions, by forward and backward recursion."""
        emitted, ends = self._emitted("HMM.posteriors", observations, lengths)
        alpha, beta = self._alphas(emitted), self._betas(emitted)
        total = _log_sum(alpha[ends - 1, np.arange(len(ends))], 1)
        if not np.isfinite(total).all():
            row = int(np.flatnonzero(~np.isfinite(total))[0])
            raise DataError("HMM.posteriors", "sequences that the model can make", f"row {row}")
        inside = np.arange(len(emitted))[:, None] < ends
        states = np.where(inside[..., None], np.exp(alpha + beta - total[:, None]), 0)
        between = np.zeros_like(self.transition)
        for t in range(len(emitted) - 1):
            pairs = alpha[t][:, :, None] + _log(self.transition)
            pairs += (emitted[t + 1] + beta[t + 1] - total[:, None])[:, None, :]
            between += np.exp(pairs[inside[t + 1]]).sum(axis=0)
        return Posteriors(states, between, total)

    def viterbi(
        self, observations: Any, lengths: ArrayLike | None = None
    ) -> tuple[IntArray, FloatArray]:
        """The most probable states (T, B), and log p of them with the observations, (B,).

        Beyond a sequence's length its last state is repeated.
        """
        emitted, ends = self._emitted("HMM.viterbi", observations, lengths)
        log_transition, rows = _log(self.transition), np.arange(len(ends))
        best = _log(self.start) + emitted[0]
        origins = np.tile(np.arange(best.shape[1]), (*emitted.shape[:2], 1))  # stays, after the end
        for t in range(1, len(emitted)):
            going = best[:, :, None] + log_transition
            inside = (t < ends)[:, None]
            origins[t] = np.where(inside, going.argmax(axis=1), origins[t])
            best = np.where(inside, going.max(axis=1) + emitted[t], best)
        path = np.empty(emitted.shape[:2], dtype=np.int64)
        path[-1] = best.argmax(axis=1)
        for t in range(len(emitted) - 1, 0, -1):
            path[t - 1] = origins[t, rows, path[t]]
        return path, best.max(axis=1)

    # ------------------------------------------------------------------------------- learning
    def fit(
        self,
        observations: Any,
        lengths: ArrayLike | None = None,
        *,
        iterations: int = 100,
        tolerance: float = 1e-4,
    ) -> tuple[HMM, list[float]]:
        """Baum–Welch: expectation and maximisation in turn; log p of all sequences never falls.

        It ends after `iterations`, or when log p per observation rises by less than `tolerance`.

        Returns:
            The fitted model, and log p under each model tried, from this one to the last but one.
        """
        whole_number("HMM.fit", "iterations", iterations)
        if not tolerance >= 0:
            raise ArgumentError("HMM.fit", "tolerance >= 0", tolerance)
        model, history = self, list[float]()
        for _ in range(iterations):
            found = model.posteriors(observations, lengths)
            history.append(float(found.log_likelihood.sum()))
            model = model._maximised(observations, found)
            steps = found.states.sum()
            if len(history) > 1 and history[-1] - history[-2] < tolerance * steps:
                break
        return model, history

    def _maximised(self, observations: Any, found: Posteriors) -> HMM:
        return HMM(
            _normalised(found.states[0].sum(axis=0), self.start),
            _normalised(found.transitions, self.transition),
            self.emissions.fitted(observations, found.states),
        )

    def sample(
        self, steps: int, batch: int, generator: np.random.Generator
    ) -> tuple[NDArray[Any], IntArray]:
        """Random observations (T, B, …) and the states (T, B) that made them."""
        whole_number("HMM.sample", "steps", steps)
        whole_number("HMM.sample", "batch", batch)
        states = np.empty((steps, batch), dtype=np.int64)
        states[0] = _drawn(np.tile(self.start, (batch, 1)), generator)
        for t in range(1, steps):
            states[t] = _drawn(self.transition[states[t - 1]], generator)
        return self.emissions.sample(states, generator), states

    # ------------------------------------------------------------------------------ recursions
    def _emitted(
        self, called: str, observations: Any, lengths: ArrayLike | None
    ) -> tuple[FloatArray, IntArray]:
        """e (T, B, N), 0 beyond the lengths; and the lengths."""
        emitted = self.emissions.log_probs(observations)
        steps, batch, _ = emitted.shape
        if not steps:
            raise DataError(called, "sequences of at least one step", "none")
        ends = np.full(batch, steps) if lengths is None else np.asarray(lengths)
        if ends.shape != (batch,) or ends.dtype.kind not in "iu":
            raise ShapeError(called, f"integer lengths of shape ({batch},)", ends.shape)
        wrong = np.flatnonzero((ends < 1) | (ends > steps))
        if len(wrong):
            got = f"{ends[wrong[0]]} in row {wrong[0]}"
            raise ArgumentError(called, f"lengths in 1 … {steps}", got)
        inside = np.arange(steps)[:, None] < ends
        return np.where(inside[..., None], emitted, 0.0), ends

    def _alphas(self, emitted: FloatArray) -> FloatArray:
        alpha, log_transition = np.empty_like(emitted), _log(self.transition)
        alpha[0] = _log(self.start) + emitted[0]
        for t in range(1, len(emitted)):
            alpha[t] = emitted[t] + _log_sum(alpha[t - 1][:, :, None] + log_transition, 1)
        return alpha

    def _betas(self, emitted: FloatArray) -> FloatArray:
        beta, log_transition = np.zeros_like(emitted), _log(self.transition)
        for t in range(len(emitted) - 2, -1, -1):
            ahead = (emitted[t + 1] + beta[t + 1])[:, None, :]
            beta[t] = _log_sum(log_transition + ahead, 2)
        return beta


def _log(p: FloatArray) -> FloatArray:
    with np.errstate(divide="ignore"):
        return np.log(p)


def _log_sum(x: FloatArray, axis: int) -> FloatArray:
    """log Σ eˣ; −inf where all are."""
    top = np.maximum(x.max(axis=axis, keepdims=True), np.finfo(np.float64).min)
    return _log(np.exp(x - top).sum(axis=axis)) + top.squeeze(axis)


def _distribution(name: str, values: ArrayLike, shape: tuple[int, ...]) -> FloatArray:
    array = np.asarray(values, dtype=np.float64)
    if array.shape != shape:
        raise ShapeError("HMM", f"{name} of shape {shape}", array.shape)
    if not ((array >= 0).all() and np.allclose(array.sum(axis=-1), 1)):
        raise DataError("HMM", f"{name} >= 0 that sums to 1", array.tolist())
    return array


def _normalised(counts: FloatArray, otherwise: FloatArray) -> FloatArray:
    """Counts as distributions; a state that was never left keeps what it had."""
    total = counts.sum(axis=-1, keepdims=True)
    return np.where(total > 0, counts / np.where(total > 0, total, 1), otherwise)


def _drawn(chances: FloatArray, generator: np.random.Generator) -> IntArray:
    """One index from each row."""
    bounds = np.cumsum(chances, axis=1)
    draws = generator.random((len(chances), 1)) * bounds[:, -1:]
    found: IntArray = (draws >= bounds).sum(axis=1)
    return found
