"""Hoisting: the step is cut into what stays in the loop and what need not.

    before  depends on captured tensors or on time alone: runs once, on all steps together
    core    what the next carry is made of: the loop
    after   depends on the carry, but no carry depends on it: runs once, on the stacked steps

Cheap operations may be sunk back into the core, where a fused kernel does them for nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from .program import Graph, Value, ancestors, check, listing
from .step import CARRY, TIME, Step, classes

__all__ = ["Cut", "Loop", "cut"]

Sinks = Callable[[Value], bool]


@dataclass
class Loop:
    """A program to be run T times: what an engine compiles.

    Attributes:
        carries: for each, its value at the beginning of a step and at the end.
        stacked: inputs that have one row for each step.
        constant: inputs that are the same in every step.
        body: the operations of one step, in order.
        exports: values (of the body, or carries at the beginning) of which all steps are wanted.
    """

    carries: list[tuple[Value, Value]]
    stacked: list[Value]
    constant: list[Value]
    body: list[Value]
    exports: list[Value] = field(default_factory=list)

    def checked(self) -> Loop:
        """Itself, if everything is made before it is used."""
        inputs = [*(before for before, _ in self.carries), *self.stacked, *self.constant]
        opaque = set(inputs)
        missing = [a for v in self.body for a in v.inputs if a not in opaque and a not in self.body]
        assert not missing, f"{missing} are not there in the loop"
        if not any(v.op is not None for v in inputs):
            check([*inputs, *self.body], [*(after for _, after in self.carries), *self.exports])
        return self

    def rewritten(
        self, rule: Callable[[Value], Value], placed: Callable[[Value], None] | None = None
    ) -> Loop:
        """With each operation, on its new arguments, replaced by what `rule` makes of it.

        What nobody needs any more is left out. `placed` is told of each value of the new body, in
        order, what a replacement is made of before the replacement itself.
        """
        new: dict[Value, Value] = {}
        body: dict[Value, None] = {}
        given = {*(before for before, _ in self.carries), *self.stacked, *self.constant}

        def put(value: Value) -> None:
            if value in body or value in given:
                return
            for arg in value.inputs:
                put(arg)
            body[value] = None
            if placed is not None:
                placed(value)

        for value in self.body:
            args = tuple([new.get(a, a) if type(a) is Value else a for a in value.args])
            made = rule(value if args == value.args else value.graph.again(value, args))
            put(made)
            if made is not value:
                new[value] = made
                made.label = made.label or value.label
        carries = [(before, new.get(after, after)) for before, after in self.carries]
        exports = [new.get(value, value) for value in self.exports]
        alive = ancestors([*(after for _, after in carries), *exports])
        kept = [value for value in body if value in alive]
        return Loop(carries, self.stacked, self.constant, kept, exports).checked()

    def __str__(self) -> str:
        ends = [(f"carry {before.index}", after) for before, after in self.carries]
        ends += [("export", v) for v in self.exports]
        return listing(self.body, ends)


class Cut(NamedTuple):
    """The parts of a step, all of one graph.

    Attributes:
        whole: the step as a loop from which nothing has been taken: what is differentiated.
        before: values to be computed before the loop, and
        after: behind it.
        loop: what stays.
        fixed: values that are the same in every step.
        kinds: what the inputs of the step but its carry were, in their order there.
    """

    whole: Loop
    before: list[Value]
    after: list[Value]
    loop: Loop
    fixed: set[Value]
    kinds: list[str]


def cut(step: Step, sinks: Sinks, sinks_outputs: bool) -> Cut:
    """Cut a step; `sinks(value)` says what is cheap enough to stay in the loop."""
    whole = _whole(step)
    values = [*(b for b, _ in whole.carries), *whole.stacked, *whole.constant, *whole.body]
    found = classes(values)
    core = _core(whole, values, found, sinks, sinks_outputs)
    read = {a for v in values if v in core for a in v.inputs if a not in core}
    outside = [v for v in whole.body if v not in core]
    wanted = {a for v in outside for a in v.inputs} | set(whole.exports)
    begins = {b for b, _ in whole.carries}
    loop = Loop(
        whole.carries,
        [v for v in values if v in read and found[v] == TIME],
        [v for v in values if v in read and found[v] == 0],
        [v for v in whole.body if v in core],
        [v for v in values if v in wanted and (v in core or v in begins)],
    ).checked()
    return Cut(
        whole,
        [v for v in outside if not found[v] & CARRY],
        [v for v in outside if found[v] & CARRY],
        loop,
        {v for v in values if found[v] == 0},
        [v.kind for v in step.inputs if v.kind != "carry"],
    )


def _core(
    whole: Loop, values: list[Value], found: dict[Value, int], sinks: Sinks, sinks_outputs: bool
) -> set[Value]:
    ends = [after for _, after in whole.carries]
    behind = ancestors(ends)
    core = {v for v in whole.body if (found[v] & CARRY and v in behind) or v in ends}
    if sinks_outputs:
        for value in whole.body:
            inside = all(a in core or a.op is None or not found[a] & CARRY for a in value.inputs)
            if found[value] & CARRY and inside and sinks(value):
                core.add(value)
    users: dict[Value, list[Value]] = {}
    for value in values:
        for arg in value.inputs:
            users.setdefault(arg, []).append(value)
    for value in reversed(whole.body):
        if found[value] != TIME or value in whole.exports or value in core:
            continue
        if value in users and sinks(value) and all(u in core for u in users[value]):
            core.add(value)
    return core


def _whole(step: Step) -> Loop:
    """The step in a graph of its own, in which every carry has a value that is its alone."""
    graph = Graph()
    kinds = {"carry": "carry", "captured": "constant"}
    new = {
        v: graph.input(kinds.get(v.kind.split()[0], "stacked"), v.shape, v.dtype)
        for v in step.inputs
    }
    for value in step.values:
        if value.op is not None:
            args = tuple(new[a] if type(a) is Value else a for a in value.args)
            new[value] = graph.again(value, args)
    for value, made in new.items():
        made.label = made.label or value.label
    found, carries = classes(graph.values), []
    for value in (new[v] for v in step.carries):
        own = value.op is not None and found[value] & CARRY and value not in carries
        carries.append(value if own else graph.copied(value))
    inputs = {k: [v for v in graph.values if v.kind == k] for k in ("carry", "stacked", "constant")}
    return Loop(
        list(zip(inputs["carry"], carries, strict=True)), inputs["stacked"], inputs["constant"],
        [v for v in graph.values if v.op is not None], [new[v] for v in step.outputs],
    ).checked()  # fmt: skip
