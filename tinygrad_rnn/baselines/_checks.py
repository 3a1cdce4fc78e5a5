"""Checks of arguments that several files of this package share."""

from __future__ import annotations

import operator

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tinygrad_rnn.errors import ArgumentError, DataError, DTypeError, IndexRangeError, ShapeError


def whole_number(called: str, name: str, value: object, least: int = 1) -> int:
    """``value`` as an int that is at least ``least``."""
    try:
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        number = least - 1
    if number < least or isinstance(value, bool):
        raise ArgumentError(called, f"{name}, a whole number >= {least},", repr(value))
    return number


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


def finite_array(called: str, name: str, values: ArrayLike) -> NDArray[np.float64]:
    """``values`` as float64 without NaN and infinity."""
    array = np.asarray(values)
    if array.dtype.kind not in "biuf":
        raise DTypeError(called, f"{name} of numbers", array.dtype)
    wrong = np.argwhere(~np.isfinite(array))
    if len(wrong):
        place = tuple(wrong[0].tolist())
        raise DataError(called, f"{name} of finite values", f"{array[place]} at index {place}")
    return array.astype(np.float64)
