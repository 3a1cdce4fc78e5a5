"""Arithmetic on vectors in LLVM: the operations that kernels know, and their approximations.

exp(x) = 2ⁿ·eʳ with n = round(x / ln 2) and |r| ≤ ½ ln 2, where the Taylor series of eʳ − 1 is
exact to the last bit or two; expm1, tanh and σ follow without cancellation. The rounding is done
by adding 1.5·2^(mantissa bits), so that no conversion meets a NaN. No flag lets the compiler assume
that there are no NaN or infinities; contraction to fused multiply-adds is allowed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

__all__ = ["Lanes", "OPERATIONS"]

CONTRACT = ("contract",)


@dataclass(frozen=True)
class Format:
    """A floating-point format: its bits, and the bounds that follow from them."""

    name: str
    bits: int
    mantissa: int
    bias: int
    terms: int  # of the series of eʳ − 1
    lowest: float  # below, exp is 0
    highest: float  # above, exp is inf
    flat: float  # beyond, tanh is ±1

    @property
    def magic(self) -> float:
        """Adding this rounds to an integer, which is then in the low bits."""
        return 1.5 * 2.0**self.mantissa


SINGLE = Format("float", 32, 23, 127, 8, -104.0, 89.0, 9.1)
DOUBLE = Format("double", 64, 52, 1023, 14, -746.0, 710.0, 20.0)
LN2_HIGH = {"float": 0.693145751953125, "double": 0.6931471803691238}


class Lanes:
    """A builder of vector instructions of one width."""

    def __init__(self, ir: Any, builder: Any, width: int) -> None:
        self.ir, self.builder, self.width = ir, builder, width
        self.module = builder.module
        self.formats = {"float": SINGLE, "double": DOUBLE}

    # ------------------------------------------------------------------------ types
    def vector(self, scalar: Any) -> Any:
        """The type of `width` scalars."""
        return scalar if self.width == 1 else self.ir.VectorType(scalar, self.width)

    def scalar(self, value: Any) -> Any:
        """The type of one element."""
        return value.type if self.width == 1 else value.type.element

    def format(self, value: Any) -> Format:
        """The floating-point format of a value."""
        return self.formats[str(self.scalar(value))]

    def integer(self, value: Any) -> Any:
        """The integer type of as many bits."""
        return self.ir.IntType(self.format(value).bits)

    def constant(self, like: Any, number: float) -> Any:
        """A number in all lanes, of the type of `like`."""
        return self.filled(self.scalar(like), number)

    def filled(self, scalar: Any, number: float) -> Any:
        """A number in all lanes."""
        if self.width == 1:
            return self.ir.Constant(scalar, number)
        return self.ir.Constant(self.vector(scalar), [number] * self.width)

    def splat(self, value: Any) -> Any:
        """A scalar in all lanes."""
        if self.width == 1:
            return value
        empty = self.ir.Constant(self.ir.VectorType(value.type, self.width), self.ir.Undefined)
        zero = self.ir.Constant(self.ir.IntType(32), 0)
        one = self.builder.insert_element(empty, value, zero)
        mask = self.ir.Constant(
            self.ir.VectorType(self.ir.IntType(32), self.width), [0] * self.width
        )
        return self.builder.shuffle_vector(one, empty, mask)

    # ------------------------------------------------------------------- instructions
    def intrinsic(self, name: str, *args: Any) -> Any:
        """An LLVM intrinsic of the type of its first argument."""
        kind = args[0].type
        suffix = {"float": "f32", "double": "f64"}[str(self.scalar(args[0]))]
        full = f"llvm.{name}.{'' if self.width == 1 else f'v{self.width}'}{suffix}"
        declared = self.module.globals.get(full)
        if declared is None:
            kinds = self.ir.FunctionType(kind, [kind] * len(args))
            declared = self.ir.Function(self.module, kinds, full)
        return self.builder.call(declared, args)

    def add(self, x: Any, y: Any) -> Any:
        """x + y."""
        return self.builder.fadd(x, y, flags=CONTRACT)

    def sub(self, x: Any, y: Any) -> Any:
        """x − y."""
        return self.builder.fsub(x, y, flags=CONTRACT)

    def mul(self, x: Any, y: Any) -> Any:
        """x · y."""
        return self.builder.fmul(x, y, flags=CONTRACT)

    def div(self, x: Any, y: Any) -> Any:
        """x / y."""
        return self.builder.fdiv(x, y)

    def fma(self, x: Any, y: Any, z: Any) -> Any:
        """x · y + z, rounded once."""
        return self.intrinsic("fma", x, y, z)

    def choose(self, relation: str, x: Any, y: Any, a: Any, b: Any) -> Any:
        """a where the ordered relation holds (it never does for NaN), else b."""
        return self.builder.select(self.builder.fcmp_ordered(relation, x, y), a, b)

    def limited(self, x: Any, low: float, high: float) -> Any:
        """x in [low, high]; NaN stays."""
        least, most = self.constant(x, low), self.constant(x, high)
        x = self.choose(">", x, most, most, x)
        return self.choose("<", x, least, least, x)

    # ---------------------------------------------------------------------- functions
    def split(self, x: Any) -> tuple[Any, Any]:
        """(eʳ − 1, n as integers) with x = n ln 2 + r."""
        form, b = self.format(x), self.builder
        magic = self.constant(x, form.magic)
        shifted = self.fma(x, self.constant(x, 1 / math.log(2)), magic)
        n = b.fsub(shifted, magic)
        high = LN2_HIGH[form.name]
        r = self.fma(n, self.constant(x, -high), x)
        r = self.fma(n, self.constant(x, high - math.log(2)) if form is SINGLE else
                     self.constant(x, -1.9082149292705877e-10), r)  # fmt: skip
        series = self.constant(x, 1 / math.factorial(form.terms))
        for k in range(form.terms - 1, 0, -1):
            series = self.fma(series, r, self.constant(x, 1 / math.factorial(k)))
        whole = self.vector(self.integer(x))
        number = b.sub(b.bitcast(shifted, whole), b.bitcast(magic, whole))
        return self.mul(series, r), number

    def power_of_two(self, n: Any, like: Any) -> Any:
        """2ⁿ for integers n in the range of normal numbers."""
        form = self.format(like)
        kind = self.integer(like)
        biased = self.builder.add(n, self.filled(kind, form.bias))
        bits = self.builder.shl(biased, self.filled(kind, form.mantissa))
        return self.builder.bitcast(bits, like.type)

    def exp(self, x: Any) -> Any:
        """eˣ, with infinities, zeros and denormals where they belong."""
        form = self.format(x)
        tail, n = self.split(self.limited(x, form.lowest, form.highest))
        half = self.builder.ashr(n, self.filled(self.integer(x), 1))
        rest = self.builder.sub(n, half)
        value = self.add(tail, self.constant(x, 1.0))
        return self.mul(self.mul(value, self.power_of_two(half, x)), self.power_of_two(rest, x))

    def expm1_small(self, x: Any) -> Any:
        """eˣ − 1 for x within the normal range."""
        tail, n = self.split(x)
        scale = self.power_of_two(n, x)
        return self.fma(tail, scale, self.builder.fsub(scale, self.constant(x, 1.0)))

    def tanh(self, x: Any) -> Any:
        """tanh x = (e²ˣ − 1)/(e²ˣ + 1)."""
        form = self.format(x)
        size = self.intrinsic("fabs", x)
        twice = self.add(size, size)
        most = self.constant(x, 2 * form.flat)
        minus = self.expm1_small(self.choose(">", twice, most, most, twice))
        value = self.div(minus, self.add(minus, self.constant(x, 2.0)))
        return self.intrinsic("copysign", value, x)

    def sigmoid(self, x: Any) -> Any:
        """σ(x) = 1/(1 + e⁻ˣ)."""
        form = self.format(x)
        top = 88.0 if form is SINGLE else 709.0
        tail, n = self.split(self.limited(self.builder.fneg(x), -top + 1, top))
        scale = self.power_of_two(n, x)
        one = self.constant(x, 1.0)
        return self.div(one, self.add(one, self.fma(tail, scale, scale)))

    def larger(self, relation: str, x: Any, y: Any) -> Any:
        """The larger (or smaller) of two; NaN if there is one, as in NumPy."""
        b = self.builder
        first = b.or_(b.fcmp_ordered(relation, x, y), b.fcmp_unordered("uno", x, x))
        return b.select(first, x, y)

    def sign(self, x: Any) -> Any:
        """−1, 0 or 1, and NaN of NaN."""
        zero, one = self.constant(x, 0.0), self.constant(x, 1.0)
        below = self.choose("<", x, zero, self.constant(x, -1.0), x)
        return self.choose(">", x, zero, one, below)

    def true(self, x: Any) -> Any:
        """x ≠ 0, of a number or a truth value."""
        if str(self.scalar(x)) == "i1":
            return x
        return self.builder.fcmp_unordered("!=", x, self.constant(x, 0.0))

    def compare(self, relation: str, x: Any, y: Any) -> Any:
        """A comparison; of truth values only equality makes sense, as numbers all do."""
        if str(self.scalar(x)) == "i1":
            return self.builder.icmp_unsigned(relation, x, y)
        if relation == "!=":
            return self.builder.fcmp_unordered(relation, x, y)
        return self.builder.fcmp_ordered(relation, x, y)

    def cast(self, x: Any, dtype: Any) -> Any:
        """To another format, to a truth value, or from one."""
        if dtype.kind == "b":
            return self.true(x)
        target = self.ir.FloatType() if dtype.itemsize == 4 else self.ir.DoubleType()
        here = str(self.scalar(x))
        if here == "i1":
            return self.builder.uitofp(x, self.vector(target))
        if here == str(target):
            return x
        convert = self.builder.fpext if dtype.itemsize == 8 else self.builder.fptrunc
        return convert(x, self.vector(target))

    def clip(self, x: Any, least: float | None, most: float | None) -> Any:
        """x in [least, most], either of which may be missing."""
        if least is not None:
            x = self.larger(">", x, self.constant(x, least))
        return x if most is None else self.larger("<", x, self.constant(x, most))

    def infinite(self, x: Any) -> Any:
        """Whether x is ±inf."""
        size = self.intrinsic("fabs", x)
        return self.builder.fcmp_ordered("==", size, self.constant(x, math.inf))


def _relation(relation: str) -> Callable[..., Any]:
    return lambda v, x, y: v.compare(relation, x, y)


OPERATIONS: dict[str, Callable[..., Any]] = {
    "add": Lanes.add, "sub": Lanes.sub, "mul": Lanes.mul, "div": Lanes.div,
    "neg": lambda v, x: v.builder.fneg(x),
    "square": lambda v, x: v.mul(x, x),
    "reciprocal": lambda v, x: v.div(v.constant(x, 1.0), x),
    "sqrt": lambda v, x: v.intrinsic("sqrt", x),
    "rsqrt": lambda v, x: v.div(v.constant(x, 1.0), v.intrinsic("sqrt", x)),
    "exp": Lanes.exp, "tanh": Lanes.tanh, "sigmoid": Lanes.sigmoid, "sign": Lanes.sign,
    "relu": lambda v, x: v.choose("<", x, v.constant(x, 0.0), v.constant(x, 0.0), x),
    "abs": lambda v, x: v.intrinsic("fabs", x),
    "maximum": lambda v, x, y: v.larger(">", x, y),
    "minimum": lambda v, x, y: v.larger("<", x, y),
    "where": lambda v, c, x, y: v.builder.select(c, x, y),
    "floor": lambda v, x: v.intrinsic("floor", x),
    "ceil": lambda v, x: v.intrinsic("ceil", x),
    "round": lambda v, x: v.intrinsic("rint", x),
    "eq": _relation("=="), "ne": _relation("!="), "lt": _relation("<"), "le": _relation("<="),
    "gt": _relation(">"), "ge": _relation(">="),
    "logical_and": lambda v, x, y: v.builder.and_(v.true(x), v.true(y)),
    "logical_or": lambda v, x, y: v.builder.or_(v.true(x), v.true(y)),
    "logical_not": lambda v, x: v.builder.not_(v.true(x)),
    "isnan": lambda v, x: v.builder.fcmp_unordered("uno", x, x),
    "isfinite": lambda v, x: v.builder.not_(v.builder.or_(
        v.infinite(x), v.builder.fcmp_unordered("uno", x, x))),
    "isinf": Lanes.infinite,
    "clone": lambda v, x: x,
}  # fmt: skip
