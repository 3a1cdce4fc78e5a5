"""Digits spoken by voices that never were: a buzz or a noise, shaped by three moving formants.

A source–filter model: the vocal folds make a harmonic sound of some pitch, the mouth resonates at
its formants, and the narrow places of s, f, t hiss. A speaker is a pitch, a length of the vocal
tract, which scales all formants, and a tempo.

Legend: N samples, C control points, H harmonics.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tinygrad_rnn.errors import ArgumentError

from ...arguments import whole_number

__all__ = ["PHONES", "Voice", "random_voice", "speak_digit", "speak_phones"]

FloatArray = NDArray[np.float32]


class _Phone(NamedTuple):
    """Formants in Hz, loudness of voice and noise, middle of the noise in Hz, and seconds."""

    formants: tuple[float, float, float]
    voice: float
    noise: float
    middle: float
    seconds: float


# Vowels: the means of men in Peterson and Barney (1952).
_PHONES = {
    "a": _Phone((730, 1090, 2440), 1.0, 0.0, 2000, 0.11),
    "ah": _Phone((640, 1190, 2390), 1.0, 0.0, 2000, 0.11),
    "ao": _Phone((570, 840, 2410), 1.0, 0.0, 2000, 0.13),
    "eh": _Phone((530, 1840, 2480), 1.0, 0.0, 2000, 0.11),
    "ih": _Phone((390, 1990, 2550), 0.9, 0.0, 2000, 0.09),
    "iy": _Phone((270, 2290, 3010), 0.9, 0.0, 2000, 0.12),
    "ow": _Phone((450, 800, 2400), 0.9, 0.0, 2000, 0.15),
    "uw": _Phone((300, 870, 2240), 0.8, 0.0, 2000, 0.17),
    "r": _Phone((310, 1060, 1380), 0.6, 0.0, 2000, 0.07),
    "w": _Phone((290, 610, 2150), 0.6, 0.0, 2000, 0.07),
    "n": _Phone((280, 1700, 2600), 0.35, 0.0, 2000, 0.09),
    "v": _Phone((220, 1100, 2080), 0.3, 0.05, 2500, 0.07),
    "z": _Phone((240, 1390, 2530), 0.25, 0.15, 3500, 0.09),
    "s": _Phone((300, 1400, 2500), 0.0, 0.3, 3500, 0.12),
    "f": _Phone((340, 1100, 2080), 0.0, 0.1, 2300, 0.10),
    "th": _Phone((320, 1290, 2540), 0.0, 0.07, 3000, 0.08),
    "t": _Phone((400, 1600, 2600), 0.0, 0.35, 3200, 0.04),
    "k": _Phone((300, 1990, 2850), 0.0, 0.3, 1900, 0.04),
    ".": _Phone((300, 1500, 2500), 0.0, 0.0, 2000, 0.05),
}
PHONES = tuple(_PHONES)
_DIGITS = (
    "z ih r ow", "w ah n", ". t uw", "th r iy", "f ao r", "f a iy v", "s ih . k s",
    "s eh v ah n", "eh iy . t", "n a iy n",
)  # fmt: skip
_WIDTHS = np.array([70.0, 100.0, 150.0])  # half the width of each resonance, in Hz
_HEIGHTS = np.array([1.0, 0.5, 0.25])
_STEP = 64  # samples from one control point to the next


class Voice(NamedTuple):
    """A speaker: `pitch` in Hz, `tract` times all formants, `tempo` times as fast, `breath`."""

    pitch: float
    tract: float
    tempo: float
    breath: float


def random_voice(rng: np.random.Generator) -> Voice:
    """A new speaker: pitch 85 … 255 Hz, and formants that tend to be higher where pitch is."""
    height = rng.uniform(-1, 1)
    return Voice(
        pitch=float(147 * np.exp(0.55 * height)),
        tract=float(1.04 * np.exp(0.1 * height + rng.uniform(-0.06, 0.06))),
        tempo=float(rng.uniform(0.8, 1.4)),
        breath=float(rng.uniform(0.0, 0.03)),
    )


def speak_digit(digit: int, voice: Voice, rng: np.random.Generator, rate: int = 8000) -> FloatArray:
    """Samples (N,) of a digit 0 … 9, never twice the same: pitch, lengths and formants vary.

    Raises:
        ArgumentError: no digit, or a rate below 8000, which has no room for the formants.

    >>> rng = np.random.default_rng(0)
    >>> seven = speak_digit(7, random_voice(rng), rng)
    >>> 2000 < len(seven) < 8000, float(np.abs(seven).max().round(3))
    (True, 0.5)
    """
    if whole_number("speak_digit", "digit", digit, least=0) > 9:
        raise ArgumentError("speak_digit", "a digit 0 … 9", digit)
    whole_number("speak_digit", "rate", rate, least=8000)
    return speak_phones(_DIGITS[digit].split(), voice, rng, rate)[0]


def speak_phones(
    names: Sequence[str], voice: Voice, rng: np.random.Generator, rate: int = 8000
) -> tuple[FloatArray, NDArray[np.int64]]:
    """Samples (N,) of sounds out of `PHONES`, and where each of them ends.

    >>> rng = np.random.default_rng(0)
    >>> samples, ends = speak_phones(["w", "ah", "n"], random_voice(rng), rng)
    >>> len(ends), int(ends[-1]) == len(samples)
    (3, True)
    """
    if not names or not all(name in _PHONES for name in names):
        raise ArgumentError("speak_phones", f"sounds out of {', '.join(PHONES)}", repr(names))
    phones = [_PHONES[name] for name in names]
    seconds = np.array([phone.seconds for phone in phones]) * rng.uniform(0.8, 1.25, len(phones))
    ends = np.cumsum(seconds / voice.tempo)
    count = int(ends[-1] * rate)
    # Each control is the phone's at its middle and moves on to the next in a straight line.
    middles = ends - 0.5 * seconds / voice.tempo
    times = np.arange(0, count + _STEP, _STEP) / rate
    table = np.array([[*p.formants, p.voice, p.noise, p.middle] for p in phones])
    controls = np.stack([np.interp(times, middles, column) for column in table.T])
    controls[:3] *= voice.tract * rng.uniform(0.96, 1.04, (3, 1))
    sound = _voiced(controls, voice, count, rate, rng) + _hissed(controls, voice, count, rate, rng)
    fade = np.minimum(1, np.minimum(np.arange(count), np.arange(count)[::-1]) / (0.012 * rate))
    sound = sound * fade
    samples = (0.5 * sound / np.abs(sound).max()).astype(np.float32)
    return samples, (ends * rate).astype(np.int64)


def _voiced(
    controls: NDArray[np.float64], voice: Voice, count: int, rate: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Σ_h A(h f, t) sin(h φ(t)), φ the phase of the pitch f, which falls towards the end."""
    fall = np.linspace(rng.uniform(1.0, 1.15), rng.uniform(0.8, 0.95), controls.shape[1])
    pitch = voice.pitch * fall
    harmonics = np.arange(1, int(rate / 2 / pitch.max()) + 1)
    away = pitch[:, None, None] * harmonics[:, None] - controls[:3].T[:, None]
    loudness = (_HEIGHTS / (1 + (away / _WIDTHS) ** 2)).sum(axis=2) * controls[3][:, None]
    phase = 2 * np.pi * np.cumsum(_between(pitch, count)) / rate
    waves = np.sin(phase.astype(np.float32)[:, None] * harmonics.astype(np.float32))
    summed: NDArray[np.float64] = (_between(loudness.astype(np.float32), count) * waves).sum(axis=1)
    return summed


def _hissed(
    controls: NDArray[np.float64], voice: Voice, count: int, rate: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Noise around a frequency: a slow random wave on a carrier, and breath over all."""
    slow = np.convolve(rng.standard_normal(count + 3), [0.4, 0.8, 0.8, 0.4], mode="valid")
    carrier = np.cos(2 * np.pi * np.cumsum(_between(controls[5], count)) / rate)
    noise = 3 * slow * carrier * _between(controls[4], count)
    found: NDArray[np.float64] = noise + voice.breath * rng.standard_normal(count)
    return found


def _between(values: NDArray, count: int) -> NDArray:
    """Control points (C, …) as samples (N, …), straight lines from one to the next."""
    place = np.arange(count)
    left = place // _STEP
    share = ((place % _STEP) / _STEP).astype(values.dtype)
    share = share.reshape(-1, *[1] * (values.ndim - 1))
    return values[left] + share * (values[left + 1] - values[left])
