"""Pictures of what was trained; matplotlib is loaded when the first one is drawn."""

from __future__ import annotations

from .dynamics import plot_gradient_norms, plot_recursions
from .labelling import plot_labelling
from .plots import plot_forecast, plot_losses
from .strokes import plot_strokes

__all__ = [
    "plot_forecast", "plot_gradient_norms", "plot_labelling", "plot_losses", "plot_recursions",
    "plot_strokes",
]  # fmt: skip
