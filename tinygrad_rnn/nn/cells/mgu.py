"""The minimal gated unit (Zhou et al. 2016)."""

from __future__ import annotations

from typing import Any

from ...functional import linear, sigmoid, tanh
from .base import GatedCell

__all__ = ["MGUCell"]


class MGUCell(GatedCell):
    """f = σ(W_f x + b_f + U_f h + d_f);  n = tanh(W_n x + b_n + U_n (f ⊙ h) + d_n)
    h' = (1 − f) ⊙ h + f ⊙ n;  y = h'

    Carry: h (B, H). Rows in the order f, n.

    >>> MGUCell(3, 5).weight_hh.shape
    (10, 5)
    """

    gates = 2

    def forward(self, carry: Any, x: Any) -> tuple[Any, Any]:
        """One step."""
        forget_x, new_x = linear(x, self.weight_ih, self.bias_ih).chunk(2, -1)
        to_forget, to_new = self.weight_hh.chunk(2)
        bias, bias_new = (None, None) if self.bias_hh is None else self.bias_hh.chunk(2)
        f = sigmoid(forget_x + linear(carry, to_forget, bias))
        n = tanh(new_x + linear(f * carry, to_new, bias_new))
        h = (1 - f) * carry + f * n
        return h, h
