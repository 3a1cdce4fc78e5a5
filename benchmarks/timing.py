"""Timing several contenders in turns, after their numbers have been found equal.

One round runs each contender in a block of a few runs (at least 10 ms, so that the caches of the
one before are not in its way), and the next round starts with another contender. On several threads
a pause goes before each block, and a run that is not timed: idle threads of some libraries wait
busily (PyTorch's for 10 ms) and would take a core from whoever comes next, whose own are asleep.
Every other run is timed; what is reported are the minimum and the median. Python's garbage
collector stays on, since recording a graph costs collections too, but all objects that exist before
the first run (the imported libraries) are frozen out of its reach.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

__all__ = [
    "Contender", "Effort", "Spread", "WrongResult", "alternate", "compare", "compare_rounding",
    "spread_of",
]  # fmt: skip

BLOCK = 0.01  # seconds that a contender runs at a stretch
ROUNDING = 8  # how many times the error of another contender, where errors grow in every step
LEAST_ERROR, MOST_ERROR = 1e-6, 1e-2  # that such another one is said to have, and may have
PAUSE = 0.03  # seconds after which idle threads are asleep
Arrays = dict[str, np.ndarray]


class WrongResult(Exception):
    """A contender computes something else than the others."""


class Contender(NamedTuple):
    """One way to do the work.

    `run()` does all of it and nothing more; `read(what run gave)` then names its values and
    gradients as NumPy arrays, outside the timing.
    """

    name: str
    run: Callable[[], Any]
    read: Callable[[Any], Arrays]


class Spread(NamedTuple):
    """The minimum and the median of what was measured."""

    low: float
    median: float


@dataclass(frozen=True)
class Effort:
    """How long to measure: seconds for a group of contenders, and the fewest and most rounds.

    `pause` is what goes before each block, in seconds; then comes a run that is not timed.
    """

    seconds: float = 4.0
    least: int = 5
    most: int = 200
    pause: float = 0.0

    @staticmethod
    def quick() -> Effort:
        """Once: to see that it runs, not how fast."""
        return Effort(seconds=0.0, least=1, most=1)

    @staticmethod
    def on(threads: int) -> Effort:
        """On several threads it takes longer, by the pauses."""
        return Effort() if threads == 1 else Effort(seconds=8.0, pause=PAUSE)


def spread_of(values: Sequence[float]) -> Spread:
    """The minimum and the median of a list.

    >>> spread_of([3.0, 1.0, 2.0])
    Spread(low=1.0, median=2.0)
    """
    return Spread(min(values), statistics.median(values))


def compare(contenders: Sequence[Contender], tolerance: float = 1e-4) -> float:
    """The largest difference from the last contender, on the scale of each array.

    Raises:
        WrongResult: arrays that are missing, of another shape, or further off than `tolerance`.
    """
    *others, reference = contenders
    expected = reference.read(reference.run())
    worst = 0.0
    for other in others:
        found = other.read(other.run())
        for name, array in expected.items():
            where = f"{name} of {other.name} against {reference.name}"
            worst = max(worst, _difference(found.get(name), array, where, tolerance))
    return worst


def compare_rounding(contender: Contender, other: Contender, exact: Contender) -> float:
    """The largest ratio of a contender's error to that of another one, both against an exact one.

    For work that amplifies rounding, where two that are right may be far from each other.

    Raises:
        WrongResult: arrays that are missing, of another shape, or more than `ROUNDING` times
            further off than the other's, which must not be off by more than `MOST_ERROR`.
    """
    expected = exact.read(exact.run())
    found, beside = (c.read(c.run()) for c in (contender, other))
    worst = 0.0
    for name, array in expected.items():
        ours, theirs = (f"{name} of {c.name} against {exact.name}" for c in (contender, other))
        usual = _difference(beside.get(name), array, theirs, MOST_ERROR)
        least = max(usual, LEAST_ERROR)
        worst = max(worst, _difference(found.get(name), array, ours, ROUNDING * least) / least)
    return worst


def _difference(found: Any, expected: np.ndarray, where: str, tolerance: float) -> float:
    """The largest difference over the largest element."""
    if found is None or found.shape != expected.shape:
        raise WrongResult(f"{where}: shape {getattr(found, 'shape', None)}, not {expected.shape}")
    scale = float(np.abs(expected).max(initial=1e-30))
    difference = float(np.abs(found - expected).max(initial=0.0)) / scale
    if not difference <= tolerance:
        raise WrongResult(f"{where}: differs by {difference:.1e} of the largest element")
    return difference


def alternate(contenders: Sequence[Contender], effort: Effort) -> dict[str, Spread]:
    """Seconds of one run of each contender, measured in turns."""
    lengths = {c.name: _block_length(c.run) for c in contenders}
    times: dict[str, list[float]] = {c.name: [] for c in contenders}
    gc.collect()
    gc.freeze()
    try:
        for number in _rounds(effort):
            first = number % len(contenders)
            for contender in (*contenders[first:], *contenders[:first]):
                if effort.pause:
                    time.sleep(effort.pause)
                    contender.run()
                for _ in range(lengths[contender.name]):
                    times[contender.name].append(_seconds(contender.run))
    finally:
        gc.unfreeze()
    return {name: spread_of(values) for name, values in times.items()}


def _rounds(effort: Effort) -> Any:
    end = time.perf_counter() + effort.seconds
    for number in range(effort.most):
        if number >= effort.least and time.perf_counter() > end:
            return
        yield number


def _block_length(run: Callable[[], Any]) -> int:
    """Runs in a block; the two runs that find it out are the warm-up as well."""
    run()
    return max(1, int(BLOCK / max(_seconds(run), 1e-9)))


def _seconds(run: Callable[[], Any]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start
