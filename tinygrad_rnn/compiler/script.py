"""Values computed outside of a loop, written as a function of Python.

Each value is a line: its operation on all steps at once (`batch`). What would be looked up at every
call (which values are there, which have a time axis, what is to be called) is settled when the
lines are written.

Legend: T time steps.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from .batch import all_steps_of, batched, in_place, makes_its_own, spread
from .long_products import rows_times_of, suits
from .program import Value, ancestors

__all__ = ["Script", "forgetting", "names"]

_VARIABLE = re.compile(r"\bv\d+\b")


class Script:
    """Lines that compute values, each in a variable of its own.

    Attributes:
        known: the variable of each value that is there.
        timed: the values that have a time axis in front.
        space: what the lines name beside their variables.
        exact: whether products give each row the same bits, however many rows there are.
        arrays: whether it is given arrays alone: views of these are written as such.
    """

    def __init__(self, exact: bool = False, arrays: bool = False) -> None:
        self.exact, self.arrays = exact, arrays
        self.known: dict[Value, str] = {}
        self.timed: set[Value] = set()
        self.space: dict[str, Any] = {"spread": spread, "contiguous": np.ascontiguousarray}
        self.lines: list[str] = []
        self.own: dict[str, Value] = {}  # variables whose memory nothing else has, at first

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
        return self.assigned(f"{self.constant(function)}({', '.join(args)})")

    def assigned(self, expression: str) -> str:
        """The variable of an expression."""
        name = self.variable()
        self.lines.append(f"{name} = {expression}")
        return name

    def view(self, value: Value, source: str, timed: bool) -> str | None:
        """The variable of a value that is a view of an array, if NumPy has a plain word for it."""
        if not self.arrays or value.name not in _VIEWS:
            return None
        how, word = _VIEWS[value.name]
        return self.assigned(f"{source}{word.format(self.constant(how(value, timed)))}")

    def array(self, value: Value) -> str:
        """The variable of a value, computed if it is not there yet."""
        if value not in self.known:
            needed = ancestors([value], lambda v: v in self.known) - self.known.keys()
            for missing in sorted(needed, key=lambda v: v.index):
                self.compute(missing)
        return self.known[value]

    def compute(self, value: Value) -> None:
        """One value, from those that are known."""
        flags = self.flags(value)
        args = [self.known[a] if type(a) is Value else self.constant(a) for a in value.args]
        view = self.view(value, args[0], flags[0])
        name = self.known[value] = view or self.made(self.called(value, flags), *args)
        if any(flags):
            self.timed.add(value)
            if makes_its_own(value, flags):
                self.own[name] = value

    def called(self, value: Value, flags: Sequence[bool]) -> Callable[..., Any]:
        """What gives a value."""
        if self.exact and _is_rows_times(value, flags):
            return rows_times_of(value.dtype, *value.args[1].shape)
        return batched(value, flags)

    def flags(self, value: Value) -> list[bool]:
        """For each argument whether it has a time axis."""
        return [type(a) is Value and a in self.timed for a in value.args]

    def all_steps(self, value: Value) -> str:
        """A value with a time axis, whether it changes or not."""
        name = self.array(value)
        return name if value in self.timed else f"spread({name}, length)"

    def function(self, head: str, result: str) -> Callable[..., Any]:
        """All lines as a function of the arguments in `head`."""
        lines = forgetting(self.in_place(result), result)
        body = "".join(f"    {line}\n" for line in lines)
        exec(f"def run({head}):\n{body}    return {result}\n", self.space)
        run: Callable[..., Any] = self.space["run"]
        return run

    def in_place(self, result: str) -> list[str]:
        """The lines, each result where an operand has been that was made for it alone."""
        lines = [*self.lines, result]
        uses = Counter(name for line in lines for name in set(_VARIABLE.findall(line)))
        return [self._over_operand(line, uses) for line in self.lines]

    def _over_operand(self, line: str, uses: Counter[str]) -> str:
        name, _, call = line.partition(" = ")
        value = self.own.get(name)
        function = None if value is None else in_place(value, self.flags(value))
        if value is None or function is None:
            return line
        for operand in value.inputs:
            old = self.known[operand]
            alike = (operand.shape, operand.dtype) == (value.shape, value.dtype)
            if alike and old in self.own and uses[old] == 2:  # where it is made, and here
                arguments = call[call.index("(") : -1]
                return f"{name} = {self.constant(function)}{arguments}, out={old})"
        return line


def forgetting(lines: Sequence[str], result: str) -> list[str]:
    """The lines, each variable deleted after its last use: its memory, in cache, is used again."""
    made = {name for line in lines for name in _VARIABLE.findall(line.partition(" = ")[0])}
    kept = {*_VARIABLE.findall(result)}
    found: list[str] = []
    for line in reversed(lines):
        last = [name for name in dict.fromkeys(_VARIABLE.findall(line)) if name in made - kept]
        kept.update(last)
        found += [f"del {', '.join(last)}"] if last else []
        found.append(line)
    return found[::-1]


def _is_rows_times(value: Value, flags: Sequence[bool]) -> bool:
    """Whether it is a product of all rows of all steps with one matrix."""
    if value.name != "matmul" or flags != [True, False]:
        return False
    left, right = value.args
    return len(left.shape) > 1 and len(right.shape) == 2 and suits(left, right)


def _shape(value: Value, timed: bool) -> Any:
    return (-1, *value.shape) if timed else value.shape


def _axes(value: Value, timed: bool) -> Any:
    dims = value.params["dims"]
    return (0, *(d + 1 for d in dims)) if timed else dims


def _key(value: Value, timed: bool) -> Any:
    key = value.params["key"]
    return all_steps_of(key) if timed else key


_VIEWS: dict[str, tuple[Callable[[Value, bool], Any], str]] = {
    "reshape": (_shape, ".reshape({})"), "permute": (_axes, ".transpose({})"),
    "slice": (_key, "[{}]"),
}  # fmt: skip


def names(found: Sequence[str]) -> str:
    """Expressions as a list."""
    return f"[{', '.join(found)}]"
