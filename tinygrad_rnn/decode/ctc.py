"""From the log-probabilities of CTC to labels: the best path, and the best labelling.

A path names one symbol a step; merging its repeats and dropping its blanks gives the labelling that
it spells. Many paths spell the same, so the most probable labelling need not be that of the most
probable path.

Legend: T steps, N rows, C classes, K beams.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..arguments import function, positive, real, several, whole_number
from ..checks import is_index
from ..errors import ArgumentError, DataError, DTypeError, IndexRangeError, ShapeError
from ..tensor import Tensor
from .beam import ROUNDING, Hypothesis

__all__ = ["ctc_beam_search", "ctc_best_path", "ctc_merge", "ctc_prefix_search"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
LanguageModel = Callable[[Any, int | None], tuple[Any, Any]]
INF = np.inf


def ctc_merge(path: Iterable[int], blank: int | None = 0) -> tuple[int, ...]:
    """What a path spells: repeats become one symbol, then blanks go (Graves et al. 2006).

    >>> ctc_merge([0, 1, 1, 0, 1, 2])
    (1, 1, 2)
    """
    labels = several("ctc_merge", "path", path)
    if not all(map(is_index, labels)):
        raise DTypeError("ctc_merge", "a path of integers", "others")
    return tuple(int(k) for k, _ in itertools.groupby(labels) if k != blank)


def ctc_best_path(
    log_probs: Any, lengths: ArrayLike | None = None, blank: int | None = 0
) -> list[Hypothesis]:
    """What the most probable path of each row spells, and log p of that one path.

    Args:
        log_probs: (T, N, C). lengths: (N,), all T if not given.
        blank: None where the classes have none.

    Raises:
        ShapeError, DTypeError, DataError, ArgumentError, IndexRangeError: what does not fit.

    >>> [found] = ctc_best_path(np.log([[[0.6, 0.4]], [[0.6, 0.4]]]))
    >>> found.symbols, round(float(np.exp(found.log_prob)), 2)
    ((), 0.36)
    """
    found = []
    for x in checked_rows("ctc_best_path", log_probs, lengths, blank):
        total = float(x.max(axis=1, initial=-INF).sum())
        found.append(Hypothesis(ctc_merge(x.argmax(axis=1).tolist(), blank), total, total))
    return found


# ---------------------------------------------------------------------------- prefix search
def ctc_prefix_search(
    log_probs: Any,
    lengths: ArrayLike | None = None,
    blank: int = 0,
    *,
    threshold: float | None = None,
    limit: int = 10_000,
) -> list[Hypothesis]:
    """The most probable labelling of each row, found best first over prefixes: exact.

    Args:
        threshold: steps at which p(blank) is above it cut a row into sections that are decoded one
            by one: much faster, and no longer exact. (0.9999 in the source.)
        limit: prefixes to go on from, for each section, before giving up.

    Raises:
        ArgumentError: no answer within `limit`, or an option out of range; else as `ctc_best_path`.

    Source: Graves et al. (2006), section 3.2.

    >>> [found] = ctc_prefix_search(np.log([[[0.6, 0.4]], [[0.6, 0.4]]]))
    >>> found.symbols, round(float(np.exp(found.log_prob)), 2)
    ((1,), 0.64)
    """
    if threshold is not None:
        positive("ctc_prefix_search", "threshold", threshold, 1)
    whole_number("ctc_prefix_search", "limit", limit)
    found = []
    for x in checked_rows("ctc_prefix_search", log_probs, lengths, blank):
        parts = [_most_probable(part, blank, limit) for part in _sections(x, blank, threshold)]
        total = sum(log_prob for _, log_prob in parts)
        symbols = tuple(k for labels, _ in parts for k in labels)
        found.append(Hypothesis(symbols, total, total))
    return found


def _sections(x: FloatArray, blank: int, threshold: float | None) -> list[FloatArray]:
    """The row, cut behind each run of steps that are almost surely blank."""
    if threshold is None:
        return [x]
    sure = x[:, blank] > np.log(threshold)
    return np.split(x, np.flatnonzero(sure[:-1] & ~sure[1:]) + 1)


@dataclass
class _Prefix:
    """A prefix, by the step up to which it is spelt: log p of paths that end in a blank or not.

    `more` is log p of all labellings that go on from it.
    """

    labels: tuple[int, ...]
    blank: FloatArray
    label: FloatArray
    more: float


def _most_probable(x: FloatArray, blank: int, limit: int) -> tuple[tuple[int, ...], float]:
    empty = np.concatenate([[0.0], np.cumsum(x[:, blank])])
    best: tuple[tuple[int, ...], float] = ((), float(empty[-1]))
    waiting = [_Prefix((), empty, np.full(len(empty), -INF), _log_difference(0.0, empty[-1]))]
    for _ in range(limit):
        at = max(range(len(waiting)), key=lambda i: waiting[i].more, default=None)
        if at is None or waiting[at].more <= best[1]:
            return best
        longer, complete = _extensions(x, blank, waiting.pop(at))
        for prefix, log_prob in zip(longer, complete, strict=True):
            if log_prob > best[1]:
                best = (prefix.labels, log_prob)
        waiting = [prefix for prefix in (*waiting, *longer) if prefix.more > best[1]]
    raise ArgumentError(
        "ctc_prefix_search", f"an answer from {limit} prefixes", "none",
        "give threshold=0.99, raise limit, or use ctc_beam_search",
    )  # fmt: skip


def _extensions(x: FloatArray, blank: int, of: _Prefix) -> tuple[list[_Prefix], list[float]]:
    """The prefix with each label added, and log p of ending there."""
    labels = np.flatnonzero(np.arange(x.shape[1]) != blank)
    steps, size = len(x), len(labels)
    by_label, by_blank = (np.full((steps + 1, size), -INF) for _ in range(2))
    arrival = np.full(size, -INF)
    repeated = labels == (of.labels[-1] if of.labels else -1)  # only a blank sets them apart
    with np.errstate(all="ignore"):
        for t, emitted in enumerate(x):
            new = np.where(repeated, of.blank[t], np.logaddexp(of.blank[t], of.label[t]))
            by_label[t + 1] = emitted[labels] + np.logaddexp(new, by_label[t])
            by_blank[t + 1] = emitted[blank] + np.logaddexp(by_blank[t], by_label[t])
            arrival = np.logaddexp(arrival, new + emitted[labels])
    ending = np.logaddexp(by_label[-1], by_blank[-1])
    longer = [
        _Prefix((*of.labels, int(k)), by_blank[:, i], by_label[:, i],
                _log_difference(arrival[i], ending[i]))
        for i, k in enumerate(labels)
    ]  # fmt: skip
    return longer, ending.tolist()


def _log_difference(a: float, b: float) -> float:
    """log(eᵃ − eᵇ) for a ≥ b; rounding may have put b above."""
    share = float(np.exp(b - a)) if a > b else 1.0
    return a + math.log1p(-share) if share < 1 else -INF


# ------------------------------------------------------------------------ prefix beam search
def ctc_beam_search(
    log_probs: Any,
    lengths: ArrayLike | None = None,
    blank: int = 0,
    *,
    beam_width: int = 16,
    n_best: int = 1,
    language_model: LanguageModel | None = None,
    weight: float = 1.0,
    bonus: float = 0.0,
) -> list[list[Hypothesis]]:
    """The `n_best` labellings l of each row by log p(l|x) + weight · log p_LM(l) + bonus · |l|.

    A beam is a prefix with the sum over its paths, told apart by whether they end in a blank, so
    paths that merge into one labelling count together. `log_prob` is log p(l|x) alone; it leaves
    out the paths by prefixes that fell out of the beam, so `-ctc_loss` may be a little higher.

    Args:
        language_model: `model(state, label) -> (state, log-probabilities (C,) of the next label)`;
            the first call is `model(None, None)`. The entry of the blank is not used.

    Raises:
        ArgumentError: an option out of range. ShapeError: a language model of other classes.
        Else as `ctc_best_path`.

    Source: Graves and Jaitly (2014); Hannun et al. (2014).

    >>> [[found]] = ctc_beam_search(np.log([[[0.6, 0.4]], [[0.6, 0.4]]]))
    >>> found.symbols, round(float(np.exp(found.log_prob)), 2)
    ((1,), 0.64)
    """
    _check_widths(beam_width, n_best)
    if language_model is not None:
        function("ctc_beam_search", "language_model", language_model)
    model = _Scores(
        language_model,
        real("ctc_beam_search", "weight", weight, 0),
        real("ctc_beam_search", "bonus", bonus),
        blank,
    )
    found = []
    for x in checked_rows("ctc_beam_search", log_probs, lengths, blank):
        beams = _Beams(model, x.shape[1], blank)
        for emitted in x:
            beams.advance(emitted, beam_width)
        found.append(beams.best(n_best))
    return found


def _check_widths(beam_width: int, n_best: int) -> None:
    for name, value in (("beam_width", beam_width), ("n_best", n_best)):
        whole_number("ctc_beam_search", name, value)
    if n_best > beam_width:
        raise ArgumentError("ctc_beam_search", f"n_best <= beam_width {beam_width}", n_best)


@dataclass(frozen=True)
class _Scores:
    """What is added to the score for each label that a prefix may go on with."""

    model: LanguageModel | None
    weight: float
    bonus: float
    blank: int

    def after(self, state: Any, label: int | None, classes: int) -> tuple[Any, FloatArray]:
        """The model's next state and (C,) the additions."""
        if self.model is None:
            return None, np.full(classes, self.bonus)
        found: Any = self.model(state, label)
        if not isinstance(found, (tuple, list)) or len(found) != 2:
            wanted = "language_model to return (state, log-probabilities)"
            raise DTypeError("ctc_beam_search", wanted, type(found).__name__)
        state, log_probs = found[0], _on_host(found[1]).astype(np.float64)
        if log_probs.shape != (classes,):
            expected = f"log-probabilities of shape ({classes},) from language_model"
            raise ShapeError("ctc_beam_search", expected, log_probs.shape)
        log_probs[self.blank] = 0.0  # not used, so it may be anything
        if not (log_probs < INF).all():
            expected = "log-probabilities from language_model without NaN and +inf"
            raise DataError("ctc_beam_search", expected, "one of them")
        weighted = log_probs * self.weight if self.weight else np.zeros(classes)
        return state, weighted + self.bonus


class _Beams:
    """The prefixes kept, and for each: log p by its last symbol, model state, and additions."""

    def __init__(self, model: _Scores, classes: int, blank: int) -> None:
        self.model, self.classes, self.symbol = model, classes, blank
        self.prefixes: list[tuple[int, ...]] = [()]
        self.by_blank, self.by_label = np.zeros(1), np.full(1, -INF)
        self.added = np.zeros(1)  # to the score of each, so far
        state, ahead = model.after(None, None, classes)
        self.states, self.ahead = [state], ahead[None]

    def advance(self, emitted: FloatArray, width: int) -> None:
        """One step: each prefix stays as it is or goes on by a label; the best are kept."""
        either = np.logaddexp(self.by_blank, self.by_label)
        last = np.array([p[-1] if p else self.symbol for p in self.prefixes], dtype=np.int64)
        blank = either + emitted[self.symbol]
        label = np.where(last == self.symbol, -INF, self.by_label + emitted[last])
        longer = either[:, None] + emitted
        rows = np.arange(len(last))
        longer[rows, last] = self.by_blank + emitted[last]  # a repeat needs a blank between
        longer[:, self.symbol] = -INF
        self._join(longer, label)
        scores = np.concatenate(
            [np.logaddexp(blank, label) + self.added,
             (longer + self.added[:, None] + self.ahead).ravel()]
        )  # fmt: skip
        order = np.argsort(-scores, kind="stable")[:width]
        self._keep(order[scores[order] > -INF], blank, label, longer)

    def _join(self, longer: FloatArray, label: FloatArray) -> None:
        """A prefix that goes on to become another one that is kept adds its paths to that one."""
        places = {prefix: i for i, prefix in enumerate(self.prefixes)}
        for i, prefix in enumerate(self.prefixes):
            parent = places.get(prefix[:-1]) if prefix else None
            if parent is not None:
                label[i] = np.logaddexp(label[i], longer[parent, prefix[-1]])
                longer[parent, prefix[-1]] = -INF

    def _keep(
        self, order: IntArray, blank: FloatArray, label: FloatArray, longer: FloatArray
    ) -> None:
        count = len(self.prefixes)
        old = order < count
        parents, symbols = np.divmod(np.where(old, 0, order - count), self.classes)
        parents = np.where(old, order, parents)
        added = self.added[parents] + np.where(old, 0, self.ahead[parents, symbols])
        self.by_label = np.where(old, label[parents], longer[parents, symbols])
        self.by_blank = np.where(old, blank[parents], -INF)
        self.added = added
        kept = [
            self._entry(i, None if same else int(k))
            for i, same, k in zip(parents.tolist(), old.tolist(), symbols, strict=True)
        ]
        self.prefixes = [prefix for prefix, _, _ in kept]
        self.states = [state for _, state, _ in kept]
        self.ahead = np.array([ahead for _, _, ahead in kept]).reshape(-1, self.classes)

    def _entry(self, i: int, label: int | None) -> tuple[tuple[int, ...], Any, FloatArray]:
        if label is None:
            return self.prefixes[i], self.states[i], self.ahead[i]
        return (*self.prefixes[i], label), *self.model.after(self.states[i], label, self.classes)

    def best(self, count: int) -> list[Hypothesis]:
        """The best so far. Those of probability 0 are none."""
        log_probs = np.logaddexp(self.by_blank, self.by_label)
        scores = log_probs + self.added
        order = np.argsort(-scores, kind="stable")[:count]
        return [Hypothesis(self.prefixes[i], float(log_probs[i]), float(scores[i])) for i in order]


# --------------------------------------------------------------------------------- arguments
def checked_rows(
    called: str, log_probs: Any, lengths: ArrayLike | None, blank: int | None
) -> Iterator[FloatArray]:
    """(T_n, C) for each row, checked."""
    x = _on_host(log_probs)
    if x.ndim != 3 or not x.shape[2]:
        raise ShapeError(called, "log_probs of shape (T, N, C), C >= 1", x.shape)
    if x.dtype.kind != "f":
        raise DTypeError(called, "floating-point log_probs", x.dtype)
    if np.isnan(x).any() or (x == INF).any():
        raise DataError(called, "log_probs without NaN and +inf", "one of them")
    if x.max(initial=-INF) > ROUNDING:
        hint = "logits? log_softmax makes log-probabilities of them"
        raise DataError(called, "log_probs <= 0", x.max(), hint)
    if blank is not None and not 0 <= blank < x.shape[2]:
        raise IndexRangeError(called, f"blank in 0 … {x.shape[2] - 1}", blank)
    ends = _lengths(called, lengths, *x.shape[:2])
    return (x[:end, row].astype(np.float64) for row, end in enumerate(ends))


def _lengths(called: str, lengths: ArrayLike | None, steps: int, rows: int) -> list[int]:
    if lengths is None:
        return [steps] * rows
    given = _on_host(lengths)
    if given.shape != (rows,):
        raise ShapeError(called, f"lengths of shape ({rows},)", given.shape)
    if rows and given.dtype.kind not in "iu":
        raise DTypeError(called, "integer lengths", given.dtype)
    bad = np.flatnonzero((given < 0) | (given > steps))
    if len(bad):
        got = f"{given[bad[0]]} in row {bad[0]}"
        raise ArgumentError(called, f"lengths in 0 … {steps}", got)
    found: list[int] = given.tolist()
    return found


def _on_host(values: Any) -> NDArray[Any]:
    return values.detach().to("cpu").numpy() if isinstance(values, Tensor) else np.asarray(values)
