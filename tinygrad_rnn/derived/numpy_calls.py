"""What NumPy's own functions do with a tensor: operators are the tensor's, the rest is refused.

`array + tensor` is `tensor.__radd__(array)`. `np.tanh(tensor)` has no graph to write to, so it says
what to call in its place. Functions that are given constants only compute what they always did.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import AutodiffError, DTypeError
from ..ops import elementwise, indexing, linalg, reduce, shape
from ..tensor import Tensor
from .arithmetic import __all__ as arithmetic
from .arrays import __all__ as arrays
from .choosing import __all__ as choosing
from .matrices import __all__ as matrices

__all__ = ["array_function", "array_ufunc"]

REFLECTED = {
    "add": "__radd__", "bitwise_and": "__rand__", "bitwise_or": "__ror__",
    "bitwise_xor": "__rxor__", "divide": "__rtruediv__", "equal": "__eq__",
    "floor_divide": "__rfloordiv__", "greater": "__lt__", "greater_equal": "__le__",
    "less": "__gt__", "less_equal": "__ge__",
    "matmul": "__rmatmul__", "multiply": "__rmul__", "not_equal": "__ne__", "power": "__rpow__",
    "remainder": "__rmod__", "subtract": "__rsub__",
}  # fmt: skip
OUR_NAMES = {
    "absolute": "abs", "arccos": "acos", "arcsin": "asin", "arctan": "atan", "array_equal": "equal",
    "concatenate": "cat", "divide": "div", "equal": "eq", "expand_dims": "unsqueeze", "fabs": "abs",
    "greater": "gt", "greater_equal": "ge", "invert": "bitwise_not", "less": "lt",
    "less_equal": "le", "moveaxis": "movedim", "multiply": "mul", "negative": "neg",
    "not_equal": "ne", "power": "pow", "repeat": "repeat_interleave", "rint": "round",
    "subtract": "sub",
}  # fmt: skip
OURS = {"einsum", *arithmetic, *arrays, *choosing, *matrices}.union(
    *(room.__all__ for room in (elementwise, indexing, linalg, reduce, shape))
)


def array_ufunc(tensor: Tensor, ufunc: Any, way: str, *inputs: Any, **options: Any) -> Any:
    """The operator, where a NumPy array stands at its left; any other call is refused."""
    reflected = getattr(Tensor, REFLECTED.get(ufunc.__name__, ""), None)
    at_left = isinstance(inputs[0], (np.ndarray, np.generic))
    if reflected and at_left and way == "__call__" and not options:
        return reflected(inputs[1], inputs[0])
    called = ufunc.__name__ if way == "__call__" else f"{ufunc.__name__}.{way}"
    raise DTypeError(f"np.{called}", "NumPy arrays", "a tensor", _instead(ufunc.__name__))


def array_function(tensor: Tensor, function: Any, types: Any, args: Any, options: Any) -> Any:
    """What the function gives for the values; where they cannot be had, it is refused."""
    if not all(kind is Tensor or issubclass(kind, np.ndarray) for kind in types):
        return NotImplemented
    try:
        return function._implementation(*args, **options)
    except (AttributeError, AutodiffError, TypeError) as error:
        called, hint = f"np.{function.__name__}", _instead(function.__name__)
        kind = AutodiffError if isinstance(error, AutodiffError) else DTypeError
        got = "a tensor that requires a gradient" if kind is AutodiffError else "a tensor"
        raise kind(called, "NumPy arrays", got, hint) from error


def _instead(name: str) -> str:
    ours = OUR_NAMES.get(name, name)
    return f"tg.{ours}" if ours in OURS else "t.detach().numpy() is an array outside the graph"


class _AsNumPyAsks:
    """The method where the class is asked, as by NumPy; None for an instance, as CuPy asks it."""

    def __get__(self, instance: Tensor | None, owner: type) -> Any:
        return array_ufunc if instance is None else None


Tensor.__array_ufunc__ = _AsNumPyAsks()  # type: ignore[assignment]
Tensor.__array_function__ = array_function  # type: ignore[assignment]
