"""Parts of rows in memory of their own, so that NumPy's calls are few and on what is contiguous.

A call on x[:, w:2w] goes row by row, which takes two or three times as long as as many numbers that
follow each other. So of a result of which only equal parts of the rows are read the parts are
written one behind the other, as blocks. The parts of a concatenation are made as blocks, and copied
to their places together. And what is done in the same way to neighbours, as σ to two gates, is one
call.

Legend: k parts of a row, each of shape (…, w).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from .cut import Loop
from .layout import Buffer, Place, fresh, is_view, part_of, viewed
from .plan import Action, NoView, Plan, act_one_by_one, covers, joined_keys
from .program import Value, freeze

__all__ = ["Blocks", "is_logistic"]

MOST = 2048  # elements of a part: for more, a call takes long enough


@dataclass
class Blocks:
    """Which values of a loop lie in blocks, and how they are made.

    Attributes:
        split: results written as blocks, with the place (k, …, w).
        joined: concatenations whose parts are made in such a place.
        groups: for each value that is made together with others, all of them in order.
    """

    split: dict[Value, Place] = field(default_factory=dict)
    joined: dict[Value, Place] = field(default_factory=dict)
    groups: dict[Value, tuple[Value, ...]] = field(default_factory=dict)

    def arrange(self, plan: Plan, made: list[Value]) -> None:
        """Find places, where the carries have theirs; perhaps bring `made` into another order."""
        readers = _readers(plan.loop)
        for value in made:
            self._split(plan, value, readers.get(value, []), made)
        ends = {a for _, a in plan.loop.carries}
        for value in made:
            self._join(plan, value, set(made) - ends)
        self._group(plan, made, ends)

    def _split(self, plan: Plan, value: Value, readers: list[Value], made: list[Value]) -> None:
        """Blocks for a result that is read in equal parts."""
        parts = all(v.name == "slice" and v not in made for v in readers)
        if not parts or value in plan.places or not _is_elementwise(value):
            return
        whole = fresh(Buffer(-1, "scratch", value.shape, value.dtype))
        numbers = _numbers([viewed(v, whole) for v in readers], whole)
        if numbers is not None:
            width = readers[0].shape[-1]
            blocks = _blocks(plan, "scratch", value.shape[-1] // width, readers[0])
            self.split[value] = blocks
            plan.places.update((v, _row(blocks, n)) for v, n in zip(readers, numbers, strict=True))

    def _join(self, plan: Plan, value: Value, free: set[Value]) -> None:
        """Blocks for the parts of a concatenation."""
        keys, parts = joined_keys(value), value.inputs
        if keys is None or not covers(value, keys) or len(set(parts)) < len(parts):
            return
        if not all(p in free and p not in plan.places and p.dtype == value.dtype for p in parts):
            return
        whole = fresh(Buffer(-1, "scratch", value.shape, value.dtype))
        numbers = _numbers([part_of(whole, key) for key in keys], whole)
        if numbers is None or any(joined_keys(part) for part in parts):
            return
        rows = "stack" if any(part in plan.loop.exports for part in parts) else "scratch"
        blocks = _blocks(plan, rows, len(parts), parts[0])
        self.joined[value] = blocks
        plan.places.update((p, _row(blocks, n)) for p, n in zip(parts, numbers, strict=True))

    def _group(self, plan: Plan, made: list[Value], ends: set[Value]) -> None:
        """Places side by side for what is made of neighbours by the same operation."""
        levels = _levels(plan.loop)
        alike: dict[Any, list[Value]] = {}
        for value in sorted(made, key=levels.__getitem__):
            free = value not in plan.places and value not in ends and value not in self.split
            if free and _is_elementwise(value) and value.size <= MOST:
                numbers = tuple([None if type(a) is Value else repr(a) for a in value.args])
                what = value.name, freeze(value.params), numbers, value.shape, value.dtype
                wanted = value in plan.loop.exports
                if wanted and not is_logistic(value):
                    continue  # what reads it in all steps is quicker if these follow each other
                key = (levels[value], *what, wanted)
                alike.setdefault(key, []).append(value)
        for key, values in alike.items():
            for group in _runs(plan, values):
                self.groups.update(dict.fromkeys(group, group))
                if not key[-1]:
                    blocks = _blocks(plan, "scratch", len(group), group[0])
                    plan.places.update((v, _row(blocks, n)) for n, v in enumerate(group))
        if self.groups:  # what a group is made of comes before all of it
            made.sort(key=levels.__getitem__)

    def act(self, plan: Plan, value: Value) -> bool:
        """Add what makes a value; whether that is one action, which the loop has to look at."""
        if value in self.split:
            blocks = self.split[value]
            operands = [_in_parts(a, blocks.shape[0]) for a in _operands(plan, value)]
            plan.actions.append(Action("op", (value,), tuple(operands), _between(blocks)))
        elif value in self.joined:
            blocks = self.joined[value]
            target = _in_parts(plan.places[value], blocks.shape[0])
            plan.actions.append(Action("copy", (value,), (_between(blocks),), target))
        elif value in self.groups:
            group = self.groups[value]
            if value is not group[0]:
                return False
            args = _side_by_side(plan, group)
            assert args is not None
            target = _together([plan.places[v] for v in group], len(value.shape))
            if target is None:  # each in a stack of its own
                return self._quotients(plan, group, args[0])
            plan.actions.append(Action("op", group, tuple(args), target))
        else:
            act_one_by_one(plan, value)
        return True

    def _quotients(self, plan: Plan, group: tuple[Value, ...], source: Place) -> bool:
        """σ of several values: all of it together but the last call of each."""
        above, below = (_blocks(plan, "scratch", len(group), group[0]) for _ in range(2))
        plan.actions.append(Action("exponential", group, (source, below), above))
        for n, value in enumerate(group):
            operands = _row(above, n), _row(below, n)
            plan.actions.append(Action("quotient", (value,), operands, plan.places[value]))
        return False


# ------------------------------------------------------------------------------- which values
def is_logistic(value: Value) -> bool:
    """Whether a value is σ of floating-point numbers, which is a chain of calls."""
    return value.name == "sigmoid" and value.dtype.kind == "f"


def _is_elementwise(value: Value) -> bool:
    return value.op is not None and value.op.form == "elementwise"


def _readers(loop: Loop) -> dict[Value, list[Value]]:
    """What reads each value in the loop; a value that is wanted of all steps reads itself."""
    found: dict[Value, list[Value]] = {}
    for value in loop.body:
        for arg in value.inputs:
            found.setdefault(arg, []).append(value)
    for value in (*loop.exports, *(after for _, after in loop.carries)):
        found.setdefault(value, []).append(value)
    return found


def _levels(loop: Loop) -> dict[Value, int]:
    """For each value of the body how many operations lie before it, at most."""
    found: dict[Value, int] = {}
    for value in loop.body:
        before = max((found.get(a, 0) for a in value.inputs), default=0)
        found[value] = before + (not is_view(value))
    return found


def _runs(plan: Plan, values: list[Value]) -> Iterator[tuple[Value, ...]]:
    """Values in groups of neighbours: those whose operands lie at equal distances."""
    run: list[Value] = []
    for value in sorted(values, key=lambda v: _where(plan, v)):
        if run and _side_by_side(plan, [*run, value]) is None:
            if len(run) > 1:
                yield tuple(run)
            run = []
        run.append(value)
    if len(run) > 1:
        yield tuple(run)


def _where(plan: Plan, value: Value) -> tuple[int, ...]:
    """The order of the operands in memory."""
    try:
        places = [p for p in _operands(plan, value) if type(p) is Place]
    except NoView:  # not there yet
        return ()
    return tuple([n for p in places for n in (p.buffer.number, p.offset)])


def _side_by_side(plan: Plan, values: Sequence[Value]) -> list[Any] | None:
    """The operands of all values as one of each kind; None if they do not lie like that."""
    try:
        each = [_operands(plan, value) for value in values]
    except NoView:
        return None
    found = [_together(operands, len(values[0].shape)) for operands in zip(*each, strict=True)]
    return None if None in found else found


def _operands(plan: Plan, value: Value) -> list[Any]:
    return [plan.place(a) if type(a) is Value else a for a in value.args]


# -------------------------------------------------------------------------------------- places
def _numbers(parts: Sequence[Place | None], whole: Place) -> list[int] | None:
    """Which of the k equal parts of the rows of `whole` these are; None if they are no such."""
    first = parts[0] if parts else None
    if first is None or math.prod(whole.shape[:-1]) == 1:
        return None
    width = first.shape[-1] * whole.strides[-1]
    shape, strides = (*whole.shape[:-1], first.shape[-1]), whole.strides
    for part in parts:
        if part is None or (part.shape, part.strides) != (shape, strides):
            return None
        if part.offset % width or whole.shape[-1] % shape[-1] or math.prod(shape) > MOST:
            return None
    return [part.offset // width for part in parts if part is not None]


def _blocks(plan: Plan, rows: str, count: int, like: Value) -> Place:
    """A new place (k, …, w) for so many parts like this one."""
    return fresh(plan.memory(rows, (count, *like.shape), like.dtype))


def _row(blocks: Place, number: int) -> Place:
    offset = blocks.offset + number * blocks.strides[0]
    return blocks._replace(offset=offset, shape=blocks.shape[1:], strides=blocks.strides[1:])


def _between(blocks: Place) -> Place:
    """(k, …, w) seen as (…, k, w)."""

    def moved(items: tuple[int, ...]) -> tuple[int, ...]:
        return (*items[1:-1], items[0], items[-1])

    return blocks._replace(shape=moved(blocks.shape), strides=moved(blocks.strides))


def _in_parts(operand: Any, count: int) -> Any:
    """(…, k·w) seen as (…, k, w); what is the same all along a row, or a number, stays so."""
    if type(operand) is not Place or not operand.shape:
        return operand
    *lead, size = operand.shape
    *steps, step = operand.strides
    if size == 1:
        return operand._replace(shape=(*lead, 1, 1), strides=(*steps, 0, step))
    width = size // count
    return operand._replace(shape=(*lead, count, width), strides=(*steps, width * step, step))


def _together(operands: Sequence[Any], rank: int) -> Any:
    """Places at equal distances as one, with an axis in front; None if they are not."""
    first = operands[0]
    if type(first) is not Place:
        return first  # a number, the same of all
    step = operands[1].offset - first.offset
    for n, place in enumerate(operands):
        if place._replace(offset=first.offset) != first or place.offset != first.offset + n * step:
            return None
    if not step and first.shape:
        return None
    ones = rank - len(first.shape)
    shape = (len(operands), *(1,) * ones, *first.shape)
    return first._replace(shape=shape, strides=(step, *(0,) * ones, *first.strides))
