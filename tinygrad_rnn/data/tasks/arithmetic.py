"""Adding, multiplication and XOR of two marked numbers, and Hochreiter's own adding."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tinygrad_rnn.errors import ArgumentError

from .base import Task, TaskBatch, answers_of, check_length, uniform

__all__ = ["Adding", "HochreiterAdding", "Multiplication", "Xor"]

CRITERIA = ("hochreiter", "pascanu")


@dataclass(frozen=True)
class Adding(Task):
    """The mean of the two marked numbers (Hochreiter, Schmidhuber 1997; Pascanu et al. 2013).

    All sequences of a batch have the length l ~ U[T, 1.1T], T = `length`. Channel 0: values
    U[0, 1]; channel 1: marks, 1 at p₀ ~ U[0, .1l) and p₁ ~ U[.1l, .5l), else 0. Targets (B,).
    Always answering the expectation costs a mean squared error of 1/24.

    `criterion`: an answer is wrong if |e| > .04 ("hochreiter"), or e² > .04 ("pascanu").

    >>> batch = Adding(20).draw(np.random.default_rng(0), 3)
    >>> values, marks = batch.inputs[..., 0], batch.inputs[..., 1]
    >>> bool(np.allclose((values * marks).sum(axis=0) / 2, batch.targets))
    True
    """

    length: int
    criterion: str = "hochreiter"

    def check(self) -> None:
        """A known criterion, and a place for each mark."""
        if self.criterion not in CRITERIA:
            name = type(self).__name__
            raise ArgumentError(name, f"a criterion among {', '.join(CRITERIA)}", self.criterion)
        check_length(type(self).__name__, self.length, 10)

    @property
    def input_size(self) -> int:
        """A value and its mark."""
        return 2

    @property
    def output_size(self) -> int:
        """One number."""
        return 1

    def draw(self, rng: np.random.Generator, batch: int) -> TaskBatch:
        """`batch` new sequences."""
        length = int(rng.integers(self.length, self.length * 11 // 10 + 1))
        columns = np.arange(batch)
        places = (
            uniform(rng, 0, 0.1 * length, batch),
            uniform(rng, 0.1 * length, 0.5 * length, batch),
        )
        inputs = np.zeros((length, batch, 2), dtype=np.float32)
        inputs[..., 0] = self.values(rng, (length, batch))
        for place in places:
            inputs[place, columns, 1] = 1
        first, second = (inputs[place, columns, 0] for place in places)
        return TaskBatch(inputs, self.target(first, second).astype(np.float32))

    def values(self, rng: np.random.Generator, shape: tuple[int, int]) -> NDArray[Any]:
        """The numbers."""
        return rng.random(shape)

    def target(self, first: NDArray[Any], second: NDArray[Any]) -> NDArray[Any]:
        """What to make of the two."""
        return (first + second) / 2

    def wrong(self, outputs: ArrayLike, batch: TaskBatch) -> NDArray[np.bool_]:
        """Which of the (B,) answers are too far off; NaN is."""
        answers = answers_of(outputs, batch.targets.shape, f"{type(self).__name__}.wrong")
        far = np.abs(answers - batch.targets)
        result: NDArray[np.bool_] = ~(far <= (0.04 if self.criterion == "hochreiter" else 0.2))
        return result


@dataclass(frozen=True)
class Multiplication(Adding):
    """The product of the two marked numbers; all else as in `Adding`."""

    def target(self, first: NDArray[Any], second: NDArray[Any]) -> NDArray[Any]:
        """Their product."""
        return first * second


@dataclass(frozen=True)
class Xor(Adding):
    """Bits in place of numbers, and whether the two marked ones differ; else as in `Adding`."""

    def values(self, rng: np.random.Generator, shape: tuple[int, int]) -> NDArray[Any]:
        """The bits."""
        return rng.integers(0, 2, shape)

    def target(self, first: NDArray[Any], second: NDArray[Any]) -> NDArray[Any]:
        """1 if they differ."""
        return (first != second).astype(np.float32)


@dataclass(frozen=True)
class HochreiterAdding(Adding):
    """Adding as it was first stated (Hochreiter and Schmidhuber, 1997, experiment 4).

    v ~ U[−1, 1]; m = −1 at the first and the last step, 1 at two places, else 0: the first among
    the first ten, the second among the first T/2 − 1 that are still unmarked. Target
    .5 + (X₁ + X₂)/4; if the first step itself is marked (its m is 1 then), its number counts as 0.

    >>> HochreiterAdding(30).draw(np.random.default_rng(0), 4).inputs[-1, :, 1].tolist()
    [-1.0, -1.0, -1.0, -1.0]
    """

    def check(self) -> None:
        """Room for the first ten and for half as many again."""
        super().check()
        check_length(type(self).__name__, self.length, 24)

    def draw(self, rng: np.random.Generator, batch: int) -> TaskBatch:
        """`batch` new sequences."""
        length = int(rng.integers(self.length, self.length * 11 // 10 + 1))
        columns = np.arange(batch)
        first = rng.integers(0, 10, batch)
        second = rng.integers(0, self.length // 2 - 1, batch)
        second += second >= first  # the place among those that are not taken yet
        inputs = np.zeros((length, batch, 2), dtype=np.float32)
        inputs[..., 0] = rng.uniform(-1, 1, (length, batch))
        inputs[0, :, 1] = inputs[-1, :, 1] = -1
        inputs[first, columns, 1] = inputs[second, columns, 1] = 1
        x1, x2 = (np.where(p == 0, 0, inputs[p, columns, 0]) for p in (first, second))
        return TaskBatch(inputs, (0.5 + (x1 + x2) / 4).astype(np.float32))
