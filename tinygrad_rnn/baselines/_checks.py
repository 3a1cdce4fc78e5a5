"""Checks of arguments that several files of this package share."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tinygrad_rnn.errors import DTypeError, IndexRangeError, ShapeError


def symbol_vector(called: str, values: ArrayLike, vocabulary_size: int) -> NDArray[np.int64]:
    """``values`` as a vector of integers from 0 to ``vocabulary_size`` - 1."""
    array = np.asarray(values)
    if array.ndim != 1:
        raise ShapeError(called, "a vector of symbols", array.shape)
    if array.size and array.dtype.kind not in "iu":
        raise DTypeError(called, "integer symbols", array.dtype)
    wrong = np.flatnonzero((array < 0) | (array >= vocabulary_size))
    if wrong.size:
        got = f"{array[wrong[0]]} at position {wrong[0]}"
        raise IndexRangeError(called, f"0 <= symbol < {vocabulary_size}", got)
    return array.astype(np.int64)
