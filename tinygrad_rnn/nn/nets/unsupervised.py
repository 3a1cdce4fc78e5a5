"""Layers that learn without targets: what deep networks were pre-trained with.

Legend: N patterns, V visible units, H hidden units.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from ...arguments import several, whole_number
from ...create import rand
from ...errors import ArgumentError, ShapeError
from ...functional import linear, sigmoid, softplus
from ...graph import no_grad
from ...ops.linalg import matmul
from ...tensor import Tensor
from .. import init
from ..cells.base import activation_named
from ..containers import ModuleList
from ..layers import Linear, check_sizes, new_parameter
from ..module import Module
from .mlp import MLP

__all__ = ["Autoencoder", "DBN", "RBM"]


class Autoencoder(Module):
    """z = f(W x + b);  x̂ = V z + c: what z cannot say is lost (Bengio et al. 2007).

    >>> import tinygrad_rnn as tg
    >>> Autoencoder(6, 3)(tg.ones(5, 6)).shape
    (5, 6)
    """

    def __init__(self, visible: int, hidden: int, activation: Any = "tanh") -> None:
        self.encoder, self.decoder = Linear(visible, hidden), Linear(hidden, visible)
        self.activation = activation_named("Autoencoder", activation)

    def encode(self, x: Any) -> Any:
        """The code z."""
        return self.activation(self.encoder(x))

    def forward(self, x: Any) -> Any:
        """The reconstruction x̂."""
        return self.decoder(self.encode(x))


class RBM(Module):
    """A restricted Boltzmann machine of binary units (Smolensky 1986; Hinton 2002).

    E(v, h) = −a·v − b·h − hᵀW v;  p(h=1|v) = σ(W v + b);  p(v=1|h) = σ(Wᵀh + a)

    Free energy F(v) = −a·v − Σ_j log(1 + e^{(Wv+b)_j}), so that p(v) = e^{−F(v)}/Z. `contrast` is
    one step of contrastive divergence. Stacked, they pre-train a deep belief network.

    >>> RBM(6, 3).weight.shape
    (3, 6)
    """

    def __init__(self, visible: int, hidden: int) -> None:
        check_sizes("RBM", visible=visible, hidden=hidden)
        self.weight = new_parameter(hidden, visible)
        self.visible_bias, self.hidden_bias = new_parameter(visible), new_parameter(hidden)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Weights N(0, 0.01²), biases 0, as in Hinton's guide (2010)."""
        init.normal_(self.weight, std=0.01)
        init.zeros_(self.visible_bias)
        init.zeros_(self.hidden_bias)

    def hidden(self, v: Any) -> Any:
        """p(h = 1 | v), (N, H)."""
        return sigmoid(linear(v, self.weight, self.hidden_bias))

    def visible(self, h: Any) -> Any:
        """p(v = 1 | h), (N, V)."""
        return sigmoid(matmul(h, self.weight) + self.visible_bias)

    def forward(self, v: Any) -> Any:
        """The mean-field reconstruction p(v | p(h | v))."""
        return self.visible(self.hidden(v))

    def free_energy(self, v: Any) -> Any:
        """F(v), (N,)."""
        return -matmul(v, self.visible_bias) - softplus(
            linear(v, self.weight, self.hidden_bias)
        ).sum(-1)

    def contrast(self, v: Any) -> Any:
        """CD-1: mean F(v) − mean F(v′), with v′ one step of Gibbs sampling from v, held fixed.

        Its gradient is −(⟨h v⟩_data − ⟨h v⟩_{one step}), Hinton's rule; its value is no likelihood.
        """
        with no_grad():
            drawn = _drawn(self.visible(_drawn(self.hidden(v))))
        return (self.free_energy(v) - self.free_energy(drawn)).mean()


class DBN(Module):
    """A deep belief network: RBMs stacked, each on the hidden units of the one below (Hinton,
    Osindero, Teh 2006). `train.pretrain_rbms` trains them from the bottom up.

    >>> import tinygrad_rnn as tg
    >>> net = DBN([6, 4, 3])
    >>> net(tg.ones(5, 6)).shape, net.hidden(tg.ones(5, 6)).shape
    ((5, 6), (5, 3))
    """

    def __init__(self, sizes: Sequence[int]) -> None:
        sizes = several("DBN", "sizes", sizes)
        check_sizes("DBN", layers=len(sizes) - 1)
        self.rbms = ModuleList(RBM(n, m) for n, m in pairwise(sizes))

    def hidden(self, v: Any, depth: int | None = None) -> Any:
        """Up through `depth` machines, or all: the probabilities of the units there."""
        for rbm in self._below(depth):
            v = rbm.hidden(v)
        return v

    def forward(self, v: Any, depth: int | None = None) -> Any:
        """Up through `depth` machines and down again: the reconstruction of v."""
        h = self.hidden(v, depth)
        for rbm in reversed(self._below(depth)):
            h = rbm.visible(h)
        return h

    def _below(self, depth: int | None) -> list[Any]:
        machines: list[Any] = list(self.rbms)
        if depth is not None and whole_number("DBN", "depth", depth, 0) > len(machines):
            raise ArgumentError("DBN", f"depth in 0 … {len(machines)}", depth)
        return machines[:depth]

    def load_into(self, mlp: MLP) -> None:
        """Start the hidden layers of an MLP of σ units from the machines.

        Raises:
            ArgumentError: the MLP's units are not σ. ShapeError: other sizes; nothing changed.
        """
        pairs = list(zip(self.rbms, list(mlp.layers)[:-1], strict=False))
        if mlp.activation is not sigmoid:
            raise ArgumentError("DBN.load_into", "an MLP with activation='sigmoid'", "another")
        shapes = [(rbm.weight.shape, layer.weight.shape) for rbm, layer in pairs]  # type: ignore[attr-defined]
        if len(pairs) != len(self.rbms) or any(a != b for a, b in shapes):
            raise ShapeError("DBN.load_into", "hidden layers of the machines' sizes", str(shapes))
        with no_grad():
            for rbm, layer in pairs:
                layer.weight.copy_(rbm.weight)  # type: ignore[attr-defined]
                layer.bias.copy_(rbm.hidden_bias)  # type: ignore[attr-defined]


def _drawn(probability: Tensor) -> Tensor:
    chance = rand(*probability.shape, device=probability.device)
    return (chance < probability).to(probability.dtype)
