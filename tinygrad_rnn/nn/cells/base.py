"""What cells share: the protocol, and the two affine maps with PyTorch's names and start.

Legend: B batch, I input size, H hidden size, G gates.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from ...create import tracing, zeros
from ...errors import ArgumentError, CarryError, ShapeError
from ...functional import elu, hardtanh, relu, sigmoid, silu, softplus, softsign, tanh
from ...tensor import Tensor
from ...tree import flatten, paths
from .. import init
from ..layers import check_flags, check_sizes, new_parameter
from ..module import Module

__all__ = ["ACTIVATIONS", "Cell", "GatedCell", "activation_named"]

ACTIVATIONS: dict[str, Callable[[Any], Any]] = {
    "elu": elu, "hardtanh": hardtanh, "relu": relu, "sigmoid": sigmoid, "silu": silu,
    "softplus": softplus, "softsign": softsign, "tanh": tanh,
}  # fmt: skip


def activation_named(called: str, name: Any) -> Callable[[Any], Any]:
    """The function of a name; a function is itself."""
    if callable(name):
        return name
    if not isinstance(name, str) or name not in ACTIVATIONS:
        known = ", ".join(ACTIVATIONS)
        raise ArgumentError(called, f"an activation out of {known}, or a function", repr(name))
    return ACTIVATIONS[name]


class Cell(Module):
    """One step of a recurrence: `forward(carry, x) -> (carry, y)`, pure, x (B, I) and y (B, H).

    The carry may be any nesting of tuples, lists and dicts of tensors. A cell says its
    `input_size` and `hidden_size`, and its `output_size` and `initial_state` where they differ
    from `hidden_size` and zeros (B, H).
    """

    input_size: int
    hidden_size: int
    carry_names: tuple[str, ...] = ()  # what messages call the parts of a carry that is a tuple

    @property
    def output_size(self) -> int:
        """The size of y."""
        return self.hidden_size

    def initial_state(self, batch: int) -> Any:
        """The carry before the first step."""
        return zeros(batch, self.hidden_size)

    def for_sequence(self, batch: int) -> Callable[[Any, Any], Any]:
        """The step to run over one sequence; a cell whose masks hold for all of it draws them."""
        return self.forward

    def extra_repr(self) -> str:
        """The sizes."""
        return f"{self.input_size}, {self.hidden_size}"


class GatedCell(Cell):
    """Cells of the form W_ih x + b_ih and W_hh h + b_hh, with G gates stacked in the rows.

    Shapes: weight_ih (G·H, I), weight_hh (G·H, H), bias_ih and bias_hh (G·H,); all U(±1/√H).
    """

    gates: int = 1

    def __init__(self, input_size: int, hidden_size: int, bias: bool = True) -> None:
        check_sizes(type(self).__name__, input_size=input_size, hidden_size=hidden_size)
        check_flags(type(self).__name__, bias=bias)
        self.input_size, self.hidden_size = input_size, hidden_size
        rows = self.gates * hidden_size
        self.weight_ih = new_parameter(rows, input_size)
        self.weight_hh = new_parameter(rows, self.output_size)
        self.bias_ih = new_parameter(rows) if bias else None
        self.bias_hh = new_parameter(rows) if bias else None
        self.reset_parameters()

    def __call__(self, carry: Any, x: Any) -> Any:
        """One step, after a look whether the two came in PyTorch's order."""
        if tracing() is not None:  # without numbers, and what goes wrong is tried again with them
            return self.forward(carry, x)
        if tuple(getattr(x, "shape", ()))[-1:] != (self.input_size,):
            raise ShapeError(
                f"{type(self).__name__}(carry, x)",
                f"x of shape (B, {self.input_size})",
                str(tuple(x.shape)) if hasattr(x, "shape") else f"a {type(x).__name__}",
                "the carry comes first: cell(carry, x) -> (carry, y)",
            )
        if type(carry) is Tensor and type(self.initial_state(1)) is not Tensor:
            self._refuse_other_carry(carry, x)  # its rows would pass for the parts
        try:
            return self.forward(carry, x)
        except (TypeError, ValueError):  # of which most errors of ours are
            self._refuse_other_carry(carry, x)
            raise

    def _refuse_other_carry(self, carry: Any, x: Any) -> None:
        """Say what the carry should have been, if it is that which was wrong."""
        wanted = _shown(self.initial_state(x.shape[0]))
        if _shown(carry) != wanted:
            called = f"{type(self).__name__}(carry, x)"
            raise CarryError(
                called, f"a carry of {wanted}", _shown(carry), f"initial_state({x.shape[0]})?"
            ) from None

    def initial_state(self, batch: int) -> Any:
        """h = 0, of the dtype and on the device of the weights."""
        return self.zeros(batch, self.output_size)

    def zeros(self, batch: int, size: int) -> Any:
        """Zeros (batch, size), of the dtype and on the device of the weights."""
        weight = self.weight_hh
        return Tensor(weight.backend.xp.zeros((batch, size), dtype=weight.array.dtype))

    def reset_parameters(self) -> None:
        """Draw the starting values anew."""
        bound = 1 / math.sqrt(self.hidden_size)
        for parameter in self.parameters():
            init.uniform_(parameter, -bound, bound)


def _shown(carry: Any) -> str:
    """The parts of a carry and their shapes."""
    shapes = [getattr(leaf, "shape", type(leaf).__name__) for leaf in flatten(carry)[0]]
    parts = zip(paths(carry, "carry"), shapes, strict=True)
    return ", ".join(f"{name} {shape}" for name, shape in parts) or "nothing"
