"""Sound: WAV files, log-mel features of speech, and augmentation; NumPy arrays only.

>>> import numpy as np
>>> tone = np.sin(2 * np.pi * 1000 * np.arange(4000) / 8000)
>>> features = LogMel(rate=8000, mels=40)(tone)
>>> features.shape, features.argmax(axis=1)[:3]
((48, 40), array([18, 18, 18]))
"""

from __future__ import annotations

from .augment import add_noise, change_speed, join, mask, tilt, trim
from .features import LogMel, cepstra, deltas, frames, mel_filters, normalize, power_spectrum
from .synthesis import PHONES, Voice, random_voice, speak_digit, speak_phones
from .wav import Sound, decode_wav, read_sounds, read_wav, write_wav

__all__ = [
    "LogMel",
    "PHONES",
    "Sound",
    "Voice",
    "add_noise",
    "cepstra",
    "change_speed",
    "decode_wav",
    "deltas",
    "frames",
    "join",
    "mask",
    "mel_filters",
    "normalize",
    "power_spectrum",
    "random_voice",
    "read_sounds",
    "read_wav",
    "speak_digit",
    "speak_phones",
    "tilt",
    "trim",
    "write_wav",
]
