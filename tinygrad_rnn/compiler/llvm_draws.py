"""Uniform numbers in float32 for all steps, the same that NumPy's generator gives.

NumPy makes two of them out of 64 random bits, but asks for each one by itself. Here the bits come
from the same generator, by the function that it has for compiled code, and both numbers go at once
to where the draw has its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from ctypes import CFUNCTYPE, c_void_p, cast
from functools import cache
from math import prod
from typing import Any

import numpy as np

from .llvm_engine import table_maker
from .llvm_jit import available, compiled
from .llvm_kernels import Writer
from .llvm_math import Lanes
from .llvm_text import INT, POINTER, constant
from .pool import pool

__all__ = ["uniform"]

SIGNATURE = CFUNCTYPE(None, c_void_p)
HEAD = 6  # entries of the table before those of the draws


def uniform(
    generator: np.random.Generator, shapes: Sequence[tuple[int, ...]], length: int, reverse: bool
) -> list[Any] | None:
    """For each draw of a step, all steps (T, …), the last one drawn first if `reverse`.

    None if the generator is another one, or if a draw would end with half of the bits.
    """
    bits, sizes = generator.bit_generator, [prod(shape) for shape in shapes]
    if not available() or type(bits) is not np.random.PCG64 or any(n % 2 for n in sizes):
        return None
    found, entries = [], []
    for shape, size in zip(shapes, sizes, strict=True):
        array, address = pool.taken((length, *shape), np.dtype(np.float32))
        found.append(array)
        entries += [size // 2, address]
    first, direction = (length - 1, -1) if reverse else (0, 1)
    ask, state = cast(bits.ctypes.next_uint64, c_void_p).value, bits.ctypes.state_address
    head = first, length, direction, len(shapes), ask, state
    with bits.lock:
        if bits.state["has_uint32"]:
            return None
        _kernel()(table_maker(HEAD + len(entries))(*head, *entries))
    return found


@cache
def _kernel() -> Any:
    """Called with a table: first step, steps, direction, draws; function, state; the draws.

    Of each draw it has how many pairs of numbers there are in a step, and the address of all steps.
    """
    writer = Writer(2, 0, 4)
    code, number = writer.code, writer.number
    first, steps, direction, count = writer.counts
    ask, state = writer.bases
    scale, one = constant("float", 2.0**-24), Lanes(code, 1)

    def step(k: Any) -> None:
        here = code.add(first, code.mul(k, direction))
        writer.loop(0, count, 1, lambda i: draw(here, i))

    def draw(here: Any, i: Any) -> None:
        entry = writer.beyond(code.moved(writer.table, number(8 * HEAD)), i, 16)
        pairs = code.load(INT, entry, 8)
        start = code.load(POINTER, code.moved(entry, number(8)), 8)
        out = writer.beyond(start, code.mul(here, pairs), 8)
        writer.loop(0, pairs, 1, lambda n: pair(writer.beyond(out, n, 8)))

    def pair(out: Any) -> None:
        bits = code.ask(INT, ask, state)
        low = code.and_(code.binary("lshr", bits, number(8)), number(0xFFFFFF))
        for place, part in enumerate((low, code.binary("lshr", bits, number(40)))):
            value = one.mul(code.convert("sitofp", part, "float"), scale)
            code.store(value, code.moved(out, number(4 * place)), 4)

    writer.loop(0, steps, 1, step)
    return compiled(writer.text(), SIGNATURE)
