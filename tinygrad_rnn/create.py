"""Tensors from nothing: constants, ranges and random numbers.

Random numbers come from one NumPy generator on the host, whatever the device, so that a seed gives
the same numbers everywhere; `get_rng_state` and `set_rng_state` save and restore it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from math import inf
from typing import Any

import numpy as np

from .backend import get_backend
from .checks import check_dtype, check_shape, get_default_dtype, is_index
from .errors import ArgumentError, DTypeError, ShapeError
from .tensor import Tensor, tensor

__all__ = [
    "arange", "empty", "eye", "full", "full_like", "get_rng_state", "holds", "linspace",
    "manual_seed", "ones", "ones_like", "owned", "rand", "rand_like", "randint", "randn",
    "randperm", "set_rng_state", "zeros", "zeros_like",
]  # fmt: skip


def _made(array: Any, dtype: Any, device: Any, requires_grad: bool, called: str) -> Tensor:
    wanted = check_dtype(dtype if dtype is not None else get_default_dtype(), called)
    backend = get_backend("cpu" if device is None else device)
    return _given(Tensor(backend.from_numpy(np.asarray(array, dtype=wanted))), requires_grad)


def _given(made: Tensor, leaf: bool) -> Tensor:
    if (recorder := tracing()) is not None:
        recorder.made[id(made.array)] = made.array
    return made.requires_grad_() if leaf else made


def full(
    shape: Any, value: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """A tensor filled with one number, which the dtype must be able to hold."""
    number = value if getattr(value, "ndim", 1) else value.item()
    if not isinstance(number, bool | int | float):
        raise DTypeError("full", "one number", repr(value))
    if dtype is None and not isinstance(value, float):
        dtype = getattr(value, "dtype", bool if isinstance(number, bool) else np.int64)
    kind = check_dtype(get_default_dtype() if dtype is None else dtype, "full")
    if not holds(kind, number):
        raise DTypeError("full", f"one number that fits {kind}", repr(value))
    number = bool(number) if kind.kind == "b" else number
    return _filled(check_shape((shape,), "full"), "full", kind, device, requires_grad, number)


def holds(kind: Any, number: float) -> bool:
    """Whether a number fits a dtype."""
    if kind.kind in "iu":
        return bool(np.iinfo(kind).min <= number <= np.iinfo(kind).max)
    if kind.kind == "b" or not -inf < number < inf:
        return True
    form = np.finfo(kind)  # a float less than half a unit beyond the largest is rounded to that
    beyond = 1 if isinstance(number, int) else 2 ** (form.maxexp - form.nmant - 2)
    return abs(number) < int(form.max) + beyond


def _filled(sizes: Any, name: str, dtype: Any, device: Any, leaf: bool, *value: Any) -> Tensor:
    kind = check_dtype(get_default_dtype() if dtype is None else dtype, name)
    backend = get_backend("cpu" if device is None else device)
    try:
        made = Tensor(getattr(backend.xp, name)(sizes, *value, dtype=kind))
    except MemoryError:
        raise ShapeError(name, "a shape that fits memory", str(sizes)) from None
    return _given(made, leaf)


def owned(data: Any) -> Tensor:
    """A tensor as it is; of an array a copy, since its owner may write to it before backward."""
    return data if isinstance(data, Tensor) else tensor(data)


def zeros(
    *shape: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """A tensor of zeros.

    >>> zeros(2, 3).shape
    (2, 3)
    """
    return _filled(check_shape(shape, "zeros"), "zeros", dtype, device, requires_grad)


def ones(*shape: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """A tensor of ones."""
    return _filled(check_shape(shape, "ones"), "ones", dtype, device, requires_grad)


empty = zeros  # reading uninitialised memory has never helped a learner


def full_like(x: Tensor, value: float, dtype: Any = None) -> Tensor:
    """A tensor like `x`, filled with one value."""
    return full(x.shape, value, x.dtype if dtype is None else dtype, x.device)


def zeros_like(x: Tensor, dtype: Any = None) -> Tensor:
    """A tensor of zeros with the shape, dtype and device of `x`."""
    return zeros(x.shape, dtype=x.dtype if dtype is None else dtype, device=x.device)


def ones_like(x: Tensor, dtype: Any = None) -> Tensor:
    """A tensor of ones with the shape, dtype and device of `x`."""
    return ones(x.shape, dtype=x.dtype if dtype is None else dtype, device=x.device)


def arange(
    start: float, stop: float | None = None, step: float = 1, dtype: Any = None, device: Any = None
) -> Tensor:
    """start, start + step, … below stop; integers if all three are."""
    if step == 0:
        raise ArgumentError("arange", "a step that is not 0", "0")
    low, high = (0, start) if stop is None else (start, stop)
    try:
        values = np.arange(low, high, step)
    except (TypeError, ValueError) as error:
        raise DTypeError("arange", "finite numbers", str(error)) from None
    kind = dtype if dtype is not None else None if values.dtype.kind == "f" else values.dtype
    return _made(values, kind, device, False, "arange")


def linspace(
    start: float, stop: float, steps: int, dtype: Any = None, device: Any = None
) -> Tensor:
    """`steps` equally spaced numbers from start to stop."""
    if not is_index(steps) or steps < 0:
        raise ArgumentError("linspace", "steps, an integer >= 0,", steps)
    return _made(np.linspace(start, stop, steps), dtype, device, False, "linspace")


def eye(n: int, m: int | None = None, dtype: Any = None, device: Any = None) -> Tensor:
    """The identity matrix."""
    rows, columns = check_shape((n, n if m is None else m), "eye")
    return _made(np.eye(rows, columns), dtype, device, False, "eye")


# --------------------------------------------------------------------------- random numbers
_generator = [np.random.Generator(np.random.PCG64())]


def manual_seed(seed: int) -> None:
    """Start the random numbers anew: the same seed gives the same numbers on every device."""
    if not is_index(seed) or seed < 0:
        raise ArgumentError("manual_seed", "an integer >= 0", repr(seed))
    _generator[0] = np.random.Generator(np.random.PCG64(int(seed)))


# what a step is traced by: it draws, and knows what was made meanwhile
_recorder: ContextVar[Any] = ContextVar("recorder", default=None)
tracing = _recorder.get


def generator() -> np.random.Generator:
    """The generator that all random functions draw from."""
    if _recorder.get() is not None:
        raise ArgumentError("drawing", "rand, randn or dropout", "another random function")
    return _generator[0]


@contextmanager
def drawing(recorder: Any) -> Iterator[None]:
    """Inside, `rand` and `randn` ask `recorder.draw(method, shape, dtype)` and draw nothing.

    The loop compiler traces a step so: what is random in it is drawn for all steps, in their order.
    What is made inside is among `recorder.made`, by its id: a change of anything else in place
    would be made too often, and is a `recorder.refused(reason)`.
    """
    token = _recorder.set(recorder)
    try:
        yield
    finally:
        _recorder.reset(token)


def get_rng_state() -> dict[str, Any]:
    """The state of the generator, as plain data."""
    return dict(_generator[0].bit_generator.state)


def set_rng_state(state: dict[str, Any]) -> None:
    """Continue the random numbers where `get_rng_state` was called."""
    fresh: Any = np.random.PCG64()
    try:
        fresh.state = state
    except (KeyError, TypeError, ValueError) as error:
        raise ArgumentError("set_rng_state", "a state from get_rng_state", str(error)) from None
    _generator[0] = np.random.Generator(fresh)


def _drawn(draw: Any, shape: Any, dtype: Any, device: Any, requires_grad: bool) -> Tensor:
    kind = check_dtype(get_default_dtype() if dtype is None else dtype, "random")
    direct = kind if kind.char in "fd" else np.dtype("float32")
    trace = tracing()
    if trace is not None and kind is direct and not requires_grad and device in (None, "cpu"):
        return Tensor(trace.draw(draw, check_shape(shape, "random"), kind))
    generator()  # refuses, if what is drawn can't be recorded
    array = np.asarray(draw(check_shape(shape, "random"), dtype=direct))
    return _made(array, kind, device, requires_grad, "random")


def rand(*shape: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Uniform random numbers in [0, 1)."""
    return _drawn(_generator[0].random, shape, dtype, device, requires_grad)


def randn(
    *shape: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """Normal random numbers with mean 0 and variance 1."""
    return _drawn(_generator[0].standard_normal, shape, dtype, device, requires_grad)


def rand_like(x: Tensor) -> Tensor:
    """Uniform random numbers in [0, 1), like `x`."""
    return rand(*x.shape, dtype=x.dtype, device=x.device)


def randint(
    low: int, high: Any, shape: Any = None, dtype: Any = np.int64, device: Any = None
) -> Tensor:
    """Random integers low … high − 1; `randint(high, shape)` starts at 0."""
    if shape is None:
        low, high, shape = 0, low, high
    if not (is_index(low) and is_index(high)):
        raise DTypeError("randint", "integer bounds", f"{low!r} and {high!r}")
    if high <= low:
        raise ArgumentError("randint", "low < high", f"{low} and {high}")
    if not (holds(check_dtype(dtype, "randint"), low) and holds(np.dtype(dtype), high - 1)):
        raise DTypeError("randint", f"bounds that fit {np.dtype(dtype)}", f"{low} and {high}")
    drawn = generator().integers(low, high, check_shape((shape,), "randint"))
    return _made(drawn, dtype, device, False, "randint")


def randperm(n: int, device: Any = None) -> Tensor:
    """0 … n − 1 in random order."""
    (count,) = check_shape((n,), "randperm")
    return _made(generator().permutation(count), np.int64, device, False, "randperm")
