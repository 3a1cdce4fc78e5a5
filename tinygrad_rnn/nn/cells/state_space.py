"""The state-space model, of which every other recurrent network is a case."""

from __future__ import annotations

from typing import Any

from ...arguments import takes
from ...create import zeros
from ...errors import ArgumentError, DTypeError, ShapeError
from ...graph import no_grad
from ...ops.shape import cat
from ..layers import check_sizes
from ..module import Module
from .base import Cell

__all__ = ["StateSpaceCell"]


class StateSpaceCell(Cell):
    """h' = F([h, x]);  y = G(h') (Nerrand et al. 1993, the canonical form of any recurrent network)

    Carry: h (B, H). F (B, H + I) -> (B, H) and G (B, H) -> (B, output_size) are any modules, such
    as `nn.MLP` of any depth; without G, y = h'.

    >>> from tinygrad_rnn.nn import MLP, Linear
    >>> StateSpaceCell(3, 5, F=MLP([8, 20, 20, 5]), G=Linear(5, 2)).output_size
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
        _output_size("F", F, hidden_size + input_size, hidden_size)
        if G is not None:
            self.outputs = _output_size("G", G, hidden_size, outputs)
        elif outputs in (None, hidden_size):
            self.outputs = hidden_size
        else:
            raise ArgumentError("StateSpaceCell", f"outputs {hidden_size} without G", outputs)

    @property
    def output_size(self) -> int:
        """The size of G's values."""
        return self.outputs

    def forward(self, carry: Any, x: Any) -> tuple[Any, Any]:
        """One step."""
        h = self.F(cat([carry, x], -1))
        return h, h if self.G is None else self.G(h)


def _output_size(name: str, module: Any, inputs: int, said: int | None) -> int:
    """How many numbers F or G makes of `inputs`, tried on zeros; as many as was said, if it was."""
    if not isinstance(module, Module) or not takes(module.forward, 1):
        got = type(module).__name__
        raise DTypeError("StateSpaceCell", f"{name}, a Module of one argument,", got)
    like = next(module.parameters(), zeros())
    with no_grad():
        found = module(zeros(1, inputs, dtype=like.dtype, device=like.device)).shape
    if len(found) != 2 or said not in (None, found[1]):
        wanted = f"{name} (B, {inputs}) -> (B, {'O' if said is None else said})"
        raise ShapeError("StateSpaceCell", wanted, f"one to {found}")
    return int(found[1])
