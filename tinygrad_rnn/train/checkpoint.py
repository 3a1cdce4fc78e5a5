"""Checkpoints: named arrays and the state of a run, in one file that is whole or refused.

The file is safetensors, so other programs read its arrays; never a pickle. What is written is
first checked by the rules of loading, then replaces the old file in one step.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from reprlib import repr as brief
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from .._version import __version__
from ..errors import ArgumentError, CheckpointError, DTypeError, MissingDependencyError
from ..tensor import Tensor
from .safefile import open_plain, replacing
from .tensorfile import (
    CODES,
    FORMAT_VERSION,
    MARK,
    UNSEALED,
    Layout,
    check_arrays,
    flaw_of_name,
    read_header,
    read_layout,
    seal,
)

__all__ = ["Checkpoint", "load_checkpoint", "save_checkpoint"]

Arrays = dict[str, NDArray[Any]]


class Sized(Protocol):
    """What an array, a Tensor or a Parameter tells of itself."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def dtype(self) -> np.dtype[Any]: ...


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A loaded checkpoint.

    Attributes:
        tensors: name → writeable NumPy array, in the order in which they were saved.
        state: what the caller saved beside them, as JSON gives it back (a tuple as a list).
        header: format_version, library_version, numpy_version, backend, dtypes, sha256.
    """

    tensors: Arrays
    state: Any
    header: dict[str, Any]

    def expect(self, tensors: Mapping[str, Sized], state: Iterable[str] = ()) -> Self:
        """Return itself if names, shapes and dtypes are those of ``tensors``.

        Args:
            tensors: what the arrays shall fit; only shapes and dtypes are looked at.
            state: keys that ``self.state`` must have at least.

        Raises:
            CheckpointError: anything differs; all differences are listed at once.

        >>> Checkpoint({"w": np.zeros(3)}, {}, {}).expect({"w": np.zeros(2)})
        Traceback (most recent call last):
        ...
        tinygrad_rnn.errors.CheckpointError: Checkpoint.expect: a checkpoint that fits expected, \
got these differences: 'w' is float64 (3,) where float64 (2,) is needed
        """
        found = [*self._differences(tensors), *self._absent_state(state)]
        if found:
            got = f"these differences: {'; '.join(found)}"
            raise CheckpointError("Checkpoint.expect", "a checkpoint that fits", got)
        return self

    def _differences(self, tensors: Mapping[str, Sized]) -> Iterator[str]:
        yield from (f"{name!r} is missing" for name in tensors if name not in self.tensors)
        yield from (f"{name!r} is unexpected" for name in self.tensors if name not in tensors)
        for name in (name for name in tensors if name in self.tensors):
            have, need = _type_of(self.tensors[name]), _type_of(tensors[name])
            if have != need:
                yield f"{name!r} is {have} where {need} is needed"

    def _absent_state(self, keys: Iterable[str]) -> Iterator[str]:
        have = self.state if isinstance(self.state, dict) else {}
        return (f"state {key!r} is missing" for key in keys if key not in have)


def _type_of(array: Sized) -> str:
    return f"{array.dtype} {tuple(array.shape)}"


def save_checkpoint(
    path: str | os.PathLike[str],
    tensors: Mapping[str, NDArray[Any]],
    state: object = None,
    *,
    backend: str = "numpy",
) -> None:
    """Write arrays and state to one file, which replaces an older one only when it is complete.

    Args:
        tensors: name → tensor or NumPy array of bool, integer or float type, in any layout.
        state: of None, bool, int, float, str, list, tuple and dict with str keys, at most 8 MB;
            the ``state`` of NumPy's bit generators too. Arrays in it become lists.
        backend: what computed the run, for the reader to know.

    Raises:
        CheckpointError: the file cannot be written; what stood at ``path`` is unchanged.
        ArgumentError, DTypeError: a name, a value of the state or an array that no checkpoint
            can hold.
        MissingDependencyError: safetensors is not installed.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_checkpoint(f"{folder}/last.ckpt", {"w": np.ones(2)}, {"step": 7})
    ...     load_checkpoint(f"{folder}/last.ckpt").state
    {'step': 7}
    """
    where = _where("save_checkpoint", path)
    if not isinstance(tensors, Mapping):
        raise ArgumentError(where, "a mapping of names to arrays", type(tensors).__name__)
    arrays = {name: _portable(where, name, array) for name, array in tensors.items()}
    header, body = _encode(where, arrays, _run_header(where, arrays, state, backend))
    # A file that would not load must never replace one that does.
    check_arrays(where, read_layout(where, header, len(header) + len(body)), body)
    hint = "what stood at that path is unchanged"
    with _file_errors(where, "a file that can be written", hint), replacing(path) as file:
        file.write(header)
        file.write(body)


def load_checkpoint(path: str | os.PathLike[str]) -> Checkpoint:
    """Read a checkpoint, every bit of which is as it was saved.

    Raises:
        CheckpointError: the file is absent, no plain file, of another kind or of a newer
            format, cut short or damaged; the damaged array is named.
        ArgumentError: ``path`` cannot be a path.
        MissingDependencyError: safetensors is not installed.
    """
    where = _where("load_checkpoint", path)
    with _file_errors(where, "a checkpoint that can be read"):
        layout, blob = _read(where, path)
    check_arrays(where, layout, memoryview(blob)[layout.start :])
    loaded: Arrays = _codec("load", where)(blob)
    tensors = {name: loaded[name] for name in layout.run["sha256"]}  # in the order of saving
    header = {key: value for key, value in layout.run.items() if key != "state"}
    return Checkpoint(tensors, layout.run["state"], header)


def _read(where: str, path: str | os.PathLike[str]) -> tuple[Layout, bytes]:
    with open_plain(path) as file:
        size = os.fstat(file.fileno()).st_size
        header = read_header(where, file, size)
        layout = read_layout(where, header, size)
        file.seek(0)
        blob = file.read(size)
    if len(blob) != size or not blob.startswith(header):
        raise CheckpointError(where, "a file that is at rest", "one that changed while it was read")
    return layout, blob


def _where(called: str, path: object) -> str:
    if not isinstance(path, str | os.PathLike) or "\0" in str(path):
        raise ArgumentError(called, "a path", brief(path))
    return f"{called}({str(path)!r})"


@contextmanager
def _file_errors(where: str, expected: str, hint: str | None = None) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise CheckpointError(where, expected, error.strerror or error, hint) from error
    except MemoryError as error:
        raise CheckpointError(where, expected, "too little memory for it", hint) from error


def _codec(name: str, where: str) -> Callable[..., Any]:
    try:
        import safetensors.numpy
    except ImportError:
        hint = 'pip install "tinygrad-rnn[io]"'
        raise MissingDependencyError(where, "the package safetensors", "none", hint) from None
    codec: Callable[..., Any] = getattr(safetensors.numpy, name)
    return codec


def _encode(where: str, arrays: Arrays, run: str) -> tuple[bytes, memoryview]:
    return seal(_codec("save", where)(arrays, {MARK: f"{UNSEALED} {run}"}))


def _portable(where: str, name: object, array: object) -> NDArray[Any]:
    """The array contiguous (the format takes strided memory for dense) and little-endian."""
    if flaw := flaw_of_name(name):
        raise ArgumentError(where, f"a usable name in place of {brief(name)}", flaw)
    if isinstance(array, Tensor):
        array = array.detach().to("cpu").numpy()
    if not isinstance(array, np.ndarray) or isinstance(array, np.ma.MaskedArray):
        hint = "tg.tensor(…) makes a tensor of numbers and lists"
        raise DTypeError(where, f"a tensor or NumPy array for {name!r}", type(array).__name__, hint)
    if array.dtype.name not in CODES:
        raise DTypeError(where, f"{name!r} of bool, integer or float type", array.dtype)
    return np.asarray(array, array.dtype.newbyteorder("<"), order="C")


def _run_header(where: str, arrays: Arrays, state: object, backend: str) -> str:
    header = {
        "format_version": FORMAT_VERSION,
        "library_version": __version__,
        "numpy_version": np.__version__,
        "backend": str(backend),
        "dtypes": sorted({array.dtype.name for array in arrays.values()}),
        "sha256": {name: _digest(array) for name, array in arrays.items()},
    }
    try:
        text = json.dumps({**header, "state": _plain("state", state)}, ensure_ascii=False)
        text.encode()
    except (TypeError, ValueError, RecursionError) as error:
        hint = "it may hold None, bool, int, float, str, list, tuple and dict with str keys"
        raise ArgumentError(where, "a state that JSON can hold", error, hint) from None
    return text


def _digest(array: NDArray[Any]) -> str:
    return sha256(array.reshape(-1).view(np.uint8).data).hexdigest()


def _plain(name: str, value: object) -> object:
    """The value as JSON gives it back, or an error with the path to what JSON would change."""
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple):
        return [_plain(f"{name}[{i}]", item) for i, item in enumerate(value)]
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {key: _plain(f"{name}[{key!r}]", item) for key, item in value.items()}
    raise TypeError(f"{name} = {brief(value)}")
