"""Sums over rows, written as vector code: Σ aᵀ·b and Σ b.

The number of rows is an argument; all else is known. Rows are taken some at a time, added up in
registers, and these sums are added to what is in memory; or a sum that is in memory goes on.

Legend: R rows; M columns of a, N columns of b.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, Protocol

from .llvm_jit import machine
from .llvm_kernels import Writer, element
from .llvm_math import Lanes
from .llvm_products import panel, panels_of
from .llvm_text import INT, vector

__all__ = ["ProductWriter", "RowsWriter", "STRIP", "TILE", "write_scatter"]

FIRST = 3 << 14  # bytes of a block of rows that is read as it is, from the first cache
TILE = 8  # columns of a for which some of b are in registers
STRIP = 4  # tiles for which a is put in order at a time


class Sizes(Protocol):
    """What a sum is compiled for; `block` are the rows that are added up in registers."""

    dtype: Any
    strides: list[int]
    height: int
    widths: tuple[int, ...]
    block: int


class RowsWriter(Writer):
    """Writes sums of rows: several vectors of columns at a time."""

    def __init__(self, sizes: Sizes, onward: bool) -> None:
        count = len(sizes.widths)
        super().__init__(2 * count, 0, 4)
        self.onward, self.dtype, self.item = onward, sizes.dtype, int(sizes.dtype.itemsize)
        self.most = sizes.block
        places = zip(self.bases[:count], self.bases[count:], strict=True)
        for (b, total), columns, stride in zip(places, sizes.widths, sizes.strides, strict=True):
            self.side(b, total, columns, stride)

    def side(self, b: Any, total: Any, columns: int, stride: int) -> None:
        """The sum of one b."""
        rows, most = self.counts[3], self.number(self.most)
        for first, count, width in panels_of(columns, 8 * machine()[2] // self.item):

            def panel(n: Any, first: int = first, width: int = width) -> None:
                start = self.number(first * self.item)
                source, out = (
                    self.beyond(self.code.moved(base, start), n, width * self.item)
                    for base in (b, total)
                )
                if self.onward:
                    self.some(source, out, rows, width, stride)
                    return
                self.loop(0, rows, self.most, lambda top: self.some(
                    self.beyond(source, top, stride), out,
                    self.code.least(self.code.binary("sub", rows, top), most), width, stride,
                ))  # fmt: skip

            self.loop(0, count, 1, panel)

    def some(self, source: Any, out: Any, rows: Any, width: int, stride: int) -> None:
        """Some rows of some columns."""
        lanes = min(width, machine()[2] // self.item)
        vectors, kind = Lanes(self.code, lanes), vector(element(self.dtype), lanes)
        places = [self.number(i * self.item) for i in range(0, width, lanes)]
        before = [self.code.load(kind, self.code.moved(out, p), self.item) for p in places]

        def row(k: Any, totals: list[Any]) -> list[Any]:
            line = self.beyond(source, k, stride)
            loaded = [self.code.load(kind, self.code.moved(line, p), self.item) for p in places]
            return [vectors.add(t, x) for t, x in zip(totals, loaded, strict=True)]

        zeros = [vectors.filled(element(self.dtype), 0.0)] * len(places)
        totals = self.fold(0, rows, 1, before if self.onward else zeros, row)
        for place, total, old in zip(places, totals, before, strict=True):
            value = total if self.onward else vectors.add(old, total)
            self.code.store(value, self.code.moved(out, place), self.item)


class ProductWriter(Writer):
    """Writes sums Σ aᵀ·b over rows, for each b (Goto and van de Geijn 2008).

    For some rows, each b is copied panel after panel, as wide as one or two vectors, and a strip of
    a tile after tile: then all that the innermost loop reads follows in memory. If the rows are
    near enough they are read where they are.
    """

    def __init__(self, sizes: Sizes, onward: bool) -> None:
        super().__init__(1 + 2 * len(sizes.widths) + 2, 0, 4)
        self.onward, self.dtype, self.item = onward, sizes.dtype, int(sizes.dtype.itemsize)
        self.left, *self.right = sizes.strides
        self.height, self.columns, self.most = sizes.height, sizes.widths, sizes.block
        self.widest = panel(self.dtype)
        self.near = self.most * (self.height + sum(self.columns)) * self.item <= FIRST
        count = len(self.columns)
        self.source, *sides = self.bases[: 1 + 2 * count]
        self.sides, self.sums = sides[:count], sides[count:]
        self.strips, self.copies = self.bases[-2:]
        rows = self.counts[3]
        if onward:
            self.some_rows_of_all(self.number(0), rows)
        else:
            self.loop(0, rows, self.most, lambda top: self.some_rows_of_all(
                top, self.code.least(self.code.binary("sub", rows, top), self.number(self.most))
            ))  # fmt: skip

    def copy_of(self, side: int, first: int) -> Any:
        """Where the copy of a panel of a b begins, its first column being known."""
        return self.moved(self.copies, (sum(self.columns[:side]) + first) * self.most)

    def some_rows_of_all(self, top: Any, rows: Any) -> None:
        """`rows` rows from `top` on."""
        first, last, beyond = self.counts[:3]
        left = self.beyond(self.source, top, self.left)
        sides = [self.beyond(b, top, s) for b, s in zip(self.sides, self.right, strict=True)]
        for side in [] if self.near else range(len(sides)):
            for start, count, width in panels_of(self.columns[side], self.widest):

                def panel(n: Any, side: int = side, start: int = start, width: int = width) -> None:
                    source = self.beyond(self.moved(sides[side], start), n, width * self.item)
                    size = width * self.most * self.item
                    target = self.beyond(self.copy_of(side, start), n, size)
                    self.copied(source, self.right[side], target, rows, [width])

                self.loop(0, count, 1, panel)
        size = STRIP * TILE
        self.loop(first, last, 1, lambda n: self.strip(left, sides, n, size, rows))
        end, over = divmod(self.height, size)
        if over:
            number = self.number(end)
            self.loop(0, beyond, 1, lambda _: self.strip(left, sides, number, over, rows))

    def moved(self, pointer: Any, count: int) -> Any:
        """Behind so many elements."""
        return self.code.moved(pointer, self.number(count * self.item))

    def copied(
        self, source: Any, stride: int, target: Any, rows: Any, widths: Sequence[int]
    ) -> None:
        """Columns side by side, of some rows, as a matrix for each of the widths."""
        one = element(self.dtype)

        def row(k: Any) -> None:
            start, line = 0, self.beyond(source, k, stride)
            for width in widths:
                place = self.beyond(self.moved(target, start * self.most), k, width * self.item)
                lanes = width & -width  # the widest vector that divides it
                for i in range(0, width, lanes):
                    kind = vector(one, lanes)
                    value = self.code.load(kind, self.moved(line, start + i), self.item)
                    self.code.store(value, self.moved(place, i), self.item)
                start += width

        self.loop(0, rows, 1, row)

    def strip(self, left: Any, sides: Sequence[Any], number: Any, height: int, rows: Any) -> None:
        """Some columns of a, with all of each b."""
        size = STRIP * TILE
        source = self.beyond(left, number, size * self.item)
        if not self.near:
            tiles = [TILE] * (height // TILE) + [height % TILE] * (height % TILE > 0)
            self.copied(source, self.left, self.strips, rows, tiles)
        for side, width in enumerate(self.columns):
            out = self.beyond(self.sums[side], number, size * width * self.item)
            for first, count, columns in panels_of(
                self.columns[side], 2 * machine()[2] // self.item
            ):

                def panel(n: Any, side: int = side, out: Any = out, first: int = first,
                          columns: int = columns) -> None:  # fmt: skip
                    target = self.beyond(self.moved(out, first), n, columns * self.item)
                    if self.near:
                        ahead = self.moved(sides[side], first)
                        beside = self.beyond(ahead, n, columns * self.item)
                    else:
                        size = columns * self.most * self.item
                        beside = self.beyond(self.copy_of(side, first), n, size)
                    self.tiles(source, beside, target, rows, height, side, columns)

                self.loop(0, count, 1, panel)

    def tiles(
        self, source: Any, beside: Any, out: Any, rows: Any, height: int, side: int, columns: int
    ) -> None:
        """Tiles one below the other, with one panel."""
        width = self.columns[side]
        above = source if self.near else self.strips
        each = TILE if self.near else TILE * self.most

        def one(n: Any, height: int = TILE) -> None:
            numbers = self.beyond(above, n, each * self.item)
            steps = height * self.item, columns * self.item
            if self.near:
                steps = self.left, self.right[side]
            below = self.beyond(out, n, TILE * width * self.item)
            self.tile(numbers, beside, below, rows, (height, columns, width), steps)

        self.loop(0, height // TILE, 1, one)
        if height % TILE:
            one(self.number(height // TILE), height % TILE)

    def tile(
        self, left: Any, right: Any, out: Any, rows: Any, size: tuple[int, int, int],
        steps: tuple[int, int],
    ) -> None:  # fmt: skip
        """One tile of (height, width, columns of all sums), whose sums are in registers."""
        height, width, columns = size
        code, lanes = self.code, min(width, machine()[2] // self.item)
        vectors, one, parts = Lanes(code, lanes), element(self.dtype), range(0, width, lanes)
        kind = vector(one, lanes)
        places = [self.moved(out, r * columns + p) for r in range(height) for p in parts]

        def row(k: Any, totals: list[Any]) -> list[Any]:
            numbers, beside = self.beyond(left, k, steps[0]), self.beyond(right, k, steps[1])
            loaded = [code.load(kind, self.moved(beside, p), self.item) for p in parts]
            found = []
            for r in range(height):
                number = vectors.splat(code.load(one, self.moved(numbers, r), self.item))
                sums = totals[r * len(parts) : (r + 1) * len(parts)]
                found += [vectors.fma(number, c, t) for c, t in zip(loaded, sums, strict=True)]
            return found

        first = [vectors.filled(one, 0.0)] * len(places)
        if self.onward:
            first = [code.load(kind, place, self.item) for place in places]
        for place, total in zip(places, self.fold(0, rows, 1, first, row), strict=True):
            if not self.onward:
                total = vectors.add(code.load(kind, place, self.item), total)
            code.store(total, place, self.item)


def write_scatter(writer: Writer, dtype: Any, columns: int) -> None:
    """Rows added to the rows of a table that their numbers name, one after the other."""
    code, item = writer.code, int(dtype.itemsize)
    first, count, direction = writer.counts
    native = machine()[2] // item

    def row(k: Any) -> None:
        i = code.add(first, code.mul(k, direction))
        number = code.load(INT, writer.beyond(writer.bases[1], i, 8), 8)
        source = writer.beyond(writer.bases[0], i, columns * item)
        target = writer.beyond(writer.bases[2], number, columns * item)
        for low, high, width in writer.cut(columns, native):
            writer.loop(low, high, width, partial(added, source, target, width))

    def added(source: Any, target: Any, width: int, j: Any) -> None:
        lanes, kind = Lanes(code, width), vector(element(dtype), width)
        place = writer.beyond(target, j, item)
        value = code.load(kind, writer.beyond(source, j, item), item)
        code.store(lanes.add(code.load(kind, place, item), value), place, item)

    writer.loop(0, count, 1, row)
