"""Reverse mode: cotangents walk the graph from the newest node to the oldest.

Nodes are numbered as they are made, so a heap of numbers is all the order that is needed: nothing
recurses, and nothing is sorted. Where cotangents meet they are added; what one node receives is
complete when it is the newest left. `Tensor.backward` and `gradients` are the two ways in.
"""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heappop, heappush
from threading import Lock
from typing import Any

from .backend import quiet
from .errors import AutodiffError, DTypeError, NotDifferentiable, ShapeError, UnusedInputError
from .graph import INTERPRETERS, LEAF, REVERSE_UNDER, Node, last_change, set_grad_enabled, watching
from .guards import check_for_nan, check_unchanged, freed, full_array, memory_of, run_hooks
from .ops.declare import linear
from .ops.parts import PARTIALS, Item, settle
from .tensor import Tensor, as_tensor, method
from .tree import flatten, unflatten

__all__ = ["backward", "gradients", "pull"]


# ------------------------------------------------------------------------------- reverse mode
item = linear("item", lambda xp, x, position, count: x[position], Item)


def pull(
    roots: Sequence[tuple[Node, Any]],
    targets: set[Node] | None,
    retain: bool,
    create: bool,
    inner: bool = False,
) -> dict[Node, Any]:
    """Carry cotangents from `roots` back; the cotangents of `targets` (None: of watched leaves).

    `inner` ends the walk at the targets: it is part of another one, which goes on from there.
    Cotangents are raw arrays, or Tensors if `create` is set and the derivative is to be recorded.
    This loop is most of what backward costs beside the rules, hence its length.
    """
    needed = None if targets is None else between(roots, targets, inner)
    heap: list[int] = []
    # what has arrived at a node and is not yet passed on, by its number: the node, their sum, those
    # that are parts of a whole, and whether the sum was made here and may be added into
    arrived: dict[int, list[Any]] = {}

    def arrive(node: Node, cotangent: Any) -> None:
        index = node.index
        entry = arrived.get(index)
        if entry is None:
            entry = arrived[index] = [node, None, [], False]
            heappush(heap, -index)
        _, total, parts, own = entry
        kind = type(cotangent)
        if kind in PARTIALS:
            parts.append(cotangent)
            if len(parts) >= kind.enough:
                entry[1:] = settle(parts, total, node), [], True
        elif total is None:
            entry[1] = cotangent
        elif own:
            entry[1] += cotangent
        else:
            entry[1] = total + cotangent
            entry[3] = kind is not Tensor and bool(cotangent.shape)

    found: dict[Node, Any] = {}
    anomaly = watching()
    changed = last_change[0]
    with quiet(), set_grad_enabled(create):
        for node, cotangent in roots:
            arrive(node, cotangent)
        while heap:
            index = -heappop(heap)
            node, g, parts, _ = arrived.pop(index)
            if parts:
                g = settle(parts, g, node)
            if inner and targets is not None and node in targets:
                found[node] = g
                continue
            watch = node.watch
            if watch is not None:
                if watch.hooks:
                    g = run_hooks(node, g)
                    changed = last_change[0]  # a hook may change what others have saved
                if targets is None and watch.keep:
                    found[node] = g
            if targets is not None and node in targets:
                found[node] = g
            primitive = node.primitive
            saved: Any = node.saved
            if primitive is LEAF:
                continue
            if saved is None:
                raise freed(node)
            if changed > index:
                check_unchanged(node, saved)
            if create:
                saved = _as_tensors(node, saved)
            if primitive.jointly:
                for source, cotangent in _jointly(g, saved, node, targets):
                    if needed is None or source in needed:
                        if anomaly and saved != ():  # a checkpoint's own walk has looked
                            check_for_nan(node, g, saved, cotangent)
                        arrive(source, cotangent)
            else:
                i = -1
                for parent in node.parents:
                    i += 1
                    if parent is None or (needed is not None and parent not in needed):
                        continue
                    try:
                        cotangent = primitive.rules[i](g, saved, node)
                    except IndexError:
                        if node.saved is None:  # another thread has freed it meanwhile
                            raise freed(node) from None
                        raise
                    if anomaly:
                        check_for_nan(node, g, saved, cotangent)
                    index = parent.index
                    entry = arrived.get(index)
                    if type(cotangent) in PARTIALS or (entry is not None and not entry[3]):
                        arrive(parent, cotangent)
                    elif entry is not None:  # what `arrive` mostly does, without the call
                        entry[1] += cotangent
                    else:
                        arrived[index] = [parent, cotangent, [], False]
                        heappush(heap, -index)
            if node.saved is None:  # by another thread, while this one was using it
                raise freed(node)
            if not retain:
                node.saved = None
                node.parents = ()
    return found


def _jointly(g: Any, saved: Any, node: Node, targets: set[Node] | None) -> list[tuple[Node, Any]]:
    """The cotangents of the parents where one call gives them all, or one rule serves for all."""
    primitive = node.primitive
    if primitive.pullback is not None:
        given = primitive.pullback(g, saved, node, targets)
        pairs = zip(node.parents, given, strict=True)
        return [(p, c) for p, c in pairs if p is not None and c is not None]
    rule: Any = primitive.rules[0]
    return [(p, rule(g, saved, node, i)) for i, p in enumerate(node.parents) if p is not None]


def between(roots: Sequence[tuple[Node, Any]], targets: set[Node], inner: bool) -> set[Node]:
    """The nodes from which a target can be reached, among those the roots reach.

    A freed node has forgotten where it came from: what was made before it may be a target.
    """
    oldest = min((t.index for t in targets), default=0)
    seen: dict[int, Node] = {}
    stack = [node for node, _ in roots]
    while stack:
        node = stack.pop()
        if node.index in seen or node.index < oldest:
            continue
        seen[node.index] = node
        if inner and node in targets:
            continue
        if node.saved is None and node.index > oldest:
            raise freed(node)
        stack.extend([p for p in node.parents if p is not None])
    needed: set[Node] = set()
    for index in sorted(seen):
        node = seen[index]
        if node in targets or not needed.isdisjoint(node.parents):
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


# ------------------------------------------------------------------------------ Tensor.backward
_accumulation = Lock()


@method("backward")
def backward(
    output: Tensor,
    gradient: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
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
    given = [] if gradient is None else [memory_of(cotangent)]
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
    gradient = as_tensor(gradient, device=output.backend)
    if gradient.shape != output.shape:
        raise ShapeError(called, f"a gradient of shape {output.shape}", str(gradient.shape))
    if gradient.dtype != output.dtype:
        raise DTypeError(called, f"a gradient of dtype {output.dtype}", str(gradient.dtype))
    return output.node, gradient if create else gradient.detach().array


def _owns_all(g: Any) -> bool:
    """Whether an array is all of the memory it stands in, in plain order."""
    base = getattr(g, "base", None)
    if base is None:
        return True
    whole = getattr(base, "size", -1) == g.size and getattr(base, "base", None) is None
    return bool(whole and g.flags.c_contiguous and getattr(g.flags, "writeable", True))


def _unshared(found: dict[Node, Any], given: Sequence[int]) -> list[tuple[Node, Any]]:
    """The gradients, copied where two of them (or the caller's cotangent) share memory."""
    taken, result = set(given), []
    for leaf, g in found.items():
        recorded = type(g) is Tensor
        g = g if recorded else full_array(g)
        if g.shape != leaf.shape:
            hint = "the rule of some operation gives another shape; tg.testing.check_grads finds it"
            raise ShapeError("backward", f"a gradient of shape {leaf.shape}", g.shape, hint)
        key = memory_of(g)
        if key in taken or (not recorded and not _owns_all(g)):
            with set_grad_enabled(recorded):
                g = g.clone() if recorded else g.copy()
        taken.add(key)
        result.append((leaf, g))
    return result


def _accumulate(leaf: Node, g: Any) -> None:
    watch: Any = leaf.watch
    before, new = watch.grad, g if type(g) is Tensor else Tensor(g)
    if before is None:
        watch.grad = new
    elif new is g or before.node is not None or not getattr(before.array.flags, "writeable", True):
        watch.grad = before + new
    else:
        before.add_(new)


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
    found = gradients_of(ys, xs, cs, retain, create_graph)
    for i, (x, g) in enumerate(zip(xs, found, strict=True)):
        if g is None and not allow_unused:
            raise UnusedInputError(
                "gradients", "inputs the output depends on",
                f"input {i} of shape {x.shape}, which was not used", "allow_unused=True gives None",
            )  # fmt: skip
    return unflatten(flatten(inputs)[1], found)


def gradients_of(
    ys: list[Any], xs: list[Any], cs: list[Any], retain: bool, create: bool | None
) -> list[Any]:
    """`create` None: record only if something beyond the inputs could ask for it."""
    payloads = {type(getattr(t, "array", None)) for t in (*ys, *xs, *cs)}
    for kind, above in REVERSE_UNDER.items():
        if kind in payloads:
            return above(ys, xs, cs, create)
    for x in xs:
        if not isinstance(x, Tensor) or x.node is None:
            got = "a constant" if isinstance(x, Tensor) else type(x).__name__
            raise AutodiffError("gradients", "inputs that require a gradient", got)
    targets = {x.node for x in xs}
    if create is None:
        given = [t.node for t in (*ys, *cs) if isinstance(t, Tensor) and t.node]
        create = others_may_ask(given, targets)
    roots = [_root(y, c, create, "gradients") for y, c in zip(ys, cs, strict=True)]
    found = pull(roots, targets, retain, create)
    clean = dict(_unshared(found, [memory_of(c) for c in cs if c is not None]))
    if create:
        return [clean.get(x.node) for x in xs]
    return [Tensor(clean[x.node]) if x.node in clean else None for x in xs]


def others_may_ask(roots: Sequence[Node], targets: set[Node]) -> bool:
    """Whether anything beyond the targets, or before them, requires a gradient."""
    if any(t.parents for t in targets):
        return True
    seen: set[int] = set()
    stack = list(roots)
    while stack:
        node = stack.pop()
        if node.index in seen or node in targets:
            continue
        seen.add(node.index)
        kept = node.primitive is LEAF and node.watch is not None and node.watch.keep
        if kept or node.saved is None:  # freed: who made it is forgotten
            return True
        stack.extend(p for p in node.parents if p is not None)
    return False
