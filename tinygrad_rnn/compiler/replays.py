"""Derivatives of derivatives: a compiled scan run again step by step on the graph, when asked for.

Legend: T time steps, B batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..autodiff import between, gradients
from ..checkpointing import outputs_of
from ..errors import InPlaceError
from ..graph import Node, Primitive, enable_grad, primitives, touched_since
from ..ops.call import bind
from ..ops.shape import cat, stack
from ..tensor import Tensor
from .draws import drawn_again
from .outside import step_on_rows
from .packing import Ragged, pack, sort_rows, unpack
from .program import Value

if TYPE_CHECKING:
    from .core import Call

__all__ = ["Derivable", "check_untouched"]


class Derivable:
    """The cotangents of a call that are themselves to be differentiated.

    Their numbers come from the compiled loop. The graph that leads to them, which is the core run
    step by step, is made when somebody asks for it, and kept for who asks again.
    """

    def __init__(self, g: Sequence[Any], call: Call, node: Node) -> None:
        self.g, self.call, self.node, self.params = list(g), call, node.index, node.params or {}
        wanted = zip(node.parents, call.wanted, strict=True)
        self.parents = [p if w else None for p, w in wanted]
        self.there: list[int] = []  # of which inputs there is a cotangent
        self.graph: tuple[list[Any], list[Any]] | None = None

    def outputs(self, arrays: Sequence[Any]) -> list[Any]:
        """The numbers, as tensors of the graph that is made when it is wanted."""
        sources = *(None if c is None else c.node for c in self.g), *self.parents
        node = Node(derivative, sources, (self,), None, ())
        self.there = [i for i, array in enumerate(arrays) if array is not None]
        found = outputs_of(node, [arrays[i] for i in self.there], [True] * len(self.there))
        filled: list[Any] = [None] * len(arrays)
        for i, output in zip(self.there, found, strict=True):
            filled[i] = output
        return filled

    def made(self) -> tuple[list[Any], list[Any]]:
        """The points to be asked for, of the cotangents and the inputs; and the results."""
        if self.graph is None:
            self.graph = self._replayed()
        return self.graph

    def _replayed(self) -> tuple[list[Any], list[Any]]:
        call = self.call
        check_untouched([*call.inputs, *(c for c in self.g if c is not None)], self.node)
        inputs = [
            t.detach() if p is None else _attached(t, p)
            for t, p in zip(call.inputs, self.parents, strict=True)
        ]
        g = [c if c is None or c.node is None else _attached(c, c.node) for c in self.g]
        asked = [None if c is None or c.node is None else c for c in g]
        asked += [None if p is None else t for t, p in zip(inputs, self.parents, strict=True)]
        if call.spans is not None and call.draws:
            stop, kept = call.core.stacked.stop, self.params["kept"]
            numbers = drawn_again(call.draws, call.length, call.reverse, kept.states[0])
            inputs[stop - len(numbers) : stop] = numbers
        with enable_grad():
            packed = type(call.rows) is Ragged
            outputs = (_on_packed_rows if packed else _on_the_graph)(call, inputs)
            return asked, _derived(outputs, inputs, g, self.parents, True)


def _derived(
    ys: Sequence[Any], xs: Sequence[Any], cs: Sequence[Any], wanted: Sequence[Any], create: bool
) -> list[Any]:
    """The gradients by those x that are wanted; None for the others, and where there is none."""
    pairs = [(y, c) for y, c in zip(ys, cs, strict=True) if c is not None and y is not None]
    pairs = [(y, c) for y, c in pairs if y.requires_grad]
    targets = [x for x, w in zip(xs, wanted, strict=True) if w is not None]
    found: Any = [None] * len(targets)
    if pairs and targets:
        outputs, given = zip(*pairs, strict=True)
        found = gradients(
            outputs, targets, given, retain_graph=True, create_graph=create, allow_unused=True
        )
    found = iter(found)
    return [None if w is None else next(found) for w in wanted]


def _pull_derivative(h: Any, saved: Any, node: Node, targets: set[Node] | None) -> list[Any]:
    derivable: Derivable = saved[0]
    asked, results = derivable.made()
    create = any(type(c) is Tensor for c in h)
    wanted = list(node.parents)
    if targets is not None:
        needed = between([(p, None) for p in wanted if p is not None], targets)
        wanted = [p if p in needed else None for p in wanted]
    found = _derived(
        [results[i] for i in derivable.there],
        asked,
        [c if c is None or create else Tensor(c) for c in h],
        wanted,
        create,
    )
    return found if create else [None if c is None else c.array for c in found]


def _unused(*_: Any, **__: Any) -> Any:
    raise AssertionError("a derivative is never called as a primitive")


derivative = Primitive(
    "derivative of loop", "general", _unused, (), _unused, _unused, (-1,), pullback=_pull_derivative
)


def check_untouched(tensors: Sequence[Any], index: int) -> None:
    """Raise if one of them has been changed in place since node number `index` was made."""
    for tensor in tensors:
        if touched_since(tensor.array, index):
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
