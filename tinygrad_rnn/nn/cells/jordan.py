"""The network of Jordan (1986): what comes back is not its state but its output.

Legend: O outputs.
"""

from __future__ import annotations

from typing import Any

from ...arguments import real
from ...functional import linear, tanh
from ..layers import check_sizes, new_parameter
from .base import GatedCell

__all__ = ["JordanCell"]


class JordanCell(GatedCell):
    """h = tanh(W_ih x + b_ih + W_hh μ + b_hh);  y = U h + b_y
    μ_t = (1/t) Σ_{s≤t} y_s, or with a `decay` α, μ_t = α μ_{t−1} + y_t

    Carry: (μ (B, O), t (B, 1)). The memory μ is a statistic that is not learnt: the weight from
    y to μ is fixed at 1. weight_hh is (H, O), weight_hy (O, H).

    >>> JordanCell(3, 5, outputs=2).weight_hh.shape
    (5, 2)
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        *,
        outputs: int = 1,
        decay: float | None = None,
    ) -> None:
        check_sizes("JordanCell", outputs=outputs)
        self.outputs = outputs
        self.decay = None if decay is None else real("JordanCell", "decay", decay, 0, 1)
        super().__init__(input_size, hidden_size, bias)
        self.weight_hy = new_parameter(outputs, hidden_size)
        self.bias_hy = new_parameter(outputs) if bias else None
        self.reset_parameters()

    @property
    def output_size(self) -> int:
        """O."""
        return self.outputs

    def initial_state(self, batch: int) -> Any:
        """An empty memory."""
        return self.zeros(batch, self.outputs), self.zeros(batch, 1)

    def forward(self, carry: Any, x: Any) -> tuple[Any, Any]:
        """One step."""
        memory, count = carry
        seen = linear(x, self.weight_ih, self.bias_ih)
        h = tanh(seen + linear(memory, self.weight_hh, self.bias_hh))
        y, count = linear(h, self.weight_hy, self.bias_hy), count + 1
        if self.decay is None:
            return (memory + (y - memory) / count, count), y
        return (self.decay * memory + y, count), y
