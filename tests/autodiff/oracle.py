"""A naive reverse mode on single numbers, to hold the library's against.

Every number is an object that knows its parents and its partial derivatives; a tensor is a NumPy
array of such objects, so indexing, broadcasting and sums are NumPy's own. Memory is modelled too:
a number lives in a cell, and what backward will need is remembered with the version of its cell.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence


class FreedError(Exception):
    """A second pass through an operation."""


class StaleError(Exception):
    """A number that was needed has been overwritten."""


class Cell:
    """A place in memory."""

    def __init__(self, value: float) -> None:
        self.value, self.version = value, 0


class Scalar:
    """A number, the numbers it was made of, and ∂self/∂parent for each."""

    clock = itertools.count()

    def __init__(
        self, cell: Cell, parents: Sequence[tuple[Scalar, float]] = (), leaf: bool = False
    ) -> None:
        self.cell, self.leaf, self.index = cell, leaf, next(self.clock)
        self.parents = [(p, d) for p, d in parents if p.leaf or p.parents]
        self.saved: list[tuple[Cell, int]] = []
        self.freed = False

    @property
    def value(self) -> float:
        return self.cell.value

    def keep(self, *needed: Scalar) -> Scalar:
        """Remember cells whose values backward needs."""
        self.saved = [(n.cell, n.cell.version) for n in needed]
        return self

    def __add__(self, other: Scalar) -> Scalar:
        return Scalar(Cell(self.value + other.value), [(self, 1.0), (other, 1.0)])

    def __sub__(self, other: Scalar) -> Scalar:
        return Scalar(Cell(self.value - other.value), [(self, 1.0), (other, -1.0)])

    def __neg__(self) -> Scalar:
        return Scalar(Cell(-self.value), [(self, -1.0)])

    def __mul__(self, other: Scalar) -> Scalar:
        x, y = self, other
        needed = [b for a, b in ((x, y), (y, x)) if a.leaf or a.parents]
        return Scalar(Cell(x.value * y.value), [(x, y.value), (y, x.value)]).keep(*needed)

    def through(self, value: float, derivative: float) -> Scalar:
        """A function of one number, whose rule needs its own result."""
        made = Scalar(Cell(value), [(self, derivative)])
        return made.keep(made)

    def tanh(self) -> Scalar:
        y = math.tanh(self.value)
        return self.through(y, 1 - y * y)

    def exp(self) -> Scalar:
        return self.through(math.exp(self.value), math.exp(self.value))


def backward(
    roots: Sequence[tuple[Scalar, float]], retain: bool = False
) -> dict[Scalar, float]:
    """Σ cotangent · ∂root/∂leaf for every leaf reached, newest number first."""
    totals: dict[Scalar, float] = {}
    for root, cotangent in roots:
        totals[root] = totals.get(root, 0.0) + cotangent
    waiting, found = set(totals), {}
    while waiting:
        node = max(waiting, key=lambda n: n.index)
        waiting.remove(node)
        if node.leaf:
            found[node] = totals[node]
            continue
        if node.freed:
            raise FreedError
        if any(cell.version != version for cell, version in node.saved):
            raise StaleError
        for parent, derivative in node.parents:
            totals[parent] = totals.get(parent, 0.0) + totals[node] * derivative
            waiting.add(parent)
        node.freed = not retain
    return found
