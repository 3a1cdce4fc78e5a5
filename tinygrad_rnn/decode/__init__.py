"""Decoding: from a model's scores to symbols."""

from __future__ import annotations

from .balance import even_labels
from .beam import Hypothesis, as_step, beam_search
from .ctc import ctc_beam_search, ctc_best_path, ctc_merge, ctc_prefix_search
from .metrics import edit_distance, label_error_rate
from .sampling import Sampler, generate
from .strokes import sample_pen

__all__ = [
    "Hypothesis", "Sampler", "as_step", "beam_search", "ctc_beam_search", "ctc_best_path",
    "ctc_merge", "ctc_prefix_search", "edit_distance", "even_labels",
    "generate", "label_error_rate", "sample_pen",
]  # fmt: skip
