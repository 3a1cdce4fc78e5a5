"""AdamW: Adam whose weight decay is not mixed into the gradient."""

from __future__ import annotations

from typing import Any, ClassVar

from .adam import Adam
from .flat import Run
from .groups import Group

__all__ = ["AdamW"]


class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov and Hutter, 2019).

        θ ← θ − γλθ, then as Adam with λ = 0

    >>> from tinygrad_rnn import tensor
    >>> x = tensor([4.0], requires_grad=True)
    >>> optimizer = AdamW([x], lr=0.5, weight_decay=0.5)
    >>> (x * 0).sum().backward()
    >>> optimizer.step()
    >>> x.tolist()
    [3.0]
    """

    fuses: ClassVar[bool] = True

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        error_if_nonfinite: bool = False,
    ) -> None:
        super().__init__(
            params,
            lr,
            betas,
            eps,
            weight_decay,
            amsgrad,
            maximize=maximize,
            error_if_nonfinite=error_if_nonfinite,
        )

    def decay(self, run: Run, group: Group) -> None:
        """θ ← (1 − γλ)θ."""
        param = run.param
        param *= 1 - group["lr"] * group["weight_decay"]
