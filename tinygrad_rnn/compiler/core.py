"""A compiled step, run: one node of the graph with several outputs.

Forward is what comes before the loop, the loop, and what comes after it, all on raw arrays, and
backward likewise. The parents of the node are the initial carries, the inputs and the captured
tensors. A derivative that is itself to be differentiated replays the whole step on the graph.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from threading import RLock
from typing import Any

import numpy as np

from ..autodiff import gradients
from ..backend import quiet
from ..checkpointing import outputs_of
from ..errors import InPlaceError
from ..graph import Node, Primitive, enable_grad, primitives, touched_since
from ..ops.call import bind
from ..ops.shape import cat, stack
from ..tensor import Tensor
from .backward import Backward, active_inputs, differentiate
from .cut import Cut, Loop, Sinks
from .outside import backward_pass, forward_pass, step_on_rows
from .packing import Ragged, Rectangle, pack, sort_rows, unpack
from .program import Value, ancestors
from .step import Step

__all__ = ["Call", "Core", "Engine", "run_core"]

Flags = tuple[bool, ...]


def _never(value: Value) -> bool:
    return False


@dataclass(frozen=True)
class Engine:
    """How loops are run, and what is cheap enough to be left in them."""

    name: str
    compile: Callable[[Loop, bool], Any]
    sinks: Sinks
    sinks_outputs: bool
    keeps: Sinks = _never  # products that could leave the loop, and are as quick in it
    packed: Callable[[Loop, bool], Any] | None = None  # for rows of unequal length, without masks
    change: Callable[[Step], Step] | None = None  # done to a step before anything else
    factors: bool = False  # whether each operation that leaves the loop is a call less in it

    def stays(self, value: Value) -> bool:
        """Whether a value may stay in the loop for what reads it there."""
        return self.sinks(value) or self.keeps(value)


@dataclass(frozen=True)
class Pass:
    """One direction: the loop, and what runs it with all that is before and after it."""

    runner: Any
    run: Callable[..., Any]  # see `outside`


@dataclass
class Way:
    """The compiled passes for one choice of inputs that need gradients."""

    forward: Pass
    saved: list[Value]  # for backward, inputs among them
    live: list[bool]  # which of the outputs (final carries, exports of the step) have a gradient
    full: Backward | None = None
    loops: dict[Flags, tuple[Backward, Any]] = field(default_factory=dict)  # backward
    backward: dict[tuple[Flags, Flags | None], Pass] = field(default_factory=dict)


class Core:
    """The compiled core of one structure; what is needed of it is compiled when first asked for."""

    def __init__(self, cut: Cut, engine: Engine) -> None:
        self.cut, self.engine = cut, engine
        self.ways: dict[Flags, Way] = {}
        self.lock = RLock()

    def way(self, wanted: Flags) -> Way:
        """The passes for these flags, one for each carry, stacked and constant input."""
        with self.lock:
            if wanted not in self.ways:
                self.ways[wanted] = self._compiled(wanted)
            return self.ways[wanted]

    def _compiled(self, wanted: Flags) -> Way:
        whole, loop = self.cut.whole, self.cut.loop
        full, saved = None, []
        exports = list(loop.exports)
        live = [False] * (len(whole.carries) + len(whole.exports))
        if any(wanted):
            full = self.derivative(wanted, (True,) * len(whole.exports), None)
            saved = _named(whole, full)
            inside = {*(b for b, _ in loop.carries), *loop.body}
            exports += [v for v in full.saved if v in inside and v not in loop.exports]
            nodes = active_inputs(whole, wanted)
            live = [v in nodes for v in (*(a for _, a in whole.carries), *whole.exports)]
        inner = Loop(loop.carries, loop.stacked, loop.constant, loop.body, exports)
        runner = self.engine.compile(inner, True)
        forward = Pass(runner, forward_pass(self.cut, inner, runner, saved))
        return Way(forward, saved, live, full)

    def derivative(self, wanted: Flags, arriving: Flags, kept: list[Value] | None) -> Backward:
        """The backward pass."""
        parts, engine = self.cut, self.engine
        return differentiate(
            parts.whole, wanted, arriving, engine.sinks, engine.keeps, parts.fixed, kept,
            engine.factors,
        )  # fmt: skip

    def backward(self, wanted: Flags, arriving: Flags, columns: Flags | None = None) -> Pass:
        """The backward pass for these flags.

        Args:
            arriving: for each export whether it has a cotangent.
            columns: for each constant whether it is kept by columns, and its gradient too.
        """
        way, key = self.way(wanted), (arriving, columns)
        with self.lock:
            if key not in way.backward:
                found, runner = self._loop_back(way, wanted, arriving)
                run = backward_pass(self.cut, found, runner, way.saved, wanted, columns)
                way.backward[key] = Pass(runner, run)
            return way.backward[key]

    def _loop_back(self, way: Way, wanted: Flags, arriving: Flags) -> tuple[Backward, Any]:
        if arriving not in way.loops:
            found = way.full
            assert found is not None
            if not all(arriving):
                found = self.derivative(wanted, arriving, found.saved)
            way.loops[arriving] = (found, self.engine.compile(found.loop, False))
        return way.loops[arriving]


def _named(loop: Loop, full: Backward) -> list[Value]:
    ends = [*full.of_stacked, *full.of_constant, *(after for _, after in full.loop.carries)]
    there = set(full.saved)
    read = ancestors([v for v in ends if v is not None], lambda v: v in there)
    return [*full.saved, *(v for v in (*loop.stacked, *loop.constant) if v in read)]


@dataclass
class Call:
    """One call of a core.

    Attributes:
        wanted: for each input whether it needs a gradient.
        breaks: forward steps, in their order, before which the carry is detached.
        inputs: the initial carries, the stacked inputs, the captured tensors.
        rows: how rows are packed, if they are, and `length` is then their number; or that there
            is padding behind the last of `length` steps. Inputs and outputs have it all the same.
    """

    core: Core
    wanted: Flags
    length: int
    reverse: bool
    breaks: list[int]
    inputs: list[Tensor]
    rows: Ragged | Rectangle | None = None

    @property
    def extent(self) -> Any:
        """What a runner is told about the steps."""
        return self.rows if type(self.rows) is Ragged else self.length

    @cached_property
    def outputs(self) -> slice:
        """Which of the results are of all steps: those behind the final carries."""
        return slice(len(self.core.cut.whole.carries), None)

    @cached_property
    def stacked(self) -> slice:
        """Which of the inputs are of all steps."""
        whole = self.core.cut.whole
        return slice(len(whole.carries), len(whole.carries) + len(whole.stacked))

    def change(self, arrays: list[Any], part: slice, how: str) -> None:
        """Have that part "packed", as the loop has it, or "padded", as the outside has it."""
        if self.rows is not None:
            change = getattr(self.rows, how)
            arrays[part] = [None if a is None else change(a) for a in arrays[part]]


# -------------------------------------------------------------------------------- one call
def run_core(call: Call) -> list[Tensor]:
    """The final carries and the outputs of all steps."""
    way = call.core.way(call.wanted)
    arrays = [t.array for t in call.inputs]
    call.change(arrays, call.stacked, "packed")
    with quiet():
        arrays, saved = way.forward.run(arrays, call.length, call.extent, call.reverse)
    call.change(arrays, call.outputs, "padded")
    if not any(call.wanted):
        return [Tensor(array) for array in arrays]
    parents = tuple([t.node if w else None for t, w in zip(call.inputs, call.wanted, strict=True)])
    params = {"call": call, "count": len(arrays)}
    return outputs_of(Node(core_primitive, parents, saved, params, ()), arrays, way.live)


def _pullback(g: Sequence[Any], saved: Sequence[Any], node: Node) -> list[Any]:
    assert node.params is not None
    call: Call = node.params["call"]
    if any(type(c) is Tensor for c in g):
        return _replayed(g, call, node)
    cotangents = list(g)
    call.change(cotangents, call.outputs, "packed")
    arriving = tuple([c is not None for c in g[call.outputs]])
    breaks = [call.length - b for b in reversed(call.breaks)]
    columns = tuple([not t.array.flags.c_contiguous for t in call.inputs[call.stacked.stop :]])
    back = call.core.backward(call.wanted, arriving, columns)
    found: list[Any] = back.run(cotangents, saved, call.length, call.extent, call.reverse, breaks)
    call.change(found, call.stacked, "padded")
    return found


# ------------------------------------------------------------------------- higher derivatives
def _replayed(g: Sequence[Any], call: Call, node: Node) -> list[Any]:
    """The cotangents, from the core run step by step on the graph, so that they can be derived."""
    for tensor in call.inputs:
        if touched_since(tensor.array, node.index):
            raise InPlaceError(
                "backward of scan", "its inputs as they were", "one changed in place since"
            )
    inputs = [
        _attached(t, p) if w else t.detach()
        for t, p, w in zip(call.inputs, node.parents, call.wanted, strict=True)
    ]
    with enable_grad():
        packed = type(call.rows) is Ragged
        outputs = (_on_packed_rows if packed else _on_the_graph)(call, inputs)
    pairs = [(y, c) for y, c in zip(outputs, g, strict=True) if c is not None and y.requires_grad]
    targets = [t for t, w in zip(inputs, call.wanted, strict=True) if w]
    found = (
        iter(
            gradients(
                [y for y, _ in pairs],
                targets,
                [c for _, c in pairs],
                create_graph=True,
                allow_unused=True,
            )
        )
        if pairs
        else iter([None] * len(targets))
    )
    return [next(found) if w else None for w in call.wanted]


def _attached(tensor: Tensor, parent: Node | None) -> Tensor:
    """The values as a new point of the graph below `parent`."""
    return Tensor(tensor.array, Node(primitives["alias"], (parent,), (), {}, tensor.shape))


def _on_the_graph(call: Call, inputs: list[Tensor]) -> list[Tensor]:
    loop = call.core.cut.whole
    carries, rest = inputs[: len(loop.carries)], inputs[len(loop.carries) :]
    stacked, constants = rest[: len(loop.stacked)], rest[len(loop.stacked) :]
    rows: dict[int, list[Tensor]] = {}
    order = list(range(call.length))[:: -1 if call.reverse else 1]
    for i, t in enumerate(order):
        if i in call.breaks:
            carries = [c.detach() for c in carries]
        known = dict(zip([b for b, _ in loop.carries], carries, strict=True))
        known.update((v, s[t]) for v, s in zip(loop.stacked, stacked, strict=True))
        known.update(zip(loop.constant, constants, strict=True))
        for value in loop.body:
            args = [known[a] if type(a) is Value else a for a in value.args]
            known[value] = bind(value.op, args, value.params)  # type: ignore[arg-type]
        carries = [known[a] for _, a in loop.carries]
        rows[t] = [known[v] for v in loop.exports]
    missing = 0 if call.rows is None else call.rows.steps - call.length
    columns = [[rows[t][i] for t in range(call.length)] for i in range(len(loop.exports))]
    for column in columns:
        column += [Tensor(np.zeros_like(column[0].array))] * missing
    return [*carries, *(stack(column) for column in columns)]


def _on_packed_rows(call: Call, inputs: list[Tensor]) -> list[Tensor]:
    """As `_on_the_graph`, with as many rows in each step as there are."""
    assert type(call.rows) is Ragged
    loop = call.core.cut.whole
    how, split = call.rows, len(loop.carries)
    carries = [sort_rows(t, how).unsqueeze(1) for t in inputs[:split]]
    stacked, constants = [pack(t, how) for t in inputs[call.stacked]], inputs[call.stacked.stop :]
    step = step_on_rows(loop, call.core.cut.fixed)
    ended: list[list[Tensor]] = [[] for _ in carries]
    columns: list[list[Tensor]] = [[] for _ in loop.exports]
    for offset, steps, rows in how.segments:
        for low in range(offset, offset + steps * rows, rows):
            for carry, done in zip(carries, ended, strict=True):
                if len(carry) > rows:
                    done.append(carry[rows:])
            here = [*(c[:rows] for c in carries), *(s[low : low + rows] for s in stacked)]
            carries, outputs = step([*here, *constants], rows)
            for column, output in zip(columns, outputs, strict=True):
                column.append(output)
    whole = [cat([c, *reversed(done)]).squeeze(1) for c, done in zip(carries, ended, strict=True)]
    finals = [sort_rows(t, how, back=True) for t in whole]
    return [*finals, *(unpack(cat(column), how) for column in columns)]


def _unused(*_: Any, **__: Any) -> Any:
    raise AssertionError("a loop is never called as a primitive")


MANY = (-1,) * 10_000  # whatever is saved belongs to the node itself

core_primitive = Primitive(
    "loop", "general", _unused, (), _unused, _unused, MANY, pullback=_pullback
)
