"""Where values live: buffers, and views of them.

Views need no operations. What a slice, a permutation or an expansion does to an address is asked of
NumPy itself, on a buffer that is never filled: the offset and the strides of the result say it all.

Storage kinds: constant and stacked inputs, stacks (T rows), carries (T + 1 rows, or one that is
overwritten), temporaries.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from .program import Value

__all__ = ["Buffer", "FEW", "Place", "VIEWS", "fresh", "is_view", "part_of", "viewed"]

FEW = 4  # steps that are done together
VIEWS = frozenset(("slice", "permute", "expand", "reshape", "flip", "alias", "detach"))


@dataclass(eq=False)
class Buffer:
    """Memory of one value in one step; `rows` says how the steps are stored.

    rows: "constant" and "scratch" have one row, "stack" one for each step, "carry" one more (row t
    is the carry at the beginning of step t), "cell" is a carry of one row that is overwritten, and
    "few" has a row for each of the `FEW` steps that are done together.
    """

    number: int
    rows: str
    shape: tuple[int, ...]
    dtype: Any

    @cached_property
    def bytes(self) -> int:
        """The size of one row."""
        count = int(np.dtype(self.dtype).itemsize)
        for n in self.shape:
            count *= n
        return count


class Place(NamedTuple):
    """A view of a row of a buffer: byte offset and strides, and which row (`ahead`: the next)."""

    buffer: Buffer
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: Any
    ahead: bool = False

    @property
    def contiguous(self) -> bool:
        """Whether the elements follow each other."""
        return self.strides == _strides(self.shape, np.dtype(self.dtype).itemsize)

    def shaped(self, shape: tuple[int, ...]) -> Place:
        """The same elements, which follow each other, in another shape."""
        return self._replace(shape=shape, strides=_strides(shape, np.dtype(self.dtype).itemsize))


def _strides(shape: tuple[int, ...], item: int) -> tuple[int, ...]:
    steps, step = [], item
    for n in reversed(shape):
        steps.append(step)
        step *= n
    return tuple(reversed(steps))


def fresh(buffer: Buffer, ahead: bool = False) -> Place:
    """The whole row of a buffer."""
    item = np.dtype(buffer.dtype).itemsize
    return Place(buffer, 0, buffer.shape, _strides(buffer.shape, item), buffer.dtype, ahead)


def _dummy(place: Place) -> Any:
    """An array with this layout whose numbers are never touched."""
    memory = np.empty(max(place.buffer.bytes, 1), np.uint8)
    return np.ndarray(place.shape, place.dtype, memory, place.offset, place.strides)


def is_view(value: Value) -> bool:
    """Whether an operation may only look at memory in another way."""
    return value.name in VIEWS


def viewed(value: Value, place: Place) -> Place | None:
    """The place of a view of what is at `place`, or None if it cannot be one."""
    before = _dummy(place)
    assert value.op is not None
    after = value.op.forward(np, before, **value.params)
    return _as_place(before, after, place)


def part_of(place: Place, key: Any) -> Place | None:
    """The place of `x[key]`."""
    before = _dummy(place)
    return _as_place(before, before[key], place)


def _as_place(before: Any, after: Any, place: Place) -> Place | None:
    if after.size and not np.may_share_memory(before, after):
        return None
    if 0 in after.shape:
        return None
    shift = after.__array_interface__["data"][0] - before.__array_interface__["data"][0]
    return Place(
        place.buffer, place.offset + shift, after.shape, after.strides, place.dtype, place.ahead
    )
