"""Products in which what is there before the loop comes first: (δ ⊙ a) ⊙ b is δ ⊙ (a ⊙ b).

A derivative multiplies a cotangent, which waits for the step after, by one factor after the other.
Put together, the factors that do not wait leave the loop, and in it one product stays. That is done
where a factor is made of the values of gates, so that nothing can overflow which did not before.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .program import Value, ancestors, recorded

__all__ = ["factored"]

GATES = frozenset(("sigmoid", "tanh", "sin", "cos"))  # of which no value is beyond 1
KEEPS = frozenset(("add", "sub", "mul", "neg", "slice", "reshape", "permute"))


def factored(ends: Sequence[Value], cotangents: Sequence[Value]) -> dict[Value, Value]:
    """For each value that `ends` are made of and that waits for `cotangents` what replaces it."""
    found = _Factored(cotangents)
    for value in sorted(ancestors(ends), key=lambda v: v.index):
        if any(a in found.waits for a in value.inputs):
            found.replace(value)
    return found.new


class _Factored:
    def __init__(self, cotangents: Sequence[Value]) -> None:
        self.waits = set(cotangents)
        self.new: dict[Value, Value] = {}
        self.small: dict[Value, bool] = {}

    def replace(self, value: Value) -> None:
        """Find what replaces a value whose arguments have been replaced."""
        args = tuple([self.new.get(a, a) if type(a) is Value else a for a in value.args])
        made = self.product(value, *args) if value.name == "mul" else None
        made = self.rest(*args) if value.name == "sub" else made
        if made is None:
            made = value if args == value.args else value.graph.again(value, args)
        self.new[value] = made
        self.waits |= {value, made}

    def product(self, value: Value, a: Any, b: Any) -> Value | None:
        """(w ⊙ k) ⊙ b as w ⊙ (k ⊙ b)."""
        if b in self.waits:
            a, b = b, a
        parts = self.parts(a)
        if parts is None or b in self.waits or type(b) is not Value or b.shape != a.shape:
            return None
        waiting, known = parts
        if not (self.is_small(known) or self.is_small(b)):
            return None
        return recorded("mul", waiting, recorded("mul", known, b))

    def rest(self, a: Any, b: Any) -> Value | None:
        """w ⊙ a − w ⊙ b as w ⊙ (a − b); of w alone a is 1."""
        left, right = self.parts(a) or (a, 1.0), self.parts(b)
        if right is None or left[0] is not right[0] or not self.is_small(right[1]):
            return None
        return recorded("mul", left[0], recorded("sub", left[1], right[1]))

    def parts(self, value: Any) -> tuple[Value, Value] | None:
        """The factor of a product that waits, and the one that does not."""
        if type(value) is not Value or value.name != "mul" or len(value.inputs) < 2:
            return None
        a, b = value.inputs if value.args[0] in self.waits else reversed(value.inputs)
        plain = a.shape == b.shape == value.shape and a.dtype == b.dtype
        return (a, b) if plain and a in self.waits and b not in self.waits else None

    def is_small(self, value: Value) -> bool:
        """Whether a value is computed from gates in a few steps."""
        if value not in self.small:
            made = value.name in KEEPS and all(
                self.is_small(a) if type(a) is Value else abs(a) <= 1 for a in value.args
            )
            self.small[value] = value.name in GATES or made
        return self.small[value]
