"""Arithmetic that recurrent networks seldom need: division with remainder, bits, other logarithms.

The operators of bits (&, |, ^, ~) are logical on bools, bitwise on integers, and refuse floats.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from ..errors import ArgumentError
from ..graph import INTERPRETERS
from ..ops import elementwise as ops
from ..ops.call import bind
from ..ops.declare import elementwise, nondifferentiable
from ..ops.elementwise import INF, POSITIVE, clip, logical_and, logical_not, logical_or, ne
from ..tensor import Tensor, method

__all__ = [
    "acos", "add", "asin", "bitwise_and", "bitwise_not", "bitwise_or", "bitwise_xor", "clamp",
    "clamp_max", "clamp_min", "exp2", "floor_divide", "fmod", "log10", "log2", "logical_xor",
    "remainder", "sub", "trunc",
]  # fmt: skip


# --------------------------------------------------------------------------- sums with a factor
@method("add")
def add(x: Any, y: Any, alpha: float = 1) -> Any:
    """x + alpha · y."""
    return ops.add(x, y if alpha == 1 else ops.mul(y, alpha))


@method("sub")
def sub(x: Any, y: Any, alpha: float = 1) -> Any:
    """x − alpha · y."""
    return ops.sub(x, y if alpha == 1 else ops.mul(y, alpha))


# ----------------------------------------------------------------------- division with remainder
_DIVISOR = ((-INF, INF), POSITIVE)
trunc = elementwise(
    "trunc", lambda xp: xp.trunc, None, kernel="trunc(x)", doc="x cut to an integer."
)
_floor_divide = elementwise(
    "floor_divide", lambda xp: xp.floor_divide, None, None,
    kernel="floor(x / y)", domain=_DIVISOR, doc="⌊x / y⌋, of integers an integer.",
)  # fmt: skip
_remainder = elementwise(
    "remainder", lambda xp: xp.remainder,
    lambda g: g, lambda g, x, y: -(g * _floor_divide(x, y)),
    kernel="x - floor(x / y) * y", domain=_DIVISOR,
    doc="x − ⌊x / y⌋ · y, which has the sign of y.",
)  # fmt: skip
_fmod = elementwise(
    "fmod", lambda xp: xp.fmod, lambda g: g, lambda g, x, y: -(g * trunc(x / y)),
    kernel="fmod(x, y)", domain=_DIVISOR, doc="x − trunc(x / y) · y, which has the sign of x.",
)  # fmt: skip


def _refusing_zero(function: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """The division as users call it: of integers by zero there is no result."""
    name = function.__name__

    def divide(x: Any, y: Any) -> Any:
        kinds = [getattr(v, "dtype", type(v)) for v in (x, y)]
        if all(getattr(kind, "kind", "i" if kind is int else "f") in "iub" for kind in kinds):
            divisor = y.array if type(y) is Tensor else y
            if type(divisor) not in INTERPRETERS and _has_zero(divisor):
                raise ArgumentError(name, "a divisor without zeros", "integers with one")
        return function(x, y)

    divide.__name__ = divide.__qualname__ = name
    divide.__doc__ = function.__doc__
    return divide


def _has_zero(divisor: Any) -> bool:
    zero = divisor == 0
    return bool(zero if isinstance(zero, bool) else zero.any())


floor_divide = method("floor_divide", "__floordiv__")(_refusing_zero(_floor_divide))
remainder = method("remainder", "__mod__")(_refusing_zero(_remainder))
fmod = method("fmod")(_refusing_zero(_fmod))
method("trunc")(trunc)


@method("__rfloordiv__")
def _rfloordiv(x: Any, y: Any) -> Any:
    return floor_divide(y, x)


@method("__divmod__")
def _divmod(x: Any, y: Any) -> tuple[Any, Any]:
    return floor_divide(x, y), remainder(x, y)


@method("__rmod__")
def _rmod(x: Any, y: Any) -> Any:
    return remainder(y, x)


# ------------------------------------------------------------------------------------------ bits
def _bits(name: str, sign: str) -> Callable[[Any, Any], Any]:
    primitive = nondifferentiable(
        name, lambda xp, x, y: getattr(xp, name)(x, y), 2, promote="same", kernel=f"x {sign} y"
    )

    def combine(x: Any, y: Any) -> Any:
        return bind(primitive, (x, y))

    combine.__name__ = combine.__qualname__ = name
    combine.__doc__ = f"x {sign} y, bit by bit, of integers and bools."
    return method(name)(combine)


bitwise_and, bitwise_or = _bits("bitwise_and", "&"), _bits("bitwise_or", "|")
bitwise_xor = _bits("bitwise_xor", "^")
_invert = nondifferentiable("bitwise_not", lambda xp, x: xp.invert(x), kernel="~x")


@method("bitwise_not")
def bitwise_not(x: Any) -> Any:
    """~x, bit by bit, of integers and bools."""
    return bind(_invert, (x,))


@method("logical_xor")
def logical_xor(x: Any, y: Any) -> Any:
    """Where exactly one of x and y is true."""
    return ne(logical_not(logical_not(x)), logical_not(logical_not(y)))


def _is_bool(x: Any) -> bool:
    return type(x) is bool or getattr(getattr(x, "dtype", None), "kind", "") == "b"


def _operator(names: tuple[str, ...], of_bools: Any, of_integers: Any) -> None:
    def operator(x: Any, y: Any) -> Any:
        return (of_bools if _is_bool(x) and _is_bool(y) else of_integers)(x, y)

    method(*names)(operator)


_operator(("__and__", "__rand__"), logical_and, bitwise_and)
_operator(("__or__", "__ror__"), logical_or, bitwise_or)
_operator(("__xor__", "__rxor__"), ne, bitwise_xor)


@method("__invert__")
def _inverted(x: Any) -> Any:
    return logical_not(x) if _is_bool(x) else bitwise_not(x)


# ---------------------------------------------------------------------------------------- limits
clamp = clip


@method("clamp_min")
def clamp_min(x: Any, min: Any) -> Any:
    """max(x, min)."""
    return clip(x, min=min)


@method("clamp_max")
def clamp_max(x: Any, max: Any) -> Any:
    """min(x, max)."""
    return clip(x, max=max)


# ----------------------------------------------------------------- logarithms, inverse functions
log2 = elementwise(
    "log2", lambda xp: xp.log2, lambda g, x: g / (x * math.log(2)),
    kernel="log2(x)", domain=POSITIVE, promote="float", doc="Logarithm to the base 2.",
)  # fmt: skip
log10 = elementwise(
    "log10", lambda xp: xp.log10, lambda g, x: g / (x * math.log(10)),
    kernel="log10(x)", domain=POSITIVE, promote="float", doc="Logarithm to the base 10.",
)  # fmt: skip
exp2 = elementwise(
    "exp2", lambda xp: xp.exp2, lambda g, out: g * (out * math.log(2)),
    kernel="exp2(x)", promote="float", doc="2ˣ.",
)  # fmt: skip
asin = elementwise(
    "asin", lambda xp: xp.arcsin, lambda g, x: g / ops.sqrt((1 - x) * (1 + x)),
    kernel="asin(x)", domain=(-1.0, 1.0), promote="float", doc="Arc sine.",
)  # fmt: skip
acos = elementwise(
    "acos", lambda xp: xp.arccos, lambda g, x: -(g / ops.sqrt((1 - x) * (1 + x))),
    kernel="acos(x)", domain=(-1.0, 1.0), promote="float", doc="Arc cosine.",
)  # fmt: skip
for _f in (log2, log10, exp2, asin, acos):
    method(_f.__name__)(_f)
