"""What a compiled loop does in a step, to be read: its actions, and what is in its memory."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import prod

from .layout import Buffer
from .plan import Action, Plan
from .program import Value

__all__ = ["actions", "memory"]

ROWS = {
    "constant": "the same in every step", "stack": "stacked", "carry": "a stacked carry",
    "cell": "a carry", "scratch": "of this step alone", "few": "of a few steps",
}  # fmt: skip


def actions(plan: Plan, together: Sequence[Action] = ()) -> str:
    """A line for each action; those `together` are done for a few steps at a time."""
    lines = []
    for action in plan.actions:
        few = "  (a few steps at a time)" if action in together else ""
        lines.append(f"  {_line(action)}{few}")
    return "\n".join(lines)


def _line(action: Action) -> str:
    if action.kind == "copy":
        return f"copy of {_names(action.values)} to where it is kept"
    if action.kind != "kernel":
        return f"{_names(action.values[:1])} = {_made(action.values[0])}"
    made: dict[Value, None] = {}
    read: dict[Value, None] = {}
    for nest in action.nests:
        made.update(dict.fromkeys((*nest.values, *(whole for _, whole, _ in nest.copies))))
        read.update(dict.fromkeys(value for value, _ in nest.loads()))
    return f"{_names(made)} = kernel {_names(v for v in read if v not in made)}"


def _names(values: Iterable[Value]) -> str:
    return " ".join(map(_name, values))


def _name(value: Value) -> str:
    return value.label.replace(" ", "") or f"%{value.index}"


def _made(value: Value) -> str:
    words = [_name(a) if type(a) is Value else repr(a) for a in value.args]
    return " ".join([value.name, *words]) if value.op is not None else value.kind


def memory(plan: Plan, entries: Sequence[tuple[int, bool]]) -> str:
    """For each address that kernels name as m0, m1, … what is there; entries as in `Bases`."""
    lines = []
    for i, (number, ahead) in enumerate(entries):
        buffer = plan.buffers[number]
        value = _in_buffer(plan, buffer, ahead)
        what = "" if value is None else f" %{value.index} {value.label}".rstrip()
        made = "" if value is None else f" = {_made(value)}"
        following = ", of the next step" if ahead and buffer.rows == "carry" else ""
        lines.append(f"  m{i}:{what}{made}; {ROWS[buffer.rows]}{following}")
    return "\n".join(lines)


def _in_buffer(plan: Plan, buffer: Buffer, ahead: bool) -> Value | None:
    """The value that fills a row of a buffer."""
    size = prod(buffer.shape)
    found = [
        value
        for value, place in plan.places.items()
        if place.buffer is buffer and prod(place.shape) == size and place.ahead == ahead
    ]
    return min(found, key=lambda v: v.index, default=None)
