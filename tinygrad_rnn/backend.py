"""The only place that knows NumPy from CuPy.

A `Backend` is an array namespace and the few functions that the two libraries spell differently.
NumPy is there at once; CuPy is imported on the first use of device "cuda". Everything above works
with whatever arrays it is given and asks `backend_of` for the rest.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .errors import ArgumentError, DeviceError, MissingDependencyError
from .special import erf

__all__ = [
    "Backend", "adapt_cupy", "backend_of", "cuda_is_available", "get_backend", "is_array",
    "is_device", "moved", "quiet", "register_backend",
]  # fmt: skip

Array = Any  # a numpy.ndarray, a cupy.ndarray or whatever a registered backend calls its array


@dataclass(frozen=True)
class Backend:
    """An array namespace `xp`, its array type, and what NumPy and CuPy spell differently.

    Attributes:
        add_at: add_at(array, key, values) adds in place; what a key repeats is added repeatedly.
        erf: the error function of a floating-point array, in its dtype.
        wraps_indices: index arrays out of range wrap silently instead of raising IndexError.
    """

    name: str
    xp: Any
    array_type: type
    add_at: Callable[[Array, Any, Array], None]
    to_numpy: Callable[[Array], np.ndarray[Any, Any]]
    from_numpy: Callable[[np.ndarray[Any, Any]], Array]
    erf: Callable[[Array], Array]
    wraps_indices: bool = False
    scalar_types: tuple[type, ...] = field(default=())

    def __repr__(self) -> str:
        return f"Backend({self.name!r})"


_by_type: dict[type, Backend] = {}
_by_name: dict[str, Backend] = {}


def register_backend(backend: Backend) -> Backend:
    """Make `backend` known by its name and by the type of its arrays."""
    _by_name[backend.name] = backend
    for kind in (backend.array_type, *backend.scalar_types):
        _by_type[kind] = backend
    return backend


def backend_of(array: Array) -> Backend:
    """The backend an array belongs to.

    >>> backend_of(np.zeros(3))
    Backend('cpu')
    """
    found = _by_type.get(type(array))
    if found is not None:
        return found
    if isinstance(array, np.generic):
        return register_scalar(type(array))
    raise DeviceError(
        "backend_of", "an array of " + " or ".join(sorted(_by_name)),
        f"{type(array).__module__}.{type(array).__qualname__}",
    )  # fmt: skip


def is_array(value: object) -> bool:
    """Whether `value` is an array (or array scalar) of a registered backend."""
    return type(value) in _by_type or isinstance(value, np.generic)


def register_scalar(kind: type) -> Backend:
    """NumPy returns scalars of many types from 0-d operations; learn each when it first appears."""
    _by_type[kind] = numpy_backend
    return numpy_backend


def is_device(name: str) -> bool:
    """Whether `name` is that of a device, be it at hand or not."""
    return name in _by_name or name in ("cuda", "cuda:0")


def moved(array: Array, target: Backend) -> Array:
    """`array` on another device; itself where it is there already."""
    source = backend_of(array)
    return array if source is target else target.from_numpy(source.to_numpy(array))


def get_backend(device: str | Backend) -> Backend:
    """The backend of a device named "cpu", "cuda" or "cuda:0".

    Raises:
        ArgumentError: the name is not a device.
        MissingDependencyError, DeviceError: "cuda" without CuPy, driver or GPU, saying which.
    """
    if isinstance(device, Backend):
        return device
    name = "cuda" if device == "cuda:0" else device
    found = _by_name.get(name) if isinstance(name, str) else None
    if found is not None:
        return found
    if name == "cuda":
        return register_backend(_load_cupy())
    raise ArgumentError("device", '"cpu" or "cuda"', repr(device))


def cuda_is_available() -> bool:
    """Whether device "cuda" can be used: CuPy is installed, and it finds a driver and a GPU."""
    try:
        get_backend("cuda")
    except (MissingDependencyError, DeviceError):
        return False
    return True


def _load_cupy() -> Backend:
    """Import CuPy and check for a device: it imports without a GPU and fails at the first array."""
    try:
        cupy = importlib.import_module("cupy")
        cupyx = importlib.import_module("cupyx")
        special = importlib.import_module("cupyx.scipy.special")
    except ImportError as error:
        raise MissingDependencyError(
            'device "cuda"',
            "the package cupy",
            f"none that can be imported ({error})",
            'pip install "tinygrad-rnn[cuda12]" (or [cuda13], matching your driver), or use "cpu"',
        ) from error
    try:
        count = cupy.cuda.runtime.getDeviceCount()
    except Exception as error:
        raise _no_device(error) from error
    if count == 0:
        raise DeviceError('device "cuda"', "a GPU", "a driver without devices", 'use "cpu"')
    return adapt_cupy("cuda", cupy, cupyx.scatter_add, special.erf)


def _no_device(error: Exception) -> DeviceError:
    """What CUDA said: a driver that finds no GPU is another matter than no driver."""
    if "NoDevice" in str(error):
        expected, hint = "a GPU", "CUDA_VISIBLE_DEVICES may hide it"
    else:
        expected = "a CUDA driver and a GPU"
        hint = "install or update the NVIDIA driver (nvidia-smi must list the GPU)"
    got = f"{type(error).__name__}: {error}"
    return DeviceError('device "cuda"', expected, got, f'{hint}, or use "cpu"')


def adapt_cupy(name: str, cupy: Any, scatter_add: Any, erf: Any) -> Backend:
    """A backend of CuPy, or of what stands in for it: where it is narrower than NumPy, widened."""

    def add_at(array: Array, key: Any, values: Array) -> None:
        if array.dtype.name in _ATOMIC:
            scatter_add(array, key, values)
        elif array.dtype == "int64":  # two's complement: the sum has the same bits without a sign
            scatter_add(array.view("uint64"), key, values.astype("int64").view("uint64"))
        else:
            wide = array.astype("int32")
            scatter_add(wide, key, values.astype("int32"))
            array[...] = wide.astype(array.dtype)

    return Backend(
        name,
        cupy,
        cupy.ndarray,
        add_at,
        cupy.asnumpy,
        cupy.asarray,
        lambda array: erf(array).astype(array.dtype, copy=False),  # of float16 it makes float64
        wraps_indices=True,
    )


_ATOMIC = frozenset(("float16", "float32", "float64", "int32", "uint32", "uint64"))


def _add_at(whole: Array, key: Any, value: Array) -> None:
    """whole[key] += value, repeated indices adding up: by groups of rows, not one by one."""
    single = key[0] if type(key) is tuple and len(key) == 1 else key
    by_rows = type(single) is np.ndarray and single.dtype.kind in "iu" and single.size
    if not by_rows or whole.ndim == 1:  # of single elements, NumPy's own loop is the faster
        np.add.at(whole, key, value)
        return
    index = single.ravel().astype("i8", copy=False) % len(whole)
    # in sixteen bits, where they are enough, NumPy sorts six times as fast
    order = np.argsort(index.astype("u2") if len(whole) <= 1 << 16 else index, kind="stable")
    ordered = index[order]
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    rows = value.reshape(index.size, *whole.shape[1:])
    if value.size < _LARGE:
        whole[ordered[starts]] += np.add.reduceat(rows[order], starts, axis=0)
        return
    # That begins anew for every group and column: of small groups the first rows are added
    # together, then the second ones, and so on; the others one by one.
    counts = np.diff(starts, append=index.size)
    for rank in range(_FEW):
        at = starts[(rank < counts) & (counts <= _FEW)] + rank
        whole[ordered[at]] += rows[order[at]]
    for start, count in zip(starts[counts > _FEW], counts[counts > _FEW], strict=True):
        whole[ordered[start]] += rows[order[start : start + count]].sum(0)


_FEW, _LARGE = 8, 1 << 18  # rows of a group, elements


def quiet() -> Any:
    """Context manager: floating-point exceptions make inf and NaN without a warning."""
    return np.errstate(all="ignore")


numpy_backend = register_backend(
    Backend(
        "cpu",
        np,
        np.ndarray,
        _add_at,
        lambda array: array,
        lambda array: array,
        erf,
        scalar_types=(np.float32, np.float64, np.float16, np.int64, np.int32, np.bool_),
    )
)
