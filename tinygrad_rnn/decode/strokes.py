"""Pen movements drawn from what a network says of the next one.

Legend: M components of a mixture; arrays (…, 3) hold Δx, Δy, and whether the pen is lifted.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ArgumentError, DataError
from ..graph import no_grad
from ..losses import pen_mixture
from ..tensor import as_tensor

__all__ = ["sample_pen"]


def sample_pen(outputs: Any, generator: np.random.Generator, bias: float = 0.0) -> NDArray[Any]:
    """Movements (…, 3), one for each of the outputs (…, 6M + 1) of `mixture_density_loss`.

    Args:
        bias: b >= 0: weights are sharpened by 1 + b and deviations divided by eᵇ, for a neater
            hand (Graves 2013, eq. 61–62).

    Raises:
        ArgumentError: a bias below 0. DataError: NaN or infinity among the outputs.

    >>> sample_pen(np.array([0.0, 3, 4, -40, -40, 0, 9]), np.random.default_rng(0)).round().tolist()
    [3.0, 4.0, 1.0]
    """
    if not 0 <= bias < np.inf:
        raise ArgumentError("sample_pen", "bias >= 0", bias)
    with no_grad():
        parts = pen_mixture(as_tensor(outputs).detach())
    log_weight, mean, log_scale, twist, lift = (
        np.asarray(part.to("cpu").numpy(), np.float64) for part in parts
    )
    if not all(np.isfinite(part).all() for part in (log_weight, mean, log_scale, twist, lift)):
        raise DataError("sample_pen", "finite outputs", "NaN or infinity")
    noise = generator.gumbel(size=log_weight.shape)  # the largest sum is a draw from the softmax
    chosen = np.argmax((1 + bias) * log_weight + noise, axis=-1)[..., None]
    mean, log_scale, twist = (
        np.take_along_axis(part, chosen[..., None], -1)[..., 0]
        for part in (mean, log_scale, twist[..., None, :])
    )
    rho = np.tanh(twist[..., 0])
    first, second = generator.standard_normal((2, *lift.shape))
    second = rho * first + np.sqrt(1 - rho**2) * second
    moves = mean + np.exp(log_scale - bias) * np.stack([first, second], -1)
    lifted = generator.logistic(size=lift.shape) < lift
    return np.concatenate([moves, lifted[..., None]], -1)
