"""FlatBuffer: many parameters one after another in one array, so that a step is a few operations.

A network has dozens of parameters, most of them small, and a vector operation on a small array
costs more in calling than in arithmetic. So the parameters of a group are moved into one array,
`flat.values`, and each becomes a view of its part: `p.array = values[a:b].reshape(p.shape)`. Every
state of the optimiser (momenta, averages) is a further array. An update then goes over *runs*:
neighbouring parameters that have a gradient and the same number of steps behind them, which is
nearly always all of them at once.

An update is a dozen vector operations, and of large arrays each would fetch all from memory anew.
So on the host a run is cut into blocks, whose arrays stay in the cache from the first operation to
the last; the gradients of a block are gathered just before. The blocks do not change a bit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate, groupby, pairwise
from typing import Any, NamedTuple

from ..backend import backend_of
from ..errors import DeviceError, DTypeError, ShapeError, TinygradRNNError
from ..graph import touch
from ..tensor import Tensor

__all__ = ["FlatBuffer", "Run"]

Array = Any
BLOCK = 1 << 17  # bytes of one array: five or six of them are at work, and a cache holds a megabyte
LARGE = 8  # blocks, from which a kernel is worth the time to compile it (`fused`),
EACH = 256  # and elements of a parameter, from which it is worth a call


class Piece(NamedTuple):
    """A parameter, or what one block has of it."""

    number: int
    span: slice
    block: int


class FlatBuffer:
    """The parameters of one group that share a dtype and a device.

    Attributes:
        params, labels: the tensors, and how messages call them.
        numbers: their numbers among all parameters of the optimiser.
        values: array of N elements, N the sum of the parameters' sizes.
        states: name → array of N elements, made when it is first asked for.
        gradients, scratch: room for the gradients of one block, and for an intermediate result.
        steps: how many updates each parameter has had.
    """

    def __init__(
        self,
        params: Sequence[Tensor],
        labels: Sequence[str],
        numbers: Sequence[int],
        initial: float,
    ) -> None:
        self.params, self.labels, self.numbers = list(params), list(labels), list(numbers)
        xp = params[0].backend.xp
        ends = accumulate((p.numel() for p in params), initial=0)
        self.spans = [slice(start, stop) for start, stop in pairwise(ends)]
        self.initial = initial
        self.values = xp.empty(self.spans[-1].stop, dtype=params[0].dtype)
        here = params[0].device == "cpu"
        size = self.values.size
        block = max(1, min(size, BLOCK // self.values.itemsize) if here else size)
        self.gradients, self.scratch = (xp.empty_like(self.values[:block]) for _ in range(2))
        self.states: dict[str, Array] = {}
        self.steps = [0] * len(params)
        self._shapes = [p.shape for p in params]
        self._pieces = [p for i, span in enumerate(self.spans) for p in _pieces(i, span, block)]
        self._views = self.shaped(self.values)
        self.tie(new=True)

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Copied or unpickled views are arrays of their own, so they are made anew."""
        self.__dict__.update(state)
        self._views = self.shaped(self.values)

    @property
    def large(self) -> bool:
        """Whether a kernel may be worth while."""
        least = max(LARGE * self.gradients.size, EACH * len(self.params))
        return bool(self.values.size >= least > 0)

    @property
    def xp(self) -> Any:
        """The array library of the buffers."""
        return backend_of(self.values).xp

    def shaped(self, flat: Array) -> list[Array]:
        """The parts of a flat array as views in the parameters' shapes."""
        return [flat[span].reshape(s) for span, s in zip(self.spans, self._shapes, strict=True)]

    def state(self, name: str) -> Array:
        """The flat array of one state, filled with its initial value when it is new."""
        if name not in self.states:
            self.states[name] = self.filled()
        return self.states[name]

    def filled(self) -> Array:
        """A new flat array of initial values."""
        return self.xp.full_like(self.values, self.initial)

    def brought(self, array: Array) -> Array:
        """An array of any device and dtype as one like the parameters."""
        here, there = self.params[0].backend, backend_of(array)
        moved = array if there is here else here.from_numpy(there.to_numpy(array))
        return moved.astype(self.values.dtype)

    # ---------------------------------------------------------------- parameters as views
    def check(self, called: str) -> None:
        """Refuse parameters and gradients that no longer fit, before anything is changed."""
        for param, view, label in zip(self.params, self._views, self.labels, strict=True):
            if param.array is not view:
                _check_same(called, label, param.array, view)
            gradient = param.grad
            if gradient is not None:
                _check_same(called, f"the gradient of {label}", gradient.array, view)

    def tie(self, new: bool = False) -> None:
        """Make every parameter a view again; one that was given another array brings its values.

        That happens at the beginning, and when somebody assigns `p.array`, copies the
        optimiser, or lets two optimisers take turns on the same parameters.
        """
        pairs = zip(self.params, self._views, strict=True)
        own, share = [self.values], self.xp.may_share_memory
        loose = [(p, view, _apart(p.array, own, share)) for p, view in pairs if p.array is not view]
        if loose and not new:  # what is new has not been read
            touch(self.values)
        for param, view, array in loose:
            self.xp.copyto(view, array)
            param.array = view

    # ------------------------------------------------------------------------- gradients
    def found(self, changing: Sequence[Array]) -> list[Array]:
        """The gradient of each parameter that has one, copied if it is memory that will change."""
        given, share = [param.grad for param in self.params], self.xp.may_share_memory
        here = [memory for memory in changing if type(memory) is type(self.values)]
        return [None if g is None else _apart(g.array, here, share) for g in given]

    def gradient(self) -> Array:
        """All gradients in a new array, 0 where there is none."""
        whole = self.xp.zeros_like(self.values)
        for view, gradient in zip(self.shaped(whole), self.found([self.values]), strict=True):
            if gradient is not None:
                self.xp.copyto(view, gradient)
        return whole

    def not_finite(self, found: Sequence[Array]) -> list[str]:
        """The parameters whose gradient holds a NaN or an infinity."""
        xp, pairs = self.xp, zip(self.labels, found, strict=True)
        given = [(label, xp.isfinite(g).all()) for label, g in pairs if g is not None]
        if not given or bool(xp.stack([finite for _, finite in given]).all()):
            return []
        return [label for label, finite in given if not bool(finite)]

    # ------------------------------------------------------------------------------ runs
    def begin(self, found: Sequence[Array], count: bool) -> list[int | None]:
        """Begin a step, counted or not: its number for each parameter that has a gradient."""
        touch(self.values)
        if count:
            self.steps = [n + (g is not None) for n, g in zip(self.steps, found, strict=True)]
        return [None if g is None else n for n, g in zip(self.steps, found, strict=True)]

    def runs(
        self, found: Sequence[Array], steps: Sequence[int | None], negate: bool = False
    ) -> Iterator[Run]:
        """Neighbours with a gradient and with equally many steps, up to a block of them."""
        rows = list(found)  # and each as a vector, once it had to be cut
        for (step, _), group in groupby(self._pieces, lambda p: (steps[p.number], p.block)):
            if step is not None:
                pieces = list(group)
                span = slice(pieces[0].span.start, pieces[-1].span.stop)
                self._gather(pieces, rows, negate)
                yield Run(self, span, step)

    def _gather(self, pieces: Sequence[Piece], rows: list[Array], negate: bool) -> None:
        """Put pieces of the gradients side by side."""
        xp, first = self.xp, pieces[0].span.start
        for number, span, _ in pieces:
            room, source = self.gradients[span.start - first : span.stop - first], rows[number]
            if span == self.spans[number]:
                room = room.reshape(self._shapes[number])
            else:
                before = self.spans[number].start
                rows[number] = source = source.reshape(-1)  # a copy, if it is in another order
                source = source[span.start - before : span.stop - before]
            if negate:
                xp.negative(source, out=room)
            else:
                xp.copyto(room, source)


class Run:
    """A stretch of a flat buffer that one update is applied to, at most a block.

    Attributes:
        step: the number of this update, from 1 (0 where the optimiser keeps no state).
        param, grad: views of the parameters and of their gathered gradients, which may be
            overwritten. scratch: room for one intermediate result.
    """

    __slots__ = ("flat", "grad", "param", "scratch", "span", "step", "xp")

    def __init__(self, flat: FlatBuffer, span: slice, step: int) -> None:
        self.flat, self.span, self.step, self.xp = flat, span, step, flat.xp
        size = span.stop - span.start
        self.param, self.grad = flat.values[span], flat.gradients[:size]
        self.scratch = flat.scratch[:size]

    def state(self, name: str) -> Array:
        """The view of one state."""
        return self.flat.state(name)[self.span]

    def decay(self, rate: float) -> None:
        """grad ← grad + rate·param: weight decay as the gradient of rate/2·‖param‖²."""
        if rate:
            self.grad += self.xp.multiply(self.param, rate, out=self.scratch)

    def blend(self, average: Array, value: Array, keep: float) -> None:
        """average ← keep·average + (1 − keep)·value, a running mean that forgets."""
        average *= keep
        average += self.xp.multiply(value, 1 - keep, out=self.scratch)

    def descend(self, direction: Array, rate: float) -> None:
        """param ← param − rate·direction."""
        param = self.param
        param -= self.xp.multiply(direction, rate, out=self.scratch)


def _apart(array: Array, memories: Sequence[Array], share: Any) -> Array:
    """The array, copied if it is part of one of these: two parameters may have swapped."""
    for memory in memories:
        if share(array, memory):
            return array.copy()
    return array


def _pieces(number: int, span: slice, size: int) -> list[Piece]:
    """A parameter, cut where a block of so many elements ends."""
    first = span.start // size
    cuts = range((first + 1) * size, span.stop, size)
    bounds = pairwise([span.start, *cuts, span.stop])
    return [Piece(number, slice(a, b), first + i) for i, (a, b) in enumerate(bounds)]


def _check_same(called: str, label: str, array: Array, view: Array) -> None:
    """`array` must be exchangeable with `view`: same device, dtype and shape."""
    error: type[TinygradRNNError]
    if type(array) is not type(view):
        error, expected, got = DeviceError, backend_of(view).name, backend_of(array).name
    elif array.dtype != view.dtype:
        error, expected, got = DTypeError, view.dtype, array.dtype
    elif array.shape != view.shape:
        error, expected, got = ShapeError, view.shape, array.shape
    else:
        return
    hint = "make the optimiser after the model has been moved, cast or reshaped"
    raise error(called, f"{label} as it was, {expected},", got, hint)
