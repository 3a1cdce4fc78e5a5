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

__all__ = [
    "Backend",
    "backend_of",
    "cuda_is_available",
    "get_backend",
    "is_array",
    "quiet",
    "register_backend",
]

Array = Any  # a numpy.ndarray, a cupy.ndarray or whatever a registered backend calls its array


@dataclass(frozen=True)
class Backend:
    """An array namespace `xp`, its array type, and what NumPy and CuPy spell differently."""

    name: str
    xp: Any
    array_type: type
    add_at: Callable[[Array, Any, Array], None]
    to_numpy: Callable[[Array], np.ndarray[Any, Any]]
    from_numpy: Callable[[np.ndarray[Any, Any]], Array]
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
        "backend_of",
        "an array of " + " or ".join(sorted(_by_name)),
        f"{type(array).__module__}.{type(array).__qualname__}",
    )


def is_array(value: object) -> bool:
    """Whether `value` is an array (or array scalar) of a registered backend."""
    return type(value) in _by_type or isinstance(value, np.generic)


def register_scalar(kind: type) -> Backend:
    """NumPy returns scalars of many types from 0-d operations; learn each when it first appears."""
    _by_type[kind] = numpy_backend
    return numpy_backend


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
    except ImportError as error:
        raise MissingDependencyError(
            'device "cuda"',
            "the package cupy",
            f"no such package ({error})",
            'pip install "tinygrad-rnn[cuda12]" (or [cuda13], matching your driver), or use "cpu"',
        ) from error
    try:
        count = cupy.cuda.runtime.getDeviceCount()
    except Exception as error:
        raise DeviceError(
            'device "cuda"',
            "a CUDA driver and a GPU",
            f"{type(error).__name__}: {error}",
            'install or update the NVIDIA driver (nvidia-smi must list the GPU), or use "cpu"',
        ) from error
    if count == 0:
        raise DeviceError('device "cuda"', "a GPU", "a driver without devices", 'use "cpu"')
    return Backend("cuda", cupy, cupy.ndarray, cupyx.scatter_add, cupy.asnumpy, cupy.asarray)


def quiet() -> Any:
    """Context manager: floating-point exceptions make inf and NaN without a warning."""
    return np.errstate(all="ignore")


numpy_backend = register_backend(
    Backend(
        "cpu",
        np,
        np.ndarray,
        np.add.at,
        lambda array: array,
        lambda array: array,
        (np.float32, np.float64, np.float16, np.int64, np.int32, np.bool_),
    )
)
