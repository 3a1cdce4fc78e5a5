"""Inputs that were looked up in a table before the scan: the lookup is moved into the step.

An embedding is called before the recurrent layer that reads it, so that the layer sees vectors. If
the vectors are rows of one table, of which there are few, the step may as well look them up itself,
and then products with them are made of the table once (`lookups`).

Legend: T time steps, B batch, V rows of the table, D its columns.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from ..graph import Node, grad_mode, primitives, touched_since
from ..scan import Problem
from ..tensor import Tensor
from ..tree import tree_map, unflatten
from .cut import Loop
from .lookups import LEAST, MOST, ROWS

__all__ = ["looked_up", "makes_products_fewer"]


def looked_up(problem: Problem) -> tuple[Problem, Node] | None:
    """The problem with symbols in place of vectors, and the node that made those; None if not so.

    The table is put together again from its rows: none that is not read need be right.
    """
    (x, *others), structure = problem.inputs
    node, array = x.node, x.array
    if node is None or others or array.ndim != 3 or not grad_mode():
        return None
    if node.primitive is not primitives["index"] or node.saved is None or not node.parents[0]:
        return None
    params = node.params
    if params["template"] != ROWS or len(params["in_shape"]) != 2:
        return None
    number, (rows, columns) = node.saved[0], params["in_shape"]
    few = rows <= MOST * array.shape[1] and 2 * rows <= number.size and columns >= LEAST
    if not few or touched_since(number, node.index) or touched_since(array, node.index):
        return None
    table = np.zeros((rows, columns), array.dtype)
    table[number] = array
    step = _looking_up(problem.step, Tensor(table, node.parents[0]))
    return replace(problem, step=step, xs=unflatten(structure, [Tensor(number)])), node


def _looking_up(step: Callable[..., Any], table: Tensor) -> Callable[..., Any]:
    def inner(carry: Any, numbers: Any) -> Any:
        return step(carry, tree_map(lambda number: table[number], numbers))

    inner.__wrapped__ = step  # type: ignore[attr-defined]
    return inner


def makes_products_fewer(loop: Loop) -> bool:
    """Whether a step looks up products of a table."""
    return any(v.name == "index" and v.inputs[0].name == "matmul" for v in loop.body)
