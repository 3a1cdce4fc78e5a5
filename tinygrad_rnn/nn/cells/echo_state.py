"""The leaky echo state network (Jaeger et al. 2007): a reservoir that is not trained."""

from __future__ import annotations

from typing import Any

from ...arguments import positive, real
from ...create import empty
from ...errors import ArgumentError
from ...functional import linear, tanh
from .. import init
from ..layers import check_flags, check_sizes
from .base import Cell

__all__ = ["EchoStateCell"]


class EchoStateCell(Cell):
    """h' = (1 − a) h + a tanh(W_ih x + b + W_hh h);  y = h'

    Carry: h (B, H). The weights are buffers: drawn once, saved, never trained. W_hh is sparse with
    spectral radius ρ, W_ih and b are U(±input_scale). Train a linear map of y, by `least_squares_`.

    >>> list(EchoStateCell(3, 5).parameters())
    []
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        *,
        leak: float = 1.0,
        spectral_radius: float = 0.9,
        input_scale: float = 1.0,
        fan_in: int = 10,
    ) -> None:
        called = "EchoStateCell"
        check_sizes(called, input_size=input_size, hidden_size=hidden_size, fan_in=fan_in)
        check_flags(called, bias=bias)
        if not 0 < real(called, "leak", leak) <= 1:
            raise ArgumentError(called, "0 < leak <= 1", leak)
        self.input_size, self.hidden_size, self.leak = input_size, hidden_size, leak
        self.spectral_radius = positive(called, "spectral_radius", spectral_radius)
        self.input_scale = real(called, "input_scale", input_scale, 0)
        self.fan_in = min(fan_in, hidden_size)
        self.register_buffer("weight_ih", empty(hidden_size, input_size))
        self.register_buffer("weight_hh", empty(hidden_size, hidden_size))
        self.register_buffer("bias_ih", empty(hidden_size) if bias else None)
        self.reset_parameters()

    weight_ih: Any
    weight_hh: Any
    bias_ih: Any

    def reset_parameters(self) -> None:
        """Draw the reservoir anew."""
        for buffer in (self.weight_ih, self.bias_ih):
            if buffer is not None:
                init.uniform_(buffer, -self.input_scale, self.input_scale)
        init.sparse_(self.weight_hh, std=1.0, fan_in=self.fan_in)
        init.spectral_radius_(self.weight_hh, self.spectral_radius)

    def forward(self, carry: Any, x: Any) -> tuple[Any, Any]:
        """One step."""
        seen = linear(x, self.weight_ih, self.bias_ih) + linear(carry, self.weight_hh)
        h = (1 - self.leak) * carry + self.leak * tanh(seen)
        return h, h
