"""Tasks made of random numbers: infinite, seeded, and hard because of what lies between.

>>> import numpy as np
>>> stream = Adding(100).stream(batch_size=20, seed=0)
>>> inputs, targets, _ = next(stream)
>>> inputs.shape[1:], targets.shape
((20, 2), (20,))
"""

from __future__ import annotations

from .arithmetic import Adding, HochreiterAdding, Multiplication, Xor
from .base import Task, TaskBatch, TaskStream, solved
from .dates import DateTranslation
from .mackey_glass import mackey_glass
from .phonemes import SpokenPhonemes
from .plant import nonlinear_plant
from .reber import EmbeddedReber
from .spoken_digits import (
    SpokenDigits,
    read_spoken_digits,
    recorded_speakers,
    synthetic_speakers,
)
from .symbols import Memorization, RandomPermutation, copying, five_bit, twenty_bit
from .temporal_order import TemporalOrder

__all__ = [
    "Adding",
    "DateTranslation",
    "EmbeddedReber",
    "HochreiterAdding",
    "Memorization",
    "Multiplication",
    "RandomPermutation",
    "SpokenDigits",
    "SpokenPhonemes",
    "Task",
    "TaskBatch",
    "TaskStream",
    "TemporalOrder",
    "Xor",
    "copying",
    "five_bit",
    "mackey_glass",
    "nonlinear_plant",
    "read_spoken_digits",
    "recorded_speakers",
    "solved",
    "synthetic_speakers",
    "twenty_bit",
]
