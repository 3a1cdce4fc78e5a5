"""Hoisting: the step is cut into what stays in the loop and what need not.

    before  depends on captured tensors or on time alone: runs once, on all steps together
    core    what the next carry is made of: the loop
    after   depends on the carry, but no carry depends on it: runs once, on the stacked steps

Cheap operations may be sunk back into the core, where a fused kernel does them for nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from ..graph import primitives
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

    def __str__(self) -> str:
        ends = [(f"carry {before.index}", after) for before, after in self.carries]
        ends += [("export", v) for v in self.exports]
        return listing(self.body, ends)


@dataclass(frozen=True)
class Cut:
    """The parts of a step. Values of `step` and of `loop` are related by the lists of pairs."""

    step: Step
    before: list[Value]
    after: list[Value]
    loop: Loop
    stacked: list[Value]  # of the step, for loop.stacked
    constant: list[Value]  # of the step, for loop.constant
    exports: list[Value]  # of the step, for loop.exports


def cut(step: Step, sinks: Sinks, sinks_outputs: bool) -> Cut:
    """Cut a step; `sinks(value)` says what is cheap enough to stay in the loop."""
    values = step.values
    found = classes(values)
    core = _core(step, values, found, sinks, sinks_outputs)
    read = [a for v in values if v in core for a in v.inputs if a not in core]
    read += [v for v in step.carries if v not in core]
    outside = [v for v in values if v.op is not None and v not in core]
    wanted = {a for v in outside for a in v.inputs} | set(step.outputs)
    exports = [v for v in values if v in wanted and (v in core or v.kind == "carry")]
    stacked = [v for v in _unique(read) if found[v] == TIME]
    constant = [v for v in _unique(read) if found[v] == 0]
    loop = _loop(step, [v for v in values if v in core], stacked, constant, exports)
    return Cut(
        step,
        [v for v in outside if not found[v] & CARRY],
        [v for v in outside if found[v] & CARRY],
        loop, stacked, constant, exports,
    )  # fmt: skip


def _unique(values: list[Value]) -> list[Value]:
    return sorted(set(values), key=lambda v: v.index)


def _core(
    step: Step, values: list[Value], found: dict[Value, int], sinks: Sinks, sinks_outputs: bool
) -> set[Value]:
    behind = ancestors(step.carries)
    core = {v for v in values if v.op is not None and found[v] & CARRY and v in behind}
    if sinks_outputs:
        for value in values:
            inside = all(a in core or a.op is None or not found[a] & CARRY for a in value.inputs)
            if value.op is not None and found[value] & CARRY and inside and sinks(value):
                core.add(value)
    users: dict[Value, list[Value]] = {}
    for value in values:
        for arg in value.inputs:
            users.setdefault(arg, []).append(value)
    for value in reversed(values):
        if value.op is None or found[value] != TIME or value in step.outputs:
            continue
        if value in users and sinks(value) and all(u in core for u in users[value]):
            core.add(value)
    return core


def _loop(
    step: Step, core: list[Value], stacked: list[Value], constant: list[Value], exports: list[Value]
) -> Loop:
    """The core in a graph of its own, in which every carry has a value that is its alone."""
    graph = Graph()
    inputs = [*step.before, *stacked, *constant]
    kinds = ["carry"] * len(step.before) + ["stacked"] * len(stacked) + ["constant"] * len(constant)
    new = {v: graph.input(k, v.shape, v.dtype) for v, k in zip(inputs, kinds, strict=True)}
    for value in core:
        args = tuple(new[a] if type(a) is Value else a for a in value.args)
        new[value] = graph.again(value, args)
    for value, made in new.items():
        made.label = made.label or value.label
    carries = [_own(graph, new[v]) for v in step.carries]
    for i, value in enumerate(carries):
        if value in carries[:i]:
            carries[i] = graph.copied(value)
    before = [new[v] for v in step.before]
    return Loop(
        list(zip(before, carries, strict=True)),
        [new[v] for v in stacked], [new[v] for v in constant],
        [v for v in graph.values if v.op is not None], [new[v] for v in exports],
    ).checked()  # fmt: skip


def _own(graph: Graph, value: Value) -> Value:
    return graph.record(primitives["clone"], (value,), {}) if value.op is None else value
