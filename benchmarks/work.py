"""The work that is compared: sizes, arrays, and one run as values and gradients.

Legend: T time steps, B batch, H hidden size, which is the input size I too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

from .timing import Contender, Effort

__all__ = ["GATES", "SIZES", "Settings", "Size", "Work", "contender"]

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}


class Size(NamedTuple):
    """T, B, and H = I."""

    T: int
    B: int
    H: int

    def __str__(self) -> str:
        return f"{self.T}, {self.B}, {self.H}"


SIZES = tuple(
    Size(*s) for s in ((32, 16, 32), (50, 32, 64), (64, 32, 128), (64, 64, 256), (100, 64, 512))
)


@dataclass(frozen=True)
class Settings:
    """What every part is told."""

    quick: bool = False
    peers: bool = True
    torch_compile: bool = False
    threads: int = 1
    effort: Effort = field(default_factory=Effort)

    def effort_of(self, share: float) -> Effort:
        """A share of the time, for what is small."""
        return replace(self.effort, seconds=self.effort.seconds * share)

    def sizes(self, *numbers: int) -> tuple[Size, ...]:
        """The sizes of these numbers, all without; a tiny one if it has to be quick."""
        if self.quick:
            return (Size(3, 2, 4),)
        return tuple(SIZES[n] for n in numbers) if numbers else SIZES


class Work(NamedTuple):
    """Inputs xs (T, B, H), parameters by PyTorch's names, and the cotangent of the outputs."""

    size: Size
    xs: np.ndarray
    parameters: dict[str, np.ndarray]
    cotangent: np.ndarray

    @staticmethod
    def draw(size: Size, kind: str = "LSTM", seed: int = 0) -> Work:
        """Random float32 arrays; parameters U(±1/√H) as layers start."""
        rng, (T, B, H) = np.random.default_rng(seed), size
        rows = GATES[kind] * H
        shapes = {
            "weight_ih": (rows, H),
            "weight_hh": (rows, H),
            "bias_ih": (rows,),
            "bias_hh": (rows,),
        }
        bound = H**-0.5
        parameters = {
            name: rng.uniform(-bound, bound, shape).astype(np.float32)
            for name, shape in shapes.items()
        }
        xs, cotangent = (rng.standard_normal((T, B, H), dtype=np.float32) for _ in range(2))
        return Work(size, xs, parameters, cotangent)

    def in_double(self) -> Work:
        """The same numbers in float64."""
        parameters = {name: array.astype(np.float64) for name, array in self.parameters.items()}
        xs, cotangent = (a.astype(np.float64) for a in (self.xs, self.cotangent))
        return Work(self.size, xs, parameters, cotangent)


def contender(
    name: str, leaves: Mapping[str, Any], forward: Callable[[], Any], cotangent: Any
) -> Contender:
    """Forward and backward in a library with PyTorch's manners: `.grad`, `.backward(cotangent)`."""

    def run() -> Any:
        for leaf in leaves.values():
            leaf.grad = None
        ys = forward()
        ys.backward(cotangent)
        return ys

    def read(ys: Any) -> dict[str, np.ndarray]:
        gradients = {n: leaf.grad.numpy() for n, leaf in leaves.items()}
        return {"ys": ys.detach().numpy(), **gradients}

    return Contender(name, run, read)
