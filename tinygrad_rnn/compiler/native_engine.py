"""The engine without a Python loop: products, kernels and the loop over the steps in one function.

Where every action of a step is a product of matrices, a kernel or a copy, the whole loop is one
call, or one for each thread. Any other loop is run like the llvm engine's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from ctypes import CFUNCTYPE, c_void_p
from functools import partial
from typing import Any

import numpy as np

from .checkpoints import Some
from .cut import Loop
from .index_maps import identity
from .layout import FEW, Place
from .llvm_engine import KernelRunner, address_of, plan_with_kernels, table_maker, table_of
from .llvm_gather import Gather, write_gather
from .llvm_jit import compiled
from .llvm_kernels import Writer
from .llvm_panels import packed, panel
from .llvm_products import Product, tiles_of_all, write_product
from .llvm_running import Running, write_running
from .lookups import is_lookup
from .lowering import Address, Bases, copying, lowered
from .native_block import laid_out, written_call
from .native_shares import Part, Shares, shares, work
from .numpy_engine import NumpyRunner
from .plan import Action, Plan
from .program import Value
from .soon import in_step, longest, wanted
from .workers import at_once, shares_of

__all__ = ["NativeRunner", "compile_loop", "is_native", "keeps", "keeps_product"]

SIGNATURE = CFUNCTYPE(None, c_void_p)
FAR = 1 << 17  # bytes of a matrix that is read for several steps at a time
EACH = 20_000_000  # operations that make a share worth a thread
LENGTHS = 64  # numbers of steps whose layout is kept
NEAR = 1 << 14  # bytes of a matrix that leave room in the first cache
MANY = 16  # rows of a batch for which a matrix may come from further away


def compile_loop(loop: Loop, stacked_carries: bool) -> NumpyRunner:
    """A function that runs the loop; see `NumpyRunner`."""
    plan = plan_with_kernels(loop, stacked_carries)
    if all(is_native(action) for action in plan.actions):
        return NativeRunner(plan)
    return KernelRunner(plan)


def grouped(plan: Plan) -> tuple[list[Action], list[Action]]:
    """Products that are done for some steps together, before these steps and behind them.

    They do not wait for the carry, or nothing in the loop waits for them: then their matrix, if it
    is large, is read for all of these steps, and does not drive out what each step needs.
    """
    inputs = set(range(len(plan.loop.constant) + len(plan.loop.stacked)))
    ahead, behind = [], []
    for action in plan.actions:
        places = _places(action)
        if action.kind != "op" or action.values[0].name != "matmul" or len(places) < 3:
            continue
        left, right, out = places
        large = right.buffer.rows == "constant" and right.buffer.bytes >= FAR
        if not large or len(out.shape) != 2 or left.buffer.rows not in ("stack", "carry"):
            continue
        touching = [a for a in plan.actions if any(p.buffer is out.buffer for p in _places(a))]
        if left.buffer.number in inputs and out.buffer.rows == "scratch":
            ahead.append(action)
            out.buffer.rows = "few"
            _unshare(plan.shared, out.buffer.number)
        elif out.buffer.rows == "stack" and touching == [action]:
            behind.append(action)
    return ahead, behind


def _places(action: Action) -> list[Place]:
    return [p for p in (*action.operands, action.target) if type(p) is Place]


def _unshare(shared: dict[int, int], number: int) -> None:
    """Give a buffer memory of its own, and those that it shared it with other memory."""
    others = [n for n, m in shared.items() if m == shared.get(number, number) and n != number]
    for other in others:
        shared[other] = others[0]
    shared[number] = number


def is_native(action: Action) -> bool:
    """Whether an action can be compiled."""
    if action.kind in ("kernel", "copy"):
        return all(p.dtype.kind in "fb" for p in action.operands)
    places = [p for p in (*action.operands, action.target) if type(p) is Place]
    if action.values[0].name == "index":
        known = places[1].buffer.rows in ("stack", "constant")  # so that it can be looked at before
        return known and keeps_lookup(action.values[0]) and all(p.contiguous for p in places[:2])
    if not all(p.dtype.char in "fd" for p in places):
        return False
    target, name = places[-1], action.values[0].name
    if name == "reshape":
        return target.contiguous
    if name == "matmul":
        return all(len(p.shape) > 1 and p.strides[-1] == p.dtype.itemsize for p in places)
    return name == "cumsum"


def keeps_product(value: Value) -> bool:
    """Whether a product of an input is quicker in the loop than by NumPy before it.

    It is where its right side, packed into panels, is read for many rows or is in the first cache.
    """
    if value.name != "matmul" or any(len(a.shape) != 2 for a in value.inputs):
        return False
    rows, columns = value.shape
    size = value.args[1].size * int(value.dtype.itemsize)
    return bool(columns % panel(value.dtype) == 0 and (rows >= MANY or size <= NEAR))


def keeps_lookup(value: Value) -> bool:
    """Whether rows of a table of floats are looked up by integers as the loop can read them."""
    return is_lookup(value) and value.dtype.char in "fd" and value.args[1].dtype == np.int64


def keeps(value: Value) -> bool:
    """Whether what could leave the loop is as quick in it."""
    return keeps_product(value) or keeps_lookup(value)


class NativeRunner(NumpyRunner):
    """A planned loop as one compiled function."""

    tiles = staticmethod(tiles_of_all)
    groups = True  # whether some products are done for several steps together
    knows_rows = False

    def __init__(self, plan: Plan) -> None:
        self.ahead, self.behind = grouped(plan) if self.groups else ([], [])
        self.listings: list[str] = []
        self.packed: set[int] = set()  # constants that are handed over as panels
        self.bases = Bases()
        super().__init__(plan)
        self.parts: list[Part] = []
        self.places: list[str] = []  # of the parts: ahead of the steps, in each, or behind
        for action in plan.actions:
            parts = self.lowered(action)
            self.parts += parts
            place = "ahead" if action in self.ahead else "behind" if action in self.behind else ""
            self.places += [place] * len(parts)
        self.work = work(self.parts)
        given = range(len(plan.loop.constant) + len(plan.loop.stacked))
        self.inputs = {i for i, (n, _) in enumerate(self.bases.entries) if n in given}
        self.ways: dict[int, tuple[Any, Shares]] = {}
        self.calls: dict[tuple[int, bool], Any] = {}

    def line(self, number: int, action: Action) -> str:
        """One action, to be read."""
        name = action.kind if action.kind != "op" else action.values[0].name
        return f"{name}_{number}"

    def way(self, count: int) -> tuple[Any, Shares]:
        """The function that does one of so many shares of the rows, or of as many as can be."""
        if count not in self.ways:
            found = self.shares(count)
            if found is None:
                self.ways[count] = self.way(count - 1)
            else:
                self.ways[count] = compiled(self.written(found.parts), SIGNATURE), found
        return self.ways[count]

    def shares(self, count: int) -> Shares | None:
        """What so many shares do, or None if they would wait for each other."""
        same = self.plan.shared
        return shares(self.parts, [same.get(n, n) for n, _ in self.bases.entries], count)

    def count(self, length: int) -> int:
        """The number of shares that pays, if rows do not wait for each other."""
        whole = length.whole if isinstance(length, Some) else length
        return shares_of(self.work * whole, EACH)

    def written(self, parts: Sequence[Part]) -> str:
        """The LLVM text: for i in range(count): the step first + i · direction."""
        writer = Writer(len(self.bases.entries), 0, 3)
        code, (first, count, direction) = writer.code, writer.counts
        each = [p for p, place in zip(parts, self.places, strict=True) if not place]

        def one(i: Any) -> None:
            writer.step = code.add(first, code.mul(i, direction))
            self.write_parts(writer, each, code.add(writer.step, direction))

        def some(i: Any) -> None:
            """A few steps, in which some products are done for all of them."""
            left = code.binary("sub", count, i)
            here = code.least(left, writer.number(FEW))

            def steps(body: Callable[[], None]) -> None:
                def step(k: Any) -> None:
                    writer.step_of_few = k
                    writer.step = code.add(first, code.mul(code.add(i, k), direction))
                    body()

                writer.loop(0, here, 1, step)

            def products(wanted: str) -> None:
                for part, place in zip(parts, self.places, strict=True):
                    if place == wanted:
                        assert isinstance(part, Product)
                        write_product(writer, part, self.tiles, steps)

            products("ahead")
            steps(lambda: self.write_parts(writer, each, code.add(writer.step, direction)))
            products("behind")

        if len(each) < len(parts):
            writer.loop(0, count, FEW, some)
        else:
            writer.loop(0, count, 1, one)
        return writer.text()

    def write_parts(self, writer: Writer, parts: Sequence[Part], following: Any) -> None:
        """One step, which the following one comes after."""
        spans, fetching = wanted(parts, self.inputs), longest(parts)
        for part in parts:
            if isinstance(part, Product):
                soon = in_step(writer, following, spans, part.rows) if part is fetching else ()
                write_product(writer, part, self.tiles, soon=soon)
            elif isinstance(part, Running):
                write_running(writer, part)
            elif isinstance(part, Gather):
                write_gather(writer, part)
            else:
                writer.part(part)

    def lowered(self, action: Action) -> Sequence[Part]:
        """A product, or the blocks of a kernel or a copy."""
        if action.kind == "kernel":
            blocks = lowered(list(action.nests), self.plan, self.bases)
            self.listings.append("\n".join(str(block) for block in blocks))
            return blocks
        assert action.target is not None
        if action.kind == "copy":
            return [copying(action.operands[0], action.target, self.bases)]
        name = action.values[0].name
        if name == "reshape":  # of what is not in order, put in order
            source = action.operands[0]
            return [copying(source, action.target.shaped(source.shape), self.bases)]
        if name == "cumsum":
            return [self.running(action)]
        return [self.gather(action) if name == "index" else self.product(action)]

    def running(self, action: Action) -> Running:
        """A running sum."""
        assert action.target is not None
        places = action.operands[0], action.target
        same = identity(places[0].shape)
        source, target = (self.bases.address(p, same, len(same)) for p in places)
        return Running(source, target, places[0].shape, action.values[0].params["dim"])

    def gather(self, action: Action) -> Gather:
        """Rows of a table."""
        assert action.target is not None
        places = (*action.operands, action.target)
        table, numbers, out = (
            self.bases.address(p, identity(p.shape), len(p.shape)) for p in places
        )
        (rows, columns), (size, _) = action.target.shape, action.operands[0].shape
        return Gather(table, numbers, out, rows, columns, size)

    def product(self, action: Action) -> Product:
        """A matrix product, with a constant right side as panels."""
        left, right = action.operands
        assert action.target is not None
        batch = action.target.shape[:-2]
        a, b, c = (self.matrices(p, len(batch) + 2) for p in (left, right, action.target))
        whole = right.buffer.rows == "constant" and right.contiguous and not right.offset
        panels = whole and not batch and right.shape[1] % panel(right.dtype) == 0
        panels = panels and self.alone(action)
        if panels:
            self.packed.add(right.buffer.number)
        (rows, inner), columns = left.shape[-2:], right.shape[-1]
        return Product(a, b, c, rows, inner, columns, panels, batch)

    def matrices(self, place: Place, rank: int) -> Address:
        """The address of a matrix for each index of the axes before the last two."""
        lead = rank - len(place.shape)
        entries = enumerate(place.shape, lead)
        index = tuple([(i, 0, 1) if n > 1 else (None, 0, 0) for i, n in entries])
        return self.bases.address(place, index, rank)

    def alone(self, action: Action) -> bool:
        """Whether nothing but this product reads its right side."""
        buffer = action.operands[1].buffer
        readers = [
            a for a in self.plan.actions for p in a.operands if getattr(p, "buffer", None) is buffer
        ]
        return readers == [action]

    def given(self, number: int, array: Any) -> Any:
        """An input as the loop needs it; what will be packed may be in any order."""
        return array if number in self.packed else super().given(number, array)

    def __call__(
        self,
        length: int,
        reverse: bool,
        inits: Sequence[Any],
        stacked: Sequence[Any],
        constants: Sequence[Any],
        breaks: Sequence[int] = (),
    ) -> tuple[list[Any], list[Any]]:
        call = None if breaks else self.small(length, reverse)
        if call is None:
            return super().__call__(length, reverse, inits, stacked, constants, breaks)
        found: tuple[list[Any], list[Any]] = call(inits, [*constants, *stacked])
        return found

    def small(self, length: int, reverse: bool) -> Any:
        """The call of a loop that is small, and on one thread; else None."""
        key = length, reverse
        if self.count(length) > 1:
            return None
        call = self.calls.get(key, False)
        if call is False:  # None is a loop that is not small
            if len(self.calls) > LENGTHS:
                self.calls.clear()
            given = len(self.plan.loop.constant) + len(self.plan.loop.stacked)
            packed, bases = sorted(self.packed), self.bases.entries
            block = laid_out(self.plan, given, packed, bases, length, reverse)
            first, direction = (length - 1, -1) if reverse else (0, 1)
            call = block and written_call(block, self.way(1)[0], first, length, direction)
            self.calls[key] = call
        return call

    def further(
        self,
        each: list[Any],
        fixed: list[Any],
        arrays: Sequence[Any],
        addresses: list[int],
        length: int,
        reverse: bool,
    ) -> Any:
        """The tables of the shares, and where and in which direction to go."""
        native, found = self.way(self.count(length))
        panels = [(i, packed(arrays[i])) for i in self.packed]
        for i, array in panels:
            addresses[i] = address_of(array)
        for i, address in enumerate(addresses):
            if not address:
                addresses[i] = address_of(arrays[i])
        entries = table_of(self.plan, self.bases.entries, addresses, reverse)
        if found.count == 1:
            fixed.append((native, [entries], (), reverse))
            return panels
        table = np.array(entries, np.int64)
        tables = [table + np.multiply(found.shifts, k) for k in range(found.count)]
        own = []
        for i in found.sums:
            number = self.bases.entries[i][0]
            whole, ahead = arrays[number], entries[i] - addresses[number]
            for other in tables[1:]:
                array = np.zeros_like(whole)  # of a carry the first row is not written
                other[i] = address_of(array) + ahead
                own.append((whole, array))
        fixed.append((native, [t.tolist() for t in tables], own, reverse))
        return panels

    def run(
        self,
        length: int,
        each: list[Any],
        fixed: list[Any],
        arrays: list[Any],
        breaks: Sequence[int],
    ) -> None:
        """All steps, with the carries cut where they have to be."""
        native, tables, own, reverse = fixed[-1]
        table = table_maker(3 + len(tables[0]))
        start = 0
        for stop in (*breaks, length):
            first = length - 1 - start if reverse else start
            numbers = (first, stop - start, -1 if reverse else 1)
            at_once([partial(native, table(*numbers, *entries)) for entries in tables])
            if stop < length:
                for place in self.plan.carries:
                    arrays[place.buffer.number].fill(0)
            start = stop
        for whole, array in own:
            whole += array
