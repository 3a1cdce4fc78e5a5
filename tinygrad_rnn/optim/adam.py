"""Adam: momentum divided by a running root mean square, both freed from their start at zero."""

from __future__ import annotations

from collections.abc import Mapping
from math import sqrt
from typing import Any, ClassVar

from .flat import Run
from .groups import Group
from .optimizer import Optimizer

__all__ = ["Adam"]


class Adam(Optimizer):
    """Adaptive moments (Kingma and Ba, 2015), amsgrad as in Reddi, Kale and Kumar (2018).

        g ← g + λθ
        m ← β₁m + (1 − β₁)g
        v ← β₂v + (1 − β₂)g²           amsgrad: v̂ ← max(v̂, v) takes the place of v below
        θ ← θ − γ · m/(1 − β₁ᵗ) / (√(v/(1 − β₂ᵗ)) + ε)

    >>> from tinygrad_rnn import tensor
    >>> x = tensor([3.0, -4.0], requires_grad=True)
    >>> optimizer = Adam([x], lr=0.5)
    >>> (x * x).sum().backward()
    >>> optimizer.step()
    >>> [round(value, 6) for value in x.tolist()]
    [2.5, -3.5]
    """

    fuses: ClassVar[bool] = True
    state_names: ClassVar[Mapping[str, str | None]] = {
        "exp_avg": None,
        "exp_avg_sq": None,
        "max_exp_avg_sq": "amsgrad",
    }

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        error_if_nonfinite: bool = False,
    ) -> None:
        options = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "amsgrad": amsgrad,
            "maximize": maximize,
        }
        super().__init__(params, options, error_if_nonfinite)

    def decay(self, run: Run, group: Group) -> None:
        """g ← g + λθ."""
        run.decay(group["weight_decay"])

    def update(self, run: Run, group: Group) -> None:
        """θ ← θ − γ√c₂/c₁ · m/(√v + ε√c₂) with cᵢ = 1 − βᵢᵗ: Kingma and Ba's faster order."""
        xp, g, (beta1, beta2) = run.xp, run.grad, group["betas"]
        mean, square = run.state("exp_avg"), run.state("exp_avg_sq")
        self.decay(run, group)
        run.blend(mean, g, beta1)
        run.blend(square, xp.multiply(g, g, out=run.scratch), beta2)
        if group["amsgrad"]:
            square = xp.maximum(
                run.state("max_exp_avg_sq"), square, out=run.state("max_exp_avg_sq")
            )
        correction1, root2 = 1 - beta1**run.step, sqrt(1 - beta2**run.step)
        root = xp.sqrt(square, out=run.scratch)
        root += group["eps"] * root2
        run.descend(xp.divide(mean, root, out=g), group["lr"] * root2 / correction1)
