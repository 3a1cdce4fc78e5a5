"""Networks without state on a tapped delay line: a window that slides over the sequence.

Legend: T time steps, B batch, I input size, K taps, O outputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...arguments import function, several
from ...errors import DataError, ShapeError
from ...ops.shape import cat, pad
from ...tensor import as_tensor
from ..layers import Linear, check_sizes
from ..module import Module
from .fit import least_squares_
from .mlp import MLP

__all__ = ["DLNN", "DMLP", "Direct", "tapped_delay_line"]


def tapped_delay_line(xs: Any, taps: int) -> Any:
    """[x_t, x_{t−1}, …, x_{t−K+1}] at every t: (T, B, I) -> (T, B, K·I); zeros before the start.

    >>> import tinygrad_rnn as tg
    >>> tapped_delay_line(tg.tensor([[[1.0]], [[2.0]]]), 2).tolist()
    [[[1.0, 0.0]], [[2.0, 1.0]]]
    """
    check_sizes("tapped_delay_line", taps=taps)
    xs = as_tensor(xs)
    if xs.ndim < 2:
        raise ShapeError("tapped_delay_line", "xs (T, B, I) or (T, I)", str(xs.shape))
    steps, fill = xs.shape[0], (0,) * 2 * (xs.ndim - 1)
    padded = pad(xs, (*fill, taps - 1, 0))
    return cat([padded[taps - 1 - k : taps - 1 - k + steps] for k in range(taps)], -1)


class DLNN(Module):
    """The dynamic linear network, ŷ(t+1) = Σ_i W_i x(t−i) + b: xs (T, B, I) -> (T, B, O).

    An adaptive filter on a tapped delay line (Widrow, Hoff 1960); `fit` is its best solution.

    >>> import tinygrad_rnn as tg
    >>> DLNN(1, taps=4)(tg.ones(9, 2, 1)).shape
    (9, 2, 1)
    """

    def __init__(self, input_size: int, taps: int, output_size: int = 1) -> None:
        check_sizes("DLNN", input_size=input_size, taps=taps, output_size=output_size)
        self.taps = taps
        self.linear = Linear(taps * input_size, output_size)

    def forward(self, xs: Any) -> Any:
        """What follows each time."""
        return self.linear(tapped_delay_line(xs, self.taps))

    def fit(self, xs: Any, ys: Any, ridge: float = 0.0) -> DLNN:
        """Set the weights by least squares, from the times whose window is full."""
        first = self.taps - 1
        if len(xs) <= first:
            raise DataError("DLNN.fit", f"{self.taps} times or more, a window,", len(xs))
        least_squares_(self.linear, tapped_delay_line(xs, self.taps)[first:], ys[first:], ridge)
        return self


class DMLP(Module):
    """The dynamic multilayer perceptron: an MLP on a sliding window, (T, B, I) -> (T, B, O).

    ŷ(t+1) = Σ_j w²_j f(Σ_i w¹_ji x(t−i) + b_j) + c (Lapedes, Farber 1987)

    >>> import tinygrad_rnn as tg
    >>> DMLP(1, taps=4, hidden=[8])(tg.ones(9, 2, 1)).shape
    (9, 2, 1)
    """

    def __init__(
        self,
        input_size: int,
        taps: int,
        hidden: Sequence[int],
        output_size: int = 1,
        activation: Any = "tanh",
    ) -> None:
        check_sizes("DMLP", input_size=input_size, taps=taps, output_size=output_size)
        self.taps = taps
        hidden = several("DMLP", "hidden", hidden)
        self.mlp = MLP([taps * input_size, *hidden, output_size], activation)

    def forward(self, xs: Any) -> Any:
        """What follows each time."""
        return self.mlp(tapped_delay_line(xs, self.taps))


class Direct(Module):
    """A network beside direct connections from a window: ŷ(t+1) = Σ_i W_i x(t−i) + b + net(x)(t).

    `network` gives (T, B, O), alone or with a state, for xs (T, B, I). After `fit` what is left
    for it to learn is what a linear forecast misses.

    >>> import tinygrad_rnn as tg
    >>> from tinygrad_rnn.nn.nets import RMLP
    >>> Direct(RMLP([1, 4, 1]), 1, taps=3)(tg.ones(9, 2, 1)).shape
    (9, 2, 1)
    """

    def __init__(self, network: Module, input_size: int, taps: int, output_size: int = 1) -> None:
        self.linear = DLNN(input_size, taps, output_size)
        self.network = function("Direct", "network", network)

    def forward(self, xs: Any) -> Any:
        """What follows each time."""
        found = self.network(xs)
        return self.linear(xs) + (found[0] if isinstance(found, tuple) else found)

    def fit(self, xs: Any, ys: Any, ridge: float = 0.0) -> Direct:
        """Set the direct connections by least squares, as if there were no network."""
        self.linear.fit(xs, ys, ridge)
        return self
