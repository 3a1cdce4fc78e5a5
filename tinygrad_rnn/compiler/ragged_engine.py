"""Loops over packed rows: each run of steps with one number of rows is a piece of the loop.

The carry before step t lies at the first packed row of step t, so what is stacked needs no copy;
what step t makes is written behind its own rows, where the next step, with fewer, looks for it. The
rows that end there are moved to the final carry before they are overwritten. Back in time rows are
added, and their carry is the cotangent of the final one, which is in its place from the beginning.

Legend: B batch, N packed rows, n rows of one step.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

import numpy as np

from ..backend import quiet
from .core import Engine
from .cut import Loop
from .layout import Place
from .numpy_engine import NumpyRunner, plan_calls
from .packing import Ragged
from .plan import Plan
from .pool import pool
from .program import Refused, Value
from .rowwise import SYMBOLIC, keeps_rows, one_row, with_rows

__all__ = ["PackedRunner", "check_rows", "compile_packed", "for_rows"]

NEEDS_SHAPES = ("reshape", "expand", "assemble")  # whose parameters name the number of rows


@cache
def for_rows(engine: Engine) -> Engine:
    """The engine for loops over one row, which runs them on packed rows."""
    make = engine.packed
    if make is None:
        raise Refused(f"the engine {engine.name} has no packed rows")

    def sinks(value: Value) -> bool:
        return engine.sinks(value) and keeps_rows(value)

    def compiled(loop: Loop, stacked_carries: bool) -> Any:
        return make(with_rows(loop), stacked_carries)

    name = f"{engine.name}, packed"
    return engine._replace(name=name, sinks=sinks, compile=compiled, change=one_row)


def compile_packed(loop: Loop, stacked_carries: bool) -> PackedRunner:
    """A function that runs a loop of `SYMBOLIC` rows on packed rows; see `PackedRunner`."""
    return PackedRunner(plan_calls(loop, stacked_carries, in_blocks=False))


class PackedRunner(NumpyRunner):
    """Runs a planned loop of `SYMBOLIC` rows on as many as there are in each step."""

    knows_rows = False

    def __init__(self, plan: Plan) -> None:
        check_rows(plan)
        super().__init__(plan)

    def __call__(  # type: ignore[override]
        self,
        how: Ragged,
        backward: bool,
        inits: Sequence[Any],
        stacked: Sequence[Any],
        constants: Sequence[Any],
        breaks: Sequence[int] = (),
    ) -> tuple[list[Any], list[Any]]:
        plan = self.plan
        arrays = self.packed_memory(how, [*constants, *stacked])
        finals = []
        for place, init in zip(plan.carries, inits, strict=True):
            buffer = place.buffer
            final = arrays[buffer.number]
            if buffer.rows == "carry":
                final = np.empty((how.batch, *buffer.shape[1:]), buffer.dtype)
            how.sort_into(final, init)
            if buffer.rows == "carry":
                first = how.segments[0][2]
                arrays[buffer.number][:first] = final[:first]
            finals.append(final)
        with quiet():
            self.run_packed(how, backward, arrays, finals)
        total = how.total
        exports = [
            np.ndarray((total, 1, *p.shape[1:]), p.dtype, arrays[p.buffer.number])
            for p in plan.exports
        ]
        return [final[how.back] for final in finals], exports

    def packed_memory(self, how: Ragged, given: Sequence[Any]) -> list[Any]:
        """The array of each buffer: those given, and from the pool as many rows as are needed."""
        count = {"stack": how.capacity, "carry": how.capacity + how.batch}
        arrays = [self.given(number, array) for number, array in enumerate(given)]
        for buffer in self.plan.buffers[len(given) :]:
            rows = count.get(buffer.rows, how.batch)
            arrays.append(pool.array((rows, *buffer.shape[1:]), buffer.dtype))
        return arrays

    def run_packed(self, how: Ragged, backward: bool, arrays: list[Any], finals: list[Any]) -> None:
        """All pieces in order, and after each the rows that end there."""
        pieces = how.segments[::-1] if backward else how.segments
        moved = [
            (final, arrays[p.buffer.number])
            for final, p in zip(finals, self.plan.carries, strict=True)
            if p.buffer.rows == "carry"
        ]
        each = [(_all_rows(p, arrays), p.ahead) for p in self.each]
        fixed = [(_all_rows(p, arrays), p.buffer.rows == "constant") for p in self.fixed]
        for i, (offset, steps, rows) in enumerate(pieces):
            after, less = offset + steps * rows, pieces[i + 1][2] if i + 1 < len(pieces) else 0
            starts = range(offset, after, rows)
            views = _views(each, starts[::-1] if backward else starts, rows)
            self.loop(views, [whole if same else whole[:rows] for whole, same in fixed])
            for final, rows_of_carry in moved:
                final[less:rows] = rows_of_carry[after + less : after + rows]


def check_rows(plan: Plan) -> None:
    """Every place must have the rows first, and no operation may know how many they are."""
    for action in plan.actions:
        if action.kind == "op" and action.values[0].name in NEEDS_SHAPES:
            raise Refused(f"{action.values[0].name} in memory for rows of unequal length")
        for place in (*action.operands, action.target):
            if type(place) is Place and place.buffer.rows != "constant":
                first = place.shape[0] == SYMBOLIC if place.shape else False
                if not first or place.strides[0] != place.buffer.bytes // SYMBOLIC:
                    raise Refused("rows that do not follow each other in memory")


def _all_rows(place: Place, arrays: Sequence[Any]) -> Any:
    """The view at a place in all rows of its buffer; of a constant there is one."""
    memory = arrays[place.buffer.number]
    shape = place.shape
    if place.buffer.rows != "constant":
        shape = (len(memory), *shape[1:])
    return np.ndarray(shape, place.dtype, memory, place.offset, place.strides)


def _views(each: Sequence[tuple[Any, bool]], starts: range, rows: int) -> Iterator[list[Any]]:
    """For each step its rows of everything, or those of the step ahead."""
    for low in starts:
        high = low + rows
        yield [whole[high : high + rows] if ahead else whole[low:high] for whole, ahead in each]
