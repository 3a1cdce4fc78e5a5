"""Derivatives of derivatives: a compiled scan run again step by step on the graph.

Legend: T time steps, B batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..autodiff import gradients
from ..errors import InPlaceError
from ..graph import Node, enable_grad, primitives, touched_since
from ..ops.call import bind
from ..ops.shape import cat, stack
from ..tensor import Tensor
from .draws import drawn_again
from .outside import step_on_rows
from .packing import Ragged, pack, sort_rows, unpack
from .program import Value

if TYPE_CHECKING:
    from .core import Call

__all__ = ["check_untouched", "replayed"]


def replayed(g: Sequence[Any], call: Call, node: Node) -> list[Any]:
    """The cotangents, from the core run step by step on the graph, so that they can be derived."""
    inputs = [
        _attached(t, p) if w else t.detach()
        for t, p, w in zip(call.inputs, node.parents, call.wanted, strict=True)
    ]
    if call.spans is not None and call.draws:
        stop, kept = call.core.stacked.stop, (node.params or {})["kept"]
        numbers = drawn_again(call.draws, call.length, call.reverse, kept.states[0])
        inputs[stop - len(numbers) : stop] = numbers
    with enable_grad():
        packed = type(call.rows) is Ragged
        outputs = (_on_packed_rows if packed else _on_the_graph)(call, inputs)
    pairs = [(y, c) for y, c in zip(outputs, g, strict=True) if c is not None and y.requires_grad]
    targets = [t for t, w in zip(inputs, call.wanted, strict=True) if w]
    found = (
        iter(
            gradients(
                [y for y, _ in pairs],
                targets,
                [c for _, c in pairs],
                create_graph=True,
                allow_unused=True,
            )
        )
        if pairs
        else iter([None] * len(targets))
    )
    return [next(found) if w else None for w in call.wanted]


def check_untouched(call: Call, node: Node) -> None:
    """Raise if an input has been changed in place since `node` was made."""
    for tensor in call.inputs:
        if touched_since(tensor.array, node.index):
            raise InPlaceError(
                "backward of scan", "its inputs as they were", "one changed in place since"
            )


def _attached(tensor: Tensor, parent: Node | None) -> Tensor:
    """The values as a new point of the graph below `parent`."""
    return Tensor(tensor.array, Node(primitives["alias"], (parent,), (), {}, tensor.shape))


def _on_the_graph(call: Call, inputs: list[Tensor]) -> list[Tensor]:
    loop = call.core.cut.whole
    carries, rest = inputs[: len(loop.carries)], inputs[len(loop.carries) :]
    stacked, constants = rest[: len(loop.stacked)], rest[len(loop.stacked) :]
    rows: dict[int, list[Tensor]] = {}
    order = list(range(call.length))[:: -1 if call.reverse else 1]
    for i, t in enumerate(order):
        if i in call.breaks:
            carries = [c.detach() for c in carries]
        known = dict(zip([b for b, _ in loop.carries], carries, strict=True))
        known.update((v, s[t]) for v, s in zip(loop.stacked, stacked, strict=True))
        known.update(zip(loop.constant, constants, strict=True))
        for value in loop.body:
            args = [known[a] if type(a) is Value else a for a in value.args]
            known[value] = bind(value.op, args, value.params)  # type: ignore[arg-type]
        carries = [known[a] for _, a in loop.carries]
        rows[t] = [known[v] for v in loop.exports]
    missing = 0 if call.rows is None else call.rows.steps - call.length
    columns = [[rows[t][i] for t in range(call.length)] for i in range(len(loop.exports))]
    for column in columns:
        column += [Tensor(np.zeros_like(column[0].array))] * missing
    return [*carries, *(stack(column) for column in columns)]


def _on_packed_rows(call: Call, inputs: list[Tensor]) -> list[Tensor]:
    """As `_on_the_graph`, with as many rows in each step as there are."""
    assert type(call.rows) is Ragged
    loop = call.core.cut.whole
    how, split = call.rows, len(loop.carries)
    carries = [sort_rows(t, how).unsqueeze(1) for t in inputs[:split]]
    timed = call.core.stacked
    stacked, constants = [pack(t, how) for t in inputs[timed]], inputs[timed.stop :]
    step = step_on_rows(loop, call.core.cut.fixed)
    ended: list[list[Tensor]] = [[] for _ in carries]
    columns: list[list[Tensor]] = [[] for _ in loop.exports]
    for offset, steps, rows in how.segments:
        for low in range(offset, offset + steps * rows, rows):
            for carry, done in zip(carries, ended, strict=True):
                if len(carry) > rows:
                    done.append(carry[rows:])
            here = [*(c[:rows] for c in carries), *(s[low : low + rows] for s in stacked)]
            carries, outputs = step([*here, *constants], rows)
            for column, output in zip(columns, outputs, strict=True):
                column.append(output)
    whole = [cat([c, *reversed(done)]).squeeze(1) for c, done in zip(carries, ended, strict=True)]
    finals = [sort_rows(t, how, back=True) for t in whole]
    return [*finals, *(unpack(cat(column), how) for column in columns)]
