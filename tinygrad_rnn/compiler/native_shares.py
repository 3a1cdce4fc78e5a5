"""A loop on several threads: each takes its share of the rows of a batch through all steps.

In most recurrences no row of a batch waits for another one, so that a share is a loop of its own
and the threads meet only when all steps are done. Whether that is so is read from the addresses: a
share may write in no place but its own. Sums over the batch are made for each share, then added.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import prod

from .llvm_gather import Gather
from .llvm_products import Product
from .llvm_running import Running
from .lowering import Address, Block, Rows

__all__ = ["Part", "Shares", "blocks_of", "shares", "work"]

Part = Product | Block | Rows | Running | Gather
FEW = 4  # rows of a product for which a weight would be loaded too often


def work(parts: Sequence[Part]) -> int:
    """Roughly the floating-point operations of a step."""
    total = 0
    for part in parts:
        if isinstance(part, Product):
            total += 2 * prod(part.batch) * part.rows * part.inner * part.columns
        elif isinstance(part, Running):
            total += prod(part.sizes)
        elif isinstance(part, Gather):
            total += part.rows * part.columns
        else:
            blocks = part.blocks if isinstance(part, Rows) else [part]
            total += sum(prod(b.sizes) * len(b.terms) for b in blocks)
    return total


@dataclass(frozen=True)
class Shares:
    """What each share does in a step, and where.

    `shifts` are bytes from one share to the next, for each base; bases in `sums` are memory of
    which each share has its own, to be added up.
    """

    count: int
    parts: list[Part]
    shifts: list[int]
    sums: set[int]


def shares(parts: Sequence[Part], memory: Sequence[int], count: int) -> Shares | None:
    """The loop in so many shares, or None if they would wait for each other.

    `memory` says for each base in which memory it is: two bases may be in one.
    """
    if count == 1:
        return Shares(1, list(parts), [0] * len(memory), set())
    sums = {memory[a.base] for block in blocks_of(parts) for a in _over_rows(block)}
    found = _Shared(memory, sums, count)
    try:
        divided = [found.part(part) for part in parts]
    except _Together:
        return None
    shifts = [0 if m in sums else found.shifts.get(m, 0) for m in memory]
    return Shares(count, divided, shifts, {i for i, m in enumerate(memory) if m in sums})


def blocks_of(parts: Sequence[Part]) -> Iterator[Block]:
    """The blocks among some parts."""
    for part in parts:
        if isinstance(part, Rows):
            yield from part.blocks
        elif isinstance(part, Block):
            yield part


def _over_rows(block: Block) -> list[Address]:
    """Where a block has sums over all rows."""
    found = [a for _, a in block.adds if not a.strides[0]]
    return found + [a for kind, _, a in block.reductions if kind == "sum" and not block.rows]


class _Together(Exception):
    """Rows of different shares wait for each other."""


class _Shared:
    """Divides parts, while it checks that all agree on what belongs to which share."""

    def __init__(self, memory: Sequence[int], sums: set[int], count: int) -> None:
        self.memory, self.sums, self.count = memory, sums, count
        self.shifts: dict[int, int] = {}
        self.written: set[int] = set()
        self.outside: set[int] = set()  # read beyond what belongs to a share

    def part(self, part: Part) -> Part:
        """What one share does of it."""
        if isinstance(part, Product) and part.batch:
            return self.batch(part)
        if isinstance(part, Running):
            if not part.axis:
                raise _Together
            sizes = (self.fraction(part.sizes[0]), *part.sizes[1:])
            self.access(part.source, sizes, False)
            self.access(part.target, sizes, True)
            return part._replace(sizes=sizes)
        if isinstance(part, Gather):
            rows = self.fraction(part.rows)
            self.access(part.numbers, (rows,), False)
            self.access(part.out, (rows, part.columns), True)
            self.agree(part.table, 0, False)
            return part._replace(rows=rows)
        if isinstance(part, Product):
            rows = self.fraction(part.rows)
            if rows < FEW:
                raise _Together
            self.access(part.left, (rows, part.inner), False)
            self.access(part.out, (rows, part.columns), True)
            self.agree(part.right, 0, False)
            return part._replace(rows=rows)
        if isinstance(part, Rows):
            blocks = [self.block(block) for block in part.blocks]
            return Rows(self.fraction(part.size), blocks)
        return self.block(part)

    def batch(self, part: Product) -> Product:
        """A share of a batch of products."""
        batch = (self.fraction(part.batch[0]), *part.batch[1:])
        rows, inner, columns = part.rows, part.inner, part.columns
        self.access(part.left, (*batch, rows, inner), False)
        self.access(part.right, (*batch, inner, columns), False)
        self.access(part.out, (*batch, rows, columns), True)
        return part._replace(batch=batch)

    def fraction(self, size: int) -> int:
        """A share of a size."""
        if size % self.count:
            raise _Together
        return size // self.count

    def block(self, block: Block) -> Block:
        """A share of a loop nest; setting sums to zero is done by each."""
        accesses = block.accesses()
        if not block.adds and all(self.memory[a.base] in self.sums for a, _ in accesses):
            return block
        if not block.sizes:
            raise _Together
        sizes = (self.fraction(block.sizes[0]), *block.sizes[1:])
        added = _over_rows(block)
        for address, written in accesses:
            if address not in added:
                self.access(address, sizes, written)
        return replace(block, sizes=sizes)

    def access(self, address: Address, sizes: tuple[int, ...], written: bool) -> None:
        """A share reads or writes here; what anybody writes must be its own."""
        shift = address.strides[0] * sizes[0]
        spans = [s * (n - 1) for s, n in zip(address.strides, sizes, strict=True)]
        low = address.offset + sum(min(0, span) for span in spans)
        high = address.offset + sum(max(0, span) for span in spans) + address.dtype.itemsize
        self.agree(address, shift, written, low >= 0 and high <= shift)

    def agree(self, address: Address, shift: int, written: bool, inside: bool = False) -> None:
        """All accesses to a memory have one shift, and where it is written, are inside of it."""
        memory = self.memory[address.base]
        if memory in self.sums or self.shifts.setdefault(memory, shift) != shift:
            raise _Together
        if not inside:
            self.outside.add(memory)
        if written:
            self.written.add(memory)
        if memory in self.written and memory in self.outside:
            raise _Together
