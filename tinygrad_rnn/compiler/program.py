"""The intermediate representation: values, the operations that make them, and a checked printout.

A `Value` is one result of one primitive with a known shape and dtype; its arguments are values and
Python numbers. A `Graph` makes values and never makes one twice: an operation on the same arguments
with the same parameters *is* the value already there, so common subexpressions do not exist. Values
are numbered as they are made, and the numbers are a topological order.

A Value is also the payload of a Tensor while a step is being traced.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from traceback import walk_tb
from typing import Any

import numpy as np

from ..backend import quiet
from ..errors import TinygradRNNError
from ..graph import Primitive, primitives
from ..ops.declare import nondifferentiable
from ..tensor import Tensor

__all__ = [
    "FOREIGN",
    "Forward",
    "Graph",
    "Refused",
    "Value",
    "ancestors",
    "check",
    "detached",
    "freeze",
    "infer",
    "listing",
    "place_of",
    "recorded",
]

Key = Any

detached = nondifferentiable("detach", lambda xp, x: x, kernel="x")


LIBRARIES = (__name__.partition(".")[0], "numpy")
ASKING = frozenset((  # for numbers, of an array
    "__array__", "__dlpack__", "all", "any", "astype", "copy", "item", "max", "min", "numpy",
    "tolist",
))  # fmt: skip
FOREIGN = "a tensor whose bytes are in another order than the processor's"


class Refused(TinygradRNNError):
    """The compiler cannot express this step; the loop runs it, and `explain` tells the reason."""

    def __init__(self, reason: str) -> None:
        super().__init__("scan", "a step that can be compiled", reason)
        self.reason = reason


class Forward(Refused):
    """There are dual numbers: `duals` has another problem to be compiled."""

    def __init__(self, level: int) -> None:
        super().__init__("forward mode")
        self.level = level


def place_of(error: BaseException) -> str:
    """Where in a user's code an error was raised, as " at file.py:12"; "" if it was not in any."""
    found = ""
    for frame, line in walk_tb(error.__traceback__):
        if str(frame.f_globals.get("__name__")).partition(".")[0] not in LIBRARIES:
            found = f" at {Path(frame.f_code.co_filename).name}:{line}"
    return found


class _Primal:
    """What the layers below ask of a traced tensor when they look for numbers."""

    __slots__ = ("value",)
    array = np.zeros(())  # the compiler works for the host alone

    def __init__(self, value: Value) -> None:
        self.value = value

    @property
    def requires_grad(self) -> bool:
        """Not known: a compiled step is one for all who may want gradients or not."""
        asks = "the step asks whether a tensor requires a gradient, as tg.grad does"
        raise self.value.graph.refused(asks)

    def detach(self) -> Tensor:
        """The same value, through which no gradient flows."""
        value = self.value
        return Tensor(value.graph.record(detached, (value,), {}))


class Value:
    """One result: `op` on `args` with `params`, or an input if `op` is None."""

    __slots__ = (
        "args", "dtype", "graph", "index", "inputs", "kind", "label", "op", "params", "shape"
    )  # fmt: skip
    level = float("inf")  # the tracer is the innermost interpreter

    def __init__(
        self, graph: Any, op: Primitive | None, args: tuple[Any, ...], params: dict[str, Any],
        shape: tuple[int, ...], dtype: Any, kind: str = "",
    ) -> None:  # fmt: skip
        self.graph, self.op, self.args, self.params = graph, op, args, params
        self.shape, self.dtype, self.kind = shape, dtype, kind
        self.index = len(graph.values)
        self.label = ""  # what the user calls it, if `explain` has found out
        self.inputs: list[Value] = [a for a in args if type(a) is Value]  # those that are values

    @property
    def primal(self) -> Any:
        """A stand-in for the tensor below this payload."""
        return _Primal(self)

    @property
    def name(self) -> str:
        """The name of the operation, or "" for an input."""
        return "" if self.op is None else self.op.name

    @property
    def size(self) -> int:
        """The number of elements."""
        count = 1
        for n in self.shape:
            count *= n
        return count

    def __getattr__(self, name: str) -> Any:
        if name in ASKING:
            asks = f"the step asks for the numbers in a tensor ({name})"
            raise Refused(asks) if self.graph is None else self.graph.refused(asks)
        raise AttributeError(name)

    def __repr__(self) -> str:
        return f"%{self.index}:{self.dtype}{list(self.shape)}"


class Graph:
    """Values in order of creation, each operation once.

    Attributes:
        recording: whether gradients are to go through what is done while they are recorded, and
            only that.
        refusal: why what is done cannot be expressed, whoever has caught it meanwhile.
    """

    recording = False
    refusal: Refused | None = None

    def refused(self, reason: str) -> Refused:
        """The error to be raised; it is not forgotten."""
        self.refusal = self.refusal or Refused(reason)
        return self.refusal

    def __init__(self) -> None:
        self.values: list[Value] = []
        self.keys: list[Key] = []
        self.memo: dict[Key, Value] = {}

    def input(self, kind: str, shape: tuple[int, ...], dtype: Any) -> Value:
        """A new input; `kind` says which."""
        value = Value(self, None, (), {}, shape, dtype, kind)
        self.values.append(value)
        self.keys.append((kind, shape, dtype))
        return value

    def record(self, op: Primitive, args: tuple[Any, ...], params: dict[str, Any]) -> Value:
        """The value of `op` on these arguments: the one there is, or a new one."""
        frozen = freeze(params) if params else None
        key = (op, tuple([a.index if type(a) is Value else repr(a) for a in args]), frozen)
        found = self.memo.get(key)
        if found is None:
            shape, dtype = infer(op, args, params, frozen)
            found = Value(self, op, args, params, shape, dtype)
            self.values.append(found)
            self.keys.append(key)
            self.memo[key] = found
        return found

    def again(self, value: Value, args: tuple[Any, ...]) -> Value:
        """The operation of a value (perhaps of another graph) on other arguments."""
        assert value.op is not None
        return self.record(value.op, args, value.params)

    def copied(self, value: Value) -> Value:
        """A second value with the same numbers, which `record` would not make."""
        made = Value(self, primitives["clone"], (value,), {}, value.shape, value.dtype)
        self.values.append(made)
        self.keys.append(None)
        return made

    def zeros_like(self, value: Value) -> Value:
        """Zeros, whatever the value is: true where x = x and x ≠ x, which is nowhere."""
        same, other = (self.record(primitives[n], (value, value), {}) for n in ("eq", "ne"))
        never = self.record(primitives["logical_and"], (same, other), {})
        params = {"dtype": value.dtype, "source": never.dtype}
        return self.record(primitives["cast"], (never,), params)

    def capture(self, tensor: Tensor) -> Value:
        """Only a trace can take in tensors from outside."""
        raise Refused("a derivative that makes new tensors")


def recorded(name: str, *args: Any, **params: Any) -> Value:
    """The value of an operation, by its name, in the graph of its arguments."""
    graph: Graph = next(a.graph for a in args if type(a) is Value)
    return graph.record(primitives[name], args, params)


def freeze(value: Any) -> Any:
    """Parameters as something that can be a key: slices become tuples, arrays are refused."""
    kind = type(value)
    if kind is dict:
        return tuple([(k, freeze(v)) for k, v in value.items()])
    if kind is tuple or kind is list:
        return tuple([freeze(v) for v in value])
    if kind is slice:
        return ("slice", value.start, value.stop, value.step)
    if kind is float:
        return repr(value)
    if isinstance(value, np.ndarray) or kind is Value or kind is Tensor:
        raise Refused("an operation whose parameters are arrays")
    return value


# --------------------------------------------------------------------------- shapes and types
_known: dict[Key, tuple[tuple[int, ...], Any]] = {}


def infer(op: Primitive, args: tuple[Any, ...], params: dict[str, Any], frozen: Key = None) -> Any:
    """Shape and dtype of a result, learnt by running the operation on ones and remembered."""
    if op.form == "elementwise" and frozen is None:
        like = args[-1]  # of `where` the first is the condition
        if type(like) is Value and all(type(a) is not Value or a.shape == like.shape for a in args):
            return like.shape, like.dtype
    signature = tuple([(a.shape, a.dtype) if type(a) is Value else repr(a) for a in args])
    key = (op, signature, frozen)
    found = _known.get(key)
    if found is None:
        samples = [
            np.ones(a.shape, a.dtype) if type(a) is Value and a.dtype.kind == "f"
            else np.zeros(a.shape, a.dtype) if type(a) is Value else a
            for a in args
        ]  # fmt: skip
        with quiet():
            out = op.forward(np, *samples, **params)
        found = _known[key] = (tuple(out.shape), np.dtype(out.dtype))
    return found


# ------------------------------------------------------------------------------- walking about
def ancestors(
    values: Iterable[Value], stop: Callable[[Value], bool] = lambda value: False
) -> set[Value]:
    """The values and everything they are made of; what `stop` says is included but not entered."""
    seen: set[Value] = set()
    stack = list(values)
    while stack:
        value = stack.pop()
        if value in seen:
            continue
        seen.add(value)
        if not stop(value):
            stack.extend(value.inputs)
    return seen


def listing(values: Iterable[Value], outputs: Sequence[tuple[str, Value]] = ()) -> str:
    """A printout: one line for each value, then the outputs."""
    lines = []
    for value in values:
        if value.op is None:
            lines.append(f"  {value!r} = {value.kind}")
            continue
        words = [f"%{a.index}" if type(a) is Value else repr(a) for a in value.args]
        words += [f"{k}={_short(v)}" for k, v in value.params.items()]
        lines.append(f"  {value!r} = {value.name} {' '.join(words)}")
    lines += [f"  {name} <- %{value.index}" for name, value in outputs]
    return "\n".join(lines)


def _short(value: Any) -> str:
    if isinstance(value, slice):
        return ":".join("" if v is None else str(v) for v in (value.start, value.stop))
    if isinstance(value, tuple):
        return "(" + ",".join(_short(v) for v in value) + ")"
    return "…" if value is Ellipsis else str(value)


def check(values: Sequence[Value], outputs: Iterable[Value]) -> None:
    """Arguments come before what is made of them, shapes and types are what they must be."""
    seen: set[Value] = set()
    for value in values:
        if value.op is not None:
            missing = [a for a in value.inputs if a not in seen]
            assert not missing, f"{value!r} uses {missing} before they are made"
            found = infer(value.op, value.args, value.params, freeze(value.params) or None)
            assert found == (value.shape, value.dtype), f"{value!r} should be {found}"
        seen.add(value)
    absent = [value for value in outputs if value not in seen]
    assert not absent, f"outputs {absent} are not made"
