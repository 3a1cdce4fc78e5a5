"""Temporal order: which symbols came, and in which order, long ago."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tinygrad_rnn.errors import ArgumentError

from .base import Task, TaskBatch, answers_of, check_length, one_hot, uniform

__all__ = ["TemporalOrder"]

STARTS = {2: (0.1, 0.5), 3: (0.1, 0.3, 0.6)}  # each special stands in a tenth of the length


@dataclass(frozen=True)
class TemporalOrder(Task):
    """Two or three specials among distractors; say which, in order (Hochreiter, Schmidhuber 1997).

    Six symbols, one-hot: 0 and 1 are the specials, 2 … 5 the distractors. Special k has the value
    vₖ and the place pₖ ~ U[sₖl, (sₖ + 0.1)l), s = (.1, .5) or (.1, .3, .6) (Pascanu et al. 2013).
    Targets (B,): the class Σ 2ᵏvₖ, asked at the last step.

    >>> batch = TemporalOrder(50).draw(np.random.default_rng(0), 3)
    >>> batch.inputs.shape, batch.targets.tolist()
    ((50, 3, 6), [1, 2, 3])
    """

    length: int
    symbols: int = 2

    def check(self) -> None:
        """Two or three specials, and a place for each."""
        if self.symbols not in STARTS:
            raise ArgumentError("TemporalOrder", "2 or 3 symbols", self.symbols)
        check_length("TemporalOrder", self.length, 10)

    @property
    def input_size(self) -> int:
        """Six symbols."""
        return 6

    @property
    def output_size(self) -> int:
        """4 or 8 classes."""
        return 1 << self.symbols

    def draw(self, rng: np.random.Generator, batch: int) -> TaskBatch:
        """`batch` new sequences."""
        symbols = rng.integers(2, 6, (self.length, batch))
        classes = np.zeros(batch, dtype=np.int64)
        for k, start in enumerate(STARTS[self.symbols]):
            place = uniform(rng, start * self.length, (start + 0.1) * self.length, batch)
            value = rng.integers(0, 2, batch)
            symbols[place, np.arange(batch)] = value
            classes += value << k
        return TaskBatch(one_hot(symbols, 6), classes)

    def wrong(self, outputs: ArrayLike, batch: TaskBatch) -> NDArray[np.bool_]:
        """Whether the largest of (B, classes) is another class."""
        shape = len(batch.targets), self.output_size
        found = answers_of(outputs, shape, "TemporalOrder.wrong").argmax(axis=1)
        result: NDArray[np.bool_] = found != batch.targets
        return result
