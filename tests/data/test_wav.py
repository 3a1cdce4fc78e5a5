"""WAV files: every width and header is read, damage is named, and what is written comes back."""

from __future__ import annotations

import io
import struct
import wave
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_rnn.data import audio
from tinygrad_rnn.errors import ArgumentError, DataError, ShapeError

RATE = 8000


def pcm(values: list[int], width: int, channels: int = 1, rate: int = RATE) -> bytes:
    """The bytes of a WAV file with these whole numbers."""
    raw = b"".join(
        (v + 128 if width == 1 else v).to_bytes(width, "little", signed=width > 1) for v in values
    )
    target = io.BytesIO()
    with wave.open(target, "wb") as file:
        file.setparams((channels, width, rate, 0, "NONE", ""))
        file.writeframes(raw)
    return target.getvalue()


@pytest.mark.parametrize("width", [1, 2, 3, 4])
def test_every_width_has_one_scale(width: int) -> None:
    half = 1 << (8 * width - 2)
    values = [0, half, -half, -2 * half, 2 * half - 1, 1]
    samples, rate = audio.decode_wav(pcm(values, width, rate=11025))
    assert samples.dtype == np.float32 and rate == 11025
    np.testing.assert_array_equal(samples[:4], [0, 0.5, -0.5, -1])
    assert samples[4] == np.float32((2 * half - 1) / (2 * half))
    assert samples[5] == np.float32(1 / (2 * half))


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_channels_stand_side_by_side(channels: int) -> None:
    samples = audio.decode_wav(pcm(list(range(6)), 2, channels)).samples
    expected = np.arange(6) / 2**15
    np.testing.assert_array_equal(samples, expected if channels == 1 else expected.reshape(-1, 3)
                                  if channels == 3 else expected.reshape(-1, 2))  # fmt: skip


@given(st.lists(st.integers(-(2**15), 2**15 - 1), min_size=1, max_size=50), st.integers(1, 2))
def test_what_is_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, values: list[int], channels: int
) -> None:
    path = tmp_path_factory.mktemp("sound") / "a.wav"
    samples = np.tile(np.array(values, np.float32) / 2**15, (channels, 1)).T
    samples = samples[:, 0] if channels == 1 else samples
    audio.write_wav(path, samples, 16000)
    found = audio.read_wav(path)
    assert found.rate == 16000
    np.testing.assert_array_equal(found.samples, samples)


@pytest.mark.parametrize("before", [b"", b"LIST" + struct.pack("<I", 3) + b"odd\0"])
@pytest.mark.parametrize(("kind", "right"), [(1, True), (3, False)])
def test_an_extensible_header_of_linear_pcm_is_read(kind: int, right: bool, before: bytes) -> None:
    guid = struct.pack("<H", kind) + bytes.fromhex("000000001000800000aa00389b71")
    form = struct.pack("<HHIIHHHHI", 0xFFFE, 1, 8000, 16000, 2, 16, 22, 16, 4) + guid
    chunks = before + b"fmt " + struct.pack("<I", len(form)) + form
    chunks += b"data" + struct.pack("<Ihh", 4, 2**14, -(2**15))
    data = b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks
    if right:
        assert audio.decode_wav(data).samples.tolist() == [0.5, -1.0]
    else:  # floating-point numbers
        with pytest.raises(DataError, match="linear PCM"):
            audio.decode_wav(data)


def test_the_loudest_does_not_wrap(tmp_path: Path) -> None:
    audio.write_wav(tmp_path / "a.wav", [1.0, -1.0], RATE)
    np.testing.assert_array_equal(audio.read_wav(tmp_path / "a.wav").samples, [32767 / 32768, -1])


def floating() -> bytes:
    header = struct.pack("<4sI4s4sIHHIIHH4sI", b"RIFF", 44, b"WAVE", b"fmt ", 16, 3, 1, RATE,
                         4 * RATE, 4, 32, b"data", 8)  # fmt: skip
    return header + struct.pack("<ff", 0.0, 0.5)


BROKEN: dict[str, Callable[[], bytes]] = {
    "empty file": lambda: b"",
    "not a WAV": lambda: b"ID3" + bytes(100),
    "text": lambda: b"RIFF says the guitar, and so on for a while",
    "header cut off": lambda: pcm([1, 2, 3], 2)[:30],
    "samples cut off": lambda: pcm(list(range(100)), 2)[:-50],
    "half a sample": lambda: pcm(list(range(100)), 2)[:-1],
    "no samples": lambda: pcm([], 2),
    "floating point": floating,
    "no channels": lambda: pcm([1], 2)[:22] + b"\0\0" + pcm([1], 2)[24:],
    "no rate": lambda: pcm([1], 2)[:24] + bytes(4) + pcm([1], 2)[28:],
    "five bytes": lambda: pcm([1] * 5, 2)[:32] + b"\5\0\50\0" + pcm([1] * 5, 2)[36:],
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_is_named(name: str, tmp_path: Path) -> None:
    path = tmp_path / "broken.wav"
    path.write_bytes(BROKEN[name]())
    with pytest.raises(DataError, match=r"read_wav: .*expected, got .*broken\.wav"):
        audio.read_wav(path)


@given(st.binary(max_size=80), st.integers(0, 60), st.integers(0, 255))
def test_damage_is_a_data_error_or_a_sound(tail: bytes, place: int, value: int) -> None:
    data = bytearray(pcm(list(range(8)), 2))
    data[place % len(data)] = value
    for damaged in (bytes(data), bytes(data[:place]), bytes(data[:place]) + tail):
        try:
            samples = audio.decode_wav(damaged).samples
        except DataError:
            continue
        assert np.isfinite(samples).all() and np.abs(samples).max() <= 1


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        audio.read_wav(tmp_path / "absent.wav")
    with pytest.raises(DataError, match="a directory"):
        audio.read_wav(tmp_path)


def test_what_cannot_be_written_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    with pytest.raises(DataError, match=r"samples in \[-1, 1\] expected, got 1.5"):
        audio.write_wav(path, [0.0, 1.5], RATE)
    with pytest.raises(DataError, match="finite"):
        audio.write_wav(path, [np.nan], RATE)
    with pytest.raises(ShapeError):
        audio.write_wav(path, [], RATE)
    with pytest.raises(ArgumentError, match="rate"):
        audio.write_wav(path, [0.0], 0)
    assert not path.exists()
    with pytest.raises(ArgumentError, match="can be written"):
        audio.write_wav(tmp_path / "absent" / "a.wav", [0.0], RATE)
