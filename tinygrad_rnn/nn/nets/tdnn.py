"""Time-delay networks (Waibel et al. 1989), and with sub-sampling (Peddinti et al. 2015).

Legend: T frames, B batch, I input size, H size of a layer, K offsets of a context.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from ...arguments import several, whole_number
from ...errors import ArgumentError, ShapeError
from ...ops.shape import cat
from ..cells.base import activation_named
from ..containers import ModuleList
from ..layers import Linear
from ..module import Module

__all__ = ["Frames", "TDNN"]

Context = Sequence[int]


class Frames(NamedTuple):
    """Which frames of its input each layer looks at (`needed[0]` of xs), and those it gives."""

    needed: list[list[int]]

    @property
    def evaluated(self) -> list[int]:
        """How many frames each layer computes."""
        return [len(frames) for frames in self.needed[1:]]


class TDNN(Module):
    """zˡ_t = f(Wˡ [zˡ⁻¹_{t+c} for c in context l] + bˡ), the last layer without f.

    Shapes: xs (T, B, I) -> (U, B, sizes[-1]), for the U frames whose whole context is in xs. Each
    layer is one set of weights at all times: a convolution in time, with any offsets. With `every`
    n only each n-th output is wanted, and a layer computes only the frames that lead to those.

    Args:
        contexts: offsets of each layer, rising: {-2..2}, {-1, 2}, {-3, 3}, {-7, 2} see 23 frames.
        sizes: of the input, then of each layer.

    >>> net = TDNN([range(-2, 3), (-1, 2), (-3, 3), (-7, 2)], [40, 64, 64, 64, 10])
    >>> net.receptive_field, net.frames(100).evaluated, net.frames(100, every=3).evaluated
    (23, [96, 93, 87, 78], [32, 31, 29, 26])
    """

    def __init__(
        self, contexts: Sequence[Context], sizes: Sequence[int], activation: Any = "relu"
    ) -> None:
        contexts, sizes = several("TDNN", "contexts", contexts), several("TDNN", "sizes", sizes)
        self.contexts = [several("TDNN", "a context", context) for context in contexts]
        if len(sizes) != len(contexts) + 1 or not contexts:
            got = f"{len(contexts)} contexts and {len(sizes)} sizes"
            raise ShapeError("TDNN", "a context for each layer, and one size more", got)
        for context in self.contexts:
            whole = all(isinstance(offset, int | np.integer) for offset in context)
            if not context or not whole or context != sorted(set(context)):
                raise ArgumentError("TDNN", "offsets that rise, whole numbers,", context)
        self.activation = activation_named("TDNN", activation)
        self.layers = ModuleList(
            Linear(len(context) * n, m)
            for context, n, m in zip(self.contexts, sizes, sizes[1:], strict=False)
        )

    @property
    def receptive_field(self) -> int:
        """The number of frames from the first to the last that an output depends on."""
        return 1 + sum(context[-1] - context[0] for context in self.contexts)

    def frames(self, steps: int, every: int = 1) -> Frames:
        """What has to be computed for each `every`-th output of a sequence of `steps` frames."""
        whole_number("TDNN", "every", every)
        if steps < self.receptive_field:
            raise ArgumentError("TDNN", f"{self.receptive_field} frames or more", steps)
        first = -sum(context[0] for context in self.contexts)
        last = steps - sum(context[-1] for context in self.contexts)
        needed = [list(range(first, last, every))]
        for context in reversed(self.contexts):
            needed.append(sorted({t + c for t in needed[-1] for c in context}))
        return Frames(needed[::-1])

    def forward(self, xs: Any, every: int = 1) -> Any:
        """The outputs, each `every`-th from the first that is whole."""
        needed = self.frames(xs.shape[0], every).needed
        z = xs[_rows(needed[0], range(xs.shape[0]))]
        for k, (layer, context) in enumerate(zip(self.layers, self.contexts, strict=True)):
            spliced = [z[_rows([t + c for t in needed[k + 1]], needed[k])] for c in context]
            z = layer(cat(spliced, -1))
            z = self.activation(z) if k < len(self.contexts) - 1 else z
        return z


def _rows(wanted: Sequence[int], given: Sequence[int]) -> Any:
    """The places of some frames among those given; a slice where they follow each other."""
    place = {t: i for i, t in enumerate(given)}
    rows = [place[t] for t in wanted]
    steps = {b - a for a, b in pairwise(rows)}
    if len(steps) <= 1:
        return slice(rows[0], rows[-1] + 1, steps.pop() if steps else 1)
    return rows
