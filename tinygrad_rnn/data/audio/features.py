"""From samples to what is heard in them: frames, power spectra, mel filters, deltas.

Legend: N samples, W samples in a frame, T frames, K = n_fft / 2 + 1 frequencies, M mel filters.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tinygrad_rnn.errors import ArgumentError, DataError, ShapeError

from ...arguments import finite_array, whole_number

__all__ = ["LogMel", "cepstra", "deltas", "frames", "mel_filters", "normalize", "power_spectrum"]

FloatArray = NDArray[np.float64]


def frames(samples: ArrayLike, window: int, hop: int) -> FloatArray:
    """Stretches of `window` samples that start `hop` samples apart: (N,) becomes (T, W).

    T = 1 + ⌊(N − W) / hop⌋: only whole frames, nothing is padded.

    Raises:
        DataError, ShapeError: fewer samples than one window, not finite, or not one channel.

    >>> frames([1.0, 2.0, 3.0, 4.0, 5.0], window=3, hop=2).tolist()
    [[1.0, 2.0, 3.0], [3.0, 4.0, 5.0]]
    """
    array = finite_array("frames", "samples", samples)
    whole_number("frames", "window", window)
    whole_number("frames", "hop", hop)
    if array.ndim != 1:
        hint = "take one channel, or the mean of all"
        raise ShapeError("frames", "samples of shape (N,)", array.shape, hint)
    if len(array) < window:
        raise DataError("frames", f"at least {window} samples, one window,", len(array))
    return np.lib.stride_tricks.sliding_window_view(array, window)[::hop]


def power_spectrum(framed: ArrayLike, n_fft: int | None = None) -> FloatArray:
    """Pₖ = |Σₙ wₙ xₙ exp(−2πi k n / n_fft)|² / Σₙ wₙ², w the Hann window: (T, W) becomes (T, K).

    So white noise of variance σ² has Pₖ = σ² on average, whatever the window. The window is the
    periodic one, wₙ = ½ − ½ cos(2πn / W). `n_fft` is W if not given; a larger one pads by zeros.

    Source: Harris (1978), On the use of windows for harmonic analysis.

    >>> power_spectrum(np.ones((1, 8))).round(3).tolist()
    [[5.333, 1.333, 0.0, 0.0, 0.0]]
    """
    array = finite_array("power_spectrum", "frames", framed)
    width = array.shape[-1]
    if n_fft is not None and whole_number("power_spectrum", "n_fft", n_fft) < width:
        raise ArgumentError("power_spectrum", f"n_fft >= {width}, the window,", n_fft)
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(width) / width) if width > 1 else np.ones(1)
    found = np.fft.rfft(array * hann, n_fft)
    return (found.real**2 + found.imag**2) / (hann**2).sum()


def mel(hertz: ArrayLike) -> FloatArray:
    """2595 log₁₀(1 + f / 700): equal steps sound equally far apart (O'Shaughnessy 1987; HTK)."""
    return 2595 * np.log10(1 + np.asarray(hertz, dtype=np.float64) / 700)


def mel_filters(
    rate: float,
    n_fft: int,
    mels: int,
    low: float = 0.0,
    high: float | None = None,
    warp: float = 1.0,
) -> FloatArray:
    """Triangles that are equal on the mel scale: (K, M), each with the height 1.

    F(k, m) = max(0, 1 − |mel(fₖ) − cₘ| / Δ), with fₖ = k · rate / n_fft and the centres
    cₘ = mel(low) + (m + 1) Δ, Δ = (mel(high) − mel(low)) / (M + 1). Between the first and the last
    centre all filters add up to 1. `high` is rate / 2 if not given. `warp` moves the frequencies
    as another length of the vocal tract would: f · warp up to 0.35 rate, and from there in
    a straight line to rate / 2 (Eide and Gish 1996).

    Raises:
        ArgumentError: frequencies out of order, or so many filters that one is between two k.

    >>> mel_filters(8000, 512, 3, low=100).argmax(0) * 8000 / 512
    array([ 546.875, 1234.375, 2312.5  ])
    """
    top = rate / 2 if high is None else high
    if not (0 <= low < top <= rate / 2):
        raise ArgumentError("mel_filters", "0 <= low < high <= rate / 2", f"{low} and {high}")
    if not 0.5 <= warp <= 1.25:
        raise ArgumentError("mel_filters", "warp in 0.5 … 1.25", warp)
    hertz = _warped(np.arange(n_fft // 2 + 1.0) * (rate / n_fft), rate / 2, warp)
    edges = np.linspace(mel(low), mel(top), whole_number("mel_filters", "mels", mels) + 2)
    away = np.abs(mel(hertz)[:, None] - edges[1:-1]) / (edges[1] - edges[0])
    filters: FloatArray = np.maximum(0, 1 - away)
    empty = np.flatnonzero(filters.max(axis=0) <= 0)
    if len(empty):
        got = f"{mels}, of which filter {empty[0]} holds none"
        raise ArgumentError("mel_filters", "filters that hold a frequency each", got)
    return filters


def _warped(hertz: FloatArray, top: float, warp: float) -> FloatArray:
    corner = 0.7 * top
    beyond = top - (top - hertz) * (top - warp * corner) / (top - corner)
    return np.where(hertz <= corner, warp * hertz, beyond)


@functools.lru_cache(maxsize=64)
def _filters(*arguments: float) -> FloatArray:
    rate, n_fft, mels, low, high, warp = arguments
    found = mel_filters(rate, int(n_fft), int(mels), low, high, warp)
    found.setflags(write=False)
    return found


@dataclass(frozen=True)
class LogMel:
    """log(max(floor, P F)): samples (N,) to (T, M) float32, one row for each `hop` seconds.

    P is the power spectrum of frames of `window` seconds, zero-padded to a power of two, and F are
    the mel filters. Silence is log(floor); the default is 80 dB below white noise of variance 1.

    Source: Davis and Mermelstein (1980), without their cosine transform (see `cepstra`).

    Raises:
        ArgumentError: an option out of range. DataError, ShapeError: as `frames`.

    >>> LogMel(rate=8000, mels=20)(np.zeros(8000)).shape
    (98, 20)
    """

    rate: int
    mels: int = 40
    window: float = 0.025
    hop: float = 0.010
    low: float = 0.0
    high: float | None = None
    floor: float = 1e-8

    def __post_init__(self) -> None:
        for name in ("rate", "mels"):
            whole_number("LogMel", name, getattr(self, name))
        if not 0 < self.hop <= self.window:
            raise ArgumentError("LogMel", "0 < hop <= window", f"{self.hop} and {self.window}")
        if not 0 < self.floor < np.inf:
            raise ArgumentError("LogMel", "floor > 0", self.floor)
        if min(self.frame_samples, self.hop_samples) < 1:
            raise ArgumentError("LogMel", "a hop of at least one sample", self.hop)
        self.filters()

    @property
    def frame_samples(self) -> int:
        """W."""
        return round(self.window * self.rate)

    @property
    def hop_samples(self) -> int:
        """The samples from one frame to the next."""
        return round(self.hop * self.rate)

    @property
    def n_fft(self) -> int:
        """The power of two that is not below W."""
        return 1 << (self.frame_samples - 1).bit_length()

    def filters(self, warp: float = 1.0) -> FloatArray:
        """The mel filters (K, M), read-only."""
        high = self.rate / 2 if self.high is None else self.high
        return _filters(self.rate, self.n_fft, self.mels, self.low, high, warp)

    def __call__(
        self, samples: ArrayLike, *, warp: float = 1.0, tempo: float = 1.0
    ) -> NDArray[np.float32]:
        """The features of samples; `warp` as in `mel_filters`, `tempo` times as fast.

        A tempo changes the hop alone, so pitch and formants stay as they are.
        """
        if not 0 < tempo < np.inf:
            raise ArgumentError("LogMel", "tempo > 0", tempo)
        hop = max(1, round(self.hop * self.rate * tempo))
        framed = frames(samples, self.frame_samples, hop)
        power = power_spectrum(framed, self.n_fft) @ self.filters(warp)
        return np.log(np.maximum(power, self.floor)).astype(np.float32)


def cepstra(log_mel: ArrayLike, count: int = 13) -> FloatArray:
    """The first terms of the cosine transform of each frame: (T, M) becomes (T, count).

    c_j = √(2/M) Σₘ xₘ cos(πj(m + ½)/M), and c₀ with √(1/M): orthonormal. Neighbouring mel bands
    go up and down together; cepstra hardly do, as a diagonal Gaussian wants it.

    Source: Davis and Mermelstein (1980).

    >>> cepstra([[2.0, 2.0, 2.0, 2.0]], 2).round(3).tolist()
    [[4.0, 0.0]]
    """
    array = finite_array("cepstra", "features", log_mel)
    size = array.shape[-1]
    if whole_number("cepstra", "count", count) > size:
        raise ArgumentError("cepstra", f"count <= {size}, the number of bands,", count)
    angles = np.pi / size * np.outer(np.arange(size) + 0.5, np.arange(count))
    scale = np.sqrt(np.where(np.arange(count) == 0, 1, 2) / size)
    return array @ (np.cos(angles) * scale)


def deltas(features: ArrayLike, reach: int = 2) -> FloatArray:
    """How features (T, M) change in time: d_t = Σₙ n (x_{t+n} − x_{t−n}) / (2 Σₙ n²), n ≤ reach.

    It is the slope of the straight line that fits best; the first and last frame are repeated.

    Source: Furui (1986).

    >>> deltas([[0.0], [3.0], [6.0], [9.0], [12.0]])[2].tolist()
    [3.0]
    """
    array = finite_array("deltas", "features", features)
    whole_number("deltas", "reach", reach)
    edges = [(reach, reach)] + [(0, 0)] * (array.ndim - 1)
    padded, steps = np.pad(array, edges, mode="edge"), len(array)
    offsets = np.arange(-reach, reach + 1)
    slopes = sum(n * padded[reach + n : reach + n + steps] for n in offsets)
    return slopes / (offsets**2).sum()


def normalize(features: ArrayLike) -> FloatArray:
    """One utterance (T, M) with mean 0 and deviation 1 in each band; a constant band becomes 0.

    It takes the colour of microphone and voice away. For a scale that is the same for all
    utterances, fit `data.Standardizer` on the frames of the training part.

    >>> normalize([[1.0, 5.0], [3.0, 5.0]]).tolist()
    [[-1.0, 0.0], [1.0, 0.0]]
    """
    array = finite_array("normalize", "features", features)
    apart = array - array.mean(axis=0)
    spread = apart.std(axis=0)
    constant = spread <= 1e-12 * np.abs(array).max(axis=0, initial=0)
    return np.where(constant, 0, apart / np.where(constant, 1, spread))
