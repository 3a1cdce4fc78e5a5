"""A compiled scan run again step by step on the graph.

Legend: T time steps, B batch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..ops.call import bind
from ..ops.shape import cat, stack
from ..tensor import Tensor
from .outside import step_on_rows
from .packing import Ragged, pack, sort_rows, unpack
from .program import Value

if TYPE_CHECKING:
    from .core import Call

__all__ = ["replayed"]


def replayed(call: Call, inputs: list[Tensor]) -> list[Tensor]:
    """The last carries and the outputs of a call, as the graph has them from these inputs."""
    return (_on_packed_rows if type(call.rows) is Ragged else _on_the_graph)(call, inputs)


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
