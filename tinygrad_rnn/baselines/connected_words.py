"""Strings of words by hidden Markov models: how speech was recognised before recurrent networks.

Each word is a chain of states that a path runs through from left to right, staying in each for some
frames. All chains stand in one loop with a state for the pause, and the most probable path through
the loop says which words were spoken (Rabiner and Levinson 1985).

Legend: T frames, B sequences, D dimensions, W words, S states of each word.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tinygrad_rnn.errors import ArgumentError, DataError

from ..arguments import finite_array, whole_number
from .emissions import GaussianEmissions
from .hmm import HMM

__all__ = ["ConnectedWords"]

FloatArray = NDArray[np.float64]
PAUSE_FRAMES = 20  # a pause lasts so long on average


@dataclass(frozen=True, eq=False)
class ConnectedWords:
    """W words of S states each, in a loop with a pause; `decode` says which were spoken.

    State w S + s is the s-th of word w, and the last one is the pause. `penalty` is taken from the
    log-probability of each word: frames are not as independent as the model holds them to be,
    and without it there would be too many words.

    >>> rng = np.random.default_rng(0)
    >>> takes = [[np.repeat([[0.0], [1.0]], 3, 0) + rng.normal(0, 0.1, (6, 1)) for _ in range(9)],
    ...          [np.repeat([[1.0], [0.0]], 3, 0) + rng.normal(0, 0.1, (6, 1)) for _ in range(9)]]
    >>> words = ConnectedWords.fit(takes, pause=rng.normal(5, 0.1, (50, 1)), states=2)
    >>> words.decode(np.concatenate([takes[1][0], takes[1][1], takes[0][0]])[:, None])
    [(1, 1, 0)]
    """

    network: HMM
    words: int
    states: int

    @classmethod
    def fit(
        cls,
        takes: Sequence[Sequence[ArrayLike]],
        pause: ArrayLike,
        *,
        states: int = 8,
        penalty: float = 0.0,
        iterations: int = 8,
    ) -> ConnectedWords:
        """Train each word's chain by Baum–Welch on takes of it alone, and put them together.

        Args:
            takes: for each word, sequences (T, D), which need not be of one length.
            pause: frames (T, D) without a word.

        Raises:
            DataError, ShapeError: no words, one without takes, or frames that do not fit.
            ArgumentError: an option out of range.
        """
        whole_number("ConnectedWords", "states", states, least=2)
        if not 0 <= penalty < np.inf:
            raise ArgumentError("ConnectedWords", "penalty >= 0", penalty)
        if not takes or not all(len(word) for word in takes):
            raise DataError("ConnectedWords", "words with a take each", "none")
        silent = finite_array("ConnectedWords", "frames of the pause", pause)
        arrays = [[np.asarray(x, dtype=np.float64) for x in word] for word in takes]
        chains = [_chain(word, states, iterations) for word in arrays]
        means = [chain.emissions.means for chain in chains]  # type: ignore[attr-defined]
        spreads = [chain.emissions.variances for chain in chains]  # type: ignore[attr-defined]
        emissions = GaussianEmissions(
            np.concatenate([*means, silent.mean(axis=0)[None]]),
            np.concatenate([*spreads, silent.var(axis=0)[None] + 1e-3]),
        )
        leaving = [1 / np.mean([max(len(x) / states, 1) for x in word]) for word in arrays]
        transition, start = _loop(chains, np.array(leaving), np.exp(-penalty))
        return cls(HMM(start, transition, emissions), len(takes), states)

    def decode(self, frames: Any, lengths: ArrayLike | None = None) -> list[tuple[int, ...]]:
        """The words of each sequence in frames (T, B, D), by the most probable path.

        Raises:
            ShapeError, ArgumentError, DataError: as `HMM.viterbi`.
        """
        path, _ = self.network.viterbi(frames, lengths)
        # A word begins where its first state is come to from elsewhere; beyond the end all stay.
        arrived = np.vstack([np.ones_like(path[:1], bool), path[1:] != path[:-1]])
        first = (path % self.states == 0) & (path < self.words * self.states) & arrived
        columns = zip(path.T, first.T, strict=True)
        return [tuple((column[at] // self.states).tolist()) for column, at in columns]


def _chain(takes: list[FloatArray], states: int, iterations: int) -> HMM:
    """A chain that begins with each take cut into equal parts."""
    parts = [_cut(x, states) for x in takes]
    stretches = [np.concatenate([part[s] for part in parts]) for s in range(states)]
    everything = np.concatenate(takes)
    means = [x.mean(axis=0) if len(x) else everything.mean(axis=0) for x in stretches]
    spreads = [x.var(axis=0) if len(x) > 1 else everything.var(axis=0) for x in stretches]
    floor = 0.01 * float(everything.var(axis=0).mean()) + 1e-9
    emissions = GaussianEmissions(means, np.maximum(spreads, floor), floor)
    going = min(1.0, states * len(takes) / len(everything)) * 0.999
    transition = np.diag(np.full(states, 1 - going)) + np.diag(np.full(states - 1, going), 1)
    transition[-1, -1] = 1
    lengths = np.array([len(x) for x in takes])
    padded = np.zeros((lengths.max(), len(takes), everything.shape[1]))
    for column, x in enumerate(takes):
        padded[: len(x), column] = x
    chain = HMM(np.eye(states)[0], transition, emissions)
    return chain.fit(padded, lengths, iterations=iterations)[0]


def _cut(x: FloatArray, states: int) -> list[FloatArray]:
    bounds = np.rint(np.linspace(0, len(x), states + 1)).astype(int)
    return [x[low:high] for low, high in itertools.pairwise(bounds)]


def _loop(chains: list[HMM], leaving: FloatArray, entering: float) -> tuple[FloatArray, FloatArray]:
    """The transitions of all chains and the pause, and where a path starts.

    Args:
        leaving: (W,) the chance to leave the last state of each word.
        entering: by how much a new word is less likely than its chance.
    """
    words, states = len(chains), len(chains[0].start)
    size = words * states + 1
    firsts = np.arange(words) * states
    transition = np.zeros((size, size))
    for word, chain in enumerate(chains):
        here = slice(word * states, (word + 1) * states)
        transition[here, here] = chain.transition
        last = here.stop - 1
        transition[last] = 0
        transition[last, -1] = 0.5 * leaving[word]
        transition[last, firsts] = 0.5 * leaving[word] * entering / words
        transition[last, last] += 1 - transition[last].sum()
    transition[-1, firsts] = entering / (PAUSE_FRAMES * words)
    transition[-1, -1] = 1 - transition[-1].sum()
    start = np.zeros(size)
    start[firsts] = 0.5 * entering / words
    start[-1] = 1 - start.sum()
    return transition, start
