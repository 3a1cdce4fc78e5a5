"""Data: text, series and the batches that sequence models are trained on; NumPy arrays only."""

from __future__ import annotations

from .streams import ContinuousBatches, LengthBatches, PaddedBatch, pad_sequence
from .text import CharVocabulary, builtin_text, read_text, train_validation_split

__all__ = [
    "CharVocabulary",
    "ContinuousBatches",
    "LengthBatches",
    "PaddedBatch",
    "builtin_text",
    "pad_sequence",
    "read_text",
    "train_validation_split",
]
