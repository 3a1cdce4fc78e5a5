"""Elementwise primitives: one line each. `g` is the cotangent (or the tangent).

Where a function has a kink one rule holds everywhere: the derivative is taken from the side that
PyTorch takes, abs'(0) = relu'(0) = 0, and `maximum`/`minimum` share a tie half and half.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from ..backend import backend_of
from ..errors import ArgumentError, DTypeError
from ..tensor import method
from .call import bind
from .declare import elementwise, nondifferentiable

# `add` and `sub` are offered by `derived`, with a factor
__all__ = [
    "abs", "atan", "ceil", "clip", "cos", "cosh", "div", "eq", "erf", "exp", "expm1",
    "floor", "ge", "gt", "isfinite", "isinf", "isnan", "le", "log", "log1p", "logaddexp",
    "logical_and", "logical_not", "logical_or", "lt", "maximum", "minimum", "mul", "ne", "neg",
    "pow", "reciprocal", "relu", "round", "rsqrt", "safe_log", "safe_sqrt", "sigmoid", "sign",
    "sin", "sinh", "softplus", "sqrt", "square", "tan", "tanh", "where",
]  # fmt: skip

Elementwise = Callable[..., Any]
INF = float("inf")
POSITIVE = (0.0, INF)

# ------------------------------------------------------------------------------- arithmetic
add = elementwise(
    "add", lambda xp: xp.add, lambda g: g, lambda g: g,
    kernel="x + y", doc="x + y.",
)  # fmt: skip
sub = elementwise(
    "sub", lambda xp: xp.subtract, lambda g: g, lambda g: -g,
    kernel="x - y", doc="x − y.",
)  # fmt: skip
mul = elementwise(
    "mul", lambda xp: xp.multiply, lambda g, y: g * y, lambda g, x: g * x,
    kernel="x * y", linear_in=(0, 1), doc="x · y.",
)  # fmt: skip
div = elementwise(
    "div", lambda xp: xp.true_divide, lambda g, y: g / y, lambda g, out, y: -(g * out / y),
    kernel="x / y", domain=((-INF, INF), POSITIVE), promote="float", doc="x / y.",
)  # fmt: skip
neg = elementwise("neg", lambda xp: xp.negative, lambda g: -g, kernel="-x", doc="−x.")
square = elementwise(
    "square", lambda xp: xp.square, lambda g, x: g * (x + x), kernel="x * x", doc="x²."
)
reciprocal = elementwise(
    "reciprocal", lambda xp: xp.reciprocal, lambda g, out: -(g * out * out),
    kernel="1 / x", domain=POSITIVE, promote="float", doc="1/x.",
)  # fmt: skip
sqrt = elementwise(
    "sqrt", lambda xp: xp.sqrt, lambda g, out: g * 0.5 / out,
    kernel="sqrt(x)", domain=POSITIVE, promote="float",
    doc="√x; its derivative at 0 is inf, see `safe_sqrt`.",
)  # fmt: skip
rsqrt = elementwise(
    "rsqrt", lambda xp: lambda x: xp.reciprocal(xp.sqrt(x)),
    lambda g, out: g * -0.5 * out * out * out,
    kernel="1 / sqrt(x)", domain=POSITIVE, promote="float", doc="1/√x.",
)  # fmt: skip


def _power_dx(g: Any, x: Any, y: Any) -> Any:
    """g·y·x^(y−1), which is 0 for y = 0 whatever x is."""
    if isinstance(y, (int, float)):
        return g * 0 if y == 0 else g * (y * pow(x, y - 1))
    return where(y == 0, g * 0, g * (y * pow(x, where(y == 0, y + 1, y - 1))))


def _power_dy(g: Any, out: Any, x: Any) -> Any:
    """g·x^y·log x, which is 0 for x = 0 and NaN for x < 0."""
    if hasattr(x, "dtype"):
        return g * out * log(where(x == 0, x + 1, x))
    return g * out * (math.log(x or 1) if x >= 0 else math.nan)


_pow = elementwise(
    "pow", lambda xp: xp.power, _power_dx, _power_dy,
    kernel="pow(x, y)", domain=(POSITIVE, (-INF, INF)), doc="x to the power y.",
)  # fmt: skip
_POWERS: dict[Any, Callable[[Any], Any]] = {
    2: square,
    0.5: sqrt,
    -1: reciprocal,
    1: lambda x: x + 0,
    3: lambda x: mul(square(x), x),
    4: lambda x: square(square(x)),
}


@method("pow", "__pow__")
def pow(x: Any, y: Any) -> Any:
    """x to the power y; the powers 2, 3, 4, ½, −1 are made of faster functions.

    >>> import tinygrad_rnn as tg
    >>> float(tg.pow(tg.tensor(3.0), 2))
    9.0
    """
    if isinstance(y, int | float) and getattr(getattr(x, "dtype", None), "kind", "") == "f":
        return _POWERS.get(y, lambda x: _pow(x, y))(x)
    return _pow(x, y)


# ------------------------------------------------------------------ exponential and friends
exp = elementwise(
    "exp", lambda xp: xp.exp, lambda g, out: g * out, kernel="exp(x)", promote="float", doc="eˣ."
)
expm1 = elementwise(
    "expm1", lambda xp: xp.expm1, lambda g, out: g + g * out,
    kernel="expm1(x)", promote="float", doc="eˣ − 1, exact near 0.",
)  # fmt: skip
log = elementwise(
    "log", lambda xp: xp.log, lambda g, x: g / x,
    kernel="log(x)", domain=POSITIVE, promote="float", doc="Natural logarithm.",
)  # fmt: skip
log1p = elementwise(
    "log1p", lambda xp: xp.log1p, lambda g, x: g / (x + 1),
    kernel="log1p(x)", domain=(-1.0, INF), promote="float", doc="log(1 + x), exact near 0.",
)  # fmt: skip
sin = elementwise(
    "sin", lambda xp: xp.sin, lambda g, x: g * cos(x), kernel="sin(x)", promote="float", doc="Sine."
)
cos: Elementwise = elementwise(
    "cos", lambda xp: xp.cos, lambda g, x: -(g * sin(x)),
    kernel="cos(x)", promote="float", doc="Cosine.",
)  # fmt: skip
tan = elementwise(
    "tan", lambda xp: xp.tan, lambda g, out: g + g * out * out,
    kernel="tan(x)", domain=(-1.5, 1.5), promote="float", doc="Tangent.",
)  # fmt: skip
atan = elementwise(
    "atan", lambda xp: xp.arctan, lambda g, x: g / (x * x + 1),
    kernel="atan(x)", promote="float", doc="Arc tangent.",
)  # fmt: skip
sinh = elementwise(
    "sinh", lambda xp: xp.sinh, lambda g, x: g * cosh(x),
    kernel="sinh(x)", promote="float", doc="Hyperbolic sine.",
)  # fmt: skip
cosh: Elementwise = elementwise(
    "cosh", lambda xp: xp.cosh, lambda g, x: g * sinh(x),
    kernel="cosh(x)", promote="float", doc="Hyperbolic cosine.",
)  # fmt: skip
tanh = elementwise(
    "tanh", lambda xp: xp.tanh, lambda g, out: g - g * out * out,
    kernel="tanh(x)", promote="float", doc="Hyperbolic tangent.",
)  # fmt: skip

# beyond these eˣ overflows, and eˣ/(1 + eˣ) is 1
_LARGEST_EXPONENT = {"f": 88.0, "d": 709.0, "D": 709.0}


def _sigmoid(xp: Any) -> Callable[[Any], Any]:
    minimum, exp, add, divide = xp.minimum, xp.exp, xp.add, xp.true_divide
    constants: dict[str, tuple[Any, Any]] = {}

    def sigmoid(x: Any) -> Any:
        char = x.dtype.char
        if char not in constants:
            if char not in _LARGEST_EXPONENT:  # float16 is for storage, integers become floats
                wide = sigmoid(x.astype("float32"))
                return wide.astype(x.dtype) if x.dtype.kind == "f" else wide
            cap = _LARGEST_EXPONENT[char]
            constants[char] = xp.asarray(cap, dtype=char), xp.asarray(1, dtype=char)
        cap, one = constants[char]
        out = minimum(x, cap)
        if not x.shape:
            out = xp.asarray(out)  # NumPy gives a scalar, which cannot be written to
        exp(out, out)
        return divide(out, add(out, one), out)

    return sigmoid


def _softplus(xp: Any) -> Callable[[Any], Any]:
    return lambda x: xp.log1p(xp.exp(-xp.abs(x))) + xp.maximum(x, 0)


sigmoid = elementwise(
    "sigmoid", _sigmoid, lambda g, out: g * (out - out * out),
    kernel="sigmoid(x)", promote="float", doc="Logistic function σ(x) = 1/(1 + e⁻ˣ).",
)  # fmt: skip
softplus = elementwise(
    "softplus", _softplus, lambda g, x: g * sigmoid(x),
    kernel="softplus(x)", promote="float", doc="log(1 + eˣ).",
)  # fmt: skip
erf = elementwise(
    "erf", lambda xp: lambda x: backend_of(x).erf(x),
    lambda g, x: g * (exp(-(x * x)) * (2 / math.sqrt(math.pi))),
    kernel="erf(x)", promote="float", doc="Error function 2/√π ∫₀ˣ exp(−t²) dt.",
)  # fmt: skip
logaddexp = elementwise(
    "logaddexp", lambda xp: xp.logaddexp,
    lambda g, out, x: g * _softmax_weight(x, out), lambda g, out, y: g * _softmax_weight(y, out),
    kernel="logaddexp(x, y)", promote="float", doc="log(eˣ + eʸ), stable.",
)  # fmt: skip


def _softmax_weight(x: Any, out: Any) -> Any:
    """exp(x − out), and 0 where both are −inf."""
    return exp(x - where(out == -INF, 0.0, out))


# ------------------------------------------------------------------------ pieces and kinks
abs = elementwise(
    "abs", lambda xp: xp.abs, lambda g, x: g * sign(x),
    kernel="fabs(x)", kinks=(0.0,), doc="|x|; the derivative at 0 is 0.",
)  # fmt: skip
sign: Elementwise = elementwise(
    "sign", lambda xp: xp.sign, None, kernel="sign(x)", kinks=(0.0,), doc="−1, 0 or 1."
)
relu = elementwise(
    "relu", lambda xp: lambda x: xp.maximum(x, 0), lambda g, out: g * (out > 0),
    kernel="x > 0 ? x : 0", kinks=(0.0,), doc="max(x, 0); the derivative at 0 is 0.",
)  # fmt: skip
maximum = elementwise(
    "maximum", lambda xp: xp.maximum,
    lambda g, x, y: _share(g, x, y), lambda g, x, y: _share(g, y, x),
    kernel="maximum(x, y)", kinks="equal", doc="The larger of x and y; a tie shares the gradient.",
)  # fmt: skip
minimum = elementwise(
    "minimum", lambda xp: xp.minimum,
    lambda g, x, y: _share(g, y, x), lambda g, x, y: _share(g, x, y),
    kernel="minimum(x, y)", kinks="equal", doc="The smaller of x and y; a tie shares the gradient.",
)  # fmt: skip


def _share(g: Any, mine: Any, other: Any) -> Any:
    """The part of g that goes to the one that has to be larger."""
    return where(mine == other, g * 0.5, where(mine > other, g, 0.0))


_where = elementwise(
    "where", lambda xp: xp.where, None,
    lambda g, condition: where(condition, g, 0.0), lambda g, condition: where(condition, 0.0, g),
    inputs="condition x y", kernel="condition ? x : y", condition=1,
    doc="x where the condition holds, else y.",
)  # fmt: skip


def where(condition: Any, x: Any, y: Any) -> Any:
    """x where the condition holds, else y; no gradient, and no NaN of one, reaches the other.

    (That holds for this operation. If the unselected branch was *computed* as NaN or inf its own
    derivative can still make 0·inf: replace the bad argument before, as `safe_sqrt` does.)

    >>> import tinygrad_rnn as tg
    >>> tg.where(tg.tensor([True, False]), tg.tensor([1.0, 2.0]), 0.0).tolist()
    [1.0, 0.0]
    """
    dtype = getattr(condition, "dtype", None)
    if dtype is None or dtype.kind != "b":
        raise DTypeError("where", "a bool tensor or array first", dtype or type(condition))
    return _where(condition, x, y)


def _clip(xp: Any) -> Callable[..., Any]:
    def clip(x: Any, min: float | None, max: float | None) -> Any:
        low = x if min is None else xp.maximum(x, min)
        return low if max is None else xp.minimum(low, max)

    return clip


def _inside(g: Any, x: Any, min: float | None, max: float | None) -> Any:
    low = x == x if min is None else x >= min
    return g * (low if max is None else low & (x <= max))


_clamp = elementwise(
    "clip", _clip, _inside, kernel="minimum(maximum(x, min), max)", params=("min", "max")
)


@method("clip", "clamp")
def clip(x: Any, min: Any = None, max: Any = None) -> Any:
    """x limited to [min, max]; the gradient passes where min ≤ x ≤ max.

    Raises:
        ArgumentError: min > max, or neither given.
    """
    if min is None and max is None:
        raise ArgumentError("clip", "min or max", "neither")
    if hasattr(min, "shape") or hasattr(max, "shape"):  # of a tie x has all, as with numbers
        low = x if min is None else where(x >= min, x, maximum(x, min))
        return low if max is None else where(low <= max, low, minimum(low, max))
    if not isinstance(min, float | int | None) or not isinstance(max, float | int | None):
        raise DTypeError("clip", "numbers or tensors as min and max", f"{min!r} and {max!r}")
    if min is not None and max is not None and min > max:
        raise ArgumentError("clip", "min <= max", f"min={min}, max={max}")
    return _clamp(x, min=min, max=max)


floor = elementwise("floor", lambda xp: xp.floor, None, kernel="floor(x)", doc="⌊x⌋.")
ceil = elementwise("ceil", lambda xp: xp.ceil, None, kernel="ceil(x)", doc="⌈x⌉.")
round = elementwise(
    "round", lambda xp: xp.rint, None, kernel="rint(x)", doc="The nearest integer, ties to even."
)


# -------------------------------------------------------------- comparisons (no gradient)
def _compare(name: str, ufunc: str, c: str) -> Callable[[Any, Any], Any]:
    primitive = nondifferentiable(
        name, lambda xp, x, y: getattr(xp, ufunc)(x, y), 2, promote="same", kernel=f"x {c} y"
    )

    def compare(x: Any, y: Any) -> Any:
        return bind(primitive, (x, y))

    compare.__name__ = name
    compare.__doc__ = f"x {c} y, element by element, as bool."
    return compare


eq, ne = _compare("eq", "equal", "=="), _compare("ne", "not_equal", "!=")
lt, le = _compare("lt", "less", "<"), _compare("le", "less_equal", "<=")
gt, ge = _compare("gt", "greater", ">"), _compare("ge", "greater_equal", ">=")
logical_and = _compare("logical_and", "logical_and", "&&")
logical_or = _compare("logical_or", "logical_or", "||")


def _test(name: str, doc: str) -> Callable[[Any], Any]:
    primitive = nondifferentiable(name, lambda xp, x: getattr(xp, name)(x), kernel=f"{name}(x)")

    def test(x: Any) -> Any:
        return bind(primitive, (x,))

    test.__name__, test.__doc__ = name, doc
    return test


isnan = _test("isnan", "Where x is NaN.")
isinf = _test("isinf", "Where x is infinite.")
isfinite = _test("isfinite", "Where x is neither NaN nor infinite.")
logical_not = _test("logical_not", "Where x is false.")

# ---------------------------------------------------------------------- methods and operators
for _f in (
    add, sub, mul, div, neg, square, reciprocal, sqrt, rsqrt, exp, expm1, log, log1p, sin, cos, tan,
    atan, sinh, cosh, tanh, sigmoid, softplus, erf, logaddexp, abs, sign, relu, maximum, minimum,
    floor, ceil, round, eq, ne, lt, le, gt, ge, logical_and, logical_or, isnan, isinf, isfinite,
    logical_not,
):  # fmt: skip
    method(_f.__name__)(_f)

_OPERATORS: dict[tuple[str, ...], Elementwise] = {
    ("__add__", "__radd__"): add, ("__mul__", "__rmul__"): mul, ("__sub__",): sub,
    ("__truediv__",): div, ("__neg__",): neg, ("__abs__",): abs,
    ("__eq__",): eq, ("__ne__",): ne, ("__lt__",): lt, ("__le__",): le, ("__gt__",): gt,
    ("__ge__",): ge,
}  # fmt: skip
for _names, _operator in _OPERATORS.items():
    method(*_names)(_operator)


@method("__rsub__")
def _rsub(x: Any, y: Any) -> Any:
    return sub(y, x)


@method("__rtruediv__")
def _rdiv(x: Any, y: Any) -> Any:
    return div(y, x)


@method("__rpow__")
def _rpow(x: Any, y: Any) -> Any:
    return _pow(y, x)


@method("__pos__")
def _pos(x: Any) -> Any:
    return x


# ------------------------------------------------------------------ safe at the singular point
def safe_sqrt(x: Any) -> Any:
    """√x whose derivative at x ≤ 0 is 0 instead of inf (value 0 there); NaN stays NaN."""
    nothing = x <= 0
    return where(nothing, 0.0, sqrt(where(nothing, 1.0, x)))


def safe_log(x: Any, floor: float = 1e-30) -> Any:
    """log max(x, floor), with derivative 0 below the floor."""
    return log(clip(x, floor))
