"""Targets of CTC as they are given, read into one padded array, with every mistake named.

Legend: T steps, N rows, C classes, L the longest target.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..checks import is_index
from ..errors import ArgumentError, DTypeError, IndexRangeError, ShapeError
from ..tensor import as_tensor

__all__ = ["read_targets", "required_steps"]

IntArray = NDArray[np.int64]


def read_targets(
    called: str,
    shape: tuple[int, ...],
    targets: Any,
    input_lengths: Any,
    target_lengths: Any,
    blank: int,
) -> tuple[IntArray, IntArray, IntArray]:
    """Targets (N, L), input lengths (N,) and target lengths (N,), on the host.

    Args:
        shape: (T, N, C), of the log-probabilities.
        targets: (N, L), or (Σ target_lengths,), the rows one after the other.
    """
    steps, rows, classes = shape
    if not is_index(blank):
        raise DTypeError(called, "blank as an integer", repr(blank))
    if not 0 <= blank < classes:
        raise IndexRangeError(called, f"blank in 0 … {classes - 1}", blank)
    symbols = _integers(called, "targets", targets)
    inputs = _lengths(called, "input_lengths", input_lengths, rows, steps)
    counts = _lengths(called, "target_lengths", target_lengths, rows, None)
    padded = _padded(called, symbols, counts, rows)
    _check_symbols(called, padded, counts, blank, classes)
    return padded, inputs, counts


def required_steps(targets: IntArray, lengths: IntArray) -> IntArray:
    """(N,) the fewest steps that spell each target: its labels, and a blank between equal ones."""
    equal = targets[:, 1:] == targets[:, :-1]
    inside = np.arange(1, targets.shape[1]) < lengths[:, None] if equal.size else equal
    needed: IntArray = lengths + (equal & inside).sum(axis=1)
    return needed


def _integers(called: str, name: str, values: Any) -> IntArray:
    """On the host; an empty list may have any dtype."""
    given = as_tensor(values).detach().to("cpu").numpy()
    if given.size and given.dtype.kind not in "iu":
        raise DTypeError(called, f"integer {name}", given.dtype.name)
    return given.astype(np.int64)


def _lengths(called: str, name: str, values: Any, rows: int, most: int | None) -> IntArray:
    lengths = _integers(called, name, values)
    if lengths.shape == () and rows == 1:
        lengths = lengths.reshape(1)
    if lengths.shape != (rows,):
        raise ShapeError(called, f"{name} of shape ({rows},), one for each row", lengths.shape)
    bad = np.flatnonzero((lengths < 0) | (lengths > (np.inf if most is None else most)))
    if len(bad):
        wanted = f"{name} >= 0" if most is None else f"{name} in 0 … {most}"
        raise ArgumentError(called, wanted, f"{lengths[bad[0]]} in row {bad[0]}")
    return lengths


def _padded(called: str, symbols: IntArray, counts: IntArray, rows: int) -> IntArray:
    if symbols.ndim == 2 and len(symbols) == rows:
        long = np.flatnonzero(counts > symbols.shape[1])
        if len(long):
            got = f"{counts[long[0]]} in row {long[0]}"
            raise ArgumentError(called, f"target_lengths in 0 … {symbols.shape[1]}", got)
        return symbols
    if symbols.ndim != 1:
        raise ShapeError(called, f"targets of shape ({rows}, L) or (sum,)", symbols.shape)
    if len(symbols) != counts.sum():
        raise ShapeError(
            called, f"{counts.sum()} targets one after the other, the sum of target_lengths",
            symbols.shape,
        )  # fmt: skip
    padded = np.zeros((rows, counts.max(initial=0)), dtype=np.int64)
    padded[np.arange(padded.shape[1]) < counts[:, None]] = symbols
    return padded


def _check_symbols(
    called: str, targets: IntArray, counts: IntArray, blank: int, classes: int
) -> None:
    inside = np.arange(targets.shape[1]) < counts[:, None]
    for bad in np.argwhere(inside & ((targets < 0) | (targets >= classes)))[:1]:
        got = f"{targets[tuple(bad)]} in row {bad[0]} at position {bad[1]}"
        raise IndexRangeError(called, f"labels in 0 … {classes - 1}", got)
    for bad in np.argwhere(inside & (targets == blank))[:1]:
        got = f"it in row {bad[0]} at position {bad[1]}"
        raise ArgumentError(called, f"targets without the blank {blank}", got)
