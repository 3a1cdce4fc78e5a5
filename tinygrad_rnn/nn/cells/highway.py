"""The recurrent highway network (Zilly et al. 2017).

Legend: L micro-steps in each step of time.
"""

from __future__ import annotations

from typing import Any

from ...arguments import real
from ...functional import linear, sigmoid, tanh
from ..layers import check_sizes, new_parameter
from .base import GatedCell

__all__ = ["RHNCell"]


class RHNCell(GatedCell):
    """s⁰ = h;  for l = 1 … L: (n, t) = [l = 1](W_ih x + b_ih) + W_hh s + b_hh
    sˡ = σ(t) ⊙ tanh(n) + (1 − σ(t)) ⊙ sˡ⁻¹;  h' = y = sᴸ

    Carry: h (B, H). weight_hh and bias_hh hold the first micro-step, weight_deep (L−1, 2H, H) and
    bias_deep (L−1, 2H) the others. A `transfer_bias` below 0 starts by keeping.

    >>> RHNCell(3, 5, depth=4).weight_deep.shape
    (3, 10, 5)
    """

    gates = 2

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        *,
        depth: int = 3,
        transfer_bias: float = -2.0,
    ) -> None:
        check_sizes("RHNCell", depth=depth)
        super().__init__(input_size, hidden_size, bias)
        self.depth, rows = depth, 2 * hidden_size
        self.transfer_bias = real("RHNCell", "transfer_bias", transfer_bias)
        self.weight_deep = new_parameter(depth - 1, rows, hidden_size)
        self.bias_deep = new_parameter(depth - 1, rows) if bias else None
        self.reset_parameters()

    def forward(self, carry: Any, x: Any) -> tuple[Any, Any]:
        """One step."""
        seen = linear(x, self.weight_ih, self.bias_ih)
        h = self._micro_step(carry, seen + linear(carry, self.weight_hh, self.bias_hh))
        for level in range(self.depth - 1):
            bias = None if self.bias_deep is None else self.bias_deep[level]
            h = self._micro_step(h, linear(h, self.weight_deep[level], bias))
        return h, h

    def _micro_step(self, h: Any, inner: Any) -> Any:
        new, transfer = inner.chunk(2, -1)
        t = sigmoid(transfer + self.transfer_bias)
        return t * tanh(new) + (1 - t) * h
