"""Real-time recurrent learning: the gradient goes forward in time, with the network.

Legend: S = ∂h/∂θ (n, N) the sensitivities, n numbers in the carry, N parameters.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..arguments import function
from ..create import zeros
from ..errors import ShapeError
from ..ops.shape import cat
from ..tensor import Tensor, as_tensor
from ..transforms import jacobian, vjp
from ..tree import flatten, tree_map, unflatten

__all__ = ["RTRL"]


class RTRL:
    """The gradient of every error as soon as it is there, without a past (Williams, Zipser 1989).

        Sₜ = ∂hₜ/∂hₜ₋₁ · Sₜ₋₁ + ∂hₜ/∂θ;   ∂Lₜ/∂θ = ∂Lₜ/∂hₜ₋₁ · Sₜ₋₁ + (∂Lₜ/∂θ at hₜ₋₁ held)

    It is forward mode through time: memory n·N however long the sequence, n pullbacks and n²·N
    multiplications a step. While the parameters stay, the gradients add up to those of BPTT.

    Args:
        step: (params, carry, x) → (carry, y). loss: (y, target) of one step → a number.

    >>> from tinygrad_rnn import tensor
    >>> step = lambda w, h, x: (w * h + x, w * h + x)
    >>> learner = RTRL(step, lambda y, target: y - target, tensor(0.5), tensor(0.0))
    >>> for _ in range(3):
    ...     loss, gradient = learner.advance(tensor(1.0), tensor(0.0))
    >>> float(gradient)  # y₃ = 1 + w + w²
    2.0
    """

    def __init__(
        self,
        step: Callable[[Any, Any, Any], tuple[Any, Any]],
        loss: Callable[[Any, Any], Any],
        params: Any,
        carry: Any,
    ) -> None:
        for name, given in (("step", step), ("loss", loss)):
            function("RTRL", name, given)
        self.step, self.loss, self.params = step, loss, params
        self.carry = tree_map(lambda c: as_tensor(c).detach(), carry)
        weights = _joined(tree_map(as_tensor, params)).detach()
        size = sum(leaf.numel() for leaf in flatten(self.carry)[0])
        self.sensitivity = zeros(size, weights.numel(), dtype=weights.dtype, device=weights.device)

    def advance(self, x: Any, target: Any) -> tuple[Any, Any]:
        """One step; (its loss, the gradient of this loss as a tree like the parameters)."""
        theta, h = _joined(tree_map(as_tensor, self.params)).detach(), _joined(self.carry)

        def error(theta: Any, h: Any) -> Any:
            return self.loss(self._run(theta, h, x)[1], target)

        def following(both: Any) -> Any:
            return _joined(self._run(both[: theta.numel()], both[theta.numel() :], x)[0])

        value, pullback = vjp(error, theta, h)
        if not isinstance(value, Tensor) or value.numel() != 1:
            got = getattr(value, "shape", type(value).__name__)
            raise ShapeError("RTRL.advance", "a loss that is one number", str(got))
        direct, through = pullback(value * 0 + 1)
        gradient = direct + through @ self.sensitivity
        slopes = jacobian(following)(cat([theta, h]))
        count = theta.numel()
        self.sensitivity = slopes[:, :count] + slopes[:, count:] @ self.sensitivity
        carry = self._run(theta, h, x)[0]
        self.carry = tree_map(lambda c: c.detach(), carry)
        return value.detach(), _parted(gradient, self.params)

    def _run(self, theta: Any, h: Any, x: Any) -> tuple[Any, Any]:
        return self.step(_parted(theta, self.params), _parted(h, self.carry), x)


def _joined(tree: Any) -> Tensor:
    whole: Tensor = cat([leaf.reshape(-1) for leaf in flatten(tree)[0]])
    return whole


def _parted(vector: Any, like: Any) -> Any:
    leaves, structure = flatten(like)
    parts, start = [], 0
    for leaf in leaves:
        stop = start + as_tensor(leaf).numel()
        parts.append(vector[start:stop].reshape(as_tensor(leaf).shape))
        start = stop
    return unflatten(structure, parts)
