"""Cotangents that are not yet arrays: parts of a whole, settled when backward reaches the node.

A rule may give a `Partial` in place of an array. What arrives at one node is put together at once:

    Part      `value` at `key`, zero elsewhere: a hundred slices make one array, not a hundred
    Product   leftᵀ·right: the weight gradient Σₜ aₜᵀ·bₜ of a recurrence is one matrix product
    RowSum    Σ over the leading axis: the bias gradient of a recurrence is one sum
    Item      one output of a node that has several
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..backend import backend_of, is_array
from ..graph import Node
from ..tensor import Tensor
from .call import bind
from .declare import linear

__all__ = [
    "Item", "PARTIALS", "Part", "Product", "RowSum", "Span", "assemble", "put_together",
    "settle", "tiles",
]  # fmt: skip

# so many products are summed at once: more would keep more cotangents alive, and gain little
ENOUGH = 16
Span = tuple[int, int, int]  # (axis, start, stop): whole rows start … stop−1 along one axis
SCATTERED: Span = (-1, 0, 0)


class Part:
    """A cotangent that is `value` at `key`, zero elsewhere; `span` says it for a range of rows."""

    __slots__ = ("key", "span", "value")
    enough = float("inf")

    def __init__(self, value: Any, key: Any, span: Span | None = None) -> None:
        self.value, self.key, self.span = value, key, span

    @staticmethod
    def settle(parts: Sequence[Part], total: Any, node: Node) -> Any:
        """All parts (and the total) in one array."""
        if type(parts[0].value) is Tensor:
            params = {"keys": tuple([part.key for part in parts]), "shape": node.shape}
            whole = bind(assemble, [part.value for part in parts], params)
            return whole if total is None else total + whole
        return put_together(parts, node.shape, total)


class Product:
    """A cotangent leftᵀ·right; both have the rows that the product sums over."""

    __slots__ = ("left", "right")
    enough: float = ENOUGH

    def __init__(self, left: Any, right: Any) -> None:
        self.left, self.right = left, right

    @property
    def shape(self) -> tuple[int, int]:
        """The shape it will have."""
        return self.left.shape[1], self.right.shape[1]

    @staticmethod
    def settle(parts: Sequence[Product], total: Any, node: Node) -> Any:
        """Σ leftᵀ·right as one product of all rows."""
        if len(parts) == 1:
            left, right = parts[0].left, parts[0].right
        else:
            xp = backend_of(parts[0].left).xp
            left = xp.concatenate([part.left for part in parts])
            right = xp.concatenate([part.right for part in parts])
        turned = node.primitive.name == "permute"  # of x @ W.T: in the order that W has
        product = right.T.dot(left).T if turned else left.T.dot(right)
        return product if total is None else total + product


class RowSum:
    """A cotangent that is the sum of the rows of a matrix."""

    __slots__ = ("rows",)
    enough: float = ENOUGH

    def __init__(self, rows: Any) -> None:
        self.rows = rows

    @staticmethod
    def settle(parts: Sequence[RowSum], total: Any, node: Node) -> Any:
        """The sum of all rows."""
        rows, xp = [part.rows for part in parts], backend_of(parts[0].rows).xp
        joined = rows[0] if len(rows) == 1 else xp.concatenate(rows)
        summed = xp.ones(joined.shape[0], joined.dtype).dot(joined)  # quicker than .sum(0)
        return summed if total is None else total + summed


class Item:
    """The cotangent of one output of a node that has `count` of them."""

    __slots__ = ("count", "position", "value")
    enough = float("inf")

    def __init__(self, value: Any, position: int, count: int) -> None:
        self.value, self.position, self.count = value, position, count

    @staticmethod
    def settle(parts: Sequence[Item], total: Any, node: Node) -> list[Any]:
        """The cotangents of all outputs, None where nothing arrived."""
        totals: list[Any] = [None] * parts[0].count
        for part in parts:
            before = totals[part.position]
            totals[part.position] = part.value if before is None else before + part.value
        return totals


PARTIALS: frozenset[type] = frozenset((Part, Product, RowSum, Item))


def settle(parts: Sequence[Any], total: Any, node: Node) -> Any:
    """What has arrived at a node, parts and total, put together."""
    kinds: dict[Any, None] = dict.fromkeys(map(type, parts))
    for kind in kinds:
        same = parts if len(kinds) == 1 else [part for part in parts if type(part) is kind]
        total = kind.settle(same, total, node)
    return total


# --------------------------------------------------------------------------- parts of a whole
def put_together(parts: Sequence[Part], shape: tuple[int, ...], total: Any = None) -> Any:
    """The array that is the sum of the parts; written once where they do not overlap."""
    first = parts[0].value
    backend = backend_of(first)
    spans = sorted([part.span or _span(part.key, shape) for part in parts])
    disjoint, covering = _tiling(spans, shape)
    if total is not None:
        whole, disjoint = backend.xp.array(total), False  # NumPy gives scalars of no axes
    elif covering:
        whole = backend.xp.empty(shape, first.dtype)
    else:
        whole = backend.xp.zeros(shape, first.dtype)
    for part in parts:
        if disjoint:
            whole[part.key] = part.value
        elif _is_advanced(part.key):
            backend.add_at(whole, part.key, part.value)
        else:
            whole[part.key] += part.value
    return whole


def _is_advanced(key: Any) -> bool:
    return any(is_array(k) for k in key) if type(key) is tuple else is_array(key)


def _tiling(spans: Sequence[Span], shape: tuple[int, ...]) -> tuple[bool, bool]:
    """Whether sorted spans are disjoint ranges of one axis, and whether they cover it."""
    axis, end = spans[0][0], 0
    covered = 0
    for one, start, stop in spans:
        if one != axis or one < 0 or start < end:
            return False, False
        covered += stop - start
        end = stop
    return True, covered == shape[axis]


def tiles(keys: Sequence[Any], shape: tuple[int, ...]) -> bool:
    """Whether the keys are ranges of one axis side by side, and all there is."""
    return all(_tiling(sorted(_span(key, shape) for key in keys), shape))


_ALL = slice(None)


def _span(key: Any, shape: tuple[int, ...]) -> Span:
    """The rows that a key takes along one axis, if that is what it does."""
    keys = key if type(key) is tuple else (key,)
    axis = len(keys) - 1
    if axis < 0 or any(type(k) is not slice or k != _ALL for k in keys[:-1]):
        return SCATTERED
    last = keys[-1]
    if type(last) is slice:
        start, stop, step = last.indices(shape[axis])
        return (axis, start, max(start, stop)) if step == 1 else SCATTERED
    if type(last) is not int:
        return SCATTERED
    start = last + shape[axis] if last < 0 else last
    return axis, start, start + 1


def _assemble(xp: Any, *values: Any, keys: Any, shape: tuple[int, ...]) -> Any:
    return put_together([Part(v, k) for v, k in zip(values, keys, strict=True)], shape)


assemble = linear(
    "assemble", _assemble, lambda g, position, node, keys, shape: g[keys[position]], variadic=True
)
