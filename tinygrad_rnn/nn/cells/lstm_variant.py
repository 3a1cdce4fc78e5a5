"""The LSTM's options, each by its equation; without any of them it is `LSTMCell`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from ...create import ones, rand
from ...errors import ArgumentError
from ...functional import check_probability, dropout, layer_norm, linear, sigmoid
from ...ops.elementwise import where
from .. import init
from ..layers import check_flags, new_parameter
from .base import activation_named
from .lstm import LSTMCell

__all__ = ["LSTMVariantCell"]


class LSTMVariantCell(LSTMCell):
    """The LSTM with options; `nn.LSTM` takes it as soon as one is given.

    Args:
        peephole: i and f see weight_ci ⊙ c, weight_cf ⊙ c, and o sees weight_co ⊙ c' (Gers,
            Schmidhuber 2000).
        layer_norm: N(W_ih x), N(W_hh h) and tanh(N(c')) in place of what they normalise, with gains
            weight_ln_* (Ba, Kiros, Hinton 2016).
        recurrent_dropout: probability that an element of h is not seen by W_hh, in training; one
            mask for the whole sequence (Gal, Ghahramani 2016). A cell called alone is a sequence of
            one step.
        zoneout: probability that an element of h and of c, or of (h, c), stays as it was; drawn at
            every step in training, the expectation in use (Krueger et al. 2017).
        coupled_gates: σ(i) is 1 − σ(f), and has no rows (CIFG; Greff et al. 2017).
        forget_gate: False for the LSTM of 1997, σ(f) = 1, without rows: ∂c'/∂c = 1 exactly.
        output_tanh: False for h' = σ(o) ⊙ c'.
        activation: of g and of c', in place of tanh: a name or a function.

    >>> LSTMVariantCell(3, 5, coupled_gates=True, peephole=True).weight_ih.shape
    (15, 3)
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        proj_size: int = 0,
        *,
        peephole: bool = False,
        layer_norm: bool = False,
        recurrent_dropout: float = 0.0,
        zoneout: float | tuple[float, float] = 0.0,
        coupled_gates: bool = False,
        forget_gate: bool = True,
        output_tanh: bool = True,
        activation: str | Callable[[Any], Any] = "tanh",
    ) -> None:
        check_flags(
            "LSTMVariantCell", peephole=peephole, layer_norm=layer_norm, forget_gate=forget_gate,
            coupled_gates=coupled_gates, output_tanh=output_tanh,
        )  # fmt: skip
        if coupled_gates and not forget_gate:
            raise ArgumentError("LSTMVariantCell", "a forget gate to couple", "forget_gate=False")
        self.coupled_gates, self.forget_gate = coupled_gates, forget_gate
        self.zoneout = zoneout if isinstance(zoneout, tuple) else (zoneout, zoneout)
        if len(self.zoneout) != 2:
            raise ArgumentError("LSTMVariantCell", "zoneout, one number or two,", repr(zoneout))
        for probability in (recurrent_dropout, *self.zoneout):
            check_probability(probability, "LSTMVariantCell")
        self.recurrent_dropout = recurrent_dropout
        self.activation = activation_named("LSTMVariantCell", activation)
        self.output_tanh = output_tanh
        self.gates = 4 - coupled_gates - (not forget_gate)
        super().__init__(input_size, hidden_size, bias, proj_size)
        self._add_peepholes(peephole)
        self._add_norms(layer_norm)
        self.reset_parameters()

    def _add_peepholes(self, wanted: bool) -> None:
        size = self.hidden_size
        self.weight_ci = new_parameter(size) if wanted and not self.coupled_gates else None
        self.weight_cf = new_parameter(size) if wanted and self.forget_gate else None
        self.weight_co = new_parameter(size) if wanted else None

    def _add_norms(self, wanted: bool) -> None:
        rows = self.gates * self.hidden_size
        self.weight_ln_ih = new_parameter(rows) if wanted else None
        self.weight_ln_hh = new_parameter(rows) if wanted else None
        self.weight_ln_c = new_parameter(self.hidden_size) if wanted else None
        self.bias_ln_c = new_parameter(self.hidden_size) if wanted else None

    def reset_parameters(self) -> None:
        """Draw the starting values anew; gains of normalisation are 1, its bias 0."""
        super().reset_parameters()
        for name, parameter in self.named_parameters():
            if "_ln_" in name:
                init.constant_(parameter, float(name.startswith("weight")))

    def for_sequence(self, batch: int) -> Callable[[Any, Any], Any]:
        """The step with the one mask of recurrent dropout that holds for a whole sequence."""
        if not self.recurrent_dropout or not self.training:
            return self.forward
        weight = self.weight_hh
        whole = ones(batch, self.output_size, dtype=weight.dtype, device=weight.device)
        mask = dropout(whole, self.recurrent_dropout)
        return partial(self._step, mask)

    def forward(self, carry: Any, x: Any) -> tuple[Any, Any]:
        """One step."""
        if self.recurrent_dropout and self.training:
            return self.for_sequence(x.shape[0])(carry, x)
        return self._step(None, carry, x)

    def _step(self, mask: Any, carry: Any, x: Any) -> tuple[Any, Any]:
        h, c = carry
        gates = self._gates(h if mask is None else h * mask, x).chunk(self.gates, -1)
        new_c = self._remembered(c, gates)
        new_h = sigmoid(_peeped(gates[-1], self.weight_co, new_c)) * self._shown(new_c)
        if self.weight_hr is not None:
            new_h = linear(new_h, self.weight_hr)
        if any(self.zoneout):
            new_h = self._zoned(self.zoneout[0], h, new_h)
            new_c = self._zoned(self.zoneout[1], c, new_c)
        return (new_h, new_c), new_h

    def _gates(self, h: Any, x: Any) -> Any:
        if self.weight_ln_ih is None:
            return linear(x, self.weight_ih, self.bias_ih) + linear(h, self.weight_hh, self.bias_hh)
        rows = self.weight_ih.shape[0]
        seen = layer_norm(linear(x, self.weight_ih), rows, self.weight_ln_ih, self.bias_ih)
        recalled = layer_norm(linear(h, self.weight_hh), rows, self.weight_ln_hh, self.bias_hh)
        return seen + recalled

    def _remembered(self, c: Any, gates: Any) -> Any:
        new = self.activation(gates[-2])
        if not self.forget_gate:
            return c + sigmoid(_peeped(gates[0], self.weight_ci, c)) * new
        f = sigmoid(_peeped(gates[-3], self.weight_cf, c))
        if self.coupled_gates:
            return f * c + (1 - f) * new
        return f * c + sigmoid(_peeped(gates[0], self.weight_ci, c)) * new

    def _shown(self, c: Any) -> Any:
        if self.weight_ln_c is not None:
            c = layer_norm(c, self.hidden_size, self.weight_ln_c, self.bias_ln_c)
        return self.activation(c) if self.output_tanh else c

    def _zoned(self, probability: float, old: Any, new: Any) -> Any:
        if not self.training:
            return probability * old + (1 - probability) * new
        return where(rand(*new.shape, device=new.device) < probability, old, new)


def _peeped(gate: Any, weight: Any, c: Any) -> Any:
    return gate if weight is None else gate + weight * c
