"""A traced step as a program with named ends, and the way in which passes rewrite it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from .program import Graph, Value, ancestors, check, listing

__all__ = ["CARRY", "Step", "TIME", "classes", "rewrite"]

CARRY, TIME = 1, 2  # what a value depends on
Rewriter = Callable[[Graph, Value, tuple[Any, ...]], Value]


class Step(NamedTuple):
    """The program of one step: inputs in order of creation, the next carry, the outputs."""

    inputs: list[Value]
    carries: list[Value]
    outputs: list[Value]

    @property
    def before(self) -> list[Value]:
        """The carry at the beginning of the step."""
        return [v for v in self.inputs if v.kind == "carry"]

    @property
    def values(self) -> list[Value]:
        """Everything alive, in order."""
        alive = ancestors([*self.carries, *self.outputs])
        return sorted({*alive, *self.inputs}, key=lambda v: v.index)

    def __str__(self) -> str:
        ends = [(f"carry[{i}]", v) for i, v in enumerate(self.carries)]
        ends += [(f"output[{i}]", v) for i, v in enumerate(self.outputs)]
        return listing(self.values, ends)


def classes(values: list[Value]) -> dict[Value, int]:
    """For each value the bits CARRY and TIME; 0 means the same in every step."""
    found: dict[Value, int] = {}
    for value in values:
        if value.op is None:
            kind = value.kind.split()[0]
            found[value] = {"carry": CARRY, "x": TIME, "random": TIME, "stacked": TIME}.get(kind, 0)
        else:
            bits = 0
            for arg in value.inputs:
                bits |= found[arg]
            found[value] = bits
    return found


def rewrite(step: Step, rule: Rewriter) -> Step:
    """The step with each live operation replaced by what `rule(graph, value, new args)` makes."""
    graph = Graph()
    new: dict[Value, Value] = {v: graph.input(v.kind, v.shape, v.dtype) for v in step.inputs}
    for value, inner in new.items():
        inner.label = value.label
    for value in step.values:
        if value.op is not None:
            args = tuple(new[a] if type(a) is Value else a for a in value.args)
            new[value] = rule(graph, value, args)
            new[value].label = new[value].label or value.label
    made = Step(
        [new[v] for v in step.inputs],
        [new[v] for v in step.carries],
        [new[v] for v in step.outputs],
    )
    check(made.values, [*made.carries, *made.outputs])
    return made
