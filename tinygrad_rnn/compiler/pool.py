"""Memory that is used again: arrays nobody holds any more are handed out anew.

Whether an array is held is its reference count, so there is nothing to give back and nothing to
forget: what the user still has, directly or through a view, is never handed out.
"""

from __future__ import annotations

import sys
import threading
from typing import Any

import numpy as np

__all__ = ["ALIGNMENT", "Pool", "is_aligned", "pool"]

LARGEST = 1 << 28  # bytes kept for use again
LONGEST = 256  # arrays of one size
FREE = 2  # references to memory that only the pool has: its shelf, and a call
ALIGNMENT = 64  # bytes: a cache line, and the widest vector


class Pool(threading.local):
    """Memory by size, one pool for each thread."""

    def __init__(self) -> None:
        self.shelves: dict[int, list[tuple[Any, int, int]]] = {}
        self.bytes = 0

    def array(self, shape: tuple[int, ...], dtype: Any) -> Any:
        """An array with undefined contents in memory that nobody else has."""
        return self.taken(shape, dtype)[0]

    def taken(self, shape: tuple[int, ...], dtype: Any) -> tuple[Any, int]:
        """Such an array and its address."""
        size: int = dtype.itemsize
        for n in shape:
            size *= n
        memory, offset, address = self.block(size)
        return np.ndarray(shape, dtype, memory, offset), address

    def block(self, size: int) -> tuple[Any, int, int]:
        """So many bytes that nobody else has: memory, where in it they begin, their address."""
        for found in self.shelves.get(size, ()):
            if sys.getrefcount(found[0]) <= FREE:
                memory, offset, address = found
                return memory, offset, address  # a new tuple: who has it holds the memory
        return self._more(size)

    def _more(self, size: int) -> tuple[Any, int, int]:
        memory = np.empty(size + ALIGNMENT, np.uint8)
        start = memory.ctypes.data
        offset = -start % ALIGNMENT
        if self.bytes + size > LARGEST:
            self.clear()
        shelf = self.shelves.setdefault(size, [])
        if len(shelf) == LONGEST:  # all of it held: to look through more would take its time
            shelf.clear()
            self.bytes -= LONGEST * size
        shelf.append((memory, offset, start + offset))
        self.bytes += size
        return memory, offset, start + offset

    def clear(self) -> None:
        """Forget everything; what is still held elsewhere stays alive there."""
        self.shelves, self.bytes = {}, 0


def is_aligned(array: Any) -> bool:
    """Whether an array begins where a vector does."""
    return bool(array.ctypes.data % ALIGNMENT == 0)


pool = Pool()
