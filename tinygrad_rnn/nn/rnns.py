"""RNN, LSTM and GRU: `Recurrent` over their cells, with PyTorch's signatures and names."""

from __future__ import annotations

from typing import Any

from .cells import GRUCell, LSTMCell, LSTMVariantCell, RNNCell
from .recurrent import Recurrent

__all__ = ["GRU", "LSTM", "RNN"]


class RNN(Recurrent):
    """Simple recurrent layers, `nn.RNNCell` in `nn.Recurrent`: carry h (L·D, B, H).

    hˡ_t = f(V hˡ⁻¹_t + W hˡ_{t−1} + b): layer l + 1 reads what layer l says at the same time
    (Schmidhuber 1992; El Hihi, Bengio 1995), f = tanh, relu or sigmoid. With relu and
    `init.eye_(layer.weight_hh_l0)` it is the IRNN (Le, Jaitly, Hinton 2015).
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: Any = None,
        dtype: Any = None,
        **unknown: Any,
    ) -> None:
        super().__init__(
            RNNCell, input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional,
            device=device, dtype=dtype, nonlinearity=nonlinearity, **unknown,
        )  # fmt: skip
        self.nonlinearity = nonlinearity


class LSTM(Recurrent):
    """LSTM layers, `nn.LSTMCell` in `nn.Recurrent`: carry (h, c), each (L·D, B, H).

    With `proj_size` P, h is (L·D, B, P) and the output (T, B, D·P). `options` are those of
    `nn.LSTMVariantCell`: peephole, layer_norm, recurrent_dropout, zoneout, coupled_gates,
    forget_gate, output_tanh, activation.

    >>> import tinygrad_rnn as tg
    >>> output, (h, c) = LSTM(3, 5)(tg.ones(7, 4, 3))
    >>> output.shape, h.shape, c.shape
    ((7, 4, 5), (1, 4, 5), (1, 4, 5))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: Any = None,
        dtype: Any = None,
        **options: Any,
    ) -> None:
        super().__init__(
            LSTMVariantCell if options else LSTMCell, input_size, hidden_size, num_layers, bias,
            batch_first, dropout, bidirectional, device=device, dtype=dtype, proj_size=proj_size,
            **options,
        )  # fmt: skip
        self.proj_size = proj_size


class GRU(Recurrent):
    """GRU layers, `nn.GRUCell` in `nn.Recurrent`: carry h (L·D, B, H); reset_after as there."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: Any = None,
        dtype: Any = None,
        *,
        reset_after: bool = True,
        **unknown: Any,
    ) -> None:
        super().__init__(
            GRUCell, input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional,
            device=device, dtype=dtype, reset_after=reset_after, **unknown,
        )  # fmt: skip
