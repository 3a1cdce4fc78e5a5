"""Pictures of what was trained; matplotlib is loaded when the first one is drawn."""

from __future__ import annotations

from .dynamics import plot_gradient_norms, plot_recursions
from .plots import plot_forecast, plot_losses

__all__ = ["plot_forecast", "plot_gradient_norms", "plot_losses", "plot_recursions"]
