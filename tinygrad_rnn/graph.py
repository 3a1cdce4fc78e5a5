"""The graph: primitives, the nodes they leave behind, and how a call becomes a node.

A `Tensor` is an array and, where a gradient may be asked for, the `Node` that made it. A node knows
its primitive, the nodes of its inputs (None for constants) and the values that backward will
name: nothing else is kept alive. Nodes are numbered in order of creation, and so the numbers are a
topological order: an input is always older than what was made from it.

Values need not be numbers. Whoever wants to run a program in another way (forward mode, the loop
compiler) registers an *interpreter* for a payload type of its own: a Tensor that carries such a
payload sends every operation to it. That is the only extension point.
"""

from __future__ import annotations

import itertools
import traceback
import weakref
from collections.abc import Callable, Sequence
from contextlib import ContextDecorator, suppress
from contextvars import ContextVar, Token
from inspect import iscoroutinefunction, isgeneratorfunction
from typing import Any, NamedTuple, TypeVar

from .errors import AnomalyError, ArgumentError, AutodiffError

__all__ = [
    "INTERPRETERS", "LEAF", "Node", "Primitive", "PrimitiveFunction", "REVERSE_UNDER", "Watch",
    "changed_since", "detect_anomaly", "enable_grad", "grad_mode", "has_nan", "is_grad_enabled",
    "no_grad", "primitives", "root_of", "set_grad_enabled", "touch", "touched_since", "watching",
]  # fmt: skip

Array = Any
Value = Any  # a raw array in a first derivative, a Tensor in a higher one
Rule = Callable[..., Value]
F = TypeVar("F", bound=Callable[..., Any])

# ---------------------------------------------------------------------------------- grad mode
OFF, ON, ANOMALY = 0, 1, 2
_mode: ContextVar[int] = ContextVar("grad_mode", default=ON)
grad_mode = _mode.get  # called for every recorded operation
_watching: ContextVar[bool] = ContextVar("watching", default=False)
watching = _watching.get  # whether anomalies are being detected, also where nothing is recorded


def is_grad_enabled() -> bool:
    """Whether operations are being recorded in this thread (or task)."""
    return grad_mode() != OFF


class _Mode(ContextDecorator):
    """Context manager and decorator that sets the mode and puts back what it found."""

    def __init__(self, value: int | None) -> None:
        self.value, self.begun = value, False  # None: recording, and watching if that was on
        self.before: list[tuple[Token[int], Token[bool]]] = []  # one inside of the other

    def _recreate_cm(self) -> _Mode:
        return _Mode(self.value)  # for each call of a decorated function

    def __call__(self, function: F) -> F:
        if isgeneratorfunction(function) or iscoroutinefunction(function):
            raise ArgumentError(
                "grad mode", "a plain function to decorate", function.__name__,
                "use `with` inside of a generator or coroutine",
            )  # fmt: skip
        if self.begun:
            self.__exit__()
        return super().__call__(function)

    def __enter__(self) -> _Mode:
        mode = self.value if self.value is not None else ANOMALY if watching() else ON
        if not self.begun:  # else it has been since it was made
            self.before.append((_mode.set(mode), _watching.set(watching() or mode == ANOMALY)))
        self.begun = False
        return self

    def __exit__(self, *error: object) -> None:
        was, watched = self.before.pop()
        with suppress(ValueError):  # a generator that another thread or task closes
            _mode.reset(was)
            _watching.reset(watched)


def no_grad(function: Any = None) -> Any:
    """Context manager and decorator: operations inside are not recorded."""
    return _Mode(OFF) if function is None else _Mode(OFF)(function)


def enable_grad(function: Any = None) -> Any:
    """Context manager and decorator: operations inside are recorded, also within `no_grad`."""
    return _Mode(None) if function is None else _Mode(None)(function)


def set_grad_enabled(mode: bool) -> Any:
    """Recording on or off, by a flag, from here on; or as a context manager and decorator."""
    made = _Mode(None if mode else OFF).__enter__()
    made.begun = True
    return made


def detect_anomaly() -> Any:
    """Context manager: the operation that first makes a NaN raises and names the user's line.

    A compiled loop is one operation, "loop": of the NaN that its step makes it finds those that
    reach an output, a carry or a gradient. With engine="loop" the operation in the step is named.
    """
    return _Mode(ANOMALY)


# ---------------------------------------------------------------------------------- primitives
class Primitive:
    """One operation: how it is computed and how it is differentiated.

    Attributes:
        name: unique in the registry.
        form: "elementwise", "linear" or "general" (see `ops.declare`).
        forward: `forward(xp, *arrays, **params)`, on raw arrays.
        rules: for each input, `rule(cotangent, saved, node) -> cotangent of the input`, written in
            the library's own operations; None where there is no derivative.
        jvp: `jvp(tangents, inputs, out, params) -> tangent of the output`.
        saver: `saver(needed, out, inputs) -> saved`: what the rules of the needed inputs name.
        sources: for each saved value, -1 for the output or the number of the input it is.
        pullback: where one computation serves all inputs, `pullback(g, saved, node, targets)` in
            place of the rules, giving a cotangent (or None) for each parent.
        extra: what tools read: `domain`, `kinks`, `kernel`, `linear_in`, `variadic`, `promote`.
    """

    def __init__(
        self, name: str, form: str, forward: Callable[..., Array], rules: Sequence[Rule | None],
        jvp: Callable[..., Any],
        saver: Callable[[Sequence[bool], Array, Sequence[Array]], tuple[Array, ...]],
        sources: Sequence[int], **extra: Any,
    ) -> None:  # fmt: skip
        if name in primitives:
            raise AutodiffError("Primitive", "a new name", f"{name!r}, which is taken")
        self.name, self.form, self.forward, self.jvp = name, form, forward, jvp
        self.rules, self.saver, self.sources, self.extra = tuple(rules), saver, sources, extra
        self.variadic = bool(extra.get("variadic", False))
        self.promote: str | None = extra.get("promote")
        self.pullback: Callable[..., Sequence[Any]] | None = extra.get("pullback")
        self.jointly = self.variadic or self.pullback is not None
        primitives[name] = self

    def rule(self, position: int) -> Rule | None:
        """The vjp rule of one input; variadic primitives have one for all."""
        return self.rules[0] if self.variadic else self.rules[position]

    def __repr__(self) -> str:
        return f"<{self.form} primitive {self.name}>"


primitives: dict[str, Primitive] = {}
PrimitiveFunction = Callable[..., Any]


def _no_rule(*_: Any) -> Any:
    raise AutodiffError("leaf", "nothing to be differentiated", "a call of its rule")


LEAF = Primitive("leaf", "general", _no_rule, (), _no_rule, _no_rule, ())


class Watch:
    """What someone wants to see at a node: hooks, and the gradient if it is to be kept."""

    __slots__ = ("__weakref__", "grad", "hooks", "keep")

    def __init__(self, keep: bool) -> None:
        self.keep = keep
        self.grad: Any = None
        self.hooks: dict[object, Callable[[Any], Any]] = {}


class HookHandle(NamedTuple):
    """A registered hook; `remove()` takes it off, and is harmless when it is off already."""

    remove: Callable[[], object]


class Node:
    """A recorded operation. `saved` is None once backward has freed it."""

    __slots__ = (
        "__weakref__", "index", "params", "parents", "primitive", "saved", "shape", "watch",
    )  # fmt: skip

    def __init__(
        self,
        primitive: Primitive,
        parents: tuple[Node | None, ...],
        saved: tuple[Array, ...] | None,
        params: dict[str, Any] | None,
        shape: tuple[int, ...],
    ) -> None:
        self.primitive = primitive
        self.parents = parents
        self.saved = saved
        self.params = params
        self.shape = shape
        self.index = next(clock)
        self.watch: Watch | None = None

    def __repr__(self) -> str:
        return f"<node {self.index} {self.primitive.name} {self.shape}>"


clock = itertools.count(1)

# ------------------------------------------------------------------------------ in-place changes
# The clock that numbers nodes also numbers changes, so "changed since it was saved" is one
# comparison, and a program that changes nothing in place pays nothing.
_changes: dict[int, tuple[int, Any]] = {}
last_change = [0]


def root_of(array: Array) -> Array:
    """The array that owns the memory of this one."""
    while getattr(array, "base", None) is not None and hasattr(array.base, "dtype"):
        array = array.base
    return array


def touch(array: Array) -> None:
    """Note that the memory behind `array` is being changed in place."""
    root = root_of(array)
    key = id(root)
    last_change[0] = next(clock)
    if key in _changes:
        _changes[key] = (last_change[0], _changes[key][1])
    else:
        _changes[key] = (last_change[0], weakref.ref(root, lambda _: _changes.pop(key, None)))


def touched_since(array: Array, index: int) -> bool:
    """Whether the memory behind `array` was changed after node number `index` was made."""
    if last_change[0] < index or not hasattr(array, "dtype"):
        return False
    return _changes.get(id(root_of(array)), (0, None))[0] > index


def changed_since(index: int) -> dict[int, Array]:
    """The memory that was changed after number `index` and is still there, by its id."""
    if last_change[0] < index:
        return {}
    late = [(key, there()) for key, (when, there) in list(_changes.items()) if when > index]
    return {key: array for key, array in late if array is not None}


# ----------------------------------------------------------------------------------- anomalies
_birthplaces: weakref.WeakKeyDictionary[Node, str] = weakref.WeakKeyDictionary()


def users_line() -> str:
    """The innermost source line that is not the library's own."""
    here = __name__.rpartition(".")[0]
    for frame, line in traceback.walk_stack(None):
        module = frame.f_globals.get("__name__", "")
        if not (module == here or module.startswith(here + ".")):
            return f"{frame.f_code.co_filename}:{line} in {frame.f_code.co_name}"
    return "an unknown line"


def birthplace(node: Node) -> str | None:
    """The user's line that made `node`, known if anomalies were being detected."""
    return _birthplaces.get(node)


def watch_nan(node: Node, out: Array, arrays: Sequence[Array]) -> None:
    """Under `detect_anomaly`: remember the line, and raise if this operation made the first NaN."""
    place = users_line()
    _birthplaces[node] = place
    if has_nan(out) and not any(has_nan(array) for array in arrays):
        wanted = "a result without NaN from inputs without NaN"
        raise AnomalyError(node.primitive.name, wanted, f"NaN at {place}")


def has_nan(value: Any) -> bool:
    """Whether a NaN is among the elements, or in one of several arrays; symbols have none."""
    if isinstance(value, (list, tuple)):
        return any(map(has_nan, value))
    array = getattr(value, "array", value)
    differs: Any = array != array
    return bool(differs.any() if hasattr(differs, "any") else differs)


# --------------------------------------------------------------------------------- interpreters
Interpreter = Callable[[Primitive, tuple[Any, ...], dict[str, Any]], Any]
INTERPRETERS: dict[type, Interpreter] = {}
# how to take gradients(outputs, inputs, cotangents) when some of them carry such a payload, and
# whether to record them (None: if anybody could ask)
REVERSE_UNDER: dict[type, Callable[[list[Any], list[Any], list[Any], bool | None], list[Any]]] = {}


def interpreter_for(values: Sequence[Any]) -> Interpreter | None:
    """The interpreter of the innermost transformation among the payloads, if there is any."""
    innermost: Any = None
    for value in values:
        payload: Any = getattr(value, "array", None)
        if type(payload) in INTERPRETERS and (innermost is None or payload.level > innermost.level):
            innermost = payload
    return None if innermost is None else INTERPRETERS[type(innermost)]
