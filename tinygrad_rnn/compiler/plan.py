"""Buffer planning: where each value of a loop lives, and in which order things are done.

Decided once per structure. A value that is wanted of all steps is written into its stack, the parts
of a concatenation into their places in the whole, the next carry into the next row; the rest shares
scratch rows. Nothing is allocated inside the loop.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ..ops.parts import tiles
from .cut import Loop
from .layout import Buffer, Place, fresh, is_view, part_of, viewed
from .program import Value

__all__ = ["Action", "NoView", "Plan", "act_one_by_one", "covers", "joined_keys", "make_plan"]


class NoView(Exception):
    """A value that was to be a view of another cannot be one, as that is laid out."""

    def __init__(self, value: Value) -> None:
        super().__init__(repr(value))
        self.value = value


class Action(NamedTuple):
    """One thing done in a step: `operands` (places, or Python numbers) into `target`.

    kind: "op" (an operation of `values[0]`), "copy", or "kernel" (`nests`, which make several
    values at once; then the operands are all places that are read or written).
    """

    kind: str
    values: tuple[Value, ...]
    operands: tuple[Any, ...] = ()
    target: Place | None = None
    nests: tuple[Any, ...] = ()


@dataclass
class Plan:
    """Buffers, the places of values, and the actions of a step."""

    loop: Loop
    buffers: list[Buffer] = field(default_factory=list)
    places: dict[Value, Place] = field(default_factory=dict)
    actions: list[Action] = field(default_factory=list)
    exports: list[Place] = field(default_factory=list)
    carries: list[Place] = field(default_factory=list)
    shared: dict[int, int] = field(default_factory=dict)  # scratch buffers that are another one

    def buffer(self, rows: str, like: Value) -> Buffer:
        """A new buffer for a value."""
        return self.memory(rows, like.shape, like.dtype)

    def memory(self, rows: str, shape: tuple[int, ...], dtype: Any) -> Buffer:
        """A new buffer, whatever it is for."""
        made = Buffer(len(self.buffers), rows, shape, dtype)
        self.buffers.append(made)
        return made

    def place(self, value: Value) -> Place:
        """Where a value is, or can be seen as a view of what is somewhere."""
        found = self.places.get(value)
        if found is None:
            found = viewed(value, self.place(value.inputs[0])) if is_view(value) else None
            if found is None:
                raise NoView(value)
            self.places[value] = found
        return found


def joined_keys(value: Value) -> list[Any] | None:
    """For a concatenation, the key of each part in the whole."""
    if value.name == "assemble":
        return list(value.params["keys"])
    if value.name != "cat":
        return None
    keys, start = [], 0
    for size in value.params["sizes"]:
        keys.append((slice(None),) * value.params["dim"] + (slice(start, start + size),))
        start += size
    return keys


def make_plan(
    loop: Loop,
    stacked_carries: bool,
    made: Sequence[Value],
    act: Callable[[Plan], None],
    may_overwrite: Callable[[Value, Value], bool],
    arrange: Callable[[Plan], None] | None = None,
) -> Plan:
    """Places for the values in `made`, in order, and the actions that `act` adds.

    `stacked_carries` keeps the carry of each step; else `may_overwrite(after, before)` says whether
    the next carry can be written where the one before it is. `arrange` may give places before
    others are looked for.
    """
    plan = Plan(loop)
    for values, rows in ((loop.constant, "constant"), (loop.stacked, "stack")):
        for value in values:
            plan.places[value] = fresh(plan.buffer(rows, value))
    later = _carry_places(plan, stacked_carries, set(made))
    if arrange is not None:
        arrange(plan)
    _export_places(plan, set(made), later)
    _homes(plan, made, may_overwrite)
    act(plan)
    for before, after in loop.carries:
        source, cell = plan.place(after), plan.places[before]
        if cell.buffer.rows == "cell" and source != cell:
            plan.actions.append(Action("copy", (after,), (source,), cell))
    for value, place in later:
        plan.actions.append(Action("copy", (value,), (plan.place(value),), place))
    _share_scratch(plan)
    return plan


def _carry_places(plan: Plan, stacked: bool, made: set[Value]) -> list[tuple[Value, Place]]:
    """Places of the carries; values that must be copied into a next row at the end of a step."""
    later = []
    for before, after in plan.loop.carries:
        place = fresh(plan.buffer("carry" if stacked else "cell", before))
        plan.places[before] = place
        plan.carries.append(place)
        if stacked:
            ahead = fresh(place.buffer, ahead=True)
            if after in made:
                plan.places[after] = ahead
            else:
                later.append((after, ahead))
    return later


def _export_places(plan: Plan, made: set[Value], later: list[tuple[Value, Place]]) -> None:
    for value in plan.loop.exports:
        place = plan.places.get(value)
        if place is not None and place.buffer.rows in ("stack", "carry") and place.contiguous:
            plan.exports.append(place)
            continue
        home = fresh(plan.buffer("stack", value))
        plan.exports.append(home)
        if place is not None and place.buffer.rows == "cell":  # about to be overwritten
            plan.actions.append(Action("copy", (value,), (place,), home))
        elif value in made:
            plan.places[value] = home
        else:
            later.append((value, home))


def _homes(
    plan: Plan, made: Sequence[Value], may_overwrite: Callable[[Value, Value], bool]
) -> None:
    """Places for the rest: the cell of its carry, its part of a whole, a scratch row."""
    cells = {a: b for b, a in plan.loop.carries if plan.places[b].buffer.rows == "cell"}
    order = set(made)
    for value in reversed(made):
        if value not in plan.places:
            before = cells.get(value)
            if before is not None and may_overwrite(value, before):
                plan.places[value] = plan.places[before]
            else:
                plan.places[value] = fresh(plan.buffer("scratch", value))
        keys = joined_keys(value)
        if keys is None or not covers(value, keys):  # sums and zeros are made apart
            continue
        for part, key in zip(value.inputs, keys, strict=True):
            place = part_of(plan.places[value], key)
            free = part in order and part not in plan.places and part not in cells
            if free and place is not None and place.shape == part.shape:
                plan.places[part] = place


def act_one_by_one(plan: Plan, value: Value) -> None:
    """The action (or, for a concatenation, the copies of its parts) that makes one value."""
    target = plan.places[value]
    keys = joined_keys(value)
    if keys is None or not covers(value, keys):
        operands = tuple(plan.place(a) if type(a) is Value else a for a in value.args)
        plan.actions.append(Action("op", (value,), operands, target))
        return
    for part, key in zip(value.inputs, keys, strict=True):
        source, place = plan.place(part), part_of(target, key)
        assert place is not None
        if source != place:
            plan.actions.append(Action("copy", (part,), (source,), place))


def covers(value: Value, keys: list[Any]) -> bool:
    """Whether the parts are all there is: then no zeros and no sums are needed."""
    return value.name == "cat" or tiles(keys, value.shape)


def _share_scratch(plan: Plan) -> None:
    """Scratch rows of equal size are used again when their last reader is done."""
    last: dict[int, int] = {}
    first: dict[int, int] = {}
    for i, action in enumerate(plan.actions):
        for place in (*action.operands, action.target):
            if type(place) is Place and place.buffer.rows == "scratch":
                last[place.buffer.number] = i
                first.setdefault(place.buffer.number, i)
    plan_of: dict[int, int] = {}
    free: dict[tuple[int, ...], list[int]] = {}
    for i in range(len(plan.actions)):
        for number in (n for n, at in first.items() if at == i):
            size = (plan.buffers[number].bytes,)
            reuse = free.get(size)
            plan_of[number] = reuse.pop() if reuse else number
        for number in (n for n, at in last.items() if at == i):
            free.setdefault((plan.buffers[number].bytes,), []).append(plan_of[number])
    plan.shared = plan_of
