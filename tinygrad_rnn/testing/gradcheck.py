"""Gradient checks by random projection, and in full.

For random u and v the number vᵀJu is computed by reverse mode as (Jᵀv)ᵀu, by forward mode as
vᵀ(Ju), and without autodiff (see `numeric`). They must agree on the scale of their *un-cancelled*
sums, Σ|uᵢ(Jᵀv)ᵢ| and Σ|vⱼ(Ju)ⱼ|: a scale multiplied by the number of elements would let a gradient
of zeros pass once there are enough of them. No Jacobian is built but by `check_full`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import ArgumentError, GradientCheckError
from ..forward import jvp
from ..transforms import vjp
from .numeric import COMPLEX_STEP, Array, Estimate, Numbers, central, complex_step

__all__ = ["check_full", "check_grads", "check_jvp", "check_vjp"]

MODES = ("forward", "reverse")
LARGEST_JACOBIAN = 10**6  # elements that check_full may hold
FACTOR = -(3.0**0.5)  # of its basis vectors: a rule that is not linear may be right for ones alone


@dataclass(frozen=True)
class _Options:
    """How a check is made."""

    called: str
    modes: Sequence[str]
    method: str
    rtol: float
    step: float
    directions: int
    seed: int

    def estimate(self, numbers: Numbers, k: int, direction: Array) -> Estimate:
        if self.method == "complex":
            return complex_step(numbers, k, direction, COMPLEX_STEP)
        return central(numbers, k, direction, self.step)


def check_grads(
    fn: Callable[..., Any],
    args: Sequence[Any],
    order: int = 2,
    modes: Sequence[str] = MODES,
    *,
    method: str = "differences",
    rtol: float = 1e-9,
    step: float = 1e-3,
    directions: int = 8,
    seed: int = 0,
) -> None:
    """Check the derivatives of fn(*args), in float64, up to `order`, in the modes named.

    Args:
        fn: any function of (trees of) tensors; integers and bools are held, not varied.
        modes: "forward", "reverse" or both; at order 2 each is applied to each.
        method: "differences", or "complex" for the first order of a function that is analytic and
            uses nothing but its arguments: it is called with raw complex arrays.
        rtol: agreement on the scale of the un-cancelled sum.
        step: of the stencil, along directions of length 1.

    Raises:
        GradientCheckError: a derivative is wrong, has another shape or dtype than its argument,
        shares memory with it or with the cotangent, or writes to either.

    >>> import tinygrad_rnn as tg
    >>> check_grads(lambda x, y: tg.tanh(x * y), (tg.randn(3), tg.randn(2, 3)))
    """
    options = _Options("check_grads", modes, method, rtol, step, directions, seed)
    _check_options(options, order)
    _check_order(Numbers(fn, args, options.called), options, order)


def check_vjp(fn: Callable[..., Any], args: Sequence[Any], **options: Any) -> None:
    """Check reverse mode alone, first order; options as for `check_grads`."""
    check_grads(fn, args, 1, ("reverse",), **options)


def check_jvp(fn: Callable[..., Any], args: Sequence[Any], **options: Any) -> None:
    """Check forward mode alone, first order; options as for `check_grads`."""
    check_grads(fn, args, 1, ("forward",), **options)


def _check_options(options: _Options, order: int) -> None:
    if order not in (1, 2, 3):
        raise ArgumentError(options.called, "order 1, 2 or 3", repr(order))
    if not options.modes or set(options.modes) - set(MODES):
        raise ArgumentError(options.called, f"modes out of {MODES}", repr(options.modes))
    if options.method not in ("differences", "complex"):
        raise ArgumentError(
            options.called, 'method "differences" or "complex"', repr(options.method)
        )
    for name in ("rtol", "step", "directions"):
        if not getattr(options, name) > 0:
            raise ArgumentError(options.called, f"{name} > 0", repr(getattr(options, name)))


def _check_order(numbers: Numbers, options: _Options, order: int) -> None:
    rng = np.random.default_rng(options.seed)
    for _ in range(options.directions):
        _check_projection(numbers, options, rng)
    if order == 1:
        return
    below = _Options(**{**vars(options), "method": "differences"})
    for mode in options.modes:
        _check_order(_derived(numbers, mode, rng, options.called), below, order - 1)


def _derived(numbers: Numbers, mode: str, rng: np.random.Generator, called: str) -> Numbers:
    """(x, v) ↦ Jᵀv or (x, u) ↦ Ju: the function whose derivatives are of one order more."""
    count = len(numbers.point)

    def pulled(*values: Any) -> Any:
        return vjp(numbers, *values[:count])[1](tuple(values[count:]))

    def pushed(*values: Any) -> Any:
        return jvp(numbers, values[:count], values[count:])[1]

    if mode == "forward":
        extra = [_signed(rng, x.shape) for x in numbers.point]
    else:
        extra = [_signed(rng, y.shape) for y in numbers.at(numbers.point)]
    fn = pushed if mode == "forward" else pulled
    made = Numbers(fn, numbers.tensors([*numbers.point, *extra]), f"{called} ({mode} mode of)")
    made.names = [*numbers.names, *(f"direction {i}" for i in range(len(extra)))]
    return made


def _signed(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Magnitudes in [½, 1½] with random signs: no element is too small to be seen."""
    return rng.choice([-1.0, 1.0], shape) * rng.uniform(0.5, 1.5, shape)


# ------------------------------------------------------------------------------ one projection
def _check_projection(numbers: Numbers, options: _Options, rng: np.random.Generator) -> None:
    """One v for all outputs, and for each argument one u."""
    v = [_signed(rng, y.shape) for y in numbers.at(numbers.point)]
    pulled = _reverse(numbers, v) if "reverse" in options.modes else None
    for k, x in enumerate(numbers.point):
        u = _signed(rng, x.shape)
        u = u / max(float(np.linalg.norm(u)), 1e-300)
        estimate = options.estimate(numbers, k, u)
        pushed = _forward(numbers, k, u) if "forward" in options.modes else None
        if pulled is not None:
            _compare(numbers, options, k, "reverse", np.sum(u * pulled[k]), estimate, v,
                     np.sum(np.abs(u * pulled[k])))  # fmt: skip
        if pushed is not None:
            scale = _size(v, pushed)
            _compare(numbers, options, k, "forward", _dot(v, pushed), estimate, v, scale)


def _pairs(v: Sequence[Array], w: Sequence[Array]) -> Iterator[tuple[Array, Array]]:
    return zip(v, w, strict=True)


def _dot(v: Sequence[Array], w: Sequence[Array]) -> float:
    return float(sum(np.sum(a * b) for a, b in _pairs(v, w)))


def _size(v: Sequence[Array], w: Sequence[Array]) -> float:
    return float(sum(np.sum(np.abs(a * b)) for a, b in _pairs(v, w)))


def _compare(
    numbers: Numbers,
    options: _Options,
    k: int,
    mode: str,
    got: float,
    estimate: Estimate,
    v: Sequence[Array],
    scale: float,
) -> None:
    expected, uncancelled = _dot(v, estimate.values), _size(v, estimate.values)
    doubt = float(np.linalg.norm([np.linalg.norm(a * d) for a, d in _pairs(v, estimate.doubts)]))
    # written so that NaN, of either, does not pass
    if not abs(got - expected) <= options.rtol * max(scale, uncancelled) + doubt:
        raise GradientCheckError(
            f"{options.called}: {mode} mode, {numbers.names[k]} {numbers.point[k].shape}",
            f"a derivative of {expected:.12g} along a random direction",
            f"{got:.12g}",
            "the function has a kink near these arguments" if estimate.rough else None,
        )


# ------------------------------------------------------- the two modes, and what they must leave
def _reverse(numbers: Numbers, v: Sequence[Array]) -> list[Array]:
    """Jᵀv, after checking that it is well-behaved."""
    point, cotangents = [x.copy() for x in numbers.point], [c.copy() for c in v]
    _, pullback = vjp(numbers, *numbers.tensors(point))
    found = pullback(tuple(numbers.tensors(cotangents)))
    arrays = _arrays(numbers, "reverse", found, numbers.point, numbers.names)
    kept = [a.copy() for a in arrays]
    second = pullback(tuple(numbers.tensors(cotangents)))
    again = [numbers.backend.to_numpy(g.array) for g in second]
    _demand("reverse", "the same bits from a second backward", _same(kept, again))
    _demand("reverse", "arguments that are not written to", _same(point, numbers.point))
    _demand("reverse", "cotangents that are not written to", _same(cotangents, v))
    others = [*point, *cotangents]
    for i, a in enumerate(arrays):
        shared = any(np.may_share_memory(a, b) for b in [*others, *arrays[:i], *again])
        _demand("reverse", f"a gradient of {numbers.names[i]} with memory of its own", not shared)
    zero = pullback(tuple(numbers.tensors([np.zeros_like(c) for c in v])))
    _demand("reverse", "zeros for a cotangent of zeros", _all_zero(numbers, zero))
    return kept


def _forward(numbers: Numbers, k: int, u: Array) -> list[Array]:
    """Ju with u in argument k, after checking that it is well-behaved."""
    point = [x.copy() for x in numbers.point]
    us = [u.copy() if i == k else np.zeros_like(x) for i, x in enumerate(point)]
    out, found = jvp(numbers, numbers.tensors(point), numbers.tensors(us))
    values = [numbers.backend.to_numpy(y.array) for y in out]
    arrays = _arrays(numbers, "forward", found, values, [f"output {i}" for i in range(len(values))])
    _demand("forward", "arguments that are not written to", _same(point, numbers.point))
    _demand("forward", "tangents that are not written to", _same([us[k]], [u]))
    zero = jvp(numbers, numbers.tensors(point), numbers.tensors([0 * w for w in us]))[1]
    _demand("forward", "zeros for a tangent of zeros", _all_zero(numbers, zero))
    return arrays


def _arrays(
    numbers: Numbers, mode: str, found: Sequence[Any], like: Sequence[Array], names: Sequence[str]
) -> list[Array]:
    """What a mode has given, as NumPy arrays of the shapes and dtypes they must have."""
    arrays = [numbers.backend.to_numpy(g.array) for g in found]
    for a, x, name in zip(arrays, like, names, strict=True):
        same = a.shape == x.shape and a.dtype == x.dtype
        wanted, came = f"{x.shape} {x.dtype}", f"{a.shape} {a.dtype}"
        _demand(mode, f"a derivative for {name} of shape and dtype {wanted}", same, came)
    return arrays


def _demand(mode: str, expected: str, holds: bool, got: str = "otherwise") -> None:
    if not holds:
        raise GradientCheckError(f"{mode} mode", expected, got)


def _same(some: Sequence[Array], others: Sequence[Array]) -> bool:
    return all(a.tobytes() == b.tobytes() for a, b in zip(some, others, strict=True))


def _all_zero(numbers: Numbers, found: Sequence[Any]) -> bool:
    return not any(numbers.backend.to_numpy(g.array).any() for g in found)


# --------------------------------------------------------------------------------- every element
def check_full(
    fn: Callable[..., Any],
    args: Sequence[Any],
    modes: Sequence[str] = MODES,
    *,
    method: str = "differences",
    rtol: float = 1e-9,
    step: float = 1e-3,
) -> None:
    """Check every element of the Jacobian of fn(*args), one by one, in float64.

    Raises:
        GradientCheckError: an element is wrong, naming it. ArgumentError: more than a million.

    >>> import tinygrad_rnn as tg
    >>> check_full(lambda x: x.cumsum(0), (tg.randn(4),))
    """
    options = _Options("check_full", modes, method, rtol, step, 1, 0)
    _check_options(options, 1)
    numbers = Numbers(fn, args, options.called)
    rows = sum(y.size for y in numbers.at(numbers.point))
    largest = rows * max(x.size for x in numbers.point)
    if largest > LARGEST_JACOBIAN:
        hint = "check_grads needs no Jacobian"
        raise ArgumentError("check_full", f"at most {LARGEST_JACOBIAN} elements", largest, hint)
    for k in range(len(numbers.point)):
        _check_jacobian(numbers, options, k)


def _check_jacobian(numbers: Numbers, options: _Options, k: int) -> None:
    columns = [options.estimate(numbers, k, e) for e in _basis(numbers.point[k].shape)]
    expected = np.stack([_flat(c.values) for c in columns], -1) if columns else np.zeros((0, 0))
    doubt = np.stack([_flat(c.doubts) for c in columns], -1) if columns else np.zeros((0, 0))
    for mode in options.modes if columns else ():
        got = _jacobian(numbers, k, mode)
        close = np.abs(got - expected) <= options.rtol * np.abs(expected) + doubt
        if close.all():
            continue
        row, column = np.argwhere(~close)[0]
        raise GradientCheckError(
            f"check_full: {mode} mode, output element {row} by {numbers.names[k]} element {column}",
            f"{expected[row, column]:.12g}",
            f"{got[row, column]:.12g}",
            "the function has a kink near these arguments" if columns[column].rough else None,
        )


def _jacobian(numbers: Numbers, k: int, mode: str) -> Array:
    if mode == "forward":
        pushed = [_forward(numbers, k, FACTOR * e) for e in _basis(numbers.point[k].shape)]
        return np.stack([_flat(p) for p in pushed], -1) / FACTOR
    outputs = numbers.at(numbers.point)
    rows = []
    for i, y in enumerate(outputs):
        for e in _basis(y.shape):
            v = [FACTOR * e if j == i else np.zeros_like(z) for j, z in enumerate(outputs)]
            rows.append(_reverse(numbers, v)[k].ravel())
    return np.stack(rows) / FACTOR if rows else np.zeros((0, numbers.point[k].size))


def _basis(shape: tuple[int, ...]) -> list[Array]:
    size = int(np.prod(shape))
    return [row.reshape(shape) for row in np.eye(size)]


def _flat(arrays: Sequence[Array]) -> Array:
    return np.concatenate([a.ravel() for a in arrays]) if arrays else np.zeros(0)
