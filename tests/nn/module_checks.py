"""Derivatives of a module with respect to its inputs and all its parameters."""

from __future__ import annotations

from typing import Any

from tinygrad_rnn import nn
from tinygrad_rnn.testing import check_grads
from tinygrad_rnn.tree import tree_map


def check_module(
    module: nn.Module, *args: Any, order: int = 2, directions: int = 2, **kwargs: Any
) -> None:
    """Hold every derivative up to `order`, in both modes, against finite differences."""
    module.double()
    parameters = tree_map(lambda p: p.detach(), dict(module.named_parameters()))

    def function(held: Any, *inputs: Any) -> Any:
        return nn.utils.functional_call(module, held, inputs, kwargs)

    check_grads(function, (parameters, *args), order, directions=directions)
