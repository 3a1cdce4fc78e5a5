"""A matrix written into the panels that products read, as vector code.

A matrix (K, N) becomes panels (N / width, K, width). Its rows are copied; if it is kept by columns,
as W in x @ W.T is, it is turned around in square blocks. The sizes are arguments, so that there are
two functions for each dtype.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from ctypes import CFUNCTYPE, c_int64, c_void_p
from functools import lru_cache, partial
from typing import Any

import numpy as np

from .llvm_engine import address_of
from .llvm_jit import compiled, machine
from .llvm_kernels import Writer, element
from .llvm_text import POINTER, vector
from .pool import pool

__all__ = ["filling", "packed", "panel"]

BLOCK = 4  # rows and columns that are turned around at once: more take long to compile
KEPT = 256  # sizes that are remembered
SIGNATURE = CFUNCTYPE(None, c_int64, c_int64, c_int64, c_int64, c_void_p)


def panel(dtype: Any) -> int:
    """The columns of a panel: two vectors."""
    return 2 * machine().vector // int(dtype.itemsize)


def packed(matrix: Any) -> Any:
    """A matrix (K, N), in any order, as panels (N / width, K, width), if the width divides N."""
    dtype, width = matrix.dtype, panel(matrix.dtype)
    inner, columns = matrix.shape
    panels, address = pool.taken((columns // width, inner, width), dtype)
    filling(inner, columns, dtype)(address, matrix)
    return panels


@lru_cache(KEPT)
def filling(inner: int, columns: int, dtype: Any) -> Callable[[int, Any], None]:
    """A function of (address, matrix): a matrix (K, N), in any order, into panels at an address."""
    item, count = int(dtype.itemsize), columns // panel(dtype)

    def fill(address: int, matrix: Any) -> None:
        stride, across = matrix.strides
        turned = across != item
        if turned and stride == item:
            matrix, stride = matrix.T, across
        elif turned:
            matrix, stride, turned = np.ascontiguousarray(matrix), columns * item, False
        _kernel(dtype, turned)(address, stride, inner, count, address_of(matrix))

    return fill


@lru_cache(KEPT)
def _kernel(dtype: Any, turned: bool) -> Callable[..., None]:
    """Called with (address of the panels, bytes to the next row or column, K, panels, matrix)."""
    found: Callable[..., None] = compiled(_Panels(dtype, turned).text(), SIGNATURE)
    return found


class _Panels(Writer):
    """Writes a function that fills panels."""

    def __init__(self, dtype: Any, turned: bool) -> None:
        super().__init__(0, 4)
        self.item, self.one = int(dtype.itemsize), element(dtype)
        self.lanes, self.width = machine().vector // self.item, panel(dtype)
        target, self.stride, self.inner, self.count = self.code.args[:4]
        self.target = self.code.convert("inttoptr", target, POINTER)
        if turned:
            self.loop(0, self.count, 1, self.one_panel)
        else:
            self.loop(0, self.inner, 1, self.one_row)

    def line(self, number: Any, start: Any = None) -> Any:
        """The row, or column, of a number behind one at `start`, or of the matrix."""
        place = self.table if start is None else start
        return self.code.moved(place, self.code.mul(number, self.stride))

    def place(self, n: Any, k: Any) -> Any:
        """Row k of panel n."""
        number = self.code.add(self.code.mul(n, self.inner), k)
        return self.beyond(self.target, number, self.width * self.item)

    def one_row(self, k: Any) -> None:
        """Row k of a matrix that is kept by rows, for all panels: as it comes from memory."""
        line = self.line(k)

        def part(n: Any) -> None:
            here, there = self.beyond(line, n, self.width * self.item), self.place(n, k)
            for i in range(0, self.width, self.lanes):
                self.put(self.taken(here, i, self.lanes), there, i)

        self.loop(0, self.count, 1, part)

    def one_panel(self, n: Any) -> None:
        """Panel n of a matrix that is kept by columns: blocks of rows, and then single ones."""
        source = self.line(self.code.mul(n, self.number(self.width)))
        size = min(self.lanes, BLOCK)
        full = self.code.and_(self.inner, self.number(-size))

        def rows(lanes: int, k: Any) -> None:
            there = self.place(n, k)

            def some(first: Any) -> None:
                start, place = self.line(first, source), self.beyond(there, first, self.item)
                lines = [self.line(self.number(i), start) for i in range(lanes)]
                block = [self.taken(self.beyond(s, k, self.item), 0, lanes) for s in lines]
                for i, value in enumerate(self.turned(block)):
                    self.put(value, place, i * self.width)

            self.loop(0, self.width, lanes, some)

        self.loop(0, full, size, partial(rows, size))
        self.loop(full, self.inner, 1, partial(rows, 1))

    def turned(self, block: Sequence[Any]) -> Sequence[Any]:
        """A square block turned around: its halves are shuffled into each other until it is."""
        half, size = len(block) // 2, 1
        low = [n for i in range(half) for n in (i, i + 2 * half)]
        while size < len(block):
            pairs = zip(block[:half], block[half:], strict=True)
            orders = low, [n + half for n in low]
            block = [self.code.shuffled(a, b, order) for a, b in pairs for order in orders]
            size *= 2
        return block

    def taken(self, line: Any, first: int, lanes: int) -> Any:
        """Some numbers of a line."""
        place = self.code.moved(line, self.number(first * self.item))
        return self.code.load(vector(self.one, lanes), place, self.item)

    def put(self, value: Any, line: Any, first: int) -> None:
        """Some numbers into a line."""
        self.code.store(value, self.code.moved(line, self.number(first * self.item)), self.item)
