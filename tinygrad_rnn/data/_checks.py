"""Checks of arguments that several files of this package share."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tinygrad_rnn.errors import DTypeError, IndexRangeError, ShapeError


def vocabulary_indices(called: str, indices: ArrayLike, count: int) -> NDArray[np.int64]:
    """One index or a vector of them, each from 0 to ``count`` - 1."""
    array = np.atleast_1d(np.asarray(indices))
    if array.ndim != 1:
        raise ShapeError(called, "one index or a vector", array.shape)
    if array.size and array.dtype.kind not in "iu":
        raise DTypeError(called, "integer indices", array.dtype)
    wrong = np.flatnonzero((array < 0) | (array >= count))
    if wrong.size:
        got = f"{array[wrong[0]]} at position {wrong[0]}"
        raise IndexRangeError(called, f"0 <= index < {count}", got)
    return array.astype(np.int64)


def shorten(value: object, width: int = 60) -> str:
    """What ``repr`` shows of a value, cut off where a message would become unreadable."""
    shown = repr(value)
    return shown if len(shown) <= width else shown[: width - 1] + "…"
