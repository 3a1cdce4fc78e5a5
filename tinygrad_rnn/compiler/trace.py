"""Tracing: a step run once on tensors without numbers; what it does is the program.

A trace is made anew whenever anything that the step reads may have changed (`reads`), its tensors
apart, which are always those of the call; compiling happens once per structure. Tensors that the
step finds outside of itself become inputs of kind "captured" and keep their place in the graph, so
gradients reach them by the ordinary rules.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import create
from ..forward import Dual
from ..graph import INTERPRETERS, OFF, REVERSE_UNDER, Primitive, grad_mode
from ..ops.call import SCALARS, agree
from ..ops.parts import assemble
from ..tensor import Tensor, as_tensor
from ..tree import flatten, unflatten
from .lookups import scattered
from .program import FOREIGN, Forward, Graph, Refused, Value, detached, place_of

__all__ = ["Trace", "trace_step"]


new = object.__new__


class Trace(Graph):
    """A graph that grows while a step runs, and what the step has found outside of itself."""

    def __init__(self) -> None:
        super().__init__()
        self.recording = grad_mode() != OFF
        self.captured: dict[int, Value] = {}
        self.tensors: list[Tensor] = []
        self.draws: list[tuple[str, tuple[int, ...], Any]] = []
        self.made: dict[int, Any] = {}  # arrays that the step has made

    def capture(self, tensor: Tensor) -> Value:
        """The input that stands for a tensor from outside."""
        found = self.captured.get(id(tensor))
        if found is None:
            array = tensor.array
            if type(array) is Dual:
                raise Forward(array.level)
            if type(array) is not np.ndarray:
                raise self.refused(f"the step uses a tensor of {type(array).__name__}")
            if not array.dtype.isnative:
                raise self.refused(FOREIGN)
            found = self.input("captured", array.shape, array.dtype)
            self.captured[id(tensor)] = found
            self.tensors.append(tensor)
        return found

    def release(self) -> None:
        """Let go of the values, which know their graph: nothing waits for the cycle collector."""
        for value in self.values:
            value.graph = None

    def draw(self, method: Any, shape: tuple[int, ...], dtype: Any) -> Value:
        """Random numbers asked for by the step: an input, drawn for all steps before the loop."""
        self.draws.append((method.__name__, shape, dtype))
        return self.input(f"random {method.__name__}", shape, dtype)


def _record(primitive: Primitive, args: tuple[Any, ...], params: dict[str, Any]) -> Any:
    """The interpreter: an operation on traced tensors is a value of their graph."""
    graph: Any = None
    dtype: Any = None
    plain = True  # floats of one dtype, and numbers: nothing to be converted
    for arg in args:
        if type(arg) is Tensor:
            array = arg.array
            if type(array) is Value:
                if graph is None:
                    graph = array.graph
                elif graph is not array.graph:
                    raise Refused("a value of an outer traced loop")
            elif type(array) is Dual:  # what the step captures in forward mode: it comes first
                return INTERPRETERS[Dual](primitive, args, params)
            if dtype is None:
                dtype = array.dtype
            elif array.dtype is not dtype and array.dtype != dtype:
                plain = False
        elif type(arg) not in SCALARS:
            plain = False
    if not plain or dtype.kind != "f":
        args = tuple(agree(primitive, args))
    values = tuple([_value(graph, arg) if type(arg) is Tensor else arg for arg in args])
    result = new(Tensor)
    made = scattered(graph, values, params) if primitive is assemble else None
    made = graph.record(primitive, values, params) if made is None else made
    if graph.recording and grad_mode() == OFF and made.dtype.kind == "f":
        made = graph.record(detached, (made,), {})
    result.array, result.node = made, None
    return result


def _value(graph: Any, tensor: Tensor) -> Value:
    array = tensor.array
    return array if type(array) is Value else graph.capture(tensor)


def _no_gradient(ys: Any, xs: Any, cs: Any, create: Any) -> Any:
    raise Refused("the step takes a gradient")


INTERPRETERS[Value] = _record
REVERSE_UNDER[Value] = _no_gradient


def trace_step(
    step: Callable[[Any, Any], Any], carry: Any, xs: Any, trace: Trace | None = None
) -> tuple[Trace, list[Value], list[Value], Any]:
    """Run `step` on a carry and one x of `xs` without numbers.

    Returns:
        The trace, the values of the next carry and of the outputs, and the structure of the latter.

    Raises:
        Refused: whatever the step does that has no place in a program.
    """
    trace = Trace() if trace is None else trace
    try:
        return _traced(step, carry, xs, trace)
    except Exception as error:
        trace.release()
        if type(error) is not Refused:  # there is another way, or it is not for us
            raise
        raise Refused(error.reason + place_of(error)) from error


def _traced(
    step: Callable[[Any, Any], Any], carry: Any, xs: Any, trace: Trace
) -> tuple[Trace, list[Value], list[Value], Any]:
    carries, carry_structure = flatten(carry)
    inputs, x_structure = flatten(xs)
    before = [Tensor(trace.input("carry", c.array.shape, c.array.dtype)) for c in carries]
    x = [Tensor(trace.input("x", v.array.shape[1:], v.array.dtype)) for v in inputs]
    with create.drawing(trace):
        result = step(unflatten(carry_structure, before), unflatten(x_structure, x))
    if trace.refusal is not None:  # and the step has caught it
        raise trace.refusal
    if not isinstance(result, tuple) or len(result) != 2:
        raise Refused("a step that does not return (carry, output)")
    after, structure = flatten(result[0])
    outputs, y_structure = flatten(result[1])
    if structure != carry_structure:
        raise Refused("a carry that changes its structure")
    new = [_value(trace, as_tensor(leaf)) for leaf in after]
    for old, value in zip(before, new, strict=True):
        if old.shape != value.shape or old.dtype != value.dtype:
            raise Refused("a carry that changes its shape or dtype")
    return trace, new, [_value(trace, as_tensor(leaf)) for leaf in outputs], y_structure
