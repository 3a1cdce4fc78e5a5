"""The gated recurrent unit (Cho et al. 2014), with the reset gate after the product as in cuDNN."""

from __future__ import annotations

from typing import Any

from ...functional import linear, sigmoid, tanh
from .base import GatedCell

__all__ = ["GRUCell"]


class GRUCell(GatedCell):
    """(r, z, n)ₓ = W_ih x + b_ih;  (r, z, n)ₕ = W_hh h + b_hh
    r = σ(rₓ + rₕ);  z = σ(zₓ + zₕ);  n = tanh(nₓ + r ⊙ nₕ)
    h' = (1 − z) ⊙ n + z ⊙ h;  y = h'

    Carry: h (B, H).
    """

    gates = 3

    def forward(self, carry: Any, x: Any) -> tuple[Any, Any]:
        """One step."""
        reset_x, update_x, new_x = linear(x, self.weight_ih, self.bias_ih).chunk(3, -1)
        reset_h, update_h, new_h = linear(carry, self.weight_hh, self.bias_hh).chunk(3, -1)
        z = sigmoid(update_x + update_h)
        n = tanh(new_x + sigmoid(reset_x + reset_h) * new_h)
        h = (1 - z) * n + z * carry  # exact where z is 0 or 1
        return h, h
