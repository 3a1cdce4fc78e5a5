"""Lowering: a nest and its places become loops over addresses, ready to be written as code.

Axes that follow each other in memory for every operand become one, so that narrow shapes still fill
a vector. Nothing here knows for which machine the code will be.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

from .fuse import Nest
from .index_maps import Map, identity
from .layout import Place, part_of
from .plan import Plan

__all__ = ["Address", "Bases", "Block", "copying", "lowered", "places_of"]


@dataclass(frozen=True)
class Address:
    """Where an operand is: which base, byte offset, byte strides along the axes of the block."""

    base: int
    offset: int
    strides: tuple[int, ...]
    dtype: Any
    row: int  # bytes from one step to the next


@dataclass
class Block:
    """A loop nest: sizes of its axes, terms, stores (term, address), and whether it reduces."""

    sizes: tuple[int, ...]
    terms: list[tuple[Any, ...]]
    stores: list[tuple[int, Address]]
    reductions: list[tuple[str, int, Address]]
    rows: int  # the number of axes that are not summed over

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
        return "\n".join(lines)


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
        row = place.buffer.bytes if place.buffer.rows in ("stack", "carry") else 0
        return Address(self.number(place), offset, tuple(strides), place.dtype, row)


def lowered(nests: list[Nest], plan: Plan, bases: Bases) -> list[Block]:
    """The blocks of a kernel, which add what they read and write to the table of addresses."""
    blocks = [_block(nest, plan, bases) for nest in nests]
    return [b for b in blocks if b.stores or b.reductions]


def copying(source: Place, target: Place, bases: Bases) -> Block:
    """The block that copies one place to another."""
    same, rank = identity(target.shape), len(target.shape)
    read, written = (bases.address(p, same, rank) for p in (source, target))
    return _merged(Block(target.shape, [("load", read)], [(0, written)], [], rank))


def _block(nest: Nest, plan: Plan, bases: Bases) -> Block:
    rank = len(nest.shape)
    stores: list[tuple[int, Address]] = []
    reductions: list[tuple[str, int, Address]] = []
    same = identity(nest.shape)
    rows = rank
    for value in nest.values:
        place = plan.places[value]
        if nest.reduces:
            rows = rank - len(value.params["dims"])
            index = same[:rows] + ((None, 0, 0),) * (len(place.shape) - rows)
            address = bases.address(place, index, rank)
            reductions.append((value.name, nest.results[value], address))
        else:
            stores.append((nest.results[value], bases.address(place, same, rank)))
    for part, whole, key in nest.copies:
        target = part_of(plan.places[whole], key)
        assert target is not None
        if plan.place(part) != target:
            stores.append((nest.memo[part, same], bases.address(target, same, rank)))
    terms = [
        ("load", bases.address(plan.place(t[1][0]), t[1][1], rank)) if t[0] == "load" else t
        for t in _used(nest, [n for n, _ in stores] + [n for _, n, _ in reductions])
    ]
    block = Block(nest.shape, terms, stores, reductions, rows)
    return _merged(block)


def _used(nest: Nest, roots: list[int]) -> list[tuple[Any, ...]]:
    """The terms, with those that nothing needs made empty."""
    alive = set(roots)
    for number in reversed(range(len(nest.terms))):
        term = nest.terms[number]
        if number in alive and term[0] not in ("load", "number"):
            alive.update(term[1])
    return [term if i in alive else ("none",) for i, term in enumerate(nest.terms)]


def _addresses(block: Block) -> list[Address]:
    found = [term[1] for term in block.terms if term[0] == "load"]
    found += [address for _, address in block.stores]
    return found + [address for _, _, address in block.reductions]


def _merged(block: Block) -> Block:
    """Neighbouring axes joined wherever all operands allow it; axes of size 1 dropped."""
    addresses = _addresses(block)
    groups: list[list[int]] = []
    for axis, size in enumerate(block.sizes):
        if size == 1:
            continue
        last = groups[-1][-1] if groups else None
        border = bool(block.reductions) and last is not None and last < block.rows <= axis
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
        return Address(address.base, address.offset, strides, address.dtype, address.row)

    return Block(
        tuple(prod(block.sizes[axis] for axis in group) for group in groups),
        [("load", moved(t[1])) if t[0] == "load" else t for t in block.terms],
        [(n, moved(a)) for n, a in block.stores],
        [(k, n, moved(a)) for k, n, a in block.reductions],
        rows,
    )
