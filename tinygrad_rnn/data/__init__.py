"""Data: text, series and the batches that sequence models are trained on; NumPy arrays only."""

from __future__ import annotations

from .text import CharVocabulary, builtin_text, read_text, train_validation_split

__all__ = [
    "CharVocabulary",
    "builtin_text",
    "read_text",
    "train_validation_split",
]
