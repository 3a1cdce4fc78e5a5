"""Losses of predicted classes, from logits, in the log domain.

Legend: C classes, N rows (whatever axes there are beside the classes).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..arguments import real
from ..checks import check_dim, is_index
from ..errors import ArgumentError, DTypeError, IndexRangeError, ShapeError
from ..graph import INTERPRETERS
from ..ops.elementwise import exp, isfinite, log, softplus, where
from ..ops.reduce import amax, sum
from ..ops.shape import movedim, reshape
from ..tensor import Tensor, as_tensor
from .reduction import beside, check_reduction, pair, reduced

__all__ = ["binary_cross_entropy_with_logits", "cross_entropy", "kl_div", "nll_loss"]

INF = float("inf")


# ------------------------------------------------------------------------------- many classes
def cross_entropy(
    input: Any,
    target: Any,
    weight: Any = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
    dim: int = -1,
) -> Any:
    """−log softmax(input)[target], from logits that may be as large as they like, or −inf.

    Args:
        input: logits with the classes on axis `dim`: the **last**, so (N, C) and (T, B, C) work as
            they are; `dim=1` for PyTorch's (N, C, d…).
        target: class numbers, shaped like input without its classes; or probabilities like input.
        weight: (C,) a factor for each class; the mean is divided by the weights of the targets.
        ignore_index: targets with this number count nothing.
        label_smoothing: ε, the share of the target that is spread evenly over all classes.

    Raises:
        IndexRangeError: a class that is none. ShapeError, DTypeError: shapes or types that do not
        fit. ArgumentError: every target ignored, so that there is no mean.

    >>> import tinygrad_rnn as tg
    >>> float(cross_entropy(tg.tensor([[0.0, 0.0]]), tg.tensor([1]))) == float(tg.tensor(2.0).log())
    True
    """
    called = "cross_entropy"
    check_reduction(called, reduction)
    _check_ignored(called, ignore_index)
    label_smoothing = real(called, "label_smoothing", label_smoothing, 0)
    if label_smoothing > 1:
        raise ArgumentError(called, "label_smoothing in [0, 1]", label_smoothing)
    logits, goal = _aligned(called, as_tensor(input), target, dim)
    weights = _class_weights(called, weight, logits)
    if goal.ndim == logits.ndim:
        losses = _against_probabilities(logits, goal, weights, label_smoothing)
        return reduced(called, losses, reduction)
    classes, shape = logits.shape[-1], goal.shape
    counted = _Counted(called, reshape(goal, -1), classes, ignore_index, weights)
    losses = _against_classes(reshape(logits, -1, classes), counted, weights, label_smoothing)
    return counted.reduced(losses, shape, reduction)


def nll_loss(
    input: Any,
    target: Any,
    weight: Any = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    dim: int = -1,
) -> Any:
    """−input[target], for an input of log-probabilities; arguments as of `cross_entropy`."""
    called = "nll_loss"
    check_reduction(called, reduction)
    _check_ignored(called, ignore_index)
    scores, goal = _aligned(called, as_tensor(input), target, dim)
    if goal.ndim == scores.ndim:
        raise DTypeError(called, "class numbers as target", goal.dtype.name, "use kl_div")
    weights = _class_weights(called, weight, scores)
    classes, shape = scores.shape[-1], goal.shape
    counted = _Counted(called, reshape(goal, -1), classes, ignore_index, weights)
    losses = -counted.pick(reshape(scores, -1, classes))
    return counted.reduced(counted.weighted(losses), shape, reduction)


def _aligned(called: str, input: Tensor, given: Any, dim: int) -> tuple[Tensor, Tensor]:
    """Input (and a target of probabilities) with the classes last."""
    if input.dtype.kind != "f":
        raise DTypeError(called, "floating-point logits", input.dtype.name)
    if not input.ndim:
        raise ShapeError(called, "an input with an axis of classes", "a 0-d tensor")
    axis, target = check_dim(dim, input.ndim, called), beside(called, given, input)
    rows = (*input.shape[:axis], *input.shape[axis + 1 :])
    if not input.shape[axis]:
        raise ShapeError(called, "at least one class", str(input.shape))
    if target.dtype.kind == "f":
        if target.shape != input.shape:
            raise ShapeError(called, f"probabilities of shape {input.shape}", str(target.shape))
        return movedim(input, axis, -1), movedim(target, axis, -1)
    if target.dtype.kind not in "iu":
        raise DTypeError(called, "class numbers or probabilities as target", target.dtype.name)
    if target.shape != rows:
        raise ShapeError(
            called, f"targets of shape {rows}, input {input.shape} without its axis {axis}",
            str(target.shape), _axis_hint(input, target),
        )  # fmt: skip
    return (input if axis == input.ndim - 1 else movedim(input, axis, -1)), target


def _axis_hint(input: Tensor, target: Tensor) -> str | None:
    for axis, size in enumerate(input.shape):
        if (*input.shape[:axis], *input.shape[axis + 1 :]) == target.shape:
            return f"dim={axis} says that the {size} classes are on axis {axis}"
    return None


def _class_weights(called: str, weight: Any, logits: Tensor) -> Tensor | None:
    if weight is None:
        return None
    given = beside(called, weight, logits)
    if given.shape != logits.shape[-1:]:
        raise ShapeError(
            called, f"weight of shape ({logits.shape[-1]},), one per class", given.shape
        )
    if type(given.array) not in INTERPRETERS and not bool((given >= 0).all()):
        raise ArgumentError(called, "weights >= 0", "a negative one")
    return given.to(logits.dtype)


def _check_ignored(called: str, ignore_index: Any) -> None:
    if not is_index(ignore_index):
        raise DTypeError(called, "ignore_index as an integer", repr(ignore_index))


class _Counted:
    """The targets of the rows: which count, and with which weight."""

    def __init__(
        self, called: str, target: Tensor, classes: int, ignore_index: int, weights: Tensor | None
    ) -> None:
        self.called = called
        self.kept: Tensor | None = None
        known = type(target.array) not in INTERPRETERS
        within = known and _are_classes(target, classes)
        if not within or 0 <= ignore_index < classes:
            ignored = target == ignore_index
            if known and not within:
                _check_classes(called, target, ignored, classes, ignore_index)
            if not within or bool(ignored.any()):
                self.kept = ~ignored
        self.target = target if self.kept is None else where(self.kept, target, 0)
        if not known:  # what is below 0 is no class counted from the end
            self.target = where(self.target < 0, classes, self.target)
        self.weight = None if weights is None else weights[self.target]

    def pick(self, rows: Tensor) -> Tensor:
        """The element of each row that its target names."""
        steps = Tensor(rows.backend.xp.arange(rows.shape[0]))
        return rows[steps, self.target]

    def weighted(self, losses: Tensor) -> Tensor:
        """The losses with the weights of their targets, 0 where ignored."""
        losses = losses if self.weight is None else losses * self.weight
        return losses if self.kept is None else where(self.kept, losses, 0.0)

    def reduced(self, losses: Tensor, shape: tuple[int, ...], reduction: str) -> Any:
        """Their mean over the weights that count, their sum, or themselves."""
        if reduction == "none":
            return reshape(losses, shape)
        if reduction == "mean" and losses.dtype == np.float16:  # too small a range to add up in
            return self.reduced(losses.to(np.float32), shape, reduction).to(np.float16)
        return sum(losses) / self._total(losses) if reduction == "mean" else sum(losses)

    def _total(self, losses: Tensor) -> Any:
        if self.weight is None and self.kept is None:
            total: Any = losses.shape[0]
        elif self.weight is None:
            total = sum(self.kept.to(losses.dtype))  # type: ignore[union-attr]
        else:
            total = sum(self.weighted((self.weight * 0 + 1).to(losses.dtype)))
        known = type(getattr(total, "array", None)) not in INTERPRETERS
        if known and float(total) == 0:
            raise ArgumentError(
                self.called, "a target that counts", "none (all ignored, of weight 0, or no rows)",
                'reduction="sum" gives 0',
            )  # fmt: skip
        return total


def _are_classes(target: Tensor, classes: int) -> bool:
    array = target.array
    return not target.numel() or bool((array.min() >= 0) & (array.max() < classes))


def _check_classes(
    called: str, target: Tensor, ignored: Tensor, classes: int, ignore_index: int
) -> None:
    """Targets that are no class must be ignored."""
    bad = ((target < 0) | (target >= classes)) & ~ignored
    if not bool(bad.any()):
        return
    at = int(bad.to("int8").argmax())
    raise IndexRangeError(
        called, f"classes in 0 … {classes - 1}, or ignore_index {ignore_index}",
        f"{int(target[at])} in row {at}",
    )  # fmt: skip


def _shifted(x: Tensor) -> tuple[Any, Any]:
    """z = x − max x along the last axis, and log Σ eᶻ, which is 0 for a row of −inf.

    +inf is all of its row; a row of −inf has no probability, and its loss is +inf.
    """
    fixed = x.detach()
    top = amax(fixed, -1, keepdim=True)
    if type(top.array) not in INTERPRETERS and bool(isfinite(top).all()):
        z = x - top
        return z, log(sum(exp(z), -1))
    limit = where(fixed == INF, 0.0, where(isfinite(fixed), -INF, fixed))  # a NaN stays
    z = where(isfinite(top), x - where(isfinite(top), top, 0.0), limit)
    total = sum(exp(z), -1)
    return z, log(where(total == 0, 1.0, total))


def _against_classes(
    logits: Tensor, counted: _Counted, weights: Tensor | None, smoothing: float
) -> Any:
    z, total = _shifted(logits)
    losses = counted.weighted(total - counted.pick(z))
    if not smoothing:
        return losses
    spread = _spread(z, total, weights)
    spread = spread if counted.kept is None else where(counted.kept, spread, 0.0)
    return (1 - smoothing) * losses + smoothing / logits.shape[-1] * spread


def _spread(z: Tensor, total: Tensor, weights: Tensor | None) -> Any:
    """Σ_c w_c (−log p_c)."""
    surprise = total.unsqueeze(-1) - z
    return sum(surprise if weights is None else _times(weights, surprise), -1)


def _times(p: Any, surprise: Tensor) -> Any:
    """p · surprise, which is 0 where p is 0, even if the surprise is infinite."""
    return p * where((p == 0) & (surprise == INF), 0.0, surprise)


def _against_probabilities(
    logits: Tensor, target: Tensor, weights: Tensor | None, smoothing: float
) -> Any:
    z, total = _shifted(logits)
    goal = target * (1 - smoothing) + smoothing / logits.shape[-1] if smoothing else target
    goal = goal if weights is None else goal * weights
    return sum(_times(goal, total.unsqueeze(-1) - z), -1)


# -------------------------------------------------------------------------------- two classes
def binary_cross_entropy_with_logits(
    input: Any, target: Any, weight: Any = None, reduction: str = "mean", pos_weight: Any = None
) -> Any:
    """−w [p₊ y log σ(x) + (1 − y) log(1 − σ(x))], y the probability of the positive class.

    Computed with −log σ(x) = softplus(−x), which no x overflows; a certain x may be ±inf.

    Args:
        weight, pos_weight: factors w and p₊ that broadcast to the shape of the input.

    >>> import tinygrad_rnn as tg
    >>> float(binary_cross_entropy_with_logits(tg.tensor([-1000.0]), tg.tensor([1.0])))
    1000.0
    """
    called = "binary_cross_entropy_with_logits"
    x, y = pair(called, input, target, reduction)
    y = y.to(x.dtype)
    for name, factor in (("weight", weight), ("pos_weight", pos_weight)):
        _check_factor(called, name, factor, x.shape)
    positive = _times(y, softplus(-x))
    positive = positive if pos_weight is None else positive * pos_weight
    losses = positive + _times(1 - y, softplus(x))
    return reduced(called, losses if weight is None else losses * weight, reduction)


def _check_factor(called: str, name: str, factor: Any, shape: tuple[int, ...]) -> None:
    """A factor that enlarges what it is a factor of is a mistake that trains."""
    found = () if factor is None else tuple(np.shape(factor))
    fits = len(found) <= len(shape) and all(
        size in (1, whole) for size, whole in zip(found[::-1], shape[::-1], strict=False)
    )
    if not fits:
        raise ShapeError(called, f"{name} that broadcasts to {shape}", str(found))


def kl_div(input: Any, target: Any, reduction: str = "mean", log_target: bool = False) -> Any:
    """p (log p − x) for log-probabilities x and target p, summed to KL(p‖eˣ); 0 where p is 0.

    Args:
        reduction: "mean" over all elements, "batchmean" (the sum over rows of the first axis; this
            is the divergence), "sum" or "none", as in PyTorch.
        log_target: the target is log p.
    """
    called = "kl_div"
    x, y = pair(called, input, target, "mean" if reduction == "batchmean" else reduction)
    p = exp(y) if log_target else y
    log_p = where(p == 0, 0.0, y) if log_target else log(where(p == 0, 1.0, p))
    losses = _times(p, log_p - x)
    if reduction != "batchmean":
        return reduced(called, losses, reduction)
    if not x.ndim or not x.shape[0]:
        raise ShapeError(called, 'rows on the first axis for "batchmean"', str(x.shape))
    return sum(losses) * (1 / x.shape[0])
