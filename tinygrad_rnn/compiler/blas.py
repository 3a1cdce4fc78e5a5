"""Products of NumPy's BLAS: of all rows of a sequence on threads of ours, a few rows at a time.

OpenBLAS wakes its own threads for products that are done before these are awake, and in a virtual
machine may find them no core (see `workers`). It is asked to use one meanwhile, by the function
that it has for that; with any other BLAS a product is NumPy's, as it is.

Its kernels for AVX-512 read the matrices of a small product where they are; for any other it puts
both in order first, which is a third of the time if rows are few. So a product is made of small
ones with a few rows each (`rows_at_once`).

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
from .pool import ALIGNMENT, is_aligned, pool
from .workers import at_once, shares_of

__all__ = ["SMALL", "kernels", "product", "rows_at_once"]

EACH = 8_000_000  # multiplications that make a share worth a thread
ALONE = 200_000  # up to so many OpenBLAS takes one thread
FEWEST = 16  # rows of a share, for which all of the other matrix is read
SMALL = 1_000_000  # multiplications of a product whose matrices are read where they are
LEAST, MOST = 4, 64  # rows of one that is worth a call, or that is no better for more of them
LONG = 256  # rows for which the other matrix is put where it is read faster
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
    few = rows_at_once(b.shape[0], b.shape[1], b.itemsize) if a.flags.c_contiguous else 0
    if few:
        b = _placed(b, len(a))
    out = np.empty((a.shape[0], b.shape[1]), a.dtype)
    with _alone as most:
        count = min(most, shares_of(work, EACH), a.shape[0] // FEWEST)
        if count <= 1:
            _some_rows(a, b, out, few)  # in it an interrupt comes, not in the exit behind it
        else:
            ends = pairwise([a.shape[0] * i // count for i in range(count + 1)])
            at_once([partial(_some_rows, a[i:j], b, out[i:j], few) for i, j in ends])
    return out


def rows_at_once(inner: int, columns: int, item: int) -> int:
    """How many rows of a product are done at a time, so that it is small; 0 if that is no gain.

    The rows of the other matrix, which begin with vectors, have to be aligned as these are.
    """
    if columns * item % ALIGNMENT or not inner * columns or kernels() not in IN_PLACE:
        return 0
    rows = min(SMALL // (inner * columns), MOST)
    return rows if rows >= LEAST else 0


def _placed(b: Any, rows: int) -> Any:
    """A matrix by rows; aligned if so many other rows are worth a copy."""
    if b.flags.c_contiguous and (rows < LONG or is_aligned(b)):
        return b
    found = pool.array(b.shape, b.dtype)
    np.copyto(found, b)
    return found


def _some_rows(a: Any, b: Any, out: Any, few: int) -> None:
    """out = a @ b, `few` rows at a time if that is not 0; of one row alone it would be a sum."""
    rows = len(a)
    done = rows // few * few if few else 0
    with quiet():  # a thread does not know that its caller is
        if done:
            parts = [x[:done].reshape(-1, few, x.shape[1]) for x in (a, out)]
            np.matmul(parts[0], b, parts[1])
        if done < rows:
            done = min(done, max(rows - 2, 0))
            np.matmul(a[done:], b, out[done:])


class _Alone:
    """While somebody is inside, OpenBLAS uses the thread that calls it and no other.

    Who enters is told how many it used before.
    """

    def __init__(self, count: Callable[[], int], use: Callable[[int], object]) -> None:
        self.count, self.use = count, use  # how many threads it uses; to use so many
        self.lock, self.inside, self.before = Lock(), 0, 1

    def __enter__(self) -> int:
        with self.lock:
            if not self.inside:
                self.before = self.count()
                self.use(1)
            self.inside += 1
            return self.before

    def __exit__(self, *_: object) -> None:
        with self.lock:
            self.inside -= 1
            if not self.inside:
                self.use(self.before)

    def begin_anew(self) -> None:
        """In the copy of a process nobody is inside who was when it was made."""
        if self.inside:
            self.use(self.before)
        self.lock, self.inside = Lock(), 0


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
