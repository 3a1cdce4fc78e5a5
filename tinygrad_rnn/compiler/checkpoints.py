"""A compiled scan that keeps the carry every few steps, and runs these steps again in backward.

Memory for time (Gruslys et al. 2016). The scan is still one node of the graph: outputs and the
gradients of stacked inputs are written span by span into whole arrays, and the sums that the
gradients of constants are go on from span to span. So these are, bit for bit, what they are without
checkpoints, where the products outside of a loop are our own.

Legend: a span is the steps from one kept carry to the next.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..create import get_rng_state
from ..tensor import Tensor
from .draws import Draw, drawn, drawn_again

__all__ = ["Kept", "NOT_DRAWN", "Some", "Spans"]

Span = tuple[int, int]  # its first step and the one behind its last, in the order of the loop


class Some(int):
    """So many steps of all those of a loop, which decide on how many threads it runs.

    Sums over a batch are added in another order on another number of threads.
    """

    whole: int


@dataclass
class Kept:
    """Of each span the carry before it, and the state of the random numbers."""

    carries: list[list[Any]] = field(default_factory=list)
    states: list[Any] = field(default_factory=list)


@dataclass(frozen=True)
class Spans:
    """The spans of a loop.

    Attributes:
        every: the steps of a span.
        length, reverse: how many steps there are, and whether the last one comes first.
        stacked: which of the inputs have a row for each step.
        draws: random numbers that are drawn anew for each span, the last of these inputs.
    """

    every: int
    length: int
    reverse: bool
    stacked: slice
    draws: Sequence[Draw]

    def __iter__(self) -> Any:
        starts = range(0, self.length, self.every)
        return iter([(i, min(i + self.every, self.length)) for i in starts])

    def steps(self, span: Span) -> slice:
        """The steps of a span in the order of time."""
        start, stop = span
        return slice(self.length - stop, self.length - start) if self.reverse else slice(*span)

    def extent(self, span: Span) -> Some:
        """What a runner is told about the steps of a span."""
        found = Some(span[1] - span[0])
        found.whole = self.length
        return found

    def inputs(
        self, span: Span, arrays: Sequence[Any], carries: Sequence[Any], state: Any = None
    ) -> list[Any]:
        """What a span is run on, with numbers drawn now, or as in a state of the generator."""
        first, stop = self.stacked.start, self.stacked.stop - len(self.draws)
        here, how, numbers = self.steps(span), (span[1] - span[0], self.reverse), []
        if self.draws:
            again = state is not None
            found = drawn_again(self.draws, *how, state) if again else drawn(self.draws, *how)
            numbers = [t.array for t in found]
        stacked = [a[here] for a in arrays[first:stop]]
        return [*carries, *stacked, *numbers, *arrays[self.stacked.stop :]]

    def forward(self, run: Callable[..., Any], arrays: Sequence[Any]) -> tuple[list[Any], Kept]:
        """The final carries and all outputs; `run` is a forward pass."""
        carries, kept = list(arrays[: self.stacked.start]), Kept()
        whole: list[Any] = []
        for span in self:
            kept.carries.append(carries)
            kept.states.append(get_rng_state() if self.draws else None)
            length, inputs = span[1] - span[0], self.inputs(span, arrays, carries)
            found, _ = run(inputs, length, self.extent(span), self.reverse)
            carries, outputs = found[: len(carries)], found[len(carries) :]
            whole = whole or [np.empty((self.length, *y.shape[1:]), y.dtype) for y in outputs]
            for array, y in zip(whole, outputs, strict=True):
                array[self.steps(span)] = y
        return [*carries, *whole], kept

    def backward(
        self, run: Callable[..., Any], back: Callable[..., Any], arrays: Sequence[Any], kept: Kept,
        cotangents: Sequence[Any], breaks: Sequence[int],
    ) -> list[Any]:  # fmt: skip
        """The cotangents of the carries and of what is stacked.

        `back(cotangents, saved, length, extent, breaks)` is a backward pass, with breaks before
        that many of its own steps.
        """
        count = self.stacked.start
        carried = list(cotangents[:count])
        whole: list[Any] = [None] * (self.stacked.stop - count)
        for number, span in reversed(list(enumerate(self))):
            start, stop = span
            here, length, extent = self.steps(span), stop - start, self.extent(span)
            inputs = self.inputs(span, arrays, kept.carries[number], kept.states[number])
            saved = run(inputs, length, extent, self.reverse)[1]
            given = [None if g is None else g[here] for g in cotangents[count:]]
            inner = [stop - b for b in reversed(breaks) if start < b < stop]
            found = back([*carried, *given], saved, length, extent, inner)
            carried = [None] * count if start in breaks else found[:count]
            for i, part in enumerate(found[count:]):
                if part is not None:
                    if whole[i] is None:
                        whole[i] = np.empty((self.length, *part.shape[1:]), part.dtype)
                    whole[i][here] = part
        return [*carried, *whole]


NOT_DRAWN = Tensor(np.empty(0, np.float32))  # the place of numbers that each span draws
