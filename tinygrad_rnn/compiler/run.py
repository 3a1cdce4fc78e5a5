"""From a call of `scan` to a compiled loop: trace, look up or compile, run; else fall back.

Legend: T time steps, B batch.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from threading import RLock
from typing import Any

import numpy as np

from ..graph import INTERPRETERS, grad_mode
from ..scan import Problem, run_loop
from ..tensor import Tensor
from ..tree import flatten, unflatten
from .batch import Environment, run_values, spread
from .core import Call, Core, Engine, run_core
from .cut import cut
from .draws import drawn
from .passes import PASSES, clean
from .program import Refused, Value
from .spans import masked, run_spans, with_breaks
from .step import Step
from .trace import Trace, trace_step

__all__ = ["Compiled", "compile_step", "compiled_for", "fallbacks", "run_compiled", "switched_off"]

switched_off: set[str] = set()  # names of passes to leave out
fallbacks: list[str] = []  # why the last calls that fell back did so
_structures: dict[Any, Compiled | str] = {}
_steady: set[tuple[int, Any]] = set()
_lock = RLock()


@dataclass(frozen=True)
class Compiled:
    """What one structure compiles to; `history` has the step after each pass."""

    history: list[tuple[str, Step]]
    core: Core


def run_compiled(problem: Problem, engine: Engine) -> tuple[Any, Any]:
    """Run a scan on an engine, or on the loop if that cannot be."""
    try:
        return _run(problem, engine)
    except Refused as refusal:
        if refusal.reason:
            fallbacks.append(refusal.reason)
        del fallbacks[:-32]
    return run_loop(problem)  # outside of the handler: its errors are its own


# ----------------------------------------------------------------------------- the ways to run
def _run(problem: Problem, engine: Engine) -> tuple[Any, Any]:
    _check_possible(problem)
    return run_spans(problem, lambda part, start: run_once(part, engine, start))


def _check_possible(problem: Problem) -> None:
    if not problem.length:
        raise Refused("no steps")
    leaves = [*flatten(problem.init)[0], *flatten(problem.xs)[0]]
    if not flatten(problem.init)[0]:
        raise Refused("no carry")
    for leaf in leaves:
        if type(leaf.array) is Value:
            raise Refused("")  # inside of another loop's step, which takes this one in, unrolled
        if type(leaf.array) in INTERPRETERS:
            raise Refused("forward mode")
        if type(leaf.array) is not np.ndarray:
            raise Refused(f"tensors on device {leaf.device!r}")
        if 0 in leaf.array.shape:
            raise Refused("an empty tensor")


def run_once(problem: Problem, engine: Engine, start: int) -> tuple[Any, Any]:
    """All steps of a problem in one loop; `start` is the number of steps that came before."""
    problem, breaks = with_breaks(problem, start)
    step, xs = problem.step, problem.xs
    if problem.lengths is not None:
        step, xs = masked(problem)
    try:
        trace, carries, outputs, structure = trace_step(step, problem.init, xs)
        key = (
            engine.name, tuple(trace.keys), tuple(v.index for v in (*carries, *outputs)),
            frozenset(switched_off),
        )  # fmt: skip
        compiled = _structures.get(key)
        identity = (hash(key), getattr(problem.step, "__code__", type(problem.step)))
        if compiled is None or identity not in _steady:
            again = trace_step(step, problem.init, xs)[0]
            _check_steady(trace, again)
            again.release()
            inputs = [v for v in trace.values if v.op is None]
            compiled = compiled_for(key, Step(inputs, carries, outputs), engine)
            _steady.add(identity)
    except Refused:
        raise
    except Exception as error:
        raise Refused(f"{type(error).__name__} while tracing: {error}") from error
    if isinstance(compiled, str):
        raise Refused(compiled)
    trace.release()
    final, ys = _execute(problem, compiled, trace, flatten(xs)[0], breaks)
    carry_structure = flatten(problem.init)[1]
    return unflatten(carry_structure, final), unflatten(structure, ys)


# ------------------------------------------------------------------------------- compilation
def _check_steady(first: Trace, second: Trace) -> None:
    """A step must do the same each time: what it makes anew at each call has to be equal."""
    if first.keys != second.keys:
        raise Refused("a step that does something else each time it is called")
    for a, b in zip(first.tensors, second.tensors, strict=True):
        if a is not b and not np.array_equal(a.array, b.array, equal_nan=a.dtype.kind == "f"):
            raise Refused("a step that makes new numbers at each call (use tg.rand or an input)")


def compiled_for(key: Any, step: Step, engine: Engine) -> Compiled | str:
    """The compiled form of a structure, or the reason why there is none."""
    with _lock:
        if key not in _structures:
            if len(_structures) > 512:
                _structures.clear()
            try:
                _structures[key] = compile_step(step, engine)
            except Refused as refusal:
                _structures[key] = refusal.reason
            except Exception as error:
                reason = f"{type(error).__name__} while compiling: {error}"
                warnings.warn(f"scan runs as a loop: {reason}", RuntimeWarning, stacklevel=6)
                _structures[key] = reason
        return _structures[key]


def compile_step(step: Step, engine: Engine) -> Compiled:
    """A step through all passes, cut; its loops are compiled when they are first run."""
    history = [("trace", step)]
    for name, change in (*PASSES.items(), ("clean again", clean)):
        if name not in switched_off:
            step = change(step)
            history.append((name, step))
    return Compiled(history, Core(cut(step, engine.sinks, engine.sinks_outputs), engine))


# --------------------------------------------------------------------------------- execution
def _execute(
    problem: Problem, compiled: Compiled, trace: Trace, xs: list[Tensor], breaks: list[int]
) -> tuple[list[Tensor], list[Tensor]]:
    parts = compiled.core.cut
    numbers = drawn(trace.draws, problem.length, problem.reverse)
    given = _given(parts.step, xs, trace.tensors, numbers)
    env = _before(compiled, given, problem.length)
    stacked, constants = (
        [env.known[v] for v in parts.stacked],
        [env.known[v] for v in parts.constant],
    )
    inits = flatten(problem.init)[0]
    recording = grad_mode() != 0
    flags = tuple([recording and t.node is not None for t in (*inits, *stacked, *constants)])

    def again() -> tuple[list[Tensor], list[Tensor]]:
        fresh = _before(compiled, given, problem.length)
        return [fresh.known[v] for v in parts.stacked], [fresh.known[v] for v in parts.constant]

    read = [tensor.array for tensor, _ in given.values()] if any(flags) else []
    call = Call(compiled.core, flags, problem.length, problem.reverse, breaks, inits, again, read)
    results = run_core(compiled.core, call, stacked, constants)
    for value, tensor in zip(parts.exports, results[len(inits) :], strict=True):
        env.put(value, tensor, True)
    run_values(parts.after, env)
    ys = [_stacked(v, env, problem.length) for v in parts.step.outputs]
    return results[: len(inits)], ys


def _given(step: Step, xs: list[Tensor], captured: list[Tensor], drawn: list[Tensor]) -> Any:
    """The tensors of all inputs but the carry, and whether they have a row for each step."""
    sources = {"x": iter(xs), "captured": iter(captured), "random": iter(drawn)}
    return {
        v: (next(sources[v.kind.split()[0]]), v.kind != "captured")
        for v in step.inputs
        if v.kind != "carry"
    }


def _before(compiled: Compiled, given: Any, length: int) -> Environment:
    """What leaves the loop for good: values of captured tensors and of time alone."""
    env = Environment(length)
    for value, (tensor, timed) in given.items():
        env.put(value, tensor, timed)
    run_values(compiled.core.cut.before, env)
    return env


def _stacked(value: Any, env: Environment, length: int) -> Tensor:
    tensor: Tensor = env.known[value]
    rows: Tensor = tensor if value in env.timed else spread(tensor, length)
    return rows
