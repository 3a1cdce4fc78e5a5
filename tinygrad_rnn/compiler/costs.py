"""What a step costs, counted from its programs and from the plans of its loops.

Floating-point operations of a product are two for each pair of numbers that is multiplied. What is
outside of a loop is counted for one step as well, unless it is the same in all steps: then it is
done once a call.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .backward import Backward
from .core import Core, Way
from .layout import VIEWS, Place
from .lookups import ROWS
from .plan import Plan
from .program import Value, ancestors

__all__ = ["Work", "backward_work", "forward_work", "kept", "traffic"]

MOVES = VIEWS | {"assemble", "cat", "clone"}  # nothing is computed
LINEAR = frozenset(("add", "assemble", "neg", "permute", "reshape", "slice", "sub"))  # see `sums`


@dataclass
class Work:
    """Operations in products, and elements of all other work."""

    flops: int = 0
    elements: int = 0

    def add(self, values: Iterable[Value]) -> None:
        """Count these values."""
        for value in values:
            if value.name == "matmul":
                self.flops += 2 * value.size * value.args[0].shape[-1]
            elif value.op is not None and value.name not in MOVES:
                self.elements += _elements(value)

    def __str__(self) -> str:
        return f"{self.flops} flop in products, {self.elements} elements in the rest"


def _elements(value: Value) -> int:
    """How many numbers are computed, or looked at where that is more: those that are reduced."""
    if value.name == "scatter" or len(value.inputs) == 1:
        source = value.inputs[0].size
        return source if value.name == "scatter" else max(value.size, source)
    return value.size


# ---------------------------------------------------------------------------------- operations
def forward_work(core: Core) -> tuple[Work, Work, Work]:
    """Of a step: in the loop, and outside of it; and once a call."""
    parts = core.cut
    inside, outside, once = Work(), Work(), Work()
    inside.add(parts.loop.body)
    outside.add(v for v in (*parts.before, *parts.after) if v not in parts.fixed)
    once.add(v for v in parts.before if v in parts.fixed)
    return inside, outside, once


def backward_work(core: Core, way: Way, back: Backward) -> tuple[Work, Work, Work]:
    """The same backward."""
    inside, outside, once = Work(), Work(), Work()
    inside.add(back.loop.body)
    given = {*way.saved, *back.loop.body, *(v for v in back.arriving if v is not None)}
    totals = _Totals(given, core.cut.fixed, outside, once)
    for value in back.of_constant:
        if value is not None:
            totals.sum(value)
    needed = [*back.loop.stacked, *back.loop.constant, *totals.needed]
    needed += [v for v in back.of_stacked if v is not None]
    for value in ancestors(needed, given.__contains__) - given:
        (outside if totals.timed(value) else once).add([value])
    return inside, outside, once


class _Totals:
    """Goes through sums over the steps, as `sums` makes them; counts them and what they need."""

    def __init__(self, given: set[Value], fixed: set[Value], step: Work, once: Work) -> None:
        self.given, self.fixed, self.step, self.once = given, fixed, step, once
        self.needed: list[Value] = []
        self.changes: dict[Value, bool] = {}
        self.done: set[Value] = set()

    def timed(self, value: Value) -> bool:
        """Whether a value changes from step to step."""
        if value in self.fixed:
            return False
        if value in self.given or value.op is None:
            return True
        if value not in self.changes:
            self.changes[value] = any(self.timed(a) for a in value.inputs)
        return self.changes[value]

    def sum(self, value: Value) -> None:
        """Count the sum of a value."""
        if value in self.done:
            return
        self.done.add(value)
        if value in self.given or not self.timed(value) or not self.by_rule(value):
            self.needed.append(value)
            (self.step if self.timed(value) else self.once).elements += value.size

    def by_rule(self, value: Value) -> bool:
        """Count the sum of a value that is never made itself; False if it has to be made."""
        name, inputs = value.name, value.inputs
        if name == "matmul" and all(len(a.shape) == 2 for a in inputs):
            each = [self.timed(a) for a in inputs]
            (self.step if all(each) else self.once).add([value])
            for side, timed in zip(inputs, each, strict=True):
                if all(each) or not timed:
                    self.needed.append(side)
                else:
                    self.sum(side)
        elif name == "sum" and self.timed(inputs[0]):
            self.step.add([value])
            self.needed.append(inputs[0])
        elif name == "scatter" and value.params["template"] == ROWS:
            self.step.add([value])
            self.needed += inputs
        elif name in LINEAR and (name not in ("add", "sub") or _is_plain(value)):
            self.once.add([value])
            for side in inputs:
                self.sum(side)
        else:
            return False
        return True


def _is_plain(value: Value) -> bool:
    return len(value.inputs) == 2 and all(a.shape == value.shape for a in value.inputs)


# ------------------------------------------------------------------------------------- memory
def kept(core: Core, way: Way) -> tuple[int, int, int]:
    """Bytes a step that are stored for backward, in how many arrays; and of inputs of all steps."""
    assert way.full is not None
    runner, fixed = way.forward.runner, core.cut.fixed
    places = dict(zip(core.exports(way.full), runner.plan.exports, strict=True))
    stored = [v for v in way.full.saved if v not in fixed and v not in core.cut.whole.stacked]
    inside = [places[v]._replace(ahead=False) for v in stored if v in places]
    outside = [v for v in stored if v not in places]
    given = [v for v in core.cut.whole.stacked if v in way.saved]
    size = _touched(inside, {}) + sum(map(_bytes, outside))
    return size, len({p.buffer.number for p in inside}) + len(outside), sum(map(_bytes, given))


def _bytes(value: Value) -> int:
    return value.size * int(value.dtype.itemsize)


def traffic(plan: Plan) -> int:
    """Bytes that the actions of a step read or write, each action by itself."""
    places = [[p for p in (*a.operands, a.target) if type(p) is Place] for a in plan.actions]
    return sum(_touched(found, plan.shared) for found in places)


def _touched(places: Iterable[Place], shared: dict[int, int]) -> int:
    """The bytes at these places, those at several of them once."""
    rows: dict[tuple[int, bool], Any] = {}
    items = {}
    for place in places:
        number = place.buffer.number
        key = shared.get(number, number), place.ahead
        mask = rows.setdefault(key, np.zeros(max(place.buffer.bytes, 1), np.uint8))
        np.ndarray(place.shape, np.uint8, mask, place.offset, place.strides)[...] = 1
        items[key] = int(place.dtype.itemsize)
    return sum(int(np.count_nonzero(mask)) * items[key] for key, mask in rows.items())
