"""A scan over rows of unequal length, run on the steps that are there.

The step is traced as it is, rewritten for one row, and run on packed rows: before and after the
loop each packed row is a step of its own; in the loop a step has as many rows as are still there.

Legend: T time steps, B batch, N packed rows.
"""

from __future__ import annotations

from typing import Any

from ..graph import grad_mode
from ..ops.shape import expand
from ..scan import Problem
from ..tensor import Tensor
from ..tree import flatten, unflatten
from .batch import Environment, run_values, spread
from .core import Call, Engine, run_core
from .draws import drawn
from .packing import Ragged, pack, ragged, unpack
from .program import Refused, Value
from .ragged_engine import for_rows
from .step import Step
from .structures import Ready, prepared

__all__ = ["run_packed"]


def run_packed(problem: Problem, engine: Engine) -> tuple[Any, Any]:
    """The final carry and the outputs.

    Raises:
        Refused: rows depend on each other, or it is not worth while.
    """
    assert problem.lengths is not None
    leaves = flatten(problem.xs)[0]
    if problem.truncate is not None or any(leaf.ndim < 2 for leaf in leaves):
        raise Refused("rows of unequal length with truncation, or inputs without rows")
    ready = prepared(problem.step, problem.init, problem.xs, for_rows(engine))
    how = ragged(problem.lengths.array, problem.length, problem.reverse)
    if not how.total:
        raise Refused("no row that is long enough")
    final, ys = _execute(problem, ready, how)
    return unflatten(flatten(problem.init)[1], final), unflatten(ready.outputs, ys)


def _execute(problem: Problem, ready: Ready, how: Ragged) -> tuple[list[Tensor], list[Tensor]]:
    core = ready.compiled.core
    parts = core.cut
    inits = flatten(problem.init)[0]
    given = _given(problem, parts.step, ready, how)

    def before() -> Environment:
        env = Environment(how.total)
        for value, (tensor, timed) in given.items():
            env.put(value, tensor, timed)
        run_values(parts.before, env)
        return env

    def again() -> tuple[list[Tensor], list[Tensor]]:
        fresh = before()
        return [fresh.known[v] for v in parts.stacked], [fresh.known[v] for v in parts.constant]

    env = before()
    stacked, constants = (
        [env.known[v] for v in parts.stacked],
        [env.known[v] for v in parts.constant],
    )
    recording = grad_mode() != 0
    flags = tuple([recording and t.node is not None for t in (*inits, *stacked, *constants)])
    if any(flags):
        core.backward(flags, (True,) * len(parts.loop.exports))  # is refused now, or never
    read = [tensor.array for tensor, _ in given.values()] if any(flags) else []
    call = Call(core, flags, how.total, False, [], inits, again, read, how)
    results = run_core(core, call, stacked, constants)
    for value, tensor in zip(parts.exports, results[len(inits) :], strict=True):
        env.put(value, tensor, True)
    run_values(parts.after, env)
    rows = [_stacked(v, env) for v in parts.step.outputs]
    return results[: len(inits)], [unpack(t, how, problem.length) for t in rows]


def _given(
    problem: Problem, step: Step, ready: Ready, how: Ragged
) -> dict[Value, tuple[Tensor, bool]]:
    """The tensors of all inputs but the carry, and whether they are packed."""
    length = problem.length
    numbers = drawn(ready.draws, length, problem.reverse)
    sources = {
        "x": iter(flatten(problem.xs)[0]), "captured": iter(ready.tensors), "random": iter(numbers)
    }  # fmt: skip
    given = {}
    for value in step.inputs:
        if value.kind == "carry":
            continue
        *rowed, source = value.kind.split()
        tensor = next(sources[source])
        if rowed and source == "captured":
            tensor = expand(tensor, length, *tensor.shape)
        packed = bool(rowed) or source == "x"
        given[value] = (pack(tensor, how) if packed else tensor, packed)
    return given


def _stacked(value: Value, env: Environment) -> Tensor:
    tensor: Tensor = env.known[value]
    rows: Tensor = tensor if value in env.timed else spread(tensor, env.length)
    return rows
