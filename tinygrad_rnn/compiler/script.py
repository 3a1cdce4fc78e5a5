"""Values computed outside of a loop, written as a function of Python.

Each value is a line: its operation on all steps at once (`batch`). What would be looked up at every
call (which values are there, which have a time axis, what is to be called) is settled when the
lines are written.

Legend: T time steps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from .batch import batched, spread
from .long_products import rows_times, suits
from .program import Value, ancestors

__all__ = ["Script", "names"]


class Script:
    """Lines that compute values, each in a variable of its own.

    Attributes:
        known: the variable of each value that is there.
        timed: the values that have a time axis in front.
        space: what the lines name beside their variables.
        exact: whether products give each row the same bits, however many rows there are.
    """

    def __init__(self, exact: bool = False) -> None:
        self.exact = exact
        self.known: dict[Value, str] = {}
        self.timed: set[Value] = set()
        self.space: dict[str, Any] = {"spread": spread, "contiguous": np.ascontiguousarray}
        self.lines: list[str] = []

    def given(self, values: Iterable[Value | None], fixed: Any) -> str:
        """Variables for values that are handed over, as the left side of an assignment.

        Those in `fixed` have no time axis. None is something that nobody reads.
        """
        found = []
        for value in values:
            found.append("_" if value is None else self.variable())
            if value is not None:
                self.known[value] = found[-1]
                if value not in fixed:
                    self.timed.add(value)
        return names(found)

    def variable(self) -> str:
        """A name that is not taken."""
        name = f"v{len(self.space)}"
        self.space[name] = None
        return name

    def constant(self, thing: Any) -> str:
        """The name of something that is the same in every call."""
        name = self.variable()
        self.space[name] = thing
        return name

    def made(self, function: Any, *args: str) -> str:
        """The variable of what a function gives for these variables."""
        name, called = self.variable(), self.constant(function)
        self.lines.append(f"{name} = {called}({', '.join(args)})")
        return name

    def array(self, value: Value) -> str:
        """The variable of a value, computed if it is not there yet."""
        if value not in self.known:
            needed = ancestors([value], lambda v: v in self.known) - self.known.keys()
            for missing in sorted(needed, key=lambda v: v.index):
                self.compute(missing)
        return self.known[value]

    def compute(self, value: Value) -> None:
        """One value, from those that are known."""
        flags = [type(a) is Value and a in self.timed for a in value.args]
        args = [self.known[a] if type(a) is Value else self.constant(a) for a in value.args]
        call = _rows_times if self.exact and _is_rows_times(value, flags) else batched(value, flags)
        self.known[value] = self.made(call, *args)
        if any(flags):
            self.timed.add(value)

    def all_steps(self, value: Value) -> str:
        """A value with a time axis, whether it changes or not."""
        name = self.array(value)
        return name if value in self.timed else f"spread({name}, length)"

    def function(self, head: str, result: str) -> Callable[..., Any]:
        """All lines as a function of the arguments in `head`."""
        body = "".join(f"    {line}\n" for line in self.lines)
        exec(f"def run({head}):\n{body}    return {result}\n", self.space)
        run: Callable[..., Any] = self.space["run"]
        return run


def _is_rows_times(value: Value, flags: Sequence[bool]) -> bool:
    """Whether it is a product of all rows of all steps with one matrix."""
    if value.name != "matmul" or flags != [True, False]:
        return False
    left, right = value.args
    return len(left.shape) > 1 and len(right.shape) == 2 and suits(left, right)


def _rows_times(x: Any, matrix: Any) -> Any:
    rows = rows_times(x.reshape(-1, x.shape[-1]), matrix)
    return rows.reshape(*x.shape[:-1], matrix.shape[1])


def names(found: Sequence[str]) -> str:
    """Expressions as a list."""
    return f"[{', '.join(found)}]"
