"""Data: text, series, sound, and the batches that models are trained on; NumPy arrays only."""

from __future__ import annotations

from . import audio, tasks
from .download import PUBLIC_FILES, PublicFile, fetch
from .pen import PEN_LETTERS, pen_letters, pen_movements, read_pendigits
from .series import SplitInTime, Standardizer, Windows, read_csv, split_in_time, windows
from .streams import ContinuousBatches, LengthBatches, PaddedBatch, pad_sequence
from .text import CharVocabulary, builtin_text, read_text, train_validation_split
from .words import WordVocabulary, split_words

__all__ = [
    "CharVocabulary",
    "ContinuousBatches",
    "LengthBatches",
    "PEN_LETTERS",
    "PUBLIC_FILES",
    "PaddedBatch",
    "PublicFile",
    "SplitInTime",
    "Standardizer",
    "Windows",
    "WordVocabulary",
    "audio",
    "builtin_text",
    "fetch",
    "pad_sequence",
    "pen_letters",
    "pen_movements",
    "read_csv",
    "read_pendigits",
    "read_text",
    "split_in_time",
    "split_words",
    "tasks",
    "train_validation_split",
    "windows",
]
