"""Truncated backpropagation through time, in all its forms by one schedule.

Legend: T time steps, k₁ steps from one gradient to the next, k₂ steps that each goes back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from ..arguments import function
from ..create import arange
from ..errors import ArgumentError
from ..ops.shape import cat
from ..scan import scan
from ..tensor import as_tensor
from ..transforms import value_and_grad
from ..tree import flatten, tree_map

__all__ = ["Update", "truncated_bptt"]

ParameterStep = Callable[[Any, Any, Any], tuple[Any, Any]]


class Update(NamedTuple):
    """The summed loss of the last k₁ steps, its gradient (a tree like the parameters), and t."""

    loss: Any
    gradient: Any
    time: int


def truncated_bptt(
    step: ParameterStep,
    loss: Callable[[Any, Any], Any],
    params: Any,
    init: Any,
    xs: Any,
    targets: Any,
    *,
    k1: int,
    k2: int,
    average: bool = False,
) -> Iterator[Update]:
    """Every k₁ steps, the gradient of their errors through the last k₂ steps.

        k₁ = 1,  k₂ = h + 1   each error goes h steps back (Williams and Peng, 1990); h = 0 is
                              Elman's rule (1990), where the context counts as an input
        k₁ = k₂               chunks with carried state, `scan(…, truncate=k)`
        k₁ < k₂               the schedule between (Sutskever, 2013);  k₁ = k₂ = T: full BPTT

    Errors left over at the end go back to where those of a full interval would. Parameters may be
    changed between two updates: a window is run with those of now, from the state where it begins.
    With `average` an error that reaches n steps, its own among them, is divided by n: the mean over
    h + 1 terms.

    Args:
        step: (params, carry, x) → (carry, y). loss: (y, target) of one step → a number.
        xs, targets: trees of tensors (T, …).

    Raises:
        ArgumentError: not 1 ≤ k₁ ≤ k₂, or no steps.

    >>> from tinygrad_rnn import tensor, ones
    >>> step = lambda w, h, x: (w * h + x, w * h + x)
    >>> for k2 in (1, 2, 3):  # y₃ = x₃ + w x₂ + w² x₁, so ∂y₃/∂w is x₂, + w x₁, and w x₁ again
    ...     *_, last = truncated_bptt(step, lambda y, t: y - t, tensor(0.5), tensor(0.0), ones(3),
    ...                               ones(3), k1=1, k2=k2)
    ...     print(float(last.gradient))
    1.5
    2.0
    2.0
    """
    for name, given in (("step", step), ("loss", loss)):
        function("truncated_bptt", name, given)
    xs, targets = (tree_map(as_tensor, tree) for tree in (xs, targets))
    length = _checked(xs, k1, k2)
    return _updates(step, loss, params, init, (xs, targets), (k1, k2), length, average)


def _updates(
    step: ParameterStep, loss: Any, params: Any, carry: Any, data: Any, schedule: tuple[int, int],
    length: int, average: bool,
) -> Iterator[Update]:  # fmt: skip
    (k1, k2), start = schedule, 0
    for counted in range(0, length, k1):
        stop = min(counted + k1, length)
        keep = min(max(0, counted + 2 * k1 - k2), stop)  # where the next window begins
        window = _Window(step, loss, carry, data, (start, keep, stop), counted, average)
        (value, later), gradient = value_and_grad(window.losses, has_aux=True)(params)
        carry, start = tree_map(lambda c: c.detach(), later), keep
        yield Update(value.detach(), gradient, stop)


def _checked(xs: Any, k1: int, k2: int) -> int:
    for name, value in (("k1", k1), ("k2", k2)):
        if type(value) is not int or value < 1:
            raise ArgumentError("truncated_bptt", f"{name}, a whole number >= 1,", repr(value))
    if k1 > k2:
        hint = "errors of steps that no gradient reaches would be lost"
        raise ArgumentError("truncated_bptt", "k1 <= k2", f"{k1} and {k2}", hint)
    leaves = flatten(xs)[0]
    if not leaves or not leaves[0].ndim or not leaves[0].shape[0]:
        raise ArgumentError("truncated_bptt", "inputs of at least one step", "none")
    return int(leaves[0].shape[0])


class _Window(NamedTuple):
    """Steps start … stop, of which those from `counted` on have errors that count."""

    step: ParameterStep
    loss: Callable[[Any, Any], Any]
    carry: Any
    data: Any
    times: tuple[int, int, int]
    counted: int
    average: bool

    def losses(self, params: Any) -> tuple[Any, Any]:
        """The sum of the errors; and the carry at the middle time."""
        start, middle, stop = self.times

        def one(carry: Any, pair: Any) -> tuple[Any, Any]:
            carry, y = self.step(params, carry, pair[0])
            return carry, self.loss(y, pair[1])

        carry, early = scan(one, self.carry, self._part(start, middle))
        _, late = scan(one, carry, self._part(middle, stop))
        return self._counted(cat([early, late])), carry

    def _part(self, first: int, last: int) -> Any:
        return tree_map(lambda leaf: leaf[first:last], self.data)

    def _counted(self, errors: Any) -> Any:
        """Σ of the errors that count, each over the number of its terms if they are averaged."""
        skipped = self.counted - self.times[0]
        errors = errors[skipped:]
        if self.average:
            terms = arange(errors.shape[0], dtype=errors.dtype, device=errors.device)
            errors = errors / (terms + (skipped + 1))
        return errors.sum()
