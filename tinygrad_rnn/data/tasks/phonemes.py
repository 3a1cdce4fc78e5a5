"""Frame-wise phoneme recognition: which sound is it that is heard just now?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygrad_rnn.errors import ArgumentError, ShapeError

from ...arguments import whole_number
from ..audio import PHONES, LogMel, add_noise, normalize, random_voice, speak_phones
from ..streams import pad_sequence
from .base import Task, TaskBatch
from .spoken_digits import FEATURES

__all__ = ["SpokenPhonemes"]

IGNORED = -100


@dataclass(frozen=True)
class SpokenPhonemes(Task):
    """`least` to `most` random sounds in a row, in a new voice: name the sound of each frame.

    As in TIMIT (Robinson 1994; Graves and Schmidhuber 2005), but made up: where a sound goes over
    into the next one, only what is around it tells which is which.

    Inputs (T, B, M) are log-mel features, normalised for each utterance; targets (T, B) numbers
    into `audio.PHONES` of the sound at the middle of each frame, -100 beyond `lengths`.

    >>> batch = SpokenPhonemes(least=5, most=8).draw(np.random.default_rng(0), 3)
    >>> batch.inputs.shape[1:] == (3, 40), batch.targets.shape == batch.inputs.shape[:2]
    (True, True)
    """

    least: int = 8
    most: int = 16
    noise: float = 20.0  # decibels of the sound over that of the noise
    features: LogMel = FEATURES

    def check(self) -> None:
        """At least one sound."""
        whole_number("SpokenPhonemes", "least", self.least)
        if whole_number("SpokenPhonemes", "most", self.most) < self.least:
            raise ArgumentError("SpokenPhonemes", f"most >= {self.least}", self.most)

    @property
    def input_size(self) -> int:
        """Mel bands."""
        return self.features.mels

    @property
    def output_size(self) -> int:
        """Sounds, the silence before a stop among them."""
        return len(PHONES)

    def utterance(self, rng: np.random.Generator) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """Frames (T, M), and the sound in the middle of each."""
        sounds = rng.integers(0, len(PHONES), rng.integers(self.least, self.most + 1))
        names = [PHONES[k] for k in sounds]
        samples, ends = speak_phones(names, random_voice(rng), rng, self.features.rate)
        found = normalize(self.features(add_noise(samples, self.noise, rng)))
        middles = np.arange(len(found)) * self.features.hop_samples
        places = np.searchsorted(ends, middles + self.features.frame_samples // 2, side="right")
        return found.astype(np.float32), sounds[np.minimum(places, len(sounds) - 1)]

    def draw(self, rng: np.random.Generator, batch: int) -> TaskBatch:
        """`batch` new utterances."""
        said = [self.utterance(rng) for _ in range(batch)]
        lengths = np.array([len(labels) for _, labels in said])
        targets = np.full((lengths.max(), batch), IGNORED)
        for row, (_, labels) in enumerate(said):
            targets[: len(labels), row] = labels
        return TaskBatch(pad_sequence([frames for frames, _ in said]), targets, lengths)

    def wrong(self, outputs: Any, batch: TaskBatch) -> NDArray[np.bool_]:
        """Whether each frame is named wrongly, over the frames that are there: scores (T, B, C)."""
        scores = np.asarray(outputs)
        if scores.shape != (*batch.targets.shape, self.output_size):
            wanted = f"scores {(*batch.targets.shape, self.output_size)}"
            raise ShapeError("SpokenPhonemes.wrong", wanted, scores.shape)
        there = batch.targets != IGNORED
        found: NDArray[np.bool_] = (scores.argmax(-1) != batch.targets)[there]
        return found
