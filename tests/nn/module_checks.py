"""What tests of modules share: their derivatives, random inputs, equality."""

from __future__ import annotations

from typing import Any

import numpy as np

import tinygrad_rnn as tg
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


def random(*shape: int) -> Any:
    """Normal numbers in float64."""
    return tg.randn(*shape, dtype=tg.float64)


def close(a: Any, b: Any, tolerance: float = 1e-12) -> None:
    """Arrays or tensors must be equal but for so much."""
    a, b = (v.detach().numpy() if isinstance(v, tg.Tensor) else v for v in (a, b))
    np.testing.assert_allclose(a, b, rtol=0, atol=tolerance)


def gradients_of(run: Any, module: nn.Module) -> list[Any]:
    """Of the sum of squares of what `run` gives."""
    return [g.numpy() for g in tg.gradients(run().square().sum(), list(module.parameters()))]
