"""Arrays rearranged: repeated, rolled, put side by side; and new ones like a given one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..checks import check_dim, check_shape, is_index
from ..create import full, rand, randn
from ..errors import ArgumentError, DTypeError, ShapeError
from ..ops.shape import cat, expand, flatten, reshape, unsqueeze
from ..tensor import Tensor, as_tensor, method

__all__ = [
    "concat", "empty_like", "hstack", "randn_like", "ravel", "repeat_interleave", "roll", "tile",
    "vstack",
]  # fmt: skip

concat = cat


# -------------------------------------------------------------------------------------- repeating
@method("repeat")
def _repeat(x: Any, *sizes: Any) -> Any:
    """x so many times along each axis; more numbers than axes make new ones in front."""
    times = check_shape(sizes, "repeat")
    if len(times) < x.ndim:
        raise ShapeError("repeat", f"a number for each of the {x.ndim} axes", str(times))
    return tile(x, times)


@method("tile")
def tile(x: Any, *sizes: Any) -> Any:
    """x so many times along the last axes; more numbers than axes make new ones in front.

    >>> import tinygrad_rnn as tg
    >>> tg.tile(tg.tensor([1, 2]), (2, 2)).tolist()
    [[1, 2, 1, 2], [1, 2, 1, 2]]
    """
    times = check_shape(sizes, "tile")
    count = max(len(times), x.ndim)
    times = (1,) * (count - len(times)) + times
    shape = (1,) * (count - x.ndim) + tuple(x.shape)
    thin = reshape(x, tuple(n for size in shape for n in (1, size)))
    spread = expand(thin, tuple(n for pair in zip(times, shape, strict=True) for n in pair))
    return reshape(spread, tuple(k * n for k, n in zip(times, shape, strict=True)))


@method("repeat_interleave")
def repeat_interleave(x: Any, repeats: int, dim: int | None = None) -> Any:
    """Each element (or slice along `dim`) `repeats` times in a row."""
    if not is_index(repeats):
        raise DTypeError("repeat_interleave", "one integer, the same for all", repr(repeats))
    (times,) = check_shape((repeats,), "repeat_interleave")
    if dim is None:
        x, dim = flatten(x) if x.ndim else reshape(x, 1), 0
    axis = check_dim(dim, x.ndim, "repeat_interleave")
    shape = tuple(x.shape)
    thick = expand(unsqueeze(x, axis + 1), (*shape[: axis + 1], times, *shape[axis + 1 :]))
    return reshape(thick, (*shape[:axis], shape[axis] * times, *shape[axis + 1 :]))


# ----------------------------------------------------------------------------------- moving about
@method("roll")
def roll(x: Any, shifts: Any, dims: Any = None) -> Any:
    """The elements moved along the axes, those that leave coming in again on the other side.

    >>> import tinygrad_rnn as tg
    >>> tg.roll(tg.tensor([1, 2, 3]), 1).tolist()
    [3, 1, 2]
    """
    if dims is None:
        return reshape(roll(flatten(x), shifts, 0), tuple(x.shape)) if x.ndim else x
    ways = [(s, d) for s, d in zip(_several(shifts), _several(dims), strict=False)]
    if len(_several(shifts)) != len(_several(dims)):
        raise ArgumentError("roll", "as many shifts as dims", f"{shifts} and {dims}")
    for shift, dim in ways:
        if not is_index(shift):
            raise DTypeError("roll", "integer shifts", repr(shift))
        axis = check_dim(dim, x.ndim, "roll")
        cut = -int(shift) % max(1, x.shape[axis]) if x.ndim else 0
        lead = (slice(None),) * axis
        if cut:
            x = cat([x[(*lead, slice(cut, None))], x[(*lead, slice(None, cut))]], axis)
    return x


def _several(value: Any) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, (tuple, list)) else (value,)


def _lifted(tensors: Any, called: str, ndim: int) -> list[Any]:
    if not isinstance(tensors, (tuple, list)) or not tensors:
        raise DTypeError(called, "a list or tuple of tensors", type(tensors).__name__)
    parts = [t if hasattr(t, "dtype") else as_tensor(t) for t in tensors]
    return [t if t.ndim >= ndim else reshape(t, (1,) * (ndim - t.ndim) + tuple(t.shape))
            for t in parts]  # fmt: skip


def hstack(tensors: Sequence[Any]) -> Any:
    """The tensors side by side: along the second axis, vectors along their only one."""
    parts = _lifted(tensors, "hstack", 1)
    return cat(parts, 0 if parts[0].ndim == 1 else 1)


def vstack(tensors: Sequence[Any]) -> Any:
    """The tensors one under the other: along the first axis, vectors as rows."""
    return cat(_lifted(tensors, "vstack", 2), 0)


# ------------------------------------------------------------------------------- like another one
def empty_like(x: Tensor, dtype: Any = None) -> Tensor:
    """A tensor of zeros with the shape, dtype and device of `x`."""
    return full(x.shape, 0, x.dtype if dtype is None else dtype, x.device)


def randn_like(x: Tensor) -> Tensor:
    """Normal random numbers with mean 0 and variance 1, like `x`."""
    return randn(*x.shape, dtype=x.dtype, device=x.device)


def _new(name: str, value: float) -> None:
    def make(x: Tensor, *shape: Any, dtype: Any = None) -> Tensor:
        sizes = check_shape(shape, name)
        return full(sizes, value, x.dtype if dtype is None else dtype, x.device)

    make.__name__ = name
    method(name)(make)


_new("new_zeros", 0)
_new("new_ones", 1)


@method("new_full")
def _new_full(x: Tensor, shape: Any, value: float, dtype: Any = None) -> Tensor:
    return full(shape, value, x.dtype if dtype is None else dtype, x.device)


@method("uniform_")
def _uniform_(self: Tensor, low: float = 0.0, high: float = 1.0) -> Tensor:
    if not low <= high:
        raise ArgumentError("uniform_", "low <= high", f"{low} and {high}")
    return self.copy_(rand(*self.shape, dtype=self.dtype, device=self.device) * (high - low) + low)


@method("normal_")
def _normal_(self: Tensor, mean: float = 0.0, std: float = 1.0) -> Tensor:
    if not std >= 0:
        raise ArgumentError("normal_", "std >= 0", repr(std))
    return self.copy_(randn(*self.shape, dtype=self.dtype, device=self.device) * std + mean)


@method("ravel")
def ravel(x: Any) -> Any:
    """All elements as a vector."""
    return reshape(x, -1)


@method("view_as", "reshape_as")
def _reshape_as(x: Any, other: Any) -> Any:
    return reshape(x, tuple(other.shape))


@method("expand_as")
def _expand_as(x: Any, other: Any) -> Any:
    return expand(x, tuple(other.shape))
