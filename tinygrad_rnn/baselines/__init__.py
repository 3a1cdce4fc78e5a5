"""What a network has to beat: n-grams of text, linear forecasts, hidden Markov models, scores."""

from __future__ import annotations

from .autoregressive import LinearAR, persistence
from .connected_words import ConnectedWords
from .emissions import DiscreteEmissions, GaussianEmissions
from .hmm import HMM, Posteriors
from .metrics import nmse, nrmse84
from .ngram import NGram

__all__ = [
    "ConnectedWords", "DiscreteEmissions", "GaussianEmissions", "HMM", "LinearAR", "NGram",
    "Posteriors", "nmse", "nrmse84", "persistence",
]  # fmt: skip
