"""Rows of a table, copied in the loop to where they are read."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

from .llvm_jit import machine
from .llvm_kernels import Writer, element
from .llvm_text import INT, vector
from .lowering import Address

__all__ = ["Gather", "write_gather"]


class Gather(NamedTuple):
    """Addresses of the table, of the numbers, which are in range, and of the rows to be written.

    `size` is how many rows the table has: below zero, numbers count from its end.
    """

    table: Address
    numbers: Address
    out: Address
    rows: int
    columns: int
    size: int


def write_gather(writer: Writer, part: Gather) -> None:
    """Write the loops that copy."""
    code, item = writer.code, int(part.out.dtype.itemsize)
    starts = [writer.start(a, []) for a in (part.table, part.numbers, part.out)]
    native = machine().vector // item
    zero = writer.number(0)

    def row(i: Any) -> None:
        number = code.load(INT, writer.beyond(starts[1], i, part.numbers.strides[0]), 8)
        turned = code.select(code.compare("icmp slt", number, zero), writer.number(part.size), zero)
        source = writer.beyond(starts[0], code.add(number, turned), part.table.strides[0])
        target = writer.beyond(starts[2], i, part.out.strides[0])
        for low, high, width in writer.cut(part.columns, native):
            writer.loop(low, high, width, partial(copy, source, target, width))

    def copy(source: Any, target: Any, width: int, j: Any) -> None:
        kind = vector(element(part.out.dtype), width)
        value = code.load(kind, writer.beyond(source, j, item), item)
        code.store(value, writer.beyond(target, j, item), item)

    writer.loop(0, writer.extent(part.rows), 1, row)
