"""A device that is not there: host memory behind an array that refuses what CuPy would refuse.

It makes the discipline that a GPU demands testable without one. A `FakeArray` never becomes a
NumPy array by itself, never meets one in an operation, gives 0-d arrays where CuPy gives 0-d
arrays, wraps index arrays that are out of range, and knows only the names and arguments listed in
`fake_cupy`. Every crossing between host and device is counted in `TRAFFIC`:

    to_host, to_device   copies that were asked for: `Backend.to_numpy`, `from_numpy`, `xp.asarray`
    syncs                numbers read from the device: item(), tolist(), bool(), float(), int()

`install()` registers it as the device "fake", through the adapter that CuPy itself goes through.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import fake_cupy
import numpy as np
from fake_cupy import bound

from tinygrad_rnn.backend import adapt_cupy, register_backend

TRAFFIC: Counter[str] = Counter()
NUMBERS = (bool, int, float, complex, np.generic)


@contextmanager
def traffic() -> Iterator[Counter[str]]:
    """Inside, count the crossings between host and device; the yielded counter holds them after."""
    before, crossed = TRAFFIC.copy(), Counter[str]()
    yield crossed
    crossed.update(TRAFFIC - before)


def _refuse(value: Any) -> TypeError:
    if isinstance(value, np.ndarray):
        return TypeError("Unsupported type <class 'numpy.ndarray'>: an array of the host")
    return TypeError(f"Unsupported type {type(value)}")


def _host(value: Any) -> Any:
    """An argument as NumPy is to see it; what CuPy would not take is refused."""
    if type(value) is FakeArray:
        return value._host
    if isinstance(value, np.ndarray) or hasattr(value, "node"):
        raise _refuse(value)
    if isinstance(value, (tuple, list)):
        return type(value)([_host(part) for part in value])
    return value


def _operand(value: Any) -> Any:
    """An argument of a ufunc: an array of this device or a number."""
    if type(value) is FakeArray:
        return value._host
    if isinstance(value, NUMBERS):
        return value
    raise _refuse(value)


def _owner(array: np.ndarray[Any, Any]) -> Any:
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


def _sources(args: Any) -> Iterator[FakeArray]:
    for arg in args:
        if type(arg) is FakeArray:
            yield arg
        elif isinstance(arg, (tuple, list)):
            yield from _sources(arg)


def _device(value: Any, args: Any = ()) -> Any:
    """What NumPy gave, on the device again; a view remembers whose memory it shows."""
    if isinstance(value, (tuple, list)):
        return type(value)([_device(part, args) for part in value])
    if not isinstance(value, (np.ndarray, np.generic)):
        return value
    array = np.asarray(value)
    owner = _owner(array)
    shown = next((a for a in _sources(args) if _owner(a._host) is owner), None)
    base = shown if shown is None or shown.base is None else shown.base
    return FakeArray(array, base)


def _run(function: Callable[..., Any], read: Any, args: Any, options: dict[str, Any]) -> Any:
    """`function` on the host's view of the arguments, silently, as a device computes."""
    host = {name: _host(value) for name, value in options.items()}
    with np.errstate(all="ignore"):
        result = function(*[read(arg) for arg in args], **host)
    out = options.get("out")
    return _device(result, args) if out is None else out


class FakeArray:
    """An array of the fake device. `base` is the array whose memory it shows, None if its own."""

    __slots__ = ("__weakref__", "_host", "base")
    __array_priority__ = 100
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, host: np.ndarray[Any, Any], base: FakeArray | None = None) -> None:
        self._host, self.base = host, base

    # ------------------------------------------------------------------- it stays where it is
    def __array__(self, *_: Any, **__: Any) -> Any:
        raise TypeError("Implicit conversion to a NumPy array is not allowed.")

    def __array_ufunc__(self, ufunc: Any, *_: Any, **__: Any) -> Any:
        raise TypeError(f"numpy.{ufunc.__name__} was called with an array of the device")

    def __array_function__(self, function: Any, *_: Any) -> Any:
        raise TypeError(f"numpy.{function.__name__} was called with an array of the device")

    def __reduce__(self) -> Any:
        raise TypeError("an array of the device was pickled")

    def __dlpack_device__(self) -> tuple[int, int]:
        return 2, 0  # kDLCUDA

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return {"shape": self.shape, "typestr": self._host.dtype.str, "version": 3}

    def get(self) -> np.ndarray[Any, Any]:
        """A copy on the host, asked for."""
        TRAFFIC["to_host"] += 1
        return self._host.copy()

    # --------------------------------------------------------------------------- what it is
    @property
    def flags(self) -> SimpleNamespace:
        """CuPy's three flags; none of them says that memory cannot be written."""
        flags = self._host.flags
        return SimpleNamespace(
            c_contiguous=flags.c_contiguous, f_contiguous=flags.f_contiguous, owndata=flags.owndata
        )

    def __len__(self) -> int:
        return len(self._host)

    def __iter__(self) -> Iterator[FakeArray]:
        if not self._host.ndim:
            raise TypeError("iteration over a 0-d array")
        return (self[i] for i in range(len(self)))

    def __repr__(self) -> str:
        return f"fake{self._host!r}"

    def __copy__(self) -> FakeArray:
        return self.copy()

    def __deepcopy__(self, memo: Any) -> FakeArray:
        return self.copy()

    # -------------------------------------------------------------------------------- indices
    def __getitem__(self, key: Any) -> FakeArray:
        found = _key(key, self.shape)
        # a device shows one element as an array of no axes; NumPy does if there is an ellipsis
        whole = found if any(part is Ellipsis for part in found) else (*found, ...)
        return _device(self._host[whole], (self,))

    def __setitem__(self, key: Any, value: Any) -> None:
        self._host[_key(key, self.shape)] = _operand(value)


def _key(key: Any, shape: tuple[int, ...]) -> tuple[Any, ...]:
    """An index as NumPy is to see it; index arrays wrap at the end of their axis, as on a GPU."""
    items = list(key) if isinstance(key, tuple) else [key]
    for item in items:
        if isinstance(item, (np.ndarray, list)) or hasattr(item, "node"):
            raise _refuse(item)
    widths = [_width(item) for item in items]
    axis, found = 0, []
    for item, width in zip(items, widths, strict=True):
        if type(item) is FakeArray and item.dtype.kind in "iu":
            found.append(item._host % max(1, shape[axis]) if axis < len(shape) else item._host)
        else:
            found.append(item._host if type(item) is FakeArray else item)
        axis += len(shape) - sum(widths) if item is Ellipsis else width
    return tuple(found)


def _width(item: Any) -> int:
    """How many axes an index uses up."""
    if item is None or item is Ellipsis:
        return 0
    return item.ndim if type(item) is FakeArray and item.dtype.kind == "b" else 1


# ----------------------------------------------------------------------------- its methods
def _add_attributes() -> None:
    for name in fake_cupy.ATTRIBUTES:
        if name not in ("base", "flags"):
            setattr(FakeArray, name, property(lambda self, n=name: _attribute(self, n)))


def _attribute(array: FakeArray, name: str) -> Any:
    return _device(getattr(array._host, name), (array,))


def _add_method(name: str, known: str, variadic: bool = False) -> None:
    def method(self: FakeArray, *args: Any, **options: Any) -> Any:
        bound(name, known, () if variadic else args, options)
        if name in ("item", "tolist"):
            TRAFFIC["syncs"] += 1
            return getattr(self._host, name)()
        return _run(getattr(np.ndarray, name), _host, (self, *args), options)

    setattr(FakeArray, name, method)


def _add_operators() -> None:
    for name, ufunc in {
        "add": "add", "sub": "subtract", "mul": "multiply", "truediv": "true_divide",
        "floordiv": "floor_divide", "mod": "remainder", "pow": "power", "and": "bitwise_and",
        "or": "bitwise_or", "xor": "bitwise_xor", "lshift": "left_shift", "rshift": "right_shift",
        "matmul": "matmul",
    }.items():  # fmt: skip
        setattr(FakeArray, f"__{name}__", _binary(ufunc))
        setattr(FakeArray, f"__r{name}__", _binary(ufunc, reverse=True))
        if name != "matmul":  # which CuPy does not have in place
            setattr(FakeArray, f"__i{name}__", _in_place(ufunc))
    for name, ufunc in {
        "eq": "equal", "ne": "not_equal", "lt": "less", "le": "less_equal", "gt": "greater",
        "ge": "greater_equal",
    }.items():  # fmt: skip
        setattr(FakeArray, f"__{name}__", _binary(ufunc))
    for name, ufunc in {"neg": "negative", "abs": "abs", "invert": "invert"}.items():
        setattr(FakeArray, f"__{name}__", lambda self, f=ufunc: getattr(XP, f)(self))
    for kind in (bool, int, float, complex):
        setattr(FakeArray, f"__{kind.__name__}__", _number(kind))


def _binary(ufunc: str, reverse: bool = False) -> Callable[[FakeArray, Any], Any]:
    def operate(self: FakeArray, other: Any) -> Any:
        if getattr(other, "__array_ufunc__", 0) is None:  # as a Tensor says: ask me instead
            return NotImplemented
        return getattr(XP, ufunc)(*((other, self) if reverse else (self, other)))

    return operate


def _in_place(ufunc: str) -> Callable[[FakeArray, Any], Any]:
    def operate(self: FakeArray, other: Any) -> Any:
        if getattr(other, "__array_ufunc__", 0) is None:
            return NotImplemented
        return getattr(XP, ufunc)(self, other, out=self)

    return operate


def _number(kind: Any) -> Callable[[FakeArray], Any]:
    def convert(self: FakeArray) -> Any:
        TRAFFIC["syncs"] += 1
        return kind(self._host)

    return convert


# --------------------------------------------------------------------------- its namespace
def _ufunc(name: str) -> Callable[..., Any]:
    function = getattr(np, name)

    def call(*args: Any, **options: Any) -> Any:
        unknown = options.keys() - fake_cupy.UFUNC_OPTIONS
        if unknown:
            raise TypeError(f"Wrong arguments {sorted(unknown)} for {name}")
        if len(args) > function.nin:  # the last is the output
            *args, options["out"] = args  # type: ignore[assignment]
        return _run(function, _operand, args, options)

    return call


def _function(name: str, known: str, of: Any = np) -> Callable[..., Any]:
    function = getattr(of, name)

    def call(*args: Any, **options: Any) -> Any:
        if known:
            bound(name, known, args, options)
        made = _run(function, _host, args, options)
        if name in ("array", "asarray") and type(args[0]) is not FakeArray:
            TRAFFIC["to_device"] += 1  # numbers written down in Python
        return made

    return call


def _scatter_add(array: FakeArray, key: Any, value: Any) -> None:
    """What `cupyx.scatter_add` does; atomic addition exists for few types."""
    keys = key if isinstance(key, tuple) else (key,)
    if any(type(k) is FakeArray for k in keys) and array.dtype.name not in fake_cupy.ATOMIC:
        raise TypeError("scatter_add only supports " + ", ".join(sorted(fake_cupy.ATOMIC)))
    np.add.at(array._host, _key(key, array.shape), _operand(value))


def _erf(x: FakeArray) -> FakeArray:
    """What `cupyx.scipy.special.erf` does: float16 becomes float64, integers are refused."""
    if x.dtype.kind != "f":
        raise TypeError("erf of integers")
    kind = np.float64 if x.dtype == np.float16 else x.dtype
    return FakeArray(np.asarray(np.frompyfunc(math.erf, 1, 1)(x._host), dtype=kind))


def from_host(array: Any) -> FakeArray:
    """A copy on the device, asked for."""
    TRAFFIC["to_device"] += 1
    return FakeArray(np.array(array))


def _namespace() -> Any:
    names: dict[str, Any] = {name: getattr(np, name) for name in fake_cupy.CONSTANTS}
    names |= {name: getattr(np, name) for name in fake_cupy.DTYPES}
    names |= {name: _ufunc(name) for name in (*fake_cupy.UFUNCS, *fake_cupy.GENERALISED)}
    names |= {name: _function(name, known) for name, known in fake_cupy.FUNCTIONS.items()}
    linalg = {name: _function(name, k, np.linalg) for name, k in fake_cupy.LINALG.items()}
    return SimpleNamespace(
        **names, linalg=SimpleNamespace(**linalg), ndarray=FakeArray, asnumpy=FakeArray.get
    )


XP = _namespace()
_add_attributes()
_add_operators()
for _name, _known in fake_cupy.METHODS.items():
    _add_method(_name, _known)
for _name, _known in fake_cupy.VARIADIC_METHODS.items():
    _add_method(_name, _known, variadic=True)


def install() -> None:
    """Register the device "fake"; its arrays come from the host by `from_host` alone."""
    made = adapt_cupy("fake", XP, _scatter_add, _erf)
    register_backend(replace(made, from_numpy=from_host))


install()
