"""What is no checkpoint, and what cannot be saved as one, meets one clear error."""

from __future__ import annotations

import io
import os
import pickle
import sys
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoint_files import refusal

from tinygrad_rnn.errors import (
    ArgumentError,
    CheckpointError,
    DTypeError,
    MissingDependencyError,
)
from tinygrad_rnn.train import load_checkpoint, save_checkpoint

codec = pytest.importorskip("safetensors.numpy")


def npz() -> bytes:
    file = io.BytesIO()
    np.savez(file, a=np.ones(3))
    return file.getvalue()


def npy() -> bytes:
    file = io.BytesIO()
    np.save(file, np.ones(3))
    return file.getvalue()


def zipped(name: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(name, b"content")
    return file.getvalue()


PICKLE_HINT = "\nhint: a pickle can run any code, so it is never opened"
FOREIGN = [
    *[(partial(pickle.dumps, {"a": [1]}, protocol=p), "a Python pickle" + PICKLE_HINT)
      for p in range(pickle.HIGHEST_PROTOCOL + 1)],
    (partial(pickle.dumps, np.ones(3)), "a Python pickle" + PICKLE_HINT),
    (partial(zipped, "archive/data.pkl"),
     "a PyTorch file (a zip archive with a pickle)" + PICKLE_HINT),
    (lambda: b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.",
     "an old PyTorch file (a pickle)" + PICKLE_HINT),
    (npz, "a NumPy .npz file"),
    (npy, "a NumPy .npy file"),
    (partial(zipped, "model.weights.h5"), "a zip archive"),
    (lambda: b"\x89HDF\r\n\x1a\n" + bytes(100), "an HDF5 file"),
    (lambda: b"\x1f\x8b\x08" + bytes(20), "a gzip file"),
    (lambda: b"GGUF\3" + bytes(20), "a GGUF file"),
    (lambda: b"To be, or not to be", "a foreign, cut or damaged file"),
    (lambda: bytes(4096), "a foreign, cut or damaged file"),
    (lambda: b"", "an empty file"),
    (lambda: codec.save({"w": np.ones(3)}),
     "a safetensors file of another program\nhint: safetensors.numpy.load_file"),
]  # fmt: skip


@pytest.mark.parametrize(("make", "kind"), FOREIGN)
def test_a_file_of_another_kind_is_named(path: Path, make: Callable[[], bytes], kind: str) -> None:
    assert refusal(path, make()).startswith(f"a checkpoint expected, got {kind}")


def test_a_real_pytorch_file_is_named(path: Path) -> None:
    torch = pytest.importorskip("torch")
    torch.save({"w": torch.ones(3)}, path)
    assert "a PyTorch file (a zip archive with a pickle)" in refusal(path)
    torch.save({"w": torch.ones(3)}, path, _use_new_zipfile_serialization=False)
    assert "an old PyTorch file (a pickle)" in refusal(path)


def test_a_pickle_is_not_executed(path: Path, tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> Any:
            return os.mkdir, (str(tmp_path / "boom"),)

    refusal(path, pickle.dumps(Bomb()))
    assert not (tmp_path / "boom").exists()


def test_what_is_no_readable_file(path: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    expected = "a checkpoint that can be read expected, got "
    assert refusal(path) == f"{expected}No such file or directory"
    assert refusal(tmp_path) == f"{expected}Is a directory"
    assert refusal(tmp_path / "pipe") == f"{expected}Not a plain file"
    assert refusal(Path("/dev/zero")) == f"{expected}Not a plain file"
    assert refusal(tmp_path / "loop") == f"{expected}Too many levels of symbolic links"
    assert refusal(tmp_path / ("x" * 300)) == f"{expected}File name too long"


def test_too_little_memory_is_said(
    path: Path, good: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr("tinygrad_rnn.train.checkpoint._read", fail)
    assert refusal(path).endswith("got too little memory for it")


@pytest.mark.parametrize("bad", [None, 3, b"x", "a\0b"])
def test_what_is_no_path(bad: Any) -> None:
    for call in (load_checkpoint, lambda path: save_checkpoint(path, {})):
        with pytest.raises(ArgumentError, match="a path expected, got"):
            call(bad)


@pytest.mark.parametrize("call", [load_checkpoint, lambda path: save_checkpoint(path, {})])
def test_safetensors_that_is_not_installed(
    path: Path, good: bytes, call: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "safetensors", None)
    monkeypatch.setitem(sys.modules, "safetensors.numpy", None)
    with pytest.raises(MissingDependencyError, match=r'pip install "tinygrad-rnn\[io\]"'):
        call(path)
    assert path.read_bytes() == good


# ------------------------------------------------------------------- what cannot be saved
@pytest.mark.parametrize(
    ("array", "message"),
    [
        ([1.0, 2.0], "a tensor or NumPy array for 'w' expected, got list"),
        (None, "a tensor or NumPy array for 'w' expected, got NoneType"),
        (np.float32(1), "a tensor or NumPy array for 'w' expected, got float32"),
        (
            np.ma.masked_array([1, 2], [0, 1]),
            "a tensor or NumPy array for 'w' expected, got MaskedArray",
        ),
        (np.ones(2, "c16"), "'w' of bool, integer or float type expected, got complex128"),
        (np.ones(2, "g"), "'w' of bool, integer or float type expected, got float128"),
        (np.array(["a"]), "'w' of bool, integer or float type expected, got <U1"),
        (np.array([None]), "'w' of bool, integer or float type expected, got object"),
        (np.zeros(2, "M8[s]"), "'w' of bool, integer or float type expected, got datetime64[s]"),
        (np.zeros(2, "f4,i4"), "'w' of bool, integer or float type expected, got [('f0'"),
    ],
)
def test_an_array_that_no_checkpoint_holds(path: Path, array: Any, message: str) -> None:
    if getattr(array, "dtype", None) == np.dtype("f8") and "float128" in message:
        pytest.skip("long double is double here")
    with pytest.raises(DTypeError) as caught:
        save_checkpoint(path, {"ok": np.ones(1), "w": array})
    assert message in str(caught.value)
    assert not path.exists()


@pytest.mark.parametrize(
    "name",
    ["", "../x", "a/../b", "/a", "a/", "./a", "a\0", "a\n", "\\", "__metadata__", "a" * 513, 3],
)
def test_a_name_that_no_checkpoint_holds(path: Path, name: Any) -> None:
    with pytest.raises(ArgumentError, match="a usable name in place of"):
        save_checkpoint(path, {name: np.ones(1)})
    assert not path.exists()


def circle() -> list[Any]:
    values: list[Any] = []
    values.append(values)
    return values


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"a": [0, {1, 2}]}, "got state['a'][1] = {1, 2}"),
        ({"a": {1: "int key"}}, "got state['a'] = {1: 'int key'}"),
        (b"bytes", "got state = b'bytes'"),
        (1j, "got state = 1j"),
        (np.array([print]), "got state[0] = <built-in function print>"),
        (np.datetime64("2020-01-01"), "got state = datetime.date"),
        ("\ud800", "surrogates not allowed"),
        pytest.param(10**5000, "4300 digits", id="many digits"),
        (circle(), "recursion"),
    ],
)
def test_a_state_that_no_checkpoint_holds(path: Path, state: Any, message: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        save_checkpoint(path, {}, state)
    assert message in str(caught.value)
    assert not path.exists()


def test_tensors_that_are_no_mapping(path: Path) -> None:
    with pytest.raises(ArgumentError, match="a mapping of names to arrays expected, got list"):
        save_checkpoint(path, [np.ones(1)])  # type: ignore[arg-type]


@pytest.mark.parametrize("state", ["x" * (9 << 20), [1] * 600_000])
def test_a_state_beyond_the_limits_leaves_the_old_file_alone(
    path: Path, good: bytes, state: Any
) -> None:
    with pytest.raises(CheckpointError, match=r"at most \d+ (bytes|values)"):
        save_checkpoint(path, {}, state)
    assert path.read_bytes() == good


def test_arrays_that_change_while_they_are_saved_leave_the_old_file_alone(
    path: Path, good: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    array, encode = np.zeros(5), codec.save

    def save(*args: Any) -> bytes:
        array[3] = 1  # as another thread might
        return bytes(encode(*args))

    monkeypatch.setattr(codec, "save", save)
    with pytest.raises(CheckpointError, match="array 'w' as it was saved"):
        save_checkpoint(path, {"w": array})
    assert path.read_bytes() == good
