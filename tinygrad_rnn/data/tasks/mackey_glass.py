"""The Mackey–Glass series, chaotic for delays from 17 on."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tinygrad_rnn.errors import ArgumentError

from ...arguments import whole_number

__all__ = ["mackey_glass"]

STEP = 0.1
PER_UNIT = 10  # steps in one unit of time


def mackey_glass(
    count: int, tau: float = 17.0, start: float = 1.2, discard: int = 1000
) -> NDArray[np.float64]:
    """`count` values, one for each unit of time, after the first `discard` of them.

        dx/dt = 0.2 x(t − τ) / (1 + x(t − τ)¹⁰) − 0.1 x(t)        (Mackey and Glass, 1977)

    Runge and Kutta's fourth-order method with dt = 0.1, x(0) = `start`, x(t < 0) = 0; the delayed
    value half way between two steps is their mean.

    Raises:
        ArgumentError: a delay that is no multiple of 0.1 above 0, or `start` not finite.

    >>> mackey_glass(3).round(4).tolist()
    [1.0074, 1.0319, 1.0645]
    """
    count = whole_number("mackey_glass", "count", count, least=0)
    discard = whole_number("mackey_glass", "discard", discard, least=0)
    delay = round(tau / STEP) if 0 < tau < np.inf else 0
    if delay < 1 or abs(delay * STEP - tau) > 1e-9:
        raise ArgumentError("mackey_glass", "a delay that is a multiple of 0.1, above 0,", tau)
    if not np.isfinite(start):
        raise ArgumentError("mackey_glass", "a finite start", start)
    x = [0.0] * delay + [float(start)]
    for i in range(delay, delay + (discard + count) * PER_UNIT):
        before, after = x[i - delay], x[i - delay + 1]
        x.append(_runge_kutta(x[i], _pull(before), _pull((before + after) / 2), _pull(after)))
    return np.array(x[delay:])[discard * PER_UNIT :: PER_UNIT][:count]


def _pull(delayed: float) -> float:
    return 0.2 * delayed / (1 + delayed**10)


def _runge_kutta(x: float, before: float, middle: float, after: float) -> float:
    k1 = before - 0.1 * x
    k2 = middle - 0.1 * (x + STEP / 2 * k1)
    k3 = middle - 0.1 * (x + STEP / 2 * k2)
    k4 = after - 0.1 * (x + STEP * k3)
    return x + STEP / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
