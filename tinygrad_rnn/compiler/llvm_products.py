"""Matrix products of known, small sizes, written as vector code.

C (M, N) = A (M, K)·B (K, N) by tiles of rows × columns that stay in registers while k runs: each k
loads a row of the tile's part of B once and multiplies it by one number of A for each row (Goto and
van de Geijn 2008, without their packing of A: it is in the cache). B, which is the same in every
step, is packed once per call into panels as wide as a tile, so that its loads follow each other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .llvm_kernels import Writer, machine
from .llvm_math import Lanes
from .lowering import Address
from .pool import pool

__all__ = ["Product", "Tile", "fill_panels", "packed", "panel", "tiles_of_all", "write_product"]

UNROLL = 4
Tile = Callable[[Any, int], None]
Tiles = Callable[[Writer, int, int, Tile], None]


@dataclass(frozen=True)
class Product:
    """Addresses of A, B and C, and the sizes; `panels` says that B is packed."""

    left: Address
    right: Address
    out: Address
    rows: int
    inner: int
    columns: int
    panels: bool


def panel(dtype: Any) -> int:
    """The columns of a tile: two vectors."""
    return 2 * machine()[2] // int(dtype.itemsize)


def packed(matrix: Any) -> Any:
    """A matrix (K, N), in any order, as panels (N / width, K, width), if the width divides N."""
    width = panel(matrix.dtype)
    inner, columns = matrix.shape
    panels = pool.array((columns // width, inner, width), matrix.dtype)
    fill_panels(panels, matrix)
    return panels


def fill_panels(panels: Any, matrix: Any) -> None:
    """Write a matrix (K, N) into its panels."""
    count, inner, width = panels.shape
    np.copyto(panels, matrix.reshape(inner, count, width).transpose(1, 0, 2))


def tiles_of_all(writer: Writer, rows: int, height: int, body: Tile) -> None:
    """body(top, height) for all rows; the last tile may be lower."""
    full = rows // height * height
    writer.loop(0, full, height, lambda top: body(top, height))
    if full < rows:
        writer.loop(full, rows, rows - full, lambda top: body(top, rows - full))


def write_product(writer: Writer, product: Product, tiles: Tiles = tiles_of_all) -> None:
    """Write all tiles of a product."""
    item = product.out.dtype.itemsize
    native = machine()[2] // item
    height = 8 if machine()[2] == 64 else 4
    starts = [writer.start(a, []) for a in (product.left, product.right, product.out)]
    width, done = 2 * native, 0
    while width >= 1:
        count = (product.columns - done) // width
        if count:
            _panels(writer, product, starts, done, count, width, min(width, native), height, tiles)
            done += count * width
        width //= 2


def _panels(
    writer: Writer, product: Product, starts: list[Any], first: int, count: int,
    width: int, lanes: int, height: int, tiles: Tiles,
) -> None:  # fmt: skip
    """The tiles of `count` panels of one width, panel by panel, from the top down."""
    item = product.out.dtype.itemsize
    step = product.right.strides[0]
    if product.panels:
        step = panel(product.out.dtype) * item
    b = writer.builder

    def one_panel(number: Any) -> None:
        columns = b.add(b.mul(number, writer.number(width)), writer.number(first))
        offset = b.mul(columns, writer.number(product.inner * item if product.panels else item))
        right = writer.moved(starts[1], offset)
        out = writer.moved(starts[2], b.mul(columns, writer.number(item)))

        def rows(top: Any, height: int = height) -> None:
            left = writer.moved(starts[0], b.mul(top, writer.number(product.left.strides[0])))
            below = writer.moved(out, b.mul(top, writer.number(product.out.strides[0])))
            _tile(writer, product, left, right, below, step, height, width, lanes)

        tiles(writer, product.rows, height, rows)

    writer.loop(0, count, 1, one_panel)


def _tile(
    writer: Writer, product: Product, left: Any, right: Any, out: Any, step: int,
    height: int, width: int, lanes: int,
) -> None:  # fmt: skip
    """One tile: its accumulators go round the loop over k in registers."""
    ir, b = writer.ir, writer.builder
    element = writer.element(product.out.dtype)
    vectors = Lanes(ir, b, lanes)
    kind = vectors.vector(element)
    parts = width // lanes
    item = product.out.dtype.itemsize
    unroll = UNROLL if product.inner % UNROLL == 0 else 1
    before = b.block
    inside = writer.function.append_basic_block("k")
    after = writer.function.append_basic_block("k_done")
    b.branch(inside)
    b.position_at_end(inside)
    k = b.phi(writer.int)
    k.add_incoming(writer.number(0), before)
    sums = [b.phi(kind) for _ in range(height * parts)]
    for total in sums:
        total.add_incoming(vectors.filled(element, 0.0), before)
    totals = list(sums)
    for u in range(unroll):
        here = b.add(k, writer.number(u)) if u else k
        row = writer.moved(right, b.mul(here, writer.number(step)))
        columns = [
            b.load(writer.moved(row, writer.number(p * lanes * item)), align=item, typ=kind)
            for p in range(parts)
        ]
        across = b.mul(here, writer.number(item))
        for r in range(height):
            line = writer.moved(left, writer.number(r * product.left.strides[0]))
            number = vectors.splat(b.load(writer.moved(line, across), align=item, typ=element))
            for p in range(parts):
                totals[r * parts + p] = vectors.fma(number, columns[p], totals[r * parts + p])
    following = b.add(k, writer.number(unroll))
    k.add_incoming(following, b.block)
    for phi, total in zip(sums, totals, strict=True):
        phi.add_incoming(total, b.block)
    b.cbranch(b.icmp_signed("<", following, writer.number(product.inner)), inside, after)
    b.position_at_end(after)
    for r in range(height):
        for p in range(parts):
            place = writer.number(r * product.out.strides[0] + p * lanes * item)
            b.store(totals[r * parts + p], writer.moved(out, place), align=item)
