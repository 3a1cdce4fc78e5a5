"""The uniform numbers of NumPy's generator, bit for bit, by a compiled function.

PCG64 (O'Neill 2014) goes from a state s of 128 bits to s·m + a and gives the 64 bits of XSL-RR, two
numbers in float32 or one in float64. Here as many states in turn as a vector has lanes, L, go on
side by side, each by mᴸ; NumPy's own code goes on by one, and asks for each through a pointer.
"""

from __future__ import annotations

from collections.abc import Sequence
from ctypes import CFUNCTYPE, c_char, c_void_p
from functools import cache, partial
from struct import pack, unpack
from typing import Any

import numpy as np

from .llvm_jit import compiled, machine
from .llvm_loops import Loops
from .llvm_text import INT, POINTER, Function, Word, constant, vector

__all__ = ["fill"]

MULTIPLIER = 0x2360ED051FC65DA44385DF649FCCF645
LOW = (1 << 64) - 1
WHOLE = (1 << 128) - 1
WIDE = "i128"
SIGNATURE = CFUNCTYPE(None, c_void_p, c_void_p)
STATE, STEP, SEVERAL, WAITS, HALF = 0, 16, 32, 48, 56  # where they are in memory, in bytes


def fill(
    generator: np.random.Generator, length: int, parts: Sequence[tuple[int, int, int]], dtype: Any
) -> None:
    """Uniform numbers for each step and each part: (address of the first step, stride, numbers).

    The generator is left as it would be had it been asked for all of them itself.
    """
    bits: Any = generator.bit_generator
    numbers = [n for part in parts for n in part]
    table = pack(f"<{2 + len(numbers)}q", length, len(parts), *numbers)
    with bits.lock:
        found = bits.state
        inner = found["state"]
        wide = (inner["state"], inner["inc"], inner["inc"] * _sum() & WHOLE)
        memory = bytearray().join([n.to_bytes(16, "little") for n in wide])
        memory += pack("<qq", found["has_uint32"], found["uinteger"])
        _compiled(dtype.char)((c_char * len(memory)).from_buffer(memory), table)
        inner["state"] = int.from_bytes(memory[:STEP], "little")
        found["has_uint32"], found["uinteger"] = unpack("<qq", memory[WAITS:])
        bits.state = found


def _lanes() -> int:
    """How many states are in a vector."""
    return machine()[2] // 8


@cache
def _sum() -> int:
    """1 + m + … + mᴸ⁻¹: the multiple of the step that L steps add."""
    return sum(pow(MULTIPLIER, k, 1 << 128) for k in range(_lanes()))


@cache
def _compiled(char: str) -> Any:
    return compiled(_Filler(char).text(), SIGNATURE)


class _Filler(Loops):
    """Writes a function of (generator, table) that fills memory with numbers.

    64 bits give one number in float64; in float32 they give two, the second of which may wait.
    """

    def __init__(self, char: str) -> None:
        super().__init__(Function([POINTER, POINTER]))
        self.generator, self.table = self.code.args
        self.element, self.each = ("float", 2) if char == "f" else ("double", 1)
        self.size = 8 // self.each  # bytes of a number
        self.lanes = _lanes()
        self.vector = vector(INT, self.lanes)

    def text(self) -> str:
        """The finished function."""
        code = self.code
        self.step, self.several = (self.there(WIDE, self.generator, n) for n in (STEP, SEVERAL))
        length, parts = (self.there(INT, self.table, n) for n in (0, 8))
        kinds = ((WIDE, STATE), (INT, WAITS), (INT, HALF))

        def one(t: Any, values: list[Any]) -> list[Any]:
            def part(i: Any, inner: list[Any]) -> list[Any]:
                entry = self.beyond(self.table, i, 24)
                address, stride, count = (self.there(INT, entry, n) for n in (16, 24, 32))
                place = code.add(address, code.mul(t, stride))
                return self.part(code.convert("inttoptr", place, POINTER), count, inner)

            return self.fold(0, parts, 1, values, part)

        first = [self.there(kind, self.generator, n) for kind, n in kinds]
        for value, (_, n) in zip(self.fold(0, length, 1, first, one), kinds, strict=True):
            code.store(value, code.moved(self.generator, self.number(n)), 8)
        code.ret()
        return str(code)

    def there(self, kind: str, pointer: Word, offset: int) -> Word:
        """What is so many bytes further on."""
        return self.code.load(kind, self.code.moved(pointer, self.number(offset)), 8)

    def part(self, place: Word, count: Word, values: list[Any]) -> list[Any]:
        """So many numbers in a row: first as bits, then as numbers."""
        found = self.bits(place, count, values)
        native = machine()[2] // self.size
        many = self.code.and_(count, self.number(-native))
        for start, stop, width in ((self.number(0), many, native), (many, count, 1)):
            self.loop(start, stop, width, partial(self.convert, place, width))
        return found

    def bits(self, place: Word, count: Word, values: list[Any]) -> list[Any]:
        """Those that wait, most by vectors, the rest one by one."""
        code = self.code
        state, waits, half = values
        if self.each == 2:
            self.loop(0, waits, 1, lambda _: self.put(half, place))
            place, count = self.beyond(place, waits, 4), code.binary("sub", count, waits)
        many = code.and_(count, self.number(-self.lanes * self.each))
        state = self.by_lanes(place, many, state)

        def single(i: Any, inner: list[Any]) -> list[Any]:
            following = self.next(inner[0])
            bits, behind = self.output(following), code.add(i, self.number(1))
            self.put(bits, self.beyond(place, i, self.size))
            if self.each == 2:
                at = self.beyond(place, behind, self.size)
                self.loop(behind, count, 2, lambda _: self.put(self.high(bits), at))
            return [following]

        (state,) = self.fold(many, count, self.each, [state], single)
        if self.each == 2:
            asked = code.compare("icmp sgt", count, self.number(0))
            half = code.select(asked, self.high(self.output(state)), half)
            waits = code.and_(count, self.number(1))
        return [state, waits, half]

    def by_lanes(self, place: Word, count: Word, state: Word) -> Word:
        """The bits of numbers by a vector of states, and the last of these."""
        code = self.code
        last = state
        halves: list[Word | None] = [None, None]
        for k in reversed(range(self.lanes)):
            halves = [
                code.with_lane(half, self.vector, part, k)
                for half, part in zip(halves, self.parts(last), strict=True)
            ]
            last = self.previous(last)

        def turn(i: Any, values: list[Any]) -> list[Any]:
            low, high = self.further(*values)
            code.store(self.mixed(low, high), self.beyond(place, i, self.size), self.size)
            return [low, high]

        found = self.fold(self.number(0), count, self.lanes * self.each, halves, turn)
        low, high = (code.convert("zext", code.part(v, self.lanes - 1, 1), WIDE) for v in found)
        return code.binary("or", code.binary("shl", high, constant(WIDE, 64)), low)

    def further(self, low: Word, high: Word) -> tuple[Word, Word]:
        """s·mᴸ + c for vectors of the halves of s."""
        code = self.code
        multiplier = pow(MULTIPLIER, self.lanes, 1 << 128)
        m_low, m_high = (constant(self.vector, n) for n in (multiplier & LOW, multiplier >> 64))
        c_low, c_high = (code.splat(n, self.lanes) for n in self.parts(self.several))
        across = code.add(code.mul(low, m_high), code.mul(high, m_low))
        upper = code.add(self.upper(low, multiplier & LOW), across)
        lower = code.add(code.mul(low, m_low), c_low)
        carry = code.convert("zext", code.compare("icmp ult", lower, c_low), INT)
        return lower, code.add(code.add(upper, c_high), carry)

    def upper(self, x: Word, y: int) -> Word:
        """The upper half of the product of 64 bits and 64 bits, from products of 32 and 32."""
        code = self.code
        mask, half = constant(x.type, (1 << 32) - 1), constant(x.type, 32)
        xs = code.and_(x, mask), code.binary("lshr", x, half)
        ys = constant(x.type, y & 0xFFFFFFFF), constant(x.type, y >> 32)
        low, left, right, top = (code.mul(a, b) for b in ys for a in xs)
        left = code.add(left, code.binary("lshr", low, half))
        right = code.add(right, code.and_(left, mask))
        carried = code.add(code.binary("lshr", left, half), code.binary("lshr", right, half))
        return code.add(top, carried)

    def parts(self, state: Word) -> tuple[Word, Word]:
        """The lower and the upper 64 bits."""
        upper = self.code.binary("lshr", state, constant(WIDE, 64))
        low, high = (self.code.convert("trunc", word, INT) for word in (state, upper))
        return low, high

    def previous(self, state: Word) -> Word:
        """The state before one."""
        inverse = constant(WIDE, pow(MULTIPLIER, -1, 1 << 128))
        return self.code.mul(self.code.binary("sub", state, self.step), inverse)

    def next(self, state: Word) -> Word:
        """The state after one."""
        return self.code.add(self.code.mul(state, constant(WIDE, MULTIPLIER)), self.step)

    def output(self, state: Word) -> Word:
        """The bits of one state."""
        return self.mixed(*self.parts(state))

    def mixed(self, low: Word, high: Word) -> Word:
        """XSL-RR: both halves together, turned as the highest six bits say."""
        both = self.code.binary("xor", low, high)
        turn = self.code.binary("lshr", high, constant(high.type, 58))
        return self.code.call("fshr", both, both, turn)

    def high(self, bits: Word) -> Word:
        """The upper half, which is the second number."""
        return self.code.binary("lshr", bits, self.number(32))

    def put(self, bits: Word, place: Word) -> None:
        """Store the bits of one number."""
        whole = self.code.convert("trunc", bits, "i32") if self.each == 2 else bits
        self.code.store(whole, place, self.size)

    def convert(self, place: Word, width: int, i: Any) -> None:
        """Bits in memory to numbers in [0, 1)."""
        code, at = self.code, self.beyond(place, i, self.size)
        kind, unused, least = ("i32", 8, 2.0**-24) if self.each == 2 else (INT, 11, 2.0**-53)
        bits = code.load(vector(kind, width), at, self.size)
        shifted = code.binary("lshr", bits, constant(bits.type, unused))
        number = code.convert("uitofp", shifted, self.element)
        code.store(code.binary("fmul", number, constant(number.type, least)), at, self.size)
