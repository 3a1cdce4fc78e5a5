"""Products of NumPy's BLAS over all rows of a sequence, on threads of ours; and of a few rows.

OpenBLAS wakes its own threads for products that are done before these are awake, and in a virtual
machine may find them no core (see `workers`). It is asked to use one meanwhile, by the function
that it has for that; with any other BLAS a product is NumPy's, as it is.

Its kernels for AVX-512 read the matrices of a small product where they are; for any other it puts
both in order first, which is a third of the time if rows are few. So a product is made of small
ones, of as many rows as `rows_at_once` says.

Legend: M rows; K, N columns.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable
from functools import cache, partial
from itertools import pairwise
from threading import Lock
from typing import Any

import numpy as np

from ..backend import quiet
from .pool import ALIGNMENT
from .workers import at_once, shares_of

__all__ = ["SMALL", "kernels", "product", "rows_at_once"]

EACH = 12_000_000  # multiplications that make a share worth a thread: some 0.2 ms
ALONE = 200_000  # up to so many OpenBLAS takes one thread
FEWEST = 16  # rows of a share, for which all of the other matrix is read
SMALL = 1_000_000  # multiplications of a product whose matrices are read where they are
LEAST = 4  # rows of one that is worth a call
NEAR = 1 << 20  # bytes of a matrix that is near enough to be read again for every few rows
IN_PLACE = ("SkylakeX", "Cooperlake", "SapphireRapids")  # the kernels that do this


def product(a: Any, b: Any) -> Any:
    """a @ b of matrices (M, K) and (K, N), or of tensors.

    The rows of a are shared among as many threads as OpenBLAS might use and we too; last places may
    depend on how many that are, as with OpenBLAS's own.
    """
    if type(a) is not np.ndarray or type(b) is not np.ndarray:
        return a @ b
    work = a.size * b.shape[1]
    if _alone is None or work <= ALONE or a.dtype != b.dtype or a.dtype.char not in "fd":
        return a @ b
    me, interrupt = object(), None
    try:
        count = min(_alone.enter(me), shares_of(work, EACH), a.shape[0] // FEWEST)
        if count <= 1:
            return np.matmul(a, b)
        out = np.empty((a.shape[0], b.shape[1]), a.dtype)
        ends = pairwise([a.shape[0] * i // count for i in range(count + 1)])
        at_once([partial(_quietly, a[i:j], b, out[i:j]) for i, j in ends])
        return out
    finally:
        while me in _alone.inside:
            try:
                _alone.leave(me)
            except BaseException as error:  # an interrupt: it waits
                interrupt = error
        if interrupt is not None:
            raise interrupt


def _quietly(a: Any, b: Any, out: Any) -> None:
    with quiet():  # a thread does not know that its caller is
        np.matmul(a, b, out)


def rows_at_once(rows: int, inner: int, columns: int, item: int) -> int:
    """How many rows of a product with a matrix (K, N) are done at a time; 0 if all of them.

    The rows of the matrix, which is read again for every few rows, have to be aligned as vectors.
    """
    row, size = columns * item, inner * columns
    if rows * size <= SMALL or row % ALIGNMENT or inner * row > NEAR or kernels() not in IN_PLACE:
        return 0
    few = range(LEAST, SMALL // size + 1)
    return max([n for n in few if rows % n == 0], default=0)


class _Alone:
    """While somebody is inside, OpenBLAS uses the thread that calls it and no other."""

    def __init__(self, count: Callable[[], int], use: Callable[[int], object]) -> None:
        self.count, self.use = count, use  # how many threads it uses; to use so many
        self.lock, self.before = Lock(), 1
        self.inside: set[object] = set()

    def enter(self, who: object) -> int:
        """Somebody comes, and is told how many threads it used before."""
        with self.lock:
            if not self.inside:
                self.before = self.count()
            self.inside.add(who)
            if len(self.inside) == 1:
                self.use(1)
            return self.before

    def leave(self, who: object) -> None:
        """Somebody goes, if they are inside."""
        with self.lock:
            if self.inside == {who}:
                self.use(self.before)
            self.inside.discard(who)

    def begin_anew(self) -> None:
        """In the copy of a process nobody is inside who was when it was made."""
        if self.inside:
            self.use(self.before)
        self.lock, self.inside = Lock(), set()


def _looked_for() -> _Alone | None:
    """NumPy's OpenBLAS by the functions that it has for that; None if NumPy has another BLAS."""
    loaded = sys.modules.get("numpy._core._multiarray_umath")
    if loaded is None or loaded.__file__ is None:
        return None
    library = ctypes.CDLL(loaded.__file__)  # what it needs itself is looked through, too
    for before in ("scipy_openblas", "openblas"):
        for after in ("64_", ""):
            names = [f"{before}_{verb}_num_threads{after}" for verb in ("get", "set")]
            if all(hasattr(library, name) for name in names):
                return _Alone(*[getattr(library, name) for name in names])
    return None


_alone = _looked_for()  # now: two who look for it at once would not know of each other
if _alone is not None and hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_alone.begin_anew)


@cache
def kernels() -> str:
    """The name of the processor for which NumPy's OpenBLAS has chosen its kernels."""
    try:
        library = ctypes.CDLL(np._core._multiarray_umath.__file__)  # type: ignore[attr-defined]
        name = library.scipy_openblas_get_corename64_
        name.restype = ctypes.c_char_p
        return str(name().decode())
    except (AttributeError, OSError):
        return "unknown"
