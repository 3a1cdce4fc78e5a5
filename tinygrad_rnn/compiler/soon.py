"""What the next step will read is asked for while this one multiplies.

Backward reads what forward has stacked up, and some loops stacked inputs: too much to stay near,
and in each step from another place, so that kernels would wait for memory, which is idle while
products run. So these fetch it, some lines in every tile.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .llvm_jit import machine
from .llvm_kernels import Writer
from .llvm_products import Product, Soon
from .lowering import Address
from .native_shares import Part, blocks_of

__all__ = ["in_step", "longest", "wanted"]

Span = tuple[Address, int]  # where something begins in its row, and how many bytes it has


def longest(parts: Sequence[Part]) -> Product | None:
    """The product that has most time to fetch something."""
    return max(_products(parts), key=lambda p: p.rows * p.inner * p.columns, default=None)


def wanted(parts: Sequence[Part], inputs: set[int]) -> list[Span]:
    """Where kernels read or write stacks, if some of them are inputs: bases from a first byte on.

    Where they read no inputs, what they write need not be fetched: the processor sees it coming. If
    it would not stay near until it is used, nothing is fetched; rows of unequal length are taken
    for few.
    """
    ends: dict[int, tuple[Address, int]] = {}
    reads = False
    for block in blocks_of(parts):
        for address, written in block.accesses():
            if not address.row or address.few:
                continue
            reads = reads or (address.base in inputs and not written)
            steps = zip(address.strides, block.sizes, strict=False)
            end = address.offset + address.dtype.itemsize
            end += sum(s * (n - 1) for s, n in steps if s > 0)
            first, last = ends.get(address.base, (address, end))
            ends[address.base] = min(first, address, key=lambda a: a.offset), max(last, end)
    spans = [(a, end - a.offset) for a, end in ends.values()] if reads else []
    matrices = [p.inner * p.columns * p.right.dtype.itemsize for p in _products(parts)]
    return spans if sum(matrices) + sum(n for _, n in spans) <= machine().near else []


def _products(parts: Sequence[Part]) -> list[Product]:
    return [p for p in parts if isinstance(p, Product) and not p.batch]


def in_step(writer: Writer, step: Any, spans: Sequence[Span], rows: int) -> list[Soon]:
    """Where these are in a step, for a product of so many rows."""
    now, writer.step = writer.step, step
    found = [Soon(writer.start(a._replace(strides=()), []), -(-size // rows)) for a, size in spans]
    writer.step = now
    return found
