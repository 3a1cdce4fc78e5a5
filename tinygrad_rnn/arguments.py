"""Checks of what users give: numbers, flags, arrays of numbers, and what is no tensor at all."""

from __future__ import annotations

import inspect
import numbers
import operator
from collections.abc import Callable, Iterable
from functools import wraps
from math import inf
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .errors import ArgumentError, DataError, DTypeError, IndexRangeError, ShapeError
from .ops.call import HINT
from .tensor import Tensor

__all__ = [
    "explicit", "finite_array", "flag", "function", "instance", "numeric_array", "positive",
    "real", "refuse_unknown", "refused", "several", "string", "symbol_vector", "takes",
    "whole_number",
]  # fmt: skip


def real(called: str, name: str, value: object, least: float = -inf, bound: float = inf) -> float:
    """`value` as a Python number with least <= value < bound; neither NaN nor a bool."""
    is_number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not is_number or not least <= value < bound:  # type: ignore[operator]
        raise ArgumentError(called, f"{name}, a number {_interval(least, bound)},", repr(value))
    return value if type(value) is int else float(value)  # type: ignore[arg-type]


def _interval(least: float, bound: float) -> str:
    below = "and finite" if bound == inf else f"and < {bound:g}"
    return f">= {least:g} {below}" if least > -inf else below.removeprefix("and ")


def positive(called: str, name: str, value: object, bound: float = inf) -> float:
    """`value` as a Python number with 0 < value < bound."""
    if value == 0:
        raise ArgumentError(called, f"{name} > 0", repr(value))
    return real(called, name, value, 0, bound)


def whole_number(called: str, name: str, value: object, least: int = 1) -> int:
    """`value` as a Python integer that is at least `least`."""
    try:
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        number = least - 1
    if number < least or isinstance(value, bool):
        raise ArgumentError(called, f"{name}, a whole number >= {least},", repr(value))
    return number


def flag(called: str, name: str, value: object) -> bool:
    """`value` as a Python bool."""
    if not isinstance(value, bool) and type(value).__name__ != "bool":  # NumPy's has that name too
        raise ArgumentError(called, f"{name}, True or False,", repr(value))
    return bool(value)


def string(called: str, name: str, value: object) -> str:
    """`value`, which must be a string."""
    if not isinstance(value, str):
        raise DTypeError(called, f"{name}, a string,", _kind(value))
    return value


def several(called: str, name: str, value: Any) -> list[Any]:
    """What `value` holds, as a list; a single thing is none."""
    try:
        return list(value)
    except TypeError:
        raise DTypeError(called, f"{name}, several in a list,", _kind(value)) from None


def function(called: str, name: str, value: Any, hint: str | None = None) -> Any:
    """`value`, which must be something to call."""
    if not callable(value):
        raise DTypeError(called, f"{name}, a function,", _kind(value), hint)
    return value


def instance(called: str, name: str, value: Any, kind: type, hint: str | None = None) -> None:
    """`value` must be one of these."""
    if not isinstance(value, kind):
        raise DTypeError(called, f"{name}, of type {kind.__name__},", type(value).__name__, hint)


def takes(function: Any, count: int) -> bool:
    """Whether `function`, or a module, can be called with that many arguments."""
    try:
        inspect.signature(getattr(function, "forward", function)).bind(*[None] * count)
    except TypeError:
        return False
    except ValueError:  # it has no signature to look at
        return True
    return True


def refuse_unknown(
    called: str,
    function: Any,
    options: Iterable[str],
    taken: Iterable[str] = (),
    *,
    beside: Iterable[str] = (),
    hint: Callable[[str], str | None] = lambda name: None,
) -> None:
    """Name an option that `function` lacks before it is called with it; others may be `taken`.

    Args:
        beside: options that the caller has of its own, to be listed first.
        hint: what to say of the unknown name.
    """
    parameters = inspect.signature(function).parameters.values()
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return
    named = [p for p in parameters if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)]
    known = [p.name for p in named if p.default is not p.empty and p.name not in set(taken)]
    for name in options:
        if name not in {p.name for p in named} - set(taken):
            listed = ", ".join(dict.fromkeys([*beside, *known]))
            raise ArgumentError(called, f"options out of {listed}", repr(name), hint(name))


def _kind(value: object) -> str:
    kind = type(value).__name__
    return f"{kind} {value!r}" if isinstance(value, numbers.Number) else kind


def numeric_array(called: str, name: str, values: ArrayLike) -> NDArray[Any]:
    """`values` as an array of numbers with at least one axis."""
    try:
        array = np.asarray(values)
    except ValueError as error:  # NumPy's word for rows of unequal length
        raise ShapeError(called, f"{name} of regular shape", "rows of unequal length") from error
    if array.dtype.kind not in "biuf":
        raise DTypeError(called, f"{name} of numbers", array.dtype)
    if array.ndim == 0:
        raise ShapeError(called, f"{name} with an axis of time", "a single number")
    return array


def finite_array(called: str, name: str, values: ArrayLike) -> NDArray[np.float64]:
    """`values` as float64 without NaN and infinity."""
    array = numeric_array(called, name, values).astype(np.float64)
    finite = np.isfinite(array)
    if not finite.all():
        place = np.argwhere(~finite)[0].tolist()
        expected = f"{name}, all finite,"
        raise DataError(called, expected, f"{array[tuple(place)]} at index {place}")
    return array


def symbol_vector(called: str, symbols: ArrayLike, count: int) -> NDArray[np.int64]:
    """`symbols` as a vector of integers, each from 0 to `count` − 1."""
    array = np.asarray(symbols)
    if array.ndim != 1:
        raise ShapeError(called, "a vector of symbols", array.shape)
    if array.size and array.dtype.kind not in "iu":
        raise DTypeError(called, "integer symbols", array.dtype)
    wrong = np.flatnonzero((array < 0) | (array >= count))
    if wrong.size:
        got = f"{array[wrong[0]]} at position {wrong[0]}"
        raise IndexRangeError(called, f"0 <= symbol < {count}", got)
    return array.astype(np.int64)


# ---------------------------------------------------------------------- what is no tensor at all
F = TypeVar("F", bound=Callable[..., Any])
_NEVER = (str, bytes, list, tuple, dict, set, type(None))


def explicit(function: F) -> F:
    """The function as users call it: it says so if what it is given is no tensor.

    Lists are refused, as PyTorch does, and not converted: that would drop the gradients of tensors
    inside, and cost a copy each time. Found out only where an attribute is missing, so this is one
    call more; the library's own calls and the methods go without it.
    """

    @wraps(function)
    def called(*args: Any, **options: Any) -> Any:
        try:
            return function(*args, **options)
        except (AttributeError, TypeError) as error:
            refused(function.__name__, (*args, *options.values()), error)
            if type(error) is TypeError and args and isinstance(args[0], _NEVER):
                got = type(args[0]).__name__
                raise DTypeError(function.__name__, "a tensor or an array", got, HINT) from None
            raise

    called.__module__ = function.__module__.partition(".")[0]  # where pickle finds it
    return called  # type: ignore[return-value]


def refused(called: str, args: Iterable[Any], error: Exception) -> None:
    """Raise a DTypeError if `error` says that one of the arguments lacks what tensors have."""
    culprit = getattr(error, "obj", None)
    missing = isinstance(error, AttributeError) and hasattr(Tensor, error.name or "")
    if missing and not hasattr(culprit, "dtype") and any(arg is culprit for arg in args):
        raise DTypeError(called, "a tensor or an array", type(culprit).__name__, HINT) from None
