"""Reductions: sums are linear, maxima choose, the rest is composed of them."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from ..checks import check_dim, check_dims, check_dtype, float16, float32, int64
from ..errors import ArgumentError, DTypeError, ShapeError
from ..graph import Primitive
from ..tensor import Tensor, method
from .call import bind, call
from .declare import general, linear, nondifferentiable
from .elementwise import INF, _softmax_weight, maximum, minimum, safe_sqrt, where
from .elementwise import abs as abs_
from .indexing import take_known
from .shape import cast, cat, expand, flip, permute, reshape, squeeze, unsqueeze

__all__ = [
    "all", "amax", "amin", "any", "argmax", "argmin", "cumsum", "logsumexp", "max", "mean", "min",
    "norm", "prod", "std", "sum", "var",
]  # fmt: skip

Dims = Any  # an axis, several, or None for all


class Extreme(NamedTuple):
    """The extreme values along an axis and where they are."""

    values: Any
    indices: Any


def _keep(value: Any, in_shape: tuple[int, ...], dims: tuple[int, ...]) -> Any:
    """A reduced value with the reduced axes back, as size 1."""
    return reshape(value, tuple(1 if i in dims else n for i, n in enumerate(in_shape)))


# ------------------------------------------------------------------------------------- sums
def _total_dtype(x: Any) -> Any:
    """Integers and bools are summed as int64."""
    return None if x.dtype.kind in "fc" else int64


_sum: Primitive = linear(
    "sum",
    lambda xp, x, dims, keepdim: x.sum(axis=dims, keepdims=keepdim, dtype=_total_dtype(x)),
    lambda g, in_shape, dims: expand(_keep(g, in_shape, dims), *in_shape),
)


@method("sum")
def sum(x: Any, dim: Dims = None, keepdim: bool = False, dtype: Any = None) -> Any:
    """Σ x over all axes, or over those named; with `dtype` converted to it before.

    >>> import tinygrad_rnn as tg
    >>> tg.ones(2, 3).sum(dim=1).tolist()
    [3.0, 3.0]
    """
    x = x if dtype is None else cast(x, check_dtype(dtype, "sum"))
    return call(_sum, x, {"dims": check_dims(dim, x.ndim, "sum"), "keepdim": keepdim})


def _count(x: Any, dims: tuple[int, ...], called: str) -> int:
    count: int = math.prod(x.shape[d] for d in dims)
    if count == 0:
        raise ShapeError(called, "at least one element", f"shape {x.shape}")
    return count


@method("mean")
def mean(x: Any, dim: Dims = None, keepdim: bool = False, dtype: Any = None) -> Any:
    """Σ x / n; of no elements it is refused."""
    x = x if dtype is None else cast(x, check_dtype(dtype, "mean"))
    dims = check_dims(dim, x.ndim, "mean")
    if x.dtype == float16:  # the sum of many may overflow where their mean does not
        return cast(mean(cast(x, float32), dims, keepdim), float16)
    total = call(_sum, x, {"dims": dims, "keepdim": keepdim})
    return total / float(_count(x, dims, "mean"))


@method("var")
def var(
    x: Any, dim: Dims = None, correction: float = 1, keepdim: bool = False, *,
    unbiased: bool | None = None,
) -> Any:  # fmt: skip
    """Σ (x − mean)² / (n − correction); 1, as in PyTorch, for the unbiased estimate."""
    correction = correction if unbiased is None else int(bool(unbiased))
    if not isinstance(correction, (int, float)):
        raise DTypeError("var", "correction as a number", type(correction).__name__)
    dims = check_dims(dim, x.ndim, "var")
    count = _count(x, dims, "var")
    if count <= correction:
        raise ArgumentError("var", f"more than {correction} elements", count, "correction=0")
    centred = x - mean(x, dims, keepdim=True)
    return sum(centred * centred, dims, keepdim) / float(count - correction)


@method("std")
def std(
    x: Any, dim: Dims = None, correction: float = 1, keepdim: bool = False, *,
    unbiased: bool | None = None,
) -> Any:  # fmt: skip
    """√var, with derivative 0 where the variance is 0."""
    return safe_sqrt(var(x, dim, correction, keepdim, unbiased=unbiased))


@method("norm")
def norm(x: Any, p: float = 2.0, dim: Dims = None, keepdim: bool = False) -> Any:
    """(Σ |x|ᵖ)^(1/p); p = inf is the largest magnitude. The derivative at 0 is 0."""
    if not isinstance(p, (int, float)) or not p > 0:
        raise ArgumentError("norm", "a number p > 0", f"p={p}")
    if p == INF:
        return amax(abs_(x), dim, keepdim)
    if p == 1:
        return sum(abs_(x), dim, keepdim)
    if p == 2:
        return safe_sqrt(sum(x * x, dim, keepdim))
    zero = x == 0
    total = sum(where(zero, 0.0, where(zero, 1.0, abs_(x)) ** p), dim, keepdim)
    nothing = total == 0
    return where(nothing, 0.0, where(nothing, 1.0, total) ** (1 / p))


_cumsum: Primitive = linear(
    "cumsum",
    lambda xp, x, dim: xp.cumsum(x, axis=dim, dtype=_total_dtype(x)),
    lambda g, dim: flip(call(_cumsum, flip(g, dim), {"dim": dim}), dim),
)


@method("cumsum")
def cumsum(x: Any, dim: int) -> Any:
    """Running sums along an axis."""
    return call(_cumsum, x, {"dim": check_dim(dim, x.ndim, "cumsum")}) if x.ndim else x


@method("prod")
def prod(x: Any, dim: Dims = None, keepdim: bool = False) -> Any:
    """Π x, as a tree of products: exact derivatives of every order, zeros or not."""
    dims = check_dims(dim, x.ndim, "prod")
    rest = [i for i in range(x.ndim) if i not in dims]
    shape = tuple(1 if i in dims else n for i, n in enumerate(x.shape))
    count = math.prod(x.shape[i] for i in dims)
    x = x if x.dtype.kind in "fc" else cast(x, int64)
    line = reshape(permute(x, (*dims, *rest)), (count, *(x.shape[i] for i in rest)))
    if count == 0:
        line = sum(line, 0, keepdim=True) + 1
    while line.shape[0] > 1:
        half = line.shape[0] // 2
        pairs = line[:half] * line[half : 2 * half]
        line = pairs if line.shape[0] % 2 == 0 else cat([pairs, line[2 * half :]])
    kept = shape if keepdim else tuple(x.shape[i] for i in rest)
    return reshape(line, kept)


# ----------------------------------------------------------------------------------- extremes
def _winners(out: Any, x: Any, dims: tuple[int, ...]) -> Any:
    """1/ties where x is the extreme, else 0. Ties are counted in float64: float16 overflows."""
    mask = x == _keep(out, x.shape, dims)
    ties = cast(cast(mask, "float64").sum(dims), "float64")
    return cast(cast(mask, "float64") / _keep(where(ties == 0, 1.0, ties), x.shape, dims), x.dtype)


def _extreme_vjp(g: Any, out: Any, x: Any, dims: tuple[int, ...]) -> Any:
    return _keep(g, x.shape, dims) * _winners(out, x, dims)


def _extreme_jvp(t: Any, out: Any, x: Any, dims: tuple[int, ...], keepdim: bool) -> Any:
    return sum(t * _winners(out, x, dims), dims, keepdim)


def _extreme_of(name: str, ufunc: Any) -> Any:
    """The forward function of x.max or x.min."""

    def forward(xp: Any, x: Any, dims: tuple[int, ...], keepdim: bool) -> Any:
        rows = type(x) is np.ndarray and x.flags.c_contiguous and dims == (x.ndim - 1,)
        if not rows or x.shape[-1] < 2 or x.size < 64 * x.shape[-1]:
            return getattr(x, name)(axis=dims, keepdims=keepdim)
        starts = np.arange(0, x.size, x.shape[-1])  # of many rows it takes half of the time
        shape = (*x.shape[:-1], 1) if keepdim else x.shape[:-1]
        return ufunc.reduceat(x.ravel(), starts).reshape(shape)

    return forward


_amax = general("amax", _extreme_of("max", np.maximum), _extreme_vjp, jvps=[_extreme_jvp])
_amin = general("amin", _extreme_of("min", np.minimum), _extreme_vjp, jvps=[_extreme_jvp])


def _extreme(primitive: Any, x: Any, dim: Dims, keepdim: bool, called: str) -> Any:
    dims = check_dims(dim, x.ndim, called)
    _count(x, dims, called)
    return bind(primitive, (x,), {"dims": dims, "keepdim": keepdim})


@method("amax")
def amax(x: Any, dim: Dims = None, keepdim: bool = False) -> Any:
    """The largest element; equal ones share the gradient."""
    return _extreme(_amax, x, dim, keepdim, "amax")


@method("amin")
def amin(x: Any, dim: Dims = None, keepdim: bool = False) -> Any:
    """The smallest element; equal ones share the gradient."""
    return _extreme(_amin, x, dim, keepdim, "amin")


_argmax = nondifferentiable("argmax", lambda xp, x, dim: x.argmax(axis=dim))
_argmin = nondifferentiable("argmin", lambda xp, x, dim: x.argmin(axis=dim))


def _arg(primitive: Any, x: Any, dim: int | None, keepdim: bool) -> Any:
    axis = None if dim is None else check_dim(dim, x.ndim, primitive.name)
    _count(x, check_dims(dim, x.ndim, primitive.name), primitive.name)
    found = bind(primitive, (x,), {"dim": axis if x.ndim else None})
    return unsqueeze(found, axis) if keepdim and axis is not None else found


@method("argmax")
def argmax(x: Any, dim: int | None = None, keepdim: bool = False) -> Any:
    """Where the largest element is (the first of equals)."""
    return _arg(_argmax, x, dim, keepdim)


@method("argmin")
def argmin(x: Any, dim: int | None = None, keepdim: bool = False) -> Any:
    """Where the smallest element is (the first of equals)."""
    return _arg(_argmin, x, dim, keepdim)


def _along(x: Any, dim: int, keepdim: bool, arg: Any, called: str) -> Extreme:
    _count(x, (check_dim(dim, x.ndim, called),) if x.ndim else (), called)
    indices = arg(x, dim, keepdim=True) if x.ndim else arg(x)
    values = take_known(x, dim, indices) if x.ndim else x
    if keepdim or not x.ndim:
        return Extreme(values, indices)
    return Extreme(squeeze(values, dim), squeeze(indices, dim))


@method("max")
def max(x: Any, dim: Any = None, keepdim: bool = False) -> Any:
    """The largest element; along `dim` also where it is (the first of equals takes the gradient).

    With a tensor in place of `dim` it is `maximum`.
    """
    if isinstance(dim, Tensor):
        return maximum(x, dim)
    if dim is None:
        return _extreme(_amax, x, None, keepdim, "max")
    return _along(x, dim, keepdim, argmax, "max")


@method("min")
def min(x: Any, dim: Any = None, keepdim: bool = False) -> Any:
    """The smallest element; along `dim` also where it is, as `max`."""
    if isinstance(dim, Tensor):
        return minimum(x, dim)
    if dim is None:
        return _extreme(_amin, x, None, keepdim, "min")
    return _along(x, dim, keepdim, argmin, "min")


# ---------------------------------------------------------------------------------- log-domain
def _logsumexp_forward(xp: Any, x: Any, dims: tuple[int, ...], keepdim: bool) -> Any:
    if x.dtype == float16:
        return _logsumexp_forward(xp, x.astype(float32), dims, keepdim).astype(float16)
    top = x.real.max(axis=dims, keepdims=True)
    top = xp.where(xp.isfinite(top), top, xp.zeros((), dtype=top.dtype))
    total = xp.exp(x - top).sum(axis=dims, keepdims=True)
    nothing = total == 0
    out = xp.where(nothing, -INF, xp.log(xp.where(nothing, 1, total)) + top).astype(x.dtype)
    return out if keepdim else out.reshape([n for i, n in enumerate(x.shape) if i not in dims])


def _logsumexp_vjp(g: Any, out: Any, x: Any, dims: tuple[int, ...]) -> Any:
    return _keep(g, x.shape, dims) * _softmax_weight(x, _keep(out, x.shape, dims))


def _logsumexp_jvp(t: Any, out: Any, x: Any, dims: tuple[int, ...], keepdim: bool) -> Any:
    return sum(t * _softmax_weight(x, _keep(out, x.shape, dims)), dims, keepdim)


_logsumexp = general(
    "logsumexp", _logsumexp_forward, _logsumexp_vjp, jvps=[_logsumexp_jvp], promote="float"
)


@method("logsumexp")
def logsumexp(x: Any, dim: Dims = None, keepdim: bool = False) -> Any:
    """log Σ eˣ without overflow; −inf where every element is −inf, with gradient 0.

    >>> import tinygrad_rnn as tg
    >>> float(tg.tensor([1000.0, 1000.0]).logsumexp(0)) - 1000
    0.69317626953125
    """
    dims = check_dims(dim, x.ndim, "logsumexp")
    _count(x, dims, "logsumexp")
    return bind(_logsumexp, (x,), {"dims": dims, "keepdim": keepdim})


# ----------------------------------------------------------------------------------- questions
_any = nondifferentiable("any", lambda xp, x, dims, keepdim: x.any(axis=dims, keepdims=keepdim))
_all = nondifferentiable("all", lambda xp, x, dims, keepdim: x.all(axis=dims, keepdims=keepdim))


@method("any")
def any(x: Any, dim: Dims = None, keepdim: bool = False) -> Any:
    """Whether some element is true."""
    return bind(_any, (x,), {"dims": check_dims(dim, x.ndim, "any"), "keepdim": keepdim})


@method("all")
def all(x: Any, dim: Dims = None, keepdim: bool = False) -> Any:
    """Whether every element is true."""
    return bind(_all, (x,), {"dims": check_dims(dim, x.ndim, "all"), "keepdim": keepdim})
