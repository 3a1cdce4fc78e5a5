"""An update as one pass over memory: its vector operations, fused into a kernel.

With NumPy an update is a dozen operations, each of which reads and writes whole arrays. Here it is
run once on arrays without numbers, which note what is done to them: the same lines of `update`
then make a kernel (see `compiler`), which reads each gradient where it is. Every operation is
rounded as NumPy rounds it, so both ways give the same bits. What a kernel cannot do is left to
NumPy: other devices, float16, small models, whatever has no llvmlite.

Numbers (rates, corrections) differ at every step; they are read from memory, and the kernel stays.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from ctypes import CFUNCTYPE, c_int64, c_void_p
from functools import lru_cache
from typing import Any

import numpy as np

from ..compiler.engines import automatic
from ..compiler.llvm_engine import address_of
from ..compiler.llvm_jit import available, compiled
from ..compiler.llvm_kernels import Writer
from ..compiler.llvm_math import Lanes
from ..compiler.llvm_text import POINTER
from ..compiler.lowering import Address, Block
from .flat import FlatBuffer, Run

__all__ = ["Fused"]

Array = Any
Term = tuple[Any, ...]  # ("load", name), ("number", which one) or (operation, arguments)
Update = Callable[[Run], object]
Kernel = Callable[[int, int, int], None]
SIGNATURE = CFUNCTYPE(None, c_int64, c_int64, c_int64, c_void_p)
PARAM, GRAD, NUMBERS = "param", "grad", "numbers"
INSTRUCTIONS = {"add": "fadd", "subtract": "fsub", "multiply": "fmul", "divide": "fdiv"}
CALLS: dict[str, Callable[..., Any]] = {
    "sqrt": lambda lanes, x: lanes.code.call("sqrt", x),
    "negative": lambda lanes, x: lanes.neg(x),
    "maximum": lambda lanes, x, y: lanes.larger(">", x, y),
}


class Fused:
    """Runs an update by a kernel, gradient by gradient, where each is."""

    def __init__(self, update: Update, flat: FlatBuffer, negate: bool) -> None:
        self.update, self.flat, self.negate = update, flat, negate
        here = type(flat.values) is np.ndarray and flat.values.dtype in (np.float32, np.float64)
        self.able = here and automatic()[0] in ("llvm", "native") and available()

    def __call__(self, found: Sequence[Array], steps: Sequence[int | None]) -> bool:
        """Update the parameters that have a gradient and a step; False if that cannot be."""
        if not self.able:
            return False
        kernels: dict[int, Kernel] = {}
        for number in {step for step in steps if step is not None}:
            trace = self.traced(number)
            if trace is None:
                return False
            kernels[number] = self.kernel(trace)
        item = int(self.flat.values.itemsize)
        for span, gradient, step in zip(self.flat.spans, found, steps, strict=True):
            if step is not None:
                array = np.ascontiguousarray(gradient)
                kernels[step](span.start, span.stop, address_of(array) - span.start * item)
        return True

    def traced(self, step: int) -> Trace | None:
        """What an update does; None if it is another's, put in the place of ours, and does more."""
        trace = Trace()
        run = TracedRun(trace, step)
        if self.negate:
            trace.negative(run.grad, out=run.grad)
        try:
            self.update(run)
        except (AttributeError, TypeError):
            return None
        return trace

    def kernel(self, trace: Trace) -> Kernel:
        """A function that updates the elements from one to another.

        It is told where the gradient of the very first element would be.
        """
        flat = self.flat
        dtype, names = flat.values.dtype, tuple(trace.cells)
        function = _compiled(tuple(trace.terms), trace.stores(), dtype)
        numbers = np.array([*trace.numbers, 0.0], dtype)
        known = {PARAM: flat.values, NUMBERS: numbers}
        arrays = [known[n] if n in known else flat.state(n) for n in (NUMBERS, *names) if n != GRAD]
        table = np.array([address_of(array) for array in arrays], np.int64)
        place = address_of(table)

        def run(first: int, stop: int, gradient: int, keep: Any = (table, numbers)) -> None:
            function(first, stop, gradient, place)

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
    """Writes operations that are rounded one by one, for the elements from one to another."""

    def cut(self, size: Any, native: int) -> list[tuple[Any, Any, int]]:
        """Pieces of vectors, and what is left over."""
        first, stop = self.code.args[:2]
        whole = self.code.and_(self.code.binary("sub", stop, first), self.number(-2 * native))
        middle = self.code.add(first, whole)
        return [(first, middle, 2 * native), (middle, stop, 1)]

    def operation(self, lanes: Lanes, term: Term, args: list[Any]) -> Any:
        """One operation on vectors."""
        name = term[0]
        if name in INSTRUCTIONS:
            return self.code.binary(INSTRUCTIONS[name], *args)
        return CALLS[name](lanes, *args)


@lru_cache(maxsize=64)
def _compiled(
    terms: tuple[Term, ...], stores: tuple[tuple[str, int], ...], dtype: Any
) -> Callable[[int, int, int, int], None]:
    """The kernel of these terms.

    It is k(first element, the one after the last, where the gradient of element 0 would be, address
    of a table of all other addresses).
    """
    item = dtype.itemsize
    names = [NUMBERS, *[term[1] for term in terms if term[0] == "load" and term[1] != GRAD]]
    writer = _Exact(len(names), 3)
    gradient = writer.code.convert("inttoptr", writer.code.args[2], POINTER)
    writer.bases.append(gradient)
    names.append(GRAD)

    def place(name: str) -> Address:
        return Address(names.index(name), 0, (item,), dtype, 0)

    def lowered(term: Term) -> Term:
        if term[0] == "load":
            return "load", place(term[1])
        if term[0] == "number":
            return "load", Address(0, term[1] * item, (0,), dtype, 0)
        return *term, None

    ends = [(term, place(name)) for name, term in stores]
    # of any size: `cut` goes by the arguments
    writer.stored(Block((1,), [lowered(term) for term in terms], ends, [], 1), [], 1)
    function: Callable[[int, int, int, int], None] = compiled(writer.text(), SIGNATURE)
    return function
