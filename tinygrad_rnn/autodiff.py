"""Reverse mode, forward mode, and what is made of the two.

Reverse mode (`pull`) walks the graph from the newest node to the oldest: nodes are numbered as they
are made, so a heap of numbers is all the order it needs, and no recursion. Forward mode runs the
program on *dual numbers*, Tensors whose payload is a value and its tangent. They nest in any order:
a jvp of a gradient is a pull on both halves of a dual, since differentiation commutes.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from threading import Lock
from typing import Any

from .backend import backend_of, quiet
from .errors import (
    AnomalyError,
    AutodiffError,
    DTypeError,
    GraphFreedError,
    InPlaceError,
    NotDifferentiable,
    ShapeError,
    UnusedInputError,
)
from .graph import (
    ANOMALY,
    INTERPRETERS,
    LEAF,
    Node,
    Primitive,
    birthplace,
    enable_grad,
    grad_mode,
    last_change,
    require_float,
    set_grad_enabled,
    touched_since,
)
from .ops.declare import bind, linear
from .ops.indexing import Part, settle
from .ops.shape import stack
from .tensor import Tensor, as_tensor, leaf_node, method
from .tree import flatten, tree_map, unflatten

__all__ = [
    "gnvp", "grad", "gradients", "hessian", "hvp", "jacobian", "jvp", "value_and_grad", "vjp",
]  # fmt: skip


# ------------------------------------------------------------------------------- reverse mode
class Item:
    """The cotangent of one output of a node that has several."""

    __slots__ = ("position", "value")

    def __init__(self, value: Any, position: int) -> None:
        self.value, self.position = value, position


_item = linear("item", lambda xp, x, position, count: x[position], lambda g, position: Item(g, position))
_alias = linear("alias", lambda xp, x: x, lambda g: g)


def pull(
    roots: Sequence[tuple[Node, Any]],
    targets: set[Node] | None,
    retain: bool,
    create: bool,
) -> dict[Node, Any]:
    """Carry cotangents from `roots` back; the cotangents of `targets` (None: of watched leaves).

    Cotangents are raw arrays, or Tensors if `create` is set and the derivative is to be recorded.
    """
    walk = _Walk(None if targets is None else _leading_to(roots, targets))
    for node, cotangent in roots:
        walk.arrive(node, cotangent)
    found: dict[Node, Any] = {}
    anomaly = grad_mode() == ANOMALY
    with quiet(), set_grad_enabled(create):
        while walk.heap:
            node, g = walk.newest()
            if node.watch is not None and node.watch.hooks:
                g = _run_hooks(node, g)
            if node in targets if targets is not None else node.watch is not None and node.watch.keep:
                found[node] = g
            if node.primitive is LEAF:
                continue
            saved = node.saved
            if saved is None:
                raise _freed(node)
            if last_change[0] > node.index:
                _check_unchanged(node, saved)
            if create:
                saved = _as_tensors(node, saved)
            _step(walk, node, g, saved, anomaly)
            if not retain:
                node.saved = None
                node.parents = ()
                node.params = None
    return found


def _step(walk: _Walk, node: Node, g: Any, saved: Any, anomaly: bool) -> None:
    """Send the cotangent of one node on to its parents."""
    primitive = node.primitive
    needed = walk.needed
    if primitive.pullback is not None:
        for parent, cotangent in zip(
            node.parents, primitive.pullback(g, saved, node), strict=True
        ):
            if parent is not None and cotangent is not None:
                walk.arrive(parent, cotangent)
        return
    rules = primitive.rules
    for i, parent in enumerate(node.parents):
        if parent is None or (needed is not None and parent not in needed):
            continue
        if primitive.variadic:
            cotangent = rules[0](g, saved, node, i)  # type: ignore[misc]
        else:
            cotangent = rules[i](g, saved, node)  # type: ignore[misc]
        if anomaly:
            _check_backward(node, g, cotangent)
        walk.arrive(parent, cotangent)


class _Walk:
    """Cotangents on their way, and the nodes they have reached, newest first."""

    def __init__(self, needed: set[Node] | None) -> None:
        self.needed = needed
        self.heap: list[int] = []
        self.nodes: dict[int, Node] = {}
        self.totals: dict[int, Any] = {}
        self.parts: dict[int, list[Any]] = {}
        self.own: set[int] = set()  # totals that this walk made and may add into

    def arrive(self, node: Node, cotangent: Any) -> None:
        """Add a cotangent (or part of one) to what has arrived at a node."""
        index = node.index
        if index not in self.nodes:
            self.nodes[index] = node
            heappush(self.heap, -index)
        kind = type(cotangent)
        if kind is Part or kind is Item:
            self.parts.setdefault(index, []).append(cotangent)
        elif index not in self.totals:
            self.totals[index] = cotangent
        elif index in self.own:
            self.totals[index] += cotangent
        else:
            self.totals[index] = self.totals[index] + cotangent
            if kind is not Tensor and cotangent.shape:
                self.own.add(index)

    def newest(self) -> tuple[Node, Any]:
        """The newest node reached and everything that has arrived there: nothing more will."""
        index = -heappop(self.heap)
        node = self.nodes.pop(index)
        total = self.totals.pop(index, None)
        parts = self.parts.pop(index, None) if self.parts else None
        if parts is None:
            return node, total
        if type(parts[0]) is Item:
            return node, _settle_items(parts, node)
        return node, settle(parts, total, node.shape)


def _settle_items(parts: Sequence[Item], node: Node) -> list[Any]:
    totals: list[Any] = [None] * (node.params or {})["count"]
    for part in parts:
        before = totals[part.position]
        totals[part.position] = part.value if before is None else before + part.value
    return totals


def _leading_to(roots: Sequence[tuple[Node, Any]], targets: set[Node]) -> set[Node]:
    """The nodes between the roots and the targets."""
    oldest = min((t.index for t in targets), default=0)
    seen: dict[int, Node] = {}
    stack = [node for node, _ in roots]
    while stack:
        node = stack.pop()
        if node.index in seen or node.index < oldest:
            continue
        seen[node.index] = node
        stack.extend(p for p in node.parents if p is not None)
    needed: set[Node] = set()
    for index in sorted(seen):
        node = seen[index]
        if node in targets or any(p in needed for p in node.parents):
            needed.add(node)
    return needed


def _as_tensors(node: Node, saved: Sequence[Any]) -> list[Any]:
    """Saved arrays as the Tensors they were, with their place in the graph."""
    sources = node.primitive.sources
    places = [node if s < 0 else node.parents[s] for s, _ in zip(sources, saved, strict=False)]
    return [
        Tensor(value, place) if hasattr(value, "dtype") and type(value) is not Tensor else value
        for value, place in zip(saved, places, strict=True)
    ]


def _run_hooks(node: Node, g: Any) -> Any:
    assert node.watch is not None
    for hook in list(node.watch.hooks.values()):
        given = g if type(g) is Tensor else Tensor(_full(g))
        replaced = hook(given)
        if replaced is None:
            continue
        if not isinstance(replaced, Tensor) or replaced.shape != node.shape:
            got = getattr(replaced, "shape", type(replaced).__name__)
            raise ShapeError("hook", f"None or a gradient of shape {node.shape}", got)
        g = replaced if type(g) is Tensor else replaced.array
    return g


def _full(g: Any) -> Any:
    """An array where NumPy gave a scalar."""
    backend = backend_of(g)
    return g if type(g) is backend.array_type else backend.xp.asarray(g)


def _freed(node: Node) -> GraphFreedError:
    return GraphFreedError(
        "backward",
        "a graph that is still there",
        f"{node!r}, freed by an earlier backward",
        "pass retain_graph=True to the first one",
    )


def _check_unchanged(node: Node, saved: Sequence[Any]) -> None:
    for value in saved:
        if touched_since(value, node.index):
            place = birthplace(node)
            raise InPlaceError(
                f"backward of {node.primitive.name}",
                f"its saved value of shape {getattr(value, 'shape', ())} as it was",
                "one changed in place since" + (f" (made at {place})" if place else ""),
                "change a copy: x = x.clone()",
            )


def _check_backward(node: Node, g: Any, cotangent: Any) -> None:
    value = getattr(cotangent, "value", cotangent)
    raw = [getattr(v, "array", v) for v in (value, g)]
    if bool((raw[0] != raw[0]).any()) and not bool((raw[1] != raw[1]).any()):
        raise AnomalyError(
            f"backward of {node.primitive.name}", "a gradient without NaN",
            f"NaN; the operation was called at {birthplace(node)}",
        )  # fmt: skip


# ------------------------------------------------------------------------------ Tensor.backward
_accumulation = Lock()


@method("backward")
def backward(
    output: Tensor, gradient: Any = None, retain_graph: bool | None = None, create_graph: bool = False
) -> None:
    """Add ∂output/∂leaf to `.grad` of every leaf that requires it.

    Args:
        gradient: the cotangent, of the output's shape; may be left out for a single number.
        retain_graph: keep the graph for another backward; by default only with `create_graph`.
        create_graph: record the computation, so that gradients can be differentiated.

    Raises:
        AutodiffError: nothing to differentiate, or no single number. GraphFreedError: a second
        backward. InPlaceError: a saved value has changed. No `.grad` is touched if one is raised.
    """
    if type(output.array) in INTERPRETERS:
        raise NotDifferentiable("backward", "tg.grad inside a forward-mode transform", "backward()")
    node, cotangent = _root(output, gradient, create_graph, "backward")
    retain = create_graph if retain_graph is None else retain_graph
    found = pull([(node, cotangent)], None, retain, create_graph)
    given = [] if gradient is None else [_memory(cotangent)]
    with _accumulation:
        for leaf, g in _unshared(found, given):
            _accumulate(leaf, g)


def _root(output: Any, gradient: Any, create: bool, called: str) -> tuple[Node, Any]:
    if not isinstance(output, Tensor):
        raise DTypeError(called, "a tensor to differentiate", type(output).__name__)
    if output.node is None:
        raise AutodiffError(
            called, "an output that requires a gradient", "a constant",
            "set requires_grad=True on an input; inside no_grad() nothing is recorded",
        )  # fmt: skip
    if gradient is None:
        if output.numel() != 1:
            raise AutodiffError(
                called, "a single number, or a gradient for each element",
                f"shape {output.shape} and no gradient", "call .sum() or pass gradient=",
            )  # fmt: skip
        gradient = Tensor(output.backend.xp.ones(output.shape, dtype=output.dtype))
    gradient = as_tensor(gradient, device=None)
    if gradient.shape != output.shape:
        raise ShapeError(called, f"a gradient of shape {output.shape}", str(gradient.shape))
    if gradient.dtype != output.dtype:
        raise DTypeError(called, f"a gradient of dtype {output.dtype}", str(gradient.dtype))
    if gradient.backend is not output.backend:
        gradient = gradient.to(output.device)
    return output.node, gradient if create else gradient.detach().array


def _memory(value: Any) -> int:
    array = getattr(value, "array", value)
    while getattr(array, "base", None) is not None:
        array = array.base
    return id(array)


def _unshared(found: dict[Node, Any], given: Sequence[int]) -> list[tuple[Node, Any]]:
    """The gradients, copied where two of them (or the caller's cotangent) share memory."""
    taken, result = set(given), []
    for leaf, g in found.items():
        if type(g) is not Tensor:
            g = _full(g)
            key = _memory(g)
            if key in taken or g.base is not None:
                g = g.copy()
            taken.add(key)
        result.append((leaf, g))
    return result


def _accumulate(leaf: Node, g: Any) -> None:
    watch = leaf.watch
    assert watch is not None
    before = watch.grad
    if before is None:
        watch.grad = g if type(g) is Tensor else Tensor(g)
    elif type(g) is Tensor or before.node is not None:
        watch.grad = before + (g if type(g) is Tensor else Tensor(g))
    else:
        before.add_(Tensor(g))


# ----------------------------------------------------------------------- gradients of tensors
def gradients(
    outputs: Any,
    inputs: Any,
    cotangents: Any = None,
    *,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    allow_unused: bool = False,
) -> Any:
    """Σ cotangentsᵀ ∂outputs/∂inputs, as a tree like `inputs`; `.grad` is left alone.

    Raises:
        UnusedInputError: an input the outputs do not depend on, unless `allow_unused` (then None).

    >>> from tinygrad_rnn import tensor
    >>> x = tensor(3.0, requires_grad=True)
    >>> float(gradients(x * x, x))
    6.0
    """
    ys, xs = flatten(outputs)[0], flatten(inputs)[0]
    cs = [None] * len(ys) if cotangents is None else flatten(cotangents)[0]
    retain = create_graph if retain_graph is None else retain_graph
    found = _gradients(ys, xs, cs, retain, create_graph)
    for i, (x, g) in enumerate(zip(xs, found, strict=True)):
        if g is None and not allow_unused:
            raise UnusedInputError(
                "gradients", "inputs the output depends on",
                f"input {i} of shape {x.shape}, which was not used", "allow_unused=True gives None",
            )  # fmt: skip
    return unflatten(flatten(inputs)[1], found)


def _gradients(
    ys: list[Any], xs: list[Any], cs: list[Any], retain: bool, create: bool | None
) -> list[Any]:
    """`create` None: record only if something beyond the inputs could ask for it."""
    if any(type(getattr(t, "array", None)) is Dual for t in (*ys, *xs, *cs)):
        return _gradients_of_duals(ys, xs, cs)
    for x in xs:
        if not isinstance(x, Tensor) or x.node is None:
            raise AutodiffError(
                "gradients", "inputs that require a gradient",
                "a constant" if isinstance(x, Tensor) else type(x).__name__,
            )  # fmt: skip
    targets = {x.node for x in xs}
    if create is None:
        create = _others_may_ask([y.node for y in ys if isinstance(y, Tensor) and y.node], targets)
    roots = [_root(y, c, create, "gradients") for y, c in zip(ys, cs, strict=True)]
    found = pull(roots, targets, retain, create)
    if create:
        return [found.get(x.node) for x in xs]
    clean = dict(_unshared(found, [_memory(c) for c in cs if c is not None]))
    return [Tensor(clean[x.node]) if x.node in clean else None for x in xs]


def _others_may_ask(roots: Sequence[Node], targets: set[Node]) -> bool:
    """Whether the graph reaches, through or beside the targets, anything that requires a gradient."""
    if any(t.parents for t in targets):
        return True
    seen: set[int] = set()
    stack = list(roots)
    while stack:
        node = stack.pop()
        if node.index in seen or node in targets:
            continue
        seen.add(node.index)
        if node.primitive is LEAF:
            return True
        stack.extend(p for p in node.parents if p is not None)
    return False


# -------------------------------------------------------------------------------- forward mode
class Dual:
    """The payload of a value and its tangent; `level` tells nested transforms apart."""

    __slots__ = ("level", "primal", "tangent")

    def __init__(self, primal: Tensor, tangent: Tensor, level: int) -> None:
        self.primal, self.tangent, self.level = primal, tangent, level

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the value."""
        return self.primal.shape

    @property
    def dtype(self) -> Any:
        """The dtype of the value."""
        return self.primal.dtype

    def __repr__(self) -> str:
        return f"Dual({self.primal!r}, {self.tangent!r})"


_levels = itertools.count(1)


def _run_on_duals(primitive: Primitive, args: tuple[Any, ...], params: dict[str, Any]) -> Any:
    level = max(a.array.level for a in args if type(getattr(a, "array", None)) is Dual)
    primals: list[Any] = []
    tangents: list[Tensor | None] = []
    for arg in args:
        mine = type(getattr(arg, "array", None)) is Dual and arg.array.level == level
        plain = hasattr(arg, "dtype") and type(arg) is not Tensor
        primals.append(arg.array.primal if mine else as_tensor(arg) if plain else arg)
        tangents.append(arg.array.tangent if mine else None)
    out = bind(primitive, primals, params)
    if isinstance(out, Tensor) and type(out.array) not in INTERPRETERS and out.dtype.kind != "f":
        return out
    tangent = primitive.jvp(tangents, primals, out, params)
    return out if tangent is None else Tensor(Dual(out, tangent, level))


INTERPRETERS[Dual] = _run_on_duals


def _gradients_of_duals(ys: list[Any], xs: list[Any], cs: list[Any]) -> list[Any]:
    """Reverse mode under forward mode: d/dε of a gradient is the gradient of the d/dε."""
    level = max(t.array.level for t in (*ys, *xs, *cs) if type(getattr(t, "array", None)) is Dual)
    y, dy = _halves(ys, level)
    x, _ = _halves(xs, level)
    c, dc = _halves([_ones_like(p) if g is None else g for p, g in zip(y, cs, strict=True)], level)
    value = _gradients(y, x, c, True, True)
    pairs = [(t, g) for t, g in zip(dy, c, strict=True) if t is not None and t.requires_grad]
    pairs += [(p, g) for p, g in zip(y, dc, strict=True) if g is not None]
    change: list[Any] = [None] * len(x)
    if pairs:
        change = _gradients([p for p, _ in pairs], x, [g for _, g in pairs], True, True)
    roots = [t.node for t in (*y, *(t for t, _ in pairs)) if t.node is not None]
    if not _others_may_ask(roots, {t.node for t in x if t.node is not None}):
        value, change = ([None if t is None else t.detach() for t in half] for half in (value, change))
    return [
        v if d is None else Tensor(Dual(_zeros_like(p) if v is None else v, d, level))
        for p, v, d in zip(x, value, change, strict=True)
    ]


def _halves(tensors: Sequence[Any], level: int) -> tuple[list[Any], list[Any]]:
    mine = [type(t.array) is Dual and t.array.level == level for t in tensors]
    return (
        [t.array.primal if m else t for t, m in zip(tensors, mine, strict=True)],
        [t.array.tangent if m else None for t, m in zip(tensors, mine, strict=True)],
    )


def _ones_like(x: Tensor) -> Tensor:
    return Tensor(x.backend.xp.ones(x.shape, dtype=x.dtype))


def _zeros_like(x: Tensor) -> Tensor:
    return Tensor(x.backend.xp.zeros(x.shape, dtype=x.dtype))


# --------------------------------------------------------------------------------- transforms
def _fresh(x: Any) -> Tensor:
    """The value of `x` as a new point of the graph: gradients stop here, those outside go on."""
    value = as_tensor(x)
    if type(value.array) is Dual:
        dual = value.array
        return Tensor(Dual(_fresh(dual.primal), dual.tangent, dual.level))
    require_float("grad", value.dtype)
    if value.node is None:
        return Tensor(value.array, leaf_node(value.shape))
    with enable_grad():
        return Tensor(value.array, Node(_alias, (value.node,), (), {}, value.shape))


def jvp(function: Callable[..., Any], primals: Sequence[Any], tangents: Sequence[Any]) -> Any:
    """(f(x), ∂f/∂x · tangent): forward mode; both are trees like the output.

    Raises:
        ShapeError, DTypeError: tangents that are not like the primals.

    >>> from tinygrad_rnn import tensor
    >>> y, dy = jvp(lambda x: x * x, (tensor(3.0),), (tensor(1.0),))
    >>> float(dy)
    6.0
    """
    xs, structure = flatten(tuple(primals))
    ts, other = flatten(tuple(tangents))
    if other != structure:
        raise ShapeError("jvp", "tangents structured like the primals", f"{len(ts)} and {len(xs)}")
    level = next(_levels)
    duals = [_dual(x, t, level) for x, t in zip(xs, ts, strict=True)]
    out = function(*unflatten(structure, duals))
    leaves, out_structure = flatten(out)
    value, change = _halves([as_tensor(leaf) for leaf in leaves], level)
    filled = [_zeros_like(v) if t is None else t for v, t in zip(value, change, strict=True)]
    return unflatten(out_structure, value), unflatten(out_structure, filled)


def _dual(x: Any, t: Any, level: int) -> Tensor:
    primal, tangent = as_tensor(x), as_tensor(t)
    require_float("jvp", primal.dtype)
    if primal.shape != tangent.shape:
        raise ShapeError("jvp", f"a tangent of shape {primal.shape}", str(tangent.shape))
    if primal.dtype != tangent.dtype:
        raise DTypeError("jvp", f"a tangent of dtype {primal.dtype}", str(tangent.dtype))
    return Tensor(Dual(primal, tangent, level))


def vjp(function: Callable[..., Any], *primals: Any) -> tuple[Any, Callable[[Any], Any]]:
    """(f(x), pullback): reverse mode; pullback(cotangent) is a tuple of trees like the primals.

    >>> from tinygrad_rnn import tensor
    >>> y, pullback = vjp(lambda x: x * x, tensor(3.0))
    >>> float(pullback(tensor(1.0))[0])
    6.0
    """
    inputs = tree_map(_fresh, primals)
    with enable_grad():
        out = function(*inputs)
    xs = flatten(inputs)[0]
    ys, structure = flatten(out)

    def pullback(cotangent: Any) -> Any:
        cs, given = flatten(cotangent)
        if given != structure:
            raise ShapeError("pullback", "a cotangent structured like the output", repr(given))
        found = _pull_or_zero([as_tensor(y) for y in ys], xs, cs)
        return unflatten(flatten(primals)[1], found)

    return tree_map(_outside, out), pullback


def _outside(y: Any) -> Any:
    """An output as the caller may see it: without the graph, unless the caller has one too."""
    if not isinstance(y, Tensor) or y.node is None:
        return y
    return y if grad_mode() else y.detach()


def _pull_or_zero(ys: list[Any], xs: list[Any], cs: list[Any], create: bool | None = None) -> Any:
    live = [(y, c) for y, c in zip(ys, cs, strict=True) if y.requires_grad]
    found: list[Any] = [None] * len(xs)
    if not grad_mode():
        create = False
    if live:
        found = _gradients([y for y, _ in live], xs, [c for _, c in live], True, create)
    return [_zeros_like(x) if g is None else g for x, g in zip(xs, found, strict=True)]


def value_and_grad(
    function: Callable[..., Any], argnums: int | tuple[int, ...] = 0, has_aux: bool = False
) -> Callable[..., Any]:
    """A function that gives (f(…), ∂f/∂argument); f gives one number, or (number, aux)."""

    def differentiate(*args: Any, **options: Any) -> Any:
        numbers = (argnums,) if isinstance(argnums, int) else argnums
        fresh = list(args)
        for n in numbers:
            fresh[n] = tree_map(_fresh, args[n])
        with enable_grad():
            out = function(*fresh, **options)
        value = out[0] if has_aux else out
        if not isinstance(value, Tensor) or value.numel() != 1:
            got = getattr(value, "shape", type(value).__name__)
            raise AutodiffError("grad", "a function that gives one number", got, "use jacobian")
        xs, structure = flatten([fresh[n] for n in numbers])
        found = unflatten(structure, _pull_or_zero([value], xs, [None]))
        return out, found[0] if isinstance(argnums, int) else tuple(found)

    return differentiate


def grad(
    function: Callable[..., Any], argnums: int | tuple[int, ...] = 0, has_aux: bool = False
) -> Callable[..., Any]:
    """A function that gives ∂f/∂argument, a tree like the argument; nests to any order.

    (For tensors already computed, as `torch.autograd.grad`, use `gradients`.)

    >>> from tinygrad_rnn import tensor
    >>> float(grad(grad(lambda x: x * x * x))(tensor(2.0)))
    12.0
    """
    both = value_and_grad(function, argnums, has_aux)

    def gradient(*args: Any, **options: Any) -> Any:
        out, found = both(*args, **options)
        return (found, out[1]) if has_aux else found

    return gradient


def hvp(function: Callable[..., Any], primals: Sequence[Any], tangents: Sequence[Any]) -> Any:
    """Hessian times vector, H v, forward over reverse: about the price of two gradients.

    >>> from tinygrad_rnn import tensor
    >>> float(hvp(lambda x: x ** 3, (tensor(2.0),), (tensor(1.0),))[0])
    12.0
    """
    numbers = tuple(range(len(primals)))
    return jvp(grad(function, numbers), primals, tangents)[1]


def gnvp(
    model: Callable[..., Any], loss: Callable[[Any], Any], primals: Sequence[Any], tangents: Sequence[Any]
) -> Any:
    """Gauss–Newton product Jᵀ H_L J v for loss(model(x)) (Schraudolph 2002; Martens 2010).

    J is the Jacobian of the model, H_L the Hessian of the loss in the model's output.
    """
    out, pushed = jvp(model, primals, tangents)
    curved = hvp(loss, (out,), (pushed,))[0]
    return vjp(model, *primals)[1](curved)


def jacobian(
    function: Callable[..., Any], argnums: int = 0, mode: str = "reverse"
) -> Callable[..., Tensor]:
    """A function that gives ∂f/∂argument of shape output.shape + argument.shape.

    `mode` "reverse" costs a pullback for each output element, "forward" a jvp for each input one.
    """

    def full(*args: Any) -> Tensor:
        def of_one(x: Any) -> Any:
            return function(*args[:argnums], x, *args[argnums + 1 :])

        x = as_tensor(args[argnums])
        if mode == "forward":
            columns = [jvp(of_one, (x,), (e,))[1] for e in _basis(x)]
            out_shape = columns[0].shape
            whole = _stacked(columns)
            return whole.permute(*range(1, whole.ndim), 0).reshape(*out_shape, *x.shape)
        out, pullback = vjp(of_one, x)
        rows = [pullback(e)[0] for e in _basis(out)]
        return _stacked(rows).reshape(*out.shape, *x.shape)

    return full


def _basis(like: Tensor) -> list[Tensor]:
    xp = like.backend.xp
    eye = xp.eye(like.numel(), dtype=like.dtype)
    return [Tensor(row.reshape(like.shape)) for row in eye]


def _stacked(rows: Sequence[Tensor]) -> Tensor:
    stacked: Tensor = stack(list(rows))
    return stacked


def hessian(function: Callable[..., Any], argnums: int = 0) -> Callable[..., Tensor]:
    """A function that gives the matrix of second derivatives, of shape x.shape + x.shape.

    >>> from tinygrad_rnn import tensor
    >>> hessian(lambda x: (x ** 3).sum())(tensor([1.0, 2.0])).tolist()
    [[6.0, 0.0], [0.0, 12.0]]
    """
    return jacobian(grad(function, argnums), argnums)

