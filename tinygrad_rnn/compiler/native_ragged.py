"""The whole loop over packed rows in compiled code: the number of rows is an argument.

A loop written for `SYMBOLIC` rows is compiled for n: the first axis of every kernel and the rows of
every product go as far as n says, and a step is n rows away from the one before. So nothing depends
on the size of a batch but the arguments of the call.

Legend: n rows of one step.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cached_property, partial
from typing import Any, NamedTuple

import numpy as np

from .cut import Loop
from .llvm_engine import address_of, plan_with_kernels
from .llvm_kernels import Writer
from .llvm_products import Tile, packed
from .lowering import Address
from .native_engine import NativeRunner, is_native
from .packing import Segment
from .ragged_engine import PackedRunner, Piece
from .ragged_engine import compile_packed as in_numpy
from .rowwise import SYMBOLIC

__all__ = ["NativePackedRunner", "compile_packed"]


class Extent(NamedTuple):
    """A number of points known when the loop is run: `each` for every row."""

    value: Any
    each: int


class RowsWriter(Writer):
    """Writes a function of (n, count, rows to the next step, table)."""

    def __init__(self, bases: int) -> None:
        super().__init__(bases, 3)
        self.rows = self.function.args[0]

    def extent(self, size: int) -> Any:
        """`size` of `SYMBOLIC` rows, of n rows."""
        each = size // SYMBOLIC
        return Extent(self.builder.mul(self.rows, self.number(each)), each)

    def start(self, address: Address, outer: Any) -> Any:
        """As before, with the distance between rows in place of that between steps."""
        return super().start(replace(address, row=address.row // SYMBOLIC), outer)

    def cut(self, size: Any, native: int) -> list[tuple[Any, Any, int]]:
        """Pieces of vectors; what is left over is cut when n is known."""
        if not isinstance(size, Extent):
            return super().cut(size, native)
        for width in (2 * native, native):
            if size.each % width == 0:
                return [(0, size, width)]
        pieces, start, width = [], self.number(0), native
        while width >= 1:
            stop = self.builder.and_(size.value, self.number(-width))
            pieces.append((start, stop, width))
            start, width = stop, width // 2
        return pieces

    def loop(self, start: Any, stop: Any, step: int, body: Callable[[Any], None]) -> None:
        """for i in range(start, stop, step): body(i), with bounds that may not be known yet."""
        stop = stop.value if isinstance(stop, Extent) else stop
        if isinstance(start, int) and isinstance(stop, int):
            super().loop(start, stop, step, body)
            return
        b = self.builder
        first = self.number(start) if isinstance(start, int) else start
        before = b.block
        inside = self.function.append_basic_block("rows")
        after = self.function.append_basic_block("rows_done")
        b.cbranch(b.icmp_signed("<", first, stop), inside, after)
        b.position_at_end(inside)
        index = b.phi(self.int)
        index.add_incoming(first, before)
        body(index)
        following = b.add(index, self.number(step))
        index.add_incoming(following, b.block)
        b.cbranch(b.icmp_signed("<", following, stop), inside, after)
        b.position_at_end(after)


def tiles_of_rows(writer: Writer, rows: int, height: int, body: Tile) -> None:
    """Tiles of `height`, of half of it, and single rows, as far as n goes."""
    start = writer.number(0)
    for size in (height, height // 2, 1):
        stop = writer.builder.and_(writer.function.args[0], writer.number(-size))
        writer.loop(start, stop, size, partial(_turned, body, size))
        start = stop


def _turned(body: Tile, height: int, top: Any) -> None:
    body(top, height)


class NativePackedRunner(PackedRunner, NativeRunner):  # type: ignore[misc]
    """Runs a planned loop on packed rows, each piece by one call."""

    tiles = staticmethod(tiles_of_rows)

    def writer(self) -> Writer:
        """What writes a function of (n, count, rows to the next step, table)."""
        return RowsWriter(len(self.bases.entries))

    def step(self, writer: Writer, i: Any) -> Any:
        """Where the i-th step is, in rows."""
        return writer.builder.mul(i, writer.function.args[2])

    def prepared(self, pieces: list[Segment], arrays: list[Any], backward: bool) -> Piece:
        """With the constants as panels, and for each piece a table of addresses."""
        panels = {i: packed(arrays[i]) for i in self.packed}
        entries = self.bases.entries
        base = np.array([address_of(panels.get(n, arrays[n])) for n, _ in entries], np.int64)
        first = [o + (steps - 1) * rows * backward for o, steps, rows in pieces]
        ahead = [rows for _, _, rows in pieces]
        tables = base + np.outer(first, self.moves[0]) + np.outer(ahead, self.moves[1])
        address, size = address_of(tables), 8 * len(entries)
        alive = (panels, tables)
        native, sign = self.way(1)[0], -1 if backward else 1

        def run(number: int) -> None:
            _, steps, rows = pieces[number]
            native(rows, steps, sign * rows, address + number * size)
            assert alive  # until here

        return run

    @cached_property
    def moves(self) -> Any:
        """(2, entries): bytes from row to row, and the same where the row ahead is meant."""
        buffers = self.plan.buffers
        rows = [
            buffers[n].bytes // SYMBOLIC * (buffers[n].rows in ("stack", "carry"))
            for n, _ in self.bases.entries
        ]
        return np.array([rows, [r * a for r, (_, a) in zip(rows, self.bases.entries, strict=True)]])


def compile_packed(loop: Loop, stacked_carries: bool) -> PackedRunner:
    """A function that runs a loop of `SYMBOLIC` rows on packed rows; see `PackedRunner`."""
    plan = plan_with_kernels(loop, stacked_carries)
    if all(map(is_native, plan.actions)):
        return NativePackedRunner(plan)
    return in_numpy(loop, stacked_carries)
