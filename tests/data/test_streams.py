"""Chunks of continuous streams and padded batches: what they hold, and exact resumption."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tinygrad_rnn.data import ContinuousBatches, LengthBatches, PaddedBatch, pad_sequence
from tinygrad_rnn.errors import ArgumentError, DataError, DTypeError, ShapeError

Array = NDArray[Any]


def streams_of(sequence: Array, batch_size: int) -> list[Array]:
    """By hand: B equal parts, each one symbol longer for its last target."""
    length = (len(sequence) - 1) // batch_size
    return [sequence[b * length : (b + 1) * length + 1] for b in range(batch_size)]


def forever(batches: Any) -> Iterator[tuple[Array, ...]]:
    while True:
        yield from batches


def assert_same(first: tuple[Array, ...], second: tuple[Array, ...]) -> None:
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, other)
        assert one.dtype == other.dtype


# -- continuous batches ----------------------------------------------------------------------


@given(st.integers(1, 5), st.integers(1, 6), st.integers(0, 40), st.booleans())
def test_chunks_joined_are_the_streams(B: int, T: int, extra: int, drop_last: bool) -> None:
    sequence = np.arange(B * T + 1 + extra)
    batches = ContinuousBatches(sequence, batch_size=B, steps=T, drop_last=drop_last)
    chunks = list(batches)
    assert len(chunks) == len(batches)
    assert all(inputs.shape == targets.shape for inputs, targets in chunks)
    assert all(len(inputs) == T for inputs, _ in chunks[: None if drop_last else -1])
    inputs = np.concatenate([chunk[0] for chunk in chunks])
    targets = np.concatenate([chunk[1] for chunk in chunks])
    kept = len(inputs)
    length = (len(sequence) - 1) // B
    assert kept == (length // T * T if drop_last else length)
    for b, stream in enumerate(streams_of(sequence, B)):
        assert inputs[:, b].tolist() == stream[:-1][:kept].tolist()
        assert targets[:, b].tolist() == stream[1:][:kept].tolist()


@given(st.integers(1, 4), st.integers(1, 5), st.integers(0, 30), st.integers(0, 40), st.booleans())
def test_stream_resumes_exactly(B: int, T: int, extra: int, done: int, drop_last: bool) -> None:
    def build() -> ContinuousBatches:
        return ContinuousBatches(
            np.arange(B * T + 1 + extra), batch_size=B, steps=T, drop_last=drop_last
        )

    first, second = build(), build()
    running = forever(first)
    for _ in islice(running, done):
        pass
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    for expected, got in islice(zip(running, forever(second), strict=True), 2 * len(first) + 1):
        assert_same(expected, got)
    assert (first.epoch, first.position) == (second.epoch, second.position)


def test_position_is_behind_the_chunk_in_hand_and_zero_after_an_epoch() -> None:
    batches = ContinuousBatches(np.arange(9), batch_size=2, steps=3)
    assert [batches.position for _ in batches] == [3, 4]
    assert (batches.epoch, batches.position) == (1, 0)
    assert len(list(batches)) == 2
    assert batches.epoch == 2


def test_leaving_the_loop_keeps_the_place() -> None:
    batches = ContinuousBatches(np.arange(10), batch_size=1, steps=3)
    next(iter(batches))
    assert next(iter(batches))[0].ravel().tolist() == [3, 4, 5]


def test_features_and_dtype_are_kept() -> None:
    sequence = np.arange(22, dtype=np.float32).reshape(11, 2)
    inputs, targets = next(iter(ContinuousBatches(sequence, batch_size=2, steps=5)))
    assert inputs.shape == targets.shape == (5, 2, 2)
    assert inputs.dtype == np.float32
    np.testing.assert_array_equal(inputs[:, 1], sequence[5:10])
    np.testing.assert_array_equal(targets[:, 1], sequence[6:11])


def test_batches_can_neither_change_the_text_nor_be_changed_by_it() -> None:
    sequence = np.arange(5)
    batches = ContinuousBatches(sequence, batch_size=1, steps=4)
    sequence[:] = 0
    inputs, targets = next(iter(batches))
    assert inputs.ravel().tolist() == [0, 1, 2, 3]
    for array in (inputs, targets):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 7


def test_short_text_is_told_how_long_it_must_be() -> None:
    ContinuousBatches(np.zeros(13), batch_size=3, steps=4)
    with pytest.raises(DataError) as caught:
        ContinuousBatches(np.zeros(12), batch_size=3, steps=4)
    assert "at least 3 * 4 + 1 = 13 symbols expected, got 12" in str(caught.value)
    assert "fewer streams" in str(caught.value)
    with pytest.raises(DataError, match="got 0"):
        ContinuousBatches([], batch_size=1, steps=1)


@pytest.mark.parametrize("name", ["batch_size", "steps"])
@pytest.mark.parametrize("value", [0, -1, 1.5, "2", None, True])
def test_stream_sizes_are_positive_whole_numbers(name: str, value: Any) -> None:
    sizes = {"batch_size": 1, "steps": 1, name: value}
    with pytest.raises(ArgumentError, match=f"{name}, a whole number >= 1, expected, got") as e:
        ContinuousBatches(np.arange(9), **sizes)
    assert repr(value) in str(e.value)


def test_stream_needs_numbers() -> None:
    with pytest.raises(DTypeError, match="a sequence of numbers expected, got <U"):
        ContinuousBatches(["a", "b"], batch_size=1, steps=1)
    with pytest.raises(ShapeError, match="got a single number"):
        ContinuousBatches(3, batch_size=1, steps=1)
    with pytest.raises(ShapeError, match="rows of unequal length"):
        ContinuousBatches([[1], [2, 3]], batch_size=1, steps=1)


# -- foreign states --------------------------------------------------------------------------


def stream_state(**changes: Any) -> dict[str, Any]:
    return {**ContinuousBatches(np.arange(9), batch_size=2, steps=2).state_dict(), **changes}


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ({}, "the entries"),
        (stream_state(extra=1), "the entries"),
        (stream_state(position=5), "position = 0 to 4 expected, got 5"),
        (stream_state(position=-1), "position = 0 to 4 expected, got -1"),
        (stream_state(position="1"), "position = 0 to 4 expected, got 1"),
        (stream_state(epoch=-1), "epoch = a whole number expected, got -1"),
        (stream_state(epoch=True), "epoch = a whole number expected, got True"),
        (stream_state(batch_size=4), "batch_size = 2 expected, got 4"),
        (stream_state(length=5), "length = 4 expected, got 5"),
        (stream_state(checksum=0), "checksum = "),
    ],
)
def test_foreign_place_is_refused_and_changes_nothing(state: dict[str, Any], words: str) -> None:
    batches = ContinuousBatches(np.arange(9), batch_size=2, steps=2)
    next(iter(batches))
    before = batches.state_dict()
    with pytest.raises(DataError, match=words) as caught:
        batches.load_state_dict(state)
    assert "ContinuousBatches.load_state_dict" in str(caught.value)
    assert batches.state_dict() == before


def test_place_in_another_text_is_refused() -> None:
    other = ContinuousBatches(np.arange(9) + 1, batch_size=2, steps=2).state_dict()
    with pytest.raises(DataError, match="checksum") as caught:
        ContinuousBatches(np.arange(9), batch_size=2, steps=2).load_state_dict(other)
    assert "the data and the settings" in str(caught.value)


def test_chunks_of_another_length_resume_at_the_same_step() -> None:
    first = ContinuousBatches(np.arange(20), batch_size=1, steps=4)
    next(iter(first))
    second = ContinuousBatches(np.arange(20), batch_size=1, steps=6)
    second.load_state_dict(first.state_dict())
    assert next(iter(second))[0].ravel().tolist() == [4, 5, 6, 7, 8, 9]


# -- padded batches --------------------------------------------------------------------------

LENGTHS = st.lists(st.integers(1, 9), min_size=1, max_size=30)


def ragged(lengths: list[int]) -> list[Array]:
    """Sequence k counts upward from 100 k + 1, so that no value is the padding."""
    return [100 * k + 1 + np.arange(length) for k, length in enumerate(lengths)]


@given(LENGTHS, st.integers(1, 7), st.integers(1, 4), st.booleans())
def test_an_epoch_holds_every_sequence_once(
    lengths: list[int], batch_size: int, pool: int, shuffle: bool
) -> None:
    sequences = ragged(lengths)
    batches = LengthBatches(sequences, batch_size=batch_size, pool=pool, shuffle=shuffle)
    for _ in range(2):
        found: list[int] = []
        sizes = []
        for inputs, steps, indices in batches:
            assert inputs.shape == (steps.max(), len(indices))
            for column, index in enumerate(indices):
                assert inputs[: steps[column], column].tolist() == sequences[index].tolist()
                assert not inputs[steps[column] :, column].any()
            found += indices.tolist()
            sizes.append(len(indices))
        assert sorted(found) == list(range(len(lengths)))
        assert len(sizes) == len(batches)
        assert sorted(sizes)[1:] == [batch_size] * (len(sizes) - 1)
        if not shuffle:
            assert found == sorted(found)


@given(LENGTHS, st.integers(1, 7), st.integers(0, 40), st.booleans())
def test_padded_batches_resume_exactly(
    lengths: list[int], batch_size: int, done: int, shuffle: bool
) -> None:
    def build() -> LengthBatches:
        return LengthBatches(
            ragged(lengths), batch_size=batch_size, pool=2, shuffle=shuffle, seed=3
        )

    first, second = build(), build()
    running = forever(first)
    for _ in islice(running, done):
        pass
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    for expected, got in islice(zip(running, forever(second), strict=True), 2 * len(first) + 1):
        assert_same(expected, got)


def test_sorting_in_pools_saves_padding(rng: np.random.Generator) -> None:
    sequences = [np.ones(length) for length in rng.integers(1, 100, 640)]

    def padding(pool: int) -> int:
        batches = LengthBatches(sequences, batch_size=16, pool=pool)
        return sum(inputs.size - int(lengths.sum()) for inputs, lengths, _ in batches)

    assert padding(40) < padding(8) < padding(1)
    assert padding(40) < 0.1 * padding(1)


def test_order_depends_on_seed_and_epoch_alone() -> None:
    def order(batches: LengthBatches) -> list[int]:
        return [int(index) for batch in batches for index in batch.indices]

    sequences = ragged([3] * 40)
    first = LengthBatches(sequences, batch_size=4, seed=1)
    second = LengthBatches(sequences, batch_size=4, seed=1)
    epochs = [order(first), order(first)]
    assert epochs == [order(second), order(second)]
    assert epochs[0] != epochs[1]
    assert epochs[0] != order(LengthBatches(sequences, batch_size=4, seed=2))


def test_batches_are_not_yielded_in_order_of_length() -> None:
    batches = LengthBatches(ragged(list(range(1, 65))), batch_size=4, pool=16)
    longest = [batch.lengths.max() for batch in batches]
    assert longest != sorted(longest)


def test_drop_last_leaves_out_the_short_batch() -> None:
    for shuffle in (False, True):
        batches = LengthBatches(ragged([1] * 7), batch_size=3, drop_last=True, shuffle=shuffle)
        assert [len(batch.indices) for batch in batches] == [3, 3]
    with pytest.raises(DataError, match="at least 3 sequences expected, got 2 with drop_last"):
        LengthBatches(ragged([1, 1]), batch_size=3, drop_last=True)


def test_features_padding_value_and_mixed_dtypes() -> None:
    sequences = [np.ones((2, 3), np.float32), np.zeros((1, 3), np.float64)]
    batch = next(iter(LengthBatches(sequences, batch_size=2, shuffle=False, padding_value=-1)))
    assert isinstance(batch, PaddedBatch)
    assert batch.inputs.shape == (2, 2, 3)
    assert batch.inputs.dtype == np.float64
    assert batch.inputs[1, 1].tolist() == [-1, -1, -1]
    assert batch.lengths.dtype == batch.indices.dtype == np.int64


@given(LENGTHS, st.integers(-3, 0))
def test_pad_sequence_keeps_every_value_and_pads_the_rest(lengths: list[int], padding: int) -> None:
    sequences = ragged(lengths)
    padded = pad_sequence(sequences, padding)
    assert padded.shape == (max(lengths), len(lengths))
    for column, sequence in enumerate(sequences):
        expected = sequence.tolist() + [padding] * (max(lengths) - len(sequence))
        assert padded[:, column].tolist() == expected


@pytest.mark.parametrize("name", ["batch_size", "pool"])
def test_batch_sizes_are_positive(name: str) -> None:
    with pytest.raises(ArgumentError, match=f"{name}, a whole number >= 1, expected, got 0"):
        LengthBatches([[1]], **{"batch_size": 1, name: 0})
    with pytest.raises(ArgumentError, match="seed, a whole number >= 0, expected, got -1"):
        LengthBatches([[1]], batch_size=1, seed=-1)


@pytest.mark.parametrize(
    ("sequences", "error", "words"),
    [
        ([], DataError, "at least one sequence expected, got none"),
        ([[1], []], DataError, "length >= 1 expected, got an empty one at index 1"),
        ([np.ones((1, 2)), np.ones((1, 3))], ShapeError, r"\(1, 3\) at index 1"),
        ([np.ones((1, 2)), np.ones(2)], ShapeError, r"\(2,\) at index 1"),
        ([["a"]], DTypeError, "sequence 0 of numbers"),
        ([[1], 2], ShapeError, "sequence 1 with an axis of time expected, got a single number"),
    ],
)
def test_unfit_sequences_are_refused(sequences: Any, error: type[Exception], words: str) -> None:
    for build in (pad_sequence, lambda given: LengthBatches(given, batch_size=1)):
        with pytest.raises(error, match=words):
            build(sequences)


@pytest.mark.parametrize(
    ("dtype", "padding"), [(np.int64, 0.5), (np.uint8, -1), (np.uint8, 256), (int, np.nan)]
)
def test_padding_that_the_dtype_cannot_hold_is_refused(dtype: Any, padding: float) -> None:
    sequences = [np.ones(2, dtype), np.ones(1, dtype)]
    with pytest.raises(ArgumentError, match=f"can hold expected, got {padding}"):
        pad_sequence(sequences, padding)
    with pytest.raises(ArgumentError, match=f"can hold expected, got {padding}"):
        LengthBatches(sequences, batch_size=1, padding_value=padding)


def test_padding_may_be_nan_or_rounded_among_floats() -> None:
    padded = pad_sequence([np.ones(2, np.float32), np.ones(1, np.float32)], np.nan)
    assert np.isnan(padded[1, 1])
    assert pad_sequence([np.ones(2, np.float32), np.ones(1)], 0.1)[1, 1] == 0.1


def test_place_among_other_sequences_is_refused() -> None:
    state = LengthBatches([[1, 2], [3]], batch_size=1).state_dict()
    for other in ([[1], [2, 3]], [[1, 2], [4]]):
        with pytest.raises(DataError, match="checksum"):
            LengthBatches(other, batch_size=1).load_state_dict(state)
    with pytest.raises(DataError, match="seed = 1 expected, got 0"):
        LengthBatches([[1, 2], [3]], batch_size=1, seed=1).load_state_dict(state)
