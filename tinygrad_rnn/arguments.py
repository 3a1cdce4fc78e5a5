"""Checks of what users give to everything above the core: numbers, flags and arrays of numbers."""

from __future__ import annotations

import numbers
import operator
from math import inf
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .errors import ArgumentError, DataError, DTypeError, ShapeError

__all__ = ["finite_array", "flag", "numeric_array", "positive", "real", "whole_number"]


def real(called: str, name: str, value: object, least: float = -inf, bound: float = inf) -> float:
    """`value` as a Python number with least <= value < bound; neither NaN nor a bool."""
    is_number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not is_number or not least <= value < bound:  # type: ignore[operator]
        raise ArgumentError(called, f"{name}, a number {_interval(least, bound)},", repr(value))
    return value if type(value) is int else float(value)  # type: ignore[arg-type]


def _interval(least: float, bound: float) -> str:
    below = "and finite" if bound == inf else f"and < {bound:g}"
    return f">= {least:g} {below}" if least > -inf else below.removeprefix("and ")


def positive(called: str, name: str, value: object, bound: float = inf) -> float:
    """`value` as a Python number with 0 < value < bound."""
    if value == 0:
        raise ArgumentError(called, f"{name} > 0", repr(value))
    return real(called, name, value, 0, bound)


def whole_number(called: str, name: str, value: object, least: int = 1) -> int:
    """`value` as a Python integer that is at least `least`."""
    try:
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        number = least - 1
    if number < least or isinstance(value, bool):
        raise ArgumentError(called, f"{name}, a whole number >= {least},", repr(value))
    return number


def flag(called: str, name: str, value: object) -> bool:
    """`value` as a Python bool."""
    if not isinstance(value, bool) and type(value).__name__ != "bool":  # NumPy's has that name too
        raise ArgumentError(called, f"{name}, True or False,", repr(value))
    return bool(value)


def numeric_array(called: str, name: str, values: ArrayLike) -> NDArray[Any]:
    """`values` as an array of numbers with at least one axis."""
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
    """`values` as float64 without NaN and infinity."""
    array = numeric_array(called, name, values).astype(np.float64)
    wrong = np.argwhere(~np.isfinite(array))
    if len(wrong):
        place = wrong[0].tolist()
        expected = f"{name}, all finite,"
        raise DataError(called, expected, f"{array[tuple(place)]} at index {place}")
    return array
