"""An update as one pass over memory: its vector operations, fused into a kernel.

With NumPy an update is a dozen operations, each of which reads and writes whole arrays. Here it is
run once on arrays without numbers, which note what is done to them: the same lines of `update`
then make a kernel (see `compiler`), with which large blocks are updated. Every operation is rounded
as NumPy rounds it, so both ways give the same bits. What a kernel cannot do is left to NumPy: other
devices, float16, small blocks, whatever has no llvmlite.

Numbers (rates, corrections) differ at every step; they are read from memory, and the kernel stays.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from ..compiler.engines import engine_named
from ..compiler.llvm_engine import address_of
from ..compiler.llvm_jit import compiled
from ..compiler.llvm_kernels import Writer
from ..compiler.llvm_math import Lanes
from ..compiler.lowering import Address, Block
from .flat import FlatBuffer, Run

__all__ = ["Fused"]

Array = Any
Term = tuple[Any, ...]  # ("load", name), ("number", which one) or (operation, arguments)
Update = Callable[[Run], object]
PARAM, GRAD, NUMBERS = "param", "grad", "numbers"
INSTRUCTIONS = {"add": "fadd", "subtract": "fsub", "multiply": "fmul", "divide": "fdiv"}
CALLS: dict[str, Callable[..., Any]] = {
    "sqrt": lambda lanes, x: lanes.code.call("sqrt", x),
    "maximum": lambda lanes, x, y: lanes.larger(">", x, y),
}


class Fused:
    """Runs an update: whole blocks by a kernel where that can be, all others as they are."""

    def __init__(self, update: Update, flat: FlatBuffer) -> None:
        self.update, self.flat = update, flat
        here = type(flat.values) is np.ndarray and flat.values.dtype in (np.float32, np.float64)
        self.able = here and engine_named("auto").name in ("llvm", "native")
        self.kernels: dict[int, Callable[[int], None]] = {}  # by the step that an update is for

    def __call__(self, run: Run) -> None:
        """Update one block."""
        size = self.flat.gradients.size
        if not self.able or run.grad.size < size or run.span.start % size:
            self.update(run)
            return
        if run.step not in self.kernels:
            trace = self.traced(run.step)
            if trace is None:
                self.able = False
                self.update(run)
                return
            self.kernels[run.step] = self.kernel(trace)
        self.kernels[run.step](run.span.start // size)

    def traced(self, step: int) -> Trace | None:
        """What an update does; None if it is another's, put in the place of ours, and does more."""
        trace = Trace()
        try:
            self.update(TracedRun(trace, step))
        except (AttributeError, TypeError):
            return None
        return trace

    def kernel(self, trace: Trace) -> Callable[[int], None]:
        """A function that updates the block of a number."""
        flat = self.flat
        dtype, names = flat.values.dtype, tuple(trace.cells)
        function = _compiled(tuple(trace.terms), trace.stores(), flat.gradients.size, dtype)
        numbers = np.array([*trace.numbers, 0.0], dtype)
        known = {PARAM: flat.values, GRAD: flat.gradients, NUMBERS: numbers}
        arrays = [known[n] if n in known else flat.state(n) for n in (NUMBERS, *names)]
        table = np.array([address_of(array) for array in arrays], np.int64)
        place = address_of(table)

        def run(number: int, keep: Any = (table, numbers)) -> None:
            function(number, place)

        return run


# ------------------------------------------------------------------------------------- tracing
class Cell:
    """An array without numbers: which term it holds by now."""

    __slots__ = ("term", "trace")

    def __init__(self, trace: Trace, term: int) -> None:
        self.trace, self.term = trace, term

    def __iadd__(self, other: Any) -> Cell:
        return self.trace.noted("add", (self, other), self)

    def __isub__(self, other: Any) -> Cell:
        return self.trace.noted("subtract", (self, other), self)

    def __imul__(self, other: Any) -> Cell:
        return self.trace.noted("multiply", (self, other), self)

    def __itruediv__(self, other: Any) -> Cell:
        return self.trace.noted("divide", (self, other), self)

    def __setitem__(self, key: Any, value: Cell) -> None:
        assert key is ...
        self.term = value.term


class Trace:
    """Stands in for the array library, and notes the terms of an update."""

    def __init__(self) -> None:
        self.terms: list[Term] = []
        self.numbers: list[float] = []
        self.cells: dict[str, Cell] = {}
        self.first: dict[str, int] = {}  # the terms that the cells begin with

    def cell(self, name: str) -> Cell:
        """The array of a name."""
        if name not in self.cells:
            self.first[name] = self.term("load", name)
            self.cells[name] = Cell(self, self.first[name])
        return self.cells[name]

    def term(self, *term: Any) -> int:
        """The number of a new term."""
        self.terms.append(term)
        return len(self.terms) - 1

    def noted(self, name: str, args: Any, out: Cell) -> Cell:
        """An operation, whose result goes to `out`."""
        out.term = self.term(name, tuple([self.argument(a) for a in args]))
        return out

    def argument(self, value: Any) -> int:
        """The term of an array or a number."""
        if isinstance(value, Cell):
            return value.term
        self.numbers.append(float(value))
        return self.term("number", len(self.numbers) - 1)

    def copyto(self, target: Cell, source: Cell) -> None:
        """As NumPy's."""
        target.term = source.term

    def __getattr__(self, name: str) -> Callable[..., Cell]:
        if name not in INSTRUCTIONS and name not in CALLS:
            raise AttributeError(name)
        return lambda *args, out: self.noted(name, args, out)

    def stores(self) -> tuple[tuple[str, int], ...]:
        """What has to be written: the parameters and the states that have changed."""
        last = [(name, cell.term) for name, cell in self.cells.items() if name != GRAD]
        return tuple([(name, term) for name, term in last if term != self.first[name]])


class TracedRun(Run):
    """A run of arrays without numbers."""

    def __init__(self, trace: Trace, step: int) -> None:
        self.xp, self.step, self.trace = trace, step, trace
        self.param, self.grad = trace.cell(PARAM), trace.cell(GRAD)
        self.scratch = Cell(trace, -1)

    def state(self, name: str) -> Any:
        """The array of one state."""
        return self.trace.cell(name)


# ------------------------------------------------------------------------------------- kernels
class _Exact(Writer):
    """Writes operations that are rounded one by one."""

    def operation(self, lanes: Lanes, term: Term, args: list[Any]) -> Any:
        """One operation on vectors."""
        name = term[0]
        if name in INSTRUCTIONS:
            return self.code.binary(INSTRUCTIONS[name], *args)
        return CALLS[name](lanes, *args)


@lru_cache(maxsize=64)
def _compiled(
    terms: tuple[Term, ...], stores: tuple[tuple[str, int], ...], size: int, dtype: Any
) -> Callable[[int, int], None]:
    """The kernel of these terms: k(number of the block, address of a table of addresses)."""
    item = dtype.itemsize
    names = [NUMBERS, *[term[1] for term in terms if term[0] == "load"]]

    def place(name: str) -> Address:
        row = 0 if name == GRAD else size * item
        return Address(names.index(name), 0, (item,), dtype, row)

    def lowered(term: Term) -> Term:
        if term[0] == "load":
            return "load", place(term[1])
        if term[0] == "number":
            return "load", Address(0, term[1] * item, (0,), dtype, 0)
        return *term, None

    writer = _Exact(len(names))
    ends = [(term, place(name)) for name, term in stores]
    writer.part(Block((size,), [lowered(term) for term in terms], ends, [], 1))
    function: Callable[[int, int], None] = compiled(writer.text())
    return function
