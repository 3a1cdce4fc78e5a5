"""The independently recurrent network (Li et al. 2018)."""

from __future__ import annotations

import math
from typing import Any

from ...create import zeros
from ...functional import linear
from .. import init
from ..layers import check_flags, check_sizes, new_parameter
from .base import Cell, activation_named

__all__ = ["IndRNNCell"]


class IndRNNCell(Cell):
    """h' = f(W_ih x + b + u ⊙ h), f = relu;  y = h'

    Carry: h (B, H). Each unit sees of the past itself alone: ∂h_T/∂h_t = uᵀ⁻ᵗ Π f' for each. The
    recurrent weights u (H,) start from U[0, 1).

    >>> IndRNNCell(3, 5).weight_hh.shape
    (5,)
    """

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, *, activation: Any = "relu"
    ) -> None:
        check_sizes("IndRNNCell", input_size=input_size, hidden_size=hidden_size)
        check_flags("IndRNNCell", bias=bias)
        self.input_size, self.hidden_size = input_size, hidden_size
        self.activation = activation_named("IndRNNCell", activation)
        self.weight_ih = new_parameter(hidden_size, input_size)
        self.weight_hh = new_parameter(hidden_size)
        self.bias_ih = new_parameter(hidden_size) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the starting values anew."""
        bound = 1 / math.sqrt(self.input_size)
        for parameter in self.parameters():
            init.uniform_(parameter, -bound, bound)
        init.uniform_(self.weight_hh, 0.0, 1.0)

    def initial_state(self, batch: int) -> Any:
        """h = 0."""
        weight = self.weight_hh
        return zeros(batch, self.hidden_size, dtype=weight.dtype, device=weight.device)

    def forward(self, carry: Any, x: Any) -> tuple[Any, Any]:
        """One step."""
        h = self.activation(linear(x, self.weight_ih, self.bias_ih) + self.weight_hh * carry)
        return h, h
