"""Indexing, cutting, sorting.

The transpose of `x[key]` would be zeros everywhere but at `key`; a hundred slices of one tensor
(the steps of a sequence, the gates of a cell) would make a hundred arrays of zeros and add them.
Instead it gives a `Part` (see `parts`).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate
from typing import Any, NamedTuple

from ..backend import backend_of, is_array
from ..checks import check_dim, check_dtype, check_key, check_masks, int64, is_index
from ..create import eye, owned
from ..errors import ArgumentError, DeviceError, DTypeError, IndexRangeError, ShapeError
from ..graph import INTERPRETERS, Node, Primitive, grad_mode
from ..inplace import AGAIN, check_read
from ..tensor import Tensor, as_tensor, method
from .call import bind
from .declare import linear, nondifferentiable
from .elementwise import where as choose
from .parts import Part, Span, assemble
from .shape import expand, flip

__all__ = [
    "argsort", "chunk", "gather", "index_select", "one_hot", "scatter_add", "sort",
    "split", "take_along_dim", "topk", "unbind",
]  # fmt: skip


# ------------------------------------------------------------------------------------ slicing
def _slice_rule(g: Any, saved: Any, node: Node) -> Part:
    params = node.params or {}
    return Part(g, params["key"], params.get("span"))


_ALL = slice(None)
_slice = linear("slice", lambda xp, x, key, span=None: x[key], lambda g: g)
_slice.rules = (_slice_rule,)
_BASIC = frozenset((int, slice, type(None), type(Ellipsis)))


@method("__getitem__")
def getitem(x: Tensor, index: Any) -> Tensor:
    """x[index] with integers, slices, None and …, or with integer and bool tensors."""
    kind = type(index)
    if kind not in _BASIC and (kind is not tuple or any(type(i) not in _BASIC for i in index)):
        return _getitem_general(x, index)
    array = x.array
    if type(array) in INTERPRETERS:
        traced: Tensor = bind(_slice, (x,), {"key": index})
        return traced
    try:
        out = array[index]
    except IndexError as error:
        got = f"{index} ({error})"
        raise IndexRangeError("getitem", f"an index into shape {x.shape}", got) from None
    if AGAIN:
        check_read((array,))
    if type(out) is not type(array):  # one element, of which NumPy alone makes a copy
        out = array[(*index, ...) if kind is tuple else (index, ...)]
    return _sliced(x, out, index, None)


def _sliced(x: Tensor, out: Any, key: Any, span: Span | None) -> Tensor:
    if x.node is None or not grad_mode():
        return Tensor(out)
    return Tensor(out, Node(_slice, (x.node,), (), {"key": key, "span": span}, out.shape))


@lru_cache(maxsize=256)
def _cuts(axis: int, sizes: tuple[int, ...]) -> list[tuple[Any, dict[str, Any]]]:
    """The key and the parameters of each of consecutive ranges of rows."""
    ends = list(accumulate(sizes))
    spans = [(axis, end - size, end) for size, end in zip(sizes, ends, strict=True)]
    keys = [(*(_ALL,) * axis, slice(start, stop)) for _, start, stop in spans]
    return [(k, {"key": k, "span": span}) for k, span in zip(keys, spans, strict=True)]


def _rows(x: Any, axis: int, sizes: tuple[int, ...]) -> tuple[Any, ...]:
    """Consecutive ranges of rows, known to fit; a cell cuts its gates at every step."""
    cuts = _cuts(axis, sizes)
    if type(x) is not Tensor or type(x.array) in INTERPRETERS:
        return tuple([x[key] for key, _ in cuts])
    array, parents = x.array, (x.node,)
    if x.node is None or not grad_mode():
        return tuple([Tensor(array[key]) for key, _ in cuts])
    pieces = [(array[key], params) for key, params in cuts]
    return tuple(
        [Tensor(piece, Node(_slice, parents, (), params, piece.shape)) for piece, params in pieces]
    )


def _getitem_general(x: Tensor, index: Any, checked: bool = False) -> Tensor:
    """Sort an index with arrays in it into its fixed form and the arrays, which are inputs."""
    given = index if isinstance(index, tuple) else (index,)
    items = [owned(i) if type(i) is list or is_array(i) else i for i in given]
    check_masks(items, x.shape, "getitem")
    arrays: list[Any] = []
    template: list[Any] = []
    for item in items:
        fixed, found = _index_item(x, item)
        template.extend(fixed)
        arrays.extend(found)
    if not arrays:
        return getitem(x, tuple(template))
    if not checked and x.backend.wraps_indices:
        check_key(filled(tuple(template), [a.detach().array for a in arrays]), x.shape, "getitem")
    params = {"template": tuple(template), "in_shape": x.shape}
    found_at: Tensor = bind(_index, [x, *arrays], params)
    return found_at


HOLE = "array"  # where in a template the next index array goes


def _index_item(x: Tensor, item: Any) -> tuple[list[Any], list[Any]]:
    if type(item) in _BASIC:
        return [item], []
    if is_index(item):
        return [int(item)], []
    if not isinstance(item, Tensor) or not item.ndim:
        got = f"{type(item).__name__} {item!r}"
        raise DTypeError("getitem", "an integer, a slice or a tensor of integers", got)
    where = _beside(x, item, "getitem")
    if where.dtype.kind == "b":
        found = where.backend.xp.nonzero(where.detach().array)
        return [HOLE] * len(found), [Tensor(f) for f in found]
    if where.dtype.kind not in "iu":
        raise DTypeError("getitem", "integer or bool indices", where.dtype.name)
    return [HOLE], [where]


def _beside(x: Any, index: Tensor, called: str) -> Tensor:
    """The index where x is; it may come from the host, but is never fetched from a device."""
    here = x.backend if isinstance(x, Tensor) else backend_of(x)
    if index.backend is here:
        return index
    if index.device != "cpu":
        raise DeviceError(called, f"an index on {here.name!r} or 'cpu'", repr(index.device))
    moved: Tensor = index.to(here.name)
    return moved


def filled(template: tuple[Any, ...], arrays: Sequence[Any]) -> tuple[Any, ...]:
    """The key that a template and its index arrays make."""
    given = iter(arrays)
    return tuple(next(given) if item == HOLE and type(item) is str else item for item in template)


def _raw(value: Any) -> Any:
    return value.array if isinstance(value, Tensor) else value


def _index_vjp(g: Any, saved: Any, node: Node) -> Part:
    return Part(g, filled((node.params or {})["template"], [_raw(s) for s in saved]))


def _index_forward(xp: Any, x: Any, *arrays: Any, template: Any, in_shape: Any) -> Any:
    return x[filled(template, arrays)]


def _index_jvp(tangents: Any, values: Any, out: Any, params: Any) -> Any:
    return bind(_index, [tangents[0], *values[1:]], params) if tangents[0] is not None else None


def _declare_index() -> Any:
    """`index` has one differentiable input and any number of index arrays, which it saves."""

    class Index(Primitive):
        def rule(self, position: int) -> Any:
            return _index_vjp if position == 0 else None

    return Index(
        "index", "linear", _index_forward, (_index_vjp,), _index_jvp,
        lambda needed, out, arrays: tuple(arrays[1:]), range(1, 33), inputs=["x"],
    )  # fmt: skip


_index = _declare_index()


# ------------------------------------------------------------------------------------- cutting
@method("split")
def split(x: Any, size_or_sizes: Any, dim: int = 0) -> tuple[Any, ...]:
    """Consecutive pieces along an axis, all of one size (but the last) or of the sizes given."""
    axis = _axis(x, dim, "split")
    total = x.shape[axis]
    if not isinstance(size_or_sizes, (tuple, list)):
        size = _count(size_or_sizes, "split", 1)
        sizes = [min(size, total - start) for start in range(0, total, size)] or [0]
    else:
        sizes = [_count(size, "split") for size in size_or_sizes]
        if sum(sizes) != total:
            raise ShapeError("split", f"sizes that sum to {total}", str(sizes))
    return _rows(x, axis, tuple(sizes))


def _axis(x: Any, dim: int, called: str) -> int:
    """An axis that x really has."""
    if not x.ndim:
        raise ShapeError(called, "a tensor with at least one axis", "a 0-d tensor")
    return check_dim(dim, x.ndim, called)


def _count(value: Any, called: str, least: int = 0) -> int:
    """An integer that counts something."""
    if not is_index(value):
        raise DTypeError(called, "an integer", repr(value))
    if value < least:
        raise ArgumentError(called, f"a number >= {least}", repr(value))
    return int(value)


@method("chunk")
def chunk(x: Any, chunks: int, dim: int = 0) -> tuple[Any, ...]:
    """`chunks` pieces of equal size along an axis (the last may be smaller)."""
    axis, chunks = _axis(x, dim, "chunk"), _count(chunks, "chunk", 1)
    total = x.shape[axis]
    if total % chunks == 0 and total:
        return _rows(x, axis, (total // chunks,) * chunks)
    return split(x, max(1, -(-total // chunks)), axis)


@method("unbind")
def unbind(x: Any, dim: int = 0) -> tuple[Any, ...]:
    """The slices along an axis, which they no longer have."""
    lead = (slice(None),) * _axis(x, dim, "unbind")
    return tuple(x[(*lead, i)] for i in range(x.shape[len(lead)]))


@method("__iter__")
def _iterate(x: Tensor) -> Any:
    if not x.ndim:
        raise DTypeError("iter", "a tensor with at least one axis", "a 0-d tensor")
    return iter(unbind(x))


# --------------------------------------------------------------------------- by index arrays
def _indices(index: Any, called: str, ndim: int | None = None) -> Tensor:
    where = owned(index)
    if where.dtype.kind not in "iu":
        raise DTypeError(called, "an integer index", where.dtype.name)
    if ndim is not None and where.ndim != ndim:
        raise ShapeError(called, f"an index with {ndim} axes", f"shape {where.shape}")
    return where


def _check_within(index: Tensor, x: Any, axis: int, called: str) -> None:
    """But for one axis an index array is no larger than what it points into."""
    sizes = enumerate(zip(index.shape, x.shape, strict=True))
    if any(w > n for d, (w, n) in sizes if d != axis):
        raise ShapeError(called, f"an index within {x.shape} but for dim {axis}", index.shape)


def check_range(index: Tensor, size: int, called: str) -> None:
    """Every index must lie in 0 … size−1."""
    array = index.array
    if type(array) in INTERPRETERS or not index.numel():
        return
    low, high = int(array.min()), int(array.max())
    if low < 0 or high >= size:
        raise IndexRangeError(called, f"indices in 0 … {size - 1}", low if low < 0 else high)


def _along(axis: int, index: Tensor) -> tuple[Any, ...]:
    """The key that takes `index` along one axis and everything else in place."""
    xp = index.backend.xp
    key: list[Any] = []
    for d, n in enumerate(index.shape):
        lead = (1,) * d + (n,) + (1,) * (index.ndim - d - 1)
        key.append(index if d == axis else Tensor(xp.arange(n).reshape(lead)))
    return tuple(key)


def take_at(x: Any, key: tuple[Any, ...]) -> Any:
    """x[key], whose index arrays are known to be in range."""
    if isinstance(x, Tensor):
        return _getitem_general(x, key, checked=True)
    return x[tuple(_raw(k) for k in key)]


def take_known(x: Any, dim: int, index: Any) -> Any:
    """`gather` with an index that the library found itself, so that nobody need look at it."""
    return take_at(x, _along(check_dim(dim, x.ndim, "gather"), as_tensor(index)))


@method("gather")
def gather(x: Any, dim: int, index: Any) -> Any:
    """out[i, j] = x[index[i, j], j] for dim 0, and so on, as PyTorch has it.

    Raises:
        IndexRangeError: an index outside the axis. ShapeError: another number of axes.
    """
    axis, where = check_dim(dim, x.ndim, "gather"), _indices(index, "gather", x.ndim)
    _check_within(where, x, axis, "gather")
    check_range(where, x.shape[axis], "gather")
    return take_at(x, _along(axis, _beside(x, where, "gather")))


@method("take_along_dim")
def take_along_dim(x: Any, index: Any, dim: int) -> Any:
    """`gather` with the other axes broadcast against each other."""
    axis, where = (
        check_dim(dim, x.ndim, "take_along_dim"),
        _indices(index, "take_along_dim", x.ndim),
    )
    sizes = [
        w if d == axis else max(n, w)
        for d, (n, w) in enumerate(zip(x.shape, where.shape, strict=True))
    ]
    whole = expand(x, *(x.shape[d] if d == axis else n for d, n in enumerate(sizes)))
    return gather(whole, axis, expand(where, *sizes))


@method("index_select")
def index_select(x: Any, dim: int, index: Any) -> Any:
    """The slices of x along an axis that a vector of indices names."""
    axis, where = check_dim(dim, x.ndim, "index_select"), _indices(index, "index_select", 1)
    check_range(where, x.shape[axis], "index_select")
    return take_at(x, (slice(None),) * axis + (_beside(x, where, "index_select"),))


@method("scatter_add")
def scatter_add(x: Any, dim: int, index: Any, src: Any) -> Any:
    """x with `src` added at `index`: the transpose of `gather`; repeated indices add up."""
    axis, where = check_dim(dim, x.ndim, "scatter_add"), _indices(index, "scatter_add", x.ndim)
    check_range(where, x.shape[axis], "scatter_add")
    source = src if is_array(src) else as_tensor(src)
    if any(w > s for w, s in zip(where.shape, source.shape, strict=False)) or source.ndim != x.ndim:
        raise ShapeError("scatter_add", f"src at least {where.shape}", f"{source.shape}")
    _check_within(where, x, axis, "scatter_add")
    part = source[tuple(slice(0, n) for n in where.shape)]
    key = tuple(_raw(k) for k in _along(axis, _beside(x, where, "scatter_add")))
    return x + bind(assemble, [part], {"keys": (key,), "shape": x.shape})


def one_hot(index: Any, num_classes: int = -1, dtype: Any = int64) -> Tensor:
    """1 at the index and 0 elsewhere, along a new last axis; −1 classes are as many as needed.

    >>> one_hot(as_tensor([0, 2]), 3).tolist()
    [[1, 0, 0], [0, 0, 1]]
    """
    where = _indices(index, "one_hot")
    if num_classes == -1 and where.numel():
        num_classes = int(where.array.max()) + 1
    num_classes, dtype = _count(num_classes, "one_hot"), check_dtype(dtype, "one_hot")
    check_range(where, num_classes, "one_hot")
    if type(where.array) in INTERPRETERS:  # what is below 0 is no class counted from the end
        return eye(num_classes, dtype=dtype)[choose(where < 0, num_classes, where)]
    return Tensor((where.array[..., None] == where.backend.xp.arange(num_classes)).astype(dtype))


# ------------------------------------------------------------------------------------ sorting
_argsort = nondifferentiable(
    "argsort", lambda xp, x, dim: xp.argsort(x, axis=dim, kind="stable"), kernel=""
)


class Sorted(NamedTuple):
    """Values in order and the indices they came from."""

    values: Any
    indices: Any


@method("argsort")
def argsort(x: Any, dim: int = -1, descending: bool = False) -> Any:
    """The indices that sort along an axis; equal elements keep their order."""
    axis = check_dim(dim, x.ndim, "argsort")
    if not descending:
        return bind(_argsort, (x,), {"dim": axis})
    backwards = flip(bind(_argsort, (flip(x, axis),), {"dim": axis}), axis)
    return x.shape[axis] - 1 - backwards


@method("sort")
def sort(x: Any, dim: int = -1, descending: bool = False) -> Sorted:
    """The elements in order along an axis, and where each came from."""
    where = argsort(x, check_dim(dim, x.ndim, "sort"), descending)
    return Sorted(take_known(x, dim, where) if x.ndim else x, where)


@method("topk")
def topk(x: Any, k: int, dim: int = -1, largest: bool = True) -> Sorted:
    """The k largest (or smallest) elements along an axis, in order, and where each came from."""
    axis = _axis(x, dim, "topk")
    if _count(k, "topk") > x.shape[axis]:
        raise ArgumentError("topk", f"0 <= k <= {x.shape[axis]}", f"k={k}")
    where = argsort(x, axis, descending=largest)[(slice(None),) * axis + (slice(0, k),)]
    return Sorted(take_known(x, axis, where), where)
