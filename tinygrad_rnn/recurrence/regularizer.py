"""A pull towards gradients that keep their norm on the way back.

Legend: T time steps, B batch, H hidden size.
"""

from __future__ import annotations

from typing import Any

from ..errors import ShapeError
from ..ops.elementwise import safe_sqrt, square, where
from ..ops.linalg import matmul
from ..tensor import Tensor, as_tensor

__all__ = ["vanishing_gradient_penalty"]


def vanishing_gradient_penalty(weight: Any, cotangents: Any, slopes: Any) -> Tensor:
    """Ω = Σₖ mean_B (‖(δₖ₊₁ W) ⊙ f′(aₖ)‖ / ‖δₖ₊₁‖ − 1)² (Pascanu, Mikolov, Bengio 2013).

    For aₖ₊₁ = W f(aₖ) + …; the norms are over H. δ and f′ are held, so that what Ω contributes to
    ∂/∂W is its immediate derivative. Steps that no gradient reaches (δ = 0) do not count.

    Args:
        weight: W (H, H), as `weight_hh`. cotangents: δₖ = ∂L/∂aₖ (T, B, H).
        slopes: f′(aₖ) (T, B, H), 1 − h² for tanh.

    Raises:
        ShapeError: shapes other than those.

    >>> from tinygrad_rnn import ones, tensor
    >>> float(vanishing_gradient_penalty(tensor([[0.5]]), ones(4, 2, 1), ones(4, 2, 1)))
    0.75
    """
    w, delta, slope = as_tensor(weight), as_tensor(cotangents).detach(), as_tensor(slopes).detach()
    if delta.ndim != 3 or slope.shape != delta.shape or w.shape != (delta.shape[2],) * 2:
        expected = "weight (H, H), cotangents and slopes (T, B, H)"
        got = f"{w.shape}, {delta.shape} and {slope.shape}"
        raise ShapeError("vanishing_gradient_penalty", expected, got)
    arriving = safe_sqrt(square(delta[1:]).sum(-1))
    leaving = safe_sqrt(square(matmul(delta[1:], w) * slope[:-1]).sum(-1))
    there = arriving > 0
    ratio = leaving / where(there, arriving, 1.0)
    total: Tensor = where(there, square(ratio - 1.0), 0.0).mean(1).sum()
    return total
