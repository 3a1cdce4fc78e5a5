"""The gated recurrent unit (Cho et al. 2014), in both conventions."""

from __future__ import annotations

from typing import Any

from ...functional import linear, sigmoid, tanh
from ..layers import check_flags
from .base import GatedCell

__all__ = ["GRUCell"]


class GRUCell(GatedCell):
    """(r, z, n)ₓ = W_ih x + b_ih;  (r, z, n)ₕ = W_hh h + b_hh
    r = σ(rₓ + rₕ);  z = σ(zₓ + zₕ);  n = tanh(nₓ + r ⊙ nₕ)
    h' = (1 − z) ⊙ n + z ⊙ h;  y = h'

    Carry: h (B, H). z *keeps*: it is the lecture's u. With `reset_after=False` the reset comes
    before the product, nₕ = W_hn (r ⊙ h) + b_hn and n = tanh(nₓ + nₕ) (Cho et al. 2014); True is
    PyTorch's and cuDNN's form.
    """

    gates = 3

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, *, reset_after: bool = True
    ) -> None:
        check_flags("GRUCell", reset_after=reset_after)
        super().__init__(input_size, hidden_size, bias)
        self.reset_after = reset_after

    def forward(self, carry: Any, x: Any) -> tuple[Any, Any]:
        """One step."""
        seen = linear(x, self.weight_ih, self.bias_ih).chunk(3, -1)
        z, n = (self._after if self.reset_after else self._before)(carry, *seen)
        h = (1 - z) * n + z * carry  # exact where z is 0 or 1
        return h, h

    def _after(self, h: Any, reset_x: Any, update_x: Any, new_x: Any) -> tuple[Any, Any]:
        reset_h, update_h, new_h = linear(h, self.weight_hh, self.bias_hh).chunk(3, -1)
        n = tanh(new_x + sigmoid(reset_x + reset_h) * new_h)
        return sigmoid(update_x + update_h), n

    def _before(self, h: Any, reset_x: Any, update_x: Any, new_x: Any) -> tuple[Any, Any]:
        split = 2 * self.hidden_size
        bias, bias_new = (None, None) if self.bias_hh is None else self._halves(self.bias_hh)
        reset_h, update_h = linear(h, self.weight_hh[:split], bias).chunk(2, -1)
        n = tanh(new_x + linear(sigmoid(reset_x + reset_h) * h, self.weight_hh[split:], bias_new))
        return sigmoid(update_x + update_h), n

    def _halves(self, bias: Any) -> tuple[Any, Any]:
        return bias[: 2 * self.hidden_size], bias[2 * self.hidden_size :]
