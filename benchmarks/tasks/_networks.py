"""The networks that forecast the six series, each beside direct connections from a window.

Legend: T times, B series side by side (here 1), p taps of the window, H hidden units.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tinygrad_rnn as tg
from tinygrad_rnn import nn

__all__ = ["NETWORKS", "beside_direct_connections"]

FED_BACK = 3  # of its own last forecasts that NARX sees beside the window


class Gated(nn.Module):
    """A gated layer, and a linear map of its states."""

    def __init__(self, layer: nn.Module, hidden: int) -> None:
        self.layer = layer
        self.output = nn.Linear(hidden, 1)

    def forward(self, xs: Any) -> Any:
        """(T, B, 1) -> (T, B, 1)."""
        return self.output(self.layer(xs)[0])


class Causal(nn.Module):
    """A TDNN of two layers that sees zeros before the start, so that it has T outputs."""

    def __init__(self, taps: int, hidden: int) -> None:
        third = taps // 3
        near = range(1 - (taps - 2 * third), 1)
        self.net = nn.TDNN([near, [-2 * third, -third, 0]], [1, hidden, 1], "tanh")

    def forward(self, xs: Any) -> Any:
        """(T, B, 1) -> (T, B, 1)."""
        before = self.net.receptive_field - 1
        return self.net(tg.cat([xs[:1] * tg.zeros(before, 1, 1, dtype=xs.dtype), xs]))


NETWORKS: dict[str, Callable[[int, int], nn.Module]] = {
    "DMLP": lambda p, h: nn.DMLP(1, p, [h]),
    "TDNN": Causal,
    "Elman": lambda p, h: nn.SimpleRNN(1, h, 1),  # errors go back all the way, not one step
    "RMLP": lambda p, h: nn.RMLP([1, h, h, 1]),
    "Jordan": lambda p, h: nn.Recurrent(nn.JordanCell, 1, h, decay=0.5),
    "NARX": lambda p, h: nn.NARX(1, 1, [h], output_lags=FED_BACK, input_lags=p - 1),
    "LSTM": lambda p, h: Gated(nn.LSTM(1, h), h),
    "GRU": lambda p, h: Gated(nn.GRU(1, h), h),
}


def beside_direct_connections(network: str, taps: int, hidden: int) -> nn.Direct:
    """The network in float64, silent at first: its map to the output begins with zeros."""
    model = nn.Direct(NETWORKS[network](taps, hidden), 1, taps).double()
    with tg.no_grad():
        for parameter in list(model.network.parameters())[-2:]:  # that map comes last
            parameter.zero_()
    return model
