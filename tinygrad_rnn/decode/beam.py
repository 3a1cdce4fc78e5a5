"""Beam search on any model that makes one step: the K best beginnings are kept, not one.

Legend: B sequences, K beams of each, R = B·K rows, V symbols in the vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..arguments import function, real, takes, whole_number
from ..errors import ArgumentError, DataError, DTypeError, ShapeError
from ..graph import no_grad
from ..tensor import Tensor, as_tensor
from ..tree import tree_map

__all__ = ["Hypothesis", "as_step", "beam_search"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Step = Callable[[Any, IntArray], tuple[Any, Any]]
NEVER = -np.inf
ROUNDING = 1e-3  # how far above 0 a log-probability of low precision may come


class Hypothesis(NamedTuple):
    """A decoded sequence: its symbols, log p, and the score by which it was ranked.

    `finished` is False where the longest length came before the end symbol (which is left out).
    """

    symbols: tuple[int, ...]
    log_prob: float
    score: float
    finished: bool = True


def beam_search(
    step: Step,
    state: Any,
    first: ArrayLike,
    *,
    beam_width: int,
    max_length: int,
    end: int | None = None,
    length_penalty: float = 0.0,
    n_best: int = 1,
    batch_dim: int = 0,
) -> list[list[Hypothesis]]:
    """The `n_best` continuations of each sequence that a beam of `beam_width` finds, best first.

    Of all log p(y_1 … y_t) = Σ log p(y_s | y_<s) only the `beam_width` largest are gone on from at
    each t (Lowerre 1976; for sequences Sutskever et al. 2014).

    Args:
        step: `step(state, symbols (R,)) -> (state, log-probabilities (R, V))`, of a model with any
            state: a tree of arrays or tensors whose axis `batch_dim` is the rows, or None.
        state, first: the state of the B sequences, and the symbols (B,) to begin with.
        end: the symbol that ends a sequence; without it all have `max_length` symbols.
        length_penalty: α; the score is log p / ((5 + length) / 6)^α (Wu et al. 2016).

    Raises:
        ArgumentError: an option out of range. ShapeError, DTypeError: what is not as above.
        DataError: NaN or +inf among the log-probabilities.

    >>> p = {0: [0.6, 0.4], 1: [0.9, 0.1]}
    >>> step = lambda state, symbols: (state, np.log([p[s] for s in symbols]))
    >>> beam_search(step, None, [1], beam_width=2, max_length=2, n_best=2)[0][1].symbols
    (0, 1)
    """
    if not takes(function("beam_search", "step", step), 2):
        raise DTypeError("beam_search", "step(state, symbols)", type(step).__name__)
    options = _Options(beam_width, max_length, end, length_penalty, n_best, batch_dim)
    symbols = _first_symbols(first)
    rows = np.arange(len(symbols))
    beams = [_Beam(options) for _ in rows]
    for length in range(1, max_length + 1):
        state, log_probs = _stepped(step, state, symbols, end)
        taken = [beam.advance(log_probs[rows == b], length) for b, beam in enumerate(beams)]
        places = [np.flatnonzero(rows == b)[parents] for b, (parents, _) in enumerate(taken)]
        rows = np.repeat(np.arange(len(beams)), [len(parents) for parents, _ in taken])
        if not len(rows) or length == max_length:
            break
        state = _rows_of(state, np.concatenate(places), len(symbols), batch_dim)
        symbols = np.concatenate([chosen for _, chosen in taken])
    return [beam.best() for beam in beams]


@dataclass(frozen=True)
class _Options:
    beam_width: int
    max_length: int
    end: int | None
    length_penalty: float
    n_best: int
    batch_dim: int

    def __post_init__(self) -> None:
        for name in ("beam_width", "max_length", "n_best"):
            whole_number("beam_search", name, getattr(self, name))
        if self.n_best > self.beam_width:
            raise ArgumentError(
                "beam_search", f"n_best <= beam_width {self.beam_width}", self.n_best
            )
        for name in ("end", "batch_dim"):
            if getattr(self, name) is not None:
                whole_number("beam_search", name, getattr(self, name), 0)
        real("beam_search", "length_penalty", self.length_penalty, 0)

    def score(self, log_prob: Any, length: int) -> Any:
        return log_prob / ((5 + length) / 6) ** self.length_penalty


@dataclass
class _Beam:
    """The beginnings of one sequence that are still going on, and those that have ended."""

    options: _Options
    texts: list[tuple[int, ...]] = field(default_factory=lambda: [()])
    log_probs: FloatArray = field(default_factory=lambda: np.zeros(1))
    ended: list[Hypothesis] = field(default_factory=list)

    def advance(self, log_probs: FloatArray, length: int) -> tuple[IntArray, IntArray]:
        """Go on by one symbol: of the new beginnings, which old one each has, and its symbol."""
        totals = (self.log_probs[:, None] + log_probs).ravel()
        width, old = self.options.beam_width, self.texts
        order = _best(totals, 2 * width)  # at most `width` of them end, one for each old beginning
        parents, symbols = np.divmod(order, max(log_probs.shape[1], 1))
        ends = symbols == self.options.end if self.options.end is not None else symbols < 0
        for i in np.flatnonzero(ends[:width]):
            self._end(old[parents[i]], totals[order[i]], length, True)
        going = np.flatnonzero(~ends)[:width]
        parents, symbols = parents[going], symbols[going]
        self.log_probs = totals[order[going]]
        self.texts = [(*old[p], int(s)) for p, s in zip(parents, symbols, strict=True)]
        if length == self.options.max_length or self._settled():
            self._stop(length)
            return parents[:0], symbols[:0]
        return parents, symbols

    def _end(self, text: tuple[int, ...], log_prob: float, length: int, finished: bool) -> None:
        score = float(self.options.score(log_prob, length))
        self.ended.append(Hypothesis(text, float(log_prob), score, finished))

    def _settled(self) -> bool:
        """Whether nothing that goes on can still come among the best: log p only falls."""
        if not len(self.log_probs):
            return True
        finished = sorted((h.score for h in self.ended), reverse=True)
        most = self.options.score(self.log_probs[0], self.options.max_length)
        enough = len(finished) >= self.options.n_best
        return enough and finished[self.options.n_best - 1] >= most

    def _stop(self, length: int) -> None:
        """What still goes on at the longest length is kept, unfinished if there is an end."""
        if length == self.options.max_length:
            for text, log_prob in zip(self.texts, self.log_probs, strict=True):
                self._end(text, log_prob, length, self.options.end is None)
        self.texts, self.log_probs = [], np.zeros(0)

    def best(self) -> list[Hypothesis]:
        """The best, those that have finished before those that have not."""
        ranked = sorted(self.ended, key=lambda h: (not h.finished, -h.score))
        return ranked[: self.options.n_best]


def _best(totals: FloatArray, count: int) -> IntArray:
    """Where the largest are, sorted, the first of equals first; nothing that is −inf."""
    order = np.flatnonzero(totals > NEVER)
    if len(order) > count:
        least = -np.partition(-totals[order], count - 1)[count - 1]
        order = order[totals[order] >= least]
    return order[np.argsort(-totals[order], kind="stable")][:count]


# --------------------------------------------------------------------------- models and states
def as_step(model: Callable[[Any, Any], tuple[Any, Any]], device: str = "cpu") -> Step:
    """A step for `beam_search` from a model of whole sequences, as `generate` takes it.

    `model(symbols (T, B), state) -> (logits (T, B, V), state)`; the states of recurrent layers,
    (L, B, H), have `batch_dim=1`.
    """

    function("as_step", "model", model)

    def step(state: Any, symbols: IntArray) -> tuple[Any, FloatArray]:
        with no_grad():
            logits, state = model(as_tensor(symbols[None], device=device), state)
        scores = _on_host(logits)[-1].astype(np.float64)
        scores = scores - scores.max(axis=-1, keepdims=True)
        return state, scores - np.log(np.exp(scores).sum(axis=-1, keepdims=True))

    return step


def _first_symbols(first: ArrayLike) -> IntArray:
    symbols = np.asarray(first)
    if symbols.ndim != 1 or not len(symbols):
        raise ShapeError("beam_search", "first symbols of shape (B,), B >= 1", symbols.shape)
    if symbols.dtype.kind not in "iu":
        raise DTypeError("beam_search", "integer first symbols", symbols.dtype)
    return symbols.astype(np.int64)


def _stepped(step: Step, state: Any, symbols: IntArray, end: int | None) -> tuple[Any, FloatArray]:
    found: Any = step(state, symbols)
    if not isinstance(found, (tuple, list)) or len(found) != 2:
        wanted = "step to return (state, log-probabilities)"
        raise DTypeError("beam_search", wanted, type(found).__name__)
    state, given = found
    log_probs = _on_host(given).astype(np.float64)
    if log_probs.ndim != 2 or len(log_probs) != len(symbols):
        expected = f"log-probabilities of shape ({len(symbols)}, V) from step"
        raise ShapeError("beam_search", expected, log_probs.shape)
    if np.isnan(log_probs).any() or (log_probs == np.inf).any():
        raise DataError("beam_search", "log-probabilities without NaN and +inf", "one of them")
    if log_probs.max(initial=NEVER) > ROUNDING:
        hint = "logits? log_softmax makes log-probabilities of them, and as_step of a model's"
        raise DataError("beam_search", "log-probabilities <= 0", log_probs.max(), hint)
    if end is not None and end >= log_probs.shape[1]:
        raise ArgumentError("beam_search", f"end in 0 … {log_probs.shape[1] - 1}", end)
    return state, log_probs


def _rows_of(state: Any, rows: IntArray, count: int, batch_dim: int) -> Any:
    """The state of these rows, out of so many."""

    def chosen(leaf: Any) -> Any:
        shape = np.shape(leaf)
        if shape[batch_dim : batch_dim + 1] != (count,):
            hint = "states of recurrent layers, (L, B, H), have batch_dim=1"
            expected = f"states with {count} rows on axis {batch_dim}"
            raise ShapeError("beam_search", expected, shape, hint)
        index: tuple[Any, ...] = (slice(None),) * batch_dim
        if isinstance(leaf, Tensor):
            return leaf[(*index, as_tensor(rows, device=leaf.device))]
        return np.asarray(leaf)[(*index, rows)]

    return tree_map(chosen, state)


def _on_host(values: Any) -> NDArray[Any]:
    return values.detach().to("cpu").numpy() if isinstance(values, Tensor) else np.asarray(values)
