"""Derivatives of derivatives of a compiled scan.

The gradient of a scan is Jᵀg, with J the derivative of its outputs by its inputs x and g their
cotangents. What a cotangent h of that gradient comes to is the gradient of hᵀJᵀg = gᵀ(J h), which
is J h by g, and ∂/∂x of gᵀ(J h) by x. J h is forward mode, which is compiled (`duals`), and so is
its gradient: no step is run on the graph (Pearlmutter 1994). Only rows of unequal length are
replayed there; that graph is kept for who asks again.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from ..autodiff import between, gradients
from ..checkpointing import outputs_of
from ..errors import InPlaceError
from ..forward import jvp
from ..graph import Node, Primitive, enable_grad, primitives, touched_since
from ..ops.call import bind
from ..ops.shape import cat, pad
from ..scan import scan
from ..tensor import Tensor, leaf_node
from .draws import drawn_again
from .packing import Ragged
from .program import Value
from .replays import replayed

if TYPE_CHECKING:
    from .core import Call

__all__ = ["Derivable", "check_untouched"]


class Derivable:
    """The cotangents of a call that are themselves to be differentiated.

    Their numbers come from the compiled loop, and nothing else is done until somebody asks.
    """

    def __init__(self, g: Sequence[Any], call: Call, node: Node) -> None:
        self.g, self.call, self.node, self.params = list(g), call, node.index, node.params or {}
        wanted = zip(node.parents, call.wanted, strict=True)
        self.parents = [p if w else None for p, w in wanted]
        self.there: list[int] = []  # of which inputs there is a cotangent
        self.graph: tuple[list[Any], list[Any]] | None = None

    def outputs(self, arrays: Sequence[Any]) -> list[Any]:
        """The numbers, as tensors with this behind them."""
        sources = *(None if c is None else c.node for c in self.g), *self.parents
        node = Node(derivative, sources, (self,), None, ())
        self.there = [i for i, array in enumerate(arrays) if array is not None]
        found = outputs_of(node, [arrays[i] for i in self.there], [True] * len(self.there))
        filled: list[Any] = [None] * len(arrays)
        for i, output in zip(self.there, found, strict=True):
            filled[i] = output
        return filled

    def pulled(self, h: Sequence[Any], wanted: Sequence[Any], create: bool) -> list[Any]:
        """What comes to the cotangents and to the inputs, those that are wanted, of a cotangent."""
        check_untouched([*self.call.inputs, *(c for c in self.g if c is not None)], self.node)
        with enable_grad():
            if type(self.call.rows) is Ragged:
                asked, results = self.replay() if create else self.kept()
                return _derived([results[i] for i in self.there], asked, h, wanted, create)
            return self.by_tangents(h, wanted, create)

    def by_tangents(self, h: Sequence[Any], wanted: Sequence[Any], create: bool) -> list[Any]:
        """The same by forward mode."""
        of_g, of_inputs = wanted[: len(self.g)], wanted[len(self.g) :]
        moving = {i: c for i, c in zip(self.there, h, strict=True) if c is not None}
        inputs = self.points(self.parents if create else of_inputs, create)

        def outputs(*some: Tensor) -> tuple[Tensor, ...]:
            given = dict(enumerate(inputs)) | dict(zip(moving, some, strict=True))
            return tuple(_scanned(self.call, list(given.values())))

        pushed = jvp(outputs, [inputs[i] for i in moving], [*moving.values()])[1]
        found = [None if w is None else p for w, p in zip(of_g, pushed, strict=True)]
        return found + _derived(pushed, inputs, self.g, of_inputs, create)

    def points(self, asked: Sequence[Any], create: bool) -> list[Tensor]:
        """The inputs, which may be differentiated by where that is asked: below their parents."""
        inputs = []
        for tensor, parent in zip(self.call.inputs, asked, strict=True):
            if parent is None:
                inputs.append(tensor.detach())
            elif create:
                inputs.append(_attached(tensor, parent))
            else:
                inputs.append(Tensor(tensor.array, leaf_node(tensor.shape)))
        if self.call.spans is not None and self.call.draws:
            stop, kept = self.call.core.stacked.stop, self.params["kept"]
            state = kept.states[0]
            numbers = drawn_again(self.call.draws, self.call.length, self.call.reverse, state)
            inputs[stop - len(numbers) : stop] = numbers
        return inputs

    def kept(self) -> tuple[list[Any], list[Any]]:
        """A replay for everybody to whom numbers are enough: no walk beyond it frees its nodes."""
        if self.graph is None:
            self.graph = self.replay()
        return self.graph

    def replay(self) -> tuple[list[Any], list[Any]]:
        """The points to be asked for, of the cotangents and the inputs; and the results."""
        inputs = self.points(self.parents, True)
        g = [c if c is None or c.node is None else _attached(c, c.node) for c in self.g]
        asked = [None if c is None or c.node is None else c for c in g]
        asked += [None if p is None else t for t, p in zip(inputs, self.parents, strict=True)]
        return asked, _derived(replayed(self.call, inputs), inputs, g, self.parents, True)


def _pull(h: Any, saved: Any, node: Node, targets: set[Node] | None) -> list[Any]:
    derivable: Derivable = saved[0]
    create = any(type(c) is Tensor for c in h)
    wanted = list(node.parents)
    if targets is not None:
        needed = between([(p, None) for p in wanted if p is not None], targets, False)
        wanted = [p if p in needed else None for p in wanted]
    given = [c if c is None or create else Tensor(c) for c in h]
    found = derivable.pulled(given, wanted, create)
    return found if create else [None if c is None else c.array for c in found]


def _unused(*_: Any, **__: Any) -> Any:
    raise AssertionError("a derivative is never called as a primitive")


derivative = Primitive(
    "derivative of loop", "general", _unused, (), _unused, _unused, (-1,), pullback=_pull
)


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


def _scanned(call: Call, inputs: list[Tensor]) -> list[Tensor]:
    """The last carries and the outputs of a call, by scans of the step that was compiled.

    Truncation cuts the carry between two of them.
    """
    loop, length = call.core.cut.whole, call.length
    split, stop = len(loop.carries), call.core.stacked.stop
    carries, stacked, constants = inputs[:split], inputs[split:stop], inputs[stop:]

    def step(carry: Any, x: Any) -> Any:
        known = dict(zip([before for before, _ in loop.carries], carry, strict=True))
        known.update(zip(loop.constant, constants, strict=True))
        known.update(zip(loop.stacked, x if stacked else (), strict=True))
        for value in loop.body:
            args = [known[a] if type(a) is Value else a for a in value.args]
            known[value] = bind(value.op, args, value.params)  # type: ignore[arg-type]
        return tuple([known[a] for _, a in loop.carries]), tuple([known[v] for v in loop.exports])

    pieces = []
    for start, stop in pairwise((0, *call.breaks, length)):
        carries = [c.detach() for c in carries] if start else carries
        part = slice(length - stop, length - start) if call.reverse else slice(start, stop)
        carries, ys = scan(
            step, tuple(carries), tuple([s[part] for s in stacked]) or stop - start,
            reverse=call.reverse, checkpoint_every=call.every, engine=call.core.engine.name,
        )  # fmt: skip
        pieces.append(ys)
    columns = zip(*pieces[:: -1 if call.reverse else 1], strict=True)
    ys = [cat(column) if call.breaks else column[0] for column in columns]
    missing = 0 if call.rows is None else call.rows.steps - length
    padded = [pad(y, (0, 0) * (y.ndim - 1) + (0, missing)) for y in ys] if missing else ys
    return [*carries, *padded]


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
