"""Units that fire or do not: before there were gradients.

Legend: N patterns, I inputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...arguments import positive, real, several, whole_number
from ...checks import float32
from ...create import zeros
from ...errors import ArgumentError, ShapeError
from ...graph import no_grad
from ...ops.linalg import matmul
from ...tensor import Tensor, as_tensor, tensor
from ..layers import check_sizes
from ..module import Module

__all__ = ["McCullochPitts", "Perceptron"]


class McCullochPitts(Module):
    """y = [w·x ≥ θ], a logical element (McCulloch, Pitts 1943): x (…, I) -> (…), 0 or 1.

    >>> both = McCullochPitts([1.0, 1.0], threshold=2.0)
    >>> both(tensor([[0.0, 1.0], [1.0, 1.0]])).tolist()
    [0.0, 1.0]
    """

    def __init__(self, weights: Sequence[float], threshold: float) -> None:
        given = several("McCullochPitts", "weights", weights)
        check_sizes("McCullochPitts", weights=len(given))
        self.register_buffer("weight", tensor(given, float32))
        self.threshold = real("McCullochPitts", "threshold", threshold)

    weight: Tensor

    def forward(self, x: Any) -> Any:
        """Whether the unit fires."""
        return (matmul(_like(x, self.weight), self.weight) >= self.threshold).to(self.weight.dtype)


class Perceptron(Module):
    """y = sign(w·x + b), ±1, and its learning rule (Rosenblatt 1958): x (N, I) -> (N,).

    On patterns ‖x̃‖ ≤ R, x̃ = (x, 1), that some unit vector separates by a margin γ, the rule makes
    at most (R/γ)² mistakes in all (Novikoff 1962), whatever η.

    >>> unit = Perceptron(2)
    >>> unit.fit([[0.0, 0.0], [1.0, 1.0]], [-1.0, 1.0])[-1], unit([[1.0, 1.0]]).tolist()
    (0, [1.0])
    """

    def __init__(self, input_size: int) -> None:
        check_sizes("Perceptron", input_size=input_size)
        self.register_buffer("weight", zeros(input_size))
        self.register_buffer("bias", zeros(1))

    weight: Tensor
    bias: Tensor

    def forward(self, x: Any) -> Any:
        """The side on which x lies; on the border +1."""
        return 2 * (self._inner(x) >= 0).to(self.weight.dtype) - 1

    def _inner(self, x: Any) -> Any:
        return matmul(_like(x, self.weight), self.weight) + self.bias

    def fit(self, x: Any, t: Any, epochs: int = 100, learning_rate: float = 1.0) -> list[int]:
        """w ← w + η (t − y) x for each pattern in turn, until a pass makes no mistake.

        Args:
            x: (N, I). t: (N,), each −1 or +1.

        Returns:
            The number of mistakes of each pass; the last is 0 if the rule has converged.

        Raises:
            ArgumentError: targets other than ±1. ShapeError.
        """
        whole_number("Perceptron.fit", "epochs", epochs)
        positive("Perceptron.fit", "learning_rate", learning_rate)
        patterns, targets = _like(x, self.weight), _like(t, self.weight)
        if patterns.ndim != 2 or targets.shape != patterns.shape[:1]:
            got = f"{patterns.shape} and {targets.shape}"
            raise ShapeError("Perceptron.fit", "x (N, I) and t (N,)", got)
        if not bool(((targets == 1) | (targets == -1)).all()):
            raise ArgumentError("Perceptron.fit", "targets −1 or +1", "others")
        mistakes: list[int] = []
        with no_grad():
            while len(mistakes) < epochs and (not mistakes or mistakes[-1]):
                mistakes.append(self._one_pass(patterns, targets, learning_rate))
        return mistakes

    def _one_pass(self, x: Tensor, t: Tensor, rate: float) -> int:
        wrong = 0
        for pattern, target in zip(x, t, strict=True):
            error = target - self(pattern)
            if float(error):
                self.weight.add_(rate * error * pattern)
                self.bias.add_(rate * error)
                wrong += 1
        return wrong


def _like(value: Any, weight: Tensor) -> Tensor:
    return as_tensor(value, device=weight.device).to(weight.dtype)
