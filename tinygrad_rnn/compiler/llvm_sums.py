"""Sums over rows, written as vector code: Σ aᵀ·b and Σ b.

The number of rows is an argument; all else is known. Rows are taken some at a time, added up in
registers, and these sums are added to what is in memory; or a sum that is in memory goes on.

Legend: R rows; M columns of a, N columns of b.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple, Protocol

from .llvm_jit import machine
from .llvm_kernels import Writer, element
from .llvm_loops import Fold
from .llvm_math import Lanes
from .llvm_panels import panel
from .llvm_products import evenly, panels_of, tallest
from .llvm_text import INT, vector

__all__ = ["ProductWriter", "RowsWriter", "write_scatter"]

FIRST = 3 << 14  # bytes of a block of rows that is read as it is, from the first cache


class Sizes(Protocol):
    """What a sum is compiled for.

    `block` are the rows that are added up in registers, `strip` the columns of a that are put in
    order at a time.
    """

    dtype: Any
    strides: list[int]
    height: int
    widths: tuple[int, ...]
    block: int
    strip: int


class SumWriter(Writer):
    """What writers of sums have in common; `onward` ones go on with sums that are in memory."""

    def __init__(self, sizes: Sizes, onward: bool, bases: int) -> None:
        super().__init__(bases, 0, 5)
        self.onward, self.dtype, self.item = onward, sizes.dtype, int(sizes.dtype.itemsize)

    def held(self, targets: list[Any], before: Any, lanes: Lanes) -> list[Any]:
        """What is in memory, 0 if there were no rows before."""
        zeros = [lanes.filled(element(self.dtype), 0.0)] * len(targets)
        return self.if_any(before, zeros, lambda _, __: self.loaded(targets, lanes))

    def added(self, totals: list[Any], targets: list[Any], before: Any, lanes: Lanes) -> list[Any]:
        """These sums and what is in memory, or 0: so a sum is never −0."""

        def sums(totals: list[Any], others: list[Any]) -> list[Any]:
            return [lanes.add(x, total) for x, total in zip(others, totals, strict=True)]

        zeros = [lanes.filled(element(self.dtype), 0.0)] * len(targets)
        none = self.code.binary("sub", self.number(1), self.code.least(before, self.number(1)))
        totals = self.if_any(none, totals, lambda _, totals: sums(totals, zeros))
        return self.if_any(
            before, totals, lambda _, totals: sums(totals, self.loaded(targets, lanes))
        )

    def if_any(self, count: Any, values: list[Any], body: Fold) -> list[Any]:
        """The body's result if the count is not 0, else the values."""
        return self.fold(0, self.code.least(count, self.number(1)), 1, values, body)

    def loaded(self, targets: list[Any], lanes: Lanes) -> list[Any]:
        """What is there."""
        kind = vector(element(self.dtype), lanes.width)
        return [self.code.load(kind, target, self.item) for target in targets]


class RowsWriter(SumWriter):
    """Writes sums of rows: several vectors of columns at a time."""

    def __init__(self, sizes: Sizes, onward: bool) -> None:
        count = len(sizes.widths)
        super().__init__(sizes, onward, 2 * count)
        self.most = sizes.block
        places = zip(self.bases[:count], self.bases[count:], strict=True)
        for (b, total), columns, stride in zip(places, sizes.widths, sizes.strides, strict=True):
            self.side(b, total, columns, stride)

    def side(self, b: Any, total: Any, columns: int, stride: int) -> None:
        """The sum of one b."""
        (rows, begun), most = self.counts[3:], self.number(self.most)
        for first, count, width in panels_of(columns, 8 * machine().vector // self.item):

            def panel(n: Any, first: int = first, width: int = width) -> None:
                start = self.number(first * self.item)
                source, out = (
                    self.beyond(self.code.moved(base, start), n, width * self.item)
                    for base in (b, total)
                )
                if self.onward:
                    self.some(source, out, (rows, begun), width, stride)
                    return
                self.loop(0, rows, self.most, lambda top: self.some(
                    self.beyond(source, top, stride), out,
                    (self.code.least(self.code.binary("sub", rows, top), most),
                     self.code.add(top, begun)), width, stride,
                ))  # fmt: skip

            self.loop(0, count, 1, panel)

    def some(self, source: Any, out: Any, rows: tuple[Any, Any], width: int, stride: int) -> None:
        """Some rows of some columns: how many, and whether there were others before."""
        lanes = min(width, machine().vector // self.item)
        vectors, kind = Lanes(self.code, lanes), vector(element(self.dtype), lanes)
        places = [self.number(i * self.item) for i in range(0, width, lanes)]
        targets = [self.code.moved(out, place) for place in places]

        def row(k: Any, totals: list[Any]) -> list[Any]:
            line = self.beyond(source, k, stride)
            loaded = [self.code.load(kind, self.code.moved(line, p), self.item) for p in places]
            return [vectors.add(t, x) for t, x in zip(totals, loaded, strict=True)]

        totals = [vectors.filled(element(self.dtype), 0.0)] * len(places)
        count, before = rows
        if self.onward:
            totals = self.held(targets, before, vectors)
        totals = self.fold(0, count, 1, totals, row)
        if not self.onward:
            totals = self.added(totals, targets, before, vectors)
        for total, target in zip(totals, targets, strict=True):
            self.code.store(total, target, self.item)


class Strip(NamedTuple):
    """Some columns of a, for some rows: where they are read, and where the next ones begin."""

    source: Any
    step: int  # bytes to the next row
    height: int
    rows: Any
    before: Any  # 0 if there were no rows before these
    following: Any


class Panels(NamedTuple):
    """Panels of a b, for some rows: where they are read, and where their sums are."""

    source: Any
    step: int  # bytes to the next row
    apart: int  # bytes to the next panel
    columns: int  # of a panel
    out: Any
    width: int  # columns of b
    before: int  # how many other panels come first


class ProductWriter(SumWriter):
    """Writes sums Σ aᵀ·b over rows, for each b (Goto and van de Geijn 2008).

    For some rows, each b is copied into panels as wide as one or two vectors, and a into a strip
    of some columns after the other: then all that the innermost loop reads follows in memory. In
    each tile some rows of the next strip are fetched. Rows that are near enough are read where they
    are.
    """

    def __init__(self, sizes: Sizes, onward: bool) -> None:
        super().__init__(sizes, onward, 1 + 2 * len(sizes.widths) + 2)
        self.left, *self.right = sizes.strides
        self.height, self.columns = sizes.height, sizes.widths
        self.most, self.strip = sizes.block, sizes.strip
        self.widest = panel(self.dtype)
        panels = sum(count for n in self.columns for _, count, _ in panels_of(n, self.widest))
        self.tiles_of_strip = sum(count for _, count, _ in evenly(self.strip, tallest()))
        tiles = max(panels, 1) * self.tiles_of_strip
        self.each = -(-self.most // tiles)  # rows of the next strip that are fetched in a tile
        self.near = self.most * (self.height + sum(self.columns)) * self.item <= FIRST
        count = len(self.columns)
        self.source, *sides = self.bases[: 1 + 2 * count]
        self.sides, self.sums = sides[:count], sides[count:]
        self.strips, self.copies = self.bases[-2:]
        rows, self.before = self.counts[3:]
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
        before = self.code.add(top, self.before)
        left = self.beyond(self.source, top, self.left)
        sides = [self.beyond(b, top, s) for b, s in zip(self.sides, self.right, strict=True)]
        for side in [] if self.near else range(len(sides)):
            self.loop(0, rows, 1, partial(self.row_of_b, side, sides[side]))
        size = self.strip
        these = rows, before
        self.loop(first, last, 1, lambda n: self.some_columns(left, sides, n, size, these))
        end, over = divmod(self.height, size)
        if over:
            number = self.number(end)
            self.loop(0, beyond, 1, lambda _: self.some_columns(left, sides, number, over, these))

    def moved(self, pointer: Any, count: int) -> Any:
        """Behind so many elements."""
        return self.code.moved(pointer, self.number(count * self.item))

    def row_of_b(self, side: int, source: Any, k: Any) -> None:
        """A row of a b into its panels, in one go: as it comes from memory."""
        line = self.beyond(source, k, self.right[side])
        for start, count, width in panels_of(self.columns[side], self.widest):

            def panel(n: Any, start: int = start, width: int = width) -> None:
                size = width * self.item
                place = self.beyond(self.copy_of(side, start), n, size * self.most)
                here = self.beyond(self.moved(line, start), n, size)
                self.copied(here, self.beyond(place, k, size), width)

            self.loop(0, count, 1, panel)

    def row_of_strip(self, source: Any, width: int, k: Any) -> None:
        """A row of some columns of a, put in order."""
        place = self.beyond(self.strips, k, width * self.item)
        self.copied(self.beyond(source, k, self.left), place, width)

    def copied(self, source: Any, target: Any, width: int) -> None:
        """So many numbers side by side."""
        one, native = element(self.dtype), machine().vector // self.item
        for start, count, lanes in panels_of(width, native):
            for i in range(start, start + count * lanes, lanes):
                value = self.code.load(vector(one, lanes), self.moved(source, i), self.item)
                self.code.store(value, self.moved(target, i), self.item)

    def some_columns(
        self, left: Any, sides: Sequence[Any], number: Any, height: int, these: tuple[Any, Any]
    ) -> None:
        """Some columns of a, with all of each b."""
        source = self.beyond(left, number, self.strip * self.item)
        following = self.moved(source, self.strip)
        strip, rows = Strip(source, self.left, height, *these, following), these[0]
        if not self.near:
            self.loop(0, rows, 1, partial(self.row_of_strip, source, height))
            strip = strip._replace(source=self.strips, step=height * self.item)
        before = 0
        for side, width in enumerate(self.columns):
            out = self.beyond(self.sums[side], number, self.strip * width * self.item)
            for first, count, columns in panels_of(width, self.widest):
                size = columns * self.item
                if self.near:
                    where = self.moved(sides[side], first), self.right[side], size
                else:
                    where = self.copy_of(side, first), size, size * self.most
                panels = Panels(*where, columns, self.moved(out, first), width, before)
                self.loop(0, count, 1, partial(self.tiles, strip, panels))
                before += count

    def tiles(self, strip: Strip, panels: Panels, number: Any) -> None:
        """Tiles one below the other, with the panel of a number."""
        right = self.beyond(panels.source, number, panels.apart)
        out = self.beyond(panels.out, number, panels.columns * self.item)
        many = self.code.add(number, self.number(panels.before))
        size = self.tiles_of_strip * self.each * self.left
        following = self.beyond(strip.following, many, size)
        done = 0
        for start, count, height in evenly(strip.height, tallest()):

            def one(n: Any, done: int = done, start: int = start, height: int = height) -> None:
                left = self.beyond(self.moved(strip.source, start), n, height * self.item)
                first = self.moved(out, start * panels.width)
                below = self.beyond(first, n, height * panels.width * self.item)
                tile = self.code.add(n, self.number(done))
                ahead = self.beyond(following, tile, self.each * self.left)
                self.tile(strip, panels, (left, right, below, ahead), height)

            self.loop(0, count, 1, one)
            done += count

    def tile(
        self, strip: Strip, panels: Panels, places: tuple[Any, Any, Any, Any], height: int
    ) -> None:
        """One tile, whose sums are in registers; `places` are of a, b, the sums, the next strip."""
        left, right, out, ahead = places
        code, lanes = self.code, min(panels.columns, machine().vector // self.item)
        vectors, one = Lanes(code, lanes), element(self.dtype)
        kind, parts = vector(one, lanes), range(0, panels.columns, lanes)
        lines = [self.moved(out, r * panels.width) for r in range(height)]
        targets = [self.moved(line, p) for line in lines for p in parts]

        def row(k: Any, totals: list[Any]) -> list[Any]:
            numbers, beside = self.beyond(left, k, strip.step), self.beyond(right, k, panels.step)
            loaded = [code.load(kind, self.moved(beside, p), self.item) for p in parts]
            found = []
            for r in range(height):
                number = vectors.splat(code.load(one, self.moved(numbers, r), self.item))
                sums = totals[r * len(parts) : (r + 1) * len(parts)]
                found += [vectors.fma(number, c, t) for c, t in zip(loaded, sums, strict=True)]
            return found

        def some(i: Any, totals: list[Any]) -> list[Any]:
            self.fetched(self.beyond(ahead, i, self.left), self.strip * self.item)
            size = -(-self.most // self.each)
            start = code.mul(i, self.number(size))
            stop = code.least(code.add(start, self.number(size)), strip.rows)
            return self.fold(start, stop, 1, totals, row)

        totals = [vectors.filled(one, 0.0)] * len(targets)
        if self.onward:
            totals = self.held(targets, strip.before, vectors)
        else:
            for line in lines:
                self.fetched(line, panels.columns * self.item)
        if self.near:
            totals = self.fold(0, strip.rows, 1, totals, row)
        else:
            totals = self.fold(0, self.each, 1, totals, some)
        if not self.onward:
            totals = self.added(totals, targets, strip.before, vectors)
        for target, total in zip(targets, totals, strict=True):
            code.store(total, target, self.item)


def write_scatter(writer: Writer, dtype: Any, columns: int, whole: int) -> None:
    """Some columns of rows (R, whole) added to the rows of a table that their numbers name.

    One row after the other.
    """
    code, item = writer.code, int(dtype.itemsize)
    first, count, direction = writer.counts
    native = machine().vector // item

    def row(k: Any) -> None:
        i = code.add(first, code.mul(k, direction))
        number = code.load(INT, writer.beyond(writer.bases[1], i, 8), 8)
        source = writer.beyond(writer.bases[0], i, whole * item)
        target = writer.beyond(writer.bases[2], number, whole * item)
        for low, high, width in writer.cut(columns, native):
            writer.loop(low, high, width, partial(added, source, target, width))

    def added(source: Any, target: Any, width: int, j: Any) -> None:
        lanes, kind = Lanes(code, width), vector(element(dtype), width)
        place = writer.beyond(target, j, item)
        value = code.load(kind, writer.beyond(source, j, item), item)
        code.store(lanes.add(code.load(kind, place, item), value), place, item)

    writer.loop(0, count, 1, row)
