"""The simple recurrent network (Elman 1990)."""

from __future__ import annotations

from typing import Any

from ...errors import ArgumentError
from ...functional import linear, relu, sigmoid, tanh
from .base import GatedCell

__all__ = ["RNNCell"]

_ACTIVATIONS = {"relu": relu, "sigmoid": sigmoid, "tanh": tanh}


class RNNCell(GatedCell):
    """h' = f(W_ih x + b_ih + W_hh h + b_hh), f = tanh, relu or sigmoid; y = h'.

    Carry: h (B, H).
    """

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, nonlinearity: str = "tanh"
    ) -> None:
        if not isinstance(nonlinearity, str) or nonlinearity not in _ACTIVATIONS:
            known = ", ".join(_ACTIVATIONS)
            raise ArgumentError("RNNCell", f"nonlinearity one of {known}", repr(nonlinearity))
        super().__init__(input_size, hidden_size, bias)
        self.nonlinearity = nonlinearity

    def forward(self, carry: Any, x: Any) -> tuple[Any, Any]:
        """One step."""
        inner = linear(x, self.weight_ih, self.bias_ih) + linear(
            carry, self.weight_hh, self.bias_hh
        )
        h = _ACTIVATIONS[self.nonlinearity](inner)
        return h, h
