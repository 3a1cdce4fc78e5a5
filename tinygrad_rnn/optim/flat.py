"""FlatBuffer: many parameters one after another in one array, so that a step is a few operations.

A network has dozens of parameters, most of them small, and a vector operation on a small array
costs more in calling than in arithmetic. So the parameters of a group are moved into one array,
`flat.values`, and each becomes a view of its part: `p.array = values[a:b].reshape(p.shape)`. The
gradients are gathered into a second array at each step, and every state of the optimiser (momenta,
averages) is a further one. An update then runs over a *run*: neighbouring parameters that have a
gradient and the same number of steps behind them, which is nearly always all of them at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate, groupby, pairwise
from typing import Any

from ..backend import backend_of
from ..errors import DeviceError, DTypeError, ShapeError, TinygradRNNError
from ..graph import touch
from ..tensor import Tensor

__all__ = ["FlatBuffer", "Run"]

Array = Any


class FlatBuffer:
    """The parameters of one group that share a dtype and a device.

    Attributes:
        params, labels: the tensors, and how messages call them.
        numbers: their numbers among all parameters of the optimiser.
        values, gradients, scratch: arrays of N elements, N the sum of the parameters' sizes.
        states: name → array of N elements, made when it is first asked for.
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
        self.gradients, self.scratch = xp.empty_like(self.values), xp.empty_like(self.values)
        self.states: dict[str, Array] = {}
        self.steps = [0] * len(params)
        self._shapes = [p.shape for p in params]
        self._look()
        self.tie()

    def _look(self) -> None:
        self._views = self.shaped(self.values)
        self._gradient_views = self.shaped(self.gradients)

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Copied or unpickled views are arrays of their own, so they are made anew."""
        self.__dict__.update(state)
        self._look()

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

    def tie(self) -> None:
        """Make every parameter a view again; one that was given another array brings its values.

        That happens at the beginning, and when somebody assigns `p.array`, copies the
        optimiser, or lets two optimisers take turns on the same parameters.
        """
        pairs = zip(self.params, self._views, strict=True)
        loose = [(p, view, self._apart(p.array)) for p, view in pairs if p.array is not view]
        if loose:
            touch(self.values)
        for param, view, array in loose:
            self.xp.copyto(view, array)
            param.array = view

    def _apart(self, array: Array) -> Array:
        """The array, copied if it is memory of this buffer: two parameters may have swapped."""
        return array.copy() if self.xp.may_share_memory(array, self.values) else array

    # ------------------------------------------------------------------------- gradients
    def gather(self, negate: bool) -> list[bool]:
        """Copy the gradients into the flat array; which parameters have one."""
        xp, found = self.xp, [param.grad for param in self.params]
        for gradient, view in zip(found, self._gradient_views, strict=True):
            if gradient is not None and negate:
                xp.negative(gradient.array, out=view)
            elif gradient is not None:
                xp.copyto(view, gradient.array)
        return [gradient is not None for gradient in found]

    def not_finite(self, present: Sequence[bool]) -> list[str]:
        """The parameters whose gathered gradient holds a NaN or an infinity."""
        ask = self.xp.isfinite
        if bool(ask(self.gradients).all()):
            return []
        candidates = zip(self.labels, self.spans, present, strict=True)
        return [x for x, span, on in candidates if on and not bool(ask(self.gradients[span]).all())]

    # ------------------------------------------------------------------------------ runs
    def runs(self, present: Sequence[bool], count: bool) -> Iterator[Run]:
        """The longest stretches of parameters with a gradient and with equally many steps."""
        touch(self.values)
        if count:
            self.steps = [n + on for n, on in zip(self.steps, present, strict=True)]
        keys = [n if on else None for n, on in zip(self.steps, present, strict=True)]
        for step, group in groupby(range(len(keys)), keys.__getitem__):
            members = list(group)
            if step is not None:
                first, last = self.spans[members[0]], self.spans[members[-1]]
                yield Run(self, slice(first.start, last.stop), step)


class Run:
    """A stretch of a flat buffer that one update is applied to.

    Attributes:
        step: the number of this update, from 1 (0 where the optimiser keeps no state).
        param, grad: views of the parameters and of their gathered gradients, which may be
            overwritten. scratch: room for one intermediate result.
    """

    __slots__ = ("flat", "grad", "param", "scratch", "span", "step", "xp")

    def __init__(self, flat: FlatBuffer, span: slice, step: int) -> None:
        self.flat, self.span, self.step, self.xp = flat, span, step, flat.xp
        self.param, self.grad = flat.values[span], flat.gradients[span]
        self.scratch = flat.scratch[span]

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
