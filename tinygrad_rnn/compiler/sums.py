"""Cotangents of what is the same in every step: sums over the steps.

The sum goes through everything linear to where it is cheapest: a sum of products aₜ·bₜ of matrices
is one product over the stacked steps, a sum of sums is one sum.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .batch import Environment, run_values
from .program import Value, ancestors

__all__ = ["evaluate", "total"]


def evaluate(value: Value, env: Environment) -> Any:
    """The array of a value, stacked over time if it is in `env.timed`."""
    if value not in env.known:
        needed = ancestors([value], lambda v: v in env.known) - env.known.keys()
        run_values(sorted(needed, key=lambda v: v.index), env)
    return env.known[value]


def total(value: Value, env: Environment, columns: bool = False) -> Any:
    """Σₜ of a value, as an array of its shape in one step.

    `columns` asks for a product in the order of a transposed matrix, as W in x @ W.T has it: its
    gradient goes back to W without being turned around in memory.
    """
    rule = None if value in env.known else _RULES.get(value.name)
    result = rule(value, env, columns) if rule is not None else None
    if result is not None:
        return result
    array = evaluate(value, env)
    return array.sum(0) if value in env.timed else array * env.length


def _timed(value: Any, env: Environment) -> bool:
    evaluate(value, env)
    return value in env.timed


def _matmul(value: Value, env: Environment, columns: bool) -> Any:
    left, right = value.args
    if len(left.shape) != 2 or len(right.shape) != 2:
        return None
    if not _timed(left, env) or not _timed(right, env):
        return None
    a, b = env.known[left], env.known[right]
    # (T, M, K)·(T, K, N) summed over T: one product over the axis (T, K)
    left, right = _rows(a.transpose(0, 2, 1)), _rows(b)
    return (right.T @ left).T if columns else left.T @ right


def _rows(a: Any) -> Any:
    return a.reshape(-1, a.shape[-1])


def _sum(value: Value, env: Environment, columns: bool) -> Any:
    source = value.args[0]
    if not _timed(source, env):
        return None
    dims = value.params["dims"]
    x = env.known[source]
    if dims == (0,) and len(source.shape) == 2 and x.flags.c_contiguous and x.dtype.kind == "f":
        found = np.ones(x.shape[0] * x.shape[1], x.dtype) @ _rows(x)  # a product adds pairwise
    else:
        found = x.sum(axis=(0, *(d + 1 for d in dims)))
    return found.reshape(value.shape)


def _linear(value: Value, env: Environment, columns: bool) -> Any:
    turned = columns != (value.name == "permute")
    return _applied(value, [total(value.args[0], env, turned)])


def _add(value: Value, env: Environment, columns: bool) -> Any:
    a, b = value.args
    if not (type(a) is Value and type(b) is Value and a.shape == b.shape == value.shape):
        return None
    return _applied(value, [total(x, env, columns) for x in (a, b)])


def _assemble(value: Value, env: Environment, columns: bool) -> Any:
    return _applied(value, [total(a, env, columns) for a in value.inputs])


def _applied(value: Value, args: list[Any]) -> Any:
    assert value.op is not None
    return value.op.forward(np, *args, **value.params)


_RULES = {
    "matmul": _matmul, "sum": _sum, "reshape": _linear, "permute": _linear, "neg": _linear,
    "slice": _linear, "add": _add, "sub": _add, "assemble": _assemble,
}  # fmt: skip
