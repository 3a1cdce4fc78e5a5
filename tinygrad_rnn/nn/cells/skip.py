"""A recurrence with a second way back in time (Lin et al. 1996; Zhang et al. 2016)."""

from __future__ import annotations

from typing import Any

from ...arguments import real
from ...errors import ShapeError
from ...functional import linear, tanh
from ...ops.shape import cat
from .. import init
from ..layers import check_sizes, new_parameter
from .base import GatedCell

__all__ = ["SkipRNNCell"]


class SkipRNNCell(GatedCell):
    """h_t = tanh(W_ih x + b_ih + W_hh h_{t−1} + b_hh) + A h_{t−k};  y = h_t

    Carry: (B, k·H), the last k states, h_{t−1} first. Along A a gradient goes back k steps at once
    and through no nonlinearity. A, weight_skip (H, H), starts at `skip_scale` times the identity.

    >>> SkipRNNCell(3, 5, skip=4).initial_state(2).shape
    (2, 20)
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        *,
        skip: int = 4,
        skip_scale: float = 0.9,
    ) -> None:
        check_sizes("SkipRNNCell", skip=skip)
        super().__init__(input_size, hidden_size, bias)
        self.skip, self.skip_scale = skip, real("SkipRNNCell", "skip_scale", skip_scale)
        self.weight_skip = new_parameter(hidden_size, hidden_size)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the starting values anew; A is a multiple of the identity."""
        super().reset_parameters()
        if hasattr(self, "weight_skip"):
            init.eye_(self.weight_skip).detach().mul_(self.skip_scale)

    def initial_state(self, batch: int) -> Any:
        """All k states 0."""
        return self.zeros(batch, self.skip * self.hidden_size)

    def forward(self, carry: Any, x: Any) -> tuple[Any, Any]:
        """One step."""
        size = self.hidden_size
        if carry.shape[-1] != self.skip * size:
            got = str(carry.shape)
            raise ShapeError("SkipRNNCell", f"a carry (B, {self.skip}·{size})", got)
        seen = linear(x, self.weight_ih, self.bias_ih)
        h = tanh(seen + linear(carry[:, :size], self.weight_hh, self.bias_hh))
        h = h + linear(carry[:, -size:], self.weight_skip)
        return (cat([h, carry[:, :-size]], -1) if self.skip > 1 else h), h
