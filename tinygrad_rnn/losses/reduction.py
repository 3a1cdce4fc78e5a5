"""How the losses of single elements become one number."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import ArgumentError, DeviceError, DTypeError, ShapeError
from ..ops.reduce import mean, sum
from ..tensor import Tensor, as_tensor

__all__ = ["beside", "check_reduction", "pair", "reduced"]


def check_reduction(called: str, reduction: str) -> None:
    """mean, sum or none."""
    if reduction not in ("mean", "sum", "none"):
        raise ArgumentError(called, 'reduction "mean", "sum" or "none"', repr(reduction))


def reduced(called: str, loss: Any, reduction: str) -> Any:
    """The mean or the sum of the losses, or the losses."""
    if reduction == "none":
        return loss
    if reduction == "sum":
        return sum(loss)
    if not loss.numel():
        raise ShapeError(called, "at least one element to take the mean of", str(loss.shape))
    if loss.dtype == np.float16:  # the sum of many may overflow where their mean does not
        return mean(loss)
    return sum(loss) * (1 / loss.numel())


def beside(called: str, value: Any, like: Tensor) -> Tensor:
    """`value` as a tensor on the device of `like`; a tensor is not moved in silence."""
    if not isinstance(value, Tensor):
        return as_tensor(value, device=like.device)
    if value.backend is not like.backend:
        hint = f'move one with .to("{like.device}")'
        raise DeviceError(called, f"tensors on {like.device!r}", value.device, hint)
    return value


def pair(called: str, input: Any, target: Any, reduction: str) -> tuple[Tensor, Tensor]:
    """Both as tensors of one shape: a loss that broadcasts is a mistake that trains."""
    check_reduction(called, reduction)
    x = as_tensor(input)
    y = beside(called, target, x)
    if x.dtype.kind != "f":
        raise DTypeError(called, "a floating-point input", x.dtype.name)
    if x.shape != y.shape:
        hint = "reshape one of them" if x.numel() == y.numel() else None
        raise ShapeError(called, "input and target of one shape", f"{x.shape} and {y.shape}", hint)
    return x, y
