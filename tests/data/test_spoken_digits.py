"""Strings of spoken digits, and the recordings that they can be made of."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tinygrad_rnn.data import audio
from tinygrad_rnn.data.tasks import SpokenDigits, read_spoken_digits, recorded_speakers
from tinygrad_rnn.errors import ArgumentError, DataError, ShapeError


def ramps() -> dict[str, list[list[np.ndarray]]]:
    """Two speakers whose digit d is a tone of 300 (d + 1) Hz; the second speaks an octave lower."""
    times = np.arange(1600) / 8000
    return {
        name: [[np.sin(2 * np.pi * f * (d + 1) * times)] * 2 for d in range(10)]
        for name, f in (("a", 300), ("b", 150))
    }


def test_strings_have_as_many_digits_as_asked_and_steps_as_said() -> None:
    batch = SpokenDigits(least=2, most=4).draw(np.random.default_rng(0), 12)
    steps, rows, size = batch.inputs.shape
    counts = (batch.targets > 0).sum(axis=1)
    assert (rows, size) == (12, 120) and batch.inputs.dtype == np.float32
    assert set(counts) == {2, 3, 4} and batch.lengths is not None
    assert batch.lengths.max() == steps and len(set(batch.lengths)) > 3
    for row, (count, length) in enumerate(zip(counts, batch.lengths, strict=True)):
        assert (batch.targets[row, :count] > 0).all() and (batch.targets[row, count:] == 0).all()
        np.testing.assert_array_equal(batch.inputs[length:, row], 0)
        assert length > 3 * count  # CTC needs a step for each digit, and one between equal ones


def test_features_are_normalised_for_each_string() -> None:
    task = SpokenDigits(1, 2, stack=1)
    samples, _ = task.utterance(np.random.default_rng(0))
    steps = task.steps_of(samples)
    np.testing.assert_allclose(steps.mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(steps.std(axis=0), 1, atol=1e-3)
    loud, louder = task.steps_of(30 * samples), task.steps_of(90 * samples)  # far from the floor
    np.testing.assert_allclose(louder, loud, atol=1e-3)


def test_stacked_frames_are_side_by_side() -> None:
    samples, _ = SpokenDigits(1, 1).utterance(np.random.default_rng(0))
    one, three = SpokenDigits(stack=1).steps_of(samples), SpokenDigits(stack=3).steps_of(samples)
    np.testing.assert_array_equal(three.reshape(-1, 40), one[: 3 * len(three)])


def test_a_stream_is_infinite_and_seeded() -> None:
    task = SpokenDigits(1, 2, augment=True)
    first, again = ([next(stream) for _ in range(2)] for stream in (task.stream(2), task.stream(2)))
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a.inputs, b.inputs)
    assert first[0].inputs.shape != first[1].inputs.shape
    other = next(task.stream(2, seed=1))
    assert other.inputs.shape != first[0].inputs.shape


def test_augmentation_changes_what_is_heard_and_not_what_is_said() -> None:
    plain, changed = (
        SpokenDigits(2, 2, recorded_speakers(ramps()), augment=augment) for augment in (False, True)
    )
    here, there = (task.draw(np.random.default_rng(3), 4) for task in (plain, changed))
    np.testing.assert_array_equal(here.targets[0], there.targets[0])
    assert here.inputs.shape != there.inputs.shape


def test_noise_is_around_digits_and_not_in_pauses() -> None:
    """Of silent digits only what was added is heard; in the pauses it is what it always is."""
    silent = {"a": [[np.r_[np.ones(800), np.zeros(7200)]] * 2 for _ in range(10)]}
    louder = []
    for seed in range(20):
        task = SpokenDigits(1, 1, recorded_speakers(silent), (0.5, 0.5), augment=True)
        samples, _ = task.utterance(np.random.default_rng(seed))
        pause, quiet = samples[1000:3000].std(), samples[5500:7500].std()
        louder.append(quiet > 1.2 * pause)
    assert 5 < sum(louder) < 20


def test_a_string_is_of_one_speaker_and_of_the_right_takes() -> None:
    """Each digit of the toy recordings is a tone of whole periods, so no tone leaks into others."""
    task, rng = SpokenDigits(3, 5, recorded_speakers(ramps())), np.random.default_rng(0)
    heard = set()
    for _ in range(30):
        samples, digits = task.utterance(rng)
        if len(set(digits)) < len(digits):
            continue  # a tone that comes twice may cancel itself
        cycles = np.outer(150 * np.arange(1, 21), np.arange(len(samples))) / 8000
        turns = np.exp(-2j * np.pi * cycles)
        loudness = np.abs(turns @ samples)
        tones = set((np.flatnonzero(loudness > 0.5 * loudness.max()) + 1).tolist())
        octave = 2 if tones == {2 * (digit + 1) for digit in digits} else 1
        assert tones == {octave * (digit + 1) for digit in digits}
        heard.add(octave)
    assert heard == {1, 2}


def test_wrong_counts_strings_that_are_not_all_right() -> None:
    task = SpokenDigits(2, 2)
    batch = task.draw(np.random.default_rng(0), 3)
    right = [tuple(row) for row in batch.targets.tolist()]
    assert task.wrong(right, batch).tolist() == [False] * 3
    assert task.wrong([right[0], right[1][:1], (*right[2], 1)], batch).tolist() == [
        False, True, True,
    ]  # fmt: skip
    with pytest.raises(ShapeError, match="3 rows"):
        task.wrong(right[:2], batch)


BAD: dict[str, tuple[Callable[[], object], type[Exception], str]] = {
    "least": (lambda: SpokenDigits(0), ArgumentError, "least"),
    "most": (lambda: SpokenDigits(4, 3), ArgumentError, "most >= 4"),
    "stack": (lambda: SpokenDigits(stack=0), ArgumentError, "stack"),
    "no speakers": (lambda: recorded_speakers({}), DataError, "speaker"),
    "nine digits": (lambda: recorded_speakers({"a": [[[0.1]]] * 9}), DataError, "from 'a'"),
    "no take": (lambda: recorded_speakers({"a": [[[0.1]]] * 9 + [[]]}), DataError, "from 'a'"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_mistake_of_the_task_is_named(name: str) -> None:
    call, error, words = BAD[name]
    with pytest.raises(error, match=words):
        call()


# -------------------------------------------------------------------------------- recordings
@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two takes of two digits of one speaker, in folders below each other."""
    for digit, take in ((0, 0), (0, 1), (7, 0)):
        below = tmp_path / "recordings" / str(take)
        below.mkdir(parents=True, exist_ok=True)
        audio.write_wav(below / f"{digit}_ann_{take}.wav", [digit / 10, take / 2, 0.5], 8000)
    (tmp_path / "recordings" / "README.txt").write_text("no sound")
    return tmp_path / "recordings"


@pytest.fixture
def archive(folder: Path, tmp_path: Path) -> Path:
    with tarfile.open(tmp_path / "all.tar.gz", "w:gz") as target:
        target.add(folder, "all")
    return tmp_path / "all.tar.gz"


@pytest.mark.parametrize("where", ["folder", "archive"])
def test_recordings_are_found_by_speaker_and_digit(
    where: str, request: pytest.FixtureRequest
) -> None:
    found = read_spoken_digits(request.getfixturevalue(where))
    assert list(found) == ["ann"]
    assert [len(takes) for takes in found["ann"]] == [2, 0, 0, 0, 0, 0, 0, 1, 0, 0]
    np.testing.assert_allclose(found["ann"][0][1], [0, 0.5, 0.5])
    np.testing.assert_allclose(found["ann"][7][0], [0.7, 0, 0.5], atol=1e-4)


def test_a_damaged_archive_is_named(archive: Path) -> None:
    data = archive.read_bytes()
    for damaged in (data[: len(data) // 2], b"not an archive", data[:40] + b"????" + data[44:]):
        archive.write_bytes(damaged)
        with pytest.raises(DataError, match=r"tar archive expected, got .*all\.tar\.gz"):
            audio.read_sounds(archive)


def test_a_damaged_member_is_named(tmp_path: Path) -> None:
    path = tmp_path / "some.tar"
    with tarfile.open(path, "w") as target:
        item = tarfile.TarInfo("0_ann_0.wav")
        item.size = 9
        target.addfile(item, io.BytesIO(b"RIFF?????"))
    with pytest.raises(DataError, match=r"0_ann_0\.wav of .*some\.tar"):
        audio.read_sounds(path)


def test_what_is_not_a_recording_of_a_digit_is_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"end in \.wav expected, got none"):
        audio.read_sounds(_empty(tmp_path))
    with pytest.raises(DataError, match="no such file"):
        audio.read_sounds(tmp_path / "absent")
    audio.write_wav(folder / "1_ann_0.wav", [0.1], 16000)
    with pytest.raises(DataError, match="8000 Hz expected, got 16000 Hz"):
        read_spoken_digits(folder)
    audio.write_wav(folder / "1_ann_0.wav", [[0.1, 0.1]], 8000)
    with pytest.raises(DataError, match="one channel"):
        read_spoken_digits(folder)
    (folder / "1_ann_0.wav").rename(folder / "hello.wav")
    with pytest.raises(DataError, match=r"digit_speaker_take\.wav expected, got hello\.wav"):
        read_spoken_digits(folder)


def test_one_name_twice_is_refused(folder: Path) -> None:
    audio.write_wav(folder / "0_ann_0.wav", [0.1], 8000)
    with pytest.raises(DataError, match="0_ann_0 twice"):
        audio.read_sounds(folder)


def _empty(folder: Path) -> Path:
    (folder / "empty").mkdir()
    return folder / "empty"
