"""Kernels through llvmlite: blocks of loops written as vector instructions and compiled.

A kernel is called as k(t, table): t is the number of the step, `table` the address of an array of
base addresses. Offsets are worked out inside, so a call costs the same however many arrays there
are. Vectors are written explicitly: the innermost axis goes in steps of the machine's width (twice
that where it divides), what is left over in halves of it. The loads of a point come before its
stores, so a carry may be overwritten in place.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from ctypes import CFUNCTYPE, c_int64, c_void_p
from functools import cache
from threading import Lock
from typing import Any

from .llvm_math import OPERATIONS, Lanes
from .lowering import Address, Block, Rows

__all__ = ["Writer", "available", "build", "compiled", "machine"]

Loop = Callable[[Any], None]
SIGNATURE = CFUNCTYPE(None, c_int64, c_void_p)
_kernels: dict[str, tuple[Any, Any]] = {}
_lock = Lock()


def available() -> bool:
    """Whether llvmlite is installed."""
    return importlib.util.find_spec("llvmlite") is not None


@cache
def _llvm() -> tuple[Any, Any]:
    """llvmlite's two halves, ready for this machine."""
    import llvmlite.binding as binding
    from llvmlite import ir

    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    return ir, binding


@cache
def machine() -> tuple[str, str, int]:
    """The processor, its features, and how many bytes a vector has."""
    _, binding = _llvm()
    features = binding.get_host_cpu_features()
    width = 64 if features.get("avx512f") else 32 if features.get("avx") else 16
    return binding.get_host_cpu_name(), features.flatten(), width


class Writer:
    """Writes a function of `numbers` integers, the first of them the step, and a table."""

    def __init__(self, bases: int, numbers: int = 1) -> None:
        self.ir, _ = _llvm()
        ir = self.ir
        self.int = ir.IntType(64)
        self.pointer = ir.PointerType()
        self.module = ir.Module("kernel")
        kinds = ir.FunctionType(ir.VoidType(), [self.int] * numbers + [self.pointer])
        self.function = ir.Function(self.module, kinds, "kernel")
        self.builder = ir.IRBuilder(self.function.append_basic_block("entry"))
        self.step, self.table = self.function.args[0], self.function.args[-1]
        self.bases = [self.base(i) for i in range(bases)]

    def text(self) -> str:
        """The finished module."""
        self.builder.ret_void()
        return str(self.module)

    # --------------------------------------------------------------------- addresses
    def number(self, value: int) -> Any:
        """An integer constant."""
        return self.ir.Constant(self.int, value)

    def moved(self, pointer: Any, offset: Any) -> Any:
        """pointer + offset bytes."""
        return self.builder.gep(pointer, [offset], source_etype=self.ir.IntType(8))

    def base(self, i: int) -> Any:
        """The i-th entry of the table."""
        entry = self.moved(self.table, self.number(8 * i))
        return self.builder.load(entry, typ=self.pointer)

    def start(self, address: Address, outer: Sequence[Any]) -> Any:
        """Where an operand begins for these outer indices in this step."""
        pointer = self.bases[address.base]
        if address.row:
            pointer = self.moved(pointer, self.builder.mul(self.step, self.number(address.row)))
        pointer = self.moved(pointer, self.number(address.offset))
        for index, stride in zip(outer, address.strides, strict=False):
            if stride:
                pointer = self.moved(pointer, self.builder.mul(index, self.number(stride)))
        return pointer

    def element(self, dtype: Any) -> Any:
        """The type in memory."""
        if dtype.kind == "b":
            return self.ir.IntType(8)
        return self.ir.FloatType() if dtype.itemsize == 4 else self.ir.DoubleType()

    def slot(self, kind: Any) -> Any:
        """A variable on the stack, made once, where the function begins."""
        with self.builder.goto_entry_block():
            return self.builder.alloca(kind)

    # ------------------------------------------------------------------------- loops
    def loop(self, start: int, stop: int, step: int, body: Loop) -> None:
        """for i in range(start, stop, step): body(i)."""
        if stop - start <= 0:
            return
        if stop - start == step:
            body(self.number(start))
            return
        b = self.builder
        before = b.block
        inside = self.function.append_basic_block("loop")
        after = self.function.append_basic_block("done")
        b.branch(inside)
        b.position_at_end(inside)
        index = b.phi(self.int)
        index.add_incoming(self.number(start), before)
        body(index)
        following = b.add(index, self.number(step))
        index.add_incoming(following, b.block)
        b.cbranch(b.icmp_signed("<", following, self.number(stop)), inside, after)
        b.position_at_end(after)

    def nested(self, sizes: Sequence[int], body: Callable[[list[Any]], None]) -> None:
        """Loops over several axes."""
        if not sizes:
            body([])
            return
        self.loop(
            0, sizes[0], 1, lambda i: self.nested(sizes[1:], lambda rest: body([i, *rest]))
        )  # fmt: skip

    def widths(self, size: int, block: Block) -> list[tuple[int, int, int]]:
        """(start, stop, width) of the pieces of the innermost axis."""
        items = [a.dtype.itemsize for t in block.terms if t[0] == "load" for a in (t[1],)]
        items += [a.dtype.itemsize for _, a in (*block.stores, *block.adds)]
        items += [a.dtype.itemsize for _, _, a in block.reductions]
        return self.cut(size, machine()[2] // max(items, default=8))

    def cut(self, size: int, native: int) -> list[tuple[int, int, int]]:
        """`size` points in pieces of the widest vectors that fit."""
        width = 2 * native if size % (2 * native) == 0 else native
        pieces, start = [], 0
        while width >= 1:
            stop = start + (size - start) // width * width
            if stop > start:
                pieces.append((start, stop, width))
            start, width = stop, width // 2
        return pieces

    # ------------------------------------------------------------------------ blocks
    def part(self, part: Block | Rows) -> None:
        """One loop nest, or several row by row."""
        if isinstance(part, Block):
            self.block(part, [])
            return

        def row(i: Any) -> None:
            for block in part.blocks:
                self.block(block, [i])

        self.loop(0, self.extent(part.size), 1, row)

    def extent(self, size: int) -> Any:
        """How far the first axis of a block goes."""
        return size

    def block(self, block: Block, given: list[Any]) -> None:
        """One loop nest, of which the first indices may be given."""
        sizes = [n if i else self.extent(n) for i, n in enumerate(block.sizes)][len(given) :]
        if block.reductions:
            rows = sizes[: block.rows - len(given)]
            self.nested(rows, lambda outer: self.reduced(block, [*given, *outer]))
            return
        size = sizes[-1] if sizes else 1
        self.nested(sizes[:-1], lambda outer: self.stored(block, [*given, *outer], size))

    def stored(self, block: Block, outer: list[Any], size: int) -> None:
        """All points of the innermost axis: computed, then stored."""
        starts = self.starts(block, outer)
        fixed = self.invariants(block, starts)
        for low, high, width in self.widths(size, block):

            def body(j: Any, width: int = width) -> None:
                self.written(block, self.terms(block, starts, fixed, j, width), starts, j, width)

            self.loop(low, high, width, body)

    def written(
        self, block: Block, terms: list[Any], starts: dict[Address, Any], j: Any, width: int
    ) -> None:
        """The terms of some points stored, and added to what is there."""
        lanes = Lanes(self.ir, self.builder, width)
        for number, address in block.stores:
            self.store(terms[number], address, starts[address], j, width)
        for number, address in block.adds:
            total = lanes.add(self.load(lanes, address, starts[address], j), terms[number])
            self.store(total, address, starts[address], j, width)

    def reduced(self, block: Block, outer: list[Any]) -> None:
        """The results of one row, in accumulators until the row is done."""
        inner = block.sizes[block.rows :]
        elements = [self.element(a.dtype) for _, _, a in block.reductions]
        totals = [self.slot(e) for e in elements]
        for total, element, (kind, _, _) in zip(totals, elements, block.reductions, strict=True):
            first = {"sum": 0.0, "amax": -float("inf"), "amin": float("inf")}[kind]
            self.builder.store(self.ir.Constant(element, first), total)

        def line(middle: list[Any]) -> None:
            starts = self.starts(block, [*outer, *middle])
            fixed = self.invariants(block, starts)
            for low, high, width in self.widths(inner[-1] if inner else 1, block):
                self.piece(block, starts, fixed, totals, low, high, width)

        self.nested(inner[:-1], line)
        for total, element, (_, _, address) in zip(totals, elements, block.reductions, strict=True):
            value = self.builder.load(total, typ=element)
            self.builder.store(value, self.start(address, outer), align=address.dtype.itemsize)

    def piece(
        self, block: Block, starts: Any, fixed: Any, totals: list[Any],
        low: int, high: int, width: int,
    ) -> None:  # fmt: skip
        """A part of a row in one vector width, added to the totals."""
        lanes = Lanes(self.ir, self.builder, width)
        sums = []
        for kind, _, address in block.reductions:
            element = self.element(address.dtype)
            first = {"sum": 0.0, "amax": -float("inf"), "amin": float("inf")}[kind]
            sums.append(self.slot(lanes.vector(element)))
            self.builder.store(lanes.filled(element, first), sums[-1])

        def body(j: Any) -> None:
            terms = self.terms(block, starts, fixed, j, width)
            for place, (kind, number, _) in zip(sums, block.reductions, strict=True):
                before = self.builder.load(place, typ=terms[number].type)
                self.builder.store(self.combine(lanes, kind, before, terms[number]), place)
            self.written(block, terms, starts, j, width)

        self.loop(low, high, width, body)
        for place, total, (kind, _, address) in zip(sums, totals, block.reductions, strict=True):
            element = self.element(address.dtype)
            value = self.builder.load(place, typ=lanes.vector(element))
            row = self.across(kind, value, width)
            one = Lanes(self.ir, self.builder, 1)
            before = self.builder.load(total, typ=element)
            self.builder.store(self.combine(one, kind, before, row), total)

    def combine(self, lanes: Lanes, kind: str, x: Any, y: Any) -> Any:
        """One step of a reduction."""
        return lanes.add(x, y) if kind == "sum" else lanes.larger("><"[kind == "amin"], x, y)

    def across(self, kind: str, value: Any, width: int) -> Any:
        """A vector reduced to one number, halving it."""
        ir, b = self.ir, self.builder
        while width > 1:
            width //= 2
            kinds = ir.VectorType(ir.IntType(32), width)
            halves = [
                b.shuffle_vector(value, value, ir.Constant(kinds, list(range(s, s + width))))
                for s in (0, width)
            ]
            if width == 1:
                zero = ir.Constant(ir.IntType(32), 0)
                halves = [b.extract_element(h, zero) for h in halves]
            value = self.combine(Lanes(ir, b, width), kind, *halves)
        return value

    # ------------------------------------------------------------------------- points
    def starts(self, block: Block, outer: Sequence[Any]) -> dict[Address, Any]:
        """Where each operand begins for these outer indices."""
        reduced = {address for _, _, address in block.reductions}
        addresses = [a for a, written in block.accesses() if not written or a not in reduced]
        return {a: self.start(a, outer) for a in dict.fromkeys(addresses)}

    def invariants(self, block: Block, starts: dict[Address, Any]) -> dict[int, Any]:
        """The terms that are the same all along the innermost axis, each worked out once."""
        one = Lanes(self.ir, self.builder, 1)
        found: dict[int, Any] = {}
        numbers = {i: t for i, t in enumerate(block.terms) if t[0] == "number"}
        for i, term in enumerate(block.terms):
            if term[0] == "load" and not (term[1].strides and term[1].strides[-1]):
                found[i] = self.load(one, term[1], starts[term[1]], self.number(0))
            elif term[0] not in ("load", "number", "none") and all(
                a in found or a in numbers for a in term[1]
            ):
                args = [found[a] if a in found else self.constant(one, numbers[a]) for a in term[1]]
                found[i] = self.operation(one, term, args)
        return found

    def terms(
        self, block: Block, starts: dict[Address, Any], fixed: dict[int, Any], j: Any, width: int
    ) -> list[Any]:
        """The terms of `width` points from j on."""
        lanes = Lanes(self.ir, self.builder, width)
        found: list[Any] = []
        for i, term in enumerate(block.terms):
            if i in fixed:
                found.append(lanes.splat(fixed[i]))
            elif term[0] == "none":
                found.append(None)
            elif term[0] == "load":
                found.append(self.load(lanes, term[1], starts[term[1]], j))
            elif term[0] == "number":
                found.append(self.constant(lanes, term))
            else:
                found.append(self.operation(lanes, term, [found[n] for n in term[1]]))
        return found

    def constant(self, lanes: Lanes, term: tuple[Any, ...]) -> Any:
        """A number in all lanes."""
        number, dtype = term[1]
        boolean = dtype.kind == "b"
        kind = self.ir.IntType(1) if boolean else self.element(dtype)
        return lanes.filled(kind, int(number) if boolean else number)

    def operation(self, lanes: Lanes, term: tuple[Any, ...], args: list[Any]) -> Any:
        """One operation on vectors."""
        name, _, value = term
        if name == "cast":
            return lanes.cast(args[0], value.dtype)
        if name == "clip":
            return lanes.clip(args[0], value.params["min"], value.params["max"])
        return OPERATIONS[name](lanes, *args)

    def load(self, lanes: Lanes, address: Address, start: Any, j: Any) -> Any:
        """`width` elements from j on: side by side, one for all, or gathered."""
        b, item = self.builder, address.dtype.itemsize
        element = self.element(address.dtype)
        stride = address.strides[-1] if address.strides else 0
        if stride == 0:
            value = lanes.splat(b.load(start, align=item, typ=element))
        elif stride == item or lanes.width == 1:
            pointer = self.moved(start, b.mul(j, self.number(stride)))
            value = b.load(pointer, align=item, typ=lanes.vector(element))
        else:
            value = self.ir.Constant(lanes.vector(element), self.ir.Undefined)
            for k in range(lanes.width):
                pointer = self.moved(start, b.mul(b.add(j, self.number(k)), self.number(stride)))
                one = b.load(pointer, align=item, typ=element)
                value = b.insert_element(value, one, self.ir.Constant(self.ir.IntType(32), k))
        if address.dtype.kind == "b":
            return b.icmp_unsigned("!=", value, lanes.filled(element, 0))
        return value

    def store(self, value: Any, address: Address, start: Any, j: Any, width: int) -> None:
        """`width` elements from j on."""
        b, item = self.builder, address.dtype.itemsize
        stride = address.strides[-1] if address.strides else item
        if address.dtype.kind == "b":
            value = b.zext(value, Lanes(self.ir, b, width).vector(self.ir.IntType(8)))
        if stride == item or width == 1:
            b.store(value, self.moved(start, b.mul(j, self.number(stride))), align=item)
            return
        for k in range(width):
            pointer = self.moved(start, b.mul(b.add(j, self.number(k)), self.number(stride)))
            one = b.extract_element(value, self.ir.Constant(self.ir.IntType(32), k))
            b.store(one, pointer, align=item)


def build(parts: Sequence[Block | Rows], bases: int) -> str:
    """The LLVM text of a kernel."""
    writer = Writer(bases)
    for part in parts:
        writer.part(part)
    return writer.text()


def compiled(text: str, signature: Any = SIGNATURE) -> Any:
    """A kernel ready to be called; the same text is compiled once."""
    with _lock:
        if text not in _kernels:
            _kernels[text] = _compile(text, signature)
        return _kernels[text][0]


def _compile(text: str, signature: Any) -> tuple[Any, Any]:
    _, binding = _llvm()
    cpu, features, _ = machine()
    target = binding.Target.from_default_triple().create_target_machine(
        cpu=cpu, features=features, opt=2, jit=True
    )
    module = binding.parse_assembly(text)
    module.verify()
    tuning = binding.create_pipeline_tuning_options(speed_level=1)
    tuning.loop_vectorization = tuning.slp_vectorization = tuning.loop_unrolling = False
    builder = binding.create_pass_builder(target, tuning)
    builder.getModulePassManager().run(module, builder)
    engine = binding.create_mcjit_compiler(module, target)
    engine.finalize_object()
    return signature(engine.get_function_address("kernel")), engine
