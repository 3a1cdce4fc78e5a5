"""checkpoint: forget what a function computed, and compute it again when backward comes.

Memory for time (Chen et al. 2016; Gruslys et al. 2016 for BPTT). The function runs once, its graph
is dropped, and one node remains whose parents are the nodes that the function reached outside of
itself, through its arguments *and through what it closes over*. Backward runs it again, with the
same random numbers, and goes on through the new graph.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from .autodiff import item, pull
from .create import get_rng_state, set_rng_state
from .graph import INTERPRETERS, Node, Primitive, enable_grad, grad_mode
from .tensor import Tensor
from .tree import flatten, unflatten

__all__ = ["checkpoint", "outputs_of"]


def checkpoint(function: Callable[..., Any], *args: Any) -> Any:
    """function(*args), recomputed during backward instead of remembered; gradients are the same.

    >>> from tinygrad_rnn import tensor
    >>> x = tensor(2.0, requires_grad=True)
    >>> checkpoint(lambda v: v * v * v, x).backward()
    >>> float(x.grad)
    12.0
    """
    payloads = [getattr(leaf, "array", None) for leaf in flatten(args)[0]]
    if not grad_mode() or any(type(p) in INTERPRETERS for p in payloads):
        return function(*args)
    state = get_rng_state()
    begin = Node(_begin, (), (), None, ()).index
    leaves, structure = flatten(function(*args))
    roots = [leaf.node for leaf in leaves if isinstance(leaf, Tensor) and leaf.node is not None]
    outside = _reached_before(roots, begin)
    if not outside or any(type(leaf.array) in INTERPRETERS for leaf in leaves):
        return unflatten(structure, leaves)

    def again() -> list[Any]:
        now = get_rng_state()
        set_rng_state(state)
        try:
            with enable_grad():
                return flatten(function(*args))[0]
        finally:
            set_rng_state(now)

    params = {"again": again, "count": len(leaves)}
    core = Node(_checkpoint, tuple(outside), (), params, ())
    differentiable = [leaf.node is not None for leaf in leaves]
    arrays = [leaf.array for leaf in leaves]
    return unflatten(structure, outputs_of(core, arrays, differentiable))


def outputs_of(core: Node, arrays: Sequence[Any], differentiable: Sequence[bool]) -> list[Tensor]:
    """The outputs of a node that has several, each with a node of its own that picks it."""
    return [
        Tensor(a, Node(item, (core,), (), {"position": i, "count": len(arrays)}, a.shape))
        if wanted
        else Tensor(a)
        for i, (a, wanted) in enumerate(zip(arrays, differentiable, strict=True))
    ]


def _reached_before(roots: Sequence[Node], begin: int) -> list[Node]:
    """The nodes older than `begin` at which the graph above the roots arrives."""
    found: dict[int, Node] = {}
    seen: set[int] = set()
    stack = list(roots)
    while stack:
        node = stack.pop()
        if node.index in seen:
            continue
        seen.add(node.index)
        if node.index < begin:
            found[node.index] = node
        else:
            stack.extend(p for p in node.parents if p is not None)
    return [found[i] for i in sorted(found)]


def _pull_again(g: Sequence[Any], saved: Any, node: Node) -> list[Any]:
    assert node.params is not None
    outputs = node.params["again"]()
    create = any(type(c) is Tensor for c in g)
    roots = [(y.node, c) for y, c in zip(outputs, g, strict=True) if c is not None]
    targets = {p for p in node.parents if p is not None}
    found = pull(roots, targets, create, create, inner=True)
    return [found.get(p) for p in node.parents if p is not None]


def _unused(*_: Any, **__: Any) -> Any:
    raise AssertionError("a checkpoint is never called as a primitive")


_begin = Primitive("begin", "general", _unused, (), _unused, _unused, ())
_checkpoint = Primitive(
    "checkpoint", "general", _unused, (), _unused, _unused, (), pullback=_pull_again
)
