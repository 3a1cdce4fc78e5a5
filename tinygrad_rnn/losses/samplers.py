"""Where the negatives of a sampled softmax come from.

Legend: V classes, S samples, Q a distribution over classes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..arguments import numeric_array, real, whole_number
from ..create import generator
from ..errors import ArgumentError, ShapeError, StateDictError
from ..tensor import Tensor

__all__ = [
    "AdaptiveSampler", "LogUniformSampler", "Sampler", "UniformSampler", "UnigramSampler",
    "target_partitions",
]  # fmt: skip

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


class Sampler:
    """Draws classes from Q and knows how often each is expected among S samples.

    Args:
        probabilities: Q up to a factor, (V,).

    Raises:
        ArgumentError: a class that is never drawn (its −log Q would be infinite), or no numbers.

    >>> Sampler([1.0, 3.0]).log_expected([0, 1], 2).round(3).tolist()
    [-0.693, 0.405]
    """

    def __init__(self, probabilities: Any) -> None:
        weights = _numbers(type(self).__name__, "probabilities", probabilities)
        if not weights.size or not np.isfinite(weights).all() or not (weights > 0).all():
            bad = np.flatnonzero(~(np.isfinite(weights) & (weights > 0)))
            got = f"{weights[bad[0]]} for class {bad[0]}" if bad.size else "no class at all"
            raise ArgumentError(
                type(self).__name__, "probabilities above 0, and finite", got,
                "smooth the counts, by adding 1 for example",
            )  # fmt: skip
        self.weights = weights
        self._changed()

    def _changed(self) -> None:
        self._cumulative = np.cumsum(self.weights)

    @property
    def classes(self) -> int:
        """V."""
        return len(self.weights)

    def sample(self, count: int) -> Integers:
        """S classes, drawn with replacement by the library's generator."""
        whole_number(f"{type(self).__name__}.sample", "samples", count)
        points = generator().random(count) * self._cumulative[-1]
        found = np.searchsorted(self._cumulative, points, side="right")
        return np.asarray(np.minimum(found, self.classes - 1), np.int64)

    def sample_rows(self, rows: int, count: int) -> Integers:
        """S classes for each of N rows, (N, S)."""
        return self.sample(rows * count).reshape(rows, count)

    def log_expected(self, classes: Any, count: int) -> Floats:
        """log(S·Q) of each class: the log of how often it is expected among S samples."""
        share = self.weights[np.asarray(classes)] / self._cumulative[-1]
        return np.asarray(np.log(count * share))


class UniformSampler(Sampler):
    """Q = 1/V. Without replacement S distinct classes, and all of them where S = V."""

    def __init__(self, classes: int, replacement: bool = True) -> None:
        super().__init__(np.ones(whole_number("UniformSampler", "classes", classes)))
        self.replacement = replacement

    def sample(self, count: int) -> Integers:
        """S classes."""
        if self.replacement:
            return super().sample(count)
        if whole_number("UniformSampler.sample", "samples", count) > self.classes:
            raise ArgumentError("UniformSampler", f"1 … {self.classes} distinct samples", count)
        return generator().choice(self.classes, count, replace=False)

    def sample_rows(self, rows: int, count: int) -> Integers:
        """S classes for each row, distinct within it if they are to be."""
        if self.replacement:
            return super().sample_rows(rows, count)
        return np.stack([self.sample(count) for _ in range(rows)])


class UnigramSampler(Sampler):
    """Q ∝ counts^power, of the classes in the training data; ¾ is that of Mikolov et al. (2013)."""

    def __init__(self, counts: Any, power: float = 1.0) -> None:
        called = type(self).__name__
        given, exponent = _numbers(called, "counts", counts), real(called, "power", power)
        with np.errstate(invalid="ignore", divide="ignore"):  # what comes of it is looked at
            super().__init__(given**exponent)


class LogUniformSampler(Sampler):
    """Q(k) = log((k+2)/(k+1)) / log(V+1): Zipf's law, for classes numbered by falling frequency."""

    def __init__(self, classes: int) -> None:
        ranks = np.arange(whole_number("LogUniformSampler", "classes", classes), dtype=np.float64)
        super().__init__(np.log((ranks + 2) / (ranks + 1)))


class AdaptiveSampler(UnigramSampler):
    """Q that follows the model (Bengio, Senécal 2008): begins as unigram, drifts to what p̂ prefers.

    After each step `adapt` moves a share `rate` of Q to the classes in proportion to the model's
    own importance weights: only the classes that were drawn are touched, but for one factor.
    """

    def __init__(self, counts: Any, power: float = 1.0, rate: float = 0.01) -> None:
        if not 0 < real("AdaptiveSampler", "rate", rate) < 1:
            raise ArgumentError("AdaptiveSampler", "0 < rate < 1", rate)
        super().__init__(counts, power)
        self.weights = self.weights / self.weights.sum()
        self.rate = rate
        self._changed()

    def adapt(self, classes: Any, importance: Any) -> None:
        """Learn from one draw: importance (S,) >= 0, of each sample; Q stays above 0 everywhere."""
        drawn = np.asarray(classes)
        weights = _numbers("AdaptiveSampler.adapt", "importance", importance, drawn.ndim)
        if weights.shape != drawn.shape or not np.isfinite(weights).all() or (weights < 0).any():
            raise ArgumentError("AdaptiveSampler.adapt", "a finite weight >= 0 a sample", "others")
        if weights.sum() > 0:
            share = self.rate * self.weights.sum()
            np.add.at(self.weights, drawn, share / (1 - self.rate) * weights / weights.sum())
            self.weights /= self.weights.sum()
            self._changed()

    def state_dict(self) -> dict[str, Floats]:
        """What it has learnt, as arrays."""
        return {"weights": self.weights.copy()}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over what another has learnt.

        Raises:
            StateDictError: not the state of a sampler of as many classes.
        """
        given = state_dict.get("weights") if isinstance(state_dict, Mapping) else None
        weights = np.asarray(0.0 if given is None else given)
        fits = weights.shape == self.weights.shape and weights.dtype.kind == "f"
        if not fits or not np.isfinite(weights).all() or not (weights > 0).all():
            got = f"{weights.dtype} {weights.shape}" if given is not None else "none"
            expected = f"weights of {self.classes} classes, all above 0"
            raise StateDictError("AdaptiveSampler.load_state_dict", expected, got)
        self.weights = weights.astype(np.float64)
        self._changed()


def target_partitions(targets: Any, size: int) -> Iterator[tuple[slice, Integers]]:
    """Cut a stream of targets (N,) where it has seen `size` distinct ones (Jean et al. 2015).

    Yields each piece of the stream and the classes V′ in it, which are the vocabulary while it is
    trained on.

    >>> [(s.stop, v.tolist()) for s, v in target_partitions([3, 1, 3, 2, 0], 2)]
    [(3, [1, 3]), (5, [0, 2])]
    """
    stream = _numbers("target_partitions", "targets", targets).astype(np.int64)
    return _pieces(stream, whole_number("target_partitions", "size", size))


def _pieces(stream: Integers, size: int) -> Iterator[tuple[slice, Integers]]:
    start, seen = 0, set[int]()
    for place, target in enumerate(stream.tolist()):
        if target not in seen and len(seen) == size:
            yield slice(start, place), np.array(sorted(seen))
            start, seen = place, set()
        seen.add(target)
    if seen:
        yield slice(start, len(stream)), np.array(sorted(seen))


def _numbers(called: str, name: str, values: Any, ndim: int = 1) -> Floats:
    """A copy on the host, with as many axes as it should have."""
    held = values.detach().to("cpu").numpy() if isinstance(values, Tensor) else values
    found = numeric_array(called, name, held).astype(np.float64)
    if found.ndim != ndim:
        raise ShapeError(called, f"{name} on {ndim} axes", str(found.shape))
    return found
