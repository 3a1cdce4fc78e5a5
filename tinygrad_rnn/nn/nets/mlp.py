"""The multilayer perceptron (Rumelhart, Hinton, Williams 1986)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

from ...arguments import several, whole_number
from ...errors import ArgumentError, ShapeError
from ..cells.base import activation_named
from ..containers import ModuleList
from ..layers import Linear
from ..module import Module

__all__ = ["MLP"]


class MLP(Module):
    """z⁰ = x;  zˡ = f(Wˡ zˡ⁻¹ + bˡ);  y = Wᴸ zᴸ⁻¹ + bᴸ: x (…, sizes[0]) -> (…, sizes[-1]).

    Args:
        sizes: of the input, of every hidden layer, of the output; one hidden layer is a shallow
            network, 6 to 9 are a deep one.
        activation: f, a name or a function. output_activation: of y, the identity if None.

    >>> import tinygrad_rnn as tg
    >>> MLP([3, 8, 8, 2])(tg.ones(5, 3)).shape
    (5, 2)
    """

    def __init__(
        self,
        sizes: Sequence[int],
        activation: str | Callable[[Any], Any] = "tanh",
        output_activation: str | Callable[[Any], Any] | None = None,
    ) -> None:
        sizes = several("MLP", "sizes", sizes)
        if len(sizes) < 2:
            raise ShapeError("MLP", "sizes of an input and an output at least", list(sizes))
        self.layers = ModuleList(Linear(n, m) for n, m in pairwise(sizes))
        self.activation = activation_named("MLP", activation)
        final = output_activation
        self.output_activation = None if final is None else activation_named("MLP", final)

    def forward(self, x: Any) -> Any:
        """Through all layers."""
        y = self.layers[-1](self.hidden(x))
        return y if self.output_activation is None else self.output_activation(y)

    def hidden(self, x: Any, depth: int | None = None) -> Any:
        """The values of hidden layer `depth` (0 is x itself), or of the last one."""
        last = len(self.layers) - 1
        if depth is not None and whole_number("MLP.hidden", "depth", depth, 0) > last:
            raise ArgumentError("MLP.hidden", f"depth in 0 … {last}", depth)
        for layer in self.layers[: last if depth is None else depth]:
            x = self.activation(layer(x))
        return x
