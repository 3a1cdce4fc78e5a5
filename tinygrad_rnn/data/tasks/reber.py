"""The embedded Reber grammar: the end depends on the beginning, whatever stands between."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .base import Task, TaskBatch, answers_of, one_hot

__all__ = ["EmbeddedReber", "REBER", "SYMBOLS", "legal_next"]

SYMBOLS = "BTPSXVE"
# Reber's grammar (1967): state → symbol → next state; it begins with B and ends in state 6.
REBER = {
    0: {"B": 1},
    1: {"T": 2, "P": 3},
    2: {"S": 2, "X": 4},
    3: {"T": 3, "V": 5},
    4: {"X": 3, "S": 7},
    5: {"P": 4, "V": 7},
    7: {"E": 6},
}


def legal_next(string: str) -> list[set[str]]:
    """After each symbol of an embedded string: what may follow; nothing after the end.

    >>> [sorted(legal) for legal in legal_next("BTBTXSETE")]
    [['P', 'T'], ['B'], ['P', 'T'], ['S', 'X'], ['S', 'X'], ['E'], ['T'], ['E'], []]
    """
    outer, inner = string[1], string[2:-2]
    found: list[set[str]] = [{"T", "P"}, {"B"}]
    state = 0
    for symbol in inner:
        state = REBER[state][symbol]
        found.append(set(REBER.get(state, {outer})))
    return [*found, {"E"}, set()]


@dataclass(frozen=True)
class EmbeddedReber(Task):
    """Predict what may follow (Fahlman 1991; Hochreiter and Schmidhuber 1997).

    B, then T or P, a Reber string, the same T or P again, E; two ways lead on from most states,
    with equal chance. One-hot inputs over BTPSXVE, padded with zeros; targets (T, B, 7): 1 for
    each symbol that may follow, which at the last but one step is what was second.

    >>> batch = EmbeddedReber().draw(np.random.default_rng(0), 2)
    >>> batch.lengths.tolist(), batch.inputs.shape
    ([8, 11], (11, 2, 7))
    """

    @property
    def input_size(self) -> int:
        """Seven symbols."""
        return 7

    @property
    def output_size(self) -> int:
        """Seven symbols."""
        return 7

    def strings(self, rng: np.random.Generator, count: int) -> list[str]:
        """New strings of the embedded grammar."""
        return [_embedded(rng) for _ in range(count)]

    def draw(self, rng: np.random.Generator, batch: int) -> TaskBatch:
        """`batch` new strings; the E at the end has nothing to predict and is no input."""
        strings = self.strings(rng, batch)
        lengths = np.array([len(string) - 1 for string in strings])
        inputs = np.zeros((lengths.max(initial=0), batch, 7), dtype=np.float32)
        targets = np.zeros_like(inputs)
        for b, string in enumerate(strings):
            places = np.array([SYMBOLS.index(symbol) for symbol in string[:-1]])
            inputs[: lengths[b], b] = one_hot(places, 7)
            for step, legal in enumerate(legal_next(string)[:-1]):
                targets[step, b, [SYMBOLS.index(symbol) for symbol in legal]] = 1
        return TaskBatch(inputs, targets, lengths)

    def wrong(self, outputs: ArrayLike, batch: TaskBatch) -> NDArray[np.bool_]:
        """Whether anywhere in (T, B, 7) a symbol that may not follow is above one that may."""
        found = answers_of(outputs, batch.targets.shape, "EmbeddedReber.wrong")
        legal = batch.targets > 0
        lowest = np.where(legal, found, np.inf).min(axis=2, initial=np.inf)
        highest = np.where(legal, -np.inf, found).max(axis=2, initial=-np.inf)
        inside = legal.any(axis=2)  # nowhere in the padding
        result: NDArray[np.bool_] = (~(lowest > highest) & inside).any(axis=0)
        return result


def _embedded(rng: np.random.Generator) -> str:
    outer = "TP"[rng.integers(2)]
    return f"B{outer}{_reber(rng)}{outer}E"


def _reber(rng: np.random.Generator) -> str:
    state, string = 0, ""
    while state in REBER:
        ways = sorted(REBER[state])
        symbol = ways[rng.integers(len(ways))]
        string, state = string + symbol, REBER[state][symbol]
    return string
