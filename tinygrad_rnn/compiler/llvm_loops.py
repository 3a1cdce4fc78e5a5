"""Loops in LLVM's language, which may carry values from one round to the next.

Addresses are written as they should be computed. LLVM looks for better ones from round to round
(its pass is called loop strength reduction), which takes a quarter of the time to compile and finds
none: so it is not shown that an index grows by a constant.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from .llvm_text import INT, Function, Word, constant

__all__ = ["Fold", "Loops"]

Fold = Callable[[Any, list[Any]], list[Any]]


class Loops:
    """Writes loops into a function."""

    def __init__(self, code: Function) -> None:
        self.code = code

    def number(self, value: int) -> Word:
        """An integer constant."""
        return constant(INT, value)

    def loop(self, start: Any, stop: Any, step: int, body: Callable[[Any], None]) -> None:
        """for i in range(start, stop, step): body(i)."""

        def once(i: Any, _: list[Any]) -> list[Any]:
            body(i)
            return []

        self.fold(start, stop, step, [], once)

    def fold(self, start: Any, stop: Any, step: int, first: list[Any], body: Fold) -> list[Any]:
        """x = first; for i in range(start, stop, step): x = body(i, x); the last x.

        Bounds are integers, or values known when the code runs.
        """
        known = isinstance(start, int) and isinstance(stop, int)
        if known and stop - start <= step:
            return body(self.number(start), first) if stop > start else first
        code = self.code
        low, high = (self.number(n) if isinstance(n, int) else n for n in (start, stop))
        before, inside, after = code.block, code.new_block("loop"), code.new_block("done")
        if known:
            code.branch(inside)
        else:
            code.branch_if(code.compare("icmp slt", low, high), inside, after)
        code.at(inside)
        index, *carried = (code.phi(word.type) for word in (low, *first))
        results = body(index, list(carried))
        following, last = code.hidden(code.add(index, self.number(step))), code.block
        for phi, old, new in zip(
            (index, *carried), (low, *first), (following, *results), strict=True
        ):
            phi.add_incoming(old, before)
            phi.add_incoming(new, last)
        code.branch_if(code.compare("icmp slt", following, high), inside, after)
        code.at(after)
        return results if known else self.either(first, before, results, last)

    def either(self, first: list[Any], before: str, results: list[Any], last: str) -> list[Any]:
        """What was there before a loop, if it was never run, or what came out of it."""
        found = []
        for old, new in zip(first, results, strict=True):
            phi = self.code.phi(old.type)
            phi.add_incoming(old, before)
            phi.add_incoming(new, last)
            found.append(phi)
        return found

    def nested(self, sizes: Sequence[Any], body: Callable[[list[Any]], None]) -> None:
        """Loops over several axes."""

        def once(indices: list[Any], _: list[Any]) -> list[Any]:
            body(indices)
            return []

        self.folded(sizes, [], once)

    def folded(
        self, sizes: Sequence[Any], first: list[Any], body: Callable[..., list[Any]]
    ) -> list[Any]:
        """As `fold`, over several axes."""
        if not sizes:
            return body([], first)

        def inner(i: Any, values: list[Any]) -> list[Any]:
            return self.folded(sizes[1:], values, lambda rest, x: body([i, *rest], x))

        return self.fold(0, sizes[0], 1, first, inner)
