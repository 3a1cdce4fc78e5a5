"""Connectionist temporal classification: the loss of a labelling whose times are not known.

`ctc_loss` is one primitive with its own gradient, the posterior probability of each label at each
step. `ctc_loss_by_scan` is what it means: the forward recursion as a scan over tensors. Derivatives
of higher order come from there.

Legend: T steps, N rows, C classes, L the longest target, S = 2L + 1 states (see `ctc_lattice`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..backend import backend_of
from ..errors import ArgumentError, DTypeError, ShapeError
from ..graph import INTERPRETERS
from ..ops.call import bind
from ..ops.declare import general
from ..ops.elementwise import where
from ..ops.indexing import take_along_dim
from ..ops.reduce import logsumexp, mean, sum
from ..ops.shape import broadcast_to, cat, stack, unsqueeze
from ..scan import scan
from ..tensor import Tensor, as_tensor
from ..transforms import vjp
from .ctc_lattice import INF, Lattice, build_lattice, log_probability, occupancy
from .ctc_targets import read_targets, required_steps
from .reduction import check_reduction

__all__ = ["ctc_loss", "ctc_loss_by_scan"]


def ctc_loss(
    log_probs: Any,
    targets: Any,
    input_lengths: Any,
    target_lengths: Any,
    blank: int = 0,
    reduction: str = "mean",
    zero_infinity: bool = False,
    *,
    strict: bool = False,
) -> Any:
    """−log Σ_π Π_t p_t(π_t) over all paths π that spell the target: repeats merge, blanks go.

    Args:
        log_probs: (T, N, C) logarithms of probabilities, or (T, C) for one row. Nothing is assumed
            of their sum: the gradient is ∂/∂log_probs, whose rows add up to −1.
        targets: (N, L) padded with anything, or all rows one after the other, (Σ target_lengths,).
        input_lengths, target_lengths: (N,) integers in 0 … T and 0 … L.
        reduction: "mean" of loss / target length over the rows, "sum", or "none" for (N,).
        zero_infinity: a row that no path can spell has loss 0 in place of +inf.
        strict: such a row, if its input is too short, raises. (Its gradient is 0 in any case.)

    Raises:
        ArgumentError, IndexRangeError, ShapeError, DTypeError: targets or lengths that do not fit.

    Source: Graves et al. (2006), with the arguments of PyTorch's `ctc_loss`.

    >>> import tinygrad_rnn as tg
    >>> log_probs = tg.tensor([[[0.6, 0.4]], [[0.6, 0.4]]]).log()
    >>> round(float(tg.exp(-ctc_loss(log_probs, [[1]], [2], [1]))), 4)
    0.64
    """
    given = (targets, input_lengths, target_lengths, blank, reduction, zero_infinity, strict)
    return _loss("ctc_loss", _by_lattice, log_probs, *given)


def ctc_loss_by_scan(
    log_probs: Any,
    targets: Any,
    input_lengths: Any,
    target_lengths: Any,
    blank: int = 0,
    reduction: str = "mean",
    zero_infinity: bool = False,
    *,
    strict: bool = False,
) -> Any:
    """What `ctc_loss` means, as a scan that the tape differentiates: the same numbers, slowly."""
    given = (targets, input_lengths, target_lengths, blank, reduction, zero_infinity, strict)
    return _loss("ctc_loss_by_scan", _by_scan, log_probs, *given)


def _loss(
    called: str,
    losses_of: Callable[[Any, Lattice], Any],
    log_probs: Any,
    targets: Any,
    input_lengths: Any,
    target_lengths: Any,
    blank: int,
    reduction: str,
    zero_infinity: bool,
    strict: bool,
) -> Any:
    check_reduction(called, reduction)
    x = as_tensor(log_probs)
    if x.dtype.kind != "f":
        raise DTypeError(called, "floating-point log_probs", x.dtype.name)
    if x.ndim not in (2, 3):
        raise ShapeError(called, "log_probs of shape (T, N, C) or (T, C)", str(x.shape))
    single = x.ndim == 2
    x = unsqueeze(x, 1) if single else x
    read = read_targets(called, x.shape, targets, input_lengths, target_lengths, blank)
    if strict:
        _refuse_too_short(called, *read)
    dtype = np.promote_types(x.dtype, np.float32)
    losses = losses_of(x, build_lattice(*read, blank, x.backend, dtype))
    if zero_infinity:
        losses = where(losses == INF, 0.0, losses)
    return _reduced(called, losses, read[2], reduction, single)


def _refuse_too_short(called: str, targets: Any, input_lengths: Any, target_lengths: Any) -> None:
    needed = required_steps(targets, target_lengths)
    short = np.flatnonzero(needed > input_lengths)
    if len(short):
        row = int(short[0])
        raise ArgumentError(
            called, f"an input of at least {needed[row]} steps in row {row}, for a target of "
            f"{target_lengths[row]} labels with a blank between equal ones", input_lengths[row],
        )  # fmt: skip


def _reduced(called: str, losses: Any, lengths: Any, reduction: str, single: bool) -> Any:
    if reduction == "sum":
        return sum(losses)
    if reduction == "none":
        return losses[0] if single else losses
    if not len(lengths):
        raise ShapeError(called, "at least one row to take the mean of", "none")
    weight = 1 / np.maximum(lengths, 1).astype(losses.dtype)
    return mean(losses * as_tensor(weight, device=losses.device))


# ------------------------------------------------------------------------------- the primitive
def _forward(xp: Any, log_probs: Any, lattice: Lattice) -> Any:
    return (0 - log_probability(xp, log_probs, lattice)).astype(log_probs.dtype)


def _vjp(g: Any, log_probs: Any, lattice: Lattice) -> Any:
    if type(log_probs) is Tensor:
        return vjp(lambda x: _by_scan(x, lattice), log_probs)[1](g)[0]
    return -g[:, None] * _posterior(log_probs, lattice)


def _jvp(t: Any, log_probs: Any, lattice: Lattice) -> Any:
    if _may_be_differentiated(log_probs):
        one = Tensor(log_probs.backend.xp.ones(log_probs.shape[1], dtype=log_probs.dtype))
        return sum(t * _vjp(one, log_probs, lattice), (0, 2))
    return -sum(t * _posterior(log_probs, lattice), (0, 2))


def _posterior(log_probs: Any, lattice: Lattice) -> Any:
    """`occupancy` of an array, or of a tensor that nobody differentiates."""
    array = log_probs.array if type(log_probs) is Tensor else log_probs
    found = occupancy(backend_of(array).xp, array, lattice)
    return Tensor(found) if type(log_probs) is Tensor else found


def _may_be_differentiated(x: Any) -> bool:
    return type(x) is Tensor and (x.node is not None or type(x.array) in INTERPRETERS)


_ctc = general("ctc", _forward, _vjp, jvps=[_jvp], inputs="log_probs")


# ------------------------------------------------------------------------------ the definition
def _by_lattice(log_probs: Any, lattice: Lattice) -> Any:
    return bind(_ctc, (log_probs,), {"lattice": lattice})


def _by_scan(log_probs: Any, lattice: Lattice) -> Any:
    """The recursion of `alphas` in tensors, (N, S + 2); a row stays as it is after its end."""
    steps, rows, _ = log_probs.shape
    xp, dtype = log_probs.backend.xp, log_probs.dtype
    skip = Tensor(lattice.skip.T.astype(dtype))
    ends = Tensor(lattice.ends.T.astype(dtype))
    labels = broadcast_to(Tensor(lattice.classes.T), (steps, rows, len(lattice.classes)))
    lengths = Tensor(lattice.lengths)
    start = xp.full(ends.shape, -INF, dtype=dtype)
    start[:, 1] = 0
    unreached = Tensor(xp.full((rows, 2), -INF, dtype=dtype))

    def step(alpha: Any, x: Any) -> tuple[Any, Any]:
        t, emission = x
        arriving = stack([alpha[:, 2:], alpha[:, 1:-1], alpha[:, :-2] + skip])
        after = cat([unreached, logsumexp(arriving, 0) + emission], 1)
        return where(unsqueeze(t < lengths, 1), after, alpha), t

    xs = (Tensor(xp.arange(steps)), take_along_dim(log_probs, labels, 2))
    final, _ = scan(step, Tensor(start), xs, engine="loop")
    return 0 - logsumexp(final + ends, 1)
