"""Nonlinear autoregression with exogenous inputs (Leontaritis, Billings 1985).

Legend: T time steps, B batch, I inputs, O outputs, n lags of y, m lags of x.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...arguments import several, whole_number
from ...create import zeros
from ...errors import ShapeError
from ...ops.shape import cat
from ...scan import scan
from ..layers import check_sizes
from ..module import Module
from .delay_line import tapped_delay_line
from .mlp import MLP

__all__ = ["NARX"]


class NARX(Module):
    """y_t = F(y_{t−1} … y_{t−n}, x_t … x_{t−m}), F an MLP; zeros before the start.

    It identifies a dynamic process from its inputs and outputs (Narendra, Parthasarathy 1990).
    Called with the true outputs it is *series-parallel* (teacher forced): y_{t−1} … are those
    given, and no step waits for another. Without them it is *parallel* (free running): its own
    outputs come back, and gradients go through them. `start` (B, n·O) holds the outputs before the
    first step, y_{t−1} first, so that a run may begin where the truth ends.

    >>> import tinygrad_rnn as tg
    >>> net = NARX(2, 1, hidden=[8], output_lags=3, input_lags=2)
    >>> xs = tg.ones(7, 4, 2)
    >>> net(xs, tg.ones(7, 4, 1)).shape, net(xs).shape
    ((7, 4, 1), (7, 4, 1))
    """

    def __init__(
        self,
        input_size: int,
        output_size: int,
        hidden: Sequence[int],
        *,
        output_lags: int,
        input_lags: int = 0,
        activation: Any = "tanh",
    ) -> None:
        check_sizes("NARX", input_size=input_size, output_size=output_size, output_lags=output_lags)
        whole_number("NARX", "input_lags", input_lags, 0)
        hidden = several("NARX", "hidden", hidden)
        self.input_size, self.output_size = input_size, output_size
        self.output_lags, self.input_lags = output_lags, input_lags
        seen = output_lags * output_size + (input_lags + 1) * input_size
        self.mlp = MLP([seen, *hidden, output_size], activation)

    def forward(self, xs: Any, ys: Any = None, *, start: Any = None) -> Any:
        """Outputs (T, B, O) for inputs (T, B, I): one step ahead with `ys`, else running freely."""
        self._check(xs, ys, start)
        lagged = tapped_delay_line(xs, self.input_lags + 1)
        first = self._zeros(xs) if start is None else start
        if ys is not None:
            return self._series_parallel(lagged, first, ys)
        return scan(self._step, first, lagged)[1]

    def _check(self, xs: Any, ys: Any, start: Any) -> None:
        if xs.ndim != 3 or xs.shape[2] != self.input_size or not xs.shape[0]:
            raise ShapeError("NARX", f"xs (T, B, {self.input_size}), T >= 1", str(xs.shape))
        times, rows, size = xs.shape[0], xs.shape[1], self.output_size
        for name, given, shape in (
            ("ys", ys, (times, rows, size)), ("start", start, (rows, self.output_lags * size)),
        ):  # fmt: skip
            if given is not None and tuple(given.shape) != shape:
                raise ShapeError("NARX", f"{name} {shape} beside xs {xs.shape}", str(given.shape))

    def _series_parallel(self, lagged: Any, first: Any, ys: Any) -> Any:
        size, lags = self.output_size, self.output_lags
        before = [first[:, k * size : (k + 1) * size] for k in reversed(range(lags))]
        whole = cat([cat([y.unsqueeze(0) for y in before], 0), ys[:-1]], 0)
        return self.mlp(cat([tapped_delay_line(whole, lags)[lags - 1 :], lagged], -1))

    def _step(self, past: Any, x: Any) -> tuple[Any, Any]:
        y = self.mlp(cat([past, x], -1))
        return cat([y, past[:, : -self.output_size]], -1) if self.output_lags > 1 else y, y

    def _zeros(self, xs: Any) -> Any:
        return zeros(
            xs.shape[1], self.output_lags * self.output_size, dtype=xs.dtype, device=xs.device
        )
