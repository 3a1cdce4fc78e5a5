"""Checks of arguments that several files of this package share."""

from __future__ import annotations

import operator
from typing import Any

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


def numeric_array(called: str, name: str, values: ArrayLike) -> NDArray[Any]:
    """``values`` as an array of numbers with at least one axis."""
    try:
        array = np.asarray(values)
    except ValueError as error:  # NumPy's word for rows of unequal length
        raise ShapeError(called, f"{name} of regular shape", "rows of unequal length") from error
    if array.dtype.kind not in "biuf":
        raise DTypeError(called, f"{name} of numbers", array.dtype)
    if array.ndim == 0:
        raise ShapeError(called, f"{name} with an axis of time", "a single number")
    return array


def finite_array(called: str, name: str, values: ArrayLike) -> NDArray[np.float64]:
    """``values`` as float64 without NaN and infinity."""
    array = numeric_array(called, name, values).astype(np.float64)
    wrong = np.argwhere(~np.isfinite(array))
    if len(wrong):
        place = wrong[0].tolist()
        raise DataError(called, f"finite {name}", f"{array[tuple(place)]} at index {place}")
    return array


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
