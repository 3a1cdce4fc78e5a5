"""From a call of `scan` to a compiled loop: look up or compile, run; else fall back.

Legend: T time steps, B batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from typing import Any

import numpy as np

from ..graph import grad_mode
from ..inplace import AGAIN, check_read
from ..scan import Problem, run_loop
from ..tensor import Tensor
from ..tree import unflatten
from .checkpoints import NOT_DRAWN
from .core import Call, Engine, run_core
from .draws import drawn, undone_if_refused
from .duals import check_plain, with_tangents
from .packed import run_packed
from .packing import Ragged, Rectangle, ragged
from .program import FOREIGN, Refused, Value
from .spans import masked, run_spans, with_breaks
from .structures import prepared
from .tables import looked_up, makes_products_fewer

__all__ = ["fallbacks", "refusal", "run_compiled", "unnoted"]

LAST = 1000
fallbacks: list[str] = []  # why the last calls that fell back did so
_noting: ContextVar[bool] = ContextVar("noting", default=True)


@contextmanager
def unnoted() -> Iterator[None]:
    """What falls back here is not added to `fallbacks`: it is only asked about."""
    token = _noting.set(False)
    try:
        yield
    finally:
        _noting.reset(token)


def run_compiled(problem: Problem, engine: Engine) -> tuple[Any, Any]:
    """Run a scan on an engine, or on the loop if that cannot be."""
    try:
        with undone_if_refused():
            return _run(problem, engine)
    except Refused as found:
        if found.reason and _noting.get():
            fallbacks.append(found.reason)
        del fallbacks[:-LAST]
    return run_loop(problem)  # outside of the handler: its errors are its own


def refusal(problem: Problem, engine: Engine) -> str | None:
    """Why an engine would leave a problem to the loop; None if it would not."""
    try:
        _check_possible(problem)
        prepared(problem, engine)
    except Refused as found:
        return found.reason or "inside of a step that is being traced"
    return None


# ----------------------------------------------------------------------------- the ways to run
def _run(problem: Problem, engine: Engine) -> tuple[Any, Any]:
    def plain(problem: Problem) -> tuple[Any, Any]:
        _check_possible(problem)
        return run_spans(problem, lambda part, start: run_once(part, engine, start))

    return with_tangents(problem, plain)


def _check_possible(problem: Problem) -> None:
    if not problem.length:
        raise Refused("no steps")
    carries = problem.carries[0]
    if not carries:
        raise Refused("no carry")
    check_plain([*carries, *problem.inputs[0]])
    for leaf in (*carries, *problem.inputs[0]):
        array = leaf.array
        if type(array) is not np.ndarray:
            raise Refused(_unfit(leaf))
        if 0 in array.shape:
            raise Refused("an empty tensor")
        if not array.dtype.isnative:
            raise Refused(FOREIGN)


def _unfit(leaf: Any) -> str:
    """Why a tensor without numbers of the host cannot be in a compiled loop."""
    if type(leaf.array) is Value:
        return ""  # inside of another loop's step, which takes this one in, unrolled
    return f"tensors on device {leaf.device!r}"


def run_once(problem: Problem, engine: Engine, start: int) -> tuple[Any, Any]:
    """All steps of a problem in one loop; `start` is the number of steps that came before."""
    rows = None
    if problem.lengths is not None:
        if AGAIN:
            check_read((problem.lengths.array,))
        how = ragged(problem.lengths.array, problem.length, problem.reverse)
        rows = _rectangle(problem, how)
        found = None if rows is not None else _without_padding(problem, engine, how)
        if found is not None:
            return found
    problem, breaks = with_breaks(problem, start)
    if problem.lengths is not None and rows is None:
        problem = masked(problem)
    made = _made_of_table(problem, engine, breaks) if problem.lengths is None else None
    call, outputs = made or _made(problem, engine, breaks, rows)
    try:
        results, count = run_core(call), len(problem.carries[0])
    except IndexError:  # of a lookup in the loop, by what a step has computed
        raise Refused("an index out of range") from None
    final, ys = results[:count], results[count:]
    if rows is not None:
        _check_rows(problem, ys)
    return unflatten(problem.carries[1], final), unflatten(outputs, ys)


def _made(
    problem: Problem, engine: Engine, breaks: list[int], rows: Rectangle | None,
    numbers: Sequence[Tensor] | None = None,
) -> tuple[Call, Any]:  # fmt: skip
    """The call of a compiled core, and the structure of its outputs; perhaps with known numbers."""
    ready = prepared(problem, engine)
    given, draws = [*problem.carries[0], *problem.inputs[0]], ready.draws
    active = [t.node is not None for t in (*given, *ready.tensors)]
    recording = grad_mode() != 0 and True in active
    every = problem.checkpoint_every if recording and problem.lengths is None else None
    if numbers is None:
        numbers = [NOT_DRAWN] * len(draws)
        if draws and every is None:
            numbers = drawn(draws, problem.length, problem.reverse)
    inputs = [*given, *numbers, *ready.tensors]
    wanted = tuple([recording and t.node is not None for t in inputs])
    core = ready.compiled.core
    length = problem.length if rows is None else rows.count
    padded = None if rows is None or rows.full else rows
    call = Call(core, wanted, length, problem.reverse, breaks, inputs, padded, every, draws)
    return call, ready.outputs


def _made_of_table(problem: Problem, engine: Engine, breaks: list[int]) -> tuple[Call, Any] | None:
    """The same of inputs that were looked up in a table, where that makes products fewer."""
    moved = looked_up(problem)
    if moved is None:
        return None
    call, outputs = _made(moved[0], engine, breaks, None)
    if not makes_products_fewer(call.core.cut.whole):
        return None
    numbers = call.inputs[call.core.stacked][len(problem.inputs[0]) :]
    plain, _ = _made(problem, engine, breaks, None, numbers)  # now: what a step reads may change
    return replace(call, source=moved[1], plain=plain), outputs


def _rectangle(problem: Problem, how: Ragged) -> Rectangle | None:
    """The steps that all rows have, if they are equally long; the carry is not cut after them."""
    whole = how.rectangle
    return whole if whole is not None and (whole.full or problem.truncate is None) else None


def _check_rows(problem: Problem, ys: list[Tensor]) -> None:
    """The loop says what is wrong with outputs without rows."""
    assert problem.lengths is not None
    if any(y.shape[1:2] != problem.lengths.shape for y in ys):
        raise Refused("outputs without rows")


def _without_padding(problem: Problem, engine: Engine, how: Ragged) -> tuple[Any, Any] | None:
    """Rows of unequal length on the steps that they have; None if that needs masks."""
    try:
        with undone_if_refused():
            return run_packed(problem, engine, how)
    except Refused:
        return None
