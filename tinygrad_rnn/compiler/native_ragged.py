"""The whole loop over packed rows in compiled code: the number of rows is an argument.

A loop written for `SYMBOLIC` rows is compiled for n: the first axis of every kernel and the rows of
every product go as far as n says, and a step is n rows away from the one before. The compiled
function goes through a table of pieces, which are steps with one number of rows. So nothing depends
on the size of a batch or on its lengths but the arguments of the call.

Legend: n rows of one step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from ctypes import CFUNCTYPE, c_int64, c_void_p
from functools import cached_property, partial
from typing import Any, NamedTuple

import numpy as np

from .cut import Loop
from .llvm_engine import address_of, plan_with_kernels
from .llvm_jit import compiled
from .llvm_kernels import Writer
from .llvm_loops import Fold
from .llvm_panels import filling
from .llvm_products import Tile, of_height
from .llvm_text import INT, POINTER, Word
from .lowering import Address
from .native_block import LARGEST
from .native_engine import EACH, LENGTHS, NativeRunner, is_native
from .packing import Ragged
from .pieces import PIECE, Share, divided
from .plan import Plan
from .pool import ALIGNMENT, pool
from .ragged_engine import PackedRunner, check_rows
from .ragged_engine import compile_packed as in_numpy
from .rowwise import SYMBOLIC
from .workers import at_once, shares_of

__all__ = ["NativePackedRunner", "compile_packed"]

SIGNATURE = CFUNCTYPE(None, c_int64, c_int64, c_void_p)
Spot = tuple[Any, int, int]  # memory, where in it something begins, and the address of that


class Extent(NamedTuple):
    """A number of points known when the loop is run: `each` for every row."""

    value: Any
    each: int


class Moved(NamedTuple):
    """A stacked carry: where the table has its base, before that of the final carry; a row's bytes.

    `ahead` is the number of the base for what a step makes of it, if there is one.
    """

    place: int
    row: int
    ahead: int | None


class PackedWriter(Writer):
    """Writes a function of (pieces, how many, table)."""

    def __init__(self, bases: int) -> None:
        super().__init__(bases, 2)

    def pieces(self, step: Callable[[Word], None], moved: Sequence[Moved]) -> None:
        """step(the following one) in each piece, and the rows of carries to where they belong."""
        code, number = self.code, self.number
        first, count = code.args[:2]
        table = code.convert("inttoptr", first, POINTER)

        def entry(piece: Any, name: str) -> Any:
            place = code.add(code.mul(piece, number(len(PIECE))), number(PIECE.index(name)))
            return code.load(INT, self.beyond(table, place, 8), 8)

        def piece(i: Any) -> None:
            start, steps, self.rows, stride, ahead, aside, source, target, copied = (
                entry(i, name) for name in PIECE
            )
            here = [self.carry(m, aside) for m in moved]
            for m, base in zip(moved, here, strict=True):
                if m.ahead is not None:
                    self.bases[m.ahead] = self.beyond(base, ahead, m.row)

            def one(t: Any) -> None:
                self.step = code.add(start, code.mul(t, stride))
                step(code.add(self.step, stride))

            self.loop(0, steps, 1, one)
            other = code.binary("sub", number(1), aside)
            for m, base in zip(moved, here, strict=True):
                self.copy_rows(m, (self.carry(m, other), target), (base, source), copied)

        zero, one = number(0), number(1)
        begin = entry(zero, "rows")
        for m in moved:
            self.copy_rows(m, (self.carry(m, zero), zero), (self.carry(m, one), zero), begin)
        self.loop(0, count, 1, piece)

    def carry(self, moved: Moved, final: Any) -> Any:
        """The base of a carry (0), or of the final one (1)."""
        place = self.code.add(self.number(moved.place), final)
        return self.code.load(POINTER, self.beyond(self.table, place, 8), 8)

    def copy_rows(
        self, moved: Moved, target: tuple[Any, Any], source: tuple[Any, Any], rows: Any
    ) -> None:
        """Copy rows from a (base, row) to another."""
        there, here = (self.beyond(base, row, moved.row) for base, row in (target, source))
        self.code.copy(there, here, self.code.mul(rows, self.number(moved.row)))

    def extent(self, size: int) -> Any:
        """`size` of `SYMBOLIC` rows, of n rows."""
        each = size // SYMBOLIC
        return Extent(self.code.mul(self.rows, self.number(each)), each)

    def count_of(self, rows: int) -> Word:
        """How many rows a product has that was written for so many."""
        return self.code.mul(self.rows, self.number(rows // SYMBOLIC))

    def start(self, address: Address, outer: Any) -> Any:
        """As before, with the distance between rows in place of that between steps."""
        return super().start(address._replace(row=address.row // SYMBOLIC), outer)

    def cut(self, size: Any, native: int) -> list[tuple[Any, Any, int]]:
        """Pieces of vectors; what is left over is cut when n is known."""
        if not isinstance(size, Extent):
            return super().cut(size, native)
        for width in (2 * native, native):
            if size.each % width == 0:
                return [(0, size, width)]
        pieces, start, width = [], self.number(0), native
        while width >= 1:
            stop = self.code.and_(size.value, self.number(-width))
            pieces.append((start, stop, width))
            start, width = stop, width // 2
        return pieces

    def fold(self, start: Any, stop: Any, step: int, first: list[Any], body: Fold) -> list[Any]:
        """As before, where the bound may be an extent."""
        stop = stop.value if isinstance(stop, Extent) else stop
        return super().fold(start, stop, step, first, body)


def tiles_of_rows(writer: Any, rows: int, height: int, body: Tile) -> None:
    """Tiles of a power of two up to `height`, of half of it, and so on, as far as n goes."""
    start, count = writer.number(0), writer.extent(rows).value
    height = 1 << height.bit_length() - 1
    while height:
        stop = writer.code.and_(count, writer.number(-height))
        writer.loop(start, stop, height, of_height(body, height))
        start, height = stop, height // 2


class NativePackedRunner(NativeRunner):
    """Runs a planned loop of `SYMBOLIC` rows on as many as there are in each step, by one call."""

    tiles = staticmethod(tiles_of_rows)
    groups = False

    def __init__(self, plan: Plan) -> None:
        check_rows(plan)
        super().__init__(plan)
        given = len(plan.loop.constant) + len(plan.loop.stacked)
        self.layouts: dict[tuple[int, int], tuple[int, list[tuple[int, int]]]] = {}
        self.sizes: list[tuple[str, int]] = []  # of own memory: which rows it has, their bytes
        self.own: dict[int, int] = {}  # the number of it for each buffer
        for n, buffer in enumerate(plan.buffers):
            if n in self.packed:
                self.own[n] = self.sized("whole", buffer.bytes)
            elif n >= given:
                same = plan.shared.get(n, n)
                if same not in self.own:
                    self.own[same] = self.sized(buffer.rows, buffer.bytes // SYMBOLIC)
                self.own[n] = self.own[same]
        self.finals = [
            self.sized("cell", p.buffer.bytes // SYMBOLIC)
            if p.buffer.rows == "carry"
            else self.own[p.buffer.number]
            for p in plan.carries
        ]
        self.moved = [p.buffer for p in plan.carries if p.buffer.rows == "carry"]
        self.native = compiled(self.written(self.parts), SIGNATURE)
        self.table = c_int64 * (len(self.bases.entries) + 2 * len(self.moved))
        self.one_call = self.written_call()

    def sized(self, rows: str, size: int) -> int:
        """The number of new memory."""
        self.sizes.append((rows, size))
        return len(self.sizes) - 1

    def written(self, parts: Sequence[Any]) -> str:
        """The LLVM text: all steps of all pieces."""
        entries, count = self.bases.entries, len(self.bases.entries)
        numbers = {entry: i for i, entry in enumerate(entries)}
        moved = [
            Moved(count + 2 * i, b.bytes // SYMBOLIC, numbers.get((b.number, True)))
            for i, b in enumerate(self.moved)
        ]
        writer = PackedWriter(count)
        writer.pieces(partial(self.write_parts, writer, parts), moved)
        return writer.text()

    def spots(self, how: Ragged) -> list[Spot]:
        """Own memory: for a small loop one block."""
        key = how.capacity, how.batch
        found = self.layouts.get(key)
        if found is None:
            if len(self.layouts) > LENGTHS:
                self.layouts.clear()
            found = self.layouts[key] = self.laid_out(*key)
        whole, layout = found
        if whole > LARGEST:
            return [pool.block(size) for _, size in layout]
        memory, start, address = pool.block(whole)
        return [(memory, start + at, address + at) for at, _ in layout]

    def laid_out(self, capacity: int, batch: int) -> tuple[int, list[tuple[int, int]]]:
        """The size of a block, and for own memory where it is there, and its size."""
        count = {"stack": capacity, "carry": capacity + batch, "whole": 1}
        found, at = [], 0
        for rows, row in self.sizes:
            size = -(-row * count.get(rows, batch) // ALIGNMENT) * ALIGNMENT
            found.append((at, size))
            at += size
        return at, found

    def __call__(  # type: ignore[override]
        self,
        how: Ragged,
        backward: bool,
        inits: Sequence[Any],
        stacked: Sequence[Any],
        constants: Sequence[Any],
        breaks: Sequence[int] = (),
    ) -> tuple[list[Any], list[Any]]:
        run = partial(self.run_shares, self.divided(how), backward)
        given = [*constants, *stacked]
        found: tuple[list[Any], list[Any]] = self.one_call(how, run, inits, given, self.spots(how))
        return found

    def divided(self, how: Ragged) -> list[Share]:
        """The shares of as many threads as pay."""
        most = self.count(how.total)
        for count in range(most, 1, -1) if most > 1 and self.shifts is not None else ():
            found = divided(how, count)
            if self.count(found.worth) >= len(found.shares):
                return found.shares
        return divided(how, 1).shares

    def count(self, length: int) -> int:
        """The number of shares that pays for so many rows of steps."""
        return shares_of(self.work * length // SYMBOLIC, EACH)

    @cached_property
    def shifts(self) -> list[int] | None:
        """Bytes from row to row for each entry of the table; None if rows wait for each other."""
        halves = self.shares(2)
        if halves is None or halves.sums:
            return None
        moved = [b.bytes // SYMBOLIC for b in self.moved for _ in range(2)]
        return [shift // (SYMBOLIC // 2) for shift in halves.shifts] + moved

    def run_shares(self, shares: Sequence[Share], backward: bool, addresses: Sequence[int]) -> None:
        """All pieces; the addresses are those of the table for a share from the first row on."""
        calls = []
        for first, pieces in shares:
            places = addresses
            if first:
                assert self.shifts is not None
                places = [a + first * s for a, s in zip(addresses, self.shifts, strict=True)]
            here = pieces[backward]
            calls.append(partial(self.native, address_of(here), len(here), self.table(*places)))
        at_once(calls)

    def written_call(self) -> Callable[..., Any]:
        """A call as one Python function of (packing, what runs, carries, inputs, own memory)."""
        plan, own = self.plan, self.own
        space: dict[str, Any] = {
            "at": address_of, "contiguous": np.ascontiguousarray, "ndarray": np.ndarray,
        }  # fmt: skip

        def view(spot: int, rows: str, shape: Sequence[int], dtype: Any) -> str:
            space[str(dtype)] = dtype
            return f"ndarray(({rows}, {', '.join(map(str, shape))}), {dtype}, m{spot}, s{spot})"

        lines = ["batch, total, back = how.batch, how.total, how.back"]
        lines.append(f"[{', '.join(f'(m{i}, s{i}, a{i})' for i in range(len(self.sizes)))}] = own")
        inputs = dict.fromkeys(n for n, _ in self.bases.entries if n not in own)
        lines += [f"g{n} = contiguous(given[{n}])" for n in inputs]
        for i, (spot, place) in enumerate(zip(self.finals, plan.carries, strict=True)):
            lines.append(f"f{i} = {view(spot, 'batch', place.shape[1:], place.dtype)}")
            lines.append(f"how.sort_into(f{i}, carries[{i}])")
        for n in self.packed:
            space[f"fill{n}"] = filling(*plan.buffers[n].shape, plan.buffers[n].dtype)
            lines.append(f"fill{n}(a{own[n]}, given[{n}])")
        table = [f"a{own[n]}" if n in own else f"at(g{n})" for n, _ in self.bases.entries]
        for spot, place in zip(self.finals, plan.carries, strict=True):
            if place.buffer.rows == "carry":
                table += [f"a{own[place.buffer.number]}", f"a{spot}"]
        lines.append(f"run([{', '.join(table)}])")
        finals = ", ".join(f"f{i}.take(back, 0)" for i in range(len(plan.carries)))
        exports = ", ".join(
            view(own[p.buffer.number], "total", (1, *p.shape[1:]), p.dtype) for p in plan.exports
        )
        body = "".join(f"    {line}\n" for line in lines)
        head = "def call(how, run, carries, given, own):\n"
        exec(f"{head}{body}    return [{finals}], [{exports}]\n", space)
        call: Callable[..., Any] = space["call"]
        return call


def compile_packed(loop: Loop, stacked_carries: bool) -> NativePackedRunner | PackedRunner:
    """A function that runs a loop of `SYMBOLIC` rows on packed rows; see `PackedRunner`."""
    plan = plan_with_kernels(loop, stacked_carries)
    if all(map(is_native, plan.actions)):
        return NativePackedRunner(plan)
    return in_numpy(loop, stacked_carries)
