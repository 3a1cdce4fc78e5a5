"""Products and parts of matrices, and running products."""

from __future__ import annotations

from typing import Any

from ..backend import backend_of
from ..checks import check_dim, int64, is_index
from ..errors import DTypeError, ShapeError
from ..ops.elementwise import where
from ..ops.indexing import take_at
from ..ops.linalg import matmul
from ..ops.reduce import sum as sum_
from ..ops.shape import cast, cat, expand, permute
from ..tensor import Tensor, method

__all__ = ["bmm", "cumprod", "diag", "diagonal", "mm", "mv", "t", "trace", "tril", "triu"]


def _ranks(called: str, x: Any, y: Any, ranks: tuple[int, int], words: str) -> Any:
    if (x.ndim, y.ndim) != ranks:
        raise ShapeError(called, words, f"shapes {tuple(x.shape)} and {tuple(y.shape)}", "use @")
    return matmul(x, y)


@method("mm")
def mm(x: Any, y: Any) -> Any:
    """The product of two matrices."""
    return _ranks("mm", x, y, (2, 2), "two matrices")


@method("bmm")
def bmm(x: Any, y: Any) -> Any:
    """The products of two batches of matrices, (B, n, m) and (B, m, p)."""
    if x.ndim == 3 == y.ndim and x.shape[0] != y.shape[0]:
        raise ShapeError("bmm", "batches of one size", f"{x.shape[0]} and {y.shape[0]}")
    return _ranks("bmm", x, y, (3, 3), "two batches of matrices")


@method("mv")
def mv(x: Any, y: Any) -> Any:
    """The product of a matrix and a vector."""
    return _ranks("mv", x, y, (2, 1), "a matrix and a vector")


@method("t")
def t(x: Any) -> Any:
    """The transpose of a matrix; a vector as it is."""
    if x.ndim > 2:
        raise ShapeError("t", "at most two axes", f"shape {tuple(x.shape)}", "use .mT")
    return permute(x, tuple(range(x.ndim))[::-1])


# ------------------------------------------------------------------------------- parts of a matrix
def _below(x: Any, called: str) -> tuple[Any, Any]:
    """Row and column numbers of the last two axes, where x is."""
    if x.ndim < 2:
        raise ShapeError(called, "at least two axes", f"shape {tuple(x.shape)}")
    xp = (x.backend if isinstance(x, Tensor) else backend_of(x)).xp
    return xp.arange(x.shape[-2])[:, None], xp.arange(x.shape[-1])


def _kept(x: Any, mask: Any) -> Any:
    return where(Tensor(mask) if isinstance(x, Tensor) else mask, x, 0)


@method("tril")
def tril(x: Any, diagonal: int = 0) -> Any:
    """x with zeros above a diagonal of its last two axes (0 the main one, 1 the next above).

    >>> import tinygrad_rnn as tg
    >>> tg.tril(tg.ones(2, 2)).tolist()
    [[1.0, 0.0], [1.0, 1.0]]
    """
    rows, columns = _below(x, "tril")
    return _kept(x, columns - rows <= _offset(diagonal, "tril"))


@method("triu")
def triu(x: Any, diagonal: int = 0) -> Any:
    """x with zeros below a diagonal of its last two axes."""
    rows, columns = _below(x, "triu")
    return _kept(x, columns - rows >= _offset(diagonal, "triu"))


def _offset(value: Any, called: str) -> int:
    if not is_index(value):
        raise DTypeError(called, "the number of a diagonal", repr(value))
    return int(value)


@method("diagonal")
def diagonal(x: Any, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Any:
    """The diagonal of two axes, as a new last axis."""
    if x.ndim < 2:
        raise ShapeError("diagonal", "at least two axes", f"shape {tuple(x.shape)}")
    a, b = check_dim(dim1, x.ndim, "diagonal"), check_dim(dim2, x.ndim, "diagonal")
    if a == b:
        raise ShapeError("diagonal", "two different axes", f"{dim1} and {dim2}")
    rest = [d for d in range(x.ndim) if d not in (a, b)]
    first = permute(x, [a, b, *rest])
    offset = _offset(offset, "diagonal")
    down, right = max(0, -offset), max(0, offset)
    count = max(0, min(x.shape[a] - down, x.shape[b] - right))
    xp = (x.backend if isinstance(x, Tensor) else backend_of(x)).xp
    along = xp.arange(count)
    found = take_at(first, (Tensor(along + down), Tensor(along + right)))
    return permute(found, [*range(1, found.ndim), 0])


@method("diag")
def diag(x: Any, diagonal: int = 0) -> Any:
    """The diagonal of a matrix, or the matrix that has a vector on its diagonal."""
    offset = _offset(diagonal, "diag")
    if x.ndim == 2:
        return _diagonal(x, offset)
    if x.ndim != 1:
        raise ShapeError("diag", "a vector or a matrix", f"shape {tuple(x.shape)}")
    size = x.shape[0] + abs(offset)
    xp = (x.backend if isinstance(x, Tensor) else backend_of(x)).xp
    rows, columns = xp.arange(size)[:, None], xp.arange(size)
    first = max(0, offset)  # the column of x[0]
    within = xp.clip(columns - first, 0, max(0, x.shape[0] - 1))
    spread = take_at(x, (Tensor(within),)) if x.shape[0] else expand(sum_(x), size)
    return _kept(spread, columns - rows == offset)


_diagonal = diagonal  # the parameters of its neighbours bear this name


@method("trace")
def trace(x: Any) -> Any:
    """The sum of the diagonal of a matrix."""
    if x.ndim != 2:
        raise ShapeError("trace", "a matrix", f"shape {tuple(x.shape)}")
    return sum_(diagonal(x))


# ------------------------------------------------------------------------------- running products
@method("cumprod")
def cumprod(x: Any, dim: int) -> Any:
    """Running products along an axis, by doubling: exact derivatives, zeros or not.

    >>> import tinygrad_rnn as tg
    >>> tg.cumprod(tg.tensor([2.0, 3.0, 4.0]), 0).tolist()
    [2.0, 6.0, 24.0]
    """
    axis = check_dim(dim, x.ndim, "cumprod")
    x = x if x.dtype.kind in "fc" else cast(x, int64)
    lead, reach = (slice(None),) * axis, 1
    while x.ndim and reach < x.shape[axis]:
        head, tail = x[(*lead, slice(reach))], x[(*lead, slice(reach, None))]
        x = cat([head, tail * x[(*lead, slice(-reach))]], axis)
        reach *= 2
    return x
