"""Where the pen goes next: a mixture of Gaussians in the plane, and whether it is lifted.

Legend: M components; the last axis of the outputs holds 6M + 1 numbers.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from ..errors import DTypeError, ShapeError
from ..ops.elementwise import exp, softplus, tanh
from ..ops.reduce import logsumexp, sum
from ..tensor import as_tensor
from .reduction import beside, check_reduction, reduced

__all__ = ["PenMixture", "mixture_density_loss", "pen_mixture"]


class PenMixture(NamedTuple):
    """What outputs (…, 6M + 1) say: ρ = tanh(twist) is the correlation of the two directions."""

    log_weight: Any  # (…, M), log π
    mean: Any  # (…, 2, M)
    log_scale: Any  # (…, 2, M), log σ
    twist: Any  # (…, M)
    lift: Any  # (…,), the logit of the pen's being lifted behind the point


def pen_mixture(outputs: Any) -> PenMixture:
    """Name the parts of outputs (…, 6M + 1).

    Raises:
        ShapeError: not 6M + 1 of them. DTypeError: no floating-point numbers.
    """
    y = as_tensor(outputs)
    if y.dtype.kind != "f":
        raise DTypeError("pen_mixture", "floating-point outputs", y.dtype.name)
    if not y.ndim or y.shape[-1] % 6 != 1 or y.shape[-1] < 7:
        raise ShapeError("pen_mixture", "outputs (…, 6M + 1), M >= 1", str(y.shape))
    m, lead = y.shape[-1] // 6, y.shape[:-1]
    weights = y[..., :m] - logsumexp(y[..., :m], -1, keepdim=True)
    return PenMixture(
        weights, y[..., m : 3 * m].reshape(*lead, 2, m),
        y[..., 3 * m : 5 * m].reshape(*lead, 2, m), y[..., 5 * m : 6 * m], y[..., 6 * m],
    )  # fmt: skip


def mixture_density_loss(outputs: Any, target: Any, reduction: str = "mean") -> Any:
    """−log Σ_k π_k N(Δ; μ_k, σ_k, ρ_k) − log p(lift), of pen movements (Graves 2013, eq. 18–26).

    Args:
        outputs: (…, 6M + 1), of a linear layer.
        target: (…, 3): the movement (Δx, Δy), and 1 if the pen is lifted behind it, else 0.

    Raises:
        ShapeError, DTypeError: what is not as above.

    >>> import tinygrad_rnn as tg
    >>> loss = mixture_density_loss(tg.zeros(7), tg.tensor([0.0, 0.0, 1.0]))
    >>> round(float(loss), 4) == round(math.log(2 * math.pi) + math.log(2), 4)
    True
    """
    check_reduction("mixture_density_loss", reduction)
    found = pen_mixture(outputs)
    goal = beside("mixture_density_loss", target, as_tensor(outputs)).to(found.twist.dtype)
    if goal.shape != (*found.lift.shape, 3):
        expected = f"a target of shape {(*found.lift.shape, 3)}"
        raise ShapeError("mixture_density_loss", expected, str(goal.shape))
    z = (goal[..., :2, None] - found.mean) * exp(-found.log_scale)
    zx, zy = z[..., 0, :], z[..., 1, :]
    # log(1 − ρ²) = −2 log cosh(twist), which stays exact where ρ is 1 in floating point
    log_rest = 2 * (math.log(2) - found.twist - softplus(-2 * found.twist))
    across = zx - tanh(found.twist) * zy
    squares = across * across * exp(-log_rest) + zy * zy
    log_normal = -0.5 * (squares + log_rest) - sum(found.log_scale, -2) - math.log(2 * math.pi)
    lifted = softplus(found.lift) - found.lift * goal[..., 2]
    losses = lifted - logsumexp(found.log_weight + log_normal, -1)
    return reduced("mixture_density_loss", losses, reduction)
