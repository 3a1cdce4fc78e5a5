"""Sines, arcs and what they need in vector code, without branches but for huge arguments.

Sines: Cody and Waite's x − n·π/2 in three parts, each a fused multiply-add, which is as good as
exact up to 10¹²; if any argument is larger, the C library is asked. The arc tangent of t ≤ tan ⅛π
is a polynomial. All are computed in float64.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from .llvm_math import DOUBLE, Lanes
from .llvm_text import Word, constant

__all__ = ["acos", "asin", "atan", "cos", "polynomial", "sin", "tan", "with_sign"]

# (atan t − t) / t³ in powers of t², for t <= tan ⅛π
ARC = (
    -0.3333333333333333, 0.1999999999999548, -0.14285714284657894, 0.11111111014561013,
    -0.09090904549884611, 0.07692182535116648, -0.06664502215671447, 0.058580687568615106,
    -0.05085030492810941, 0.03921955253255129, -0.019162068915902573,
)  # fmt: skip
HALF_PI = (1.5707963267948966, 6.123233995736766e-17, -1.4973849048591698e-33)
HUGE = 1e12  # beyond, a sine is the C library's


def polynomial(v: Lanes, x: Word, coefficients: Sequence[float]) -> Word:
    """Σ cₖ xᵏ, by Horner's rule."""
    total = constant(x.type, coefficients[-1])
    for c in coefficients[-2::-1]:
        total = v.fma(total, x, constant(x.type, c))
    return total


def wide(function: Callable[[Lanes, Word], Word]) -> Callable[[Lanes, Word], Word]:
    """A function of float32 computed in float64."""

    def widened(v: Lanes, x: Word) -> Word:
        if v.format(x) is DOUBLE:
            return function(v, x)
        return v.code.convert("fptrunc", function(v, v.code.convert("fpext", x, "double")), "float")

    return widened


def with_sign(v: Lanes, x: Word, like: Word) -> Word:
    """|x| with the sign of another."""
    return v.code.call("copysign", x, like)


def _turned(v: Lanes, x: Word) -> tuple[Word, Word, Word]:
    """(sin r, cos r, n) with x = n·π/2 + r, of float64."""
    magic = constant(x.type, DOUBLE.magic)
    shifted = v.fma(x, constant(x.type, 2 / math.pi), magic)
    n = v.code.binary("fsub", shifted, magic)
    for part in HALF_PI:
        x = v.fma(n, constant(x.type, -part), x)
    z = v.mul(x, x)
    odd = [(-1) ** k / math.factorial(2 * k + 1) for k in range(1, 9)]
    even = [(-1) ** k / math.factorial(2 * k) for k in range(9)]
    sine = v.fma(v.mul(x, z), polynomial(v, z, odd), x)
    return sine, polynomial(v, z, even), v.integer(shifted)


def _bit_moved(v: Lanes, n: Word, bit: int) -> Word:
    """A bit of integers moved to where the sign is."""
    code = v.code
    one = code.and_(n, constant(n.type, 1 << bit))
    return code.binary("shl", one, constant(n.type, 63 - bit))


def _of_angle(name: str, quarter: int) -> Callable[[Lanes, Word], Word]:
    """sin (x + quarter·π/2)."""

    def fast(v: Lanes, x: Word) -> Word:
        size = v.code.call("fabs", x)
        sine, cosine, n = _turned(v, size)
        n = v.code.add(n, constant(n.type, quarter))
        value = v.code.select(_is_odd(v, n), cosine, sine)
        bits = v.code.binary("xor", v.bits(value), _bit_moved(v, n, 1))
        if not quarter:
            bits = v.code.binary("xor", bits, _sign_bit(v, x))
        return v.code.convert("bitcast", bits, "double")

    def function(v: Lanes, x: Word) -> Word:
        return v.unless(_is_huge(v, x), wide(fast)(v, x), lambda: v.code.call(name, x))

    return function


def _is_huge(v: Lanes, x: Word) -> Word:
    return v.code.compare("fcmp ogt", v.code.call("fabs", x), constant(x.type, HUGE))


def _is_odd(v: Lanes, n: Word) -> Word:
    one = v.code.and_(n, constant(n.type, 1))
    return v.code.compare("icmp ne", one, constant(n.type, 0))


def _sign_bit(v: Lanes, x: Word) -> Word:
    bits = v.bits(x)
    return v.code.and_(bits, constant(bits.type, -(1 << 63)))


def tan(v: Lanes, x: Word) -> Word:
    """sin x / cos x."""

    def fast(v: Lanes, x: Word) -> Word:
        sine, cosine, n = _turned(v, v.code.call("fabs", x))
        odd = _is_odd(v, n)
        above = v.code.select(odd, cosine, sine)
        below = v.code.select(odd, v.neg(sine), cosine)
        quotient = v.bits(v.div(above, below))
        bits = v.code.binary("xor", quotient, _sign_bit(v, x))
        return v.code.convert("bitcast", bits, "double")

    def slow() -> Word:
        return v.div(v.code.call("sin", x), v.code.call("cos", x))

    return v.unless(_is_huge(v, x), wide(fast)(v, x), slow)


@wide
def atan(v: Lanes, x: Word) -> Word:
    """atan a = k·π/4 + atan t with t = a, (a − 1)/(a + 1) or −1/a, and the sign of x."""
    size, one, code = v.code.call("fabs", x), constant(x.type, 1.0), v.code
    middle = code.compare("fcmp ogt", size, constant(x.type, math.tan(math.pi / 8)))
    far = code.compare("fcmp ogt", size, constant(x.type, math.tan(3 * math.pi / 8)))

    def of_three(near: Word, between: Word, beyond: Word) -> Word:
        return code.select(far, beyond, code.select(middle, between, near))

    above = of_three(size, code.binary("fsub", size, one), constant(x.type, -1.0))
    t = v.div(above, of_three(one, code.binary("fadd", size, one), size))
    high, low = (
        of_three(constant(x.type, 0.0), constant(x.type, part / 2), constant(x.type, part))
        for part in HALF_PI[:2]
    )
    z = v.mul(t, t)
    curved = v.fma(v.mul(t, z), polynomial(v, z, ARC), low)
    return with_sign(v, code.binary("fadd", high, code.binary("fadd", t, curved)), x)


def _leg(v: Lanes, x: Word) -> tuple[Word, Word]:
    """(1 − x, 1 + x)."""
    one = constant(x.type, 1.0)
    return v.code.binary("fsub", one, x), v.code.binary("fadd", one, x)


@wide
def asin(v: Lanes, x: Word) -> Word:
    """2 atan(x / (1 + √(1 − x²)))."""
    less, more = _leg(v, x)
    root = v.code.call("sqrt", v.mul(less, more))
    angle = atan(v, v.div(x, v.code.binary("fadd", constant(x.type, 1.0), root)))
    return v.code.binary("fadd", angle, angle)


@wide
def acos(v: Lanes, x: Word) -> Word:
    """2 atan √((1 − x)/(1 + x))."""
    less, more = _leg(v, x)
    angle = atan(v, v.code.call("sqrt", v.div(less, more)))
    return v.code.binary("fadd", angle, angle)


sin, cos = _of_angle("sin", 0), _of_angle("cos", 1)
