"""Line search: how far to go along a direction.

Legend: φ(α) = f(θ + αd), φ′(α) = ∇f(θ + αd)·d.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

__all__ = ["Point", "strong_wolfe"]


class Point(NamedTuple):
    """A rate α, φ(α), φ′(α), and the gradient there."""

    rate: float
    value: float
    slope: float
    gradient: Any = None


Phi = Callable[[float], Point]


def strong_wolfe(
    phi: Phi, start: Point, rate: float, c1: float = 1e-4, c2: float = 0.9, evaluations: int = 25
) -> Point:
    """A point with φ(α) ≤ φ(0) + c₁αφ′(0) and |φ′(α)| ≤ c₂|φ′(0)| (Nocedal and Wright, 2006, 3.5).

    Rates grow until a minimum lies between two of them; then it is closed in by cubic
    interpolation. Without such a point after `evaluations` it is the lowest that was seen.

    >>> square = lambda a: Point(a, (a - 3.0) ** 2, 2 * (a - 3.0))
    >>> strong_wolfe(square, square(0.0), 1.0, c2=1e-6).rate
    3.0
    """
    before, point = start, phi(rate)
    for left in range(evaluations - 1, 0, -1):
        if _too_high(point, start, c1) or (before is not start and point.value >= before.value):
            return _zoom(phi, start, before, point, c1, c2, left)
        if abs(point.slope) <= -c2 * start.slope:
            return point
        if point.slope >= 0:
            return _zoom(phi, start, point, before, c1, c2, left)
        before, point = point, phi(_further(before, point))
    return min(before, point, key=_height)


def _zoom(
    phi: Phi, start: Point, low: Point, high: Point, c1: float, c2: float, evaluations: int
) -> Point:
    """Close in: `low` is the lowest point so far, and φ falls from it towards `high`."""
    for _ in range(evaluations):
        width = high.rate - low.rate
        if abs(width) * max(abs(low.slope), abs(start.slope)) < 1e-16 * abs(start.value):
            break
        trial = _cubic_minimum(low, high)
        least, most = sorted((low.rate + 0.05 * width, high.rate - 0.05 * width))
        point = phi(min(max(trial, least), most) if math.isfinite(trial) else low.rate + width / 2)
        if _too_high(point, start, c1) or point.value >= low.value:
            high = point
            continue
        if abs(point.slope) <= -c2 * start.slope:
            return point
        low, high = point, low if point.slope * width >= 0 else high
    return low


def _further(before: Point, point: Point) -> float:
    """Where the cubic has its minimum, but two to ten times as far; ten if it has none."""
    far = _cubic_minimum(before, point)
    return max(2.0, min(far / point.rate, 10.0) if math.isfinite(far) else 10.0) * point.rate


def _too_high(point: Point, start: Point, c1: float) -> bool:
    """Whether it fails to descend enough; what is not finite does."""
    return not point.value <= start.value + c1 * point.rate * start.slope


def _height(point: Point) -> float:
    return point.value if math.isfinite(point.value) else math.inf


def _cubic_minimum(a: Point, b: Point) -> float:
    """Where the cubic through both values and slopes has its minimum; NaN if nowhere."""
    width = b.rate - a.rate
    middle = a.slope + b.slope - 3 * (b.value - a.value) / width
    root = middle * middle - a.slope * b.slope
    if not 0 <= root < math.inf:
        return math.nan
    bend = math.copysign(math.sqrt(root), width)
    divisor = b.slope - a.slope + 2 * bend
    return b.rate - width * (b.slope + bend - middle) / divisor if divisor else math.nan
