"""Series as data: columns of a CSV file, scaling, a split in time, and windows.

Legend: N times in a series, T times in a window, B windows, I inputs beside the series;
batched arrays are time-major ``(T, B, ...)``.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tinygrad_rnn.errors import ArgumentError, DataError, ShapeError

from ..arguments import finite_array, real, string, whole_number
from ._checks import shorten
from .text import PathName, read_file

__all__ = ["SplitInTime", "Standardizer", "Windows", "read_csv", "split_in_time", "windows"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


def read_csv(
    path: PathName, target: str, inputs: Sequence[str] = (), delimiter: str = ","
) -> tuple[FloatArray, FloatArray]:
    r"""Read the column ``target``, shape ``(N,)``, and the columns ``inputs``, shape ``(N, I)``.

    The first row names the columns; the others follow each other in time. Columns that are not
    asked for may hold anything, dates for example.

    Raises:
        DataError: no such file or column, no rows, a row with too few or too many cells, or a
            cell that is missing or not a finite number; named by file, line and column.
        ArgumentError: a column is asked for twice, or ``delimiter`` is not one character.

    >>> import tempfile, pathlib
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "river.csv")
    ...     _ = path.write_text("day,flow,rain\nMon,3,0.5\nTue,4,0\n")
    ...     flow, rain = read_csv(path, "flow", ["rain"])
    >>> flow.tolist(), rain.tolist()
    ([3.0, 4.0], [[0.5], [0.0]])
    """
    names = [target, *([inputs] if isinstance(inputs, str) else inputs)]
    if len(set(names)) < len(names):
        raise ArgumentError("read_csv", "different columns as target and inputs", names)
    (_, header), *rows = _rows(path, delimiter)
    columns = [_column(path, header, name) for name in names]
    if not rows:
        raise DataError("read_csv", "rows below the header", f"none in {path}")
    values = np.array([_numbers(path, header, columns, *row) for row in rows])
    return values[:, 0].copy(), values[:, 1:].copy()


def _rows(path: PathName, delimiter: str) -> list[tuple[int, list[str]]]:
    """Line number and stripped cells of every row; blank ones are dropped only at the end."""
    if len(string("read_csv", "delimiter", delimiter)) != 1 or delimiter in '\r\n"':
        raise ArgumentError("read_csv", "a delimiter of one character", repr(delimiter))
    rows = list(_parse(path, delimiter))
    while rows and not any(rows[-1][1]):
        rows.pop()
    if not rows:
        raise DataError("read_csv", "a header and rows", f"blank lines in {path}")
    return rows


def _parse(path: PathName, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(io.StringIO(read_file("read_csv", path)), delimiter=delimiter, strict=True)
    try:
        for row in reader:
            yield reader.line_num, [cell.strip() for cell in row]
    except csv.Error as error:
        got = f"{error} in line {reader.line_num} of {path}"
        raise DataError("read_csv", "a well-formed CSV file", got) from error


def _column(path: PathName, header: list[str], name: str) -> int:
    count = header.count(name)
    if count != 1:
        got = f"{count or 'none'} among {shorten(header)} in {path}"
        hint = "the first row must name the columns; is the delimiter right?"
        raise DataError("read_csv", f"one column {name!r}", got, hint)
    return header.index(name)


def _numbers(
    path: PathName, header: list[str], columns: list[int], line: int, cells: list[str]
) -> list[float]:
    if len(cells) != len(header):
        got = f"{len(cells)} in line {line} of {path}"
        raise DataError("read_csv", f"{len(header)} cells in a row, as in the header,", got)
    numbers = []
    for column in columns:
        number = _number(cells[column])
        if number is None:
            found = shorten(cells[column]) if cells[column] else "an empty cell"
            got = f"{found} in line {line}, column {header[column]!r} of {path}"
            raise DataError("read_csv", "a finite number", got)
        numbers.append(number)
    return numbers


def _number(cell: str) -> float | None:
    try:
        number = float(cell)
    except ValueError:
        return None
    # float() reads "1_000" as Python's grammar does; in a file of data it is a mistake.
    return number if math.isfinite(number) and "_" not in cell else None


@dataclass(frozen=True, eq=False)
class Standardizer:
    """Shift and scale to mean 0 and standard deviation 1: ``z = (x - mean) / scale``.

    Fit it on the training part only, or the future leaks into the past.

    >>> standardizer = Standardizer.fit([1.0, 3.0])
    >>> standardizer.transform([1.0, 2.0, 5.0]).tolist()
    [-1.0, 0.0, 3.0]
    """

    mean: FloatArray
    scale: FloatArray

    @classmethod
    def fit(cls, values: ArrayLike) -> Standardizer:
        """Measure one series ``(N,)``, or every column of ``(N, I)``.

        Raises:
            DataError: a column is constant, not finite, or too large to measure.
        """
        array = finite_array("Standardizer.fit", "values", values)
        if array.ndim > 2 or array.size == 0:
            raise ShapeError("Standardizer.fit", "values (N,) or (N, I)", array.shape)
        with np.errstate(all="ignore"):  # what goes wrong shows in the scale
            mean, spread = array.mean(axis=0), np.ptp(array, axis=0)
            scale = spread * ((array - mean) / spread).std(axis=0)
        wrong = np.flatnonzero(~(np.isfinite(scale) & (scale > 0)))
        if len(wrong):
            first = array[0] if array.ndim == 1 else array[0, wrong[0]]
            got = f"column {wrong[0]} that starts with {first} and has no measurable spread"
            raise DataError("Standardizer.fit", "columns that vary", got, "leave it out?")
        return cls(mean, scale)

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> Standardizer:
        """Rebuild a standardizer from what ``to_dict`` gave."""
        if state.keys() != {"mean", "scale"}:
            raise DataError("Standardizer.from_dict", "'mean' and 'scale'", sorted(state))
        mean = _state_array("mean", state["mean"])
        scale = _state_array("scale", state["scale"])
        if mean.shape != scale.shape or mean.ndim > 1 or not (scale > 0).all():
            got = f"{mean.tolist()} and {scale.tolist()}"
            raise DataError("Standardizer.from_dict", "means, and as many scales above 0,", got)
        return cls(mean, scale)

    def to_dict(self) -> dict[str, Any]:
        """Mean and scale as plain numbers or lists, which JSON keeps to the last bit."""
        return {"mean": self.mean.tolist(), "scale": self.scale.tolist()}

    def transform(self, values: ArrayLike) -> FloatArray:
        """Standardize values of shape ``(..., I)``, or of any shape after a fit on ``(N,)``."""
        return (self._fitting("transform", values) - self.mean) / self.scale

    def inverse(self, values: ArrayLike) -> FloatArray:
        """Undo ``transform``."""
        return self._fitting("inverse", values) * self.scale + self.mean

    def _fitting(self, method: str, values: ArrayLike) -> FloatArray:
        array = np.asarray(values, dtype=np.float64)
        if self.mean.ndim and array.shape[-1:] != self.mean.shape:
            expected = f"values of shape (..., {len(self.mean)})"
            raise ShapeError(f"Standardizer.{method}", expected, array.shape)
        return array


def _state_array(name: str, value: object) -> FloatArray:
    try:
        array = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DataError("Standardizer.from_dict", f"numbers as {name!r}", value) from error
    if not np.isfinite(array).all():
        raise DataError("Standardizer.from_dict", f"finite numbers as {name!r}", value)
    return array


class SplitInTime(NamedTuple):
    """Three parts of a series, one after the other, as slices."""

    train: slice
    validation: slice
    test: slice


def split_in_time(
    length: int, train: float = 0.70, validation: float = 0.15, test: float = 0.15
) -> SplitInTime:
    """Split N times into what comes first, next and last; nothing is shuffled.

    Raises:
        ArgumentError: the shares are not above 0 or do not sum to 1.
        DataError: the series is so short that a part would be empty.

    >>> split_in_time(100)
    SplitInTime(train=slice(0, 70, None), validation=slice(70, 85, None), test=slice(85, 100, None))
    """
    shares = train, validation, test
    length = whole_number("split_in_time", "length", length, least=0)
    for name, share in zip(("train", "validation", "test"), shares, strict=True):
        real("split_in_time", name, share)
    if not (min(shares) > 0 and math.isclose(sum(shares), 1)):
        raise ArgumentError("split_in_time", "three shares above 0 that sum to 1", shares)
    first, second = round(length * train), round(length * (train + validation))
    if not 0 < first < second < length:
        got = f"{length} times and the shares {shares}"
        raise DataError("split_in_time", "three parts that are not empty", got)
    return SplitInTime(slice(0, first), slice(first, second), slice(second, length))


class Windows(NamedTuple):
    """B windows of a series, each cut at its origin, the time of its first target.

    ``history`` (T, B, 1 + I) is the series and its inputs before the origin; ``targets``
    (horizon, B, 1) the series from the origin on. ``controls`` (horizon, B, I) are the inputs at
    the targets' times: to use them is to claim that they are known in advance. ``origins`` (B,)
    are the indices of the first targets.
    """

    history: FloatArray
    targets: FloatArray
    controls: FloatArray
    origins: IntArray

    @property
    def next_values(self) -> FloatArray:
        """The series one step after every time of ``history``, shape (T, B, 1)."""
        return np.concatenate([self.history[1:, :, :1], self.targets[:1]])


def windows(
    series: ArrayLike,
    window: int,
    horizon: int = 1,
    inputs: ArrayLike | None = None,
    part: slice | None = None,
) -> Windows:
    """Cut every window whose targets lie in ``part``; its history may reach back before it.

    ``series`` is ``(N,)``, ``inputs`` ``(N, I)`` or ``(N,)``, ``part`` a slice of the N times,
    by default all of them.

    Raises:
        ArgumentError: ``window`` or ``horizon`` is not a positive whole number.
        DataError: values that are not finite, or no room for a single window.
        ShapeError: shapes other than those above.

    >>> cut = windows([0, 1, 2, 3, 4], window=2, horizon=2)
    >>> cut.history[..., 0].T.tolist(), cut.targets[..., 0].T.tolist()
    ([[0.0, 1.0], [1.0, 2.0]], [[2.0, 3.0], [3.0, 4.0]])
    """
    window = whole_number("windows", "window", window)
    horizon = whole_number("windows", "horizon", horizon)
    table = _side_by_side(series, inputs)
    origins = _origins(len(table), window, horizon, part or slice(None))
    ahead = table[np.arange(horizon)[:, None] + origins]
    history = table[np.arange(-window, 0)[:, None] + origins]
    return Windows(history, ahead[..., :1].copy(), ahead[..., 1:].copy(), origins)


def _side_by_side(series: ArrayLike, inputs: ArrayLike | None) -> FloatArray:
    """The series and its inputs as the columns of one table, ``(N, 1 + I)``."""
    values = finite_array("windows", "series", series)
    if values.ndim != 1:
        raise ShapeError("windows", "a series of shape (N,)", values.shape)
    if inputs is None:
        return values[:, None]
    others = finite_array("windows", "inputs", inputs)
    if others.ndim > 2 or len(others) != len(values):
        expected = f"inputs of shape ({len(values)}, I), one row for each time of the series,"
        raise ShapeError("windows", expected, others.shape)
    return np.column_stack([values, others])


def _origins(length: int, window: int, horizon: int, part: slice) -> IntArray:
    start, stop, step = part.indices(length)
    if step != 1:
        raise ArgumentError("windows", "a part of consecutive times", part)
    origins = np.arange(max(start, window), stop - horizon + 1)
    if len(origins) == 0:
        expected = f"room for a history of {window} and {horizon} target(s)"
        got = f"{length} times with targets from {start} to before {stop}"
        raise DataError("windows", expected, got, "choose a shorter window or horizon")
    return origins
