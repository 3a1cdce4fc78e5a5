"""Whether tensors agree, what a mask selects, and random choices."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..backend import backend_of, is_array, quiet
from ..checks import check_dim, int64
from ..create import generator, rand
from ..errors import ArgumentError, DTypeError, ShapeError
from ..ops.call import HINT
from ..ops.elementwise import abs as abs_
from ..ops.elementwise import isfinite, isnan, logical_and, logical_or, where
from ..ops.indexing import sort
from ..ops.reduce import Extreme
from ..ops.reduce import sum as sum_
from ..ops.shape import cast, expand, flatten, unsqueeze
from ..tensor import Tensor, as_tensor, method

__all__ = [
    "allclose", "bernoulli", "count_nonzero", "equal", "is_tensor", "isclose", "masked_fill",
    "masked_select", "median", "multinomial", "nonzero", "numel", "unique",
]  # fmt: skip


def _array(x: Any, called: str) -> Any:
    """The values of a tensor, or an array itself."""
    if isinstance(x, Tensor):
        return x.detach().array
    if not is_array(x):
        raise DTypeError(called, "a tensor or an array", type(x).__name__, HINT)
    return x


# ------------------------------------------------------------------------------------- agreement
@method("isclose")
def isclose(x: Any, y: Any, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> Any:
    """Where |x − y| ≤ atol + rtol · |y|; equal infinities are close."""
    x, y = (v if isinstance(v, Tensor) else _array(v, "isclose") for v in (x, y))
    with quiet():  # of inf − inf
        apart = abs_(x - y)
        within = logical_and(isfinite(apart), apart <= atol + rtol * abs_(y))
    close = logical_or(x == y, within)
    return logical_or(close, logical_and(isnan(x), isnan(y))) if equal_nan else close


@method("allclose")
def allclose(
    x: Any, y: Any, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False
) -> bool:
    """Whether all elements are close, as `isclose` has it.

    >>> import tinygrad_rnn as tg
    >>> tg.allclose(tg.ones(3), tg.ones(3) + 1e-7)
    True
    """
    return bool(isclose(x, y, rtol, atol, equal_nan).all())


@method("equal")
def equal(x: Any, y: Any) -> bool:
    """Whether shapes and all elements are the same."""
    return tuple(x.shape) == tuple(y.shape) and bool((x == y).all())


def is_tensor(x: object) -> bool:
    """Whether x is a Tensor."""
    return isinstance(x, Tensor)


@method("nelement")
def numel(x: Any) -> int:
    """The number of elements."""
    return int(np.prod(x.shape, dtype=np.int64))


# ------------------------------------------------------------------------------------------ masks
def _check_mask(mask: Any, called: str) -> None:
    kind = getattr(mask, "dtype", None)
    if kind is None or kind.kind != "b":
        raise DTypeError(called, "a bool mask", kind or type(mask).__name__, "a comparison is one")


@method("masked_fill")
def masked_fill(x: Any, mask: Any, value: Any) -> Any:
    """x with `value` where the mask, broadcast to x, is true; no gradient comes from there."""
    _check_mask(mask, "masked_fill")
    return where(_spread(mask, x, "masked_fill"), value, x)


@method("masked_select")
def masked_select(x: Any, mask: Any) -> Any:
    """The elements where the mask, broadcast to x, is true, as a vector."""
    _check_mask(mask, "masked_select")
    return x[_spread(mask, x, "masked_select")]


def _spread(mask: Any, x: Any, called: str) -> Any:
    shape = tuple(x.shape)
    if tuple(mask.shape) == shape:
        return mask
    try:
        return expand(mask, shape)
    except ShapeError:
        wanted = f"a mask that broadcasts to {shape}"
        raise ShapeError(called, wanted, str(tuple(mask.shape))) from None


@method("masked_fill_")
def _masked_fill_(self: Tensor, mask: Any, value: float) -> Tensor:
    _check_mask(mask, "masked_fill_")
    self[as_tensor(_spread(mask, self, "masked_fill_"))] = value
    return self


@method("clamp_")
def _clamp_(self: Tensor, min: Any = None, max: Any = None) -> Tensor:
    return self.copy_(self.detach().clip(min, max))


@method("nonzero")
def nonzero(x: Any, as_tuple: bool = False) -> Any:
    """The indices of the elements that are not 0: (count, ndim), or a vector for each axis.

    >>> import tinygrad_rnn as tg
    >>> tg.nonzero(tg.tensor([0, 5, 0, 7])).tolist()
    [[1], [3]]
    """
    array = _array(x, "nonzero")
    xp = backend_of(array).xp
    found = xp.nonzero(array) if array.ndim else xp.nonzero(array.reshape(1))[:0]
    if as_tuple:
        return tuple(Tensor(index) for index in found)
    count = int((array != 0).sum())
    return Tensor(xp.stack(found, 1) if found else xp.zeros((count, 0), dtype=int64))


@method("median")
def median(x: Any, dim: int | None = None, keepdim: bool = False) -> Any:
    """The middle element, the lower one of two; along `dim` also where it is. Of NaN it is NaN.

    >>> import tinygrad_rnn as tg
    >>> tg.median(tg.tensor([3.0, 1.0, 2.0, 9.0])).item()
    2.0
    """
    if dim is None:
        return median(flatten(x), 0)[0] if x.ndim else x
    axis = check_dim(dim, x.ndim, "median")
    if not x.ndim or not x.shape[axis]:
        raise ShapeError("median", "an axis with at least one element", f"shape {x.shape}")
    lead, ordered = (slice(None),) * axis, sort(x, axis)
    middle, last = (*lead, (x.shape[axis] - 1) // 2), (*lead, -1)  # where NaN is sorted to
    unknown = isnan(ordered.values[last])
    found = [where(unknown, part[last], part[middle]) for part in ordered]
    return Extreme(*(unsqueeze(part, axis) if keepdim else part for part in found))


@method("count_nonzero")
def count_nonzero(x: Any, dim: Any = None) -> Any:
    """How many elements are not 0."""
    return sum_((x if isinstance(x, Tensor) else _array(x, "count_nonzero")) != 0, dim)


@method("unique")
def unique(x: Any) -> Tensor:
    """The different elements, in ascending order."""
    array = _array(x, "unique")
    return Tensor(backend_of(array).xp.unique(array))


# -------------------------------------------------------------------------------- random choices
def bernoulli(p: Any) -> Tensor:
    """1 with the probability that stands in p, else 0."""
    chance = as_tensor(p)
    array = _array(chance, "bernoulli")
    if array.dtype.kind != "f" or not bool(((array >= 0) & (array <= 1)).all()):
        raise ArgumentError("bernoulli", "probabilities in [0, 1]", f"{array.dtype} {array.shape}")
    drawn: Tensor = cast(rand(*chance.shape, device=chance.device) < chance.detach(), chance.dtype)
    return drawn


def multinomial(weights: Any, num_samples: int, replacement: bool = False) -> Tensor:
    """Indices drawn with probabilities proportional to the weights of each row (…, n).

    Raises:
        ArgumentError: negative weights, rows of zeros, or fewer of them than are drawn without
        replacement.
    """
    chances = as_tensor(weights).detach()
    table = np.asarray(chances.cpu().numpy(), dtype=np.float64)
    if table.ndim not in (1, 2):
        raise ShapeError("multinomial", "weights of shape (n,) or (rows, n)", str(table.shape))
    rows = table.reshape(-1, table.shape[-1])
    if not (np.isfinite(rows).all() and (rows >= 0).all() and (rows.sum(1) > 0).all()):
        raise ArgumentError("multinomial", "weights >= 0, not all 0", "others")
    if type(num_samples) is not int or num_samples < 1:
        raise ArgumentError("multinomial", "num_samples >= 1", repr(num_samples))
    if not replacement and num_samples > (rows > 0).sum(1).min():
        raise ArgumentError("multinomial", "as many positive weights as are drawn", num_samples,
                            "replacement=True")  # fmt: skip
    drawn = [
        generator().choice(len(row), num_samples, replacement, row / row.sum()) for row in rows
    ]
    shape = (*table.shape[:-1], num_samples)
    found: Tensor = Tensor(np.array(drawn, dtype=int64).reshape(shape)).to(chances.device)
    return found
