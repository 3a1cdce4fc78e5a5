"""The memory of a small loop as one block, laid out once per number of steps.

Where a step is a microsecond or two, making arrays and looking for their addresses would cost as
much as the loop: here a call takes one block from the pool, and knows by offset what is where.
Large loops take each array by itself, as what is kept of one would keep the whole block.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from .layout import FEW, Place
from .llvm_engine import address_of, table_maker
from .llvm_panels import filling
from .plan import Plan
from .pool import ALIGNMENT, pool

__all__ = ["Block", "LARGEST", "View", "laid_out", "written_call"]

LARGEST = 1 << 20  # bytes of a block

View = tuple[int, tuple[int, ...], Any, int, tuple[int, ...] | None]
# the number of an input, or −1 for the block; shape, dtype, offset, strides


class Block(NamedTuple):
    """Where everything is in the memory of one call.

    Attributes:
        size: bytes of the block.
        starts: the carry before the first step; `finals`: after the last one.
        exports: what is wanted of all steps.
        panels: for each packed input its number, where its panels begin, and what fills them.
        entries: for each base of the loop the number of an input, or −1, and an offset.
    """

    size: int
    starts: list[View]
    finals: list[View]
    exports: list[View]
    panels: list[tuple[int, int, Callable[[int, Any], None]]]
    entries: list[tuple[int, int]]


def written_call(block: Block, native: Any, *numbers: int) -> Callable[..., Any]:
    """What calls `native` with `numbers` and the table of a new block, as one Python function.

    The function takes the carries to begin with and the inputs, and gives the last carries and the
    exports.
    """
    space: dict[str, Any] = {
        "native": native, "table": table_maker(3 + len(block.entries)), "ndarray": np.ndarray,
        "block": pool.block, "at": address_of,
        "contiguous": np.ascontiguousarray,
    }  # fmt: skip
    space |= {f"fill{number}": fill for number, _, fill in block.panels}

    def view(at: View) -> str:
        number, shape, dtype, offset, strides = at
        space[str(dtype)] = dtype
        places = f"memory, start + {offset}" if number < 0 else f"g{number}, {offset}"
        return f"ndarray({shape}, {dtype}, {places}, {strides})"

    views = [*block.starts, *block.finals, *block.exports]
    used = {at[0] for at in views} | {number for number, _ in block.entries}
    inputs = sorted(used - {-1})
    lines = [f"memory, start, address = block({block.size})"]
    lines += [f"g{n} = contiguous(given[{n}])" for n in inputs]
    lines += [f"{view(at)}[...] = carries[{i}]" for i, at in enumerate(block.starts)]
    lines += [f"fill{n}(address + {at}, given[{n}])" for n, at, _ in block.panels]
    lines += [f"a{n} = at(g{n})" for n in sorted({n for n, _ in block.entries} - {-1})]
    places = [f"address + {o}" if n < 0 else f"a{n} + {o}" for n, o in block.entries]
    lines.append(f"native(table({', '.join(map(str, (*numbers, *places)))}))")
    finals, exports = (", ".join(map(view, views)) for views in (block.finals, block.exports))
    body = "".join(f"    {line}\n" for line in lines)
    exec(f"def call(carries, given):\n{body}    return [{finals}], [{exports}]\n", space)
    call: Callable[..., Any] = space["call"]
    return call


def laid_out(
    plan: Plan, given: int, packed: Sequence[int], bases: Sequence[tuple[int, bool]],
    length: int, reverse: bool,
) -> Block | None:  # fmt: skip
    """The block of a loop of so many steps, whose first `given` buffers are inputs; or None."""
    at: dict[int, tuple[int, int]] = {n: (n, 0) for n in range(given)}
    size = 0
    rows = {"stack": length, "carry": length + 1, "few": FEW}
    for number, buffer in enumerate(plan.buffers):
        same = plan.shared.get(number, number)
        if number >= given and same == number:
            at[number] = (-1, size)
            size += _rounded(buffer.bytes * rows.get(buffer.rows, 1))
    for number in range(given, len(plan.buffers)):
        at[number] = at[plan.shared.get(number, number)]
    panels = []
    for number in packed:
        buffer = plan.buffers[number]
        at[number] = (-1, size)
        panels.append((number, size, filling(*buffer.shape, buffer.dtype)))
        size += _rounded(buffer.bytes)
    if size > LARGEST:
        return None
    entries = [(at[n][0], at[n][1] + _ahead(plan, n, ahead != reverse)) for n, ahead in bases]
    return Block(
        size,
        [_end(at, place, length, not reverse) for place in plan.carries],
        [_end(at, place, length, reverse) for place in plan.carries],
        [_seen(at, place, length, reverse) for place in plan.exports],
        panels,
        entries,
    )


def _rounded(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT


def _ahead(plan: Plan, number: int, ahead: bool) -> int:
    """The bytes to the next row, where the one after a step is meant."""
    buffer = plan.buffers[number]
    return buffer.bytes if ahead and buffer.rows == "carry" else 0


def _seen(at: dict[int, tuple[int, int]], place: Place, length: int, reverse: bool) -> View:
    """All steps of a place, in the order of time."""
    buffer = place.buffer
    number, offset = at[buffer.number]
    shift = buffer.bytes if buffer.rows == "carry" and place.ahead != reverse else 0
    shape, strides = (length, *place.shape), (buffer.bytes, *place.strides)
    return number, shape, place.dtype, offset + place.offset + shift, strides


def _end(at: dict[int, tuple[int, int]], place: Place, length: int, first: bool) -> View:
    """The carry at one end: the row with the lowest time if `first`, else with the highest."""
    buffer = place.buffer
    number, offset = at[buffer.number]
    row = 0 if first or buffer.rows == "cell" else length
    return number, buffer.shape, buffer.dtype, offset + row * buffer.bytes, None
