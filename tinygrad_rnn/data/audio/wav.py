"""WAV files as arrays: linear PCM of 8, 16, 24 or 32 bits, any number of channels, either header.

Legend: N samples in time, K channels.
"""

from __future__ import annotations

import io
import lzma
import os
import tarfile
import wave
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tinygrad_rnn.errors import ArgumentError, DataError, ShapeError

from ...arguments import finite_array, whole_number
from ..text import PathName, read_bytes

__all__ = ["Sound", "decode_wav", "read_sounds", "read_wav", "write_wav"]

FloatArray = NDArray[np.float32]
EXTENSIBLE, PCM = b"\xfe\xff", b"\x01\x00"  # tags of formats
OF_THE_FORMAT = bytes.fromhex("000000001000800000aa00389b71")  # the rest of its GUID


class Sound(NamedTuple):
    """`samples` (N,) or (N, K) float32 in [−1, 1], and `rate`, how many there are in a second."""

    samples: FloatArray
    rate: int


def read_wav(path: PathName) -> Sound:
    """Read a WAV file; one channel gives samples (N,), K channels (N, K).

    A whole number q of b bits is q / 2ᵇ⁻¹, so silence is exactly 0.

    Raises:
        DataError: not a readable file, not a WAV file, not linear PCM, cut off, or empty.

    >>> import tempfile, pathlib
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "step.wav")
    ...     write_wav(path, [0.0, 0.5, -1.0], rate=8000)
    ...     sound = read_wav(path)
    >>> sound.samples.tolist(), sound.rate
    ([0.0, 0.5, -1.0], 8000)
    """
    return decode_wav(read_bytes("read_wav", path), str(path))


def read_sounds(path: PathName) -> dict[str, Sound]:
    """Every file that ends in .wav, below a folder or in a tar archive, by its name without .wav.

    Raises:
        DataError: neither folder nor archive, a damaged one, no sounds in it, or one name twice.
    """
    found: dict[str, Sound] = {}
    for name, data in _members(path):
        stem = Path(name).stem
        if stem in found:
            raise DataError("read_sounds", "files with names of their own", f"{stem} twice")
        found[stem] = decode_wav(data, f"{name} of {path}")
    if not found:
        raise DataError("read_sounds", "files that end in .wav", f"none in {path}")
    return found


def _members(path: PathName) -> Iterator[tuple[str, bytes]]:
    """The names and contents of WAV files, in order of their names."""
    if os.path.isdir(path):
        files = (file for file in Path(path).rglob("*") if file.suffix.lower() == ".wav")
        yield from ((str(file), read_bytes("read_sounds", file)) for file in sorted(files))
        return
    data = io.BytesIO(read_bytes("read_sounds", path))
    try:
        with tarfile.open(fileobj=data) as archive:
            inside = [item for item in archive if item.isfile()]
            for item in sorted(inside, key=lambda item: item.name):
                content = archive.extractfile(item)
                if content is not None and item.name.lower().endswith(".wav"):
                    yield item.name, content.read()
    except (tarfile.TarError, EOFError, OSError, zlib.error, lzma.LZMAError) as error:
        raise DataError("read_sounds", "a folder, or a tar archive", f"{path}: {error}") from error


def decode_wav(data: bytes, name: str = "these bytes") -> Sound:
    """The sound in the bytes of a WAV file, a member of an archive for example.

    Args:
        name: what messages call it.

    Raises:
        DataError: as `read_wav`.
    """
    try:
        with wave.open(io.BytesIO(_as_plain(data))) as file:
            channels, width, rate, count, *_ = file.getparams()
            content = file.readframes(count)
    except (wave.Error, EOFError, RuntimeError) as error:
        got = f"{name}: {error}" if str(error) else f"{name}, which ends in its header"
        raise DataError("read_wav", "a WAV file of linear PCM", got) from error
    if len(content) != count * channels * width or not count:
        got = f"{len(content) // (channels * width)} ({name})"
        raise DataError("read_wav", f"{count or 'some'} samples, as the header says,", got)
    if not 1 <= width <= 4 or rate < 1:
        raise DataError("read_wav", "8 to 32 bits and a rate", f"{8 * width} and {rate} ({name})")
    samples = _numbers(content, width)
    return Sound(samples.reshape(-1, channels) if channels > 1 else samples, rate)


def _as_plain(data: bytes) -> bytes:
    """The same file, where an extensible header says that it holds linear PCM."""
    place = 12  # behind RIFF, a length, and WAVE
    while place + 48 <= len(data):
        tag, kind = data[place + 8 : place + 10], data[place + 32 : place + 48]
        if data[place : place + 4] == b"fmt ":
            plain = tag == EXTENSIBLE and kind == PCM + OF_THE_FORMAT
            return data[: place + 8] + PCM + data[place + 10 :] if plain else data
        place += 8 + int.from_bytes(data[place + 4 : place + 8], "little")
        place += place % 2
    return data


def _numbers(content: bytes, width: int) -> FloatArray:
    """Bytes as numbers: put into the high bytes of 32 bits, they all have one scale."""
    octets = np.frombuffer(content, np.uint8).reshape(-1, width)
    high = np.zeros((len(octets), 4), np.uint8)
    high[:, 4 - width :] = octets ^ 0x80 if width == 1 else octets  # 8 bits are 0 … 255
    whole = high.reshape(-1).view("<i4")
    return (whole / 2.0**31).astype(np.float32)


def write_wav(path: PathName, samples: ArrayLike, rate: int) -> None:
    """Write samples (N,) or (N, K) in [−1, 1] as 16-bit PCM; 1 becomes 32767 / 32768.

    Raises:
        DataError: samples that are not finite or outside [−1, 1]: scale them, or they would clip.
        ShapeError, ArgumentError: no samples, no rate, or a file that cannot be written.
    """
    array = finite_array("write_wav", "samples", samples)
    if array.ndim > 2 or not array.size:
        raise ShapeError("write_wav", "samples of shape (N,) or (N, K)", array.shape)
    loudest = np.abs(array).max()
    if loudest > 1:
        raise DataError("write_wav", "samples in [-1, 1]", f"{loudest:g}", "divide by the largest")
    whole_number("write_wav", "rate", rate)
    target = io.BytesIO()
    with wave.open(target, "wb") as file:
        file.setnchannels(1 if array.ndim == 1 else array.shape[1])
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(np.minimum(np.rint(array * 2**15), 2**15 - 1).astype("<i2").tobytes())
    try:
        Path(path).write_bytes(target.getvalue())
    except OSError as error:
        raise ArgumentError("write_wav", "a file that can be written", error) from error
