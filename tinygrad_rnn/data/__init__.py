"""Data: text, series, sound, and the batches that models are trained on; NumPy arrays only."""

from __future__ import annotations

from . import audio, tasks
from .series import SplitInTime, Standardizer, Windows, read_csv, split_in_time, windows
from .streams import ContinuousBatches, LengthBatches, PaddedBatch, pad_sequence
from .text import CharVocabulary, builtin_text, read_text, train_validation_split

__all__ = [
    "CharVocabulary",
    "ContinuousBatches",
    "LengthBatches",
    "PaddedBatch",
    "SplitInTime",
    "Standardizer",
    "Windows",
    "audio",
    "builtin_text",
    "pad_sequence",
    "read_csv",
    "read_text",
    "split_in_time",
    "tasks",
    "train_validation_split",
    "windows",
]
