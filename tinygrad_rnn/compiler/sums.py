"""Cotangents of what is the same in every step: sums over the steps.

The sum goes through everything linear to where it is cheapest: a sum of products aₜ·bₜ of matrices
is one product over the stacked steps, a sum of sums is one sum.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .program import Value
from .script import Script

__all__ = ["total"]


def total(value: Value, script: Script, columns: bool = False) -> str:
    """The variable of Σₜ of a value, as an array of its shape in one step.

    `columns` asks for a product in the order of a transposed matrix, as W in x @ W.T has it: its
    gradient goes back to W without being turned around in memory.
    """
    key = value, columns
    if key not in script.sums:
        rule = None if value in script.known else _RULES.get(value.name)
        result = rule(value, script, columns) if rule is not None else None
        script.sums[key] = _plain(value, script) if result is None else result
    return script.sums[key]


def _plain(value: Value, script: Script) -> str:
    array = script.array(value)
    if value in script.timed:
        return script.made(_sum_of_steps, array)
    return script.made(np.multiply, array, "length")


def _sum_of_steps(array: Any) -> Any:
    return array.sum(0)


def _timed(value: Any, script: Script) -> bool:
    script.array(value)
    return value in script.timed


def _matmul(value: Value, script: Script, columns: bool) -> str | None:
    left, right = value.args
    if len(left.shape) != 2 or len(right.shape) != 2:
        return None
    if not _timed(left, script) or not _timed(right, script):
        return None
    product = _by_columns if columns else _by_rows
    return script.made(product, script.known[left], script.known[right])


def _by_rows(a: Any, b: Any) -> Any:
    """(T, M, K)·(T, K, N) summed over T: one product over the axis (T, K)."""
    return _rows(a.transpose(0, 2, 1)).T @ _rows(b)


def _by_columns(a: Any, b: Any) -> Any:
    return (_rows(b).T @ _rows(a.transpose(0, 2, 1))).T


def _rows(a: Any) -> Any:
    return a.reshape(-1, a.shape[-1])


def _sum(value: Value, script: Script, columns: bool) -> str | None:
    source = value.args[0]
    if not _timed(source, script):
        return None
    dims = value.params["dims"]
    axes = (0, *(d + 1 for d in dims))
    rows = dims == (0,) and len(source.shape) == 2 and source.dtype.kind == "f"

    def summed(x: Any) -> Any:
        if rows and x.flags.c_contiguous:
            found = np.ones(x.shape[0] * x.shape[1], x.dtype) @ _rows(x)  # it adds pairwise
        else:
            found = x.sum(axis=axes)
        return found.reshape(value.shape)

    return script.made(summed, script.known[source])


def _linear(value: Value, script: Script, columns: bool) -> str:
    turned = columns != (value.name == "permute")
    return _applied(value, script, total(value.args[0], script, turned))


def _add(value: Value, script: Script, columns: bool) -> str | None:
    a, b = value.args
    if not (type(a) is Value and type(b) is Value and a.shape == b.shape == value.shape):
        return None
    return _applied(value, script, *(total(x, script, columns) for x in (a, b)))


def _assemble(value: Value, script: Script, columns: bool) -> str:
    return _applied(value, script, *(total(a, script, columns) for a in value.inputs))


def _applied(value: Value, script: Script, *args: str) -> str:
    forward, params = value.op.forward, value.params  # type: ignore[union-attr]
    return script.made(lambda *arrays: forward(np, *arrays, **params), *args)


_RULES = {
    "matmul": _matmul, "sum": _sum, "reshape": _linear, "permute": _linear, "neg": _linear,
    "slice": _linear, "add": _add, "sub": _add, "assemble": _assemble,
}  # fmt: skip
