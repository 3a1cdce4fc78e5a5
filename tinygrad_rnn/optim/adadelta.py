"""Adadelta: steps in the units of the parameters, without a rate to choose."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from .flat import Run
from .groups import Group
from .optimizer import Optimizer

__all__ = ["Adadelta"]


class Adadelta(Optimizer):
    """Adadelta (Zeiler, 2012).

        g ← g + λθ
        v ← ρv + (1 − ρ)g²
        Δ = √(u + ε)/√(v + ε) · g
        u ← ρu + (1 − ρ)Δ²
        θ ← θ − γΔ

    >>> from tinygrad_rnn import tensor
    >>> x = tensor([3.0, -4.0], requires_grad=True)
    >>> optimizer = Adadelta([x], rho=0.75, eps=1e-2)
    >>> (x * x).sum().backward()
    >>> optimizer.step()
    >>> [round(value, 3) for value in x.tolist()]
    [2.8, -3.8]
    """

    fuses: ClassVar[bool] = True
    state_names: ClassVar[Mapping[str, str | None]] = {"square_avg": None, "acc_delta": None}

    def __init__(
        self,
        params: Any,
        lr: float = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
        error_if_nonfinite: bool = False,
    ) -> None:
        options = {
            "lr": lr,
            "rho": rho,
            "eps": eps,
            "weight_decay": weight_decay,
            "maximize": maximize,
        }
        super().__init__(params, options, error_if_nonfinite)

    def update(self, run: Run, group: Group) -> None:
        """θ ← θ − γ·√(u + ε)/√(v + ε)·g."""
        xp, delta, eps, keep = run.xp, run.grad, group["eps"], group["rho"]
        square, steps = run.state("square_avg"), run.state("acc_delta")
        run.decay(group["weight_decay"])
        run.blend(square, xp.multiply(delta, delta, out=run.scratch), keep)
        for average, apply in ((square, xp.divide), (steps, xp.multiply)):
            root = xp.add(average, eps, out=run.scratch)
            apply(delta, xp.sqrt(root, out=root), out=delta)
        run.blend(steps, xp.multiply(delta, delta, out=run.scratch), keep)
        run.descend(delta, group["lr"])
