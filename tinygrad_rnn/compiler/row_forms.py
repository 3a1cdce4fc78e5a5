"""What kernels cannot do, said with what they can: reductions of rows, and products of rows.

    log Σ eˣ        = m + log Σ e^(x − m),  m = max x (0 if that is not finite)
    max over axes   = max over the last axes of x with its axes in another order
    Σ over axes     = Σ over the last ones, then over the others
    A (…, M, K)·b   = Σₖ A ⊙ bᵀ             for batches of matrices and one column each
    a·B (…, K, N)   = Σₖ aᵀ ⊙ B             and one row each
    a (…, M, 1)·b (…, 1, N) = a ⊙ b
    A (…, M, K)·B (K, N)    = the product of all rows with B

A sum is over the last axis wherever the matrix has that as its last axis in memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from functools import partial
from typing import Any

from ..ops.parts import tiles
from .cut import Loop
from .fuse import is_reduction
from .program import Value, recorded

__all__ = ["in_rows"]


def in_rows(loop: Loop) -> Loop:
    """The loop with such operations rewritten."""
    if not any(value.name == "matmul" or value.name in _RULES for value in loop.body):
        return loop
    given = {*(before for before, _ in loop.carries), *loop.stacked, *loop.constant}
    return loop.rewritten(partial(_in_rows, given))


def _in_rows(given: AbstractSet[Value], value: Value) -> Value:
    if value.dtype.kind != "f":
        return value
    if value.name == "matmul":
        return _product(value, given)
    rule = _RULES.get(value.name)
    return value if rule is None else rule(value)


def _shaped(value: Value, shape: tuple[int, ...]) -> Value:
    return value if value.shape == shape else recorded("reshape", value, shape=shape)


def _turned(x: Value, given: AbstractSet[Value]) -> Value:
    """A value with its last two axes exchanged."""
    rank = len(x.shape)
    dims = (*range(rank - 2), rank - 1, rank - 2)
    if x not in given and x.name == "permute" and x.params["dims"] == dims:
        return x.inputs[0]
    return recorded("permute", x, dims=dims)


def _is_turned(x: Value, given: AbstractSet[Value]) -> bool:
    """Whether a value is another one with its last two axes exchanged; what is given is not."""
    return x.name == "permute" and _turned(x, given) is x.inputs[0]


# ---------------------------------------------------------------------------------- reductions
def _with_last(value: Value) -> tuple[Value, tuple[int, ...]]:
    """(what is reduced with the axes in question as its last ones, these axes)."""
    (x,), dims = value.inputs, value.params["dims"]
    rank = len(x.shape)
    last = tuple(range(rank - len(dims), rank))
    if dims == last:
        return x, last
    rest = [d for d in range(rank) if d not in dims]
    return recorded("permute", x, dims=(*rest, *dims)), last


def _sum(value: Value) -> Value:
    """Over the last axes first, then over the others."""
    (x,), dims = value.inputs, value.params["dims"]
    if not dims or x.dtype != value.dtype or is_reduction(value):
        return value
    start = len(x.shape)
    while start and (start - 1 in dims or x.shape[start - 1] == 1):
        start -= 1
    for axes in (tuple(range(start, len(x.shape))), tuple([d for d in dims if d < start])):
        x = recorded("sum", x, dims=axes, keepdim=True) if axes else x
    return _shaped(x, value.shape)


def _extreme(value: Value) -> Value:
    x, last = _with_last(value)
    if x is value.inputs[0]:
        return value
    return _shaped(recorded(value.name, x, dims=last, keepdim=True), value.shape)


def _logsumexp(value: Value) -> Value:
    x, last = _with_last(value)
    top = recorded("amax", x, dims=last, keepdim=True)
    top = recorded("where", recorded("isfinite", top), top, 0.0)
    powers = recorded("exp", recorded("sub", x, top))
    total = recorded("sum", powers, dims=last, keepdim=True)
    return _shaped(recorded("add", recorded("log", total), top), value.shape)


# ------------------------------------------------------------------------------------ products
def _product(value: Value, given: AbstractSet[Value]) -> Value:
    left, right = value.args
    if len(value.shape) < 3 or left.dtype != right.dtype:
        return value
    inner, rows, columns = left.shape[-1], *value.shape[-2:]
    if len(right.shape) == 2 and columns > 1:
        flat = _shaped(left, (left.size // inner, inner))
        return _shaped(recorded("matmul", flat, right), value.shape)
    if inner == 1:
        return recorded("mul", left, right)
    if columns == 1:
        return _shaped(_times_column(left, right, given), value.shape)
    if rows == 1:
        turned = _times_column(_turned(right, given), _turned(left, given), given)
        return _shaped(turned, value.shape)
    sides = [x.graph.copied(x) if x.name == "permute" else x for x in (left, right)]
    return recorded("matmul", *sides)


def _times_column(matrix: Value, column: Value, given: AbstractSet[Value]) -> Value:
    """Σₖ of matrix (…, M, K) and column (…, K, 1), with an axis of length 1 more."""
    if _is_turned(matrix, given):
        terms, axis = recorded("mul", _turned(matrix, given), column), -2
    else:
        terms, axis = recorded("mul", matrix, _turned(column, given)), -1
    return recorded("sum", terms, dims=(len(terms.shape) + axis,), keepdim=True)


# ----------------------------------------------------------------------------- parts of a whole
def _stack(value: Value) -> Value:
    dim, parts = value.params["dim"], value.inputs
    shape = (*value.shape[:dim], 1, *value.shape[dim + 1 :])
    parts = [recorded("reshape", part, shape=shape) for part in parts]
    return recorded("cat", *parts, dim=dim, sizes=(1,) * len(parts))


def _pad(value: Value) -> Value:
    if value.params["value"]:
        return value
    return _padded(value.inputs[0], value.params["widths"])


def _padded(x: Value, widths: Sequence[tuple[int, int]]) -> Value:
    """A value with zeros around it."""
    for axis, (before, after) in enumerate(widths):
        if before or after:
            key = (*(slice(None),) * axis, slice(0, 1))
            zero = x.graph.zeros_like(recorded("slice", x, key=key))
            sides = []
            for count in (before, after):
                shape = (*x.shape[:axis], count, *x.shape[axis + 1 :])
                sides.append([recorded("expand", zero, shape=shape)] if count else [])
            parts = [*sides[0], x, *sides[1]]
            sizes = tuple([part.shape[axis] for part in parts])
            x = recorded("cat", *parts, dim=axis, sizes=sizes)
    return x


def _assemble(value: Value) -> Value:
    """Parts that are not all there is, or that overlap: the sum of each with zeros around it."""
    keys, shape = value.params["keys"], value.params["shape"]
    if tiles(keys, shape):
        return value
    padded = []
    for part, key in zip(value.inputs, keys, strict=True):
        widths = _widths(key, shape)
        if widths is None:
            return value
        inner = tuple([n - a - b for n, (a, b) in zip(shape, widths, strict=True)])
        padded.append(_padded(_shaped(part, inner), widths))
    total = padded[0]
    for other in padded[1:]:
        total = recorded("add", total, other)
    return total


def _widths(key: Any, shape: tuple[int, ...]) -> list[tuple[int, int]] | None:
    """How far a key of ranges and numbers stays from the ends of each axis."""
    items = key if type(key) is tuple else (key,)
    found = []
    for item, size in zip(items, shape, strict=False):
        if type(item) is int:
            found.append((item % size, size - 1 - item % size))
        elif type(item) is slice and item.indices(size)[2] == 1:
            start, stop, _ = item.indices(size)
            found.append((start, size - max(start, stop)))
        else:
            return None
    return found + [(0, 0)] * (len(shape) - len(found)) if len(items) <= len(shape) else None


_RULES = {
    "sum": _sum, "amax": _extreme, "amin": _extreme, "logsumexp": _logsumexp,
    "stack": _stack, "pad": _pad, "assemble": _assemble,
}  # fmt: skip
