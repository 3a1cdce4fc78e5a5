"""From a step to what it is compiled to: found again, or traced and compiled.

Compiling happens once per structure: operations, shapes, dtypes, Python numbers, engine. A step of
which all reads are known (`reads`) is not even traced while nothing but its tensors has changed;
any other one is traced at every call.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from threading import RLock
from types import CodeType
from typing import Any, NamedTuple, cast
from weakref import ref

import numpy as np

from ..checks import get_default_dtype
from ..errors import AnomalyError, InPlaceError
from ..graph import OFF, grad_mode
from ..inplace import AGAIN
from ..scan import Problem
from ..tensor import Tensor
from .code_reads import Counting, NotEnumerable, code_of, known_by, names_in
from .core import Core, Engine
from .cut import cut
from .duals import check_plain
from .passes import PASSES, clean, gather
from .program import Forward, Refused, Value, ancestors, place_of
from .reads import Reader, enumerated, fields
from .step import Step
from .trace import Trace, trace_step

__all__ = ["Compiled", "Ready", "compile_step", "prepared", "refused", "switched_off"]

KEPT = 256  # structures: a compiled loop is a megabyte or two
VARIANTS = 8  # of one code, that are kept: closures over other numbers, other classes
switched_off: set[str] = set()  # names of passes to leave out
_structures: dict[Any, Compiled | str] = {}
_steady: set[tuple[int, Any]] = set()
_known: dict[Any, list[Known]] = {}  # by `known_by`
_unknown: dict[Any, int] = {}  # how often such a step could not be enumerated
_lock = RLock()


@dataclass(frozen=True)
class Compiled:
    """What one structure compiles to; `history` has the step after each pass."""

    history: list[tuple[str, Step]]
    core: Core


class Ready(NamedTuple):
    """A compiled step, and what of a call it takes beside carry and inputs.

    Attributes:
        tensors: what it captures, in the order of its inputs.
        draws: random numbers of a step: method, shape, dtype.
        outputs: the structure of y.
    """

    compiled: Compiled
    tensors: Sequence[Tensor]
    draws: list[tuple[str, tuple[int, ...], Any]]
    outputs: Any


@dataclass
class Known:
    """A step whose reads are enumerated.

    `ready` has for each kind of inputs what it compiles to, as long as that is kept, its draws, the
    structure of its outputs, and the numbers of its tensors.
    """

    read: Reader
    ready: dict[Any, tuple[ref[Compiled], Any, Any, list[int]]] = field(default_factory=dict)


def prepared(problem: Problem, engine: Engine) -> Ready:
    """The compiled form of a step for its carry and inputs.

    Raises:
        Refused: there is none.
    """
    name = None if switched_off else known_by(problem.step)
    try:
        if name is not None and _unknown.get(name, 0) < VARIANTS:
            found = _without_trace(name, problem, engine)
            if found is not None:
                return found
        return _by_trace(problem, engine)
    except (AnomalyError, Refused):  # from itself it would be a cycle, with all that was there
        raise
    except Exception as error:
        if AGAIN and isinstance(error, InPlaceError):  # backward has no loop to fall back to
            raise
        raise refused(error) from error


def refused(error: Exception) -> Refused:
    """The refusal of a step that raises this when traced; the loop says whether it is at fault."""
    if isinstance(error, Refused):
        return error
    return Refused(f"{type(error).__name__} while tracing{place_of(error)}: {error}")


# ----------------------------------------------------------------------------- without a trace
def _without_trace(name: Any, problem: Problem, engine: Engine) -> Ready | None:
    for known in _known.get(name, ()):
        tensors = known.read(problem.step)
        if tensors is not None:
            check_plain(tensors)
            break
    else:
        known, tensors = Known(_never), ()
    signature = _signature(problem, tensors, engine)
    if signature is None:
        return None
    entry = known.ready.get(signature)
    compiled = None if entry is None else entry[0]()
    if entry is None or compiled is None:
        return _enumerated(name, known, signature, problem, engine)
    _, draws, outputs, used = entry
    return Ready(compiled, [tensors[i] for i in used], draws, outputs)


def _never(step: Any) -> None:
    """What reads a step that has not been looked at."""


def _signature(problem: Problem, tensors: Sequence[Tensor], engine: Engine) -> Any:
    """What a compiled form depends on beside the reads; None if not all are arrays of the host."""
    (carries, carry), (inputs, structure) = problem.carries, problem.inputs
    kinds: list[Any] = [engine.name, carry, structure, get_default_dtype(), grad_mode() == OFF]
    for tensor in inputs:
        array = tensor.array
        kinds += array.shape[1:], array.dtype
    for tensor in (*carries, *tensors):
        array = tensor.array
        if type(array) is not np.ndarray:
            return None
        kinds += array.shape, array.dtype
    return tuple(kinds)


def _enumerated(
    name: Any, known: Known, signature: Any, problem: Problem, engine: Engine
) -> Ready | None:
    """Enumerate a step, compile its copy and remember both; None if that cannot be."""
    trace, code = Trace(), cast(CodeType, code_of(problem.step))
    try:
        names_in(code)  # before anything that it holds is found to be too much
        copy, read = enumerated(problem.step, fields(signature[1:3]), trace)
        count = len(trace.tensors)
        _, carries, outputs, structure = trace_step(copy, problem.init, problem.xs, trace)
        if len(trace.tensors) > count:
            raise NotEnumerable("it makes tensors")
    except Counting as found:
        raise Refused(str(found)) from None
    except Forward:
        raise
    except Exception:  # whatever it is, a plain trace will say it better
        _unknown[name] = _unknown.get(name, 0) + 1
        return None
    alive = ancestors([*carries, *outputs])
    captured = [v in alive for v in trace.values if v.kind == "captured"]
    used = [i for i, needed in enumerate(captured) if needed]
    inputs = [v for v in trace.values if v.op is None and (v.kind != "captured" or v in alive)]
    key = _key(trace, carries, outputs, engine)
    compiled = _compiled_for(key, Step(inputs, carries, outputs), engine)
    trace.release()
    ready = Ready(compiled, [trace.tensors[i] for i in used], trace.draws, structure)
    with _lock:
        if known.read is _never:
            known = _remembered(name, Known(read))
        signature = _signature(problem, trace.tensors, engine)
        if len(known.ready) >= KEPT:
            known.ready.clear()
        known.ready[signature] = (ref(compiled), trace.draws, structure, used)
    return ready


def _remembered(name: Any, known: Known) -> Known:
    variants = _known.setdefault(name, [])
    variants.append(known)
    if len(variants) > VARIANTS:  # something else at each call: not worth to be looked at
        _unknown[name] = _unknown.get(name, 0) + 1
        del variants[0]
    return known


# ------------------------------------------------------------------------------- by a trace
def _by_trace(problem: Problem, engine: Engine) -> Ready:
    step, init, xs = problem.step, problem.init, problem.xs
    trace, carries, outputs, structure = trace_step(step, init, xs)
    key = _key(trace, carries, outputs, engine)
    compiled = _structures.get(key)
    identity = (hash(key), getattr(step, "__code__", type(step)))
    if not isinstance(compiled, Compiled) or identity not in _steady:
        again = trace_step(step, init, xs)[0]
        _check_steady(trace, again)
        again.release()
        inputs = [v for v in trace.values if v.op is None]
        compiled = _compiled_for(key, Step(inputs, carries, outputs), engine)
        _steady.add(identity)
    trace.release()
    return Ready(compiled, trace.tensors, trace.draws, structure)


def _key(trace: Trace, carries: list[Value], outputs: list[Value], engine: Engine) -> Any:
    return (
        engine.name, tuple(trace.keys), tuple([v.index for v in (*carries, *outputs)]),
        frozenset(switched_off),
    )  # fmt: skip


def _check_steady(first: Trace, second: Trace) -> None:
    """A step must do the same each time: what it makes anew at each call has to be equal."""
    if first.keys != second.keys:
        raise Refused("a step that does something else each time it is called")
    for a, b in zip(first.tensors, second.tensors, strict=True):
        if a is not b and not np.array_equal(a.array, b.array, equal_nan=a.dtype.kind == "f"):
            raise Refused("a step that makes new numbers at each call (use tg.rand or an input)")


# ------------------------------------------------------------------------------- compilation
def _compiled_for(key: Any, step: Step, engine: Engine) -> Compiled:
    """The compiled form of a structure; Refused, with the reason, if there is none."""
    with _lock:
        if key not in _structures:
            try:
                _keep(key, compile_step(step, engine))
            except Refused as refusal:
                _keep(key, refusal.reason)
            except Exception as error:
                reason = f"{type(error).__name__} while compiling: {error}"
                warnings.warn(f"scan runs as a loop: {reason}", RuntimeWarning, stacklevel=6)
                _keep(key, reason)
        found = _structures[key]
    if isinstance(found, str):
        raise Refused(found)
    return found


def _keep(key: Any, found: Compiled | str) -> None:
    """Remember what a structure compiles to, in the place of the oldest if there are many."""
    while len(_structures) >= KEPT:
        del _structures[next(iter(_structures))]
    _structures[key] = found


def compile_step(step: Step, engine: Engine) -> Compiled:
    """A step through all passes, cut; its loops are compiled when they are first run."""
    if any(0 in value.shape for value in step.values):
        raise Refused("an empty tensor in the step")
    if engine.change is None:
        return _through_passes(step, engine)
    changed = engine.change(step)  # often the same for steps that differed before
    keys = changed.inputs[0].graph.keys
    ends = tuple([v.index for v in (*changed.carries, *changed.outputs)])
    key = (engine.name, "changed", tuple(keys), ends, frozenset(switched_off))
    with _lock:
        found = None if None in keys else _structures.get(key)
        if not isinstance(found, Compiled):
            found = _through_passes(changed, engine)
            _keep(key, found)
    return found


def _through_passes(step: Step, engine: Engine) -> Compiled:
    history = [("trace", step)]
    passes = {**PASSES, **({"gather": gather} if engine.factors else {}), "clean again": clean}
    for name, change in passes.items():
        if name not in switched_off:
            step = change(step)
            history.append((name, step))
    return Compiled(history, Core(cut(step, engine.stays, engine.sinks_outputs), engine))
