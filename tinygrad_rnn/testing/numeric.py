"""Derivatives without autodiff: finite differences and the complex step.

A derivative along u costs four evaluations by the five-point stencil

    f'(x; u) ≈ (8 [f(x + hu) − f(x − hu)] − [f(x + 2hu) − f(x − 2hu)]) / 12h        error O(h⁴)

or one by the complex step, Im f(x + ihu) / h with h = 1e-20, which is exact to rounding where f is
analytic (Squire and Trapp 1998). Each estimate comes with how far it can be trusted, so that no
tolerance has to grow with the size of the problem.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..backend import Backend, quiet
from ..checks import check_callable
from ..create import get_rng_state, set_rng_state
from ..errors import ArgumentError, DTypeError
from ..graph import no_grad
from ..tensor import Tensor, as_tensor
from ..tree import flatten, paths, unflatten

__all__ = ["COMPLEX_STEP", "Estimate", "Numbers", "central", "complex_step"]

Array = np.ndarray[Any, Any]
EPS = float(np.finfo(np.float64).eps)
COMPLEX_STEP = 1e-20


class Numbers:
    """`fn` seen as a function of its floating-point arguments alone, in float64.

    Integers and bools among the arguments are held, and among the outputs left out. Random numbers
    drawn inside `fn` are the same in every call.
    """

    def __init__(self, fn: Callable[..., Any], args: Sequence[Any], called: str) -> None:
        check_callable(fn, called)
        if not isinstance(args, (tuple, list)):
            raise DTypeError(
                called, "a tuple of arguments", type(args).__name__, f"{called}(f, (x,))"
            )
        self.fn, self.called, self.rng = fn, called, get_rng_state()
        leaves, self.structure = flatten(tuple(args))
        self.leaves = [as_tensor(leaf).detach() for leaf in leaves]
        self.places = [i for i, leaf in enumerate(self.leaves) if leaf.dtype.kind == "f"]
        names = paths(tuple(args), "args")
        self.names = [names[i] for i in self.places]
        if not self.places:
            raise ArgumentError(called, "a floating-point argument", f"{len(leaves)} without one")
        self.backend: Backend = self.leaves[self.places[0]].backend
        self.point = [self._wide(self.leaves[i]) for i in self.places]

    def _wide(self, leaf: Tensor) -> Array:
        return np.array(leaf.backend.to_numpy(leaf.array), dtype=np.float64)

    def tensors(self, point: Sequence[Array]) -> list[Tensor]:
        """Arrays as tensors on the device of the arguments, sharing memory on the host."""
        return [Tensor(self.backend.from_numpy(x)) for x in point]

    def __call__(self, *xs: Any) -> tuple[Any, ...]:
        """The floating-point outputs for these floating-point arguments."""
        leaves: list[Any] = list(self.leaves)
        for place, x in zip(self.places, xs, strict=True):
            leaves[place] = x
        now = get_rng_state()
        set_rng_state(self.rng)
        try:
            outputs = flatten(self.fn(*unflatten(self.structure, leaves)))[0]
        finally:
            set_rng_state(now)
        outputs = [y for y in (as_tensor(y) for y in outputs) if y.dtype.kind == "f"]
        if not outputs:
            raise ArgumentError(self.called, "an output of floating-point numbers", "none")
        for y in outputs:
            if y.dtype != np.float64:
                raise DTypeError(
                    self.called, "outputs of dtype float64 for arguments of dtype float64",
                    y.dtype.name, "float32 is too coarse for a check; make all it uses .double()",
                )  # fmt: skip
        return tuple(outputs)

    def at(self, point: Sequence[Array]) -> list[Array]:
        """The outputs as NumPy arrays, nothing recorded."""
        with no_grad(), quiet():
            return [self.backend.to_numpy(y.array) for y in self(*self.tensors(point))]

    def at_complex(self, point: Sequence[Array]) -> list[Array]:
        """The outputs of raw complex arrays."""
        leaves = [leaf.array for leaf in self.leaves]
        for place, x in zip(self.places, point, strict=True):
            leaves[place] = self.backend.from_numpy(x)
        with quiet():
            outputs = flatten(self.fn(*unflatten(self.structure, leaves)))[0]
        kinds = [getattr(y, "dtype", np.dtype(object)).kind for y in outputs]
        if not any(kind == "c" for kind in kinds):
            raise ArgumentError(
                self.called, "an analytic function with complex outputs for complex arrays",
                f"outputs of kind {kinds}", 'method="differences"',
            )  # fmt: skip
        return [
            np.asarray(y.get() if hasattr(y, "get") else y)
            for y, kind in zip(outputs, kinds, strict=True)
            if kind in "cf"
        ]


class Estimate(NamedTuple):
    """A derivative of each output, and the error that the method itself may have made in it."""

    values: list[Array]
    doubts: list[Array]
    rough: bool  # whether two steps disagree as they would across a kink


def _moved(point: Sequence[Array], k: int, change: Array) -> list[Array]:
    return [x + change if i == k else x for i, x in enumerate(point)]


def central(numbers: Numbers, k: int, direction: Array, step: float) -> Estimate:
    """The derivative along `direction` in argument k, by the five-point stencil."""
    at = {n: numbers.at(_moved(numbers.point, k, n * step * direction)) for n in (-2, -1, 1, 2)}
    values, doubts, rough = [], [], False
    drift = EPS * np.max(np.abs(numbers.point[k]), initial=0.0) / step
    with quiet():
        for far, near, ahead, beyond in zip(at[-2], at[-1], at[1], at[2], strict=True):
            coarse = (beyond - far) / (4 * step)
            value = (8 * (ahead - near) - (beyond - far)) / (12 * step)
            size = np.max([np.abs(f) for f in (far, near, ahead, beyond)], axis=0)
            bend = np.abs(value - coarse)
            # rounding of f, rounding of x + hu, and what the stencil leaves out
            doubts.append(8 * EPS * size / step + drift * np.abs(value) + 10 * step**2 * bend)
            values.append(value)
            rough |= bool((bend > 0.01 * np.max(np.abs(value), initial=0.0) + doubts[-1]).any())
    return Estimate(values, doubts, rough)


def complex_step(numbers: Numbers, k: int, direction: Array, step: float) -> Estimate:
    """The derivative along `direction` in argument k, by an imaginary step."""
    point = [x.astype(np.complex128) for x in numbers.point]
    outputs = numbers.at_complex(_moved(point, k, 1j * step * direction))
    values = [np.imag(y) / step for y in outputs]
    left_out = 1e3 * step**2  # the error of the method, a third derivative times step²
    return Estimate(values, [16 * EPS * np.abs(v) + left_out for v in values], False)
