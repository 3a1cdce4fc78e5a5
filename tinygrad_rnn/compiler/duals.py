"""Forward mode: the loop of a step that carries tangents beside its values.

A dual number in a carry, in the inputs or captured by the step makes the problem another one, whose
carry is (values, tangents) and whose step takes both, pushes them through the user's step as dual
numbers, and takes the result apart. That step is compiled like any other, so values and tangents
are made in one loop, and gradients of both go back through it.

Which components of a carry have a tangent is found out by going through the step: those that are
given one, and those that it reaches. Of transforms in each other the innermost, which has the
highest level, is taken apart first; what is then left to be compiled may be dual again.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from ..create import zeros_like
from ..forward import Dual, halves
from ..scan import Problem
from ..tensor import Tensor, as_tensor
from ..tree import flatten, unflatten
from .code_reads import Counting, NotEnumerable, code_of, names_in
from .program import Forward, Refused

__all__ = ["check_plain", "with_tangents"]

Run = Callable[[Problem], tuple[Any, Any]]
Moving = tuple[bool, ...]  # which components of a carry have a tangent


def check_plain(tensors: Sequence[Any]) -> None:
    """Tensors must be no dual numbers.

    Raises:
        Forward: they are.
    """
    level = max([t.array.level for t in tensors if type(t.array) is Dual], default=0)
    if level:
        raise Forward(level)


def with_tangents(problem: Problem, run: Run, ceiling: float = math.inf) -> tuple[Any, Any]:
    """A problem by `run`, which is given one without dual numbers of a level below the ceiling."""
    try:
        return run(problem)
    except Forward as found:
        level = found.level
    while level < ceiling:
        try:
            return _at(problem, level, run)
        except Forward as found:
            if found.level <= level:
                raise
            level = found.level
    raise Forward(level)


def _at(problem: Problem, level: int, run: Run) -> tuple[Any, Any]:
    """The same with all dual numbers of a level taken apart."""
    if problem.truncate is not None and problem.truncate < problem.length:
        raise Refused("truncation in forward mode")
    _check_uncounted(problem.step)
    init, xs = _apart(problem.init, level), _apart(problem.xs, level)
    moving = tuple([t is not None for t in init[1]])
    while True:
        step = _OnDuals(problem.step, level, moving)
        apart = replace(problem, step=step, init=_moved(init, moving), xs=xs)
        try:
            final, ys = with_tangents(apart, run, level)
            return _joined(final, level), _joined(ys, level)
        except _Reached as found:
            if found.level != level:
                raise
            moving = found.moving


def _check_uncounted(step: Any) -> None:
    """To go through a step that counts its calls would be to change what it does."""
    code = code_of(step)
    try:
        if code is not None:
            names_in(code)
    except Counting as found:
        raise Refused(str(found)) from None
    except NotEnumerable:  # it is not enumerated here
        pass


class _Reached(Refused):
    """A tangent comes to components of the carry that were said to have none."""

    def __init__(self, level: int, moving: Moving) -> None:
        super().__init__("forward mode")
        self.level, self.moving = level, moving


class _OnDuals:
    """A step on (values, tangents); the compiler knows it by the code of the user's step."""

    def __init__(self, step: Callable[[Any, Any], Any], level: int, moving: Moving) -> None:
        self.step, self.level, self.moving = step, level, moving
        self.__code__ = getattr(step, "__code__", type(step))

    def __call__(self, carry: Any, x: Any) -> tuple[Any, Any]:
        result = self.step(_joined(carry, self.level), _joined(x, self.level))
        if not isinstance(result, tuple) or len(result) != 2:
            raise Refused("a step that does not return (carry, output)")
        after, y = (_apart(part, self.level) for part in result)
        if len(after[1]) != len(self.moving):
            raise Refused("a carry that changes its structure")
        reached = [m or t is not None for m, t in zip(self.moving, after[1], strict=True)]
        if tuple(reached) != self.moving:
            raise _Reached(self.level, tuple(reached))
        return _moved(after, self.moving), y


def _apart(tree: Any, level: int) -> tuple[Any, tuple[Any, ...]]:
    """The values of a tree, and the tangents of its leaves in order, None of what is constant."""
    leaves, structure = flatten(tree)
    values, tangents = halves([as_tensor(leaf) for leaf in leaves], level)
    return unflatten(structure, values), tuple(tangents)


def _joined(pair: tuple[Any, tuple[Any, ...]], level: int) -> Any:
    """The tree that `_apart` has taken apart."""
    leaves, structure = flatten(pair[0])
    return unflatten(structure, [
        p if t is None else Tensor(Dual(p, t, level)) for p, t in zip(leaves, pair[1], strict=True)
    ])  # fmt: skip


def _moved(pair: tuple[Any, tuple[Any, ...]], moving: Moving) -> tuple[Any, tuple[Any, ...]]:
    """A carry with a tangent of zeros where it has none and needs one."""
    rows = zip(flatten(pair[0])[0], pair[1], moving, strict=True)
    return pair[0], tuple([zeros_like(p) if m and t is None else t for p, t, m in rows])
