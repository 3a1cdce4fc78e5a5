"""Changes in place: of constants always, of leaves that collect gradients inside `no_grad` only.

Each change is noted (`graph.touch`), so that backward knows when a value it needs is gone.
"""

from __future__ import annotations

from typing import Any

from .backend import backend_of, is_array
from .errors import DeviceError, InPlaceError, ShapeError
from .graph import is_grad_enabled, touch
from .tensor import Tensor, method

__all__ = ["add_", "copy_", "div_", "fill_", "mul_", "sub_", "zero_"]


def _changing(x: Tensor, called: str) -> Tensor:
    if not x.is_leaf or (x.requires_grad and is_grad_enabled()):
        raise InPlaceError(
            called,
            "a tensor that needs no gradient",
            "one that does",
            "use tg.where or scatter for a new tensor, or no_grad() to change a leaf",
        )
    if not getattr(getattr(x.array, "flags", None), "writeable", True):
        raise InPlaceError(called, "memory that can be written", "a read-only array")
    if any(n > 1 and s == 0 for n, s in zip(x.shape, x.array.strides, strict=True)):
        raise InPlaceError(called, "one memory cell per element", "an expanded tensor", "clone()")
    touch(x.array)
    return x


@method("__setitem__")
def _assign(self: Tensor, index: Any, value: Any) -> None:
    arrays = index if isinstance(index, tuple) else (index,)
    key = tuple(i.array if isinstance(i, Tensor) else i for i in arrays)
    if isinstance(value, Tensor) and value.requires_grad and is_grad_enabled():
        raise InPlaceError(
            "__setitem__", "a value without gradient", "one that requires it", "use tg.where"
        )
    try:
        _changing(self, "__setitem__").array[key] = _raw(value, self)
    except (ValueError, IndexError) as error:
        raise ShapeError(
            "__setitem__", f"an index and a value that fit {self.shape}", str(error)
        ) from None


@method("copy_")
def copy_(self: Tensor, source: Any) -> Tensor:
    """Overwrite the values with those of `source`, which must broadcast to the shape."""
    _assign(self, ..., source)
    return self


@method("fill_")
def fill_(self: Tensor, value: float) -> Tensor:
    """Overwrite every element with `value`."""
    return copy_(self, value)


@method("zero_")
def zero_(self: Tensor) -> Tensor:
    """Overwrite every element with zero."""
    return copy_(self, 0)


@method("add_")
def add_(self: Tensor, other: Any, alpha: float = 1) -> Tensor:
    """Add `alpha * other` in place."""
    return copy_(self, self.array + alpha * _raw(other, self))


@method("sub_")
def sub_(self: Tensor, other: Any, alpha: float = 1) -> Tensor:
    """Subtract `alpha * other` in place."""
    return add_(self, other, -alpha)


@method("mul_")
def mul_(self: Tensor, other: Any) -> Tensor:
    """Multiply by `other` in place."""
    return copy_(self, self.array * _raw(other, self))


@method("div_")
def div_(self: Tensor, other: Any) -> Tensor:
    """Divide by `other` in place."""
    return copy_(self, self.array / _raw(other, self))


def _raw(value: Any, like: Tensor) -> Any:
    """The array (or number) behind `value`, which must be on the device of `like`."""
    array = value.array if isinstance(value, Tensor) else value
    if is_array(array) and array.shape and backend_of(array) is not like.backend:
        raise DeviceError(
            "in-place", f"a value on {like.device!r}", f"one on {backend_of(array).name!r}"
        )
    return array
