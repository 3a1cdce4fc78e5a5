"""Rows of unequal length without padding: which row of which step is where.

The rows of a batch are sorted by length, longest first. Step t then works on the first n(t) rows,
and all rows of all steps follow each other without gaps: N = Σ n(t) of them. A row that runs
backward in time has its steps turned around, so that the loop itself always goes forward.

Legend: T time steps, B batch, N packed rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np

from ..backend import backend_of, moved
from ..graph import Primitive
from ..ops.call import bind
from ..ops.declare import linear
from ..tensor import Tensor

__all__ = ["Ragged", "Rectangle", "Segment", "pack", "ragged", "sort_rows", "unpack"]

Segment = tuple[int, int, int]  # the packed row it starts at, steps, rows in each


@dataclass(frozen=True)
class Rectangle:
    """Rows of one length: the padding is behind the steps that all of them have."""

    steps: int
    count: int

    @property
    def full(self) -> bool:
        """Whether there is no padding at all."""
        return self.count == self.steps

    def packed(self, x: Any) -> Any:
        """An array (T, …) without its padding."""
        return x[: self.count]

    def padded(self, x: Any) -> Any:
        """An array as (T, …), with zeros beyond the lengths."""
        whole = np.zeros((self.steps, *x.shape[1:]), x.dtype)
        whole[: self.count] = x
        return whole


@dataclass(frozen=True, eq=False)
class Ragged:
    """How a batch is packed.

    Attributes:
        steps, batch: T and B.
        order, back: (B,) the row of the batch that is the i-th longest, and the inverse of that.
        places: (N,) which of the T·B padded rows each packed row is.
        segments: runs of steps with one number of rows, in order.
        rectangle: instead of all that, where all rows are equally long.
    """

    steps: int
    batch: int
    order: Any
    back: Any
    places: Any
    segments: list[Segment]
    rectangle: Rectangle | None

    @property
    def total(self) -> int:
        """N."""
        return len(self.places)

    @cached_property
    def capacity(self) -> int:
        """A number of rows from N on: there are few of them, so that memory is used again."""
        total = self.total
        return total + -total % max(1, (1 << total.bit_length()) >> 4)

    def sort_into(self, out: Any, carry: Any) -> None:
        """A carry (B, …), or a number, with the longest rows first."""
        if isinstance(carry, np.ndarray):
            carry.take(self.order, 0, out=out, mode="clip")
        else:
            out.fill(carry)

    def packed(self, x: Any) -> Any:
        """An array (T, B, …) without its padding: (N, 1, …)."""
        return x.reshape(-1, 1, *x.shape[2:]).take(self.places, 0, mode="clip")

    def padded(self, x: Any) -> Any:
        """An array (N, 1, …) as (T, B, …), with zeros beyond the lengths."""
        shape = (self.steps, self.batch, *x.shape[2:])
        whole = np.zeros(shape, x.dtype)
        row = np.dtype((np.void, whole.strides[1]))  # moved as one piece: twice as fast
        whole.reshape(-1).view(row).put(self.places, x.reshape(-1).view(row))
        return whole


def ragged(lengths: Any, steps: int, reverse: bool) -> Ragged:
    """The packing of rows of these lengths (B,), each cut to 0 … T."""
    return _ragged(lengths.tobytes(), lengths.dtype.str, steps, reverse)


@lru_cache(maxsize=16)  # the layers of a network ask for the same
def _ragged(numbers: bytes, dtype: str, steps: int, reverse: bool) -> Ragged:
    given: Any = np.frombuffer(numbers, dtype).astype(np.int64)
    sizes = np.minimum(np.maximum(given, 0), steps)
    batch = len(sizes)
    order = (-sizes).argsort(kind="stable")
    back = order.argsort()
    longest = sizes[order]
    times = np.arange(longest[0])[:, None]
    t, rows = (longest > times).nonzero()
    when = longest[rows] - 1 - t if reverse else t
    segments = _segments(longest.tolist())
    equal = Rectangle(steps, int(longest[0])) if longest[0] == longest[-1] > 0 else None
    return Ragged(steps, batch, order, back, when * batch + order[rows], segments, equal)


def _segments(longest: list[int]) -> list[Segment]:
    """Row i is there until step longest[i]."""
    found, offset, start = [], 0, 0
    for rows in range(len(longest), 0, -1):
        stop = longest[rows - 1]
        if stop > start:
            found.append((offset, stop - start, rows))
            offset, start = offset + (stop - start) * rows, stop
    return found


# ----------------------------------------------------------------------- as linear operations
def _there(places: Any, x: Any) -> Any:
    """Numbers of rows, which the host has counted, where the rows are."""
    return moved(places, backend_of(x))


_pack: Primitive = linear(
    "pack_rows",
    lambda xp, x, places, steps, batch: x.reshape(-1, 1, *x.shape[2:]).take(_there(places, x), 0),
    lambda g, places, steps, batch: bind(
        _unpack, [g], {"places": places, "steps": steps, "batch": batch}
    ),
)


_sort: Primitive = linear(
    "sort_rows",
    lambda xp, x, places, inverse: x.take(_there(places, x), 0),
    lambda g, places, inverse: bind(_sort, [g], {"places": inverse, "inverse": places}),
)


def _spread(xp: Any, x: Any, places: Any, steps: int, batch: int) -> Any:
    out = xp.zeros((steps * batch, *x.shape[2:]), x.dtype)
    out[_there(places, x)] = x[:, 0]
    return out.reshape(steps, batch, *x.shape[2:])


_unpack: Primitive = linear(
    "unpack_rows",
    _spread,
    lambda g, places, steps, batch: bind(
        _pack, [g], {"places": places, "steps": steps, "batch": batch}
    ),
)


def pack(x: Tensor, how: Ragged) -> Tensor:
    """(T, B, …) without its padding: (N, 1, …)."""
    params = {"places": how.places, "steps": x.shape[0], "batch": how.batch}
    found: Tensor = bind(_pack, [x], params)
    return found


def unpack(x: Tensor, how: Ragged) -> Tensor:
    """(N, 1, …) back to (T, B, …), with zeros beyond the lengths."""
    params = {"places": how.places, "steps": how.steps, "batch": how.batch}
    found: Tensor = bind(_unpack, [x], params)
    return found


def sort_rows(x: Tensor, how: Ragged, back: bool = False) -> Tensor:
    """(B, …) with its longest rows first, or back in the order of the batch."""
    places, inverse = (how.back, how.order) if back else (how.order, how.back)
    found: Tensor = bind(_sort, [x], {"places": places, "inverse": inverse})
    return found
