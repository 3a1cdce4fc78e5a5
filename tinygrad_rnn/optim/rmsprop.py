"""RMSprop: gradients divided by a running root mean square of themselves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from .flat import Run
from .groups import Group
from .optimizer import Optimizer

__all__ = ["RMSprop"]


class RMSprop(Optimizer):
    """RMSprop (Tieleman and Hinton, 2012), centered as in Graves (2013); μ is `momentum`.

        g ← g + λθ
        v ← αv + (1 − α)g²
        m ← αm + (1 − α)g, v̂ = v − m²     if centered, else v̂ = v
        b ← μb + g/(√v̂ + ε)
        θ ← θ − γb

    >>> from tinygrad_rnn import tensor
    >>> x = tensor([3.0, -4.0], requires_grad=True)
    >>> optimizer = RMSprop([x], lr=0.5, alpha=0.75)
    >>> (x * x).sum().backward()
    >>> optimizer.step()
    >>> x.tolist()
    [2.0, -3.0]
    """

    fuses: ClassVar[bool] = True
    state_names: ClassVar[Mapping[str, str | None]] = {
        "square_avg": None,
        "momentum_buffer": "momentum",
        "grad_avg": "centered",
    }

    def __init__(
        self,
        params: Any,
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        centered: bool = False,
        *,
        maximize: bool = False,
        error_if_nonfinite: bool = False,
    ) -> None:
        options = {
            "lr": lr,
            "alpha": alpha,
            "eps": eps,
            "weight_decay": weight_decay,
            "momentum": momentum,
            "centered": centered,
            "maximize": maximize,
        }
        super().__init__(params, options, error_if_nonfinite)

    def update(self, run: Run, group: Group) -> None:
        """θ ← θ − γ·(momentum of g/(√v̂ + ε))."""
        xp, g = run.xp, run.grad
        run.decay(group["weight_decay"])
        root = self._root(run, group)
        root += group["eps"]
        g /= root
        if group["momentum"]:
            buffer = run.state("momentum_buffer")
            buffer *= group["momentum"]
            buffer += g
            xp.copyto(g, buffer)
        run.descend(g, group["lr"])

    def _root(self, run: Run, group: Group) -> Any:
        """√v̂, in the scratch array."""
        xp, g, keep = run.xp, run.grad, group["alpha"]
        square = run.state("square_avg")
        run.blend(square, xp.multiply(g, g, out=run.scratch), keep)
        if not group["centered"]:
            return xp.sqrt(square, out=run.scratch)
        mean = run.state("grad_avg")
        run.blend(mean, g, keep)
        variance = xp.multiply(mean, mean, out=run.scratch)
        xp.subtract(square, variance, out=variance)
        xp.maximum(variance, 0, out=variance)  # rounding can make it negative
        return xp.sqrt(variance, out=variance)
