"""Arithmetic on vectors in LLVM: the operations that kernels know, and their approximations.

exp(x) = 2ⁿ·eʳ with n = round(x / ln 2) and |r| ≤ ½ ln 2, where the Taylor series of eʳ − 1 is
exact to the last bit or two; expm1, tanh and σ follow without cancellation. The rounding is done
by adding 1.5·2^(mantissa bits), so that no conversion meets a NaN. No flag lets the compiler assume
that there are no NaN or infinities; contraction to fused multiply-adds is allowed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from .llvm_text import BOOL, Function, Word, constant, lanes, scalar, vector

__all__ = ["ARITHMETIC", "DOUBLE", "LN2_HIGH", "LN2_LOW", "Lanes", "SINGLE"]


class Format(NamedTuple):
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


SINGLE = Format("float", 32, 23, 127, 7, -104.0, 89.0, 9.1)
DOUBLE = Format("double", 64, 52, 1023, 14, -746.0, 710.0, 20.0)
LN2_HIGH = {"float": 0.693145751953125, "double": 0.6931471803691238}
LN2_LOW = {"float": 1.4286068203094173e-06, "double": 1.9082149292705877e-10}
FORMATS = {"float": SINGLE, "double": DOUBLE}
TRUTHS = {"<": "ult", "<=": "ule", ">": "ugt", ">=": "uge", "==": "eq", "!=": "ne"}
ORDERED = {"<": "olt", "<=": "ole", ">": "ogt", ">=": "oge", "==": "oeq"}


class Lanes:
    """Writes vector instructions of one width into a function."""

    def __init__(self, code: Function, width: int) -> None:
        self.code, self.width = code, width

    def format(self, value: Word) -> Format:
        """The floating-point format of a value."""
        return FORMATS[scalar(value.type)]

    def filled(self, element: str, number: float) -> Word:
        """A number in all lanes."""
        return constant(vector(element, self.width), number)

    def splat(self, value: Word) -> Word:
        """A scalar in all lanes."""
        return self.code.splat(value, self.width)

    # ------------------------------------------------------------------- instructions
    def add(self, x: Word, y: Word) -> Word:
        """x + y."""
        return self.code.binary("fadd contract", x, y)

    def sub(self, x: Word, y: Word) -> Word:
        """x − y."""
        return self.code.binary("fsub contract", x, y)

    def mul(self, x: Word, y: Word) -> Word:
        """x · y."""
        return self.code.binary("fmul contract", x, y)

    def div(self, x: Word, y: Word) -> Word:
        """x / y."""
        return self.code.binary("fdiv", x, y)

    def neg(self, x: Word) -> Word:
        """−x."""
        return self.code.emit(x.type, f"fneg {x.type} {x.name}")

    def fma(self, x: Word, y: Word, z: Word) -> Word:
        """x · y + z, rounded once."""
        return self.code.call("fma", x, y, z)

    def choose(self, relation: str, x: Word, y: Word, a: Word, b: Word) -> Word:
        """a where the ordered relation holds (it never does for NaN), else b."""
        return self.code.select(self.code.compare(f"fcmp {ORDERED[relation]}", x, y), a, b)

    def limited(self, x: Word, low: float, high: float) -> Word:
        """x in [low, high]; NaN stays."""
        least, most = constant(x.type, low), constant(x.type, high)
        x = self.choose(">", x, most, most, x)
        return self.choose("<", x, least, least, x)

    def unless(self, condition: Word, value: Word, other: Callable[[], Word]) -> Word:
        """A value, or where the condition holds in any lane, which is rare, the other one."""
        code, before = self.code, self.code.block
        rare, after = code.new_block("rare"), code.new_block("after")
        code.branch_if(code.any(condition), rare, after)
        code.at(rare)
        found, last = other(), code.block
        code.branch(after)
        code.at(after)
        phi = code.phi(value.type)
        phi.add_incoming(value, before)
        phi.add_incoming(found, last)
        return phi

    # ---------------------------------------------------------------------- functions
    def split(self, x: Word) -> tuple[Word, Word]:
        """(eʳ − 1, n as integers) with x = n ln 2 + r."""
        name = self.format(x).name
        magic = constant(x.type, self.format(x).magic)
        shifted = self.fma(x, constant(x.type, 1 / math.log(2)), magic)
        n = self.code.binary("fsub", shifted, magic)
        r = self.fma(n, constant(x.type, -LN2_HIGH[name]), x)
        r = self.fma(n, constant(x.type, -LN2_LOW[name]), r)
        return self.series(r), self.integer(shifted)

    def series(self, r: Word) -> Word:
        """eʳ − 1 = r + r²(½ + r/6 + r²(…)) for |r| ≤ ½ ln 2.

        Terms in pairs, as they wait for each other half as often (Estrin 1960).
        """
        terms = [1 / math.factorial(k) for k in range(2, self.format(r).terms + 1)]
        numbers = [constant(r.type, term) for term in terms]
        pairs = [self.fma(r, b, a) for a, b in zip(numbers[::2], numbers[1::2], strict=False)]
        square, total = self.mul(r, r), numbers[-1] if len(terms) % 2 else pairs.pop()
        for pair in reversed(pairs):
            total = self.fma(total, square, pair)
        return self.fma(total, square, r)

    def bits(self, x: Word) -> Word:
        """The bits of floating-point numbers as integers."""
        return self.code.convert("bitcast", x, f"i{self.format(x).bits}")

    def integer(self, shifted: Word) -> Word:
        """The integers n of floating-point numbers n + magic."""
        return self.code.binary("sub", self.bits(shifted), self.magic_bits(shifted))

    def floating(self, n: Word, like: Word) -> Word:
        """Small integers as floating-point numbers."""
        form = self.format(like)
        moved = self.code.binary("add", n, self.magic_bits(like))
        shifted = self.code.convert("bitcast", moved, form.name)
        return self.code.binary("fsub", shifted, constant(like.type, form.magic))

    def magic_bits(self, like: Word) -> Word:
        """The bits of the number that is added to round."""
        form = self.format(like)
        exponent, half = form.bias + form.mantissa, 1 << form.mantissa - 1
        kind = vector(f"i{form.bits}", lanes(like.type))
        return constant(kind, (exponent << form.mantissa) + half)

    def power_of_two(self, n: Word, like: Word, less: int = 0) -> Word:
        """2ⁿ⁻ˡᵉˢˢ for integers n, in the range of normal numbers."""
        form = self.format(like)
        biased = self.code.binary("add", n, constant(n.type, form.bias - less))
        bits = self.code.binary("shl", biased, constant(n.type, form.mantissa))
        return self.code.convert("bitcast", bits, form.name)

    def halves(self, n: Word) -> tuple[Word, Word]:
        """Two integers whose sum is n."""
        half = self.code.binary("ashr", n, constant(n.type, 1))
        return half, self.code.binary("sub", n, half)

    def scaled(self, tail: Word, n: Word) -> Word:
        """(1 + tail)·2ⁿ, which may be out of the range of normal numbers."""
        value = self.add(tail, constant(tail.type, 1.0))
        for part in self.halves(n):
            value = self.mul(value, self.power_of_two(part, tail))
        return value

    def exp(self, x: Word) -> Word:
        """eˣ, with infinities, zeros and denormals where they belong."""
        form = self.format(x)
        return self.scaled(*self.split(self.limited(x, form.lowest, form.highest)))

    def expm1_small(self, x: Word) -> Word:
        """eˣ − 1 for x within the normal range."""
        tail, n = self.split(x)
        scale = self.power_of_two(n, x)
        return self.fma(tail, scale, self.code.binary("fsub", scale, constant(x.type, 1.0)))

    def tanh(self, x: Word) -> Word:
        """tanh x = (e²ˣ − 1)/(e²ˣ + 1)."""
        form = self.format(x)
        size = self.code.call("fabs", x)
        twice = self.add(size, size)
        most = constant(x.type, 2 * form.flat)
        minus = self.expm1_small(self.choose(">", twice, most, most, twice))
        value = self.div(minus, self.add(minus, constant(x.type, 2.0)))
        return self.code.call("copysign", value, x)

    def sigmoid(self, x: Word) -> Word:
        """σ(x) = c/(c + c e⁻ˣ), with c = 2⁻ᵏ so that c e⁻ˣ is finite wherever σ(x) is not 0."""
        form = self.format(x)
        less = (form.bias + 1) // 2
        tail, n = self.split(self.limited(self.neg(x), -40.0, -form.lowest))
        scale, c = self.power_of_two(n, x, less), constant(x.type, 2.0**-less)
        return self.div(c, self.add(c, self.fma(tail, scale, scale)))

    def larger(self, relation: str, x: Word, y: Word) -> Word:
        """The larger (or smaller) of two; NaN if there is one, as in NumPy."""
        beyond = self.code.compare(f"fcmp {ORDERED[relation]}", x, y)
        first = self.code.binary("or", beyond, self.code.compare("fcmp uno", x, x))
        return self.code.select(first, x, y)

    def sign(self, x: Word) -> Word:
        """−1, 0 or 1, and NaN of NaN."""
        zero, one = constant(x.type, 0.0), constant(x.type, 1.0)
        below = self.choose("<", x, zero, constant(x.type, -1.0), x)
        return self.choose(">", x, zero, one, below)

    def true(self, x: Word) -> Word:
        """x ≠ 0, of a number or a truth value."""
        if scalar(x.type) == BOOL:
            return x
        return self.code.compare("fcmp une", x, constant(x.type, 0.0))

    def compare(self, relation: str, x: Word, y: Word) -> Word:
        """A comparison; of truth values only equality makes sense, as numbers all do."""
        if scalar(x.type) == BOOL:
            return self.code.compare(f"icmp {TRUTHS[relation]}", x, y)
        return self.code.compare(f"fcmp {ORDERED.get(relation, 'une')}", x, y)

    def cast(self, x: Word, dtype: Any) -> Word:
        """To another format, to a truth value, or from one."""
        if dtype.kind == "b":
            return self.true(x)
        target = "float" if dtype.itemsize == 4 else "double"
        here = scalar(x.type)
        if here == target:
            return x
        wider = "fpext" if target == "double" else "fptrunc"
        return self.code.convert("uitofp" if here == BOOL else wider, x, target)

    def clip(self, x: Word, least: float | None, most: float | None) -> Word:
        """x in [least, most], either of which may be missing."""
        if least is not None:
            x = self.larger(">", x, constant(x.type, least))
        return x if most is None else self.larger("<", x, constant(x.type, most))

    def inverse(self, x: Word) -> Word:
        """Whether not."""
        return self.code.binary("xor", x, constant(x.type, 1))

    def infinite(self, x: Word) -> Word:
        """Whether x is ±inf."""
        size = self.code.call("fabs", x)
        return self.code.compare("fcmp oeq", size, constant(x.type, math.inf))


def _relation(relation: str) -> Callable[..., Any]:
    return lambda v, x, y: v.compare(relation, x, y)


ARITHMETIC: dict[str, Callable[..., Any]] = {
    "add": Lanes.add, "sub": Lanes.sub, "mul": Lanes.mul, "div": Lanes.div,
    "neg": Lanes.neg,
    "square": lambda v, x: v.mul(x, x),
    "reciprocal": lambda v, x: v.div(constant(x.type, 1.0), x),
    "sqrt": lambda v, x: v.code.call("sqrt", x),
    "rsqrt": lambda v, x: v.div(constant(x.type, 1.0), v.code.call("sqrt", x)),
    "exp": Lanes.exp, "tanh": Lanes.tanh, "sigmoid": Lanes.sigmoid, "sign": Lanes.sign,
    "relu": lambda v, x: v.choose("<", x, constant(x.type, 0.0), constant(x.type, 0.0), x),
    "abs": lambda v, x: v.code.call("fabs", x),
    "maximum": lambda v, x, y: v.larger(">", x, y),
    "minimum": lambda v, x, y: v.larger("<", x, y),
    "where": lambda v, c, x, y: v.code.select(c, x, y),
    "floor": lambda v, x: v.code.call("floor", x),
    "ceil": lambda v, x: v.code.call("ceil", x),
    "round": lambda v, x: v.code.call("rint", x),
    "eq": _relation("=="), "ne": _relation("!="), "lt": _relation("<"), "le": _relation("<="),
    "gt": _relation(">"), "ge": _relation(">="),
    "logical_and": lambda v, x, y: v.code.binary("and", v.true(x), v.true(y)),
    "logical_or": lambda v, x, y: v.code.binary("or", v.true(x), v.true(y)),
    "logical_not": lambda v, x: v.inverse(v.true(x)),
    "isnan": lambda v, x: v.code.compare("fcmp uno", x, x),
    "isfinite": lambda v, x: v.inverse(v.code.binary(
        "or", v.infinite(x), v.code.compare("fcmp uno", x, x))),
    "isinf": Lanes.infinite,
    "clone": lambda v, x: x,
}  # fmt: skip
