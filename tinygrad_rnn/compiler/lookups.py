"""Rows that a step looks up in a table, and what flows back into the table.

On the tape the cotangent of a table is a part of a whole at a key of integers. In a program the
integers are values, so what is `assemble` there is `scatter` here: zeros, with each row of g added
at the row of the table from which it came. Over all steps that is one sum, row after row.

    lookup   table[i] @ W  becomes  (table @ W)[i], one product of the table in place of one a step

Legend: V rows of the table, B rows of a step.
"""

from __future__ import annotations

from typing import Any

from ..backend import backend_of
from ..graph import Primitive, primitives
from ..ops.call import bind
from ..ops.indexing import HOLE, filled
from .program import Graph, Value, recorded
from .step import Step, classes, rewrite

__all__ = ["ROWS", "is_lookup", "lookup", "scattered"]

ROWS = (HOLE,)  # the template of table[i]
MOST = 8  # times as many rows as a step has: of a larger table few rows are read
LEAST = 16  # columns, below which a product costs no more than to look its result up


# ------------------------------------------------------------------------------- the primitive
def _scatter(xp: Any, g: Any, *arrays: Any, template: Any, shape: Any) -> Any:
    whole = xp.zeros(shape, g.dtype)
    backend_of(g).add_at(whole, filled(template, arrays), g)
    return whole


def _back(g: Any, saved: Any, node: Any) -> Any:
    params = {"template": node.params["template"], "in_shape": node.params["shape"]}
    return bind(primitives["index"], [g, *saved], params)


def _forward_mode(tangents: Any, values: Any, out: Any, params: Any) -> Any:
    return None if tangents[0] is None else bind(scatter, [tangents[0], *values[1:]], params)


scatter = Primitive(
    "scatter", "linear", _scatter, (_back,), _forward_mode,
    lambda needed, out, arrays: tuple(arrays[1:]), range(1, 33), inputs=["g"],
)  # fmt: skip


def scattered(graph: Graph, values: tuple[Any, ...], params: dict[str, Any]) -> Value | None:
    """An `assemble`, some keys of which are values of the program; None if none are."""
    keys, shape = params["keys"], params["shape"]
    looked_up = [type(key) is tuple and Value in map(type, key) for key in keys]
    if not any(looked_up):
        return None
    terms = []
    for value, key, wanted in zip(values, keys, looked_up, strict=True):
        if wanted:
            template = tuple(HOLE if type(k) is Value else k for k in key)
            numbers = [k for k in key if type(k) is Value]
            how = {"template": template, "shape": shape}
            terms.append(graph.record(scatter, (value, *numbers), how))
    plain = [(v, k) for v, k, wanted in zip(values, keys, looked_up, strict=True) if not wanted]
    if plain:
        parts, places = zip(*plain, strict=True)
        terms.append(recorded("assemble", *parts, keys=places, shape=shape))
    total = terms[0]
    for term in terms[1:]:
        total = recorded("add", total, term)
    return total


# ------------------------------------------------------------------------------------ the pass
def is_lookup(value: Any) -> bool:
    """Whether it is table[i] of a matrix and a vector of integers."""
    return (
        type(value) is Value
        and value.name == "index"
        and value.params["template"] == ROWS
        and len(value.args[0].shape) == 2
        and len(value.shape) == 2
    )


def lookup(step: Step) -> Step:
    """Products of looked up rows, made of the table once, and then looked up."""
    found = classes(step.values)

    def pays(rows: Value, matrix: Value) -> bool:
        table = rows.args[0]
        same = not found[table] and not found[matrix] and len(matrix.shape) == 2
        small = table.shape[0] <= MOST * rows.shape[0] and table.shape[1] >= LEAST
        return bool(found[rows]) and same and small

    def rule(graph: Graph, value: Value, args: tuple[Any, ...]) -> Value:
        if value.name == "matmul" and is_lookup(value.args[0]) and pays(*value.args):
            rows, matrix = args
            table, number = rows.args
            whole = recorded("matmul", table, matrix)
            return recorded("index", whole, number, template=ROWS, in_shape=whole.shape)
        return graph.again(value, args)

    return rewrite(step, rule)
