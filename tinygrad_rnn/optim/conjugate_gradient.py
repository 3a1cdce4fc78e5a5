"""Conjugate gradients: A x = b for a positive definite A of which only products are known."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..arguments import function

__all__ = ["conjugate_gradient"]

Array = Any


def conjugate_gradient(
    product: Callable[[Array], Array],
    b: Array,
    x: Array,
    *,
    precondition: Array | float = 1.0,
    iterations: int = 250,
    progress: float = 5e-4,
) -> list[Array]:
    """Iterates that lower φ(x) = ½xᵀAx − bᵀx (Hestenes and Stiefel, 1952; Martens, 2010).

    Iterate i is kept where i passes the next power of 1.3, and the last one, so that whoever
    judges by another function can look back. It ends when over the last k = max(10, i/10)
    iterations φ fell by less than k · `progress` of itself, or at a direction without curvature.

    Args:
        x: where to begin. precondition: the diagonal of a matrix like A.

    >>> import numpy as np
    >>> A, b = np.array([[2.0, 1.0], [1.0, 3.0]]), np.array([3.0, 4.0])
    >>> conjugate_gradient(lambda v: A @ v, b, np.zeros(2))[-1].round(12).tolist()
    [1.0, 1.0]
    """
    residual = function("conjugate_gradient", "product", product)(x) - b
    heights = [0.5 * float(x @ (residual - b))]
    scaled = residual / precondition
    direction, length = -scaled, float(residual @ scaled)
    kept, mark = [x], 1.0
    for i in range(1, iterations + 1):
        bent = product(direction)
        curvature = float(direction @ bent)
        if not (curvature > 0 and length > 0):  # solved, or not a number
            break
        rate = length / curvature
        x = x + rate * direction
        residual = residual + rate * bent
        heights.append(0.5 * float(x @ (residual - b)))
        if i >= mark:
            kept.append(x)
            mark *= 1.3
        if _stalls(heights, progress):
            break
        scaled = residual / precondition
        longer = float(residual @ scaled)
        direction, length = direction * (longer / length) - scaled, longer
    return kept if kept[-1] is x else [*kept, x]


def _stalls(heights: list[float], progress: float) -> bool:
    """Whether φ hardly falls any more, relative to how far it has fallen."""
    last = len(heights) - 1
    span = max(10, last // 10)
    if last < span or not heights[-1] < 0:
        return False
    return (heights[-1] - heights[-1 - span]) / heights[-1] < span * progress
