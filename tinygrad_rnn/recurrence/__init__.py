"""Recurrences looked at as such: other ways to their gradient, and whether it survives.

A step here is (params, carry, x) → (carry, y) where its parameters are differentiated, and
(carry, x) → (carry, y), as for `scan`, where they are not.
"""

from __future__ import annotations

from .diagnosis import gradient_norms, log_slope, spectral_radius, step_jacobian, with_disturbances
from .regularizer import vanishing_gradient_penalty
from .rtrl import RTRL
from .stability import FATES, Stability, recursion, stability
from .truncated import Update, truncated_bptt

__all__ = [
    "FATES",
    "RTRL",
    "Stability",
    "Update",
    "gradient_norms",
    "log_slope",
    "recursion",
    "spectral_radius",
    "stability",
    "step_jacobian",
    "truncated_bptt",
    "vanishing_gradient_penalty",
    "with_disturbances",
]
