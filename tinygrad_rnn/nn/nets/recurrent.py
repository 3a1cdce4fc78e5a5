"""Whole recurrent networks: a recurrence and what reads it.

Legend: T time steps, B batch, I input size, H hidden size, O outputs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

from ...arguments import refuse_unknown, several, takes
from ...errors import ArgumentError, CarryError, DTypeError, ShapeError
from ...graph import no_grad
from ...ops.shape import cat
from ...tensor import as_tensor
from ..cells.base import activation_named
from ..containers import ModuleList
from ..layers import Dropout, Linear, check_sizes
from ..making import maker
from ..module import Module
from ..rnns import RNN

__all__ = ["BRNN", "Elman", "ParallelRecurrent", "RMLP", "ResidualRecurrent", "SimpleRNN"]

# what the three lectures call the weights of h_t = f(…) and of y_t = g(…)
NOTATIONS = {
    "h=f(Vx+Wh+b)": ("V", "W", "U", "b_h", "b_y"),
    "s=f(Ux+Ws)": ("U", "W", "V", "b_s", "b_y"),
    "h=sigmoid(w1x+wRh+b)": ("w1", "wR", "w2", "b_j", "b_k"),
}


class SimpleRNN(Module):
    """h_t = f(V x_t + W h_{t−1} + b_h);  y_t = g(U h_t + b_y): (T, B, I) -> (y (T, B, O), h).

    The softmax of the lectures belongs into the loss, so g is the identity unless it is named. With
    `dropout` x_t and h_t are seen through masks by V and U, in training, but never by W, which
    would forget (Zaremba, Sutskever, Vinyals 2014; Pham et al. 2014).

    >>> import tinygrad_rnn as tg
    >>> SimpleRNN(3, 5, 2)(tg.ones(7, 4, 3))[0].shape
    (7, 4, 2)
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        output_size: int,
        nonlinearity: str = "tanh",
        output_activation: Any = None,
        dropout: float = 0.0,
    ) -> None:
        self.dropout = Dropout(dropout)
        self.rnn = RNN(input_size, hidden_size, nonlinearity=nonlinearity)
        self.output = Linear(hidden_size, output_size)
        g = output_activation
        self.g = None if g is None else activation_named("SimpleRNN", g)

    def forward(self, xs: Any, hx: Any = None, **options: Any) -> tuple[Any, Any]:
        """(outputs, last state); options as of `nn.RNN`: lengths, truncate, engine."""
        hidden, final = self.rnn(self.dropout(xs), hx, **options)
        y = self.output(self.dropout(hidden))
        return (y if self.g is None else self.g(y)), final

    def load_notation(self, notation: str, **arrays: Any) -> None:
        """Copy weights under the names of one of the lectures, see `NOTATIONS`; no bias is 0.

        Raises:
            ArgumentError: no such notation, or names that are not of it. ShapeError.
        """
        if notation not in NOTATIONS:
            raise ArgumentError("load_notation", f"one of {list(NOTATIONS)}", repr(notation))
        names = NOTATIONS[notation]
        if not set(names[:3]) <= set(arrays) <= set(names):
            raise ArgumentError("load_notation", f"the names {names}", sorted(arrays))
        places = (self.rnn.weight_ih_l0, self.rnn.weight_hh_l0, self.output.weight,
                  self.rnn.bias_ih_l0, self.output.bias)  # fmt: skip
        given = [as_tensor(arrays.get(n, 0.0), dtype=p.dtype) for n, p in zip(names, places)]
        for name, value, place in zip(names, given, places):
            if name in arrays and value.shape != place.shape:
                raise ShapeError("load_notation", f"{name} {place.shape}", str(value.shape))
        with no_grad():
            for value, place in zip(given, places):
                place.copy_(value if value.ndim else value + place * 0)
            self.rnn.bias_hh_l0.zero_()


class Elman(SimpleRNN):
    """The network of Elman (1990): its context is the last hidden state, taken as an input.

    In his training an error goes back one step only: `truncate` is 1 unless the call says
    otherwise (None is full backpropagation through time).

    >>> import tinygrad_rnn as tg
    >>> Elman(3, 5, 2)(tg.ones(7, 4, 3))[0].shape
    (7, 4, 2)
    """

    def forward(self, xs: Any, hx: Any = None, **options: Any) -> tuple[Any, Any]:
        """(outputs, last state)."""
        return super().forward(xs, hx, **{"truncate": 1, **options})


class RMLP(Module):
    """The recurrent multilayer perceptron: every hidden layer sees its own past (Puskorius,
    Feldkamp 1994): zˡ_t = f(Vˡ zˡ⁻¹_t + Wˡ zˡ_{t−1} + bˡ);  y_t = U zᴸ_t + b_y.

    Shapes: (T, B, I) -> (outputs (T, B, O), the last states of the layers).

    >>> import tinygrad_rnn as tg
    >>> RMLP([3, 8, 6, 2])(tg.ones(7, 4, 3))[0].shape
    (7, 4, 2)
    """

    def __init__(self, sizes: Sequence[int], nonlinearity: str = "tanh") -> None:
        sizes = several("RMLP", "sizes", sizes)
        if len(sizes) < 3:
            raise ShapeError("RMLP", "sizes of input, hidden layers and output", list(sizes))
        pairs = pairwise(sizes[:-1])
        self.layers = ModuleList(RNN(n, m, nonlinearity=nonlinearity) for n, m in pairs)
        self.output = Linear(sizes[-2], sizes[-1])

    def forward(self, xs: Any, hx: Any = None, **options: Any) -> tuple[Any, list[Any]]:
        """Through all layers, from the states `hx` of a call before or from 0."""
        finals = []
        for layer, start in zip(self.layers, _starts("RMLP", self.layers, hx)):
            xs, final = layer(xs, start, **options)
            finals.append(final)
        return self.output(xs), finals


class ParallelRecurrent(Module):
    """Several recurrent layers side by side on one input: [h¹_t, h²_t, …] (T, B, ΣH).

    h^l_t = cell^l(x_t, h^l_{t−1}), so that each may remember in its own way (El Hihi, Bengio 1995).

    >>> import tinygrad_rnn as tg
    >>> from tinygrad_rnn.nn import GRU
    >>> ParallelRecurrent([RNN(3, 4), GRU(3, 5)])(tg.ones(7, 2, 3))[0].shape
    (7, 2, 9)
    """

    def __init__(self, layers: Iterable[Module]) -> None:
        self.layers = _recurrent_layers("ParallelRecurrent", layers)

    def forward(self, xs: Any, hx: Any = None, **options: Any) -> tuple[Any, list[Any]]:
        """The outputs side by side, and the last states as a list."""
        starts = _starts("ParallelRecurrent", self.layers, hx)
        found = [layer(xs, h, **options) for layer, h in zip(self.layers, starts)]
        return cat([output for output, _ in found], -1), [final for _, final in found]


class ResidualRecurrent(Module):
    """Recurrent layers with connections that skip them: zˡ = zˡ⁻¹ + layerˡ(zˡ⁻¹) if sizes agree.

    A gradient reaches every layer by the sums alone (He et al. 2016; of LSTMs Wu et al. 2016).

    >>> import tinygrad_rnn as tg
    >>> ResidualRecurrent([RNN(3, 4), RNN(4, 4), RNN(4, 4)])(tg.ones(7, 2, 3))[0].shape
    (7, 2, 4)
    """

    def __init__(self, layers: Iterable[Module]) -> None:
        self.layers = _recurrent_layers("ResidualRecurrent", layers)

    def forward(self, xs: Any, hx: Any = None, **options: Any) -> tuple[Any, list[Any]]:
        """The outputs of the last layer, and the last states of all as a list."""
        finals = []
        for layer, start in zip(self.layers, _starts("ResidualRecurrent", self.layers, hx)):
            ys, final = layer(xs, start, **options)
            xs = xs + ys if ys.shape == xs.shape else ys
            finals.append(final)
        return xs, finals


class BRNN(Module):
    """The bidirectional network (Schuster, Paliwal 1997): y_t = U [h→_t, h←_t] + b.

    h→ runs from 0 to T, h← from T to 0, or from each row's own end where `lengths` says so: every
    output depends on the whole sequence. `layer` is one that is called with bidirectional=True.

    >>> import tinygrad_rnn as tg
    >>> BRNN(3, 5, 2)(tg.ones(7, 4, 3), lengths=[7, 7, 4, 2]).shape
    (7, 4, 2)
    """

    def __init__(
        self, input_size: int, hidden_size: int, output_size: int, layer: Any = RNN, **options: Any
    ) -> None:
        refuse_unknown("BRNN", maker("BRNN", "layer", layer), ["bidirectional", *options])
        self.layer = layer(input_size, hidden_size, bidirectional=True, **options)
        self.output = Linear(2 * hidden_size, output_size)

    def forward(self, xs: Any, **options: Any) -> Any:
        """Outputs (T, B, O)."""
        return self.output(self.layer(xs, **options)[0])


def _recurrent_layers(called: str, layers: Iterable[Module]) -> ModuleList:
    found = several(called, "layers", layers)
    check_sizes(called, layers=len(found))
    for layer in found:
        if not isinstance(layer, Module) or not takes(layer.forward, 2):
            raise DTypeError(called, "layers with forward(xs, hx)", type(layer).__name__)
    return ModuleList(found)


def _starts(called: str, layers: ModuleList, hx: Any) -> list[Any]:
    """The state that each layer starts from."""
    if hx is None:
        return [None] * len(layers)
    if not isinstance(hx, (list, tuple)) or len(hx) != len(layers):
        got = f"{len(hx)}" if isinstance(hx, (list, tuple)) else type(hx).__name__
        raise CarryError(called, f"hx, a list of {len(layers)} states,", got)
    return list(hx)
