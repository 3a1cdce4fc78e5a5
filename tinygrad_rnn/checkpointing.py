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
from .checks import check_callable
from .create import get_rng_state, set_rng_state
from .graph import INTERPRETERS, Node, Primitive, enable_grad, grad_mode
from .inplace import refusing_changes
from .tensor import Tensor
from .tree import flatten, unflatten

__all__ = ["checkpoint", "outputs_of"]


def checkpoint(function: Callable[..., Any], *args: Any) -> Any:
    """function(*args), recomputed during backward instead of remembered; gradients are the same.

    What the function reads must then be as it was. A tensor that was changed in place since,
    argument or not and also by the function itself, is an InPlaceError. What it does inside
    `no_grad()` is not asked, so running statistics are updated there, and once more in backward.
    A Python number that has changed is not noticed, nor what is read by way of `numpy()`.

    >>> from tinygrad_rnn import tensor
    >>> x = tensor(2.0, requires_grad=True)
    >>> checkpoint(lambda v: v * v * v, x).backward()
    >>> float(x.grad)
    12.0
    """
    check_callable(function, "checkpoint")
    payloads = [getattr(leaf, "array", None) for leaf in flatten(args)[0]]
    if not grad_mode() or any(type(p) in INTERPRETERS for p in payloads):
        return function(*args)
    state = get_rng_state()
    begin = Node(_begin, (), (), None, ()).index
    leaves, structure = flatten(function(*args))
    places = [i for i, leaf in enumerate(leaves) if isinstance(leaf, Tensor)]
    tensors = [leaves[i] for i in places]
    outside = _reached_before([t.node for t in tensors if t.node is not None], begin)
    if not outside or any(type(t.array) in INTERPRETERS for t in tensors):
        return unflatten(structure, leaves)

    def again() -> list[Any]:
        now = get_rng_state()
        set_rng_state(state)
        try:
            with enable_grad(), refusing_changes(begin):
                fresh = flatten(function(*args))[0]
            return [fresh[i] for i in places]
        finally:
            set_rng_state(now)

    params = {"again": again, "count": len(tensors)}
    core = Node(_checkpoint, tuple(outside), (), params, ())
    differentiable = [t.node is not None for t in tensors]
    made = outputs_of(core, [t.array for t in tensors], differentiable)
    for i, t in zip(places, made, strict=True):
        leaves[i] = t
    return unflatten(structure, leaves)


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


def _pull_again(g: Sequence[Any], saved: Any, node: Node, _: Any) -> list[Any]:
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
