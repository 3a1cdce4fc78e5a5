"""Sums of rows taken apart, so that a row is not gone over once more for each of them.

    Σⱼ (a·c + b·d) = c Σⱼ a + d Σⱼ b      for c, d that are the same all along a row

Where c or d waits for another reduction of the row, as in the gradient of a normalisation, the left
side asks for a pass of its own, while on the right all sums are added up in one pass.
"""

from __future__ import annotations

from typing import Any

from .cut import Loop
from .program import Value, recorded

__all__ = ["is_row_reduction", "taken_apart"]

REDUCTIONS = frozenset(("sum", "amax", "amin"))
LINEAR = {"add": (0, 1), "sub": (0, 1), "neg": (0,), "div": (0,)}  # in which arguments


def is_row_reduction(value: Value) -> bool:
    """Whether a value is a reduction over the last axes."""
    if value.name not in REDUCTIONS or value.dtype.kind != "f":
        return False
    rank = len(value.inputs[0].shape)
    dims = value.params["dims"]
    return bool(dims) and dims == tuple(range(rank - len(dims), rank))


def taken_apart(loop: Loop) -> Loop:
    """The loop with its sums of rows so that few wait for another one."""
    if sum(map(is_row_reduction, loop.body)) < 2:
        return loop
    parts = _Apart()
    return loop.rewritten(parts.rule, parts.placed)


class _Apart:
    """What replaces a sum; `depth` is how many reductions a value needs, one after the other."""

    def __init__(self) -> None:
        self.depth: dict[Value, int] = {}

    def placed(self, value: Value) -> None:
        """Count the reductions of a value whose arguments have been counted."""
        before = max([self.depth.get(arg, 0) for arg in value.inputs], default=0)
        self.depth[value] = before + is_row_reduction(value)

    def rule(self, value: Value) -> Value:
        """The value, or what replaces it."""
        return self.apart(value) if value.name == "sum" and is_row_reduction(value) else value

    def apart(self, value: Value) -> Value:
        """A sum of rows made of sums that need fewer reductions before them, if that can be."""
        (root,) = value.inputs
        depth = self.depth.get(root, 0)
        found = self.total(root, value.params["dims"], depth) if depth else None
        if found is None or found.shape == value.shape:
            return found or value
        return recorded("reshape", found, shape=value.shape)

    def total(self, x: Value, dims: tuple[int, ...], depth: int) -> Value | None:
        """The sum over the last axes, which stay as axes of length 1, of what needs so many."""
        if self.depth.get(x, 0) < depth:
            return recorded("sum", x, dims=dims, keepdim=True)
        summed = LINEAR.get(x.name, ())
        if x.name == "mul":  # one factor is the same along a row, the other one is summed
            summed = (1,) if _along(x.args[0], x, dims) is not None else (0,)
        if not summed or not all(_whole(x.args[n], x) for n in summed):
            return None
        parts = [
            self.total(a, dims, depth) if n in summed else _along(a, x, dims)
            for n, a in enumerate(x.args)
        ]
        return None if any(part is None for part in parts) else recorded(x.name, *parts)


def _whole(arg: Any, x: Value) -> bool:
    """Whether an argument has an element of its own for each of a value."""
    return type(arg) is Value and arg.shape == x.shape


def _along(arg: Any, x: Value, dims: tuple[int, ...]) -> Any:
    """What an argument is all along a row, with axes of length 1; None if it changes there."""
    if type(arg) is not Value:
        return arg
    if arg.name == "expand":
        arg = arg.inputs[0]
    rows = x.shape[: len(x.shape) - len(dims)]
    return arg if arg.shape == rows + (1,) * len(dims) else None
