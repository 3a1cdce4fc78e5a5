"""Passes over a traced step: Step -> Step, each doing one thing, each of which can be left out.

clean   drop what nothing needs, and operations that do nothing
split   cat([a, b]) @ W  becomes  a @ W[:n] + b @ W[n:], so that a part without carry can leave
join    x @ U, x @ V, …  become one product x @ cat([U, V, …]) and slices of it
lookup  table[i] @ W  becomes  (table @ W)[i], for a table that is not large (`lookups`)
gather  x @ U + (h @ V + b)  becomes  (b + x @ U) + h @ V, so that all but one sum can leave

The last is not in `PASSES`: a kernel adds for nothing, and there more would have to be stored.
"""

from __future__ import annotations

from functools import reduce
from itertools import pairwise
from typing import Any

from ..graph import primitives
from .lookups import lookup
from .program import Graph, Value, recorded
from .step import CARRY, TIME, Step, classes, rewrite

__all__ = ["PASSES", "clean", "gather", "join", "split"]


def clean(step: Step) -> Step:
    """Without dead code and without operations that change nothing."""
    return rewrite(step, simplified)


def simplified(graph: Graph, value: Value, args: tuple[Any, ...]) -> Value:
    """The value of an operation, or of less if it does nothing."""
    first: Value = args[0]
    in_order = list(value.params.get("dims", ())) == list(range(len(value.shape)))
    if value.name in ("clone", "alias") or (value.name == "permute" and in_order):
        return first
    if value.name in ("reshape", "expand") and first.shape == value.shape:
        return first
    if value.name == "slice":
        part = _part_of_assembled(first, value)
        if part is not None:
            return part
    return graph.again(value, args)


def _part_of_assembled(whole: Value, value: Value) -> Value | None:
    """x[key] of an array that was put together with exactly that key."""
    if whole.name != "assemble" or value.params["key"] not in whole.params["keys"]:
        return None
    keys = list(whole.params["keys"])
    spans = [k[-1] if type(k) is tuple else k for k in keys]
    if not all(type(s) is slice and s.step in (None, 1) for s in spans):
        return None
    starts = sorted((s.start or 0, s.stop) for s in spans)
    if any(stop is None or stop > start for (_, stop), (start, _) in pairwise(starts)):
        return None
    part: Value = whole.args[keys.index(value.params["key"])]
    return part if part.shape == value.shape else None


# ------------------------------------------------------------------------------ cat([a, b]) @ W
def split(step: Step) -> Step:
    """Products over concatenations split where the parts differ in what they depend on."""
    found = classes(step.values)

    def rule(graph: Graph, value: Value, args: tuple[Any, ...]) -> Value:
        if value.name == "matmul" and _is_mixed(value.args[0], value.args[1], found):
            return _split_product(graph, value.op, *args)
        return graph.again(value, args)

    return rewrite(step, rule)


def _is_mixed(left: Value, right: Value, found: dict[Value, int]) -> bool:
    if left.name != "cat" or len(right.shape) != 2 or left.params["dim"] != len(left.shape) - 1:
        return False
    return len({found[part] & CARRY for part in left.inputs}) > 1 and not found[right]


def _split_product(graph: Graph, product: Any, left: Value, right: Value) -> Value:
    total, start = None, 0
    for part in left.inputs:
        stop = start + part.shape[-1]
        rows = graph.record(primitives["slice"], (right,), {"key": (slice(start, stop),)})
        term = graph.record(product, (part, rows), {})
        total = term if total is None else graph.record(primitives["add"], (total, term), {})
        start = stop
    assert total is not None
    return total


# ---------------------------------------------------------------------------- x @ U and x @ V
def join(step: Step) -> Step:
    """Products of one left operand with several constant matrices made one product."""
    groups = _groups(step)
    member = {value: group for group in groups for value in group}
    joined: dict[int, Value] = {}
    constants: dict[Value, Value] = {}

    def rule(graph: Graph, value: Value, args: tuple[Any, ...]) -> Value:
        group = member.get(value)
        if group is None:
            constants[value] = graph.again(value, args)
            return constants[value]
        if id(group) not in joined:
            weights = tuple(again(graph, v.args[1]) for v in group)
            sizes = tuple(w.shape[1] for w in weights)
            whole = graph.record(primitives["cat"], weights, {"dim": 1, "sizes": sizes})
            joined[id(group)] = graph.record(primitives["matmul"], (args[0], whole), {})
        start = sum(v.shape[1] for v in group[: group.index(value)])
        key = (slice(None), slice(start, start + value.shape[1]))
        return graph.record(primitives["slice"], (joined[id(group)],), {"key": key})

    def again(graph: Graph, value: Value) -> Value:
        """A constant, perhaps earlier than the order of the step would have it."""
        if value.op is None:
            return graph.values[step.inputs.index(value)]
        if value not in constants:
            args = tuple(again(graph, a) if type(a) is Value else a for a in value.args)
            constants[value] = graph.again(value, args)
        return constants[value]

    return rewrite(step, rule)


def _groups(step: Step) -> list[list[Value]]:
    found = classes(step.values)
    by_left: dict[Value, list[Value]] = {}
    for value in step.values:
        plain = value.name == "matmul" and all(len(a.shape) == 2 for a in value.inputs)
        if plain and not found[value.args[1]] and found[value.args[0]]:
            by_left.setdefault(value.args[0], []).append(value)
    return [group for group in by_left.values() if len(group) > 1]


# --------------------------------------------------------------------- x @ U + (h @ V + b)
def gather(step: Step) -> Step:
    """In a sum, what does not wait for the carry first; of that, what is the same in every step."""
    found, inner = classes(step.values), _inner_sums(step)

    def terms(value: Value, args: tuple[Any, ...]) -> list[tuple[int, Value]]:
        """What a sum of sums adds up, with what it depends on."""
        parts: list[tuple[int, Value]] = []
        for old, new in zip(value.args, args, strict=True):
            parts += terms(old, new.args) if old in inner else [(found[old], new)]
        return parts

    def rule(graph: Graph, value: Value, args: tuple[Any, ...]) -> Value:
        if not _is_sum(value) or value in inner:
            return graph.again(value, args)
        parts = terms(value, args)
        known = [[v for kind, v in parts if kind == wanted] for wanted in (0, TIME)]
        waiting = [v for kind, v in parts if kind & CARRY]
        if not waiting or len(known[0] + known[1]) < 2:
            return graph.again(value, args)
        before = reduce(_added, known[0] + known[1])
        return _added(before, reduce(_added, waiting))

    return rewrite(step, rule)


def _is_sum(value: Value) -> bool:
    same = all(type(a) is Value and a.dtype == value.dtype for a in value.args)
    return value.name == "add" and same and value.dtype.kind == "f"


def _inner_sums(step: Step) -> set[Value]:
    """Sums that nothing needs but one other sum, of the same shape."""
    users: dict[Value, list[Value | None]] = {}
    for end in (*step.carries, *step.outputs):
        users.setdefault(end, []).append(None)
    for value in step.values:
        for arg in value.inputs:
            users.setdefault(arg, []).append(value)
    found = set()
    for value in filter(_is_sum, step.values):
        user = users[value][0] if len(users[value]) == 1 else None
        if user is not None and _is_sum(user) and user.shape == value.shape:
            found.add(value)
    return found


def _added(a: Value, b: Value) -> Value:
    return recorded("add", a, b)


PASSES = {"clean": clean, "split": split, "join": join, "lookup": lookup}
