"""The engine with generated kernels: products by NumPy, everything between them fused.

The same generated Python loop as the numpy engine's, but that the lines between two matrix products
are one call of a kernel.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from ctypes import addressof, c_char
from functools import cache
from struct import Struct
from typing import Any

import numpy as np

from .cut import Loop
from .fuse import FUSABLE, Fusion, Nest, fuse, is_plain_join, is_reduction
from .index_maps import identity
from .layout import is_view
from .llvm_jit import compiled
from .llvm_kernels import build
from .lowering import Bases, lowered, places_of
from .numpy_engine import NumpyRunner
from .plan import Action, NoView, Plan, act_one_by_one, make_plan
from .program import Value
from .row_forms import in_rows
from .row_sums import taken_apart

__all__ = [
    "KernelRunner",
    "address_of",
    "compile_loop",
    "locate",
    "plan_with_kernels",
    "sinks",
    "table_maker",
    "table_of",
]


def sinks(value: Value) -> bool:
    """Whether an operation costs nothing in a kernel."""
    if is_view(value):
        return True
    floats = all(a.dtype.kind in "fb" for a in (*value.inputs, value))
    return floats and (value.name in FUSABLE or is_reduction(value) or is_plain_join(value))


def compile_loop(loop: Loop, stacked_carries: bool) -> KernelRunner:
    """A function that runs the loop; see `NumpyRunner`."""
    return KernelRunner(plan_with_kernels(loop, stacked_carries))


def plan_with_kernels(loop: Loop, stacked_carries: bool) -> Plan:
    """A plan in which everything between two products is a kernel."""
    loop = _with_copies(taken_apart(in_rows(loop)))
    forced: set[Value] = set()
    while True:
        fusion = fuse(loop, forced)

        def act(plan: Plan, fusion: Fusion = fusion) -> None:
            _act(plan, fusion)

        def may_overwrite(after: Value, before: Value, fusion: Fusion = fusion) -> bool:
            return _may_overwrite(after, before, fusion, loop.body)

        try:
            return make_plan(loop, stacked_carries, fusion.made, act, may_overwrite)
        except NoView as found:
            forced.add(found.value)


def _with_copies(loop: Loop) -> Loop:
    """The loop with a copy, made by a kernel, of every view that leaves it."""
    body = list(loop.body)

    def copied(value: Value) -> Value:
        if value not in loop.body or not is_view(value):
            return value
        body.append(value.graph.copied(value))
        return body[-1]

    carries = [(before, copied(after)) for before, after in loop.carries]
    exports = [copied(value) for value in loop.exports]
    return Loop(carries, loop.stacked, loop.constant, body, exports)


def _act(plan: Plan, fusion: Fusion) -> None:
    for number, phase in enumerate(fusion.phases):
        if number % 2:
            for value in phase:
                act_one_by_one(plan, value)
        elif phase:
            places = dict.fromkeys(p for nest in phase for p in places_of(nest, plan))
            values = tuple(v for nest in phase for v in nest.values)
            plan.actions.append(Action("kernel", values, tuple(places), None, tuple(phase)))


def _may_overwrite(after: Value, before: Value, fusion: Fusion, body: Sequence[Value]) -> bool:
    """Whether what reads the carry at the beginning has done so, or does so at the same point."""
    views = {before}
    for value in body:
        if is_view(value) and value.inputs[0] in views:
            views.add(value)
    made = False
    for item in (item for phase in fusion.phases for item in phase):
        if type(item) is Nest:
            here = after in item.values
            plainly = after not in item.columns  # those are set to zero before anything is read
            for value, index in item.loads():
                if value in views and (made or here):
                    plain = value is before and index == identity(item.shape)
                    if made or not (plain and plainly) or before.shape != item.shape:
                        return False
        else:
            here = item is after
            if (made or here) and any(a in views for a in item.inputs):
                return False
        made = made or here
    return made


class KernelRunner(NumpyRunner):
    """A planned loop whose kernels are called as k(t, table)."""

    def __init__(self, plan: Plan) -> None:
        self.kernels: list[str] = []
        self.listings: list[str] = []  # the kernels, to be read
        super().__init__(plan)

    def line(self, number: int, action: Action) -> str:
        """One action as a line of Python."""
        if action.kind != "kernel":
            return super().line(number, action)
        bases = Bases()
        blocks = lowered(list(action.nests), self.plan, bases)
        text = build(blocks, len(bases.entries))
        self.listings.append("\n".join(str(block) for block in blocks))
        self.kernels.append(text)
        name, table = f"kernel_{number}", f"table_{number}"
        self.space[name] = compiled(text)
        self.tables[table] = bases.entries
        self.counters = ["t"]
        return f"{name}(t, {table})"

    def further(
        self,
        each: list[Any],
        fixed: list[Any],
        arrays: Sequence[Any],
        addresses: list[int],
        length: int,
        reverse: bool,
    ) -> Any:
        """The numbers of the steps, and for each kernel the address of its table."""
        if self.counters:
            each.append(range(length)[:: -1 if reverse else 1])
        locate(addresses, arrays)
        tables = []
        for entries in self.tables.values():
            table = np.array(table_of(self.plan, entries, addresses, reverse), np.int64)
            tables.append(table)
            fixed.append(address_of(table))
        return tables


_from_buffer = c_char.from_buffer


def address_of(array: Any) -> int:
    """Where the first element is."""
    try:
        return addressof(_from_buffer(array))  # several times as fast as what follows
    except (TypeError, ValueError):  # read only, or not contiguous
        found: int = array.__array_interface__["data"][0]
        return found


@cache
def table_maker(count: int) -> Callable[..., bytes]:
    """What makes a table of so many entries: bytes, in a tenth of the time of an array."""
    return Struct(f"{count}q").pack


def locate(addresses: list[int], arrays: Sequence[Any]) -> None:
    """Fill in the addresses of the arrays that were given, which are not from the pool."""
    for i, address in enumerate(addresses):
        if address:
            return
        addresses[i] = address_of(arrays[i])


def table_of(
    plan: Plan, entries: list[tuple[int, bool]], addresses: list[int], reverse: bool
) -> list[int]:
    """The addresses of the entries: of the first row, of a carry the one at the right end."""
    buffers = plan.buffers
    return [
        addresses[n] + buffers[n].bytes
        if ahead != reverse and buffers[n].rows == "carry"
        else addresses[n]
        for n, ahead in entries
    ]
