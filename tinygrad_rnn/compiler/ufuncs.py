"""Operations as functions of NumPy that are told where their result goes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .program import Value

__all__ = ["BY_NAME", "CHAINS", "UFUNCS", "operation"]

# what is one function
UFUNCS: dict[str, Callable[..., Any]] = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.true_divide,
    "neg": np.negative, "square": np.square, "reciprocal": np.reciprocal, "sqrt": np.sqrt,
    "exp": np.exp, "expm1": np.expm1, "log": np.log, "log1p": np.log1p, "sin": np.sin,
    "cos": np.cos, "tan": np.tan, "atan": np.arctan, "sinh": np.sinh, "cosh": np.cosh,
    "tanh": np.tanh, "abs": np.abs, "sign": np.sign, "maximum": np.maximum,
    "minimum": np.minimum, "logaddexp": np.logaddexp, "floor": np.floor, "ceil": np.ceil,
    "round": np.rint, "eq": np.equal, "ne": np.not_equal, "lt": np.less, "le": np.less_equal,
    "gt": np.greater, "ge": np.greater_equal, "logical_and": np.logical_and,
    "logical_or": np.logical_or, "logical_not": np.logical_not, "isnan": np.isnan,
    "isinf": np.isinf, "isfinite": np.isfinite, "pow": np.power, "matmul": np.matmul,
    "clone": np.positive,
}  # fmt: skip
# what is several calls: each with the result so far, and perhaps a number
CHAINS: dict[str, tuple[tuple[str, float | None], ...]] = {
    "relu": (("maximum", 0.0),),
    "rsqrt": (("sqrt", None), ("reciprocal", None)),
}
BY_NAME = frozenset((np.maximum, np.minimum))  # which take their result as out= alone
REDUCTIONS = {"sum": np.add, "amax": np.maximum, "amin": np.minimum}


def _softplus(x: Any, out: Any) -> None:
    """max(x, 0) + log(1 + e^−|x|), with one array in between."""
    np.abs(x, out)
    np.negative(out, out)
    np.exp(out, out)
    np.log1p(out, out)
    np.add(out, np.maximum(x, 0), out)


def operation(value: Value) -> Callable[..., Any]:
    """`f(*arrays, out=)` for an operation; one without such a form computes and copies."""
    found = UFUNCS.get(value.name)
    if found is np.positive and value.dtype.kind == "b":
        found = None
    if found is not None:
        return found
    params, op = value.params, value.op
    assert op is not None
    if value.name in REDUCTIONS:
        reduce = REDUCTIONS[value.name].reduce
        dims, keep = params["dims"], params["keepdim"]
        return lambda x, out: reduce(x, axis=dims, keepdims=keep, out=out)
    if value.name == "softplus":
        return _softplus
    forward = op.forward
    return lambda *args, out: np.copyto(out, forward(np, *args, **params))
