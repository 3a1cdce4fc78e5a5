"""The state-space model, of which every other recurrent network is a case."""

from __future__ import annotations

from typing import Any

from ...ops.shape import cat
from ..layers import check_sizes
from ..module import Module
from .base import Cell

__all__ = ["StateSpaceCell"]


class StateSpaceCell(Cell):
    """h' = F([h, x]);  y = G(h')

    Carry: h (B, H). F (B, H + I) -> (B, H) and G (B, H) -> (B, output_size) are any modules, such
    as `nn.MLP` of any depth; without G, y = h'.

    >>> from tinygrad_rnn.nn import MLP, Linear
    >>> StateSpaceCell(3, 5, F=MLP([8, 20, 20, 5]), G=Linear(5, 2), outputs=2).output_size
    2
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        F: Module,
        G: Module | None = None,
        outputs: int | None = None,
    ) -> None:
        check_sizes("StateSpaceCell", input_size=input_size, hidden_size=hidden_size)
        self.input_size, self.hidden_size = input_size, hidden_size
        self.F, self.G = F, G
        self.outputs = hidden_size if outputs is None or G is None else outputs

    @property
    def output_size(self) -> int:
        """The size of G's values."""
        return self.outputs

    def forward(self, carry: Any, x: Any) -> tuple[Any, Any]:
        """One step."""
        h = self.F(cat([carry, x], -1))
        return h, h if self.G is None else self.G(h)
