"""The networks that forecast the six series, each beside direct connections from a window.

Legend: T times, B series side by side (here 1), p taps of the window, H hidden units.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tinygrad_rnn as tg
from tinygrad_rnn import nn
from tinygrad_rnn.nn import nets

__all__ = ["NETWORKS", "Direct"]

FED_BACK = 3  # of its own last forecasts that NARX sees beside the window


class Output(nn.Module):
    """The one output of a recurrent network: a map of the states of a layer, or its own."""

    def __init__(self, layer: nn.Module, hidden: int | None = None) -> None:
        self.layer = layer
        self.output = nn.Linear(hidden, 1) if hidden else nn.Identity()

    def forward(self, xs: Any) -> Any:
        """(T, B, 1) -> (T, B, 1)."""
        return self.output(self.layer(xs)[0])


class Causal(nn.Module):
    """A TDNN of two layers that sees zeros before the start, so that it has T outputs."""

    def __init__(self, taps: int, hidden: int) -> None:
        third = taps // 3
        near = range(1 - (taps - 2 * third), 1)
        self.net = nets.TDNN([near, [-2 * third, -third, 0]], [1, hidden, 1], "tanh")

    def forward(self, xs: Any) -> Any:
        """(T, B, 1) -> (T, B, 1)."""
        before = self.net.receptive_field - 1
        return self.net(tg.cat([xs[:1] * tg.zeros(before, 1, 1, dtype=xs.dtype), xs]))


NETWORKS: dict[str, Callable[[int, int], nn.Module]] = {
    "DMLP": lambda p, h: nets.DMLP(1, p, [h]),
    "TDNN": Causal,
    "Elman": lambda p, h: Output(nets.SimpleRNN(1, h, 1)),  # all of the past, not one step of it
    "RMLP": lambda p, h: Output(nets.RMLP([1, h, h, 1])),
    "Jordan": lambda p, h: Output(nn.Recurrent(nn.JordanCell, 1, h, decay=0.5)),
    "NARX": lambda p, h: nets.NARX(1, 1, [h], output_lags=FED_BACK, input_lags=p - 1),
    "LSTM": lambda p, h: Output(nn.LSTM(1, h), h),
    "GRU": lambda p, h: Output(nn.GRU(1, h), h),
}


class Direct(nn.Module):
    """ŷ(t+1) = Σ_i w_i y(t−i) + b + network: it starts as the least squares of the window alone."""

    def __init__(self, network: str, taps: int, hidden: int) -> None:
        self.linear = nets.DLNN(1, taps)
        self.net = NETWORKS[network](taps, hidden)

    def forward(self, xs: Any) -> Any:
        """(T, B, 1) -> (T, B, 1): what follows each time."""
        return self.linear(xs) + self.net(xs)

    def start(self, xs: Any, ys: Any) -> None:
        """Fit the direct connections, and silence the rest."""
        self.linear.fit(xs, ys)
        with tg.no_grad():
            for parameter in list(self.net.parameters())[-2:]:  # the map to the output comes last
                parameter.zero_()

    def weights(self) -> list[Any]:
        """What decays: the weights of the network, neither biases nor direct connections."""
        return [parameter for parameter in self.net.parameters() if parameter.ndim > 1]
