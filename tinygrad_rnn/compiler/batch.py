"""Running values outside the loop: once for all steps, with time as a new first axis.

What does not wait for the carry is computed on arrays (or, where a derivative of a derivative is
wanted, on tensors). For each primitive a rule says what is
to be called when some arguments have got a time axis in front; a primitive without a rule is run
step by step.

Legend: T time steps; R the rank of a result in one step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..ops.call import bind
from ..ops.shape import expand, stack
from ..tensor import Tensor
from .blas import product
from .lookups import ROWS
from .pool import pool
from .program import Refused, Value
from .ufuncs import UFUNCS

__all__ = ["all_steps_of", "batched", "in_place", "makes_its_own", "spread"]

SMALL = 1 << 18  # bytes
Flags = Sequence[bool]  # for each argument whether it has a time axis


def spread(array: Any, length: int) -> Any:
    """The same value for every step."""
    return expand(array, length, *array.shape)


# ------------------------------------------------------------------------------ what to call
def _once(value: Value, **changed: Any) -> Callable[..., Any]:
    """The operation itself, with some parameters changed."""
    op, params = value.op, {**value.params, **changed}
    assert op is not None
    forward = op.forward

    def run(*args: Any) -> Any:
        for arg in args:
            if type(arg) is Tensor:
                return bind(op, args, params)
        return forward(np, *args, **params)

    return run


def batched(value: Value, flags: Flags) -> Callable[..., Any]:
    """What gives a value: all its steps, if an argument has a time axis."""
    if not any(flags):
        return _once(value)
    assert value.op is not None
    rule = _elementwise if value.op.form == "elementwise" else _RULES.get(value.name)
    return _step_by_step(value, flags) if rule is None else rule(value, flags)


def _step_by_step(value: Value, flags: Flags) -> Callable[..., Any]:
    call = _once(value)

    def run(*args: Any) -> Any:
        length = next(len(a) for a, f in zip(args, flags, strict=True) if f)
        rows = [
            call(*[a[t] if f else a for a, f in zip(args, flags, strict=True)])
            for t in range(length)
        ]
        return stack(rows) if type(rows[0]) is Tensor else np.stack(rows)

    return run


def _elementwise(value: Value, flags: Flags) -> Callable[..., Any]:
    return _aligned(_reusing_memory(value, flags), value, flags)


def _reusing_memory(value: Value, flags: Flags) -> Callable[..., Any]:
    """The operation, whose result is small and goes where an earlier one has been.

    To give memory back to the system and to get it again takes longer than to fill it.
    """
    once, ufunc = _once(value), UFUNCS.get(value.name)
    if not isinstance(ufunc, np.ufunc) or value.dtype.kind != "f":
        return once
    timed, row = flags.index(True), value.size * value.dtype.itemsize

    def run(*args: Any) -> Any:
        length = len(args[timed])
        if length * row > SMALL or Tensor in map(type, args):
            return once(*args)
        return ufunc(*args, out=pool.array((length, *value.shape), value.dtype))

    return run


def in_place(value: Value, flags: Flags) -> Callable[..., Any] | None:
    """`f(*args, out=)` for a value of all steps, if there is a form that is told where it goes."""
    assert value.op is not None
    ufunc = UFUNCS.get(value.name)
    if not isinstance(ufunc, np.ufunc) or value.op.form != "elementwise":
        return None

    def run(*args: Any, out: Any) -> Any:
        if Tensor in map(type, args):
            return call(*args)
        return ufunc(*args, out=out)

    call = batched(value, flags)
    sizes = {len(a.shape) for a, flag in zip(value.args, flags, strict=True) if flag}
    return run if sizes == {len(value.shape)} and value.dtype.kind == "f" else None


def makes_its_own(value: Value, flags: Flags) -> bool:
    """Whether all steps of a value are written into memory that nothing else has."""
    return in_place(value, flags) is not None or (value.name == "matmul" and flags[0])


def _aligned(call: Callable[..., Any], value: Value, flags: Flags) -> Callable[..., Any]:
    """`call` on timed arguments with their axes moved to the right: the rest broadcasts."""
    rank = len(value.shape)
    missing = [
        rank - len(arg.shape) if flag else 0 for arg, flag in zip(value.args, flags, strict=True)
    ]
    if not any(n > 0 for n in missing):
        return call

    def run(*args: Any) -> Any:
        return call(*[
            a.reshape(len(a), *(1,) * n, *a.shape[1:]) if n > 0 else a
            for a, n in zip(args, missing, strict=True)
        ])  # fmt: skip

    return run


def _matmul(value: Value, flags: Flags) -> Callable[..., Any]:
    if flags[0] and not flags[1] and len(value.args[1].shape) == 2:
        return _rows_times  # one product over all rows
    return _aligned(_once(value), value, flags)


def _rows_times(x: Any, y: Any) -> Any:
    return product(x.reshape(-1, x.shape[-1]), y).reshape(*x.shape[:-1], y.shape[-1])


def _index(value: Value, flags: Flags) -> Callable[..., Any]:
    once = _once(value)
    if value.params["template"] != ROWS or flags[0]:
        return _step_by_step(value, flags)

    def run(table: Any, number: Any) -> Any:
        try:
            return once(table, number)
        except IndexError:  # the loop says which
            raise Refused("an index out of range") from None

    return run


def _reshape(value: Value, flags: Flags) -> Callable[..., Any]:
    return lambda x: x.reshape(len(x), *value.shape)


def _expand(value: Value, flags: Flags) -> Callable[..., Any]:
    return _aligned(lambda x: expand(x, len(x), *value.shape), value, flags)


def _with_params(change: Callable[[Value], dict[str, Any]]) -> Any:
    return lambda value, flags: _once(value, **change(value))


def _all_timed(change: Callable[[Value, int], dict[str, Any]]) -> Any:
    """For variadic operations, whose arguments must all have the time axis."""

    def rule(value: Value, flags: Flags) -> Callable[..., Any]:
        def run(*args: Any) -> Any:
            length = next(len(a) for a, f in zip(args, flags, strict=True) if f)
            whole = [a if f else spread(a, length) for a, f in zip(args, flags, strict=True)]
            return _once(value, **change(value, length))(*whole)

        return run

    return rule


def all_steps_of(key: Any) -> tuple[Any, ...]:
    """A key of a value, with the time axis before it."""
    return (slice(None), *(key if type(key) is tuple else (key,)))


def _dims(value: Value) -> dict[str, Any]:
    return {"dims": tuple(d + 1 for d in value.params["dims"])}


def _dim(value: Value, *_: Any) -> dict[str, Any]:
    return {"dim": value.params["dim"] + 1}


COMPARISONS = (
    "eq", "ne", "lt", "le", "gt", "ge", "logical_and", "logical_or", "logical_not",
    "isnan", "isinf", "isfinite",
)  # fmt: skip
_RULES: dict[str, Callable[[Value, Flags], Callable[..., Any]]] = {
    "matmul": _matmul,
    "index": _index,
    "expand": _expand,
    "reshape": _reshape,
    "permute": _with_params(lambda v: {"dims": (0, *(d + 1 for d in v.params["dims"]))}),
    "slice": _with_params(lambda v: {"key": all_steps_of(v.params["key"]), "span": None}),
    "pad": _with_params(lambda v: {"widths": ((0, 0), *v.params["widths"])}),
    **{n: _with_params(_dims) for n in ("sum", "amax", "amin", "logsumexp", "flip", "any", "all")},
    "cumsum": _with_params(_dim),
    **{n: _with_params(lambda v: {}) for n in ("clone", "cast", "alias", "detach")},
    **dict.fromkeys(COMPARISONS, _elementwise),
    "cat": _all_timed(_dim),
    "stack": _all_timed(_dim),
    "assemble": _all_timed(
        lambda v, length: {
            "keys": tuple(all_steps_of(k) for k in v.params["keys"]),
            "shape": (length, *v.params["shape"]),
        }
    ),
}
