"""Numbers that are watched while a model trains."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..arguments import real

__all__ = ["History", "MovingAverage", "bits", "perplexity"]


def bits(nats: float) -> float:
    """A cross-entropy in nats, as the losses give it, in bits.

    >>> bits(math.log(8))
    3.0
    """
    return nats / math.log(2)


def perplexity(nats: float) -> float:
    """As many equally likely symbols would be as hard to predict: e^(cross-entropy in nats).

    >>> round(perplexity(math.log(8)), 6)
    8.0
    """
    try:
        return math.exp(nats)
    except OverflowError:  # a model that explodes
        return math.inf


@dataclass
class MovingAverage:
    """Exponential average m of values v, ``m ← decay m + (1 - decay) v``, unbiased from the first.

    ``weight`` is what the values so far weigh together, 1 - decay^n (Kingma and Ba, 2015).

    >>> average = MovingAverage(decay=0.9)
    >>> average.update(2.0), round(average.update(4.0), 3)
    (2.0, 3.053)
    """

    decay: float = 0.98
    total: float = 0.0
    weight: float = 0.0

    def __post_init__(self) -> None:
        real("MovingAverage", "decay", self.decay, 0, 1)

    def update(self, value: float) -> float:
        """Take in one value; the new average."""
        self.total += (1 - self.decay) * (value - self.total)
        self.weight += (1 - self.decay) * (1 - self.weight)
        return self.value

    @property
    def value(self) -> float:
        """The average, NaN before the first value."""
        return self.total / self.weight if self.weight else math.nan


@dataclass
class History:
    """The loss of every step, and every validation as (step, value); the best one is the lowest."""

    losses: list[float] = field(default_factory=list)
    validations: list[tuple[int, float]] = field(default_factory=list)

    @property
    def best(self) -> tuple[int, float] | None:
        """Step and value of the lowest validation, the first of equals; None before any."""
        return min(self.validations, key=lambda pair: pair[1], default=None)

    def smoothed(self, decay: float = 0.98) -> list[float]:
        """The losses under a moving average."""
        average = MovingAverage(decay)
        return [average.update(loss) for loss in self.losses]

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """The history as arrays, which a checkpoint keeps to the last bit."""
        return {
            "losses": np.array(self.losses, dtype=np.float64),
            "validations": np.array(self.validations, dtype=np.float64).reshape(-1, 2),
        }

    @classmethod
    def from_arrays(cls, losses: NDArray[Any], validations: NDArray[Any]) -> History:
        """The history that ``to_arrays`` gave."""
        return cls(losses.tolist(), [(int(step), value) for step, value in validations.tolist()])
