"""What the states of a hidden Markov model emit: symbols, or vectors of real numbers.

Legend: T steps, B sequences, N hidden states, V symbols, D dimensions of an observation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tinygrad_rnn.errors import ArgumentError, DataError, ShapeError

from ..arguments import finite_array, positive, symbol_vector

__all__ = ["DiscreteEmissions", "GaussianEmissions"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class DiscreteEmissions:
    """Each state has a distribution over symbols, a row of `table` (N, V).

    Raises:
        ShapeError, DataError: not a table of distributions.
    """

    table: FloatArray

    def __init__(self, table: ArrayLike) -> None:
        array = finite_array("DiscreteEmissions", "a table", table)
        if array.ndim != 2 or not array.size:
            raise ShapeError("DiscreteEmissions", "a table of shape (N, V)", array.shape)
        if not ((array >= 0).all() and np.allclose(array.sum(axis=1), 1)):
            raise DataError("DiscreteEmissions", "rows >= 0 that sum to 1", array.tolist())
        object.__setattr__(self, "table", array)

    @property
    def states(self) -> int:
        """The number of states."""
        return len(self.table)

    def log_probs(self, observations: Any) -> FloatArray:
        """(T, B, N) of symbols (T, B)."""
        symbols = self._symbols(observations)
        with np.errstate(divide="ignore"):
            found: FloatArray = np.log(self.table).T[symbols]
        return found

    def fitted(self, observations: Any, weights: FloatArray) -> DiscreteEmissions:
        """The weighted share of each symbol; a state without weight keeps its row."""
        symbols = self._symbols(observations).ravel()
        counts = np.zeros(self.table.shape[::-1])
        np.add.at(counts, symbols, weights.reshape(len(symbols), -1))
        total = counts.sum(axis=0)
        shares = (counts / np.where(total > 0, total, 1)).T
        return DiscreteEmissions(np.where(total[:, None] > 0, shares, self.table))

    def sample(self, states: IntArray, generator: np.random.Generator) -> IntArray:
        """A symbol for each state."""
        bounds = np.cumsum(self.table, axis=1)[states]
        draws = generator.random((*states.shape, 1)) * bounds[..., -1:]
        found: IntArray = (draws >= bounds).sum(axis=-1)
        return found

    def _symbols(self, observations: Any) -> IntArray:
        array = np.asarray(observations)
        if array.ndim != 2:
            raise ShapeError("HMM", "symbols of shape (T, B)", array.shape)
        flat = symbol_vector("HMM", array.reshape(-1), self.table.shape[1])
        return flat.reshape(array.shape)


@dataclass(frozen=True, eq=False)
class GaussianEmissions:
    """Each state has a normal distribution with a diagonal covariance.

    Args:
        means, variances: (N, D).
        floor: the smallest variance that fitting may give, or a state would collapse onto one
            observation with infinite likelihood.

    Raises:
        ShapeError, ArgumentError: shapes that differ, a variance or floor that is not above 0.
    """

    means: FloatArray
    variances: FloatArray
    floor: float = 1e-6

    def __init__(self, means: ArrayLike, variances: ArrayLike, floor: float = 1e-6) -> None:
        centres = finite_array("GaussianEmissions", "means", means)
        spreads = finite_array("GaussianEmissions", "variances", variances)
        if centres.ndim != 2 or not centres.size or spreads.shape != centres.shape:
            got = f"{centres.shape} and {spreads.shape}"
            raise ShapeError("GaussianEmissions", "means and variances of shape (N, D)", got)
        if not (spreads > 0).all():
            raise ArgumentError("GaussianEmissions", "variances > 0", spreads.min())
        positive("GaussianEmissions", "floor", floor)
        object.__setattr__(self, "means", centres)
        object.__setattr__(self, "variances", spreads)
        object.__setattr__(self, "floor", floor)

    @property
    def states(self) -> int:
        """The number of states."""
        return len(self.means)

    def log_probs(self, observations: Any) -> FloatArray:
        """(T, B, N) of vectors (T, B, D): −½ Σ_d [(x − μ)²/σ² + log 2πσ²]."""
        deviations = self._points(observations)[:, :, None] - self.means
        terms = deviations**2 / self.variances + np.log(2 * np.pi * self.variances)
        found: FloatArray = -0.5 * terms.sum(axis=-1)
        return found

    def fitted(self, observations: Any, weights: FloatArray) -> GaussianEmissions:
        """The weighted means and variances; a state without weight keeps its own."""
        points = self._points(observations).reshape(-1, self.means.shape[1])
        shares = weights.reshape(len(points), -1)
        total = shares.sum(axis=0)[:, None]
        known, safe = total > 0, np.where(total > 0, total, 1)
        means = np.where(known, shares.T @ points / safe, self.means)
        deviations = points[:, None] - means
        spreads = np.einsum("pn,pnd->nd", shares, deviations**2) / safe
        variances = np.where(known, np.maximum(spreads, self.floor), self.variances)
        return GaussianEmissions(means, variances, self.floor)

    def sample(self, states: IntArray, generator: np.random.Generator) -> FloatArray:
        """A vector for each state."""
        noise = generator.standard_normal((*states.shape, self.means.shape[1]))
        found: FloatArray = self.means[states] + noise * np.sqrt(self.variances[states])
        return found

    def _points(self, observations: Any) -> FloatArray:
        array = finite_array("HMM", "observations", observations)
        if array.ndim != 3 or array.shape[2] != self.means.shape[1]:
            expected = f"observations of shape (T, B, {self.means.shape[1]})"
            raise ShapeError("HMM", expected, array.shape)
        return array
