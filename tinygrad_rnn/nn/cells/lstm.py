"""Long short-term memory (Hochreiter, Schmidhuber 1997; forget gate: Gers et al. 2000)."""

from __future__ import annotations

from typing import Any

from ...errors import ArgumentError
from ...functional import linear, sigmoid, tanh
from ..layers import check_sizes, new_parameter
from .base import GatedCell

__all__ = ["LSTMCell"]


class LSTMCell(GatedCell):
    """(i, f, g, o) = W_ih x + b_ih + W_hh h + b_hh
    c' = σ(f) ⊙ c + σ(i) ⊙ tanh(g);  h' = σ(o) ⊙ tanh(c');  y = h'

    Carry: (h, c), each (B, H). With `proj_size` P it is the LSTMP (Sak et al. 2014):
    h' = W_hr (σ(o) ⊙ tanh(c')), h and y (B, P), weight_hr (P, H), weight_hh (4H, P).
    `LSTMVariantCell` has the options: peepholes, normalisation, zoneout and others.

    >>> LSTMCell(3, 5).weight_ih.shape
    (20, 3)
    """

    gates = 4
    carry_names = ("h", "c")

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, proj_size: int = 0
    ) -> None:
        check_sizes(type(self).__name__, input_size=input_size, hidden_size=hidden_size)
        if not isinstance(proj_size, int) or not 0 <= proj_size < max(1, hidden_size):
            raise ArgumentError("LSTMCell", "0 <= proj_size < hidden_size", repr(proj_size))
        self.proj_size = proj_size
        super().__init__(input_size, hidden_size, bias)
        self.weight_hr = new_parameter(proj_size, hidden_size) if proj_size else None
        self.reset_parameters()

    @property
    def output_size(self) -> int:
        """P with a projection, else H."""
        return self.proj_size or self.hidden_size

    def initial_state(self, batch: int) -> Any:
        """(h, c) = 0."""
        return self.zeros(batch, self.output_size), self.zeros(batch, self.hidden_size)

    def forward(self, carry: Any, x: Any) -> tuple[Any, Any]:
        """One step."""
        h, c = carry
        gates = linear(x, self.weight_ih, self.bias_ih) + linear(h, self.weight_hh, self.bias_hh)
        i, f, g, o = gates.chunk(4, -1)
        i, f, g, o = sigmoid(i), sigmoid(f), tanh(g), sigmoid(o)
        c = f * c + i * g
        h = o * tanh(c)
        if self.weight_hr is not None:
            h = linear(h, self.weight_hr)
        return (h, c), h
