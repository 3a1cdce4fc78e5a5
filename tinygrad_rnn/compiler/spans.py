"""What splits or masks a problem before it is compiled: spans, row masks, detached carries.

Legend: T time steps, B batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from ..checkpointing import checkpoint
from ..graph import Node, grad_mode, primitives
from ..ops.elementwise import where
from ..scan import Problem, check_carry, ended, rows_like, without_padding
from ..tensor import Tensor, as_tensor
from ..tree import flatten, tree_map, unflatten

__all__ = ["masked", "run_spans", "with_breaks"]

BLOCK = 1 << 22  # bytes of one stacked input in a block of steps, where nothing is recorded

Run = Callable[[Problem, int], tuple[Any, Any]]  # a problem, the number of steps before it


def run_spans(problem: Problem, run: Run) -> tuple[Any, Any]:
    """A problem by `run`: at once, or in spans of steps where that saves memory.

    With checkpoints and rows of unequal length each span is a node of the graph, which is run again
    in backward; without lengths a single node does that (`checkpoints`).
    """
    every = problem.checkpoint_every
    if every is not None and every >= problem.length:
        problem, every = replace(problem, checkpoint_every=None), None
    if grad_mode() and every is not None and problem.lengths is not None:
        return _in_spans(problem, every, lambda p, start: checkpoint(
            lambda carry: run(replace(p, init=carry), start), p.init
        ))  # fmt: skip
    if not grad_mode():
        leaves = flatten(problem.xs)[0]
        width = max((leaf.array[0].nbytes for leaf in leaves), default=1)
        block = max(64, BLOCK // max(1, 8 * width))
        if problem.length > block:
            return _in_spans(problem, block, run)
    return run(problem, 0)


def _in_spans(problem: Problem, span: int, run: Run) -> tuple[Any, Any]:
    """Spans one after the other, each written into the outputs: those are in memory once."""
    carry, structure = problem.init, None
    leaves: list[Any] = []
    nodes: list[list[Node | None]] = []
    sizes = []
    for part, start, steps in _spans(problem, span):
        carry, ys = run(replace(part, init=carry), start)
        found, structure = flatten(ys)
        if not leaves:
            shapes = [(problem.length, *y.shape[1:]) for y in found]
            leaves = [np.empty(s, y.dtype) for s, y in zip(shapes, found, strict=True)]
            nodes = [[] for _ in found]
        for leaf, parents, y in zip(leaves, nodes, found, strict=True):
            leaf[steps] = y.array
            parents.append(y.node)
        sizes.append(part.length)
        del ys, found
    turn = -1 if problem.reverse else 1
    whole = [_whole(a, n[::turn], sizes[::turn]) for a, n in zip(leaves, nodes, strict=True)]
    return carry, unflatten(structure, whole)


def _whole(array: Any, parents: list[Node | None], sizes: list[int]) -> Tensor:
    """What `cat` would give of pieces that have these nodes."""
    if not any(parents):
        return Tensor(array)
    params = {"dim": 0, "sizes": tuple(sizes)}
    return Tensor(array, Node(primitives["cat"], tuple(parents), (), params, array.shape))


def _spans(problem: Problem, span: int) -> Iterator[tuple[Problem, int, slice]]:
    """Runs of `span` steps in the order of the loop, the steps before each, and which it has."""
    length = problem.length
    for start in range(0, length, span):
        stop = min(start + span, length)
        low, high = (length - stop, length - start) if problem.reverse else (start, stop)
        xs = tree_map(lambda leaf: leaf[low:high], problem.xs)  # noqa: B023 (used at once)
        part = replace(problem, xs=xs, length=high - low, checkpoint_every=None)
        if problem.lengths is not None:
            part = replace(part, lengths=problem.lengths - low)
        yield part, start, slice(low, high)


def with_breaks(problem: Problem, start: int) -> tuple[Problem, list[int]]:
    """The steps before which the carry is detached; if that is the first, it is done here."""
    every = problem.truncate
    if every is None:
        return problem, []
    if start and start % every == 0:
        problem = replace(problem, init=tree_map(lambda c: c.detach(), problem.init))
    return problem, [i for i in range(1, problem.length) if (start + i) % every == 0]


def masked(problem: Problem) -> Problem:
    """The problem without lengths: rows beyond theirs keep their carry and give zeros."""
    assert problem.lengths is not None
    times = np.arange(problem.length)[:, None]
    active = Tensor(problem.lengths.array > times)

    def step(carry: Any, inputs: Any) -> tuple[Any, Any]:
        x, here = inputs
        after, y = problem.step(carry, x)
        after, y = tree_map(as_tensor, after), tree_map(as_tensor, y)
        check_carry(carry, after, 0)
        kept = tree_map(lambda new, old: where(rows_like(here, new), new, old), after, carry)
        return kept, tree_map(lambda leaf: ended(here, leaf), y)

    step.__wrapped__ = problem.step  # type: ignore[attr-defined]
    xs = without_padding(problem.xs, problem.lengths), active
    return replace(problem, step=step, xs=xs, lengths=None)
