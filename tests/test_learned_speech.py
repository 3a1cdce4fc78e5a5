"""The speech task of "What it learns", tiny, on recordings that were made up."""

from __future__ import annotations

import tarfile
from pathlib import Path

import numpy as np
import pytest

import tinygrad_rnn as tg
from benchmarks.tasks import speech
from tinygrad_rnn.data import audio
from tinygrad_rnn.data.tasks import SpokenDigits, read_spoken_digits, recorded_speakers


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An archive of two made-up speakers, with two takes of each digit, where the task looks."""
    rng = np.random.default_rng(0)
    for name in ("ann", "bob"):
        voice = audio.random_voice(rng)
        for digit in range(10):
            for take in range(2):
                samples = audio.speak_digit(digit, voice, rng)
                audio.write_wav(tmp_path / f"{digit}_{name}_{take}.wav", samples, 8000)
    path = tmp_path / speech.ARCHIVE
    path.parent.mkdir()
    with tarfile.open(path, "w:xz", preset=0) as archive:
        for file in sorted(tmp_path.glob("*.wav")):
            archive.add(file, f"recordings/{file.name}")
    monkeypatch.setenv("TINYGRAD_RNN_DATA", str(tmp_path))
    return path


def test_every_figure_comes_out(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    figures = [speech.run(seed, quick=True) for seed in (0, 1)]
    for row in figures:
        assert next(iter(row)) == "beam" and {"best path", "word HMMs"} < row.keys()
        assert all(np.isfinite(value) and value >= 0 for value in row.values())
    said = capsys.readouterr().out
    assert "ann is held out" in said and "bob is held out" in said


def test_word_models_know_the_voices_they_were_made_of(data: Path) -> None:
    recordings = read_spoken_digits(data)
    task = SpokenDigits(3, 5, recorded_speakers(recordings))
    said = [task.utterance(np.random.default_rng(n)) for n in range(10)]
    assert speech.error_of_words(speech.word_models(recordings, 2), said) < 0.1


def test_a_string_is_heard_the_same_beside_longer_ones() -> None:
    tg.manual_seed(0)
    task = SpokenDigits(1, 5)
    batch = task.draw(np.random.default_rng(0), 4)
    network = speech.Network(task.input_size, 4).eval()
    together = network(batch.inputs, batch.lengths).detach().numpy()
    assert together.shape == (batch.lengths.max(), 4, 11)
    for row, length in enumerate(batch.lengths):
        alone = network(batch.inputs[:length, row : row + 1], [length]).detach().numpy()
        np.testing.assert_allclose(together[:length, row], alone[:, 0], atol=1e-5)


def test_met_is_the_mean_of_all_speakers() -> None:
    good, bad = {"beam": 0.05, "best path": 0.06}, {"beam": 0.2, "best path": 0.2}
    assert speech.met([good, good, {**good, "beam": 0.15, "best path": 0.2}])
    assert not speech.met([good, bad, bad])
    assert not speech.met([{"beam": 0.05, "best path": 0.04}])
