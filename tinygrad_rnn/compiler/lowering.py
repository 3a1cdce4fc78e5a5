"""Lowering: a nest and its places become loops over addresses, ready to be written as code.

Axes that follow each other in memory for every operand become one, so that narrow shapes still fill
a vector. Where a row is reduced, all that is done to a row is done before the next row is begun: it
is in the cache then. Nothing here knows for which machine the code will be.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod
from typing import Any, NamedTuple

from .fuse import Nest
from .index_maps import Map, identity
from .layout import Place, part_of
from .plan import Plan
from .program import Value

__all__ = ["Address", "Bases", "Block", "Rows", "copying", "lowered", "places_of"]


class Address(NamedTuple):
    """Where an operand is: which base, byte offset, byte strides along the axes of the block.

    `row` are the bytes from one step to the next, `few` says that only some steps have a row.
    """

    base: int
    offset: int
    strides: tuple[int, ...]
    dtype: Any
    row: int
    few: bool = False


@dataclass
class Block:
    """A loop nest: sizes of its axes, terms, stores (term, address), and whether it reduces.

    `reductions` are over the last axes, kept in registers; `adds` are sums over other axes, added
    to what is in memory.
    """

    sizes: tuple[int, ...]
    terms: list[tuple[Any, ...]]
    stores: list[tuple[int, Address]]
    reductions: list[tuple[str, int, Address]]
    rows: int  # the number of axes that are not summed over
    adds: list[tuple[int, Address]] = field(default_factory=list)

    def __str__(self) -> str:
        indices = "ijklmn"[: len(self.sizes)]
        lines = ["for " + ", ".join(f"{i} < {n}" for i, n in zip(indices, self.sizes, strict=True))]
        for number, term in enumerate(self.terms):
            if term[0] == "load":
                lines.append(f"  r{number} = {_location(term[1], indices)}")
            elif term[0] == "number":
                lines.append(f"  r{number} = {term[1][0]!r}")
            elif term[0] != "none":
                lines.append(f"  r{number} = {term[0]} " + " ".join(f"r{a}" for a in term[1]))
        lines += [f"  {_location(a, indices)} = r{n}" for n, a in self.stores]
        lines += [f"  {_location(a, indices)} {k}= r{n}" for k, n, a in self.reductions]
        lines += [f"  {_location(a, indices)} += r{n}" for n, a in self.adds]
        return "\n".join(lines)

    def accesses(self) -> list[tuple[Address, bool]]:
        """All addresses, and whether they are written."""
        found = [(term[1], False) for term in self.terms if term[0] == "load"]
        found += [(address, True) for _, address in (*self.stores, *self.adds)]
        return found + [(address, True) for _, _, address in self.reductions]


@dataclass
class Rows:
    """Blocks over the same first axis, one row of all of them after the other."""

    size: int
    blocks: list[Block]

    def __str__(self) -> str:
        inner = "\n".join(str(block) for block in self.blocks)
        return f"for each i < {self.size}, all of\n" + "  " + inner.replace("\n", "\n  ")


def _location(address: Address, indices: str) -> str:
    """An address as base[step][offset + strides], in elements."""
    item = address.dtype.itemsize
    words = [str(address.offset // item)] if address.offset else []
    words += [
        i if s == item else f"{s // item}{i}"
        for i, s in zip(indices, address.strides, strict=False)
        if s
    ]
    return f"m{address.base}{'[t]' if address.row else ''}[{' + '.join(words) or 0}]"


def places_of(nest: Nest, plan: Plan) -> list[Place]:
    """All places a nest reads or writes."""
    found = [plan.place(value) for value, _ in nest.loads()]
    found += [plan.places[v] for v in nest.values]
    found += [plan.places[whole] for _, whole, _ in nest.copies]
    return found


class Bases:
    """The table of addresses: one entry for each buffer and row that is used."""

    def __init__(self) -> None:
        self.entries: list[tuple[int, bool]] = []

    def number(self, place: Place) -> int:
        """The entry of a place, added if it is new."""
        entry = (place.buffer.number, place.ahead)
        if entry not in self.entries:
            self.entries.append(entry)
        return self.entries.index(entry)

    def address(self, place: Place, index: Map, rank: int) -> Address:
        """The address of a place seen through an index map."""
        offset, strides = place.offset, [0] * rank
        for stride, (axis, start, step) in zip(place.strides, index, strict=True):
            offset += stride * start
            if axis is not None:
                strides[axis] += stride * step
        rows = place.buffer.rows
        row = place.buffer.bytes if rows in ("stack", "carry", "few") else 0
        return Address(self.number(place), offset, tuple(strides), place.dtype, row, rows == "few")


def lowered(nests: list[Nest], plan: Plan, bases: Bases) -> list[Block | Rows]:
    """The blocks of a kernel, which add what they read and write to the table of addresses."""
    blocks = []
    for nest in nests:
        block = _block(nest, plan, bases)
        blocks += [_zeros(plan.places[v], bases) for v in nest.values if v in nest.columns]
        blocks += [block] if block.stores or block.reductions or block.adds else []
    found: list[Block | Rows] = []
    for group in _groups(blocks):
        found += group.done()
    return found


def copying(source: Place, target: Place, bases: Bases) -> Block:
    """The block that copies one place to another."""
    same, rank = identity(target.shape), len(target.shape)
    read, written = (bases.address(p, same, rank) for p in (source, target))
    return _merged(Block(target.shape, [("load", read)], [(0, written)], [], rank))


def _zeros(place: Place, bases: Bases) -> Block:
    """The block that sets a place to zero."""
    rank = len(place.shape)
    address = bases.address(place, identity(place.shape), rank)
    return Block(place.shape, [("number", (0.0, place.dtype))], [(0, address)], [], rank)


def _block(nest: Nest, plan: Plan, bases: Bases) -> Block:
    rank = len(nest.shape)
    stores: list[tuple[int, Address]] = []
    reductions: list[tuple[str, int, Address]] = []
    adds: list[tuple[int, Address]] = []
    same = identity(nest.shape)
    rows = rank - len(nest.dims or ())
    for value in nest.values:
        place = plan.places[value]
        if value in nest.reduced:
            index = same[:rows] + ((None, 0, 0),) * (len(place.shape) - rows)
            address = bases.address(place, index, rank)
            reductions.append((value.name, nest.results[value], address))
        elif value in nest.columns:
            adds.append((nest.results[value], bases.address(place, _kept(value, same), rank)))
        else:
            stores.append((nest.results[value], bases.address(place, same, rank)))
    for part, whole, key in nest.copies:
        target = part_of(plan.places[whole], key)
        assert target is not None
        if plan.place(part) != target:
            stores.append((nest.memo[part, same], bases.address(target, same, rank)))
    terms = [
        ("load", bases.address(plan.place(t[1][0]), t[1][1], rank)) if t[0] == "load" else t
        for t in _used(nest, [n for n, _ in (*stores, *adds)] + [n for _, n, _ in reductions])
    ]
    return Block(nest.shape, terms, stores, reductions, rows, adds)


def _kept(value: Value, index: Map) -> Map:
    """Where a sum over some axes is added to, from a point of what is summed."""
    dims, keep = value.params["dims"], value.params["keepdim"]
    entries = [((None, 0, 0) if d in dims else e, d in dims) for d, e in enumerate(index)]
    return tuple([entry for entry, summed in entries if keep or not summed])


def _used(nest: Nest, roots: list[int]) -> list[tuple[Any, ...]]:
    """The terms, with those that nothing needs made empty."""
    alive = set(roots)
    for number in reversed(range(len(nest.terms))):
        term = nest.terms[number]
        if number in alive and term[0] not in ("load", "number"):
            alive.update(term[1])
    return [term if i in alive else ("none",) for i, term in enumerate(nest.terms)]


# ------------------------------------------------------------------------------------- rows
class _Group:
    """Blocks that may be done row by row, and what has to be done before."""

    def __init__(self, block: Block) -> None:
        self.first: list[Block] = []
        self.blocks: list[Block] = []
        self.known: dict[int, set[tuple[Any, bool]]] = {}  # for each base its rows, if written
        self.add(block)

    def add(self, block: Block) -> None:
        """One more."""
        self.blocks.append(block)
        for address, written in block.accesses():
            known = self.known.setdefault(address.base, set())
            known.add((_row(address, block.sizes) if block.sizes else None, written))

    def takes(self, block: Block) -> bool:
        """Add a block if that changes nothing."""
        reads = any(term[0] == "load" for term in block.terms)
        if not reads and not any(a.base in self.known for a, _ in block.accesses()):
            self.first.append(block)  # zeros, which may come earlier
            return True
        fits = self.fits(block)
        if fits:
            self.add(block)
        return fits

    def fits(self, block: Block) -> bool:
        """Whether each row of a block waits for the same row of the others alone."""
        sizes = self.blocks[0].sizes
        if not sizes or sizes[0] == 1 or block.sizes[:1] != sizes[:1]:
            return False
        if any(b.reductions and not b.rows for b in (self.blocks[0], block)):
            return False
        for address, written in block.accesses():
            row = _row(address, block.sizes)
            for other, also in self.known.get(address.base, ()):
                if (written or also) and (row is None or other != row):
                    return False
        return True

    def done(self) -> list[Block | Rows]:
        """What has to be done before, then the rows, if there is more than elementwise to them."""
        reduces = any(block.reductions or block.adds for block in self.blocks)
        first: list[Block | Rows] = [_merged(block) for block in self.first]
        if len(self.blocks) == 1 or not reduces:
            return [*first, *(_merged(block) for block in self.blocks)]
        blocks = [_merged(block, True) for block in self.blocks]
        return [*first, Rows(self.blocks[0].sizes[0], blocks)]


def _row(address: Address, sizes: tuple[int, ...]) -> tuple[int, int] | None:
    """(bytes from row to row, number of the row at i = 0), if no point lies in another row."""
    stride = address.strides[0]
    if stride <= 0:
        return None
    spans = [s * (n - 1) for s, n in zip(address.strides[1:], sizes[1:], strict=True)]
    low = address.offset + sum(min(0, span) for span in spans)
    high = address.offset + sum(max(0, span) for span in spans) + address.dtype.itemsize - 1
    return (stride, low // stride) if low // stride == high // stride else None


def _groups(blocks: list[Block]) -> list[_Group]:
    groups: list[_Group] = []
    for block in blocks:
        if not groups or not groups[-1].takes(block):
            groups.append(_Group(block))
    return groups


def _merged(block: Block, rows_apart: bool = False) -> Block:
    """Neighbouring axes joined wherever all operands allow it; axes of size 1 dropped."""
    addresses = [address for address, _ in block.accesses()]
    groups: list[list[int]] = []
    for axis, size in enumerate(block.sizes):
        if size == 1:
            continue
        last = groups[-1][-1] if groups else None
        border = bool(block.reductions) and last is not None and last < block.rows <= axis
        border = border or (rows_apart and last == 0)
        if (
            last is None
            or border
            or any(a.strides[last] != a.strides[axis] * size for a in addresses)
        ):
            groups.append([axis])
        else:
            groups[-1].append(axis)
    rows = sum(1 for group in groups if group[-1] < block.rows)

    def moved(address: Address) -> Address:
        strides = tuple(address.strides[group[-1]] for group in groups)
        return address._replace(strides=strides)

    return Block(
        tuple(prod(block.sizes[axis] for axis in group) for group in groups),
        [("load", moved(t[1])) if t[0] == "load" else t for t in block.terms],
        [(n, moved(a)) for n, a in block.stores],
        [(k, n, moved(a)) for k, n, a in block.reductions],
        rows,
        [(n, moved(a)) for n, a in block.adds],
    )
