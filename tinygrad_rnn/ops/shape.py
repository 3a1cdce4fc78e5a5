"""Shape primitives: linear maps that only move numbers, each with its transpose."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from .. import checks
from ..backend import backend_of, get_backend, is_device, moved
from ..checks import check_dim, check_dims, check_dtype, check_shape, sizes_of
from ..errors import ArgumentError, DTypeError, ShapeError
from ..graph import INTERPRETERS, Node, Primitive, grad_mode
from ..tensor import Tensor, as_tensor, method
from .call import HINT, bind, call
from .declare import linear
from .naming import unbroadcast

__all__ = [
    "broadcast_to", "cast", "cat", "clone", "contiguous", "expand", "flatten", "flip", "movedim",
    "pad", "permute", "reshape", "squeeze", "stack", "swapaxes", "transpose", "unsqueeze",
]  # fmt: skip


# ------------------------------------------------------------------------ reshape and friends
_reshape: Primitive = linear(
    "reshape", lambda xp, x, shape: x.reshape(shape), lambda g, in_shape: g.reshape(in_shape)
)


@method("reshape", "view")
def reshape(x: Any, *shape: Any) -> Any:
    """The same elements, in the same order, in another shape; one size may be −1.

    >>> import tinygrad_rnn as tg
    >>> tg.arange(6).reshape(2, -1).shape
    (2, 3)
    """
    sizes = sizes_of(shape)
    try:
        negative = sizes and min(sizes) < 0
    except TypeError:
        raise DTypeError("reshape", "integer sizes", repr(sizes)) from None
    if negative and (sizes.count(-1) > 1 or min(sizes) < -1):
        raise ShapeError("reshape", "sizes >= 0 and at most one -1", str(sizes))
    if negative and 0 in sizes:
        raise ShapeError("reshape", "no -1 beside a size of 0", str(sizes))
    return call(_reshape, x, {"shape": sizes})


@method("flatten")
def flatten(x: Any, start_dim: int = 0, end_dim: int = -1) -> Any:
    """Join the axes from `start_dim` to `end_dim` into one."""
    first, last = (check_dim(d, x.ndim, "flatten") for d in (start_dim, end_dim))
    if first > last:
        raise ShapeError("flatten", "start_dim <= end_dim", f"{start_dim} and {end_dim}")
    size = math.prod(x.shape[first : last + 1])
    return reshape(x, (*x.shape[:first], size, *x.shape[last + 1 :]))


@method("squeeze")
def squeeze(x: Any, dim: Any = None) -> Any:
    """Without the axes of size 1, or without those named, if they have it."""
    dims = check_dims(dim, x.ndim, "squeeze")
    return reshape(x, tuple(n for i, n in enumerate(x.shape) if n != 1 or i not in dims))


@method("unsqueeze")
def unsqueeze(x: Any, dim: int) -> Any:
    """With a new axis of size 1 at `dim`."""
    at = check_dim(dim, x.ndim + 1, "unsqueeze")
    return reshape(x, (*x.shape[:at], 1, *x.shape[at:]))


# --------------------------------------------------------------------------- order of the axes
_permute: Primitive = linear(
    "permute",
    lambda xp, x, dims: x.transpose(dims),
    lambda g, dims: _permuted_back(g, dims),
)


def _permuted_back(g: Any, dims: tuple[int, ...]) -> Any:
    return call(_permute, g, {"dims": tuple(sorted(range(len(dims)), key=dims.__getitem__))})


@method("permute")
def permute(x: Any, *dims: Any) -> Any:
    """The axes in another order."""
    order = sizes_of(dims)
    found = tuple(check_dim(d, x.ndim, "permute") for d in order)
    if sorted(found) != list(range(x.ndim)):
        raise ShapeError("permute", f"each of the {x.ndim} axes once", str(order))
    return call(_permute, x, {"dims": found})


@method("transpose", "swapaxes")
def transpose(x: Any, dim0: int, dim1: int) -> Any:
    """Two axes exchanged."""
    order = list(range(x.ndim))
    a, b = check_dim(dim0, x.ndim, "transpose"), check_dim(dim1, x.ndim, "transpose")
    order[a], order[b] = b, a
    return call(_permute, x, {"dims": tuple(order)})


swapaxes = transpose


@method("movedim")
def movedim(x: Any, source: int, destination: int) -> Any:
    """One axis moved to another place."""
    order = list(range(x.ndim))
    order.insert(
        check_dim(destination, x.ndim, "movedim"), order.pop(check_dim(source, x.ndim, "movedim"))
    )
    return permute(x, order)


def _reversed(x: Any) -> Any:
    return call(_permute, x, {"dims": tuple(range(x.ndim))[::-1]})


def _matrix_transpose(x: Any) -> Any:
    if x.ndim < 2:
        raise ShapeError("mT", "at least two axes", f"shape {x.shape}")
    return transpose(x, -1, -2)


setattr(Tensor, "mT", property(_matrix_transpose, doc="The last two axes exchanged."))  # noqa: B010
setattr(Tensor, "T", property(_reversed, doc="All axes reversed."))  # noqa: B010

# -------------------------------------------------------------------------------- broadcasting
_expand: Primitive = linear(
    "expand",
    lambda xp, x, shape: xp.broadcast_to(x, shape),
    lambda g, in_shape: unbroadcast(g, in_shape),
)


@method("expand", "broadcast_to")
def expand(x: Any, *shape: Any) -> Any:
    """Broadcast to a shape without copying; −1 keeps a size."""
    sizes = sizes_of(shape)
    lead = len(sizes) - x.ndim
    sizes = tuple(x.shape[i - lead] if n == -1 and i >= lead else n for i, n in enumerate(sizes))
    return call(_expand, x, {"shape": check_shape((sizes,), "expand")})


broadcast_to = expand

_flip: Primitive = linear(
    "flip", lambda xp, x, dims: xp.flip(x, dims), lambda g, dims: call(_flip, g, {"dims": dims})
)


@method("flip")
def flip(x: Any, *dims: Any) -> Any:
    """The elements in reverse order along the axes, in memory of their own."""
    out = call(_flip, x, {"dims": check_dims(sizes_of(dims), x.ndim, "flip")})
    if isinstance(out, Tensor) and type(out.array) not in INTERPRETERS:
        out.array = out.array.copy()  # to a compiled loop it stays another look at x
    return out


_copy: Primitive = linear("clone", lambda xp, x: x.copy(), lambda g: g)


@method("clone", "contiguous")
def clone(x: Any) -> Any:
    """A copy, through which gradients flow."""
    return call(_copy, x, {})


contiguous = clone

# ------------------------------------------------------------------------------ types, devices
_cast: Primitive = linear(
    "cast", lambda xp, x, dtype, source: x.astype(dtype), lambda g, source: cast(g, source)
)
_move: Primitive = linear(
    "move",
    lambda xp, x, target, source: moved(x, get_backend(target)),
    lambda g, target, source: bind(_move, (g,), {"target": source, "source": target}),
)


def cast(x: Any, dtype: Any) -> Any:
    """`x` with elements of another dtype; a gradient comes back in the original one."""
    if x.dtype == dtype:
        return x
    return call(_cast, x, {"dtype": dtype, "source": x.dtype})


@method("to")
def to(x: Tensor, target: Any = None, *, device: Any = None, dtype: Any = None) -> Tensor:
    """`x` on another device ("cuda"), with another dtype (tg.float64), or like another tensor."""
    if isinstance(target, Tensor):
        device, dtype = target.device, target.dtype
    elif isinstance(target, str) and is_device(target):
        device = target
    elif target is not None:
        dtype = target
    if device is not None and get_backend(device) is not x.backend:
        move = {"target": get_backend(device).name, "source": x.device}
        x = _moved(x, move)
    if dtype is None:
        return x
    wanted = check_dtype(dtype, "to")
    if x.dtype != wanted and x.node is not None and wanted.kind != "f":
        x = x.detach()
    result: Tensor = cast(x, wanted)
    return result


def _moved(x: Tensor, params: dict[str, Any]) -> Tensor:
    """A move makes an array of another backend, which `execute` does not expect of a primitive."""
    out = Tensor(_move.forward(None, x.array, **params))
    if x.node is not None and grad_mode():
        from_node = Node(_move, (x.node,), (), params, out.shape)
        out.node = from_node
    return out


def _to_dtype(name: str, dtype: Any) -> None:
    def convert(x: Tensor) -> Tensor:
        return to(x, dtype=dtype)

    convert.__name__, convert.__doc__ = name, f"The tensor as {dtype.name}."
    method(name)(convert)


for _name, _dtype in {
    "float": checks.float32, "double": checks.float64, "half": checks.float16,
    "long": checks.int64, "int": checks.int32, "bool": checks.bool_,
}.items():  # fmt: skip
    _to_dtype(_name, _dtype)


@method("cpu")
def cpu(x: Tensor) -> Tensor:
    """The tensor on the host."""
    return to(x, device="cpu")


@method("cuda")
def cuda(x: Tensor) -> Tensor:
    """The tensor on the GPU."""
    return to(x, device="cuda")


@method("type_as")
def type_as(x: Tensor, other: Tensor) -> Tensor:
    """The tensor with the dtype and on the device of another."""
    return to(x, other)


# --------------------------------------------------------------------------- joining, padding
def _cat_transpose(g: Any, position: int, node: Node, dim: int, sizes: tuple[int, ...]) -> Any:
    start = sum(sizes[:position])
    return g[(slice(None),) * dim + (slice(start, start + sizes[position]),)]


_cat: Primitive = linear(
    "cat",
    lambda xp, *xs, dim, sizes: xp.concatenate(xs, axis=dim),
    _cat_transpose,
    variadic=True,
    promote="same",
)
_stack: Primitive = linear(
    "stack",
    lambda xp, *xs, dim: xp.concatenate([x[(*(slice(None),) * dim, None)] for x in xs], axis=dim),
    lambda g, position, node, dim: g[(slice(None),) * dim + (position,)],
    variadic=True,
    promote="same",
)


def _sequence(tensors: Any, called: str) -> list[Any]:
    if isinstance(tensors, Tensor) or not isinstance(tensors, (tuple, list)):
        raise DTypeError(called, "a list or tuple of tensors", type(tensors).__name__)
    if not tensors:
        raise ShapeError(called, "at least one tensor", "an empty list")
    return [t if hasattr(t, "dtype") else as_tensor(t) for t in tensors]


def cat(tensors: Sequence[Any], dim: int = 0) -> Any:
    """The tensors one after the other along an axis they have.

    >>> import tinygrad_rnn as tg
    >>> tg.cat([tg.zeros(2, 1), tg.ones(2, 2)], dim=1).tolist()
    [[0.0, 1.0, 1.0], [0.0, 1.0, 1.0]]
    """
    parts = _sequence(tensors, "cat")
    ndim = parts[0].ndim
    axis = check_dim(dim, ndim, "cat")
    rest = [(*t.shape[:axis], *t.shape[axis + 1 :]) for t in parts]
    if ndim == 0 or any(t.ndim != ndim or r != rest[0] for t, r in zip(parts, rest, strict=True)):
        shapes = ", ".join(str(t.shape) for t in parts)
        raise ShapeError("cat", f"equal shapes but for dim {axis}", shapes)
    return bind(_cat, parts, {"dim": axis, "sizes": tuple(t.shape[axis] for t in parts)})


def stack(tensors: Sequence[Any], dim: int = 0) -> Any:
    """The tensors, all of one shape, along a new axis."""
    parts = _sequence(tensors, "stack")
    if any(t.shape != parts[0].shape for t in parts):
        raise ShapeError("stack", "equal shapes", ", ".join(str(t.shape) for t in parts))
    return bind(_stack, parts, {"dim": check_dim(dim, parts[0].ndim + 1, "stack")})


def _pad_forward(xp: Any, x: Any, widths: tuple[tuple[int, int], ...], value: float) -> Any:
    return xp.pad(x, widths, constant_values=value) if widths else x.copy()


def _pad_transpose(g: Any, widths: tuple[tuple[int, int], ...]) -> Any:
    return g[tuple(slice(a, n - b) for (a, b), n in zip(widths, g.shape, strict=True))]


_pad: Primitive = linear("pad", _pad_forward, _pad_transpose, affine=True)


@method("pad")
def pad(x: Any, widths: Sequence[int], value: float = 0.0) -> Any:
    """Put `value` around x; `widths` are (before, after) of the last axis, the one before it, ….

    >>> import tinygrad_rnn as tg
    >>> tg.pad(tg.ones(2), (1, 2)).tolist()
    [0.0, 1.0, 1.0, 0.0, 0.0]
    """
    if not hasattr(x, "dtype"):
        raise DTypeError("pad", "a tensor or an array", type(x).__name__, HINT)
    if not isinstance(widths, (tuple, list)) or not all(map(checks.is_index, widths)):
        raise DTypeError("pad", "a tuple of integers", repr(widths))
    if len(widths) % 2 or len(widths) > 2 * x.ndim:
        wanted = f"an even number of widths, at most {2 * x.ndim}"
        raise ShapeError("pad", wanted, str(tuple(widths)))
    if any(width < 0 for width in widths):
        raise ArgumentError("pad", "widths >= 0", str(tuple(widths)), "cut with x[…]")
    pairs = [(int(a), int(b)) for a, b in zip(widths[::2], widths[1::2], strict=True)][::-1]
    full = ((0, 0),) * (x.ndim - len(pairs)) + tuple(pairs)
    padded = call(_pad, x, {"widths": full, "value": 0})
    if value == 0:
        return padded
    backend = x.backend if isinstance(x, Tensor) else backend_of(x)
    frame = backend.xp.pad(backend.xp.zeros(x.shape, x.dtype), full, constant_values=value)
    return padded + frame
