"""explain: everything the compiler does with a step, to be read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from ..create import get_rng_state
from ..scan import Problem, asked_engine, checked, run_loop
from ..tree import tree_map
from .actions import actions, memory
from .core import Core, Engine, Pass, Way
from .costs import backward_work, forward_work, kept, traffic
from .cut import Cut
from .draws import restored
from .engines import FEW, automatic, choose, engine_named
from .labels import Watched, watched
from .native_engine import NativeRunner
from .program import Refused
from .rowwise import one_row
from .run import refusal, unnoted
from .step import CARRY, Step, classes
from .structures import compile_step, refused
from .textbook import written

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
    watching = watched(problem.step, problem.init, problem.xs)
    inputs = [v for v in watching.values if v.op is None]
    traced = Step(inputs, watching.carries, watching.outputs)
    before = str(traced)
    yield f"--- after trace\n{before}"
    if engine is None:
        yield from _equations(watching)
        return
    compiled = compile_step(traced, engine)
    for name, program in compiled.history[1:]:
        text = str(program)
        yield f"--- after {name}\n{'  unchanged' if text == before else text}"
        before = text
    yield from _hoisted(compiled.core.cut)
    yield _options(compiled.history[0][1], engine)
    try:
        yield from _equations(watching)
        yield from _passes(compiled.core)
    except Refused as found:
        yield f"where gradients are wanted it is run by the loop: {found.reason}"


# --------------------------------------------------------------------------------------- sections
def _options(step: Step, engine: Engine) -> str:
    """What becomes of calls that ask for more."""
    try:
        one_row(step)
        rows = "packed" if engine.packed is not None else "masked, as this engine does always"
    except Refused as refusal:
        rows = f"masked ({refusal.reason})"
    forward = "compiled, as a loop of values and tangents; with truncate run by the loop"
    return f"--- with options\n  lengths: rows are {rows}\n  forward mode (jvp): {forward}"


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
    if way.full is None:
        runner = way.forward.runner
        loop = f"--- the loop forward\n{_loop(runner)}"
        return [loop, *_kernels("forward", runner), "there is nothing to differentiate"]
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


def _equations(traced: Watched) -> list[str]:
    book, parts = written(traced), []
    plain, latex = book.equations(), book.equations(latex=True)
    for title in ("forward", "backward"):
        for lines, more in ((plain, False), (latex, True)):
            parts.append(f"--- equations, {title}{_set(getattr(lines, title), more)}")
    return [*parts, "--- signs\n" + "\n".join(f"  {line}" for line in plain.legend)]


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
