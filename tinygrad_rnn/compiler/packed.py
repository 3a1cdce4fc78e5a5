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
from ..tree import unflatten
from .core import Call, Engine, run_core
from .cut import Cut
from .draws import drawn
from .packing import Ragged
from .program import Refused
from .ragged_engine import for_rows
from .structures import Ready, prepared

__all__ = ["run_packed"]


def run_packed(problem: Problem, engine: Engine, how: Ragged) -> tuple[Any, Any]:
    """The final carry and the outputs.

    Raises:
        Refused: rows depend on each other, or it is not worth while.
    """
    if problem.truncate is not None or any(leaf.ndim < 2 for leaf in problem.inputs[0]):
        raise Refused("rows of unequal length with truncation, or inputs without rows")
    if not how.total:
        raise Refused("no row that is long enough")
    ready = prepared(problem, for_rows(engine))
    final, ys = _execute(problem, ready, how)
    return unflatten(problem.carries[1], final), unflatten(ready.outputs, ys)


def _execute(problem: Problem, ready: Ready, how: Ragged) -> tuple[list[Tensor], list[Tensor]]:
    core = ready.compiled.core
    inits = problem.carries[0]
    inputs = [*inits, *_inputs(problem, core.cut, ready)]
    recording = grad_mode() != 0
    wanted = tuple([recording and t.node is not None for t in inputs])
    if any(wanted):
        core.backward(wanted, (True,) * len(core.cut.whole.exports))  # is refused now, or never
    results = run_core(Call(core, wanted, how.total, False, [], inputs, how))
    return results[: len(inits)], results[len(inits) :]


def _inputs(problem: Problem, parts: Cut, ready: Ready) -> list[Tensor]:
    """The tensors of all inputs but the carry: stacked ones, and constants."""
    numbers = drawn(ready.draws, problem.length, problem.reverse) if ready.draws else []
    sources = {
        "x": iter(problem.inputs[0]), "captured": iter(ready.tensors), "random": iter(numbers)
    }  # fmt: skip
    stacked: list[Tensor] = []
    constant: list[Tensor] = []
    for kind in parts.kinds:
        *rowed, source = kind.split()
        tensor = next(sources[source])
        if rowed and source == "captured":
            tensor = expand(tensor, problem.length, *tensor.shape)
        (stacked if rowed or source == "x" else constant).append(tensor)
    return [*stacked, *constant]
