"""The three forms in which a primitive is declared.

    elementwise   y = f(x, …) element by element: a forward and one derivative per input
    linear        y = A x (or linear in each of several inputs): a forward and its transposes
    general       the rest: a forward, a vjp and a jvp per input

A derivative is written once, in the library's own operations, so that the same line runs on raw
arrays (a first derivative), on Tensors (a higher one) and under the loop compiler. Its first
argument is the cotangent (or the tangent: an elementwise derivative is its own transpose), and *the
names of the others say what is kept for backward*: an input, `out`, a parameter, or `in_shape`.

    tanh = elementwise("tanh", lambda xp: xp.tanh, lambda g, out: g - g * out * out)

keeps its output and nothing else. See docs/adding_an_op.md.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..backend import backend_of, is_array
from ..errors import (
    DeviceError,
    DTypeError,
    IndexRangeError,
    NotDifferentiable,
    ShapeError,
    TinygradRNNError,
)
from ..graph import (
    ANOMALY,
    INTERPRETERS,
    Node,
    Primitive,
    Rule,
    grad_mode,
    interpreter_for,
    watch_for_nan,
)
from ..tensor import Tensor, as_tensor, get_default_dtype

__all__ = ["bind", "call", "elementwise", "fast_binary", "general", "linear", "nondifferentiable"]

new = object.__new__
NO_PARAMS: dict[str, Any] = {}
SCALARS = frozenset((float, int, bool))
REAL_LINE = (-float("inf"), float("inf"))


# ------------------------------------------------------------------------------ every call
def bind(primitive: Primitive, args: Sequence[Any], params: dict[str, Any] = NO_PARAMS) -> Any:
    """Run a primitive on tensors, arrays and numbers: the way of every call but the fast ones.

    Raw arrays alone give raw arrays and record nothing; with any Tensor the result is a Tensor.
    """
    interpreter = interpreter_for(args)
    if interpreter is not None:
        return interpreter(primitive, tuple(args), params)
    if not any(type(arg) is Tensor for arg in args):
        arrays = [arg for arg in args if is_array(arg)]
        if arrays:
            return primitive.forward(backend_of(arrays[0]).xp, *args, **params)
        args = [as_tensor(arg) for arg in args]
    return execute(primitive, _agree(primitive, args), params)


def execute(primitive: Primitive, args: Sequence[Any], params: dict[str, Any]) -> Tensor:
    """Compute and, where an input has a node, record."""
    arrays = [arg.array if type(arg) is Tensor else arg for arg in args]
    backend = backend_of(next(a for a, t in zip(arrays, args, strict=True) if type(t) is Tensor))
    try:
        out = primitive.forward(backend.xp, *arrays, **params)
    except (ValueError, TypeError, IndexError, OverflowError) as error:
        raise explain(primitive, arrays, error) from None
    if type(out) is not backend.array_type:
        out = backend.xp.asarray(out)
    mode = grad_mode()
    parents = tuple(arg.node if type(arg) is Tensor else None for arg in args) if mode else ()
    needed = [p is not None and primitive.rule(i) is not None for i, p in enumerate(parents)]
    if not any(needed):
        return Tensor(out)
    kept = tuple(p if need else None for p, need in zip(parents, needed, strict=True))
    node = Node(primitive, kept, primitive.saver(needed, out, arrays), params, out.shape)
    if mode == ANOMALY:
        watch_for_nan(node, out, arrays)
    return Tensor(out, node)


def explain(primitive: Primitive, arrays: Sequence[Any], error: Exception) -> TinygradRNNError:
    """What NumPy refused, as one of our errors."""
    if isinstance(error, TinygradRNNError):
        return error
    got = ", ".join(_describe(array) for array in arrays)
    if isinstance(error, IndexError):
        return IndexRangeError(primitive.name, "an index inside every axis", f"{error} ({got})")
    if isinstance(error, (TypeError, OverflowError)):
        return DTypeError(primitive.name, "operands of fitting types", f"{got} ({error})")
    if primitive.form == "elementwise":
        return ShapeError(primitive.name, "shapes that broadcast", got)
    return ShapeError(primitive.name, "fitting shapes", f"{got} ({error})")


def _describe(value: Any) -> str:
    return f"{tuple(value.shape)} {value.dtype}" if hasattr(value, "dtype") else repr(value)


# ----------------------------------------------------------- devices and dtypes must agree
def _agree(primitive: Primitive, args: Sequence[Any]) -> Sequence[Any]:
    """The arguments as tensors (or weak Python numbers) of one device and, where asked, one dtype.

    Python numbers and NumPy scalars take the dtype of the tensors; between tensors the larger type
    of the higher kind wins, 0-d tensors giving way, as in PyTorch.
    """
    checked = [_operand(primitive, arg) for arg in args]
    tensors = [arg for arg in checked if type(arg) is Tensor]
    backend = tensors[0].backend
    for other in tensors[1:]:
        if other.backend is not backend:
            raise DeviceError(
                primitive.name,
                "tensors on one device",
                f"{backend.name!r} and {other.device!r}",
                f'move one with .to("{backend.name}")',
            )
    if primitive.promote is None:
        return checked
    skip = int(primitive.extra.get("condition", False))
    dtype = _common_dtype(checked[skip:], primitive.promote)
    return checked[:skip] + [
        arg.to(dtype) if type(arg) is Tensor and arg.dtype != dtype else arg
        for arg in checked[skip:]
    ]


def _operand(primitive: Primitive, arg: Any) -> Any:
    if type(arg) is Tensor or type(arg) in SCALARS:
        return arg
    if isinstance(arg, np.generic):
        return arg.item()
    if is_array(arg):
        return as_tensor(arg)
    raise DTypeError(primitive.name, "a tensor, an array or a number", f"{type(arg).__name__}")


_KINDS = {"b": 0, "u": 1, "i": 1, "f": 2}


def _common_dtype(args: Sequence[Any], promote: str) -> np.dtype[Any]:
    tensors = [arg for arg in args if type(arg) is Tensor]
    top = max(_KINDS[t.dtype.kind] for t in tensors)
    strong = [t for t in tensors if _KINDS[t.dtype.kind] == top]
    shaped = [t.dtype for t in strong if t.ndim] or [t.dtype for t in strong]
    dtype = np.result_type(*shaped)
    wants_float = promote == "float" or any(isinstance(arg, float) for arg in args)
    return dtype if dtype.kind == "f" or not wants_float else get_default_dtype()


# --------------------------------------------------------------- what a derivative names
class _Names:
    """Which values the derivatives of a primitive name, and where each is kept."""

    def __init__(self, inputs: Sequence[str], functions: Sequence[Callable[..., Any] | None]):
        self.inputs = list(inputs)
        wanted = [self._wants(function) for function in functions]
        places = {name: i for i, name in enumerate(self.inputs)} | {"out": -1}
        self.sources = sorted({places[n] for names in wanted for n in names if n in places})
        slot = {source: i for i, source in enumerate(self.sources)}
        self.slots = [[slot[places[n]] for n in names if n in places] for names in wanted]
        self.params = [[n for n in names if n not in places] for names in wanted]

    @staticmethod
    def _wants(function: Callable[..., Any] | None) -> list[str]:
        return [] if function is None else list(inspect.signature(function).parameters)[1:]

    def rule(self, i: int, function: Callable[..., Any] | None) -> Rule | None:
        """`function` as `rule(cotangent, saved, node)`, with the shortest way for the usual cases."""
        if function is None:
            return None
        slots, params = self.slots[i], self.params[i]
        if params:

            def with_params(g: Any, saved: Any, node: Node) -> Any:
                parent = node.parents[i]
                values = {"in_shape": parent.shape if parent else (), **(node.params or {})}
                return function(g, *[saved[s] for s in slots], **{n: values[n] for n in params})

            return with_params
        if not slots:
            return lambda g, saved, node: function(g)
        if len(slots) == 1:
            only = slots[0]
            return lambda g, saved, node: function(g, saved[only])
        first, *rest = slots
        return lambda g, saved, node: function(g, saved[first], *[saved[s] for s in rest])

    def unbroadcasting_rule(self, i: int, function: Callable[..., Any] | None) -> Rule | None:
        """The rule of one of several inputs that broadcast: the transpose of that is a sum."""
        rule = self.rule(i, function)
        if rule is None or function is None:
            return None
        slots = self.slots[i]
        only = slots[0] if len(slots) == 1 and not self.params[i] else None

        def vjp(g: Any, saved: Any, node: Node) -> Any:
            cotangent = rule(g, saved, node) if only is None else function(g, saved[only])
            shape = node.parents[i].shape  # type: ignore[union-attr]
            return cotangent if cotangent.shape == shape else unbroadcast(cotangent, shape)

        return vjp

    def saver(self) -> Callable[[Sequence[bool], Any, Sequence[Any]], tuple[Any, ...]]:
        """What to keep, given which inputs need a gradient: values no rule will name are None."""

        def save(needed: Sequence[bool], out: Any, arrays: Sequence[Any]) -> tuple[Any, ...]:
            used = {s for need, slots in zip(needed, self.slots, strict=False) if need for s in slots}
            return tuple(
                (out if source < 0 else arrays[source]) if i in used else None
                for i, source in enumerate(self.sources)
            )

        return save

    def applied(self, i: int, function: Any, t: Any, inputs: Any, out: Any, params: Any) -> Any:
        """`function` on a tangent, in forward mode, where all values are at hand."""
        places = [out if self.sources[s] < 0 else inputs[self.sources[s]] for s in self.slots[i]]
        shape = getattr(inputs[i], "shape", ())
        values = {"in_shape": shape, **params}
        return function(t, *places, **{n: values[n] for n in self.params[i]})


def _refuse_jvp(name: str) -> Callable[..., Any]:
    def refuse(*_: Any) -> Any:
        raise NotDifferentiable(name, "an operation with a forward derivative", name)

    return refuse


# --------------------------------------------------------------------------- elementwise
def elementwise(
    name: str,
    resolve: Callable[[Any], Callable[..., Any]],
    *derivatives: Callable[..., Any] | None,
    inputs: str | None = None,
    kernel: str = "",
    domain: Sequence[tuple[float, float]] | tuple[float, float] = REAL_LINE,
    kinks: Any = (),
    promote: str = "same",
    doc: str = "",
    **extra: Any,
) -> Callable[..., Any]:
    """Declare y = f(x, …), computed by `resolve(xp)`.

    Args:
        derivatives: for each input, g ↦ g·∂f/∂input (None: no gradient flows there).
        inputs: their names, "x" or "x y" if not given.
        kernel: the formula in C, for generated kernels.
        domain: where f is defined, as one interval or one per input; tests draw from it.
        kinks: points at which the derivative jumps; tests keep away from them.
        promote: "same" keeps integers, "float" makes them the default dtype.
    """
    names = (inputs or ("x" if len(derivatives) == 1 else "x y")).split()
    plan = _Names(names, derivatives)

    def forward(xp: Any, *arrays: Any, **params: Any) -> Any:
        return resolve(xp)(*arrays, **params)

    def jvp(tangents: Any, values: Any, out: Any, params: Any) -> Any:
        terms = [
            _fill(plan.applied(i, d, t, values, out, params), out.shape)
            for i, (d, t) in enumerate(zip(derivatives, tangents, strict=True))
            if t is not None and d is not None
        ]
        return _sum(terms)

    make_rule = plan.rule if len(names) == 1 else plan.unbroadcasting_rule
    rules = [make_rule(i, d) for i, d in enumerate(derivatives)]
    primitive = Primitive(
        name, "elementwise", forward, rules, jvp, plan.saver(), plan.sources,
        inputs=names, kernel=kernel, domain=domain, kinks=kinks, promote=promote,
        derivatives=derivatives, **extra,
    )  # fmt: skip
    if extra.get("params"):
        return _finish(lambda *args, **params: bind(primitive, args, params), primitive, doc)
    makers = {1: _fast_unary, 2: _fast_binary}
    make = makers.get(len(names), _slow)
    return _finish(make(primitive, plan, resolve), primitive, doc)


def _finish(function: Any, primitive: Primitive, doc: str) -> Any:
    function.__name__ = function.__qualname__ = primitive.name
    function.__doc__ = doc
    function.primitive = primitive
    return function


def _sum(terms: Sequence[Any]) -> Any:
    total = None
    for term in terms:
        total = term if total is None else total + term
    return total


def _fill(value: Any, shape: tuple[int, ...]) -> Any:
    return value if value.shape == shape else value.expand(shape)


def unbroadcast(g: Any, shape: tuple[int, ...]) -> Any:
    """Sum `g` over the axes along which `shape` was broadcast to it; this lives here alone."""
    lead = g.ndim - len(shape)
    axes = (
        *range(lead),
        *(i + lead for i, n in enumerate(shape) if n == 1 and g.shape[i + lead] != 1),
    )
    if axes:
        g = g.sum(axes)
    return g if g.shape == shape else g.reshape(shape)


def _slow(primitive: Primitive, plan: _Names, resolve: Any) -> Any:
    return lambda *args: bind(primitive, args)


def _saver_source(plan: _Names, needed: Sequence[bool]) -> Callable[..., tuple[Any, ...]]:
    """`save(out, x, y) -> tuple` for one pattern of needed inputs, without a loop."""
    used = {s for need, slots in zip(needed, plan.slots, strict=True) if need for s in slots}
    words = [
        (("out" if source < 0 else "xy"[source]) if i in used else "None") + ","
        for i, source in enumerate(plan.sources)
    ]
    made: Callable[..., tuple[Any, ...]] = eval(f"lambda out, x, y: ({''.join(words)})")
    return made


def _fast_unary(primitive: Primitive, plan: _Names, resolve: Any) -> Any:
    """The common case without any detour: one tensor of numbers."""
    kernels: dict[type, Any] = {np.ndarray: resolve(np)}
    save = _saver_source(plan, [True])
    differentiable = primitive.rules[0] is not None

    def op(x: Any) -> Any:
        if type(x) is Tensor:
            array = x.array
            kernel = kernels.get(type(array))
            if kernel is not None and array.dtype.kind == "f":
                out = kernel(array)
                if type(out) is not type(array):
                    out = backend_of(array).xp.asarray(out)
                result = new(Tensor)
                result.array = out
                result.node = None
                parent = x.node
                if parent is not None and differentiable:
                    mode = grad_mode()
                    if mode:
                        node = Node(
                            primitive, (parent,), save(out, array, None), None, out.shape
                        )
                        result.node = node
                        if mode == ANOMALY:
                            watch_for_nan(node, out, (array,))
                return result
        return bind(primitive, (x,))

    return op


def _fast_binary(primitive: Primitive, plan: _Names, resolve: Any) -> Any:
    """The common case without any detour: two tensors of one dtype, or a tensor and a number."""
    kernels: dict[type, Any] = {np.ndarray: resolve(np)}
    savers = [_saver_source(plan, [bool(m & 1), bool(m & 2)]) for m in range(4)]
    has_x, has_y = (rule is not None for rule in primitive.rules)

    def op(x: Any, y: Any) -> Any:
        if type(x) is Tensor:
            a = x.array
            p = x.node
            if type(y) is Tensor:
                b = y.array
                q = y.node
                fits = type(a) is type(b) and a.dtype is b.dtype
            else:
                b = y
                q = None
                fits = type(y) in SCALARS
            kernel = kernels.get(type(a))
            if fits and kernel is not None and a.dtype.kind == "f":
                try:
                    out = kernel(a, b)
                except (ValueError, TypeError, OverflowError) as error:
                    raise explain(primitive, (a, b), error) from None
                if type(out) is not type(a):
                    out = backend_of(a).xp.asarray(out)
                result = new(Tensor)
                result.array = out
                result.node = None
                if not has_x:
                    p = None
                if not has_y:
                    q = None
                if p is not None or q is not None:
                    mode = grad_mode()
                    if mode:
                        save = savers[(p is not None) + 2 * (q is not None)]
                        node = Node(primitive, (p, q), save(out, a, b), None, out.shape)
                        result.node = node
                        if mode == ANOMALY:
                            watch_for_nan(node, out, (a, b))
                return result
        return bind(primitive, (x, y))

    return op


# -------------------------------------------------------------------------------- linear
def linear(
    name: str,
    forward: Callable[..., Any],
    *transposes: Callable[..., Any] | None,
    inputs: str | None = None,
    variadic: bool = False,
    **extra: Any,
) -> Primitive:
    """Declare a map that is linear in each input whose transpose is given.

    `forward(xp, x, …, **params)` computes it; `transpose(g, …)` carries a cotangent back. The jvp
    of a linear map is the map itself, so there is none to write. A `variadic` primitive takes any
    number of inputs and one transpose, which is given `position`, the number of the input.
    """
    count = len(transposes)
    names = (inputs or " ".join("xyz"[:count])).split()
    plan = _Names(() if variadic else names, transposes)

    def jvp(tangents: Any, values: Any, out: Any, params: Any) -> Any:
        if variadic:
            filled = [
                v * 0 if t is None else t for t, v in zip(tangents, values, strict=True)
            ]
            return bind(primitive, filled, params)
        return _sum([
            bind(primitive, [*values[:i], t, *values[i + 1 :]], params)
            for i, t in enumerate(tangents)
            if t is not None and transposes[i] is not None
        ])

    if variadic:
        transpose = transposes[0]
        assert transpose is not None

        def variadic_rule(g: Any, saved: Any, node: Node, position: int) -> Any:
            return transpose(g, position=position, node=node, **(node.params or {}))

        rules: list[Any] = [variadic_rule]
    else:
        make_rule = plan.unbroadcasting_rule if extra.get("broadcasts") else plan.rule
        rules = [make_rule(i, t) for i, t in enumerate(transposes)]
    primitive = Primitive(
        name, "linear", forward, rules, jvp, plan.saver(), plan.sources,
        inputs=names, variadic=variadic, plan=plan, **extra,
    )  # fmt: skip
    return primitive


def call(primitive: Primitive, x: Any, params: dict[str, Any]) -> Any:
    """`bind` for the many linear maps of one tensor, without the detours."""
    if type(x) is not Tensor or type(x.array) in INTERPRETERS:
        return bind(primitive, (x,), params)
    array = x.array
    backend = backend_of(array)
    try:
        out = primitive.forward(backend.xp, array, **params)
    except (ValueError, TypeError, IndexError) as error:
        raise explain(primitive, (array,), error) from None
    if type(out) is not backend.array_type:
        out = backend.xp.asarray(out)
    parent = x.node
    if parent is None or not grad_mode():
        return Tensor(out)
    node = Node(primitive, (parent,), (), params, out.shape)
    if grad_mode() == ANOMALY:
        watch_for_nan(node, out, (array,))
    return Tensor(out, node)


def fast_binary(primitive: Primitive, resolve: Callable[[Any], Callable[..., Any]]) -> Any:
    """The fast way of calling a declared two-input linear primitive."""
    return _fast_binary(primitive, primitive.extra["plan"], resolve)


# ------------------------------------------------------------------------------- general
def general(
    name: str,
    forward: Callable[..., Any],
    *vjps: Callable[..., Any] | None,
    jvps: Sequence[Callable[..., Any] | None] | None = None,
    inputs: str | None = None,
    **extra: Any,
) -> Primitive:
    """Declare anything else: for each input a vjp and a jvp, named like an elementwise derivative.

    `vjp(g, …)` gives the cotangent of the input, `jvp(t, …)` its part of the output's tangent.
    """
    names = (inputs or " ".join("xyz"[: len(vjps)])).split()
    plan = _Names(names, vjps)
    if jvps is None:
        push = _refuse_jvp(name)
    else:
        forward_plan = _Names(names, jvps)

        def push(tangents: Any, values: Any, out: Any, params: Any) -> Any:
            return _sum([
                forward_plan.applied(i, jvps[i], t, values, out, params)
                for i, t in enumerate(tangents)
                if t is not None and jvps[i] is not None
            ])

    rules = [plan.rule(i, v) for i, v in enumerate(vjps)]
    return Primitive(
        name, "general", forward, rules, push, plan.saver(), plan.sources, inputs=names, **extra
    )


def nondifferentiable(
    name: str, forward: Callable[..., Any], arity: int = 1, **extra: Any
) -> Primitive:
    """Declare an operation whose result has no gradient: comparisons, argmax, rounding to int."""
    return general(name, forward, *[None] * arity, jvps=[None] * arity, **extra)
