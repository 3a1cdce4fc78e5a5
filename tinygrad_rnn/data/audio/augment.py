"""Other speakers, rooms and tempos from the recordings at hand: speed, noise, masks, pauses.

With `LogMel.__call__(…, warp=…)`, another length of the vocal tract, they are what keeps a network
from learning the few voices of a small training set by heart.

Legend: N samples, T frames, M mel bands.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tinygrad_rnn.errors import ArgumentError, DataError, ShapeError

from ...arguments import finite_array, whole_number

__all__ = ["add_noise", "change_speed", "join", "mask", "tilt", "trim"]

FloatArray = NDArray[np.float32]


def change_speed(samples: ArrayLike, factor: float) -> FloatArray:
    """Samples (N,) played `factor` times as fast: ⌈N / factor⌉ of them, and as much higher.

    Between two samples lies a straight line.

    Source: Ko et al. (2015), Audio augmentation for speech recognition.

    Raises:
        ArgumentError: factor <= 0. ShapeError: no samples, or more than one channel.

    >>> change_speed([0.0, 1.0, 2.0, 3.0], 2.0).tolist()
    [0.0, 2.0]
    """
    array = _one_channel("change_speed", samples)
    if not 0 < factor < np.inf:
        raise ArgumentError("change_speed", "factor > 0", factor)
    places = np.arange(0, len(array), factor)
    return np.interp(places, np.arange(len(array)), array).astype(np.float32)


def add_noise(
    samples: ArrayLike, decibels: float, rng: np.random.Generator, color: float = 0.0
) -> FloatArray:
    """Add noise whose power is `decibels` below that of the samples; silence stays.

    It is white, or the `tilt` of white noise by `color`: a rumble above 0, a hiss below.

    Raises:
        ArgumentError: decibels that are not finite, or |color| > 1.

    >>> quiet = add_noise(np.ones(100_000), 20.0, np.random.default_rng(0)) - 1
    >>> round(float(quiet.std()), 3)
    0.1
    """
    array = finite_array("add_noise", "samples", samples)
    if not np.isfinite(decibels):
        raise ArgumentError("add_noise", "finite decibels", decibels)
    if not -1 <= color <= 1:
        raise ArgumentError("add_noise", "a color in -1 … 1", color)
    power = (array**2).mean() * 10 ** (-decibels / 10) / (1 + color**2)
    noise = rng.standard_normal(array.shape, np.float32)
    if color:
        noise[1:] += np.float32(color) * noise[:-1].copy()
    return array.astype(np.float32) + np.float32(np.sqrt(power)) * noise


def trim(samples: ArrayLike, rng: np.random.Generator, share: float = 0.2) -> FloatArray:
    """Samples (N,) of which a part of each end is cut off, half of the times none.

    The part is max(0, u), u uniform in −share … share: recordings are cut by hasty hands, and what
    is soft at the edge of a word, as the s of six, is lost first.

    Raises:
        ArgumentError: no share in 0 … 0.5, of which nothing would be left.

    >>> 7 <= len(trim(np.ones(10), np.random.default_rng(0))) <= 10
    True
    """
    array = finite_array("trim", "samples", samples)
    if not 0 <= share < 0.5:
        raise ArgumentError("trim", "0 <= share < 0.5", share)
    front, back = (rng.uniform(-share, share, 2).clip(0) * len(array)).astype(int)
    return array[front : len(array) - back].astype(np.float32)


def tilt(samples: ArrayLike, amount: float) -> FloatArray:
    """yₙ = xₙ + a xₙ₋₁: more of the low for 0 < a < 1, of the high for −1 < a < 0.

    The square of what it does to a frequency f is 1 + a² + 2a cos(2πf / rate): other microphones.

    Raises:
        ArgumentError: |amount| > 1.

    >>> tilt([1.0, 1.0, 1.0], -0.5).tolist()
    [1.0, 0.5, 0.5]
    """
    array = finite_array("tilt", "samples", samples)
    if not -1 <= amount <= 1:
        raise ArgumentError("tilt", "an amount in -1 … 1", amount)
    tilted = array.copy()
    tilted[1:] += amount * array[:-1]
    return tilted.astype(np.float32)


def mask(
    features: NDArray[np.float32],
    rng: np.random.Generator,
    *,
    bands: int = 8,
    steps: int = 10,
    count: int = 1,
) -> FloatArray:
    """`count` stretches of 0 … `bands` bands, and of 0 … `steps` frames, at the mean of (T, M).

    Source: Park et al. (2019), SpecAugment.
    """
    whole_number("mask", "count", count, least=0)
    widths = [whole_number("mask", n, v, least=0) for n, v in (("steps", steps), ("bands", bands))]
    if np.ndim(features) != 2 or not np.size(features):
        raise ShapeError("mask", "features (T, M), not empty", np.shape(features))
    masked, mean = features.copy(), features.mean()
    for _ in range(count):
        for axis, widest in enumerate(widths):
            size = features.shape[axis]
            width = rng.integers(0, min(widest, size) + 1)
            start = rng.integers(0, size - width + 1)
            masked[(slice(None),) * axis + (slice(start, start + width),)] = mean
    return masked


def join(
    parts: Sequence[ArrayLike],
    rate: int,
    rng: np.random.Generator,
    *,
    shortest: float = 0.05,
    longest: float = 0.3,
    noise: float = 1e-3,
) -> FloatArray:
    """Recordings one after the other, with pauses of random length around and between them.

    Args:
        shortest, longest: of a pause, in seconds.
        noise: the deviation of the white noise in a pause; digital silence is found nowhere else.

    Raises:
        DataError: no parts. ArgumentError: lengths out of order. ShapeError: a part without
            samples, or of more than one channel.

    >>> join([np.ones(4)] * 2, 10, np.random.default_rng(0), longest=0.05).tolist()
    [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]
    """
    if not 0 <= shortest <= longest < np.inf:
        raise ArgumentError("join", "0 <= shortest <= longest", f"{shortest} and {longest}")
    if not parts:
        raise DataError("join", "at least one recording", "none")
    pauses = np.rint(rng.uniform(shortest, longest, len(parts) + 1) * rate).astype(int)
    silence = [noise * rng.standard_normal(length) for length in pauses]
    heard = [_one_channel("join", part) for part in parts]
    pieces = [piece for pair in zip(silence, heard, strict=False) for piece in pair]
    return np.concatenate([*pieces, silence[-1]]).astype(np.float32)


def _one_channel(called: str, samples: ArrayLike) -> NDArray[np.float64]:
    array = finite_array(called, "samples", samples)
    if array.ndim != 1 or not array.size:
        hint = "take one channel, or the mean of all"
        raise ShapeError(called, "samples of shape (N,), N >= 1,", array.shape, hint)
    return array
