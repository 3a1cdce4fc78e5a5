"""What the fake device offers: the part of CuPy's namespace that the library may use.

Each entry lists the arguments that CuPy knows, those after * by name only. `test_fake_namespace`
holds every line against the installed `cupy`, so what is written here CuPy has. What is missing may
be added, if that test agrees. Beyond names there are limits that CuPy documents or that its source
shows; `LIMITS` refuses what it would refuse.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

CONSTANTS = ["e", "inf", "nan", "newaxis", "pi"]

DTYPES = [
    "bool_", "float16", "float32", "float64", "int16", "int32", "int64", "int8",
    "uint16", "uint32", "uint64", "uint8",
]  # fmt: skip

# CuPy's ufuncs take `out` by name or position, dtype and casting; never `where` or `order`.
UFUNC_OPTIONS = frozenset(("casting", "dtype", "out"))
UFUNCS = [
    "abs", "absolute", "add", "arccos", "arcsin", "arctan", "arctan2", "bitwise_and", "bitwise_or",
    "bitwise_xor", "cbrt", "ceil", "copysign", "cos", "cosh", "divide", "equal", "exp", "exp2",
    "expm1", "floor", "floor_divide", "fmax", "fmin", "fmod", "greater", "greater_equal", "hypot",
    "invert", "isfinite", "isinf", "isnan", "left_shift", "less", "less_equal", "log", "log10",
    "log1p", "log2", "logaddexp", "logical_and", "logical_not", "logical_or", "logical_xor",
    "maximum", "minimum", "multiply", "negative", "not_equal", "power", "reciprocal", "remainder",
    "right_shift", "rint", "sign", "signbit", "sin", "sinh", "sqrt", "square", "subtract", "tan",
    "tanh", "true_divide", "trunc",
]  # fmt: skip

FUNCTIONS = {
    "all": "a axis out keepdims",
    "any": "a axis out keepdims",
    "arange": "start stop step * dtype",
    "argmax": "a axis * out keepdims",
    "argmin": "a axis * out keepdims",
    "argsort": "a axis kind",
    "array": "obj dtype copy order subok ndmin",
    "asarray": "a dtype order",
    "ascontiguousarray": "a dtype",
    "broadcast_to": "array shape",
    "clip": "a a_min a_max out",
    "concatenate": "tup axis out * dtype casting",
    "copyto": "dst src casting where",
    "count_nonzero": "a axis",
    "cumsum": "a axis dtype out",
    "diagonal": "a offset axis1 axis2",
    "dot": "a b out",
    "einsum": "",
    "empty": "shape dtype order",
    "empty_like": "prototype dtype order subok shape",
    "expand_dims": "a axis",
    "eye": "N M k dtype order",
    "flip": "a axis",
    "full": "shape fill_value dtype order",
    "full_like": "a fill_value dtype order subok shape",
    "isclose": "a b rtol atol equal_nan",
    "linspace": "start stop num endpoint retstep dtype axis",
    "max": "a axis out keepdims",
    "may_share_memory": "a b max_work",
    "mean": "a axis dtype out keepdims",
    "min": "a axis out keepdims",
    "moveaxis": "a source destination",
    "nonzero": "a",
    "ones": "shape dtype order",
    "ones_like": "a dtype order subok shape",
    "outer": "a b out",
    "pad": "array pad_width mode * constant_values",
    "prod": "a axis dtype out keepdims",
    "ravel": "a order",
    "repeat": "a repeats axis",
    "reshape": "a * order",
    "roll": "a shift axis",
    "searchsorted": "a v side sorter",
    "shares_memory": "a b max_work",
    "sort": "a axis kind",
    "split": "ary indices_or_sections axis",
    "squeeze": "a axis",
    "stack": "tup axis out * dtype casting",
    "std": "a axis dtype out ddof keepdims",
    "sum": "a axis dtype out keepdims",
    "swapaxes": "a axis1 axis2",
    "take": "a indices axis out",
    "take_along_axis": "a indices axis",
    "tensordot": "a b axes",
    "tile": "A reps",
    "trace": "a offset axis1 axis2 dtype out",
    "transpose": "a axes",
    "tri": "N M k dtype",
    "tril": "m k",
    "triu": "m k",
    "unique": "ar",
    "var": "a axis dtype out ddof keepdims",
    "where": "condition x y",
    "zeros": "shape dtype order",
    "zeros_like": "a dtype order subok shape",
}
# Those that CuPy makes from **kwargs or *operands, which no signature shows.
UNSEEN_ARGUMENTS = {"pad": {"constant_values"}}
LINALG = {"inv": "a", "norm": "x ord axis keepdims"}
GENERALISED = ["matmul"]  # ufuncs on matrices: the same options

METHODS = {
    "all": "axis out keepdims",
    "any": "axis out keepdims",
    "argmax": "axis * out keepdims",
    "argmin": "axis * out keepdims",
    "argsort": "axis kind",
    "astype": "dtype order casting subok copy",
    "clip": "min max out",
    "copy": "order",
    "cumsum": "axis dtype out",
    "diagonal": "offset axis1 axis2",
    "dot": "b out",
    "fill": "value",
    "flatten": "order",
    "item": "",
    "max": "axis out keepdims",
    "mean": "axis dtype out keepdims",
    "min": "axis out keepdims",
    "nonzero": "",
    "prod": "axis dtype out keepdims",
    "ravel": "order",
    "repeat": "repeats axis",
    "round": "decimals out",
    "sort": "axis kind",
    "squeeze": "axis",
    "std": "axis dtype out ddof keepdims",
    "sum": "axis dtype out keepdims",
    "swapaxes": "axis1 axis2",
    "take": "indices axis out",
    "tolist": "",
    "trace": "offset axis1 axis2 dtype out",
    "var": "axis dtype out ddof keepdims",
    "view": "dtype",
}
VARIADIC_METHODS = {"reshape": "order copy", "transpose": ""}  # sizes or axes, then these by name

ATTRIBUTES = [
    "T", "base", "dtype", "flags", "imag", "itemsize", "mT", "nbytes", "ndim", "real", "shape",
    "size", "strides",
]  # fmt: skip

# Of index arrays CuPy adds atomically, which exists for these types alone.
ATOMIC = frozenset(("float16", "float32", "float64", "int32", "uint32", "uint64"))


def _stable_alone(options: dict[str, Any]) -> None:
    if options.get("kind") not in (None, "stable"):
        raise ValueError("kind can only be None or 'stable'")


def _no_order_k(options: dict[str, Any]) -> None:
    if options.get("order") == "K":
        raise NotImplementedError("ravel with order='K' not yet implemented.")


LIMITS: dict[str, Callable[[dict[str, Any]], None]] = {
    "argsort": _stable_alone,
    "flatten": _no_order_k,
    "ravel": _no_order_k,
    "sort": _stable_alone,
}


def bound(name: str, known: str, args: tuple[Any, ...], options: dict[str, Any]) -> None:
    """Refuse arguments that CuPy's function of this name does not take."""
    by_position, _, by_name = known.partition("*")
    places, names = by_position.split(), [*by_position.split(), *by_name.split()]
    if len(args) > len(places):
        raise TypeError(f"{name}: at most {len(places)} arguments by position, {len(args)} given")
    unknown = [option for option in options if option not in names]
    if unknown:
        raise TypeError(f"{name}: CuPy has no argument {', '.join(unknown)}")
    if name in LIMITS:
        LIMITS[name]({**dict(zip(places, args, strict=False)), **options})
