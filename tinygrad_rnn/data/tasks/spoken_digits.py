"""Spoken digit strings: say which digits, not when they are spoken; what CTC was made for."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tinygrad_rnn.errors import ArgumentError, DataError, ShapeError

from ...arguments import whole_number
from ..audio import (
    LogMel,
    add_noise,
    change_speed,
    join,
    mask,
    normalize,
    read_sounds,
    tilt,
    trim,
)
from ..audio.synthesis import random_voice, speak_digit
from ..streams import pad_sequence
from ..text import PathName
from .base import Task, TaskBatch

__all__ = [
    "Speaker", "SpokenDigits", "read_spoken_digits", "recorded_speakers", "synthetic_speakers",
]  # fmt: skip

FloatArray = NDArray[np.float32]
Speaker = Callable[[int], FloatArray]  # from a digit to samples
FEATURES = LogMel(rate=8000, mels=40, low=60, high=3900)
LOUDNESS = 0.05  # the deviation of every digit's samples, however near the microphone was


def synthetic_speakers(rng: np.random.Generator) -> Speaker:
    """A new speaker whom no one has heard before; `audio.speak_digit` in one random voice."""
    voice = random_voice(rng)
    return lambda digit: speak_digit(digit, voice, rng)


def read_spoken_digits(path: PathName) -> dict[str, list[list[FloatArray]]]:
    """Recordings named digit_speaker_take.wav: for each speaker, for each digit, the takes.

    So the free spoken digit dataset (Jackson et al. 2018) names its files.

    Args:
        path: a folder, or a tar archive.

    Raises:
        DataError: another name, another rate than 8000 Hz, two channels; or as `read_sounds`.
    """
    found: dict[str, list[list[FloatArray]]] = {}
    for name, (samples, rate) in read_sounds(path).items():
        parts = re.fullmatch(r"([0-9])_(.+)_[0-9]+", name)
        if parts is None:
            raise DataError("read_spoken_digits", "digit_speaker_take.wav", f"{name}.wav")
        if rate != FEATURES.rate or samples.ndim != 1:
            got = f"{rate} Hz and shape {samples.shape} in {name}.wav"
            raise DataError("read_spoken_digits", f"one channel at {FEATURES.rate} Hz", got)
        found.setdefault(parts[2], [[] for _ in range(10)])[int(parts[1])].append(samples)
    return found


def recorded_speakers(
    recordings: Mapping[str, Sequence[Sequence[ArrayLike]]],
) -> Callable[[np.random.Generator], Speaker]:
    """One speaker of those recorded, who says a digit as in one of the takes of it.

    Args:
        recordings: for each speaker, for each of the ten digits, takes (N,) at 8000 Hz.

    Raises:
        DataError: no speakers, or one of whom a digit was not recorded.
    """
    for name, digits in recordings.items():
        if len(digits) != 10 or not all(len(takes) for takes in digits):
            raise DataError("recorded_speakers", "takes of ten digits", f"less from {name!r}")
    if not recordings:
        raise DataError("recorded_speakers", "at least one speaker", "none")
    names = sorted(recordings)

    def choose(rng: np.random.Generator) -> Speaker:
        takes = recordings[names[int(rng.integers(len(names)))]]

        def say(digit: int) -> FloatArray:
            return np.asarray(takes[digit][int(rng.integers(len(takes[digit])))], np.float32)

        return say

    return choose


class _Circumstances(NamedTuple):
    """What all digits of a string share: the `tilt` of the microphone, and the noise around it.

    The noise is heard while a digit is, and not in the pauses: each was recorded by itself. A net
    that never met this takes the beginning of the noise for a consonant.
    """

    color: float
    decibels: float  # infinite where it is quiet
    noise_color: float

    @classmethod
    def drawn(cls, rng: np.random.Generator) -> _Circumstances:
        """Noise 10 … 45 dB below the digits, in two strings of three."""
        color, noise_color = rng.uniform(-0.9, 0.9), rng.uniform(-0.95, 0.95)
        decibels = rng.uniform(10, 45) if rng.random() < 2 / 3 else np.inf
        return cls(color, decibels, noise_color)

    def recorded(self, samples: FloatArray, rng: np.random.Generator) -> FloatArray:
        """A digit as it is then heard: cut by hasty hands, a little faster or slower."""
        found = tilt(change_speed(trim(samples, rng), rng.uniform(0.9, 1.1)), self.color)
        if np.isinf(self.decibels):
            return found
        return add_noise(found, self.decibels, rng, self.noise_color)


@dataclass(frozen=True)
class SpokenDigits(Task):
    """`least` to `most` digits in one voice, with pauses; targets are digit + 1, then 0s.

    Inputs are log-mel features, normalised for each utterance, with `stack` frames in one step; so
    `lengths` differ. Targets (B, L) hold the digit + 1, so that 0 is free for the blank of CTC.

    Args:
        speakers: draws a speaker, see `synthetic_speakers` and `recorded_speakers`.
        pauses: the shortest and the longest, in seconds; around and between the digits.
        augment: tempo, pitch, vocal tract, microphone, cuts and noise at random, and masks (see
            `audio`).

    >>> task = SpokenDigits(least=2, most=4)
    >>> batch = task.draw(np.random.default_rng(1), 3)
    >>> batch.inputs.shape[1:], batch.targets.tolist()
    ((3, 120), [[6, 8, 10, 0], [10, 10, 1, 3], [2, 2, 0, 0]])
    """

    least: int = 3
    most: int = 7
    speakers: Callable[[np.random.Generator], Speaker] = synthetic_speakers
    pauses: tuple[float, float] = (0.05, 0.3)
    augment: bool = False
    stack: int = 3
    features: LogMel = FEATURES

    def check(self) -> None:
        """At least one digit, and one frame in a step."""
        whole_number("SpokenDigits", "least", self.least)
        whole_number("SpokenDigits", "stack", self.stack)
        if self.most < self.least:
            raise ArgumentError("SpokenDigits", f"most >= {self.least}", self.most)

    @property
    def input_size(self) -> int:
        """Bands times stacked frames."""
        return self.features.mels * self.stack

    @property
    def output_size(self) -> int:
        """The blank and ten digits."""
        return 11

    def utterance(self, rng: np.random.Generator) -> tuple[FloatArray, NDArray[np.int64]]:
        """Samples (N,), and the digits that are said."""
        digits = rng.integers(0, 10, rng.integers(self.least, self.most + 1))
        speaker = self.speakers(rng)
        around = _Circumstances.drawn(rng) if self.augment else None
        spoken = [self._as_loud(speaker(int(digit)), around, rng) for digit in digits]
        shortest, longest = self.pauses
        samples = join(
            spoken, self.features.rate, rng,
            shortest=shortest, longest=longest, noise=0.02 * LOUDNESS,
        )  # fmt: skip
        decibels = rng.uniform(5, 40) if self.augment else 40.0
        return add_noise(samples, decibels, rng), digits

    def _as_loud(
        self, samples: FloatArray, around: _Circumstances | None, rng: np.random.Generator
    ) -> FloatArray:
        loudness = LOUDNESS
        if around is not None:
            samples = around.recorded(samples, rng)
            loudness *= np.exp(rng.uniform(-0.3, 0.3))
        return samples * np.float32(loudness / max(float(samples.std()), 1e-12))

    def steps_of(self, samples: ArrayLike, rng: np.random.Generator | None = None) -> FloatArray:
        """The features of samples (N,) as the network gets them, (T, I); changed if `augment`."""
        if not self.augment or rng is None:
            found = normalize(self.features(samples)).astype(np.float32)
        else:
            warp, tempo = round(rng.uniform(0.82, 1.2), 2), np.exp(rng.uniform(-0.35, 0.35))
            other = normalize(self.features(samples, warp=warp, tempo=tempo))
            bands = self.features.mels // 5
            found = mask(other.astype(np.float32), rng, bands=bands, steps=12, count=2)
        return self.stacked(found)

    def stacked(self, frames: FloatArray) -> FloatArray:
        """Frames (F, M) as steps (T, I), `stack` side by side; what is left over goes."""
        steps = len(frames) // self.stack
        return frames[: steps * self.stack].reshape(steps, self.input_size)

    def draw(self, rng: np.random.Generator, batch: int) -> TaskBatch:
        """`batch` new strings."""
        said = [self.utterance(rng) for _ in range(batch)]
        inputs = [self.steps_of(samples, rng) for samples, _ in said]
        targets = pad_sequence([digits + 1 for _, digits in said]).T
        lengths = np.array([len(steps) for steps in inputs])
        return TaskBatch(pad_sequence(inputs), targets, lengths)

    def wrong(self, outputs: Any, batch: TaskBatch) -> NDArray[np.bool_]:
        """Whether decoded labels, one sequence for each row, are not all right."""
        if len(outputs) != len(batch.targets):
            expected = f"decoded labels of {len(batch.targets)} rows"
            raise ShapeError("SpokenDigits.wrong", expected, len(outputs))
        truth = [tuple(row[row > 0].tolist()) for row in batch.targets]
        pairs = zip(outputs, truth, strict=True)
        return np.array([tuple(found) != right for found, right in pairs])
