"""Running values outside the loop: once for all steps, with time as a new first axis.

What does not wait for the carry runs as ordinary operations, on tensors (their gradients are the
ordinary ones) or on raw arrays. For each primitive a rule says what its parameters become when
some arguments have got a time axis in front; a primitive without a rule is run step by step.

Legend: T time steps; R the rank of a result in one step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from ..backend import backend_of
from ..ops.call import bind
from ..ops.linalg import matmul
from ..ops.shape import expand, reshape, stack
from .program import Value

__all__ = ["Environment", "run_values", "spread"]

Rule = Callable[[Value, list[Any], list[bool]], Any]


class Environment:
    """What is known of values: an array or tensor, with a time axis for those in `timed`."""

    def __init__(self, length: int) -> None:
        self.length = length
        self.known: dict[Value, Any] = {}
        self.timed: set[Value] = set()

    def put(self, value: Value, array: Any, timed: bool) -> None:
        """Bind a value."""
        self.known[value] = array
        if timed:
            self.timed.add(value)


def run_values(values: Iterable[Value], env: Environment) -> None:
    """Compute values, in order, from those that are known."""
    for value in values:
        if value in env.known:
            continue
        args = [env.known[a] if type(a) is Value else a for a in value.args]
        flags = [type(a) is Value and a in env.timed for a in value.args]
        assert value.op is not None
        if not any(flags):
            env.put(value, bind(value.op, args, value.params), False)
        elif env.length == 1 or not _has_rule(value, flags):
            env.put(value, _step_by_step(value, args, flags, env.length), True)
        else:
            env.put(value, _batched(value, args, flags, env.length), True)


def spread(array: Any, length: int) -> Any:
    """The same value for every step."""
    return expand(array, length, *array.shape)


def _step_by_step(value: Value, args: list[Any], flags: list[bool], length: int) -> Any:
    assert value.op is not None
    rows = [
        bind(value.op, [a[t] if f else a for a, f in zip(args, flags, strict=True)], value.params)
        for t in range(length)
    ]
    if hasattr(rows[0], "node"):
        return stack(rows)
    return backend_of(rows[0]).xp.stack(rows)


def _has_rule(value: Value, flags: list[bool]) -> bool:
    assert value.op is not None
    return value.op.form == "elementwise" or value.name in _RULES


def _batched(value: Value, args: list[Any], flags: list[bool], length: int) -> Any:
    assert value.op is not None
    rule = _RULES.get(value.name, _elementwise)
    return rule(value, args, flags)


def _aligned(value: Value, args: list[Any], flags: list[bool], rank: int) -> list[Any]:
    """Timed arguments with their axes moved to the right: the rest broadcasts as in a step."""
    out = []
    for arg, flag in zip(args, flags, strict=True):
        if flag and len(arg.shape) - 1 < rank:
            shape = arg.shape
            arg = reshape(arg, (shape[0], *(1,) * (rank - len(shape) + 1), *shape[1:]))
        out.append(arg)
    return out


def _elementwise(value: Value, args: list[Any], flags: list[bool]) -> Any:
    rank = len(value.shape)
    return bind(value.op, _aligned(value, args, flags, rank), value.params)  # type: ignore[arg-type]


def _matmul(value: Value, args: list[Any], flags: list[bool]) -> Any:
    x, y = args
    if flags[0] and not flags[1] and len(y.shape) == 2:  # one product over all rows
        rows = matmul(reshape(x, (-1, x.shape[-1])), y)
        return reshape(rows, (*x.shape[:-1], y.shape[-1]))
    x, y = _aligned(value, args, flags, len(value.shape))
    return bind(value.op, [x, y], {})  # type: ignore[arg-type]


def _with_params(change: Callable[[Value, Any], dict[str, Any]]) -> Rule:
    def rule(value: Value, args: list[Any], flags: list[bool]) -> Any:
        params = {**value.params, **change(value, args[0])}
        return bind(value.op, args, params)  # type: ignore[arg-type]

    return rule


def _all_timed(change: Callable[[Value, Any], dict[str, Any]]) -> Rule:
    """For variadic operations, whose arguments must all have the time axis."""

    def rule(value: Value, args: list[Any], flags: list[bool]) -> Any:
        length = next(a.shape[0] for a, f in zip(args, flags, strict=True) if f)
        whole = [a if f else spread(a, length) for a, f in zip(args, flags, strict=True)]
        return bind(value.op, whole, {**value.params, **change(value, whole[0])})  # type: ignore[arg-type]

    return rule


def _key(key: Any) -> tuple[Any, ...]:
    return (slice(None), *(key if type(key) is tuple else (key,)))


def _expand(value: Value, args: list[Any], flags: list[bool]) -> Any:
    x = _aligned(value, args, flags, len(value.shape))[0]
    return expand(x, (x.shape[0], *value.shape))


def _dims(value: Value, x: Any) -> dict[str, Any]:
    return {"dims": tuple(d + 1 for d in value.params["dims"])}


def _dim(value: Value, x: Any) -> dict[str, Any]:
    return {"dim": value.params["dim"] + 1}


COMPARISONS = (
    "eq", "ne", "lt", "le", "gt", "ge", "logical_and", "logical_or", "logical_not",
    "isnan", "isinf", "isfinite",
)  # fmt: skip
_RULES: dict[str, Rule] = {
    "matmul": _matmul,
    "expand": _expand,
    "reshape": _with_params(lambda v, x: {"shape": (x.shape[0], *v.shape)}),
    "permute": _with_params(lambda v, x: {"dims": (0, *(d + 1 for d in v.params["dims"]))}),
    "slice": _with_params(lambda v, x: {"key": _key(v.params["key"]), "span": None}),
    "pad": _with_params(lambda v, x: {"widths": ((0, 0), *v.params["widths"])}),
    **{n: _with_params(_dims) for n in ("sum", "amax", "amin", "logsumexp", "flip", "any", "all")},
    "cumsum": _with_params(_dim),
    **{n: _with_params(lambda v, x: {}) for n in ("clone", "cast", "alias", "detach")},
    **dict.fromkeys(COMPARISONS, _elementwise),
    "cat": _all_timed(_dim),
    "stack": _all_timed(_dim),
    "assemble": _all_timed(
        lambda v, x: {
            "keys": tuple(_key(k) for k in v.params["keys"]),
            "shape": (x.shape[0], *v.params["shape"]),
        }
    ),
}
