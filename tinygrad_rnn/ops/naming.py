"""What the derivatives of a primitive name, and how each value comes to them.

The names of a derivative's arguments say what is kept for backward: an input, `out`, a parameter,
or `in_shape`. `Names` reads them once and builds the rules and the savers from them.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

from ..graph import Node, Rule

__all__ = ["Names", "unbroadcast"]


class Names:
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
        """`function` as `rule(cotangent, saved, node)`, by the shortest way for usual cases."""
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
            used = {
                s for need, slots in zip(needed, self.slots, strict=False) if need for s in slots
            }
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
