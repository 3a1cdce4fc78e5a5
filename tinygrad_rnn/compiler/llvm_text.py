"""LLVM's language, written: types, constants and instructions as text.

Just what kernels need. A type is its text; a `Word` is a value, that is, a type and a name. Sums
and products of known integers are worked out here, so that no pass has to clean up behind us.
"""

from __future__ import annotations

from collections.abc import Sequence
from ctypes import c_float
from functools import cache
from struct import pack
from typing import Any

__all__ = [
    "BOOL", "BYTE", "Function", "INT", "POINTER", "Phi", "Word", "constant", "lanes", "scalar",
    "vector",
]  # fmt: skip

BOOL, BYTE, LANE, INT, POINTER = "i1", "i8", "i32", "i64", "ptr"


class Word:
    """A value: its type, how it is named, and its number if it is a known integer."""

    __slots__ = ("name", "number", "type")

    def __init__(self, kind: str, name: str, number: int | None = None) -> None:
        self.type, self.name, self.number = kind, name, number


class Phi(Word):
    """A value that depends on where control has come from."""

    __slots__ = ("incoming",)

    def __init__(self, kind: str, name: str) -> None:
        super().__init__(kind, name)
        self.incoming: list[str] = []

    def add_incoming(self, value: Word, block: str) -> None:
        """Its value when control comes from a block."""
        self.incoming.append(f"[ {value.name}, %{block} ]")

    def __str__(self) -> str:
        return f"{self.name} = phi {self.type} {', '.join(self.incoming)}"


def vector(scalar: str, width: int) -> str:
    """The type of `width` scalars."""
    return scalar if width == 1 else f"<{width} x {scalar}>"


@cache
def scalar(kind: str) -> str:
    """The type of one element."""
    return kind[kind.index("x") + 2 : -1] if kind[0] == "<" else kind


@cache
def lanes(kind: str) -> int:
    """The number of elements."""
    return int(kind[1 : kind.index("x")]) if kind[0] == "<" else 1


def constant(kind: str, number: float) -> Word:
    """A number in all lanes."""
    if scalar(kind)[0] == "i":
        return _constant(kind, str(int(number)), int(number))
    exact = c_float(number).value if scalar(kind) == "float" else float(number)
    return _constant(kind, f"0x{pack('>d', exact).hex()}", None)  # −0 is not 0 there


@cache
def _constant(kind: str, one: str, number: int | None) -> Word:
    count = lanes(kind)
    if count == 1:
        return Word(kind, one, number)
    if not one.strip("0x"):
        return Word(kind, "zeroinitializer")
    return Word(kind, f"splat ({scalar(kind)} {one})")


class Function:
    """A function without a result, being written at the end of its current block."""

    def __init__(self, arguments: list[str]) -> None:
        self.args = [Word(kind, f"%a{i}") for i, kind in enumerate(arguments)]
        self.declared: dict[str, str] = {}
        self.blocks: dict[str, list[Any]] = {}
        self.count = 0
        self.at(self.new_block("entry"))

    def __str__(self) -> str:
        head = ", ".join(f"{a.type} {a.name}" for a in self.args)
        body = [
            f"{label}:\n  " + "\n  ".join(map(str, lines)) for label, lines in self.blocks.items()
        ]
        declarations = "\n".join(self.declared.values())
        return f"define void @kernel({head}) {{\n" + "\n".join(body) + f"\n}}\n{declarations}\n"

    # ------------------------------------------------------------------------ control
    def new_block(self, name: str) -> str:
        """The label of a new block."""
        label = f"{name}{len(self.blocks)}"
        self.blocks[label] = []
        return label

    def at(self, block: str) -> None:
        """Go on at the end of a block."""
        self.block, self.lines = block, self.blocks[block]

    def branch(self, block: str) -> None:
        """Go there."""
        self.lines.append(f"br label %{block}")

    def branch_if(self, condition: Word, block: str, other: str) -> None:
        """Go there if it holds, else to the other."""
        self.lines.append(f"br i1 {condition.name}, label %{block}, label %{other}")

    def ret(self) -> None:
        """The end."""
        self.lines.append("ret void")

    # ------------------------------------------------------------------- instructions
    def emit(self, kind: str, text: str) -> Word:
        """The result of an instruction."""
        self.count += 1
        name = f"%v{self.count}"
        self.lines.append(f"{name} = {text}")
        return Word(kind, name)

    def phi(self, kind: str) -> Phi:
        """A value that depends on where control has come from."""
        self.count += 1
        made = Phi(kind, f"%v{self.count}")
        self.lines.append(made)
        return made

    def binary(self, name: str, x: Word, y: Word) -> Word:
        """An operation on two values of one type."""
        return self.emit(x.type, f"{name} {x.type} {x.name}, {y.name}")

    def add(self, x: Word, y: Word) -> Word:
        """x + y of integers."""
        if x.number is not None and y.number is not None:
            return constant(x.type, x.number + y.number)
        if x.number == 0 or y.number == 0:
            return y if x.number == 0 else x
        return self.binary("add", x, y)

    def mul(self, x: Word, y: Word) -> Word:
        """x · y of integers."""
        if x.number is not None and y.number is not None:
            return constant(x.type, x.number * y.number)
        if x.number == 1 or y.number == 1:
            return y if x.number == 1 else x
        return self.binary("mul", x, y)

    def hidden(self, x: Word) -> Word:
        """x, of which LLVM can't see what it was made of."""
        return self.emit(x.type, f'call {x.type} asm "", "=r,0"({x.type} {x.name})')

    def least(self, x: Word, y: Word) -> Word:
        """The smaller of two integers."""
        return self.select(self.compare("icmp slt", x, y), x, y)

    def and_(self, x: Word, y: Word) -> Word:
        """The bits that both have."""
        return self.binary("and", x, y)

    def moved(self, pointer: Word, offset: Word) -> Word:
        """pointer + offset bytes."""
        if offset.number == 0:
            return pointer
        text = f"getelementptr i8, ptr {pointer.name}, {offset.type} {offset.name}"
        return self.emit(POINTER, text)

    def load(self, kind: str, pointer: Word, align: int) -> Word:
        """What is there."""
        return self.emit(kind, f"load {kind}, ptr {pointer.name}, align {align}")

    def store(self, value: Word, pointer: Word, align: int) -> None:
        """Put a value there."""
        text = f"store {value.type} {value.name}, ptr {pointer.name}, align {align}"
        self.lines.append(text)

    def compare(self, relation: str, x: Word, y: Word) -> Word:
        """A comparison, as LLVM names it: "icmp slt", "fcmp olt", …"""
        kind = vector(BOOL, lanes(x.type))
        return self.emit(kind, f"{relation} {x.type} {x.name}, {y.name}")

    def any(self, condition: Word) -> Word:
        """Whether it holds in any lane."""
        if lanes(condition.type) == 1:
            return condition
        bits = f"i{lanes(condition.type)}"
        mask = self.emit(bits, f"bitcast {condition.type} {condition.name} to {bits}")
        return self.emit(BOOL, f"icmp ne {bits} {mask.name}, 0")

    def select(self, condition: Word, x: Word, y: Word) -> Word:
        """x where the condition holds, else y."""
        words = f"{condition.type} {condition.name}, {x.type} {x.name}, {y.type} {y.name}"
        return self.emit(x.type, f"select {words}")

    def convert(self, name: str, x: Word, element: str) -> Word:
        """To another type of element: bitcast, zext, uitofp, fpext, fptrunc."""
        kind = vector(element, lanes(x.type))
        return self.emit(kind, f"{name} {x.type} {x.name} to {kind}")

    def call(self, name: str, *args: Word) -> Word:
        """An intrinsic of one floating-point type: llvm.name.type."""
        kind, count = args[0].type, lanes(args[0].type)
        short = {"float": "f32", "double": "f64"}[scalar(kind)]
        full = f"@llvm.{name}.{'' if count == 1 else f'v{count}'}{short}"
        self.declared[full] = f"declare {kind} {full}({', '.join([kind] * len(args))})"
        return self.emit(kind, f"call {kind} {full}({', '.join(f'{kind} {a.name}' for a in args)})")

    def ask(self, kind: str, function: Word, argument: Word) -> Word:
        """What the function at an address gives."""
        return self.emit(kind, f"call {kind} {function.name}({argument.type} {argument.name})")

    def fetch(self, pointer: Word) -> None:
        """Ask for what is there to be brought near, if there is anything."""
        name = "@llvm.prefetch.p0"
        self.declared[name] = f"declare void {name}(ptr, i32, i32, i32)"
        self.lines.append(f"call void {name}(ptr {pointer.name}, i32 0, i32 3, i32 1)")

    def copy(self, target: Word, source: Word, size: Word) -> None:
        """So many bytes from one place to another."""
        name = "@llvm.memcpy.p0.p0.i64"
        self.declared[name] = f"declare void {name}(ptr, ptr, i64, i1)"
        words = f"ptr {target.name}, ptr {source.name}, i64 {size.name}, i1 false"
        self.lines.append(f"call void {name}({words})")

    # ------------------------------------------------------------------------ vectors
    def splat(self, value: Word, width: int) -> Word:
        """A scalar in all lanes."""
        if width == 1:
            return value
        kind = vector(value.type, width)
        first = f"insertelement {kind} poison, {value.type} {value.name}, i32 0"
        one = self.emit(kind, first)
        mask = f"{vector(LANE, width)} zeroinitializer"
        return self.emit(kind, f"shufflevector {kind} {one.name}, {kind} poison, {mask}")

    def part(self, value: Word, start: int, width: int) -> Word:
        """`width` lanes from `start` on."""
        if width == 1:
            words = f"{value.type} {value.name}, i32 {start}"
            return self.emit(scalar(value.type), f"extractelement {words}")
        return self.shuffled(value, Word(value.type, "poison"), range(start, start + width))

    def shuffled(self, x: Word, y: Word, order: Sequence[int]) -> Word:
        """Lanes of two vectors, those of y numbered behind those of x."""
        numbers = ", ".join(f"i32 {i}" for i in order)
        words = f"{x.type} {x.name}, {y.type} {y.name}, <{len(order)} x i32> <{numbers}>"
        return self.emit(vector(scalar(x.type), len(order)), f"shufflevector {words}")

    def with_lane(self, value: Word | None, kind: str, one: Word, lane: int) -> Word:
        """A vector with another number in one lane; None is a vector of which nothing is known."""
        name = "poison" if value is None else value.name
        return self.emit(kind, f"insertelement {kind} {name}, {one.type} {one.name}, i32 {lane}")
