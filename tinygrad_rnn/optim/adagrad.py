"""Adagrad: a rate for each parameter that shrinks with the gradients it has seen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from .flat import Run
from .groups import Group
from .optimizer import Optimizer

__all__ = ["Adagrad"]


class Adagrad(Optimizer):
    """Adaptive subgradient method (Duchi, Hazan and Singer, 2011); η is `lr_decay`.

        g ← g + λθ
        s ← s + g²
        θ ← θ − γ/(1 + (t − 1)η) · g/(√s + ε)

    >>> from tinygrad_rnn import tensor
    >>> x = tensor([3.0, -4.0], requires_grad=True)
    >>> optimizer = Adagrad([x], lr=0.5)
    >>> (x * x).sum().backward()
    >>> optimizer.step()
    >>> x.tolist()
    [2.5, -3.5]
    """

    fuses: ClassVar[bool] = True
    state_names: ClassVar[Mapping[str, str | None]] = {"sum": None}

    def __init__(
        self,
        params: Any,
        lr: float = 1e-2,
        lr_decay: float = 0.0,
        weight_decay: float = 0.0,
        initial_accumulator_value: float = 0.0,
        eps: float = 1e-10,
        *,
        maximize: bool = False,
        error_if_nonfinite: bool = False,
    ) -> None:
        options = {
            "lr": lr,
            "lr_decay": lr_decay,
            "weight_decay": weight_decay,
            "initial_accumulator_value": initial_accumulator_value,
            "eps": eps,
            "maximize": maximize,
        }
        super().__init__(params, options, error_if_nonfinite)

    def initial_state(self, group: Group) -> float:
        """The sum of squares before the first step."""
        return float(group["initial_accumulator_value"])

    def update(self, run: Run, group: Group) -> None:
        """θ ← θ − γₜ·g/(√s + ε)."""
        xp, g, total = run.xp, run.grad, run.state("sum")
        run.decay(group["weight_decay"])
        total += xp.multiply(g, g, out=run.scratch)
        root = xp.sqrt(total, out=run.scratch)
        root += group["eps"]
        g /= root
        run.descend(g, group["lr"] / (1 + (run.step - 1) * group["lr_decay"]))
