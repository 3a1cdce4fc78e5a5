"""Products of NumPy's BLAS over all rows of a sequence, on threads of ours.

OpenBLAS wakes its own for products that are done before these are awake, and in a virtual machine
may find them no core (see `workers`). It is asked to use one thread meanwhile, by the function that
it has for that; with any other BLAS a product is NumPy's, as it is.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from threading import Lock
from typing import Any

import numpy as np

from ..backend import quiet
from .workers import at_once, shares_of

__all__ = ["product"]

EACH = 8_000_000  # multiplications that make a share worth a thread
ALONE = 200_000  # up to so many OpenBLAS takes one thread
FEWEST = 16  # rows of a share, for which all of the other matrix is read


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
    with _alone as most:
        count = min(most, shares_of(work, EACH), a.shape[0] // FEWEST)
        if count <= 1:
            return np.matmul(a, b)  # behind a call an interrupt comes before the exit, not in it
        out = np.empty((a.shape[0], b.shape[1]), a.dtype)
        ends = pairwise([a.shape[0] * i // count for i in range(count + 1)])
        at_once([partial(_quietly, a[i:j], b, out[i:j]) for i, j in ends])
    return out


def _quietly(a: Any, b: Any, out: Any) -> None:
    with quiet():  # a thread does not know that its caller is
        np.matmul(a, b, out)


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
