"""Stochastic gradient descent, with momentum and Nesterov's look ahead."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from ..errors import ArgumentError
from .flat import Run
from .groups import Group
from .optimizer import Optimizer

__all__ = ["SGD"]


class SGD(Optimizer):
    """Gradient descent on the loss of a batch (Robbins and Monro, 1951).

        g ← g + λθ
        b ← μb + (1 − τ)g, at the first step b ← g      momentum μ, dampening τ (Polyak, 1964)
        g ← g + μb if nesterov else b                   (Nesterov, 1983; Sutskever et al., 2013)
        θ ← θ − γg

    >>> from tinygrad_rnn import tensor
    >>> x = tensor([1.0, 2.0], requires_grad=True)
    >>> optimizer = SGD([x], lr=0.25)
    >>> (x * x).sum().backward()
    >>> optimizer.step()
    >>> x.tolist()
    [0.5, 1.0]
    """

    fuses: ClassVar[bool] = True
    state_names: ClassVar[Mapping[str, str | None]] = {"momentum_buffer": "momentum"}

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
        error_if_nonfinite: bool = False,
    ) -> None:
        options = {
            "lr": lr,
            "momentum": momentum,
            "dampening": dampening,
            "weight_decay": weight_decay,
            "nesterov": nesterov,
            "maximize": maximize,
        }
        super().__init__(params, options, error_if_nonfinite)

    def check(self, group: Group, called: str) -> None:
        """Nesterov's method is defined for momentum without dampening."""
        if group["nesterov"] and not (group["momentum"] > 0 and group["dampening"] == 0):
            got = f"momentum={group['momentum']}, dampening={group['dampening']}"
            raise ArgumentError(called, "momentum > 0 and dampening = 0 with nesterov", got)

    def update(self, run: Run, group: Group) -> None:
        """θ ← θ − γg, or with momentum."""
        run.decay(group["weight_decay"])
        direction = run.grad
        if group["momentum"]:
            direction = self._momentum(run, group)
        run.descend(direction, group["lr"])

    def _momentum(self, run: Run, group: Group) -> Any:
        buffer, momentum = run.state("momentum_buffer"), group["momentum"]
        if run.step == 1:
            buffer[...] = run.grad
        else:
            buffer *= momentum
            buffer += run.xp.multiply(run.grad, 1 - group["dampening"], out=run.scratch)
        if not group["nesterov"]:
            return buffer
        run.grad += run.xp.multiply(buffer, momentum, out=run.scratch)
        return run.grad
