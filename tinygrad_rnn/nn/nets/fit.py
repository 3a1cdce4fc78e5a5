"""The best linear map, where no gradient is needed."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...arguments import real
from ...errors import DataError, DTypeError, ShapeError
from ...graph import no_grad
from ...tensor import Tensor, as_tensor
from ..layers import Linear

__all__ = ["least_squares_"]


def least_squares_(layer: Linear, x: Any, y: Any, ridge: float = 0.0) -> Linear:
    """Set W and b so that Σ‖W x + b − y‖² + ridge ‖W‖² is least, in float64 on the host.

    Args:
        layer: changed in place. x: (…, I). y: (…, O), with the same leading axes.

    Raises:
        ArgumentError: a negative ridge. ShapeError: x and y that do not fit the layer. DataError:
            no rows, NaN or infinity.

    >>> least_squares_(Linear(1, 1), [[0.0], [1.0], [2.0]], [[1.0], [3.0], [5.0]]).weight.shape
    (1, 1)
    """
    real("least_squares_", "ridge", ridge, 0)
    if not isinstance(layer, Linear):
        raise DTypeError("least_squares_", "a Linear layer first", type(layer).__name__)
    inputs, targets = (_rows(value) for value in (x, y))
    if (inputs.shape[1], targets.shape[1]) != (layer.in_features, layer.out_features) or len(
        inputs
    ) != len(targets):
        wanted = f"rows of {layer.in_features} inputs and {layer.out_features} targets"
        raise ShapeError("least_squares_", wanted, f"{inputs.shape} and {targets.shape}")
    if not len(inputs) or not (np.isfinite(inputs).all() and np.isfinite(targets).all()):
        got = "others" if len(inputs) else "none"
        raise DataError("least_squares_", "one row or more, of finite numbers,", got)
    centre, level = inputs.mean(0), targets.mean(0)
    if layer.bias is None:
        centre, level = np.zeros_like(centre), np.zeros_like(level)
    size = inputs.shape[1]
    penalty = np.sqrt(ridge) * np.eye(size) if ridge else np.empty((0, size))
    wide = np.vstack([inputs - centre, penalty])
    goal = np.vstack([targets - level, np.zeros((len(penalty), targets.shape[1]))])
    solution = np.linalg.lstsq(wide, goal, rcond=None)[0]
    with no_grad():
        layer.weight.copy_(_like(layer.weight, solution.T))
        if layer.bias is not None:
            layer.bias.copy_(_like(layer.bias, level - centre @ solution))
    return layer


def _rows(value: Any) -> Any:
    held = as_tensor(value).detach().to("cpu").numpy().astype(np.float64)
    return held.reshape(-1, held.shape[-1])


def _like(parameter: Tensor, values: Any) -> Tensor:
    return Tensor(parameter.backend.from_numpy(np.ascontiguousarray(values, parameter.dtype)))
