"""Pictures of what was trained; matplotlib is loaded when the first one is drawn."""

from __future__ import annotations

from .plots import plot_forecast, plot_losses

__all__ = ["plot_forecast", "plot_losses"]
