"""Choosing symbols one after the other: greedily, or at random from a sharpened distribution.

Legend: T time steps, B batch, V symbols in the vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..arguments import function, instance, real, whole_number
from ..errors import ArgumentError, DataError, ShapeError
from ..graph import no_grad
from ..tensor import Tensor, as_tensor

__all__ = ["Sampler", "generate"]

FloatArray = NDArray[np.float64]
Model = Callable[[Any, Any], tuple[Any, Any]]


@dataclass(frozen=True)
class Sampler:
    """How to choose a symbol from logits.

    Probabilities are softmax(logits / temperature), 0 meaning greedy; of these only the ``top_k``
    largest are kept (Fan et al., 2018), and of those only the fewest whose sum reaches ``top_p``
    (nucleus sampling, Holtzman et al., 2020).

    Raises:
        ArgumentError: temperature < 0, top_k < 1, or top_p not in (0, 1].

    >>> Sampler(top_k=2).probabilities([0.0, 2.0, 2.0]).tolist()
    [0.0, 0.5, 0.5]
    >>> Sampler(temperature=0).probabilities([0.0, 2.0, 2.0]).tolist()
    [0.0, 1.0, 0.0]
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None

    def __post_init__(self) -> None:
        real("Sampler", "temperature", self.temperature, 0)
        if self.top_k is not None:
            whole_number("Sampler", "top_k", self.top_k)
        if self.top_p is not None and not 0 < real("Sampler", "top_p", self.top_p) <= 1:
            raise ArgumentError("Sampler", "0 < top_p <= 1", self.top_p)

    def probabilities(self, logits: ArrayLike) -> FloatArray:
        """The distribution to draw from, shape ``(V,)``, for logits ``(V,)``.

        Raises:
            ShapeError: not one vector. DataError: a NaN among them, or infinity at the top.
        """
        scores = _scores(logits)
        if self.temperature == 0:
            return np.eye(len(scores))[scores.argmax()]
        with np.errstate(over="ignore"):  # a tiny temperature: all but the best vanish
            kept = np.exp((scores - scores.max()) / self.temperature)
        order = np.argsort(-kept, kind="stable")
        kept[order[self._count(kept[order]) :]] = 0
        return kept / kept.sum()

    def _count(self, descending: FloatArray) -> int:
        """How many of the weights, sorted from the largest, stay."""
        count = min(self.top_k or len(descending), len(descending))
        if self.top_p is None:
            return count
        before = np.cumsum(descending[:count]) - descending[:count]
        return int((before < self.top_p * descending[:count].sum()).sum())

    def choose(self, logits: ArrayLike, generator: np.random.Generator) -> int:
        """Draw one symbol. Greedy choice takes the first of equals and no random number."""
        chances = self.probabilities(logits)
        if self.temperature == 0:
            return int(chances.argmax())
        bounds = np.cumsum(chances)
        return int(np.searchsorted(bounds, generator.random() * bounds[-1], side="right"))


def _scores(logits: ArrayLike) -> FloatArray:
    scores = np.asarray(logits, dtype=np.float64)
    if scores.ndim != 1 or len(scores) == 0:
        raise ShapeError("Sampler", "logits of shape (V,), V >= 1", scores.shape)
    if np.isnan(scores).any() or not np.isfinite(scores.max()):
        raise DataError("Sampler", "logits without NaN whose largest is finite", scores.max())
    return scores


def generate(
    model: Model,
    prompt: ArrayLike,
    sampler: Sampler,
    generator: np.random.Generator,
    device: str = "cpu",
) -> Iterator[int]:
    """Yield symbols after ``prompt`` for ever, each fed back to the model; the state is carried.

    ``model(symbols (T, B), state) -> (logits (T, B, V), state)``, where state None is the start.

    Raises:
        ShapeError: the prompt is not a vector of at least one symbol.

    >>> count = lambda symbols, state: (np.eye(4)[(np.asarray(symbols) + 1) % 4], state)
    >>> symbols = generate(count, [2], Sampler(temperature=0), np.random.default_rng(0))
    >>> [next(symbols) for _ in range(5)]
    [3, 0, 1, 2, 3]
    """
    function("generate", "model", model)
    instance("generate", "sampler", sampler, Sampler, "Sampler(temperature=0.7)")
    rng = "np.random.default_rng(seed)"
    instance("generate", "generator", generator, np.random.Generator, rng)
    fed = np.asarray(prompt)
    if fed.ndim != 1 or len(fed) == 0:
        raise ShapeError("generate", "a prompt of at least one symbol", fed.shape)
    return _generate(model, fed, sampler, generator, device)


def _generate(
    model: Model, fed: NDArray[Any], sampler: Sampler, generator: np.random.Generator, device: str
) -> Iterator[int]:
    state = None
    while True:
        with no_grad():  # not around the yield: that would leak into the caller's code
            logits, state = model(as_tensor(fed[:, None], device=device), state)
        symbol = sampler.choose(_on_host(logits)[-1, 0], generator)
        yield symbol
        fed = np.array([symbol])


def _on_host(logits: Any) -> NDArray[Any]:
    return logits.detach().to("cpu").numpy() if isinstance(logits, Tensor) else np.asarray(logits)
