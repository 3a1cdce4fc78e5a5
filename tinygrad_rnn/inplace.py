"""Changes in place: of constants always, of leaves that collect gradients inside `no_grad` only.

Each change is noted (`graph.touch`), so that backward knows when a value it needs is gone. Where
backward runs a function again, it is what that function reads that must not have changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from .backend import backend_of, is_array, moved
from .checks import check_key
from .create import holds, tracing
from .errors import DeviceError, DTypeError, IndexRangeError, InPlaceError, ShapeError
from .graph import INTERPRETERS, changed_since, is_grad_enabled, root_of, touch
from .tensor import Tensor, as_tensor, method

__all__ = [
    "AGAIN", "add_", "check_read", "copy_", "div_", "fill_", "mul_", "refusing_changes", "sub_",
    "zero_",
]  # fmt: skip

# one for each function that runs again, in any thread, and might read what has changed since: while
# there is none, an operation need not ask
AGAIN: list[int] = []
_changed: ContextVar[dict[int, Any] | None] = ContextVar("changed", default=None)


@contextmanager
def refusing_changes(index: int) -> Iterator[None]:
    """Inside, no recorded operation may read what was changed between number `index` and now."""
    changed = changed_since(index)
    token = _changed.set(changed)
    AGAIN.extend([index] * bool(changed))
    try:
        yield
    finally:
        _changed.reset(token)
        del AGAIN[: bool(changed)]


def check_read(arrays: Sequence[Any]) -> None:
    """Raise if one of these was changed, and the function that reads it runs again."""
    changed = _changed.get()
    if changed and is_grad_enabled():
        for array in arrays:
            if id(root_of(array)) in changed:
                shape = f"one of shape {getattr(array, 'shape', ())} changed in place since"
                raise InPlaceError(
                    "backward of checkpoint", "the tensors that its function reads as they were",
                    shape, "change a copy: x = x.clone(); update statistics inside no_grad()",
                )  # fmt: skip


def _write(x: Tensor, called: str, key: Any, value: Any) -> Tensor:
    """Check all, then write, then note the change: what fails has changed nothing."""
    _check_writable(x, called)
    kind = value.dtype.kind if hasattr(value, "dtype") else "f" if type(value) is float else ""
    if kind == "f" and x.dtype.kind != "f":
        raise DTypeError(called, f"values that fit {x.dtype}", "floats", "x = x.float() first")
    try:
        x.array[key] = value
    except ValueError as error:
        raise ShapeError(called, f"a value that fits {x.shape}", str(error)) from None
    except IndexError as error:
        raise IndexRangeError(called, f"an index into shape {x.shape}", str(error)) from None
    touch(x.array)
    return x


def _is_dual(x: Any) -> bool:
    """Whether x has more than its values, which a change of these would pass by."""
    return type(getattr(x, "array", None)) in INTERPRETERS


def _check_writable(x: Tensor, called: str) -> None:
    if (trace := tracing()) is not None and id(root_of(x.array)) not in trace.made:
        raise trace.refused(f"the step changes a tensor in place ({called})")
    if not x.is_leaf or _is_dual(x) or (x.requires_grad and is_grad_enabled()):
        hint = "use tg.where or scatter_add for a new tensor, or no_grad() to change a leaf"
        raise InPlaceError(called, "a tensor that needs no gradient", "one that does", hint)
    steps = zip(x.shape, x.array.strides, strict=True)
    if x.array.size and any(n > 1 and s == 0 for n, s in steps):  # without elements all may be 0
        raise InPlaceError(called, "one memory cell per element", "an expanded tensor", "clone()")
    if not getattr(getattr(x.array, "flags", None), "writeable", True):
        raise InPlaceError(called, "memory that can be written", "a read-only array")


@method("__setitem__")
def _assign(self: Tensor, index: Any, value: Any) -> None:
    key = tuple(_place(i, self) for i in (index if isinstance(index, tuple) else (index,)))
    if self.backend.wraps_indices:
        check_key(key, self.shape, "__setitem__")
    _write(self, "__setitem__", key, _raw(value, self, "__setitem__"))


def _combine(self: Tensor, called: str, ufunc: str, other: Any, alpha: float = 1) -> Tensor:
    array = _raw(other, self, called)
    _check_writable(self, called)
    try:
        made = getattr(self.backend.xp, ufunc)(self.array, array if alpha == 1 else alpha * array)
    except ValueError as error:
        raise ShapeError(called, f"a value that broadcasts to {self.shape}", str(error)) from None
    return _write(self, called, ..., made)


@method("copy_")
def copy_(self: Tensor, source: Any) -> Tensor:
    """Overwrite the values with those of `source`, which must broadcast to the shape."""
    return _write(self, "copy_", ..., _raw(source, self, "copy_"))


@method("fill_")
def fill_(self: Tensor, value: float) -> Tensor:
    """Overwrite every element with `value`."""
    return _write(self, "fill_", ..., _raw(value, self, "fill_"))


@method("zero_")
def zero_(self: Tensor) -> Tensor:
    """Overwrite every element with zero."""
    return _write(self, "zero_", ..., 0)


@method("add_")
def add_(self: Tensor, other: Any, alpha: float = 1) -> Tensor:
    """Add `alpha * other` in place."""
    return _combine(self, "add_", "add", other, alpha)


@method("sub_")
def sub_(self: Tensor, other: Any, alpha: float = 1) -> Tensor:
    """Subtract `alpha * other` in place."""
    return _combine(self, "sub_", "subtract", other, alpha)


@method("mul_")
def mul_(self: Tensor, other: Any) -> Tensor:
    """Multiply by `other` in place."""
    return _combine(self, "mul_", "multiply", other)


@method("div_")
def div_(self: Tensor, other: Any) -> Tensor:
    """Divide by `other` in place."""
    return _combine(self, "div_", "true_divide", other)


def _operator(name: str, change: Callable[[Tensor, Any], Tensor]) -> None:
    """Attach `x op= y`, which without it (NotImplemented) is `x = x op y`: a new tensor.

    So `total += loss` records and changes nothing that others hold, while `p -= lr * p.grad`
    inside `no_grad` changes that leaf. A Parameter refuses where gradients are recorded.
    """

    @method(name)
    def operator(self: Tensor, other: Any) -> Tensor:
        leaf = self.node is not None and self.is_leaf and not is_grad_enabled()
        itself = leaf or getattr(self, "_is_parameter", False)
        return change(self, other) if itself else NotImplemented


_operator("__iadd__", add_)
_operator("__isub__", sub_)
_operator("__imul__", mul_)
_operator("__itruediv__", div_)


def _raw(value: Any, like: Tensor, called: str) -> Any:
    """The array (or number) behind `value`, which must be on the device of `like`."""
    if _is_dual(value) or (getattr(value, "requires_grad", False) and is_grad_enabled()):
        raise InPlaceError(called, "a value without gradient", "one that requires it", "tg.where")
    if isinstance(value, (list, tuple)):
        value = as_tensor(value, like.dtype if like.dtype.kind == "f" else None, like.device)
    array = value.array if isinstance(value, Tensor) else value
    if not is_array(array) and type(array) not in (int, float, bool):
        raise DTypeError(called, "a tensor, an array or a number", type(array).__name__)
    if not is_array(array) and not holds(like.dtype, array):
        raise DTypeError(called, f"a number that fits {like.dtype}", repr(array))
    if not is_array(array) or backend_of(array) is like.backend:
        return array
    if type(array) is not backend_of(array).array_type:  # a number that NumPy made
        return array.item()
    raise DeviceError(called, f"a value on {like.device!r}", f"one on {backend_of(array).name!r}")


def _place(index: Any, like: Tensor) -> Any:
    """A part of an index, where `like` is; it may come from the host, but not from a device."""
    array = as_tensor(index).array if isinstance(index, (Tensor, list)) else index
    if not is_array(array) or backend_of(array) is like.backend:
        return array
    if backend_of(array).name != "cpu":
        wanted = f"an index on {like.device!r} or 'cpu'"
        raise DeviceError("__setitem__", wanted, repr(backend_of(array).name))
    return moved(array, like.backend)
