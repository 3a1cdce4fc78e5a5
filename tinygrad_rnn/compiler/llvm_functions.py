"""The elementary functions in vector code, without branches.

Logarithms: x = 2ᵉ·m with m in [√½, √2), by integer operations on the bits, and
log m = 2 atanh s with s = (m − 1)/(m + 1), summed as f − (f²/2 − s·(f²/2 + R(s²))) with f = m − 1,
which loses nothing near 1 (Ng 1993, in fdlibm). The error function is that of `special`. Powers and
remainders of floating-point numbers are calls of the C library.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from ..special import BEYOND, INSIDE
from .llvm_angles import acos, asin, atan, cos, polynomial, sin, tan, with_sign
from .llvm_math import ARITHMETIC, LN2_HIGH, LN2_LOW, SINGLE, Lanes
from .llvm_text import Word, constant

__all__ = ["OPERATIONS", "power"]

# (2 atanh s − 2s) / s³ in powers of s², for m in [√½, √2)
LOGARITHM = {
    "float": (0.6666666655445165, 0.40000121876972, 0.2855081659971155, 0.23330581938241893),
    "double": (
        0.6666666666666666, 0.4000000000000088, 0.2857142857080323, 0.2222222239180047,
        0.18181795630884753, 0.15386240205813478, 0.13268759668560612, 0.13086767009948175,
    ),
}  # fmt: skip
# shorter ones than those of `special`, the second for x <= 4
ERF = {
    "float": (
        (1.1283791658483509, -0.37612626666720334, 0.11283594715160218, -0.026854212010626412,
         0.005189087423433974, -0.000801686428716587, 7.875875062685488e-05),
        (1.2329951337643512, -0.13961789007969638, 0.015492080431894288, 0.06958289999586371,
         -0.09145547419363821, 0.12695083232414858, -0.003885381895574305, 0.09490607216353623),
    ),
    "double": (INSIDE, BEYOND),
}  # fmt: skip
LOG10_2 = {"float": (0.301025390625, 4.605038981195214e-06),
           "double": (0.3010299955494702, 1.1451100898021838e-10)}  # fmt: skip
PRODUCTS = range(-3, 7)  # exponents whose powers are products, of at most five roundings


# ------------------------------------------------------------------------------- exponentials
def expm1(v: Lanes, x: Word) -> Word:
    """eˣ − 1."""
    tail, n = v.split(v.limited(x, -40.0, v.format(x).highest))
    return with_sign(v, _less(v, tail, n, 1.0), x)


def _less(v: Lanes, tail: Word, n: Word, number: float) -> Word:
    """(1 + tail)·2ⁿ − number."""
    half, rest = v.halves(n)
    scale = v.power_of_two(half, tail)
    inverse = v.power_of_two(v.code.binary("sub", constant(n.type, 0), rest), tail)
    less = v.code.binary("fsub", scale, v.mul(inverse, constant(tail.type, number)))
    return v.mul(v.fma(tail, scale, less), v.power_of_two(rest, tail))


def exp2(v: Lanes, x: Word) -> Word:
    """2ˣ."""
    form = v.format(x)
    magic = constant(x.type, form.magic)
    x = v.limited(x, form.lowest / math.log(2) - 2, form.highest / math.log(2) + 2)
    shifted = v.code.binary("fadd", x, magic)
    r = v.code.binary("fsub", x, v.code.binary("fsub", shifted, magic))
    tail = v.series(v.mul(r, constant(x.type, math.log(2))))
    return v.scaled(tail, v.integer(shifted))


def _half_exp(v: Lanes, x: Word) -> tuple[Word, Word]:
    """(e^|x| / 2ⁿ − 1, n − 1)."""
    tail, n = v.split(v.limited(v.code.call("fabs", x), 0.0, v.format(x).highest + 1))
    return tail, v.code.binary("add", n, constant(n.type, -1))


def cosh(v: Lanes, x: Word) -> Word:
    """½ (eˣ + e⁻ˣ)."""
    half = v.scaled(*_half_exp(v, x))
    return v.add(half, v.div(constant(x.type, 0.25), half))


def sinh(v: Lanes, x: Word) -> Word:
    """½ (eˣ − e⁻ˣ) = k + k/(2k + 1) with 2k = e^|x| − 1, and the sign of x."""
    k = _less(v, *_half_exp(v, x), 0.5)
    most = constant(x.type, 2.0**60)
    least = v.choose(">", k, most, most, k)
    quotient = v.div(least, v.fma(least, constant(x.type, 2.0), constant(x.type, 1.0)))
    return with_sign(v, v.add(k, quotient), x)


# --------------------------------------------------------------------------------- logarithms
def _near_one(v: Lanes, f: Word, correction: Word | None = None) -> Word:
    """log(1 + f), to which a small correction may be added, for 1 + f in [√½, √2)."""
    half = v.mul(v.mul(f, f), constant(f.type, 0.5))
    s = v.div(f, v.add(f, constant(f.type, 2.0)))
    z = v.mul(s, s)
    rest = v.mul(z, polynomial(v, z, LOGARITHM[v.format(f).name]))
    rest = v.mul(s, v.add(half, rest))
    rest = rest if correction is None else v.add(rest, correction)
    return v.sub(f, v.sub(half, rest))


def _taken_apart(v: Lanes, x: Word) -> tuple[Word, Word]:
    """(e, m − 1) with x = 2ᵉ·m, for x > 0 that is a normal number."""
    form, code = v.format(x), v.code
    bits = v.bits(x)
    start = v.bits(constant(x.type, math.sqrt(0.5)))
    shift = constant(bits.type, form.mantissa)
    e = code.binary("ashr", code.binary("sub", bits, start), shift)
    m = code.convert("bitcast", code.binary("sub", bits, code.binary("shl", e, shift)), form.name)
    return v.floating(e, x), code.binary("fsub", m, constant(x.type, 1.0))


def _at_the_ends(v: Lanes, value: Word, x: Word) -> Word:
    """A logarithm with what it is at 0, below, at ∞ and of NaN."""
    value = v.choose("<", x, constant(x.type, math.inf), value, x)
    value = v.choose("==", x, constant(x.type, 0.0), constant(x.type, -math.inf), value)
    return v.choose("<", x, constant(x.type, 0.0), constant(x.type, math.nan), value)


def _normal(v: Lanes, x: Word) -> tuple[Word, Word]:
    """(x, 0), or (2ᵏ x, −k) where x is subnormal."""
    form = v.format(x)
    small = v.code.compare("fcmp olt", x, constant(x.type, 2.0 ** (1 - form.bias)))
    up = v.mul(x, constant(x.type, 2.0**form.mantissa))
    zero, less = constant(x.type, 0.0), constant(x.type, -float(form.mantissa))
    return v.code.select(small, up, x), v.code.select(small, less, zero)


def logarithm(scale: Callable[[str], tuple[float, float]], factor: float) -> Callable[..., Word]:
    """log x·factor, with log 2·factor in two parts."""

    def log(v: Lanes, x: Word) -> Word:
        high, low = (constant(x.type, part) for part in scale(v.format(x).name))
        normal, shift = _normal(v, x)
        e, f = _taken_apart(v, normal)
        e = v.add(e, shift)
        small = v.mul(_near_one(v, f), constant(x.type, factor))
        return _at_the_ends(v, v.fma(e, high, v.fma(e, low, small)), x)

    return log


def _ln2(name: str) -> tuple[float, float]:
    return LN2_HIGH[name], LN2_LOW[name]


def log1p(v: Lanes, x: Word) -> Word:
    """log(1 + x) = log u + (x − (u − 1))/u, with u what 1 + x is rounded to."""
    one = constant(x.type, 1.0)
    u = v.code.binary("fadd", x, one)
    lost = v.code.binary("fsub", x, v.code.binary("fsub", u, one))
    e, f = _taken_apart(v, u)
    high, low = (constant(x.type, part) for part in _ln2(v.format(x).name))
    value = v.fma(e, high, v.fma(e, low, _near_one(v, f, v.div(lost, u))))
    return _with_sign_of_zero(v, _at_the_ends(v, value, u), x)


def _with_sign_of_zero(v: Lanes, value: Word, x: Word) -> Word:
    """A value, or x where that is ±0."""
    return v.choose("==", x, constant(x.type, 0.0), x, value)


def _log1p_of_share(v: Lanes, x: Word) -> Word:
    """log(1 + x) for x in [0, 1]."""
    one, half = constant(x.type, 1.0), constant(x.type, 0.5)
    large = v.code.compare("fcmp ogt", x, constant(x.type, math.sqrt(2.0) - 1))
    f = v.code.select(large, v.mul(v.code.binary("fsub", x, one), half), x)
    log_2 = v.code.select(large, constant(x.type, math.log(2.0)), constant(x.type, 0.0))
    return v.add(log_2, _near_one(v, f))


def softplus(v: Lanes, x: Word) -> Word:
    """log(1 + eˣ) = max(x, 0) + log(1 + e^−|x|)."""
    power = v.exp(v.neg(v.code.call("fabs", x)))
    zero = constant(x.type, 0.0)
    return v.add(_log1p_of_share(v, power), v.choose("<", x, zero, zero, x))


def logaddexp(v: Lanes, x: Word, y: Word) -> Word:
    """log(eˣ + eʸ) = max(x, y) + log(1 + e^−|x − y|); the difference of equal infinities is 0."""
    apart = v.code.call("fabs", v.code.binary("fsub", x, y))
    apart = v.choose("==", x, y, constant(x.type, 0.0), apart)
    return v.add(v.larger(">", x, y), _log1p_of_share(v, v.exp(v.neg(apart))))


# --------------------------------------------------------------------------------- the others
def erf(v: Lanes, x: Word) -> Word:
    """The error function: see `special.erf`."""
    inside, beyond = ERF[v.format(x).name]
    one, four = constant(x.type, 1.0), constant(x.type, 4.0)
    size = v.code.call("fabs", x)
    most = constant(x.type, 4.0 if v.format(x) is SINGLE else 6.0)
    a = v.choose(">", size, most, most, size)
    near = v.mul(polynomial(v, v.mul(a, a), inside), a)
    t = v.div(v.code.binary("fsub", a, four), v.code.binary("fadd", a, four))
    power = v.exp(v.neg(v.mul(a, a)))
    scale = v.fma(a, constant(x.type, 2.0), one)
    rest = v.div(v.mul(power, polynomial(v, t, beyond)), scale)
    return with_sign(v, v.choose("<", size, one, near, v.code.binary("fsub", one, rest)), x)


def power(v: Lanes, x: Word, y: Word, exponent: Any = None) -> Word:
    """xʸ; by products where the exponent is a small integer, of 1/x if it is negative."""
    if exponent not in PRODUCTS:
        return v.code.call("pow", x, y)
    count, one = abs(int(exponent)), constant(x.type, 1.0)
    square = x if exponent >= 0 else v.div(one, x)
    total = square if count % 2 else None
    while count := count // 2:
        square = v.mul(square, square)
        if count % 2:
            total = square if total is None else v.mul(total, square)
    return one if total is None else total


def fmod(v: Lanes, x: Word, y: Word) -> Word:
    """x − trunc(x/y)·y, exactly."""
    return v.code.binary("frem", x, y)


def remainder(v: Lanes, x: Word, y: Word) -> Word:
    """x − ⌊x/y⌋·y, with the sign of y."""
    value, other = _remainder(v, x, y)
    value = v.code.select(other, v.code.binary("fadd", value, y), value)
    return v.choose("==", value, constant(x.type, 0.0), with_sign(v, value, y), value)


def _remainder(v: Lanes, x: Word, y: Word) -> tuple[Word, Word]:
    """fmod, and whether it is on the other side of 0 than y."""
    value, zero, code = fmod(v, x, y), constant(x.type, 0.0), v.code
    signs = [code.compare("fcmp olt", number, zero) for number in (value, y)]
    apart = code.binary("xor", *signs)
    return value, code.and_(apart, code.compare("fcmp one", value, zero))


def floor_divide(v: Lanes, x: Word, y: Word) -> Word:
    """⌊x/y⌋, from the remainder, as NumPy has it."""
    code, zero, one = v.code, constant(x.type, 0.0), constant(x.type, 1.0)
    rest, other = _remainder(v, x, y)
    quotient = v.div(code.binary("fsub", x, rest), y)
    quotient = code.select(other, code.binary("fsub", quotient, one), quotient)
    whole = code.call("floor", quotient)
    more = code.compare("fcmp ogt", code.binary("fsub", quotient, whole), constant(x.type, 0.5))
    whole = code.select(more, code.binary("fadd", whole, one), whole)
    plain = v.div(x, y)
    whole = v.choose("==", quotient, zero, with_sign(v, zero, plain), whole)
    return v.choose("==", y, zero, plain, whole)


OPERATIONS: dict[str, Callable[..., Any]] = {
    **ARITHMETIC,
    "expm1": expm1, "exp2": exp2, "sinh": sinh, "cosh": cosh,
    "log": logarithm(_ln2, 1.0), "log1p": log1p, "softplus": softplus, "logaddexp": logaddexp,
    "log2": logarithm(lambda _: (1.0, 0.0), 1 / math.log(2.0)),
    "log10": logarithm(lambda name: LOG10_2[name], 1 / math.log(10.0)),
    "sin": sin, "cos": cos, "tan": tan, "atan": atan, "asin": asin, "acos": acos, "erf": erf,
    "trunc": lambda v, x: v.code.call("trunc", x),
    "fmod": fmod, "remainder": remainder, "floor_divide": floor_divide,
}  # fmt: skip
