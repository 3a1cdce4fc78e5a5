"""Kernels in LLVM's language: blocks of loops written as vector instructions.

A kernel is called as k(t, table): t is the number of the step, `table` the address of an array of
base addresses. Offsets are worked out inside, so a call costs the same however many arrays there
are. Vectors are written explicitly: the innermost axis goes in steps of the machine's width (twice
that where it divides), what is left over in halves of it. The loads of a point come before its
stores, so a carry may be overwritten in place.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from .llvm_functions import OPERATIONS, power
from .llvm_jit import machine
from .llvm_loops import Loops
from .llvm_math import Lanes
from .llvm_text import BOOL, BYTE, INT, POINTER, Function, Word, vector
from .lowering import Address, Block, Rows
from .program import Value

__all__ = ["Writer", "build", "element"]

FIRST = {"sum": 0.0, "amax": -float("inf"), "amin": float("inf")}
NEAR = 96 << 10  # bytes of the rows of a tile, which stay in the second cache
TALLEST = 16  # rows of a tile
LINE = 64  # bytes that come from memory together


def element(dtype: Any) -> str:
    """The type of a number in memory."""
    return BYTE if dtype.kind == "b" else "float" if dtype.itemsize == 4 else "double"


class Writer(Loops):
    """Writes a function of `numbers` integers and a pointer, which is that of a table, as a rule.

    If there are integers the first one is the step, unless a subclass has another. The table begins
    with `counts` more, which a function that is called often is handed over in less time there.
    """

    def __init__(self, bases: int, numbers: int = 1, counts: int = 0) -> None:
        super().__init__(Function([INT] * numbers + [POINTER]))
        self.table = self.code.args[-1]
        self.step = self.code.args[0] if numbers else self.number(0)
        self.step_of_few = self.number(0)  # the number among those that are done together
        self.counts = [self.entry(INT, i) for i in range(counts)]
        self.bases = [self.entry(POINTER, counts + i) for i in range(bases)]

    def text(self) -> str:
        """The finished function."""
        self.code.ret()
        return str(self.code)

    # --------------------------------------------------------------------- addresses
    def beyond(self, pointer: Word, index: Word, stride: int) -> Word:
        """pointer + index · stride bytes."""
        return self.code.moved(pointer, self.code.mul(index, self.number(stride)))

    def fetched(self, place: Word, size: int) -> None:
        """Have so many bytes brought near."""
        for start in range(0, size, LINE):
            self.code.fetch(self.code.moved(place, self.number(start)))

    def entry(self, kind: str, i: int) -> Word:
        """The i-th entry of the table."""
        return self.code.load(kind, self.code.moved(self.table, self.number(8 * i)), 8)

    def start(self, address: Address, outer: Sequence[Any]) -> Word:
        """Where an operand begins for these outer indices in this step."""
        pointer = self.bases[address.base]
        if address.row:
            step = self.step_of_few if address.few else self.step
            pointer = self.beyond(pointer, step, address.row)
        pointer = self.code.moved(pointer, self.number(address.offset))
        for index, stride in zip(outer, address.strides, strict=False):
            if stride:
                pointer = self.beyond(pointer, index, stride)
        return pointer

    # ------------------------------------------------------------------------ pieces
    def widths(self, size: Any, block: Block) -> list[tuple[Any, Any, int]]:
        """(start, stop, width) of the pieces of the innermost axis."""
        items = [a.dtype.itemsize for a, _ in block.accesses()]
        return self.cut(size, machine().vector // max(items, default=8))

    def cut(self, size: Any, native: int) -> list[tuple[Any, Any, int]]:
        """`size` points in pieces of the widest vectors that fit."""
        width = 2 * native if size % (2 * native) == 0 else native
        pieces, start = [], 0
        while width >= 1:
            stop = start + (size - start) // width * width
            if stop > start:
                pieces.append((start, stop, width))
            start, width = stop, width // 2
        return pieces

    # ------------------------------------------------------------------------ blocks
    def part(self, part: Block | Rows) -> None:
        """One loop nest, or several, some rows of all of them after the other."""
        if isinstance(part, Block):
            self.block(part)
            return
        size = self.extent(part.size)
        height = _height(part) if isinstance(size, int) else 1

        def tile(top: Any) -> None:
            for block in part.blocks:
                self.some_rows(block, top, height)

        self.loop(0, size, height, tile)

    def extent(self, size: int) -> Any:
        """How far the first axis of a block goes."""
        return size

    def count_of(self, rows: int) -> Word:
        """How many rows a product has, as a value."""
        return self.number(rows)

    def block(self, block: Block) -> None:
        """One loop nest."""
        sizes = [n if i else self.extent(n) for i, n in enumerate(block.sizes)]
        if block.reductions:
            self.nested(sizes[: block.rows], lambda outer: self.reduced(block, outer))
        elif _sums_rows(block) and isinstance(sizes[0], int):
            self.summed(block, self.number(0), sizes[0])
        else:
            size = sizes[-1] if sizes else 1
            self.nested(sizes[:-1], lambda outer: self.stored(block, outer, size))

    def some_rows(self, block: Block, top: Any, height: int) -> None:
        """`height` rows of a loop nest from `top` on."""
        if len(block.sizes) == 1 and not block.reductions:
            self.stored(block, [top], height)
        elif _sums_rows(block) and height > 1:
            self.summed(block, top, height)
        else:
            self.loop(0, height, 1, lambda k: self.row(block, self.code.add(top, k)))

    def row(self, block: Block, i: Any) -> None:
        """One row of a loop nest."""
        if block.reductions:
            sizes = block.sizes[1 : block.rows]
            self.nested(sizes, lambda outer: self.reduced(block, [i, *outer]))
        else:
            size = (1, *block.sizes[1:])[-1]
            self.nested(block.sizes[1:-1], lambda outer: self.stored(block, [i, *outer], size))

    def stored(self, block: Block, outer: list[Any], size: Any) -> None:
        """All points of the innermost axis: computed, then stored."""
        starts = self.starts(block, outer)
        fixed = self.invariants(block, starts)
        for low, high, width in self.widths(size, block):

            def body(j: Any, width: int = width) -> None:
                self.written(block, self.terms(block, starts, fixed, j, width), starts, j, width)

            self.loop(low, high, width, body)

    def written(
        self, block: Block, terms: list[Any], starts: dict[Address, Any], j: Any, width: int
    ) -> None:
        """The terms of some points stored, and added to what is there."""
        lanes = Lanes(self.code, width)
        for number, address in block.stores:
            self.store(terms[number], address, starts[address], j, width)
        for number, address in block.adds:
            total = lanes.add(self.load(lanes, address, starts[address], j), terms[number])
            self.store(total, address, starts[address], j, width)

    def summed(self, block: Block, top: Any, height: int) -> None:
        """Sums over rows, kept in registers from the first row to the last."""

        def column(middle: list[Any], width: int, j: Any) -> None:
            lanes = Lanes(self.code, width)

            def row(k: Any, totals: list[Any]) -> list[Any]:
                starts = self.starts(block, [self.code.add(top, k), *middle])
                terms = self.terms(block, starts, self.invariants(block, starts), j, width)
                for number, address in block.stores:
                    self.store(terms[number], address, starts[address], j, width)
                pairs = zip(totals, block.adds, strict=True)
                return [lanes.add(total, terms[number]) for total, (number, _) in pairs]

            places = [(a, self.start(a, [top, *middle])) for _, a in block.adds]
            before = [self.load(lanes, address, start, j) for address, start in places]
            after = self.fold(0, height, 1, before, row)
            for total, (address, start) in zip(after, places, strict=True):
                self.store(total, address, start, j, width)

        def line(middle: list[Any]) -> None:
            for low, high, width in self.widths(block.sizes[-1], block):
                self.loop(low, high, width, partial(column, middle, width))

        self.nested(block.sizes[1:-1], line)

    def reduced(self, block: Block, outer: list[Any]) -> None:
        """The results of one row, in vectors of accumulators until the row is done."""
        middle, last = block.sizes[block.rows : -1], (1, *block.sizes[block.rows :])[-1]
        pieces = self.widths(last, block)
        first = [
            Lanes(self.code, width).filled(element(a.dtype), FIRST[kind])
            for _, _, width in pieces
            for kind, _, a in block.reductions
        ]

        def line(indices: list[Any], values: list[Any]) -> list[Any]:
            starts = self.starts(block, [*outer, *indices])
            fixed = self.invariants(block, starts)
            count, found = len(block.reductions), []
            for n, (low, high, width) in enumerate(pieces):

                def body(j: Any, sums: list[Any], width: int = width) -> list[Any]:
                    terms = self.terms(block, starts, fixed, j, width)
                    self.written(block, terms, starts, j, width)
                    lanes = Lanes(self.code, width)
                    return [
                        combine(lanes, kind, total, terms[number])
                        for total, (kind, number, _) in zip(sums, block.reductions, strict=True)
                    ]

                sums = values[n * count : (n + 1) * count]
                found += self.fold(low, high, width, sums, body)
            return found

        totals = self.folded(middle, first, line)
        for n, (kind, _, address) in enumerate(block.reductions):
            widths = [width for _, _, width in pieces]
            value = self.together(kind, totals[n :: len(block.reductions)], widths)
            self.code.store(value, self.start(address, outer), address.dtype.itemsize)

    def together(self, kind: str, vectors: list[Any], widths: list[int]) -> Any:
        """Vectors of falling widths reduced to one number, by halves."""
        total, width = None, 2 * widths[0]
        waiting = dict(zip(widths, vectors, strict=True))
        while width > 1:
            width //= 2
            lanes = Lanes(self.code, width)
            if total is not None:
                halves = [self.code.part(total, start, width) for start in (0, width)]
                total = combine(lanes, kind, *halves)
            if width in waiting:
                own = waiting[width]
                total = own if total is None else combine(lanes, kind, total, own)
        return total

    # ------------------------------------------------------------------------- points
    def starts(self, block: Block, outer: Sequence[Any]) -> dict[Address, Any]:
        """Where each operand begins for these outer indices."""
        reduced = {address for _, _, address in block.reductions}
        addresses = [a for a, written in block.accesses() if not written or a not in reduced]
        return {a: self.start(a, outer) for a in dict.fromkeys(addresses)}

    def invariants(self, block: Block, starts: dict[Address, Any]) -> dict[int, Any]:
        """The terms that are the same all along the innermost axis, each worked out once."""
        one = Lanes(self.code, 1)
        found: dict[int, Any] = {}
        numbers = {i: t for i, t in enumerate(block.terms) if t[0] == "number"}
        for i, term in enumerate(block.terms):
            if term[0] == "load" and not (term[1].strides and term[1].strides[-1]):
                found[i] = self.load(one, term[1], starts[term[1]], self.number(0))
            elif term[0] not in ("load", "number", "none") and all(
                a in found or a in numbers for a in term[1]
            ):
                args = [found[a] if a in found else self.constant(one, numbers[a]) for a in term[1]]
                found[i] = self.operation(one, term, args)
        return found

    def terms(
        self, block: Block, starts: dict[Address, Any], fixed: dict[int, Any], j: Any, width: int
    ) -> list[Any]:
        """The terms of `width` points from j on."""
        lanes = Lanes(self.code, width)
        found: list[Any] = []
        for i, term in enumerate(block.terms):
            if i in fixed:
                found.append(lanes.splat(fixed[i]))
            elif term[0] == "none":
                found.append(None)
            elif term[0] == "load":
                found.append(self.load(lanes, term[1], starts[term[1]], j))
            elif term[0] == "number":
                found.append(self.constant(lanes, term))
            else:
                found.append(self.operation(lanes, term, [found[n] for n in term[1]]))
        return found

    def constant(self, lanes: Lanes, term: tuple[Any, ...]) -> Any:
        """A number in all lanes."""
        number, dtype = term[1]
        return lanes.filled(BOOL if dtype.kind == "b" else element(dtype), number)

    def operation(self, lanes: Lanes, term: tuple[Any, ...], args: list[Any]) -> Any:
        """One operation on vectors."""
        name, _, value = term
        if name == "cast":
            return lanes.cast(args[0], value.dtype)
        if name == "clip":
            return lanes.clip(args[0], value.params["min"], value.params["max"])
        if name == "pow":
            exponent = value.args[1]
            return power(lanes, args[0], args[1], None if type(exponent) is Value else exponent)
        return OPERATIONS[name](lanes, *args)

    def load(self, lanes: Lanes, address: Address, start: Any, j: Any) -> Any:
        """`width` elements from j on: side by side, one for all, or gathered."""
        code, item, width = self.code, address.dtype.itemsize, lanes.width
        one, stride = element(address.dtype), address.strides[-1] if address.strides else 0
        if stride == 0:
            value = lanes.splat(code.load(one, start, item))
        elif stride == item or width == 1:
            value = code.load(vector(one, width), self.beyond(start, j, stride), item)
        else:
            value = None
            for k in range(width):
                pointer = self.beyond(start, code.add(j, self.number(k)), stride)
                number = code.load(one, pointer, item)
                value = code.with_lane(value, vector(one, width), number, k)
        if address.dtype.kind == "b":
            assert value is not None
            return code.compare("icmp ne", value, lanes.filled(one, 0))
        return value

    def store(self, value: Any, address: Address, start: Any, j: Any, width: int) -> None:
        """`width` elements from j on."""
        code, item = self.code, address.dtype.itemsize
        stride = address.strides[-1] if address.strides else item
        if address.dtype.kind == "b":
            value = code.convert("zext", value, BYTE)
        if stride == item or width == 1:
            code.store(value, self.beyond(start, j, stride), item)
            return
        for k in range(width):
            pointer = self.beyond(start, code.add(j, self.number(k)), stride)
            code.store(code.part(value, k, 1), pointer, item)


def combine(lanes: Lanes, kind: str, x: Any, y: Any) -> Any:
    """One step of a reduction."""
    return lanes.add(x, y) if kind == "sum" else lanes.larger("><"[kind == "amin"], x, y)


def _sums_rows(block: Block) -> bool:
    """Whether a block adds up rows and reduces none."""
    plain = not block.reductions and len(block.sizes) > 1
    return bool(block.adds) and plain and not any(a.strides[0] for _, a in block.adds)


def _height(part: Rows) -> int:
    """How many rows of all blocks are near enough, a divisor of the number of rows."""
    used: dict[int, int] = {}
    for address, _ in (access for block in part.blocks for access in block.accesses()):
        used[address.base] = max(used.get(address.base, 0), abs(address.strides[0]))
    most = max(1, min(TALLEST, NEAR // max(1, sum(used.values()))))
    return max(n for n in range(1, most + 1) if part.size % n == 0)


def build(parts: Sequence[Block | Rows], bases: int) -> str:
    """The LLVM text of a kernel."""
    writer = Writer(bases)
    for part in parts:
        writer.part(part)
    return writer.text()
