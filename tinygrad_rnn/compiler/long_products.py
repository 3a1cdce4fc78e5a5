"""Products with as many rows as a sequence has, compiled for their other two sizes.

Outside of a loop there are two: x·W of all rows of x, and Σ aᵀ·b over all rows, which is what the
gradient of W is. Each number is a chain of fused multiply-adds in an order that nothing but the
order of the rows decides: neither the number of rows nor that of threads changes a bit of it, and a
sum can be left and gone on with later, as checkpoints do.

Legend: R rows; K, M, N columns.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from ctypes import CFUNCTYPE, c_void_p
from functools import lru_cache, partial
from itertools import pairwise
from typing import Any

import numpy as np

from .llvm_engine import address_of, table_maker
from .llvm_jit import compiled, machine
from .llvm_kernels import Writer
from .llvm_panels import packed, panel
from .llvm_products import Product, write_product
from .llvm_sums import ProductWriter, RowsWriter, write_scatter
from .lowering import Address
from .pool import pool
from .workers import at_once, shares_of

__all__ = ["Sum", "add_rows", "rows_times_of", "suits", "sum_kernels"]

BLOCK = 32  # rows of x that are done together, so that they stay near
NEAR, FAR = 1 << 20, 1 << 22  # bytes of sums that stay near, or are far away
FEW, MORE, MANY = 64, 128, 256  # rows that are added up in registers: near, between, far away
NARROW, WIDE = 32, 64  # columns of a that are put in order at a time
SHARED = 16  # wide strips, from which on they are wide: threads share them out
KEPT = 256  # sizes for which compiled code is kept
EACH = 5_000_000  # multiplications that make a share worth a thread
ADDED = 500_000  # additions that do, where all comes from memory
Signature = CFUNCTYPE(None, c_void_p)  # of a table that has numbers, then addresses
Times = Callable[[Any, Any], Any]


def suits(*arrays: Any) -> bool:
    """Whether these are floats of one dtype, as products are compiled for."""
    return all(a.dtype == arrays[0].dtype and a.dtype.char in "fd" for a in arrays)


def _shared(size: int, work: int, call: Callable[[int, int], None]) -> None:
    """call(first, last) of all of a size, on as many threads as pay for so much work."""
    count = min(shares_of(work, EACH), size)
    if count <= 1:
        call(0, size)
        return
    ends = [size * i // count for i in range(count + 1)]
    at_once([partial(call, *part) for part in pairwise(ends)])


# ----------------------------------------------------------------------------------- x·W
@lru_cache(KEPT)
def rows_times_of(dtype: Any, inner: int, columns: int) -> Times:
    """A function of x (…, K) and a matrix (K, N), for their product."""
    panels = columns % panel(dtype) == 0
    ordered = packed if panels else np.ascontiguousarray
    kernel, table, work = _times(dtype, inner, columns, panels), table_maker(6), inner * columns

    def times(x: Any, matrix: Any) -> Any:
        x, right = np.ascontiguousarray(x), ordered(matrix)
        rows, out = x.size // inner, np.empty((*x.shape[:-1], columns), dtype)
        places, blocks = (address_of(x), address_of(right), address_of(out)), rows // BLOCK

        def call(first: int, last: int) -> None:
            kernel(table(first, last, rows if last == blocks else 0, *places))

        _shared(blocks, rows * work, call)
        return out

    return times


def _times(dtype: Any, inner: int, columns: int, panels: bool) -> Callable[..., None]:
    """Called with (first block, last one, the row after the last, and x, W and the result).

    The rows behind the last block are done one by one.
    """
    writer, item = Writer(3, 0, 3), int(dtype.itemsize)
    first, last, end = writer.counts

    def rows(count: int) -> Callable[[Any], None]:
        stride, width = inner * item, columns * item
        left = Address(0, 0, (stride, item), dtype, count * stride)
        right = Address(1, 0, (width, item), dtype, 0)
        out = Address(2, 0, (width, item), dtype, count * width)
        product = Product(left, right, out, count, inner, columns, panels)

        def body(number: Any) -> None:
            writer.step = number
            write_product(writer, product)

        return body

    writer.loop(first, last, 1, rows(BLOCK))
    writer.loop(writer.code.mul(last, writer.number(BLOCK)), end, 1, rows(1))
    found: Callable[..., None] = compiled(writer.text(), Signature)
    return found


# ---------------------------------------------------------------------------------- Σ aᵀ·b
class Sum:
    """Σ aᵀ·b (M, N) for each b, over rows of a (R, M) and b (R, N); or Σ b (1, N), of each b.

    They may come in several parts, each taken from its last row up if `turn` is −1. Some rows are
    added up in registers, and these sums in memory; how many, the sizes of all b together decide.
    """

    def __init__(self) -> None:
        self.totals: list[Any] = []
        self.full = False  # whether a block is in them
        self.begun: list[Any] = []  # the sums over a block that is not full
        self.rows = 0  # of that

    def add(self, a: Any, bs: Sequence[Any], turn: int) -> None:
        """Some more rows."""
        sides = [np.ascontiguousarray(x) for x in (bs if a is None else [a, *bs])]
        rows, widths = len(sides[0]), tuple([b.shape[1] for b in bs])
        height, dtype = 1 if a is None else a.shape[1], bs[0].dtype
        kernels = sum_kernels(dtype, height, widths, turn, a is not None)
        starts = [_start(x, turn) for x in sides]
        if not self.totals:
            self.totals = [np.empty((height, width), dtype) for width in widths]
        done = 0
        if self.rows:
            done = min(kernels.block - self.rows, rows)
            self._go_on(kernels, starts, 0, done)
            if self.rows < kernels.block:
                return
            self._finish()
        full = (rows - done) // kernels.block * kernels.block
        if full:
            kernels.run(False, kernels.places(starts, done, self.totals), full, self.full)
            self.full = True
        if done + full < rows:
            self._go_on(kernels, starts, done + full, rows - done - full)

    def _go_on(self, kernels: SumKernels, starts: list[int], first: int, count: int) -> None:
        if not self.rows:
            self.begun = [pool.array(total.shape, total.dtype) for total in self.totals]
        kernels.run(True, kernels.places(starts, first, self.begun), count, self.rows)
        self.rows += count

    def _finish(self) -> None:
        for total, sums in zip(self.totals, self.begun, strict=True):
            np.add(total if self.full else 0, sums, total)
        self.full, self.rows = True, 0

    def results(self) -> list[Any]:
        """The sums over all rows that came."""
        if self.rows:
            self._finish()
        for total in [] if self.full else self.totals:
            total.fill(0)
        return self.totals


def _start(array: Any, turn: int) -> int:
    """Where the first row is that is taken; the stride of one row alone may be anything."""
    rows, width = array.shape
    return address_of(array) + (0 if turn > 0 else (rows - 1) * width * int(array.itemsize))


@lru_cache(KEPT)
def sum_kernels(
    dtype: Any, height: int, widths: tuple[int, ...], turn: int, product: bool
) -> SumKernels:
    """The compiled code for sums of one size; without a `product` the height is 1."""
    return SumKernels(dtype, height, widths, turn, product)


class SumKernels:
    """The compiled code for sums of one size.

    Attributes:
        block: how many rows are added up in registers: the more, the further away all the sums are,
            unless so many rows would not stay near.
        strip: how many columns of a are put in order at a time.
    """

    def __init__(
        self, dtype: Any, height: int, widths: tuple[int, ...], turn: int, product: bool
    ) -> None:
        item, width = int(dtype.itemsize), sum(widths)
        self.dtype, self.height, self.widths, self.product = dtype, height, widths, product
        sums = height * width * item
        stay = MORE * width * item <= machine().near // 2  # so many rows of all b
        self.block = FEW if sums < NEAR else MORE if sums < FAR or stay else MANY
        self.strides = [turn * n * item for n in ([height, *widths] if product else widths)]
        self.strip = WIDE if height >= SHARED * WIDE else NARROW
        self.strips, size = height // self.strip, self.block * item
        self.space, self.work = (size * self.strip, size * (self.strip + width)), height * width
        self.table = table_maker(5 + len(self.strides) + len(widths) + 2 * product)
        self.written: dict[bool, Any] = {}

    def kernel(self, onward: bool) -> Any:
        """Called with (first strip, last one, whether also the columns behind it, number of rows,
        of rows before, and the addresses of the rows, the sums, and of memory to put a and b in
        order).
        """
        if onward not in self.written:
            writer = (ProductWriter if self.product else RowsWriter)(self, onward)
            self.written[onward] = compiled(writer.text(), Signature)
        return self.written[onward]

    def places(self, starts: Sequence[int], first: int, out: Sequence[Any]) -> list[int]:
        """Where the rows from the first on are, and the sums."""
        rows = [start + first * stride for start, stride in zip(starts, self.strides, strict=True)]
        return [*rows, *map(address_of, out)]

    def run(self, onward: bool, places: Sequence[int], count: int, before: int = 0) -> None:
        """`count` rows: blocks of them, or sums gone on with; added to what is there of others."""
        kernel, strips = self.written.get(onward) or self.kernel(onward), self.strips
        if not self.product:
            kernel(self.table(0, 0, 0, count, before, *places))
            return
        counts = count, before
        _shared(strips, count * self.work, partial(self.strips_from, kernel, places, counts))

    def strips_from(
        self, kernel: Any, places: Sequence[int], counts: tuple[int, int], low: int, high: int
    ) -> None:
        """Some strips, with memory of their own to put a and b in order."""
        _memory, _, start = pool.block(self.space[1])
        whole = high == self.strips
        kernel(self.table(low, high, whole, *counts, *places, start, start + self.space[0]))


# ------------------------------------------------------------------------------ rows of a table
def add_rows(total: Any, numbers: Any, rows: Any, turn: int) -> None:
    """total (V, N) += rows (R, N), one after the other, each at the row that its number says.

    Threads share the columns, as many as get whole panels: none writes where another one does.
    """
    if not rows.size:
        return
    numbers = np.ascontiguousarray(numbers, np.int64) % max(len(total), 1)
    rows, width = np.ascontiguousarray(rows), total.shape[1]
    first, item = 0 if turn > 0 else len(rows) - 1, int(total.itemsize)
    counts = range(2, shares_of(rows.size, ADDED) + 1)
    columns = width // max([n for n in counts if width % (n * panel(total.dtype)) == 0], default=1)
    kernel, table = _scatter(total.dtype, columns, width), table_maker(6)
    source, target = address_of(rows), address_of(total)
    starts = range(0, width * item, columns * item)
    tables = [(source + s, address_of(numbers), target + s) for s in starts]
    at_once([partial(kernel, table(first, len(rows), turn, *places)) for places in tables])


@lru_cache(KEPT)
def _scatter(dtype: Any, columns: int, width: int) -> Callable[..., None]:
    """Called with (first row, how many, +1 or −1, and the rows, numbers and the result)."""
    writer = Writer(3, 0, 3)
    write_scatter(writer, dtype, columns, width)
    found: Callable[..., None] = compiled(writer.text(), Signature)
    return found
