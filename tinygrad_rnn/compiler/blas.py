"""Products of NumPy's BLAS over all rows of a sequence, on threads of ours.

OpenBLAS wakes its own for products that are done before these are awake, and in a virtual machine
may find them no core (see `workers`). It is asked to use one thread meanwhile, by the function that
it has for that; with any other BLAS a product is NumPy's, as it is.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from functools import cache, partial
from itertools import pairwise
from threading import Lock
from typing import Any

import numpy as np

from ..backend import quiet
from .workers import at_once, shares_of

__all__ = ["product"]

EACH = 8_000_000  # multiplications that make a share worth a thread
ALONE = 200_000  # up to so many OpenBLAS takes one thread


def product(a: Any, b: Any) -> Any:
    """a @ b of matrices (M, K) and (K, N), or of tensors."""
    if type(a) is not np.ndarray or type(b) is not np.ndarray:
        return a @ b
    work = a.size * b.shape[1]
    if work <= ALONE or a.dtype != b.dtype or a.dtype.char not in "fd":
        return a @ b
    if _numbers_of_threads() is None:
        return a @ b
    with _alone:
        count = min(shares_of(work, EACH), a.shape[0])
        if count == 1:
            return a @ b
        out = np.empty((a.shape[0], b.shape[1]), a.dtype)
        ends = pairwise([a.shape[0] * i // count for i in range(count + 1)])
        at_once([partial(_quietly, a[i:j], b, out[i:j]) for i, j in ends])
    return out


def _quietly(a: Any, b: Any, out: Any) -> None:
    with quiet():  # a thread does not know that its caller is
        np.matmul(a, b, out)


@cache
def _numbers_of_threads() -> tuple[Callable[[], int], Callable[[int], object]] | None:
    """OpenBLAS's functions that tell and set how many threads it uses, if NumPy has it."""
    loaded = sys.modules.get("numpy._core._multiarray_umath")
    if loaded is None or loaded.__file__ is None:
        return None
    library = ctypes.CDLL(loaded.__file__)  # what it needs itself is looked through, too
    for before in ("scipy_openblas", "openblas"):
        for after in ("64_", ""):
            names = (f"{before}_{verb}_num_threads{after}" for verb in ("get", "set"))
            found = [getattr(library, name, None) for name in names]
            if None not in found:
                return found[0], found[1]  # type: ignore[return-value]
    return None


class _Alone:
    """While somebody is inside, OpenBLAS uses the thread that calls it and no other."""

    def __init__(self) -> None:
        self.lock, self.inside, self.before = Lock(), 0, 1

    def __enter__(self) -> None:
        functions = _numbers_of_threads()
        assert functions is not None
        get, set_ = functions
        with self.lock:
            if not self.inside:
                self.before = get()
                set_(1)
            self.inside += 1

    def __exit__(self, *_: object) -> None:
        functions = _numbers_of_threads()
        assert functions is not None
        with self.lock:
            self.inside -= 1
            if not self.inside:
                functions[1](self.before)


_alone = _Alone()
