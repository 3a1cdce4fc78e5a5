"""The multiplicative LSTM (Krause et al. 2016)."""

from __future__ import annotations

from typing import Any

from ...functional import linear
from ..layers import new_parameter
from .lstm import LSTMCell

__all__ = ["MultiplicativeLSTMCell"]


class MultiplicativeLSTMCell(LSTMCell):
    """m = (W_mx x) ⊙ (W_mh h), and then an LSTM that sees m in place of h.

    Carry: (h, c), each (B, H). Every input has, in effect, a recurrent matrix of its own.

    >>> MultiplicativeLSTMCell(3, 5).weight_mx.shape
    (5, 3)
    """

    def __init__(self, input_size: int, hidden_size: int, bias: bool = True) -> None:
        super().__init__(input_size, hidden_size, bias)
        self.weight_mx = new_parameter(hidden_size, input_size)
        self.weight_mh = new_parameter(hidden_size, hidden_size)
        self.reset_parameters()

    def forward(self, carry: Any, x: Any) -> tuple[Any, Any]:
        """One step."""
        h, c = carry
        return super().forward((linear(x, self.weight_mx) * linear(h, self.weight_mh), c), x)
