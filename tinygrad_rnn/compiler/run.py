"""From a call of `scan` to a compiled loop: look up or compile, run; else fall back.

Legend: T time steps, B batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..graph import INTERPRETERS, grad_mode
from ..scan import Problem, run_loop
from ..tensor import Tensor
from ..tree import flatten, unflatten
from .batch import Environment, run_values, spread
from .core import Call, Engine, run_core
from .draws import drawn
from .packed import run_packed
from .program import Refused, Value
from .spans import masked, run_spans, with_breaks
from .step import Step
from .structures import Compiled, Ready, prepared

__all__ = ["fallbacks", "run_compiled"]

fallbacks: list[str] = []  # why the last calls that fell back did so


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
    if problem.lengths is not None:
        found = _without_padding(problem, engine, start)
        if found is not None:
            return found
    problem, breaks = with_breaks(problem, start)
    step, xs = problem.step, problem.xs
    if problem.lengths is not None:
        step, xs = masked(problem)
    ready = prepared(step, problem.init, xs, engine)
    final, ys = _execute(problem, ready, flatten(xs)[0], breaks)
    carry_structure = flatten(problem.init)[1]
    return unflatten(carry_structure, final), unflatten(ready.outputs, ys)


def _without_padding(problem: Problem, engine: Engine, start: int) -> tuple[Any, Any] | None:
    """Rows of unequal length on the steps that they have; None if that needs masks."""
    assert problem.lengths is not None
    if (problem.lengths.array >= problem.length).all():
        found = run_once(replace(problem, lengths=None), engine, start)
        if any(y.shape[1:2] != problem.lengths.shape for y in flatten(found[1])[0]):
            raise Refused("outputs without rows")
        return found
    try:
        return run_packed(problem, engine)
    except Refused:
        return None


# --------------------------------------------------------------------------------- execution
def _execute(
    problem: Problem, ready: Ready, xs: list[Tensor], breaks: list[int]
) -> tuple[list[Tensor], list[Tensor]]:
    compiled = ready.compiled
    parts = compiled.core.cut
    numbers = drawn(ready.draws, problem.length, problem.reverse)
    given = _given(parts.step, xs, ready.tensors, numbers)
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


def _given(step: Step, xs: list[Tensor], captured: Sequence[Tensor], drawn: list[Tensor]) -> Any:
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
