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

from collections.abc import Callable, Sequence
from typing import Any

from ..create import zeros_like
from ..errors import NotDifferentiable
from ..graph import Node, Primitive
from .call import bind
from .fast import fast_binary, fast_unary, slow
from .naming import Names

__all__ = ["elementwise", "general", "linear", "nondifferentiable"]

REAL_LINE = (-float("inf"), float("inf"))


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
    plan = Names(names, derivatives)
    kernels: dict[int, Callable[..., Any]] = {}  # by namespace: some keep constants on the device

    def forward(xp: Any, *arrays: Any, **params: Any) -> Any:
        kernel = kernels.get(id(xp))
        if kernel is None:
            kernel = kernels[id(xp)] = resolve(xp)
        return kernel(*arrays, **params)

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
    home = resolve.__module__  # where it is declared, and pickle finds it
    if extra.get("params"):
        return _finish(lambda *args, **params: bind(primitive, args, params), primitive, doc, home)
    makers = {1: fast_unary, 2: fast_binary}
    make = makers.get(len(names), slow)
    return _finish(make(primitive, plan, resolve), primitive, doc, home)


def _finish(function: Any, primitive: Primitive, doc: str, home: str) -> Callable[..., Any]:
    function.__module__ = home
    function.__name__ = function.__qualname__ = primitive.name
    function.__doc__ = doc
    function.primitive = primitive
    op: Callable[..., Any] = function
    return op


def _sum(terms: Sequence[Any]) -> Any:
    total = None
    for term in terms:
        total = term if total is None else total + term
    return total


def _fill(value: Any, shape: tuple[int, ...]) -> Any:
    return value if value.shape == shape else value.expand(shape)


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
    plan = Names(() if variadic else names, transposes)

    def jvp(tangents: Any, values: Any, out: Any, params: Any) -> Any:
        if variadic:
            pairs = zip(tangents, values, strict=True)
            return bind(primitive, [zeros_like(v) if t is None else t for t, v in pairs], params)
        return _sum([
            bind(primitive, [*values[:i], t, *values[i + 1 :]], params)
            for i, t in enumerate(tangents)
            if t is not None and transposes[i] is not None
        ])  # fmt: skip

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
    plan = Names(names, vjps)
    if jvps is None:
        push = _refuse_jvp(name)
    else:
        forward_plan = Names(names, jvps)

        def push(tangents: Any, values: Any, out: Any, params: Any) -> Any:
            return _sum([
                forward_plan.applied(i, jvps[i], t, values, out, params)
                for i, t in enumerate(tangents)
                if t is not None and jvps[i] is not None
            ])  # fmt: skip

    rules = [plan.rule(i, v) for i, v in enumerate(vjps)]
    return Primitive(
        name, "general", forward, rules, push, plan.saver(), plan.sources, inputs=names, **extra
    )


def nondifferentiable(
    name: str, forward: Callable[..., Any], arity: int = 1, **extra: Any
) -> Primitive:
    """Declare an operation whose result has no gradient: comparisons, argmax, rounding to int."""
    return general(name, forward, *[None] * arity, jvps=[None] * arity, **extra)
