"""What a network has to beat: n-gram models of text, linear forecasts of series, and the score."""

from __future__ import annotations

from .autoregressive import LinearAR, persistence
from .metrics import nmse, nrmse84
from .ngram import NGram

__all__ = ["LinearAR", "NGram", "nmse", "nrmse84", "persistence"]
