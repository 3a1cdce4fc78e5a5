"""The loop as one node of the graph: several outputs, a compiled pass forward and one backward.

Its parents are the initial carries, the stacked inputs and the constants of the core; everything
else of a step has left the loop and stands on the graph as ordinary operations. A derivative that
is itself to be differentiated replays the core on the graph instead.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from threading import RLock
from typing import Any

import numpy as np

from ..autodiff import gradients
from ..checkpointing import outputs_of
from ..errors import InPlaceError
from ..graph import Node, Primitive, enable_grad, no_grad, primitives, touched_since
from ..ops.shape import cat, stack
from ..tensor import Tensor
from .backward import Backward, active_inputs, differentiate
from .batch import Environment, run_values, spread
from .cut import Cut, Loop, Sinks
from .packing import Ragged, sort_rows
from .program import Value, ancestors
from .step import Step
from .sums import evaluate, total

__all__ = ["Call", "Core", "Engine", "run_core"]


@dataclass(frozen=True)
class Engine:
    """How loops are run, and what is cheap enough to be left in them."""

    name: str
    compile: Callable[[Loop, bool], Any]
    sinks: Sinks
    sinks_outputs: bool
    packed: Callable[[Loop, bool], Any] | None = None  # for rows of unequal length, without masks
    change: Callable[[Step], Step] | None = None  # done to a step before anything else


@dataclass
class Way:
    """The compiled passes for one choice of inputs that need gradients."""

    runner: Any
    kept: list[Value]
    named: list[Value]  # what is saved: `kept`, and the inputs that backward reads
    live: list[bool]  # which of the outputs (final carries, exports) have a gradient
    full: Backward | None = None
    backward: dict[tuple[bool, ...], tuple[Backward, Any]] = field(default_factory=dict)


class Core:
    """The compiled core of one structure; what is needed of it is compiled when first asked for."""

    def __init__(self, cut: Cut, engine: Engine) -> None:
        self.cut, self.engine = cut, engine
        self.ways: dict[tuple[bool, ...], Way] = {}
        self.lock = RLock()

    def way(self, wanted: tuple[bool, ...]) -> Way:
        """The passes for these flags, one for each carry, stacked and constant input."""
        with self.lock:
            if wanted not in self.ways:
                self.ways[wanted] = self._compiled(wanted)
            return self.ways[wanted]

    def _compiled(self, wanted: tuple[bool, ...]) -> Way:
        loop = self.cut.loop
        full, kept, named = None, [], []
        live = [False] * (len(loop.carries) + len(loop.exports))
        if any(wanted):
            everything = [True] * len(loop.exports)
            full = differentiate(loop, wanted, everything, self.engine.sinks)
            kept, named = full.saved, _named(loop, full)
            nodes = active_inputs(loop, wanted)
            live = [v in nodes for v in (*(a for _, a in loop.carries), *loop.exports)]
        exports = [*loop.exports, *(v for v in kept if v not in loop.exports)]
        forward = Loop(loop.carries, loop.stacked, loop.constant, loop.body, exports)
        return Way(self.engine.compile(forward, True), kept, named, live, full)

    def backward(self, wanted: tuple[bool, ...], arriving: tuple[bool, ...]) -> Any:
        """The backward pass for these flags and these exports with a cotangent, and its runner."""
        way = self.way(wanted)
        with self.lock:
            if arriving not in way.backward:
                loop = self.cut.loop
                found = way.full
                if found is None or not all(arriving):
                    sinks = self.engine.sinks
                    found = differentiate(loop, wanted, arriving, sinks, way.kept)
                way.backward[arriving] = (found, self.engine.compile(found.loop, False))
            return way.backward[arriving]


def _named(loop: Loop, full: Backward) -> list[Value]:
    ends = [*full.of_stacked, *full.of_constant, *(after for _, after in full.loop.carries)]
    there = set(full.saved)
    read = ancestors([v for v in ends if v is not None], lambda v: v in there)
    return [*full.saved, *(v for v in (*loop.stacked, *loop.constant) if v in read)]


@dataclass
class Call:
    """One call of a core: what backward has to know beside the saved arrays."""

    core: Core
    wanted: tuple[bool, ...]
    length: int
    reverse: bool
    breaks: list[int]  # forward steps, in their order, before which the carry is detached
    inits: list[Tensor]
    again: Callable[[], tuple[list[Tensor], list[Tensor]]]  # the stacked and constant inputs
    read: list[Any]  # arrays that `again` reads
    rows: Ragged | None = None  # how rows are packed, if they are: then `length` is their number

    @property
    def extent(self) -> Any:
        """What a runner is told about the steps."""
        return self.length if self.rows is None else self.rows


# --------------------------------------------------------------------------------- forward
def run_core(
    core: Core, call: Call, stacked: Sequence[Tensor], constants: Sequence[Tensor]
) -> list[Tensor]:
    """The final carries and the exports of a core."""
    way = core.way(call.wanted)
    loop = core.cut.loop
    inputs = [np.ascontiguousarray(t.array) for t in stacked] + [t.array for t in constants]
    columns = [t.array.flags.f_contiguous and t.ndim == 2 for t in constants]
    split = len(stacked)
    finals, exports = way.runner(
        call.extent, call.reverse, [t.array for t in call.inits], inputs[:split], inputs[split:]
    )
    arrays = [final.copy() for final in finals] + exports[: len(loop.exports)]
    if not any(call.wanted):
        return [Tensor(array) for array in arrays]
    known = dict(zip([*loop.stacked, *loop.constant], inputs, strict=True))
    names = [*loop.exports, *(v for v in way.kept if v not in loop.exports)]
    known.update(zip(names, exports, strict=True))
    parents = tuple(
        t.node if w else None
        for t, w in zip((*call.inits, *stacked, *constants), call.wanted, strict=True)
    )
    saved = tuple(known[v] for v in way.named)
    params = {"call": call, "count": len(arrays), "columns": columns}
    node = Node(core_primitive, parents, saved, params, ())
    return outputs_of(node, arrays, way.live)


# -------------------------------------------------------------------------------- backward
def _pullback(g: Sequence[Any], saved: Sequence[Any], node: Node) -> list[Any]:
    assert node.params is not None
    call: Call = node.params["call"]
    if any(type(c) is Tensor for c in g):
        return _replayed(g, call, node)
    loop = call.core.cut.loop
    count = len(loop.carries)
    arriving = tuple(c is not None for c in g[count:])
    way, runner = call.core.backward(call.wanted, arriving)
    env = Environment(call.length)
    constant = set(loop.constant)
    for value, array in zip(call.core.way(call.wanted).named, saved, strict=True):
        env.put(value, array, value not in constant)
    for value, array in zip(way.arriving, g[count:], strict=True):
        if value is not None:
            env.put(value, np.ascontiguousarray(array), True)
    run_values(way.before, env)
    carried = _run_backward(call, way, runner, env, g[:count])
    return _cotangents(way, call, env, carried, node.params["columns"])


def _run_backward(
    call: Call, way: Backward, runner: Any, env: Environment, g: Sequence[Any]
) -> list[Any]:
    inits = [0.0 if c is None else c for c, n in zip(g, way.carried, strict=True) if n is not None]
    stacked = [_rows(v, env) for v in way.loop.stacked]
    constants = [env.known[v] for v in way.loop.constant]
    breaks = [call.length - b for b in reversed(call.breaks)]
    finals, exports = runner(call.extent, not call.reverse, inits, stacked, constants, breaks)
    for value, array in zip(way.loop.exports, exports, strict=True):
        env.put(value, array, True)
    return [None if n is None else finals[n].copy() for n in way.carried]


def _rows(value: Value, env: Environment) -> Any:
    array = env.known[value]
    return np.ascontiguousarray(array if value in env.timed else spread(array, env.length))


def _cotangents(
    way: Backward, call: Call, env: Environment, carried: Sequence[Any], columns: Sequence[bool]
) -> list[Any]:
    """For each parent its cotangent: of carries, of stacked inputs, and sums for constants."""
    found: list[Any] = list(carried)
    for value in way.of_stacked:
        found.append(None if value is None else _all_steps(value, env))
    for value, by_columns in zip(way.of_constant, columns, strict=True):
        found.append(None if value is None else total(value, env, by_columns))
    return [f if w else None for f, w in zip(found, call.wanted, strict=True)]


def _all_steps(value: Value, env: Environment) -> Any:
    array = evaluate(value, env)
    return array if value in env.timed else spread(array, env.length)


# ------------------------------------------------------------------------- higher derivatives
def _replayed(g: Sequence[Any], call: Call, node: Node) -> list[Any]:
    """The cotangents, from the core run step by step on the graph, so that they can be derived."""
    for array in call.read:
        if touched_since(array, node.index):
            raise InPlaceError(
                "backward of scan", "its inputs as they were", "one changed in place since"
            )
    with no_grad():
        stacked, constants = call.again()
    parents = node.parents
    values = [*call.inits, *stacked, *constants]
    inputs = [
        _attached(t, p) if w else t.detach()
        for t, p, w in zip(values, parents, call.wanted, strict=True)
    ]
    with enable_grad():
        outputs = (_on_the_graph if call.rows is None else _on_packed_rows)(call, inputs)
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
    loop = call.core.cut.loop
    carries, rest = inputs[: len(loop.carries)], inputs[len(loop.carries) :]
    stacked, constants = rest[: len(loop.stacked)], rest[len(loop.stacked) :]
    rows: dict[int, list[Tensor]] = {}
    order = list(range(call.length))[:: -1 if call.reverse else 1]
    for i, t in enumerate(order):
        if i in call.breaks:
            carries = [c.detach() for c in carries]
        env = Environment(1)
        known = zip([b for b, _ in loop.carries], carries, strict=True)
        env.known.update(known)
        env.known.update((v, s[t]) for v, s in zip(loop.stacked, stacked, strict=True))
        env.known.update(zip(loop.constant, constants, strict=True))
        run_values(loop.body, env)
        carries = [env.known[a] for _, a in loop.carries]
        rows[t] = [env.known[v] for v in loop.exports]
    columns = [[rows[t][i] for t in range(call.length)] for i in range(len(loop.exports))]
    return [*carries, *(stack(column) for column in columns)]


def _on_packed_rows(call: Call, inputs: list[Tensor]) -> list[Tensor]:
    """As `_on_the_graph`, with as many rows in each step as there are."""
    assert call.rows is not None
    loop = call.core.cut.loop
    how, split = call.rows, len(loop.carries)
    carries = [sort_rows(t, how).unsqueeze(1) for t in inputs[:split]]
    rest = inputs[split:]
    stacked, constants = rest[: len(loop.stacked)], rest[len(loop.stacked) :]
    ended: list[list[Tensor]] = [[] for _ in carries]
    columns: list[list[Tensor]] = [[] for _ in loop.exports]
    for offset, steps, rows in how.segments:
        for low in range(offset, offset + steps * rows, rows):
            env = Environment(rows)
            for (before, _), carry, done in zip(loop.carries, carries, ended, strict=True):
                if len(carry) > rows:
                    done.append(carry[rows:])
                env.put(before, carry[:rows], True)
            for value, tensor in zip(loop.stacked, stacked, strict=True):
                env.put(value, tensor[low : low + rows], True)
            env.known.update(zip(loop.constant, constants, strict=True))
            run_values(loop.body, env)
            carries = [env.known[after] for _, after in loop.carries]
            for column, value in zip(columns, loop.exports, strict=True):
                column.append(env.known[value])
    whole = [cat([c, *reversed(done)]).squeeze(1) for c, done in zip(carries, ended, strict=True)]
    finals = [sort_rows(t, how, back=True) for t in whole]
    return [*finals, *(cat(column) for column in columns)]


def _unused(*_: Any, **__: Any) -> Any:
    raise AssertionError("a loop is never called as a primitive")


MANY = (-1,) * 10_000  # whatever is saved belongs to the node itself

core_primitive = Primitive(
    "loop", "general", _unused, (), _unused, _unused, MANY, pullback=_pullback
)
