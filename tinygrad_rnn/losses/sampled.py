"""Losses over many classes that look at a few: sampled softmax and its relatives.

The score of class k is s_k = w_k·h + b_k. Only the rows w_k of targets and samples are read, and
only they get a gradient, so a step costs as much as it looks at, whatever V is.

Legend: N rows, H hidden size, V classes, S samples (in all, or of a row), K rows in use, Q the
sampler's distribution.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..arguments import instance, real
from ..errors import ArgumentError, DTypeError, IndexRangeError, ShapeError
from ..graph import INTERPRETERS, no_grad
from ..ops.elementwise import exp, softplus, square, where
from ..ops.linalg import linear, matmul
from ..ops.reduce import logsumexp, sum
from ..ops.shape import cat
from ..tensor import Tensor, as_tensor
from .classification import cross_entropy
from .reduction import check_reduction, reduced
from .samplers import Sampler

__all__ = [
    "Candidates", "METHODS", "draw_candidates", "importance_weights", "sampled_loss",
    "self_normalized_cross_entropy", "target_loss",
]  # fmt: skip

METHODS = ("softmax", "importance", "nce")
Integers = NDArray[np.int64]


class Candidates(NamedTuple):
    """What one step looks at: `ids` (K,) distinct classes, and in them the targets and samples.

    For a cost in proportion through an optimiser too, make the rows a leaf of their own:

        used = draw_candidates(sampler, target, 100)
        rows = used.rows(weight).requires_grad_()
        loss = sampled_loss(hidden, rows, None, used)
        loss.backward()
        with no_grad(): used.write(weight, rows - 0.1 * rows.grad)
    """

    ids: Integers
    target: Integers  # (N,) places in ids
    samples: Integers  # (S,) places in ids, or (N, S) if every row has its own
    log_expected_target: Any  # (N,) log(S·Q)
    log_expected: Any  # like samples

    def rows(self, table: Tensor) -> Any:
        """The rows of a parameter (V, …) that are in use, apart from it: (K, …)."""
        return table.detach()[as_tensor(self.ids, device=table.device)]

    def write(self, table: Tensor, rows: Any) -> None:
        """Put rows back, in place; the others are not touched."""
        with no_grad():
            table[as_tensor(self.ids, device=table.device)] = as_tensor(rows).detach()


def draw_candidates(
    sampler: Sampler, target: Any, count: int, *, shared: bool = True
) -> Candidates:
    """Draw S classes beside the targets (N,): the same for all rows, or S for every row.

    Shared samples are one matrix product, so hundreds are cheap. A few, such as the 25 of Mnih
    and Teh (2012), are too much alike for a whole batch: give every row its own.

    Raises:
        IndexRangeError: a target that is no class of the sampler. DTypeError, ShapeError.
    """
    instance("draw_candidates", "sampler", sampler, Sampler)
    goal = _classes("draw_candidates", target, sampler.classes)
    drawn = sampler.sample(count) if shared else sampler.sample_rows(len(goal), count)
    ids, places = np.unique(np.concatenate([goal, drawn.ravel()]), return_inverse=True)
    return Candidates(
        ids, places[: len(goal)], places[len(goal) :].reshape(drawn.shape),
        sampler.log_expected(goal, count), sampler.log_expected(drawn, count),
    )  # fmt: skip


def sampled_loss(
    hidden: Any,
    weight: Any,
    bias: Any,
    used: Candidates,
    method: str = "softmax",
    reduction: str = "mean",
) -> Any:
    """The loss of hidden states (N, H) against the targets of `used`, estimated from its samples.

    Args:
        weight, bias: (V, H) and (V,) or None; or the rows in use alone, (K, H) and (K,).
        method: with s′_k = s_k − log(S·Q_k),
            "softmax": −log e^{s_t}/(e^{s_t} + Σ_{k≠t} e^{s′_k}), samples that hit the target
            masked: the sum in brackets is Z on average (sampled softmax; Jean et al. 2015);
            "importance": log Σ_k e^{s′_k} − s_t, whose gradient is the self-normalised importance
            estimate (Bengio, Senécal 2003; with an `AdaptiveSampler`, 2008);
            "nce": −log σ(s′_t) − Σ_k log(1 − σ(s′_k)), the target told from noise, with Z = 1
            learnt (Gutmann, Hyvärinen 2010).

    Returns:
        For "softmax" and "importance" an estimate of the cross-entropy, whose bias, like that of
        its gradient, falls as 1/S.

    Raises:
        ArgumentError: no such method. ShapeError: shapes that do not fit.

    >>> import tinygrad_rnn as tg
    >>> used = draw_candidates(Sampler([1.0] * 8), [3, 5], 4)
    >>> sampled_loss(tg.ones(2, 6), tg.zeros(8, 6), None, used, reduction="none").shape
    (2,)
    """
    if method not in METHODS:
        raise ArgumentError("sampled_loss", f"method out of {METHODS}", repr(method))
    check_reduction("sampled_loss", reduction)
    instance("sampled_loss", "used", used, Candidates, "draw_candidates makes them")
    of_target, of_samples = _scores(as_tensor(hidden), as_tensor(weight), bias, used)
    corrected = of_samples - _beside(used.log_expected, of_samples)
    if method == "nce":
        losses = softplus(_beside(used.log_expected_target, of_target) - of_target)
        return reduced("sampled_loss", losses + sum(softplus(corrected), -1), reduction)
    if method == "softmax":
        hits = _beside(used.samples, of_target) == _beside(used.target, of_target)[:, None]
        corrected = cat([of_target[:, None], where(hits, float("-inf"), corrected)], -1)
    return reduced("sampled_loss", logsumexp(corrected, -1) - of_target, reduction)


def target_loss(
    hidden: Any, weight: Any, bias: Any, target: Any, vocabulary: Any, reduction: str = "mean"
) -> Any:
    """Target sampling (Jean et al. 2015): the softmax over V′ alone, Q uniform on it, so that the
    correction is the same for all and cancels. V′ comes from `target_partitions`.

    Raises:
        ArgumentError: a target that is not in V′.
    """
    classes = as_tensor(weight).shape[0]
    goal = _classes("target_loss", target, classes)
    subset = np.unique(_classes("target_loss", vocabulary, classes))
    places = np.searchsorted(subset, goal)
    missing = np.flatnonzero(subset[np.minimum(places, len(subset) - 1)] != goal)
    if missing.size:
        got = f"{goal[missing[0]]} in row {missing[0]}"
        raise ArgumentError("target_loss", "targets within the vocabulary given", got)
    where_ = as_tensor(subset, device=as_tensor(weight).device)
    rows = as_tensor(weight)[where_]
    logits = linear(hidden, rows, None if bias is None else as_tensor(bias)[where_])
    return cross_entropy(logits, _beside(places, logits), reduction=reduction)


def self_normalized_cross_entropy(
    logits: Any, target: Any, alpha: float = 0.1, reduction: str = "mean"
) -> Any:
    """−log softmax(s)_t + α log²Z: once Z ≈ 1, s_t alone is log p, and no sum is needed (Devlin et
    al. 2014).

    Raises:
        ArgumentError: α below 0. IndexRangeError: a target that is no class; none is ignored.
    """
    called = "self_normalized_cross_entropy"
    real(called, "alpha", alpha, 0)
    goal = as_tensor(target)
    known = type(goal.array) not in INTERPRETERS and goal.numel()
    if known and (least := goal.min().item()) < 0:  # of an ignored row log²Z would count
        raise IndexRangeError(called, f"classes in 0 … {as_tensor(logits).shape[-1] - 1}", least)
    losses = cross_entropy(logits, target, reduction="none")
    total = losses + alpha * square(logsumexp(logits, -1))
    return reduced(called, total, reduction)


def importance_weights(hidden: Any, weight: Any, bias: Any, used: Candidates) -> Any:
    """How much the model makes of each sample, of a total of 1: like `samples`; what adapts Q."""
    with no_grad():
        _, scores = _scores(as_tensor(hidden), as_tensor(weight), bias, used)
        corrected = scores - _beside(used.log_expected, scores)
        share = exp(corrected - logsumexp(corrected, -1, keepdim=True)) * (1 / len(used.target))
        return share if used.samples.ndim == 2 else share.sum(0)


# ------------------------------------------------------------------------------------- scores
def _scores(hidden: Tensor, weight: Tensor, bias: Any, used: Candidates) -> tuple[Any, Any]:
    """s_t (N,) and s_k (N, S), from the rows in use."""
    if hidden.ndim != 2 or hidden.shape[0] != len(used.target):
        raise ShapeError("sampled_loss", f"hidden ({len(used.target)}, H)", str(hidden.shape))
    if weight.ndim != 2 or weight.shape[1] != hidden.shape[1]:
        raise ShapeError("sampled_loss", f"weight (…, {hidden.shape[1]})", str(weight.shape))
    rows = _in_use(weight, used)
    offsets = None if bias is None else _in_use(as_tensor(bias), used)
    if offsets is not None and offsets.ndim != 1:
        raise ShapeError("sampled_loss", "a bias (V,)", str(as_tensor(bias).shape))
    target, samples = (as_tensor(p, device=weight.device) for p in (used.target, used.samples))
    of_target = sum(hidden * rows[target], -1)
    if samples.ndim == 1:
        of_samples = linear(hidden, rows[samples])
    else:
        of_samples = matmul(rows[samples], hidden[:, :, None])[:, :, 0]
    if offsets is None:
        return of_target, of_samples
    return of_target + offsets[target], of_samples + offsets[samples]


def _in_use(table: Tensor, used: Candidates) -> Any:
    count = len(used.ids)
    if table.shape[0] == count:
        return table
    if table.shape[0] <= used.ids[-1]:
        raise ShapeError("sampled_loss", f"{count} rows, or those of all classes", table.shape)
    return table[as_tensor(used.ids, device=table.device)]


def _beside(values: Any, like: Tensor) -> Tensor:
    tensor = as_tensor(values, device=like.device)
    return tensor.to(like.dtype) if tensor.dtype.kind == "f" else tensor


def _classes(called: str, target: Any, count: int) -> Integers:
    held = as_tensor(target)
    if held.dtype.kind not in "iu":
        raise DTypeError(called, "integer classes", held.dtype.name)
    if held.ndim != 1 or not held.shape[0]:
        raise ShapeError(called, "classes of shape (N,), N >= 1", str(held.shape))
    found = held.detach().to("cpu").numpy().astype(np.int64)
    if found.min() < 0 or found.max() >= count:
        bad = found[(found < 0) | (found >= count)][0]
        raise IndexRangeError(called, f"classes in 0 … {count - 1}", int(bad))
    return found
