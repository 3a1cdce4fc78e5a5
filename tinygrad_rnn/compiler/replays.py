"""A compiled scan over rows of unequal length, run again step by step on the graph.

Legend: T time steps, B batch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..ops.shape import cat
from ..tensor import Tensor
from .outside import step_on_rows
from .packing import Ragged, pack, sort_rows, unpack

if TYPE_CHECKING:
    from .core import Call

__all__ = ["replayed"]


def replayed(call: Call, inputs: list[Tensor]) -> list[Tensor]:
    """The last carries and the outputs of a call, as the graph has them from these inputs.

    Each step has as many rows as there are.
    """
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
