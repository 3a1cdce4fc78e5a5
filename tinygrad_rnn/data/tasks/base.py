"""Task: what the generators share; an infinite stream of seeded batches.

Legend: T time steps, B batch, I input size; arrays are time-major `(T, B, ...)`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tinygrad_rnn.errors import ArgumentError, DataError, ShapeError

from ...arguments import whole_number

__all__ = ["Task", "TaskBatch", "TaskStream", "one_hot", "solved"]

Array = NDArray[Any]
FloatArray = NDArray[np.float32]


class TaskBatch(NamedTuple):
    """`inputs` (T, B, I) float32, or as the task says like `targets`; `lengths` (B,) if unequal."""

    inputs: Array
    targets: Array
    lengths: NDArray[np.int64] | None = None


@dataclass(frozen=True)
class Task:
    """A task without end: `draw(rng, batch)` gives new examples, `wrong` judges answers.

    `input_size` and `output_size` are the sizes that a network for it needs.
    """

    def __post_init__(self) -> None:
        self.check()

    def check(self) -> None:
        """Refuse sizes for which the task is not defined."""

    @property
    def input_size(self) -> int:
        """I."""
        raise NotImplementedError

    @property
    def output_size(self) -> int:
        """The number of outputs, or of classes."""
        raise NotImplementedError

    def draw(self, rng: np.random.Generator, batch: int) -> TaskBatch:
        """A batch of new examples."""
        raise NotImplementedError

    def wrong(self, outputs: ArrayLike, batch: TaskBatch) -> NDArray[np.bool_]:
        """(B,): which examples are answered wrongly."""
        raise NotImplementedError

    def stream(self, batch_size: int, seed: int = 0) -> TaskStream:
        """Batches without end, the same for the same seed."""
        return TaskStream(self, batch_size, seed)


class TaskStream:
    """Batches of a task without end; batch n depends on the seed and on n alone.

    `state_dict` and `load_state_dict` save and restore the place, as data sets of `data` do.
    """

    def __init__(self, task: Task, batch_size: int, seed: int = 0) -> None:
        self.task = task
        self.batch_size = whole_number("TaskStream", "batch_size", batch_size)
        self.seed = whole_number("TaskStream", "seed", seed, least=0)
        self.position = 0

    def __iter__(self) -> Iterator[TaskBatch]:
        while True:
            yield next(self)

    def __next__(self) -> TaskBatch:
        rng = np.random.default_rng([self.seed, self.position])
        self.position += 1
        return self.task.draw(rng, self.batch_size)

    def state_dict(self) -> dict[str, int]:
        """The place, and what it depends on."""
        return {"position": self.position, "batch_size": self.batch_size, "seed": self.seed}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Go to a stored place.

        Raises:
            DataError: it belongs to another seed or batch size, or is none.
        """
        wanted = self.state_dict()
        position = state.get("position", -1)
        if state.keys() != wanted.keys() or {**state, "position": 0} != {**wanted, "position": 0}:
            raise DataError("TaskStream.load_state_dict", str(wanted), dict(state))
        if not isinstance(position, int) or position < 0:
            raise DataError("TaskStream.load_state_dict", "a position >= 0", repr(position))
        self.position = position


def solved(wrong: ArrayLike) -> bool:
    """Less than 1 % wrong (Hochreiter and Schmidhuber, 1997; over 10,000 new examples).

    Raises:
        ShapeError: no examples.

    >>> solved([False] * 199 + [True]), solved([False] * 99 + [True])
    (True, False)
    """
    answers = np.asarray(wrong)
    if answers.size == 0:
        raise ShapeError("solved", "at least one example", "none")
    return bool(answers.mean() < 0.01)


def one_hot(symbols: Array, count: int) -> FloatArray:
    """Symbols (T, B) as (T, B, count)."""
    return np.eye(count, dtype=np.float32)[symbols]


def answers_of(outputs: ArrayLike, shape: tuple[int, ...], called: str) -> NDArray[np.float64]:
    """The outputs as an array of the shape that can be judged."""
    given = np.asarray(outputs, dtype=np.float64)
    if given.shape != shape:
        raise ShapeError(called, f"outputs of shape {shape}", str(given.shape))
    return given


def uniform(rng: np.random.Generator, low: float, high: float, batch: int) -> NDArray[np.int64]:
    """Whole numbers from ⌈low⌉ to below ⌈high⌉, (B,)."""
    return rng.integers(int(np.ceil(low - 1e-9)), int(np.ceil(high - 1e-9)), batch)


def check_length(called: str, length: Any, least: int) -> None:
    """Positions are fractions of the length: below `least` two of them could be the same."""
    if whole_number(called, "length", length) < least:
        raise ArgumentError(called, f"length >= {least}", length)
