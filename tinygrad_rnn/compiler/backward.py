"""The backward program of a loop: its core differentiated by the ordinary rules, and cut again.

The rules of the primitives run on traced values, so the derivative is one more program in the same
graph. There is no derivative code here. What a step back computes is cut like a step forward:

    before  what does not depend on the cotangent of the carry and is heavy (and Wᵀ, once per call)
    loop    what the cotangent of the previous carry is made of
    after   cotangents of inputs, from stacked steps; those of constants are sums over the steps,
            and a sum of products aₜᵀ·bₜ is one product
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from ..autodiff import pull
from ..graph import Node
from ..tensor import Tensor, leaf_node
from .cut import Loop, Sinks
from .factors import factored
from .program import Value, ancestors

__all__ = ["Backward", "Derivative", "active_inputs", "derivative", "differentiate"]

CHEAP_AGAIN = frozenset(
    ("add", "sub", "mul", "neg", "slice", "permute", "reshape", "expand", "cast")
)
SMALL = 8  # times smaller is small


class Backward(NamedTuple):
    """A backward pass: the loop, what is needed for it, and where the cotangents are found.

    Attributes:
        saved: values of the forward loop that are read.
        arriving: for each export of the forward loop its cotangent in a step, None if none comes.
        before: values that are computed before the loop, from constants and stacked inputs.
        carried: for each carry of the forward loop the number of its cotangent in `loop.carries`.
        of_stacked, of_constant: the cotangents in one step, None where there is none.
    """

    saved: list[Value]
    arriving: list[Value | None]
    before: list[Value]
    loop: Loop
    carried: list[int | None]
    of_stacked: list[Value | None]
    of_constant: list[Value | None]


def active_inputs(loop: Loop, wanted: Sequence[bool]) -> dict[Value, Node]:
    """Nodes for everything in a loop that depends on an input of which a gradient is wanted.

    `wanted` has a flag for each carry, stacked and constant input. A carry is also active if the
    value it takes at the end of a step is.
    """
    before = [b for b, _ in loop.carries]
    inputs = [*before, *loop.stacked, *loop.constant]
    active = {v for v, w in zip(inputs, wanted, strict=True) if w and v.dtype.kind == "f"}
    while True:
        nodes = _nodes(loop, active)
        more = {b for b, a in loop.carries if a in nodes and b not in active}
        if not more:
            return nodes
        active |= more


def _nodes(loop: Loop, active: set[Value]) -> dict[Value, Node]:
    nodes = {v: leaf_node(v.shape) for v in sorted(active, key=lambda v: v.index)}
    for value in loop.body:
        op = value.op
        assert op is not None
        parents = [nodes.get(a) if type(a) is Value else None for a in value.args]
        needed = [p is not None and op.rule(i) is not None for i, p in enumerate(parents)]
        if any(needed) and value.dtype.kind == "f":
            kept = tuple(p if n else None for p, n in zip(parents, needed, strict=True))
            saved = op.saver(needed, value, value.args)
            nodes[value] = Node(op, kept, saved, value.params, value.shape)
    return nodes


def differentiate(
    loop: Loop,
    wanted: Sequence[bool],
    arriving: Sequence[bool],
    sinks: Sinks,
    keeps: Sinks,
    fixed: set[Value],
    kept: Sequence[Value] | None = None,
    factors: bool = False,
) -> Backward:
    """The backward pass for these inputs, given which exports have a cotangent.

    `fixed` are the values that are the same in every step, `kept` those that the forward pass has
    kept, if it has run already; `factors` asks for products as in `factored`.
    """
    rules = derivative(loop, wanted, arriving)
    rules = rules.factored() if factors else rules
    saved = _saved(loop, rules.ends, kept, factors)
    return _cut(loop, rules, sinks, keeps, fixed, saved)


def derivative(loop: Loop, wanted: Sequence[bool], arriving: Sequence[bool]) -> Derivative:
    """What the rules give for these inputs, given which exports have a cotangent."""
    nodes = active_inputs(loop, wanted)
    graph = loop.carries[0][0].graph
    cotangents = [
        graph.input(f"cotangent of %{a.index}", a.shape, a.dtype) if b in nodes else None
        for b, a in loop.carries
    ]
    outside = [
        graph.input(f"cotangent of %{v.index}", v.shape, v.dtype) if here and v in nodes else None
        for v, here in zip(loop.exports, arriving, strict=True)
    ]
    ends = [*zip([a for _, a in loop.carries], cotangents, strict=True)]
    ends += [*zip(loop.exports, outside, strict=True)]
    roots = [(nodes[v], Tensor(g)) for v, g in ends if g is not None and v in nodes]
    before = [b for b, _ in loop.carries]
    found = pull(roots, set(nodes.values()), True, True)

    def result(value: Value) -> Value | None:
        tensor = found.get(nodes[value]) if value in nodes else None
        return None if tensor is None else tensor.array

    return Derivative(
        cotangents, outside, [result(b) for b in before], [result(v) for v in loop.stacked],
        [result(v) for v in loop.constant],
        {v: found[node].array for v, node in nodes.items() if node in found},
    )  # fmt: skip


@dataclass
class Derivative:
    """What the rules give; the first two are given to them, of the others see `Backward`.

    Attributes:
        cotangents: of each carry at the end of the step.
        outside: of each export.
        back: the cotangent of each carry at the beginning.
        deltas: for each forward value its cotangent.
    """

    cotangents: list[Value | None]
    outside: list[Value | None]
    back: list[Value | None]
    of_stacked: list[Value | None]
    of_constant: list[Value | None]
    deltas: dict[Value, Value]

    @property
    def ends(self) -> list[Value]:
        """What is wanted."""
        return [v for v in (*self.back, *self.of_stacked, *self.of_constant) if v is not None]

    def factored(self) -> Derivative:
        """With products as in `factored`."""
        new: dict[Any, Any] = factored(self.ends, [g for g in self.cotangents if g is not None])
        back, of_stacked, of_constant = (
            [new.get(v, v) for v in values]
            for values in (self.back, self.of_stacked, self.of_constant)
        )
        ends = back, of_stacked, of_constant
        return Derivative(self.cotangents, self.outside, *ends, self.deltas)


def _cut(
    loop: Loop, rules: Derivative, sinks: Sinks, keeps: Sinks, fixed: set[Value], saved: list[Value]
) -> Backward:
    back, ends = rules.back, rules.ends
    constant, recurrent = _classes(loop, rules.cotangents, saved, ends, fixed)
    given = {*saved, *loop.stacked, *(v for v in rules.outside if v is not None)}
    body = _body(rules, given, constant, recurrent, sinks, keeps)
    read = {a for v in body for a in v.inputs if a not in body}
    read |= {v for v in back if v is not None and v not in body}
    alive = ancestors(ends, lambda v: v in given)
    used = {a for v in alive if v not in body and v not in given for a in v.inputs}
    used |= {v for v in (*rules.of_stacked, *rules.of_constant) if v is not None}
    cots = [g for g in rules.cotangents if g is not None]
    stacked = _in_order(v for v in read if v not in constant and v not in cots)
    carries, carried = _carries(rules.cotangents, back, body)
    inner = Loop(
        carries, stacked, _in_order(v for v in read if v in constant),
        _in_order(body), _in_order(v for v in used if v in body or v in cots),
    ).checked()  # fmt: skip
    needs = ancestors([*inner.constant, *inner.stacked], lambda v: v in given)
    known = _in_order(v for v in needs if v.op is not None and v not in given)
    return Backward(
        saved, rules.outside, known, inner, carried, rules.of_stacked, rules.of_constant
    )


def _body(
    rules: Derivative, given: set[Value], constant: set[Value], recurrent: set[Value],
    sinks: Sinks, keeps: Sinks,
) -> set[Value]:  # fmt: skip
    """What is in the loop: what the next carry is made of, and what is as quick there."""
    behind = ancestors([v for v in rules.back if v is not None], lambda v: v in given)
    body = {v for v in behind if v in recurrent and v.op is not None}

    def product(value: Value) -> bool:
        """Whether it is one with what is the same in every step, and as quick in the loop."""
        return keeps(value) and value.args[1] in constant

    for value in sorted(recurrent, key=lambda v: v.index):
        inside = all(a in body or a.op is None or a not in recurrent for a in value.inputs)
        summed = any(_sums_rows(a) and a not in behind for a in value.inputs)
        cheap = value.op is not None and (sinks(value) or product(value))
        if cheap and inside and not summed:
            body.add(value)
    alive = ancestors(rules.ends, lambda v: v in given)
    _sink_known(body, alive, given, constant, sinks, product)
    return body


def _sums_rows(value: Value) -> bool:
    """A sum over a batch, with which the rest is better done after the sum over time."""
    return value.name == "sum" and 0 in value.params["dims"]


def _in_order(values: object) -> list[Value]:
    return sorted(values, key=lambda v: v.index)  # type: ignore[call-overload, no-any-return]


def _saved(
    loop: Loop, ends: list[Value], kept: Sequence[Value] | None, carried_too: bool
) -> list[Value]:
    """What the forward pass keeps: the values backward names, less what others rebuild cheaply.

    Others may be kept instead: small ones, and one that is written to memory in any case, as
    products and carries are. Of the rows of a product less their means these are the means.
    `carried_too` keeps next carries as well of which all steps are there, rather than rebuild them.
    """
    if kept is not None:
        there = set(kept)
        return _in_order(ancestors(ends, lambda v: v in there) & there)
    forward = {*(b for b, _ in loop.carries), *loop.body}
    wanted = _in_order(ancestors(ends, lambda v: v in forward) & forward)
    there, carried = {*loop.stacked, *loop.constant, *wanted}, {a for _, a in loop.carries}
    found: set[Value] = set()
    if carried_too:
        found = {a for b, a in loop.carries if {a, b} <= set(wanted) and a in loop.exports}
    for value in wanted:
        missing = [a for a in dict.fromkeys(value.inputs) if a not in there]
        large = [a for a in missing if a.size * SMALL > value.size]
        again = value.op is not None and value.name in CHEAP_AGAIN
        written = all(a.size <= value.size and (a.name == "matmul" or a in carried) for a in large)
        if again and written and len(large) < 2:
            found.update(missing)
        else:
            found.add(value)
    return _in_order(found)


def _classes(
    loop: Loop, cotangents: list[Value | None], saved: list[Value], ends: list[Value],
    fixed: set[Value],
) -> tuple[set[Value], set[Value]]:  # fmt: skip
    """The values that are the same in every step, and those that wait for a carried cotangent."""
    stop = {*saved, *loop.stacked}
    alive = _in_order(ancestors(ends, lambda v: v in stop))
    constant, recurrent = set(fixed), {g for g in cotangents if g is not None}
    for value in alive:
        if value.op is None or value in stop:
            continue
        if any(a in recurrent for a in value.inputs):
            recurrent.add(value)
        elif all(a in constant for a in value.inputs):
            constant.add(value)
    return constant, recurrent


def _sink_known(
    body: set[Value], alive: set[Value], given: set[Value], constant: set[Value], sinks: Sinks,
    product: Sinks,
) -> None:  # fmt: skip
    """Cheap operations on what is known go into the loop, products if nobody else reads them."""
    users: dict[Value, list[Value]] = {}
    for value in alive:
        if value not in given:
            for arg in value.inputs:
                users.setdefault(arg, []).append(value)
    for value in reversed(_in_order(alive)):
        if value.op is None or value in given or value in constant or value in body:
            continue
        inside = [u in body for u in users.get(value, ())]
        if (any(inside) and sinks(value)) or (inside and all(inside) and product(value)):
            body.add(value)


def _carries(
    cotangents: list[Value | None], back: list[Value | None], body: set[Value]
) -> tuple[list[tuple[Value, Value]], list[int | None]]:
    """Cotangents of the carry as carries of the backward loop; each end is a value of its own."""
    from_cut = _Ends(body)
    pairs: list[tuple[Value, Value]] = []
    numbers: list[int | None] = []
    for g, end in zip(cotangents, back, strict=True):
        if g is None:
            numbers.append(None)
            continue
        numbers.append(len(pairs))
        pairs.append((g, from_cut.own(g, end)))
    return pairs, numbers


class _Ends:
    """Gives each carry an end that no other has, adding copies and zeros to the body."""

    def __init__(self, body: set[Value]) -> None:
        self.body = body
        self.taken: set[Value] = set()

    def own(self, g: Value, end: Value | None) -> Value:
        """`end`, or a copy of it, or zeros like `g` if there is none."""
        if end is None or end not in self.body or end in self.taken:
            end = self._made(g, end)
        self.taken.add(end)
        return end

    def _made(self, g: Value, end: Value | None) -> Value:
        if end is None:
            zeros: Value = g.graph.zeros_like(g)
            self.body |= ancestors([zeros], lambda v: v is g) - {g}
            return zeros
        made: Value = g.graph.copied(end)
        self.body.add(made)
        return made
