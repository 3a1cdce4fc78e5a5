"""Memorisation, copying and random permutations: symbols to be kept over a long time."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...arguments import whole_number
from .base import Task, TaskBatch, answers_of, check_length, one_hot

__all__ = ["Memorization", "RandomPermutation", "copying", "five_bit", "twenty_bit"]


@dataclass(frozen=True)
class Memorization(Task):
    """Keep symbols over blanks, and give them back after a cue (Hochreiter, Schmidhuber 1997).

    In time: `positions` symbols out of `values`; `blanks` blanks; a cue; `positions` blanks, at
    which the symbols are to be said in order. One-hot inputs: the values, the blank, the cue.
    Targets (T, B): the blank (number `values`) until the cue, then the symbols.

    >>> batch = five_bit(3).draw(np.random.default_rng(0), 1)
    >>> batch.inputs.argmax(axis=2)[:, 0].tolist()
    [1, 1, 1, 0, 0, 2, 2, 2, 3, 2, 2, 2, 2, 2]
    >>> batch.targets[:, 0].tolist()
    [2, 2, 2, 2, 2, 2, 2, 2, 2, 1, 1, 1, 0, 0]
    """

    positions: int
    values: int
    blanks: int

    def check(self) -> None:
        """Something to keep."""
        for name, least in (("positions", 1), ("values", 2), ("blanks", 0)):
            whole_number("Memorization", name, getattr(self, name), least)

    @property
    def length(self) -> int:
        """The number of steps."""
        return 2 * self.positions + self.blanks + 1

    @property
    def input_size(self) -> int:
        """The values, the blank, the cue."""
        return self.values + 2

    @property
    def output_size(self) -> int:
        """The values and the blank."""
        return self.values + 1

    @property
    def memoryless_loss(self) -> float:
        """The mean cross entropy of who knows when to speak but not what, in nats a step."""
        return self.positions * math.log(self.values) / self.length

    def draw(self, rng: np.random.Generator, batch: int) -> TaskBatch:
        """`batch` new sequences."""
        symbols = np.full((self.length, batch), self.values)
        targets = symbols.copy()
        kept = rng.integers(0, self.values, (self.positions, batch))
        symbols[: self.positions] = targets[-self.positions :] = kept
        symbols[self.positions + self.blanks] = self.values + 1
        return TaskBatch(one_hot(symbols, self.input_size), targets)

    def wrong(self, outputs: ArrayLike, batch: TaskBatch) -> NDArray[np.bool_]:
        """Whether any of the symbols after the cue is not the largest of (T, B, classes)."""
        shape = (*batch.targets.shape, self.output_size)
        said = answers_of(outputs, shape, "Memorization.wrong").argmax(axis=2)
        differs = (said != batch.targets)[-self.positions :]
        result: NDArray[np.bool_] = differs.any(axis=0)
        return result


def five_bit(blanks: int) -> Memorization:
    """Five symbols of two values."""
    return Memorization(5, 2, blanks)


def twenty_bit(blanks: int) -> Memorization:
    """Ten symbols of five values."""
    return Memorization(10, 5, blanks)


def copying(blanks: int) -> Memorization:
    """Ten symbols of eight, T − 1 blanks, a marker, ten blanks (Arjovsky, Shah, Bengio 2016).

    T = `blanks`; there are T + 20 steps, and without memory the loss is 10 ln 8 / (T + 20).

    >>> task = copying(100)
    >>> task.length, round(task.memoryless_loss, 4)
    (120, 0.1733)
    """
    return Memorization(10, 8, whole_number("copying", "blanks", blanks) - 1)


@dataclass(frozen=True)
class RandomPermutation(Task):
    """The last symbol is the first, 0 or 1; between them 2 … 99 in random order (Martens 2011).

    Sequences of `length` symbols out of 100, one-hot: the inputs are all but the last, the target
    (B,) is the last. Longer ones than 100 hold one permutation after another, the last cut off.

    >>> batch = RandomPermutation(100).draw(np.random.default_rng(0), 2)
    >>> batch.inputs.shape, bool((batch.inputs.argmax(axis=2)[0] == batch.targets).all())
    ((99, 2, 100), True)
    """

    length: int = 100

    def check(self) -> None:
        """A first, a last, and something between."""
        check_length("RandomPermutation", self.length, 3)

    @property
    def input_size(self) -> int:
        """A hundred symbols."""
        return 100

    @property
    def output_size(self) -> int:
        """A hundred symbols."""
        return 100

    def draw(self, rng: np.random.Generator, batch: int) -> TaskBatch:
        """`batch` new sequences."""
        first = rng.integers(0, 2, batch)
        count = self.length - 2
        rounds = [2 + rng.random((98, batch)).argsort(axis=0) for _ in range(math.ceil(count / 98))]
        symbols = np.concatenate([first[None], np.concatenate(rounds)[:count]])
        return TaskBatch(one_hot(symbols, 100), first)

    def wrong(self, outputs: ArrayLike, batch: TaskBatch) -> NDArray[np.bool_]:
        """Whether the largest of (B, 100) is another symbol."""
        found = answers_of(outputs, (len(batch.targets), 100), "RandomPermutation.wrong")
        result: NDArray[np.bool_] = found.argmax(axis=1) != batch.targets
        return result
