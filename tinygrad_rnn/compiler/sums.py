"""Cotangents of what is the same in every step: sums over the steps.

The sum goes through everything linear to where it is cheapest: a sum of products aₜ·bₜ of matrices
is one product over the stacked steps, a sum of sums is one sum. What is added up there, the parts,
may come in several spans of steps; what is made of the parts is made once, at the end.

Legend: T time steps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import numpy as np

from ..backend import backend_of
from .blas import product
from .long_products import add_rows, suits
from .long_sums import InSpans, RowSum, written_sums
from .lookups import ROWS
from .program import Value
from .script import Script, names

__all__ = ["Finish", "Sums"]

Make = Callable[[], Any]  # a sum to which nothing has been added


@dataclass
class Part:
    """What is added up: what makes it, the variables it is added from, those of the results."""

    make: Make
    names: list[str]
    results: list[str]


@dataclass
class OfRows(Part):
    """Sums over rows."""

    sums: RowSum


class Sums:
    """Writes sums over the steps of a script.

    Attributes:
        exact: whether they are the same, bit for bit, in however many spans the steps come.
        after: what is made of the sums: lines behind the script, or, if `spans` are to come, for
            themselves.
        parts: what is added up.
        alike: parts that are several sums: products with a common factor, which is read once, or
            plain sums of arrays with as many rows.
        turned: the variables of transposes.
    """

    def __init__(self, script: Script, exact: bool, spans: bool) -> None:
        self.script, self.exact, self.spans = script, exact, spans
        self.after = Script(arrays=True)
        if not spans:
            self.after.space = script.space
        self.parts: list[Part] = []
        self.alike: dict[Any, OfRows] = {}
        self.known: dict[tuple[Value, bool], str] = {}
        self.turned: dict[Value, str] = {}
        self.changes: dict[Value, bool] = {}

    def total(self, value: Value, columns: bool = False) -> str:
        """The variable in `after` of Σₜ of a value, as an array of its shape in one step.

        `columns` asks for a product in the order of a transposed matrix, as W in x @ W.T has it:
        its gradient goes back to W without being turned around in memory.
        """
        key = value, columns
        if key not in self.known:
            rule = None if value in self.script.known else _RULES.get(value.name)
            result = rule(value, self, columns) if rule is not None else None
            self.known[key] = self.plain(value) if result is None else result
        return self.known[key]

    def plain(self, value: Value) -> str:
        """The sum of a value itself."""
        array = self.script.array(value)
        if value not in self.script.timed:
            return self.part(_Repeated, array, "length")
        if self.exact and suits(value):
            return self.together(RowSum(value.dtype, 1), value.shape, array)
        return self.part(partial(_Added, _sum_of_steps), array)

    def part(self, make: Make, *names: str) -> str:
        """The variable in `after` of a part, to which each span adds what is in these variables."""
        name = self.after.variable()
        self.parts.append(Part(make, list(names), [name]))
        return name

    def together(self, sums: RowSum, shape: tuple[int, ...], *names: str) -> str:
        """The variable in `after` of a sum of this shape, one part with all others of its kind.

        It is added from the last of the variables; they have the others in common.
        """
        key = sums.dtype, sums.rows, sums.turned, names[:-1]
        found = self.alike.get(key)
        if found is None:
            found = self.alike[key] = OfRows(partial(InSpans, sums), list(names[:-1]), [], sums)
            self.parts.append(found)
        found.sums.shapes.append(shape)
        found.names.append(names[-1])
        found.results.append(self.after.variable())
        return found.results[-1]

    def transposed(self, value: Value) -> str:
        """The variable of the transposes of a matrix, of all steps."""
        if value not in self.turned:
            turned = value.name == "permute" and value.params["dims"] == (1, 0)
            if turned and value not in self.script.known:
                self.turned[value] = self.script.array(value.args[0])
            else:
                array = self.script.array(value)
                self.turned[value] = self.script.assigned(f"{array}.transpose(0, 2, 1)")
        return self.turned[value]

    def timed(self, value: Value) -> bool:
        """Whether a value changes from step to step."""
        if value in self.script.known:
            return value in self.script.timed
        if value not in self.changes:
            self.changes[value] = any(self.timed(a) for a in value.inputs)
        return self.changes[value]

    def same(self, value: Value) -> str:
        """The variable in `after` of what is the same in every step."""
        array = self.script.array(value)
        return self.part(_Same, array) if self.spans else array

    def applied(self, value: Value, *names: str) -> str:
        """The operation of a value, on sums."""
        view = self.after.view(value, names[0], False)
        if view is not None:
            return view
        forward, params = value.op.forward, value.params  # type: ignore[union-attr]
        return self.after.made(lambda *arrays: forward(np, *arrays, **params), *names)

    def written(self, results: Sequence[str]) -> Finish | None:
        """Write all parts; a function that makes `results` of them, if spans are to come."""
        lines = self.script.lines
        if not self.spans:
            self.rows_at_once([part for part in self.parts if isinstance(part, OfRows)])
            for part in self.parts:
                if not isinstance(part, OfRows):
                    call = self.script.constant(_at_once(part.make))
                    lines.append(f"[{part.results[0]}] = {call}({', '.join(part.names)}, turn)")
            lines += self.after.lines
            return None
        for number, part in enumerate(self.parts):
            lines.append(f"sums[{number}].add({', '.join(part.names)}, turn)")
        found = ", ".join(name for part in self.parts for name in part.results)
        head = f"[{found}] = [r for s in sums for r in s.results()]"
        self.after.lines.insert(0, head)
        run = self.after.function("sums", f"[{', '.join(results)}]")
        return Finish([part.make for part in self.parts], run)

    def rows_at_once(self, parts: Sequence[OfRows]) -> None:
        """The line of all sums over rows; what it calls is written when the turn is known."""
        if parts:
            call = self.script.constant(cache(partial(written_sums, [p.sums for p in parts])))
            given = ", ".join(name for part in parts for name in part.names)
            found = names([name for part in parts for name in part.results])
            self.script.lines.append(f"{found} = {call}(turn)({given})")


class Finish:
    """What is to be added up, and what is then made of it."""

    def __init__(self, kinds: Sequence[Make], run: Callable[[Any], list[Any]]) -> None:
        self.kinds, self.run = kinds, run

    def begin(self) -> list[Any]:
        """Sums to which nothing has been added."""
        return [make() for make in self.kinds]


def _at_once(make: Make) -> Callable[..., Any]:
    """The sums where all steps come at once."""

    def run(*arrays_and_turn: Any) -> Any:
        made = make()
        made.add(*arrays_and_turn)
        return made.results()

    return run


# ------------------------------------------------------------------------------------ parts
# Each has `add(arrays of all steps of a span…, turn)`, where turn is −1 if the span's last step
# comes first, and `results()`.
class _Added:
    """A function of the arrays of each span, added."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function, self.total = function, None

    def add(self, *arrays_and_turn: Any) -> None:
        found = self.function(*arrays_and_turn[:-1])
        self.total = found if self.total is None else self.total + found

    def results(self) -> list[Any]:
        return [self.total]


class _Repeated:
    """What is the same in every step, as often as there are steps."""

    def __init__(self) -> None:
        self.array: Any = None
        self.steps = 0

    def add(self, array: Any, length: int, turn: int) -> None:
        self.array = array
        self.steps += length

    def results(self) -> list[Any]:
        return [np.multiply(self.array, self.steps)]


class _Same:
    """What is the same in every step."""

    def __init__(self) -> None:
        self.array: Any = None

    def add(self, array: Any, turn: int) -> None:
        self.array = array

    def results(self) -> list[Any]:
        return [self.array]


class _RowsAt:
    """Rows added, one after the other, at rows of a table."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = shape
        self.total: Any = None

    def add(self, g: Any, number: Any, turn: int) -> None:
        if self.total is None:
            self.total = np.zeros(self.shape, g.dtype)
        count, whole = number.size, self.total.reshape(len(self.total), -1)
        add_rows(whole, number.reshape(-1), g.reshape(count, -1), turn)

    def results(self) -> list[Any]:
        return [self.total]


class _RowsAdded(_RowsAt):
    """The same by NumPy."""

    def add(self, g: Any, number: Any, turn: int) -> None:
        if self.total is None:
            self.total = np.zeros(self.shape, g.dtype)
        backend_of(g).add_at(self.total, number, g)


def _sum_of_steps(array: Any) -> Any:
    return array.sum(0)


def _rows(a: Any) -> Any:
    return a.reshape(-1, a.shape[-1])


def _by_rows(a: Any, b: Any) -> Any:
    """(T, M, K)·(T, K, N) summed over T: one product over the axis (T, K)."""
    return product(_rows(a.transpose(0, 2, 1)).T, _rows(b))


def _by_columns(a: Any, b: Any) -> Any:
    return product(_rows(b).T, _rows(a.transpose(0, 2, 1))).T


# ------------------------------------------------------------------------------------ rules
def _matmul(value: Value, sums: Sums, columns: bool) -> str | None:
    left, right = value.args
    if len(left.shape) != 2 or len(right.shape) != 2:
        return None
    if not sums.timed(left) or not sums.timed(right):
        return _product_with_same(value, sums, columns)
    if sums.exact and suits(left, right):
        inner, (height, width) = left.shape[1], value.shape
        rows, others = sums.transposed(left), sums.script.array(right)
        if columns:
            turned = RowSum(value.dtype, inner, width, True)
            return sums.together(turned, value.shape, others, rows)
        return sums.together(RowSum(value.dtype, inner, height), value.shape, rows, others)
    given = [sums.script.array(side) for side in (left, right)]
    return sums.part(partial(_Added, _by_columns if columns else _by_rows), *given)


def _product_with_same(value: Value, sums: Sums, columns: bool) -> str | None:
    """Σ (aₜ·B) is (Σ aₜ)·B, and Σ (A·bₜ) is A·(Σ bₜ)."""
    left, right = value.args
    if sums.timed(left):
        sides = sums.total(left), sums.same(right)
    elif sums.timed(right):
        sides = sums.same(left), sums.total(right)
    else:
        return None
    return sums.after.made(_product_by_columns if columns else np.matmul, *sides)


def _product_by_columns(a: Any, b: Any) -> Any:
    return (b.T @ a.T).T


def _scatter(value: Value, sums: Sums, columns: bool) -> str | None:
    if value.params["template"] != ROWS or not sums.timed(value):
        return None
    g, number = (sums.script.all_steps(a) for a in value.args)
    make = _RowsAt if sums.exact and suits(value) else _RowsAdded
    return sums.part(partial(make, value.shape), g, number)


def _sum(value: Value, sums: Sums, columns: bool) -> str | None:
    source = value.args[0]
    if not sums.timed(source):
        return None
    sums.script.array(source)
    dims = value.params["dims"]
    plainly = dims == (0,) and len(source.shape) == 2
    if sums.exact and suits(source):
        if plainly:
            name = sums.script.known[source]
            return sums.together(RowSum(source.dtype, source.shape[0]), value.shape, name)
        return sums.applied(value, sums.total(source))
    axes = (0, *(d + 1 for d in dims))
    rows = plainly and source.dtype.kind == "f"

    def summed(x: Any) -> Any:
        if rows and x.flags.c_contiguous:
            found = np.ones(x.shape[0] * x.shape[1], x.dtype) @ _rows(x)  # it adds pairwise
        else:
            found = x.sum(axis=axes)
        return found.reshape(value.shape)

    return sums.part(partial(_Added, summed), sums.script.known[source])


def _linear(value: Value, sums: Sums, columns: bool) -> str:
    turned = columns != (value.name == "permute")
    return sums.applied(value, sums.total(value.args[0], turned))


def _add(value: Value, sums: Sums, columns: bool) -> str | None:
    a, b = value.args
    if not (type(a) is Value and type(b) is Value and a.shape == b.shape == value.shape):
        return None
    return sums.applied(value, *(sums.total(x, columns) for x in (a, b)))


def _assemble(value: Value, sums: Sums, columns: bool) -> str:
    return sums.applied(value, *(sums.total(a, columns) for a in value.inputs))


_RULES = {
    "matmul": _matmul, "sum": _sum, "reshape": _linear, "permute": _linear, "neg": _linear,
    "slice": _linear, "add": _add, "sub": _add, "assemble": _assemble, "scatter": _scatter,
}  # fmt: skip
