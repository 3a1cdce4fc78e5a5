"""Batches that know their place: long streams in chunks, and sequences of unequal length.

Legend: N length of the whole, T time steps, B batch; arrays are time-major ``(T, B, ...)``.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tinygrad_rnn.errors import ArgumentError, DataError, ShapeError

from ..arguments import numeric_array, several, whole_number

__all__ = ["ContinuousBatches", "LengthBatches", "PaddedBatch", "pad_sequence"]

Array = NDArray[Any]
IntArray = NDArray[np.int64]


class _Resumable:
    """A place in a data set: ``epoch``, and ``position`` in it, from 0 to ``_end``.

    ``_identity`` names what must be equal for a stored place to mean the same data.
    """

    def __init__(self, end: int, identity: dict[str, int]) -> None:
        self.epoch = 0
        self.position = 0
        self._end = end
        self._identity = identity

    def state_dict(self) -> dict[str, int]:
        """The place, and what identifies the data, as plain integers.

        Taken inside the loop, it means "behind the batch just yielded".
        """
        return {"epoch": self.epoch, "position": self.position, **self._identity}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Go to a stored place; iteration then yields what it would have yielded there.

        Raises:
            DataError: the place belongs to other data or to other settings.
        """
        called = f"{type(self).__name__}.load_state_dict"
        expected = {"epoch": "a whole number", "position": f"0 to {self._end}", **self._identity}
        if state.keys() != expected.keys():
            raise DataError(called, f"the entries {sorted(expected)}", sorted(state))
        for name, value in state.items():
            if not self._accepts(name, value):
                hint = "resume with the data and the settings of the stored run"
                raise DataError(called, f"{name} = {expected[name]}", value, hint)
        self.epoch, self.position = int(state["epoch"]), int(state["position"])

    def _accepts(self, name: str, value: object) -> bool:
        if not isinstance(value, (int, np.integer)) or isinstance(value, bool):
            return False
        if name in self._identity:
            return int(value) == self._identity[name]
        return bool(0 <= value <= self._end) if name == "position" else bool(value >= 0)

    def _advance(self, stride: int) -> Iterator[int]:
        """Yield the starts that remain in this epoch; after the last, begin the next epoch."""
        while self.position < self._end:
            start = self.position
            # Moved first, so that a state stored in the loop's body resumes behind this batch.
            self.position = min(start + stride, self._end)
            yield start
        self.position, self.epoch = 0, self.epoch + 1


class ContinuousBatches(_Resumable):
    """Chunks of B parallel streams of one long sequence, for truncated BPTT.

    Stream b is the b-th of B equal parts of ``sequence``, shape ``(N,)`` or ``(N, ...)``.
    Iterating yields ``(inputs, targets)``, both ``(T, B, ...)`` and read-only: consecutive
    chunks of every stream, so the state that ends one chunk starts the next, and the same one
    step ahead. An epoch's last chunk is shorter where T does not divide, or left out with
    ``drop_last``. Iteration starts at ``position``; at 0 the carried state is to be reset.

    Raises:
        ArgumentError: ``batch_size`` or ``steps`` is not a positive whole number.
        DataError: the sequence is too short for one full chunk, B T + 1 symbols.

    >>> for inputs, targets in ContinuousBatches(np.arange(9), batch_size=2, steps=3):
    ...     print(inputs.T.tolist(), targets.T.tolist())
    [[0, 1, 2], [4, 5, 6]] [[1, 2, 3], [5, 6, 7]]
    [[3], [7]] [[4], [8]]
    """

    def __init__(
        self, sequence: ArrayLike, *, batch_size: int, steps: int, drop_last: bool = False
    ) -> None:
        called = type(self).__name__
        array = numeric_array(called, "a sequence", sequence)
        self.batch_size = whole_number(called, "batch_size", batch_size)
        self.steps = whole_number(called, "steps", steps)
        length = (len(array) - 1) // self.batch_size
        if length < self.steps:
            least = f"at least {batch_size} * {steps} + 1 = {batch_size * steps + 1} symbols"
            raise DataError(called, least, len(array), "choose fewer streams or fewer steps")
        self._inputs = _parallel(array[:-1], self.batch_size, length)
        self._targets = _parallel(array[1:], self.batch_size, length)
        identity = {"length": length, "batch_size": self.batch_size, "checksum": _checksum(array)}
        super().__init__(length - length % self.steps if drop_last else length, identity)

    def __len__(self) -> int:
        """The number of chunks in a whole epoch."""
        return (self._end + self.steps - 1) // self.steps

    def __iter__(self) -> Iterator[tuple[Array, Array]]:
        for start in self._advance(self.steps):
            chunk = slice(start, min(start + self.steps, self._end))
            yield self._inputs[chunk], self._targets[chunk]


def _parallel(array: Array, batch_size: int, length: int) -> Array:
    """``(N, ...)`` as ``(length, batch_size, ...)``; a read-only copy, so no batch can spoil it."""
    parts = array[: batch_size * length].reshape(batch_size, length, *array.shape[1:])
    streams = parts.swapaxes(0, 1).copy()
    streams.setflags(write=False)
    return streams


class PaddedBatch(NamedTuple):
    """Sequences side by side: ``inputs`` (T, B, ...), ``lengths`` (B,), ``indices`` (B,)."""

    inputs: Array
    lengths: IntArray
    indices: IntArray


class LengthBatches(_Resumable):
    """Shuffled, padded batches of sequences of unequal length.

    Each epoch shuffles the sequences anew from ``seed``, sorts them by length within pools of
    ``pool`` batches, which keeps the padding small, and shuffles the batches. ``pool=1`` sorts
    nothing across batches. ``shuffle=False`` keeps the given order. Iterating yields
    ``PaddedBatch``; its ``indices`` say which sequences it holds, to pick their targets.

    Raises:
        ArgumentError: an option outside its range.
        DataError, ShapeError, DTypeError: no sequences, an empty one, or unequal features.

    >>> batches = LengthBatches([[1], [2, 3], [4, 5, 6]], batch_size=2, shuffle=False)
    >>> for inputs, lengths, indices in batches:
    ...     print(inputs.T.tolist(), lengths, indices)
    [[1, 0], [2, 3]] [1 2] [0 1]
    [[4, 5, 6]] [3] [2]
    """

    def __init__(
        self,
        sequences: Sequence[ArrayLike],
        *,
        batch_size: int,
        seed: int = 0,
        shuffle: bool = True,
        pool: int = 16,
        padding_value: float = 0,
        drop_last: bool = False,
    ) -> None:
        called = type(self).__name__
        self._arrays = _sequences(called, sequences)
        self.batch_size = whole_number(called, "batch_size", batch_size)
        self.seed = whole_number(called, "seed", seed, least=0)
        self.pool = whole_number(called, "pool", pool)
        _check_padding(called, self._arrays, padding_value)
        self.shuffle, self.padding_value = bool(shuffle), padding_value
        self.lengths = np.array([len(array) for array in self._arrays], dtype=np.int64)
        whole, rest = divmod(len(self._arrays), self.batch_size)
        super().__init__(whole + (rest > 0 and not drop_last), self._settings())
        if self._end == 0:
            got = f"{rest} with drop_last"
            raise DataError(called, f"at least {batch_size} sequences", got)

    def _settings(self) -> dict[str, int]:
        return {
            "batch_size": self.batch_size,
            "seed": self.seed,
            "pool": self.pool,
            "shuffle": int(self.shuffle),
            "checksum": _checksum(self.lengths, *self._arrays),
        }

    def __len__(self) -> int:
        """The number of batches in a whole epoch."""
        return self._end

    def __iter__(self) -> Iterator[PaddedBatch]:
        plan = self._plan()
        for number in self._advance(1):
            indices = plan[number]
            chosen = [self._arrays[index] for index in indices]
            yield PaddedBatch(_pad(chosen, self.padding_value), self.lengths[indices], indices)

    def _plan(self) -> list[IntArray]:
        """The batches of this epoch; it depends on seed and epoch alone, so it needs no state."""
        indices = np.arange(len(self._arrays))
        if not self.shuffle:
            return _cut(indices, self.batch_size)[: self._end]
        generator = np.random.default_rng([self.seed, self.epoch])
        pools = _cut(generator.permutation(indices), self.batch_size * self.pool)
        ordered = np.concatenate([self._by_length(part) for part in pools])
        batches = _cut(ordered, self.batch_size)[: self._end]
        return [batches[number] for number in generator.permutation(len(batches))]

    def _by_length(self, indices: IntArray) -> IntArray:
        return indices[np.argsort(self.lengths[indices], kind="stable")]


def pad_sequence(sequences: Sequence[ArrayLike], padding_value: float = 0) -> Array:
    """Put sequences ``(T_b, ...)`` side by side as ``(T, B, ...)``, T being the longest.

    Raises:
        DataError, ShapeError, DTypeError: no sequences, an empty one, or unequal features.

    >>> pad_sequence([[1, 2, 3], [4]], padding_value=-1).tolist()
    [[1, 4], [2, -1], [3, -1]]
    """
    arrays = _sequences("pad_sequence", sequences)
    _check_padding("pad_sequence", arrays, padding_value)
    return _pad(arrays, padding_value)


def _check_padding(called: str, arrays: list[Array], padding_value: float) -> None:
    dtype = _common_dtype(arrays)
    with np.errstate(invalid="ignore"):
        kept = dtype.kind == "f" or np.array(padding_value).astype(dtype) == padding_value
    if not kept:
        raise ArgumentError(called, f"a padding_value that {dtype} can hold", padding_value)


def _common_dtype(arrays: list[Array]) -> np.dtype[Any]:
    return np.result_type(*{array.dtype for array in arrays})


def _pad(arrays: list[Array], padding_value: float) -> Array:
    steps = max(len(array) for array in arrays)
    shape = steps, len(arrays), *arrays[0].shape[1:]
    padded = np.full(shape, padding_value, dtype=_common_dtype(arrays))
    for column, array in enumerate(arrays):
        padded[: len(array), column] = array
    return padded


def _sequences(called: str, sequences: Sequence[ArrayLike]) -> list[Array]:
    arrays = [
        numeric_array(called, f"sequence {index}", sequence)
        for index, sequence in enumerate(several(called, "sequences", sequences))
    ]
    if not arrays:
        raise DataError(called, "at least one sequence", "none")
    for index, array in enumerate(arrays):
        if len(array) == 0:
            raise DataError(called, "sequences of length >= 1", f"an empty one at index {index}")
        if array.shape[1:] != arrays[0].shape[1:]:
            got = f"{array.shape} at index {index}"
            raise ShapeError(called, f"sequences of shape (T, *{arrays[0].shape[1:]})", got)
    return arrays


def _cut(indices: IntArray, size: int) -> list[IntArray]:
    return [indices[start : start + size] for start in range(0, len(indices), size)]


def _checksum(*arrays: Array) -> int:
    checksum = 0
    for array in arrays:
        checksum = zlib.crc32(array.tobytes(), checksum)
    return checksum
