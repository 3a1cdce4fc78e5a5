"""A compiled step, run: one node of the graph with several outputs.

Forward is what comes before the loop, the loop, and what comes after it, all on raw arrays, and
backward likewise. The parents of the node are the initial carries, the inputs and the captured
tensors. What a derivative that is itself to be differentiated comes to is in `derivatives`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import cached_property
from threading import RLock
from typing import Any, NamedTuple

from ..backend import quiet
from ..checkpointing import outputs_of
from ..graph import ANOMALY, Node, Primitive, grad_mode, watch_nan
from ..inplace import AGAIN, check_read
from ..tensor import Tensor
from .backward import Backward, active_inputs, differentiate
from .checkpoints import Kept, Spans
from .cut import Cut, Loop, Sinks
from .derivatives import Derivable, check_untouched
from .draws import Draw, restored
from .outside import backward_pass, forward_pass
from .packing import Ragged, Rectangle
from .program import Value, ancestors
from .step import Step
from .sums import Finish

__all__ = ["Call", "Core", "Engine", "Pass", "Way", "run_core"]

Flags = tuple[bool, ...]


def _never(value: Value) -> bool:
    return False


class Engine(NamedTuple):
    """How loops are run, and what is cheap enough to be left in them."""

    name: str
    compile: Callable[[Loop, bool], Any]
    sinks: Sinks
    sinks_outputs: bool
    keeps: Sinks = _never  # products that could leave the loop, and are as quick in it
    packed: Callable[[Loop, bool], Any] | None = None  # for rows of unequal length, without masks
    change: Callable[[Step], Step] | None = None  # done to a step before anything else
    factors: bool = False  # whether each operation that leaves the loop is a call less in it
    exact: bool = False  # whether products outside of loops are our own: see `long_products`

    def stays(self, value: Value) -> bool:
        """Whether a value may stay in the loop for what reads it there."""
        return self.sinks(value) or self.keeps(value)


class Pass(NamedTuple):
    """One direction: the loop, and what runs it with all that is before and after it."""

    runner: Any
    run: Callable[..., Any]  # see `outside`
    sums: Finish | None = None  # if spans of steps come one after the other


@dataclass
class Way:
    """The compiled passes for one choice of inputs that need gradients."""

    forward: Pass
    saved: list[Value]  # for backward, inputs among them
    live: list[bool]  # which of the outputs (final carries, exports of the step) have a gradient
    full: Backward | None = None
    loops: dict[Flags, tuple[Backward, Any]] = field(default_factory=dict)  # backward
    backward: dict[tuple[Flags, Flags | None, bool], Pass] = field(default_factory=dict)


class Core:
    """The compiled core of one structure; what is needed of it is compiled when first asked for.

    Attributes:
        stacked: which of the inputs are of all steps.
        outputs: which of the results are: those behind the final carries.
    """

    def __init__(self, cut: Cut, engine: Engine) -> None:
        self.cut, self.engine = cut, engine
        count = len(cut.whole.carries)
        self.stacked = slice(count, count + len(cut.whole.stacked))
        self.outputs = slice(count, None)
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
        live = [False] * (len(whole.carries) + len(whole.exports))
        if any(wanted):
            full = self.derivative(wanted, (True,) * len(whole.exports), None)
            saved = _named(whole, full)
            nodes = active_inputs(whole, wanted)
            live = [v in nodes for v in (*(a for _, a in whole.carries), *whole.exports)]
        exports = self.exports(full)
        inner = Loop(loop.carries, loop.stacked, loop.constant, loop.body, exports)
        runner = self.engine.compile(inner, True)
        forward = Pass(runner, forward_pass(self.cut, inner, runner, saved, self.engine.exact))
        return Way(forward, saved, live, full)

    def exports(self, full: Backward | None) -> list[Value]:
        """What leaves the loop for all steps: what is wanted of it, and what backward reads."""
        loop = self.cut.loop
        inside = {*(b for b, _ in loop.carries), *loop.body}
        saved = [] if full is None else full.saved
        return [*loop.exports, *(v for v in saved if v in inside and v not in loop.exports)]

    def derivative(self, wanted: Flags, arriving: Flags, kept: list[Value] | None) -> Backward:
        """The backward pass."""
        parts, engine = self.cut, self.engine
        return differentiate(
            parts.whole, wanted, arriving, engine.sinks, engine.keeps, parts.fixed, kept,
            engine.factors,
        )  # fmt: skip

    def backward(
        self, wanted: Flags, arriving: Flags, columns: Flags | None = None, spans: bool = False
    ) -> Pass:
        """The backward pass for these flags.

        Args:
            arriving: for each export whether it has a cotangent.
            columns: for each constant whether it is kept by columns, and its gradient too.
            spans: whether spans of steps will come one after the other.
        """
        way, key = self.way(wanted), (arriving, columns, spans)
        with self.lock:
            if key not in way.backward:
                found, runner = self._loop_back(way, wanted, arriving)
                run, sums = backward_pass(
                    self.cut, found, runner, way.saved, wanted, columns, self.engine.exact, spans
                )
                way.backward[key] = Pass(runner, run, sums)
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
        every: after how many steps the carry is kept, and all else forgotten; then numbers that
            are drawn (`draws`) are not among the inputs, but in their places is `NOT_DRAWN`.
        source: the node of a stacked input that was replaced by a table and where to look in it
            (`tables`), and `plain` is the call with that input. The table stands for it, and
            hands its gradient to what the node has it from, unless somebody asks for its own.
    """

    core: Core
    wanted: Flags
    length: int
    reverse: bool
    breaks: list[int]
    inputs: list[Tensor]
    rows: Ragged | Rectangle | None = None
    every: int | None = None
    draws: Sequence[Draw] = ()
    source: Node | None = None
    plain: Call | None = None

    @property
    def extent(self) -> Any:
        """What a runner is told about the steps."""
        return self.rows if type(self.rows) is Ragged else self.length

    @property
    def spans(self) -> Spans | None:
        """The spans after which the carry is kept."""
        if self.every is None:
            return None
        return Spans(self.every, self.length, self.reverse, self.core.stacked, self.draws)

    @cached_property
    def needed(self) -> Flags:
        """As `wanted`, with the carries that wait for others, of which spans need the gradient."""
        whole = self.core.cut.whole
        nodes = active_inputs(whole, self.wanted)
        carries = [before in nodes for before, _ in whole.carries]
        return (*carries, *self.wanted[len(carries) :])

    def change(self, arrays: list[Any], part: slice, how: str) -> None:
        """Have that part "packed", as the loop has it, or "padded", as the outside has it."""
        if self.rows is not None:
            change = getattr(self.rows, how)
            arrays[part] = [None if a is None else change(a) for a in arrays[part]]


# -------------------------------------------------------------------------------- one call
def run_core(call: Call) -> list[Tensor]:
    """The final carries and the outputs of all steps."""
    core, recording = call.core, True in call.wanted
    spans = call.spans if recording else None
    way = core.way(call.wanted if spans is None else call.needed)
    given = [t.array for t in call.inputs]
    if AGAIN:
        check_read(given)
    call.change(given, core.stacked, "packed")
    with quiet():
        if spans is None:
            arrays, saved = way.forward.run(given, call.length, call.extent, call.reverse)
        else:
            saved = given
            arrays, kept = spans.forward(way.forward.run, given)
    call.change(arrays, core.outputs, "padded")
    if not recording:
        return [Tensor(array) for array in arrays]
    parents = tuple([t.node if w else None for t, w in zip(call.inputs, call.wanted, strict=True)])
    if call.source is not None:
        parents = (*parents, call.source)
    params = {"call": call, "count": len(arrays), "kept": None if spans is None else kept}
    node = Node(core_primitive, parents, saved, params, ())
    if grad_mode() == ANOMALY:
        watch_nan(node, arrays, given)
    return outputs_of(node, arrays, way.live)


def _pullback(
    g: Sequence[Any], saved: Sequence[Any], node: Node, targets: set[Node] | None
) -> list[Any]:
    assert node.params is not None
    call: Call = node.params["call"]
    source = call.source
    if source is None:
        return _cotangents(g, saved, node)
    asked = source.watch is not None or (targets is not None and source in targets)
    if asked or any(type(c) is Tensor for c in g):
        return _by_plain_call(g, call, node)
    return [*_cotangents(g, saved, node), None]


def _by_plain_call(g: Sequence[Any], call: Call, node: Node) -> list[Any]:
    """The cotangents of a call with a table, one of which is that of what the table stands for."""
    plain = call.plain
    assert plain is not None
    check_untouched(plain.inputs, node.index)
    states = (node.params or {})["kept"]
    with restored(states.states[0]) if plain.draws and states is not None else nullcontext():
        outputs = run_core(plain)
    other = next(t.node.parents[0] for t in outputs if t.node is not None)
    assert other is not None
    found: dict[Node, Any] = {}
    for parent, cotangent in zip(other.parents, _cotangents(g, other.saved, other), strict=True):
        if parent is not None and cotangent is not None:
            found[parent] = found[parent] + cotangent if parent in found else cotangent
    return [None if parent is None else found.pop(parent, None) for parent in node.parents]


def _cotangents(g: Sequence[Any], saved: Any, node: Node) -> list[Any]:
    assert node.params is not None
    call: Call = node.params["call"]
    core, cotangents = call.core, list(g)
    if Tensor in map(type, cotangents):
        check_untouched(call.inputs, node.index)
        numbers = [None if c is None else c.array for c in g]
        return Derivable(g, call, node).outputs(_cotangents(numbers, node.saved, node))
    call.change(cotangents, core.outputs, "packed")
    arriving = tuple([c is not None for c in g[core.outputs]])
    columns = tuple([not t.array.flags.c_contiguous for t in call.inputs[core.stacked.stop :]])
    if call.every is None:
        breaks = [call.length - b for b in reversed(call.breaks)]
        back = core.backward(call.wanted, arriving, columns)
        where = call.length, call.extent, call.reverse, breaks
        found: list[Any] = back.run(cotangents, saved, *where)
    else:
        found = _in_spans(call, cotangents, saved, node.params["kept"], columns)
    call.change(found, core.stacked, "padded")
    return found


def _in_spans(
    call: Call, cotangents: list[Any], arrays: Sequence[Any], kept: Kept, columns: Flags
) -> list[Any]:
    arriving = tuple([c is not None for c in cotangents[call.core.outputs]])
    back, spans = call.core.backward(call.needed, arriving, columns, True), call.spans
    assert back.sums is not None and spans is not None
    sums = back.sums.begin()

    def run(cotangents: Any, saved: Any, length: int, extent: int, breaks: list[int]) -> Any:
        return back.run(cotangents, saved, length, extent, call.reverse, breaks, sums)

    forward = call.core.way(call.needed).forward.run
    found = spans.backward(forward, run, arrays, kept, cotangents, call.breaks)
    return found + back.sums.run(sums)


def _unused(*_: Any, **__: Any) -> Any:
    raise AssertionError("a loop is never called as a primitive")


MANY = (-1,) * 10_000  # whatever is saved belongs to the node itself

core_primitive = Primitive(
    "loop", "general", _unused, (), _unused, _unused, MANY, pullback=_pullback
)
