"""explain: everything the compiler does with a step, to be read.

Names are the user's own: the step is watched while it is traced, and a value is called what the
local variable that held it was called.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from types import FrameType
from typing import Any

from ..create import get_rng_state
from ..scan import Problem, asked_engine, checked, run_loop
from ..tensor import Tensor
from ..tree import flatten, paths, tree_map
from .actions import actions, memory
from .core import Core, Engine, Pass, Way
from .costs import backward_work, forward_work, kept, traffic
from .cut import Cut
from .draws import restored
from .engines import FEW, NUMPY, automatic, choose, engine_named
from .native_engine import NativeRunner
from .notation import Notation, equations, named_values
from .program import Refused, Value
from .rowwise import one_row
from .run import refusal, unnoted
from .step import CARRY, Step, classes
from .structures import compile_step, refused
from .trace import Trace, trace_step

__all__ = ["Explanation", "explain"]


class Explanation(str):
    """A text that is shown as it is, by a notebook or the prompt of Python."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def explain(step: Callable[..., Any], init: Any, xs: Any, engine: str = "auto") -> Explanation:
    """What `scan(step, init, xs)` is compiled to, as text.

    The program before and after each pass; what leaves the loop; the equations of the forward and
    the backward pass, in plain text and in LaTeX; kernels; floating-point operations and bytes. If
    the loop runs the step instead, the reason. Errors are those of `scan`.

    >>> import tinygrad_rnn as tg
    >>> w = tg.eye(3)
    >>> text = explain(lambda h, x: ((h @ w + x).tanh(),) * 2, tg.zeros(2, 3), tg.zeros(5, 2, 3))
    >>> "δ" in text
    True
    """
    problem = checked(step, init, xs, None, False, None, None)
    name = asked_engine(engine)[0]
    chosen = engine_named(automatic()[0] if name == "auto" else name)
    with unnoted():
        parts = _told(problem, choose(problem) if name == "auto" else name, chosen)
    return Explanation("\n\n".join(parts) + "\n")


def _told(problem: Problem, name: str, engine: Engine | None) -> list[str]:
    """What becomes of a problem run by an engine of this name; `engine` is what would compile it.

    What the loop would run is tried there first: an error of the step is raised as by `scan`.
    """
    reason = None if engine is None else _reason(problem, name, engine)
    if engine is None or reason is not None:
        _try_loop(problem)
    if engine is None:
        parts = [f"engine: {name}", "nothing is compiled; what the step does:"]
    elif reason is None:
        parts = [f"engine: {name}"]
    else:
        parts = [f"run by the loop: {reason}", f"what the engine {engine.name} would make of it:"]
    head = len(parts)
    try:
        for part in _programs(problem, engine):
            parts.append(part)
    except Exception as error:
        if engine is not None and reason is None:
            raise
        if engine is None and len(parts) == head:
            parts.append(f"it cannot be traced: {refused(error).reason}")
    return parts[:1] if len(parts) == head else parts


def _reason(problem: Problem, name: str, engine: Engine) -> str | None:
    """Why the loop runs a problem, if it does."""
    reason = refusal(problem, engine)
    if name != "loop":
        return reason
    few = f'engine "auto" takes it for fewer than {FEW} steps'
    return few if reason is None or not problem.length else f"{few}; with more steps: {reason}"


def _try_loop(problem: Problem) -> None:
    """Run the first steps, to see whether they can be."""
    xs = tree_map(lambda x: x[:2], problem.xs)
    with restored(get_rng_state()):
        run_loop(replace(problem, xs=xs, length=min(problem.length, 2)))


def _programs(problem: Problem, engine: Engine | None) -> Iterator[str]:
    """The step after each pass, its equations, and its loops; without an engine the equations."""
    trace, carries, outputs, _ = _watched(problem.step, problem.init, problem.xs)
    traced = Step([v for v in trace.values if v.op is None], carries, outputs)
    before = str(traced)
    yield f"--- after trace\n{before}"
    textbook = compile_step(traced, (engine or NUMPY)._replace(factors=False)).core
    if engine is None:
        yield from _equations(textbook)
        return
    compiled = compile_step(traced, engine)
    for name, program in compiled.history[1:]:
        text = str(program)
        yield f"--- after {name}\n{'  unchanged' if text == before else text}"
        before = text
    yield from _hoisted(compiled.core.cut)
    yield _options(compiled.history[0][1], engine)
    try:
        yield from _equations(textbook)
        yield from _passes(compiled.core)
    except Refused as found:
        yield f"where gradients are wanted it is run by the loop: {found.reason}"


# ----------------------------------------------------------------------------------------- names
def _watched(step: Callable[..., Any], init: Any, xs: Any) -> Any:
    """Trace a step and label its values with the names of the variables that hold them."""
    seen: list[dict[str, Any]] = []
    inner = getattr(step, "__code__", None)

    def watch(frame: FrameType, event: str, _: Any) -> None:
        if event == "return" and (frame.f_code is inner or _of_a_module(frame)):
            world = {n: frame.f_globals.get(n) for n in frame.f_code.co_names}
            seen.append({**world, **frame.f_locals})

    before = sys.getprofile()
    sys.setprofile(watch)
    try:
        result = trace_step(step, init, xs)
    finally:
        sys.setprofile(before)
    trace, carries = result[0], result[1]
    _label(trace, seen)
    _label_ends(trace, carries, paths(init, "s"))
    return result


def _of_a_module(frame: FrameType) -> bool:
    """Whether a method of a user's or of our layers is running, not one of the library below."""
    name = str(frame.f_globals.get("__name__", ""))
    house = __name__.partition(".")[0]
    below = name.startswith(house) and not name.startswith(f"{house}.nn")
    return "self" in frame.f_locals and not below


def _label(trace: Trace, seen: list[dict[str, Any]]) -> None:
    inputs = [v for v in trace.values if v.kind == "captured"]
    places = {id(t): v for t, v in zip(trace.tensors, inputs, strict=True)}
    views = {
        t.node.parents[0].index: v
        for t, v in zip(trace.tensors, inputs, strict=True)
        if t.node is not None and t.node.primitive.name == "permute" and t.node.parents[0]
    }
    for variables in seen:
        found = dict(variables)
        own = getattr(found.get("self"), "__dict__", None)
        if type(own) is dict:  # a finalizer of anything may have run meanwhile
            found.update(own)
        for name, held in found.items():
            for leaf in flatten(held)[0] if isinstance(held, (tuple, list, Tensor)) else []:
                _label_one(name if held is leaf else "", leaf, places, views)


def _label_one(name: str, held: Any, places: dict[int, Value], views: dict[int, Value]) -> None:
    if not isinstance(held, Tensor) or name in ("", "self"):
        return
    value = held.array if type(held.array) is Value else places.get(id(held))
    if value is not None:
        value.label = name
    elif held.node is not None and held.node.index in views:
        views[held.node.index].label = name + "ᵀ"


def _label_ends(trace: Trace, carries: list[Value], names: list[str]) -> None:
    """A carry has the name of what replaces it, and t − 1 for what was there before."""
    before = [v for v in trace.values if v.kind == "carry"]
    single = len(before) == 1
    for old, new, path in zip(before, carries, names, strict=True):
        name = new.label if new.op is not None and new.label else "h" if single else path
        if new.op is not None:
            new.label = f"{name}_t"
        old.label = f"{name}_t−1"
    for value in trace.values:
        if value.kind == "x":
            value.label = (value.label or "x") + "_t"


def _names(cut: Cut) -> dict[Value, str]:
    """The names of the values of a step."""
    whole = cut.whole
    names: dict[Value, str] = {}
    for i, value in enumerate([*(b for b, _ in whole.carries), *whole.stacked, *whole.constant]):
        names[value] = value.label or f"p{i}"
    names.update((value, value.label) for value in whole.body if value.label)
    for value in cut.loop.stacked:
        if not value.label and value.name == "matmul":
            named = [a.label.removesuffix("_t") for a in value.inputs]
            names[value] = f"({'·'.join(named)})_t" if all(named) else f"p{value.index}"
    named_values(whole.body, names, "a")
    return names


# --------------------------------------------------------------------------------------- sections
def _options(step: Step, engine: Engine) -> str:
    """What becomes of calls that ask for more."""
    try:
        one_row(step)
        rows = "packed" if engine.packed is not None else "masked, as this engine does always"
    except Refused as refusal:
        rows = f"masked ({refusal.reason})"
    return f"--- with options\n  lengths: rows are {rows}\n  forward mode (jvp): run by the loop"


def _hoisted(cut: Cut) -> list[str]:
    lines = ["--- what leaves the loop"]
    for title, values in (("before", cut.before), ("after", cut.after)):
        lines += [f"  {title}: {v!r} = {v.name} {v.label}".rstrip() for v in values]
    whole = cut.whole
    found = classes([*(b for b, _ in whole.carries), *whole.stacked, *whole.constant, *whole.body])
    free = [v for v in cut.loop.body if v.name == "matmul" and not found[v] & CARRY]
    lines += [f"  stays, being quicker there: {v!r} = {v.name} {v.label}".rstrip() for v in free]
    lines += [f"  {len(cut.loop.body)} operations stay"]
    lines += ["  backward: the gradients of what is the same in every step, as sums over the steps"]
    return ["\n".join(lines)]


def _everything(core: Core) -> tuple[tuple[bool, ...], tuple[bool, ...]]:
    """The flags of all gradients, and of all that may have a cotangent."""
    whole = core.cut.whole
    inputs = [*(b for b, _ in whole.carries), *whole.stacked, *whole.constant]
    return tuple([v.dtype.kind == "f" for v in inputs]), (True,) * len(whole.exports)


def _passes(core: Core) -> list[str]:
    wanted, arriving = _everything(core)
    way = core.way(wanted)
    backward = core.backward(wanted, arriving)
    ways = ("forward", way.forward.runner), ("backward", backward.runner)
    parts = [f"--- the loop {title}\n{_loop(runner)}" for title, runner in ways]
    for title, runner in ways:
        parts += _kernels(title, runner)
    return [*parts, _costs(core, way, backward)]


def _loop(runner: Any) -> str:
    """The lines of a loop, or what is done in it if it has none because all of it is compiled."""
    if isinstance(runner, NativeRunner):
        return actions(runner.plan, [*runner.ahead, *runner.behind])
    source: str = runner.source
    return source


def _kernels(title: str, runner: Any) -> list[str]:
    """The kernels of a loop, and what is at the addresses that they name."""
    kernels = [f"--- kernel {title}\n{text}" for text in getattr(runner, "listings", [])]
    if isinstance(runner, NativeRunner):
        return [*kernels, f"--- memory {title}\n{memory(runner.plan, runner.bases.entries)}"]
    tables = [memory(runner.plan, entries) for entries in runner.tables.values()]
    return [f"{text}\nwhere\n{table}" for text, table in zip(kernels, tables, strict=True)]


def _equations(core: Core) -> list[str]:
    loop, names = core.cut.whole, _names(core.cut)
    back = core.derivative(*_everything(core), None)
    ends = [*(after for _, after in loop.carries), *loop.exports]
    forward = dict(names)
    deltas = dict(names)
    hoisted = set(core.cut.loop.stacked)  # a sum and its parts have one cotangent: that of the sum
    forward_values = (*loop.body, *(v for v in names if v.op is None))
    for value in sorted(forward_values, key=hoisted.__contains__):
        delta = back.deltas.get(value)
        if value in names and delta is not None and delta not in deltas:
            deltas[delta] = f"δ{names[value]}"
    for (before, after), place in zip(loop.carries, back.carried, strict=True):
        if place is not None:
            coming, going = back.loop.carries[place]
            deltas[coming] = f"δ⁺{names.get(after, names[before])}"
            deltas[going] = f"δ⁺{names[before]}"
    for value, arriving in zip(loop.exports, back.arriving, strict=True):
        if arriving is not None:
            deltas[arriving] = f"∂L/∂{names.get(value, 'y')}"
    steps = [v for v in (*(a for _, a in back.loop.carries), *back.of_stacked) if v is not None]
    sums = [
        (f"∂L/∂{names[v]}", delta)
        for v, delta in zip(loop.constant, back.of_constant, strict=True)
        if delta is not None
    ]
    given = set(loop.body) & names.keys()
    parts = []
    for latex in (False, True):
        lines = equations(ends, forward, latex, hoisted)
        parts.append("--- equations, forward" + _set(lines, latex))
        lines = equations(steps, deltas, latex, given)
        lines += _sums(sums, deltas, latex, given)
        note = (
            "" if latex else "\n  (δ⁺: what has come from step t + 1, and what goes to step t − 1)"
        )
        parts.append("--- equations, backward" + _set(lines, latex) + note)
    return parts


def _sums(
    sums: list[tuple[str, Value]], names: dict[Value, str], latex: bool, given: set[Value]
) -> list[str]:
    lines = []
    for name, value in sums:
        inner = {**names, value: name}
        if value.op is None:  # of what is an output as it is
            whole, part = (Notation({value: n}, latex).name(value) for n in (name, f"{name}_t"))
            text = f"{whole} {'&' if latex else ''}= {part}"
        else:
            text = equations([value], inner, latex, given)[-1]
        sign = r"= \sum_t " if latex else "= Σ_t "
        lines.append(text.replace("= ", sign, 1))
    return lines


def _set(lines: list[str], latex: bool) -> str:
    if not latex:
        return "\n" + "\n".join(f"  {line}" for line in lines)
    body = " \\\\\n".join(f"  {line}" for line in lines)
    return f" (LaTeX)\n\\begin{{align}}\n{body}\n\\end{{align}}"


# ------------------------------------------------------------------------------------------ costs
def _costs(core: Core, way: Way, back: Pass) -> str:
    assert way.full is not None
    forward, backward = forward_work(core), backward_work(core, way, way.full)
    lines = ["--- costs of a step"]
    for title, (inside, outside, _) in (("forward", forward), ("backward", backward)):
        flops, elements = inside.flops + outside.flops, inside.elements + outside.elements
        lines += [
            f"  {title}: {flops} flop in products, {inside.flops} of them in the loop",
            f"  {title}: {elements} elements in the rest, {inside.elements} of them in the loop",
        ]
    for title, (*_, once) in (("forward", forward), ("backward", backward)):
        if once.flops or once.elements:
            lines.append(f"  {title}, once a call: {once}")
    size, count, given = kept(core, way)
    arrays = "1 array" if count == 1 else f"{count} arrays"
    lines.append(f"  kept for backward: {size} bytes in {arrays}; {given} bytes of inputs")
    for title, runner in (("forward", way.forward.runner), ("backward", back.runner)):
        lines.append(f"  {title}: {traffic(runner.plan)} bytes read and written in the loop")
    return "\n".join(lines)
