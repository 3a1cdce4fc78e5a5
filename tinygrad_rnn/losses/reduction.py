"""How the losses of single elements become one number."""

from __future__ import annotations

from typing import Any

from ..errors import ArgumentError, DTypeError, ShapeError
from ..ops.reduce import sum
from ..tensor import Tensor, as_tensor

__all__ = ["check_reduction", "pair", "reduced"]


def check_reduction(called: str, reduction: str) -> None:
    """mean, sum or none."""
    if reduction not in ("mean", "sum", "none"):
        raise ArgumentError(called, 'reduction "mean", "sum" or "none"', repr(reduction))


def reduced(called: str, loss: Any, reduction: str) -> Any:
    """The mean or the sum of the losses, or the losses."""
    if reduction == "none":
        return loss
    total = sum(loss)
    if reduction == "sum":
        return total
    if not loss.numel():
        raise ShapeError(called, "at least one element to take the mean of", str(loss.shape))
    return total * (1 / loss.numel())


def pair(called: str, input: Any, target: Any, reduction: str) -> tuple[Tensor, Tensor]:
    """Both as tensors of one shape: a loss that broadcasts is a mistake that trains."""
    check_reduction(called, reduction)
    x, y = as_tensor(input), as_tensor(target)
    if x.dtype.kind != "f":
        raise DTypeError(called, "a floating-point input", x.dtype.name)
    if x.shape != y.shape:
        hint = "reshape one of them" if x.numel() == y.numel() else None
        raise ShapeError(called, "input and target of one shape", f"{x.shape} and {y.shape}", hint)
    return x, y
