"""The coupled oscillatory recurrent network, coRNN (Rusch, Mishra 2021)."""

from __future__ import annotations

from typing import Any

from ...arguments import positive, real
from ...functional import linear, tanh
from ..layers import new_parameter
from .base import GatedCell

__all__ = ["CoupledOscillatorCell"]


class CoupledOscillatorCell(GatedCell):
    """v' = v + Δt [tanh(W_ih x + b_ih + W_hh h + b_hh + W_v v) − γ h − ε v]
    h' = h + Δt v';  y = h'

    Carry: (h, v), each (B, H): places and speeds of H damped oscillators that drive each other, of
    frequency √γ and damping ε.

    >>> CoupledOscillatorCell(3, 5).weight_v.shape
    (5, 5)
    """

    carry_names = ("h", "v")

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        *,
        dt: float = 0.05,
        gamma: float = 1.0,
        epsilon: float = 0.1,
    ) -> None:
        called = "CoupledOscillatorCell"
        super().__init__(input_size, hidden_size, bias)
        self.dt, self.gamma = positive(called, "dt", dt), positive(called, "gamma", gamma)
        self.epsilon = real(called, "epsilon", epsilon, 0)
        self.weight_v = new_parameter(hidden_size, hidden_size)
        self.reset_parameters()

    def initial_state(self, batch: int) -> Any:
        """(h, v) = 0."""
        return self.zeros(batch, self.hidden_size), self.zeros(batch, self.hidden_size)

    def forward(self, carry: Any, x: Any) -> tuple[Any, Any]:
        """One step."""
        h, v = carry
        seen = linear(x, self.weight_ih, self.bias_ih)
        force = tanh(seen + linear(h, self.weight_hh, self.bias_hh) + linear(v, self.weight_v))
        v = v + self.dt * (force - self.gamma * h - self.epsilon * v)
        h = h + self.dt * v
        return (h, v), h
