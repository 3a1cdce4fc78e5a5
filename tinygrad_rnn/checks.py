"""The dtypes that tensors have, and the checks of dtypes, axes and shapes that every floor uses."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from .errors import DTypeError, IndexRangeError, ShapeError

__all__ = [
    "DTYPES", "bool_", "check_callable", "check_dim", "check_dims", "check_dtype", "check_key",
    "check_masks", "check_shape", "float16", "float32", "float64", "get_default_dtype", "int16",
    "int32", "int64", "int8", "is_index", "require_float", "set_default_dtype", "sizes_of", "uint8",
]  # fmt: skip

float16, float32, float64 = (np.dtype(name) for name in ("float16", "float32", "float64"))
int8, int16, int32, int64 = (np.dtype(name) for name in ("int8", "int16", "int32", "int64"))
uint8, bool_ = np.dtype("uint8"), np.dtype("bool")
DTYPES = {np.dtype(name): np.dtype(name) for name in "f2 f4 f8 i1 i2 i4 i8 u1 u2 u4 u8 ?".split()}
_default = [float32]


def get_default_dtype() -> Any:
    """The dtype of tensors made from Python floats, float32 unless changed."""
    return _default[0]


def set_default_dtype(dtype: Any) -> None:
    """Make `dtype` (float16, float32 or float64) that of tensors made from Python floats."""
    checked = check_dtype(dtype, "set_default_dtype")
    require_float("set_default_dtype", checked)
    _default[0] = checked


def check_dtype(dtype: Any, called: str) -> np.dtype[Any]:
    """`dtype` as a NumPy dtype in native byte order, if it is one that tensors can have."""
    if isinstance(dtype, np.dtype) and dtype in DTYPES:
        return DTYPES[dtype]
    try:
        found = np.dtype(dtype).newbyteorder("=")
    except TypeError:
        raise DTypeError(called, "a dtype such as tg.float32", repr(dtype)) from None
    if found not in DTYPES:
        hint = "keep real and imaginary parts as two tensors" if found.kind == "c" else None
        raise DTypeError(called, "a float, integer or bool dtype", str(np.dtype(dtype)), hint)
    return DTYPES[found]


def require_float(called: str, dtype: Any) -> None:
    """Only floating-point (or complex) values have gradients."""
    if dtype.kind not in "fc":
        hint = "gradients need .float() or .double()"
        raise DTypeError(called, "a floating-point tensor", dtype.name, hint)


def check_callable(function: Any, called: str) -> None:
    """What is to be differentiated or recomputed must be something to call."""
    if not callable(function):
        raise DTypeError(called, "a function first", type(function).__name__)


def check_dim(dim: Any, ndim: int, called: str) -> int:
    """`dim` counted from the front; negative numbers count from the back."""
    if type(dim) is not int and not is_index(dim):
        raise DTypeError(called, "dim as an integer", repr(dim))
    index = dim.__index__()
    if not -max(ndim, 1) <= index < max(ndim, 1):
        raise ShapeError(called, f"-{ndim} <= dim < {ndim}", f"dim={index}")
    return int(index) % max(ndim, 1)


def check_shape(shape: Any, called: str) -> tuple[int, ...]:
    """A shape given as numbers or as one sequence; sizes are not negative and fit memory."""
    shape = sizes_of(shape)
    sizes = tuple([int(size) for size in shape if type(size) is int or is_index(size)])
    if len(sizes) < len(shape):
        raise DTypeError(called, "integer sizes", repr(shape))
    if min(sizes, default=0) < 0:
        raise ShapeError(called, "sizes >= 0", str(sizes))
    if len(sizes) > 64 or prod(filter(None, sizes)) >= 2**60:
        raise ShapeError(called, "a shape that fits memory, of at most 64 axes", str(sizes))
    return sizes


def is_index(n: Any) -> bool:
    """Whether something is one integer: any array has an `__index__`, and so has True."""
    if getattr(n, "ndim", 0) or isinstance(n, bool | float):
        return False
    return hasattr(n, "__index__") and getattr(getattr(n, "dtype", None), "kind", "i") in "iu"


def check_dims(dim: Any, ndim: int, called: str) -> tuple[int, ...]:
    """One axis or several, or None for all, as a sorted tuple without repeats."""
    if dim is None:
        return tuple(range(ndim))
    dims = dim if isinstance(dim, (tuple, list)) else (dim,)
    found = tuple(sorted(check_dim(d, ndim, called) for d in dims))
    if len(set(found)) != len(found):
        raise ShapeError(called, "different axes", str(dim))
    return found if ndim else ()


def sizes_of(shape: tuple[Any, ...]) -> tuple[int, ...]:
    """A shape given as f(2, 3) or as f((2, 3)), always as a tuple."""
    joined = len(shape) == 1 and hasattr(shape[0], "__iter__") and getattr(shape[0], "ndim", True)
    return tuple(shape[0]) if joined else shape


def check_key(key: tuple[Any, ...], shape: tuple[int, ...], called: str) -> None:
    """Every index array must lie within its axis: CuPy wraps what does not, NumPy raises later.

    The answer comes from the device, so this is asked only where indices wrap.
    """
    widths = [_width(item) for item in key]
    axis = 0
    for item, width in zip(key, widths, strict=True):
        is_index = hasattr(item, "dtype") and item.dtype.kind in "iu" and axis < len(shape)
        if is_index and bool(((item < -shape[axis]) | (item >= shape[axis])).any()):
            size = shape[axis]
            raise IndexRangeError(called, f"indices in {-size} … {size - 1} on axis {axis}", item)
        axis += len(shape) - sum(widths) if item is Ellipsis else width


def check_masks(key: Sequence[Any], shape: tuple[int, ...], called: str) -> None:
    """A mask must have the sizes of the axes it stands for: the places where it is true forget."""
    widths = [_width(item) for item in key]
    axis = 0
    for item, width in zip(key, widths, strict=True):
        sizes = shape[axis : axis + width]
        if hasattr(item, "dtype") and item.dtype.kind == "b" and item.shape != sizes:
            raise IndexRangeError(called, f"a mask of shape {sizes}", str(item.shape))
        axis += len(shape) - sum(widths) if item is Ellipsis else width


def _width(item: Any) -> int:
    """How many axes a part of an index uses up."""
    if item is None or item is Ellipsis:
        return 0
    return item.ndim if hasattr(item, "dtype") and item.dtype.kind == "b" else 1
