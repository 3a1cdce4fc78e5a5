"""Sums over rows, written as vector code: Σ aᵀ·b and Σ b.

The number of rows is an argument; all else is known. Rows are taken some at a time, added up in
registers, and these sums are added to what is in memory; or a sum that is in memory goes on.

Legend: R rows; M columns of a, N columns of b.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from .llvm_jit import machine
from .llvm_kernels import Writer, element
from .llvm_math import Lanes
from .llvm_text import INT, vector

__all__ = ["ProductWriter", "RowsWriter", "STRIP", "TILE", "write_scatter"]

FIRST = 3 << 14  # bytes of a block of rows that is read as it is, from the first cache
TILE = 8  # columns of a for which some of b are in registers
STRIP = 4  # tiles for which a is put in order at a time
UNROLL, COPIED = 2, 4


class Sizes(Protocol):
    """What a sum is compiled for; `block` are the rows that are added up in registers."""

    dtype: Any
    strides: list[int]
    height: int
    width: int
    block: int


class RowsWriter(Writer):
    """Writes a sum of rows: several vectors of columns at a time."""

    def __init__(self, sizes: Sizes, onward: bool) -> None:
        super().__init__(2, 4)
        self.onward, self.dtype, self.item = onward, sizes.dtype, int(sizes.dtype.itemsize)
        (self.stride,), columns, block = sizes.strides, sizes.width, sizes.block
        rows, width, done = self.code.args[3], 8 * machine()[2] // self.item, 0
        while width >= 1:
            count = (columns - done) // width

            def panel(n: Any, first: int = done, width: int = width) -> None:
                start = self.number(first * self.item)
                here = [
                    self.beyond(self.code.moved(base, start), n, width * self.item)
                    for base in self.bases
                ]
                if onward:
                    self.some(here[0], here[1], rows, width)
                else:
                    self.loop(0, rows, block, lambda top: self.some(
                        self.beyond(here[0], top, self.stride), here[1], block, width
                    ))  # fmt: skip

            self.loop(0, count, 1, panel)
            done += count * width
            width //= 2

    def some(self, source: Any, out: Any, rows: Any, width: int) -> None:
        """Some rows of some columns."""
        lanes = min(width, machine()[2] // self.item)
        vectors, kind = Lanes(self.code, lanes), vector(element(self.dtype), lanes)
        places = [self.number(i * self.item) for i in range(0, width, lanes)]
        before = [self.code.load(kind, self.code.moved(out, p), self.item) for p in places]

        def row(k: Any, totals: list[Any]) -> list[Any]:
            line = self.beyond(source, k, self.stride)
            loaded = [self.code.load(kind, self.code.moved(line, p), self.item) for p in places]
            return [vectors.add(t, x) for t, x in zip(totals, loaded, strict=True)]

        zeros = [vectors.filled(element(self.dtype), 0.0)] * len(places)
        totals = self.fold(0, rows, 1, before if self.onward else zeros, row)
        for place, total, old in zip(places, totals, before, strict=True):
            value = total if self.onward else vectors.add(old, total)
            self.code.store(value, self.code.moved(out, place), self.item)


class ProductWriter(Writer):
    """Writes a sum over rows (Goto and van de Geijn 2008).

    For some rows, b is copied panel after panel, as wide as one or two vectors, and a strip of a
    tile after tile: then all that the innermost loop reads follows in memory.
    """

    def __init__(self, sizes: Sizes, onward: bool) -> None:
        super().__init__(5, 4)
        self.onward, self.dtype, self.item = onward, sizes.dtype, int(sizes.dtype.itemsize)
        (self.left, self.right), self.most = sizes.strides, sizes.block
        self.height, self.width, rows = sizes.height, sizes.width, self.code.args[3]
        self.near = self.most * (self.height + self.width) * self.item <= FIRST
        if onward:
            self.rows(self.number(0), rows)
        else:
            self.loop(0, rows, self.most, lambda top: self.rows(top, self.most))

    def panels(self) -> list[tuple[int, int, int]]:
        """(first column, how many panels, width) of b, from the widest on."""
        found, done, width = [], 0, 2 * machine()[2] // self.item
        while width >= 1:
            count = (self.width - done) // width
            if count:
                found.append((done, count, width))
            done += count * width
            width //= 2
        return found

    def rows(self, top: Any, rows: Any) -> None:
        """`rows` rows from `top` on."""
        first, last, beyond = self.code.args[:3]
        left = self.beyond(self.bases[0], top, self.left)
        right = self.beyond(self.bases[1], top, self.right)
        for start, count, width in [] if self.near else self.panels():

            def panel(n: Any, start: int = start, width: int = width) -> None:
                source = self.beyond(self.moved(right, start), n, width * self.item)
                target = self.moved(self.bases[4], start * self.most)
                target = self.beyond(target, n, width * self.most * self.item)
                self.copied(source, self.right, target, rows, [width])

            self.loop(0, count, 1, panel)
        self.loop(first, last, 1, lambda n: self.strip(left, right, n, [TILE] * STRIP, rows))
        end, over = divmod(self.height, STRIP * TILE)
        if over:
            tiles = [TILE] * (over // TILE) + [over % TILE] * (over % TILE > 0)
            self.loop(
                0, beyond, 1, lambda _: self.strip(left, right, self.number(end), tiles, rows)
            )

    def moved(self, pointer: Any, count: int) -> Any:
        """Behind so many elements."""
        return self.code.moved(pointer, self.number(count * self.item))

    def copied(
        self, source: Any, stride: int, target: Any, rows: Any, widths: Sequence[int]
    ) -> None:
        """Columns side by side, of some rows, as a matrix for each of the widths."""
        one, unroll = element(self.dtype), COPIED if isinstance(rows, int) else 1

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

        def some(k: Any) -> None:
            for u in range(unroll):
                row(self.code.add(k, self.number(u)))

        self.loop(0, rows, unroll, some)

    def strip(self, left: Any, right: Any, number: Any, tiles: Sequence[int], rows: Any) -> None:
        """Some tiles of columns of a, with all of b."""
        size = STRIP * TILE
        source = self.beyond(left, number, size * self.item)
        out = self.beyond(self.bases[2], number, size * self.width * self.item)
        if not self.near:
            self.copied(source, self.left, self.bases[3], rows, tiles)
        for first, count, width in self.panels():

            def panel(n: Any, first: int = first, width: int = width) -> None:
                ahead, size, steps = right, width * self.item, (self.left, self.right)
                if not self.near:
                    ahead, size = self.bases[4], width * self.most * self.item
                beside = self.beyond(
                    self.moved(ahead, first * (size // width // self.item)), n, size
                )
                target, start = self.beyond(self.moved(out, first), n, width * self.item), 0
                for height in tiles:
                    numbers = self.moved(source, start)
                    if not self.near:
                        numbers = self.moved(self.bases[3], start * self.most)
                        steps = height * self.item, width * self.item
                    below = self.moved(target, start * self.width)
                    self.tile(numbers, beside, below, rows, height, width, steps)
                    start += height

            self.loop(0, count, 1, panel)

    def tile(
        self, left: Any, right: Any, out: Any, rows: Any, height: int, width: int,
        steps: tuple[int, int],
    ) -> None:  # fmt: skip
        """One tile, whose sums are in registers."""
        code, lanes = self.code, min(width, machine()[2] // self.item)
        vectors, one, parts = Lanes(code, lanes), element(self.dtype), range(0, width, lanes)
        kind, unroll = vector(one, lanes), UNROLL if isinstance(rows, int) else 1
        places = [self.moved(out, r * self.width + p) for r in range(height) for p in parts]

        def row(k: Any, totals: list[Any]) -> list[Any]:
            numbers, beside = self.beyond(left, k, steps[0]), self.beyond(right, k, steps[1])
            columns = [code.load(kind, self.moved(beside, p), self.item) for p in parts]
            found = []
            for r in range(height):
                number = vectors.splat(code.load(one, self.moved(numbers, r), self.item))
                sums = totals[r * len(parts) : (r + 1) * len(parts)]
                found += [vectors.fma(number, c, t) for c, t in zip(columns, sums, strict=True)]
            return found

        def some(k: Any, totals: list[Any]) -> list[Any]:
            for u in range(unroll):
                totals = row(code.add(k, self.number(u)), totals)
            return totals

        first = [vectors.filled(one, 0.0)] * len(places)
        if self.onward:
            first = [code.load(kind, place, self.item) for place in places]
        for place, total in zip(places, self.fold(0, rows, unroll, first, some), strict=True):
            if not self.onward:
                total = vectors.add(code.load(kind, place, self.item), total)
            code.store(total, place, self.item)


def write_scatter(writer: Writer, dtype: Any, columns: int) -> None:
    """Rows added to the rows of a table that their numbers name, one after the other."""
    code, item = writer.code, int(dtype.itemsize)
    first, count, direction = code.args[:3]
    native = machine()[2] // item

    def row(k: Any) -> None:
        i = code.add(first, code.mul(k, direction))
        number = code.load(INT, writer.beyond(writer.bases[1], i, 8), 8)
        source = writer.beyond(writer.bases[0], i, columns * item)
        target = writer.beyond(writer.bases[2], number, columns * item)
        done, width = 0, native
        while width >= 1:
            stop = done + (columns - done) // width * width
            lanes, kind = Lanes(code, width), vector(element(dtype), width)

            def some(j: Any, lanes: Lanes = lanes, kind: str = kind) -> None:
                place = writer.beyond(target, j, item)
                value = code.load(kind, writer.beyond(source, j, item), item)
                code.store(lanes.add(code.load(kind, place, item), value), place, item)

            writer.loop(done, stop, width, some)
            done, width = stop, width // 2

    writer.loop(0, count, 1, row)
