"""Losses of real-valued predictions. Input and target have one shape, which is not broadcast."""

from __future__ import annotations

from math import inf
from typing import Any

from ..arguments import positive
from ..errors import ArgumentError, ShapeError
from ..graph import INTERPRETERS
from ..ops.elementwise import abs, minimum
from ..ops.reduce import mean, sum
from .reduction import pair, reduced

__all__ = ["huber_loss", "l1_loss", "mse_loss", "nmse_loss"]


def mse_loss(input: Any, target: Any, reduction: str = "mean") -> Any:
    """(x − y)².

    >>> import tinygrad_rnn as tg
    >>> float(mse_loss(tg.tensor([1.0, 2.0]), tg.tensor([1.0, 4.0])))
    2.0
    """
    x, y = pair("mse_loss", input, target, reduction)
    error = x - y
    return reduced("mse_loss", error * error, reduction)


def l1_loss(input: Any, target: Any, reduction: str = "mean") -> Any:
    """|x − y|; the derivative at 0 is 0."""
    x, y = pair("l1_loss", input, target, reduction)
    return reduced("l1_loss", abs(x - y), reduction)


def huber_loss(input: Any, target: Any, reduction: str = "mean", delta: float = 1.0) -> Any:
    """½e² for |e| ≤ δ, else δ(|e| − ½δ), e = x − y (Huber 1964).

    Raises:
        ArgumentError: delta not positive.
    """
    delta = inf if delta == inf else positive("huber_loss", "delta", delta)
    x, y = pair("huber_loss", input, target, reduction)
    size = abs(x - y)
    inner = minimum(size, delta)  # the loss is inner·(size − inner/2) on both sides of δ
    return reduced("huber_loss", inner * (size - 0.5 * inner), reduction)


def nmse_loss(input: Any, target: Any) -> Any:
    """Σ(y − x)² / Σ(y − ȳ)²: 1 for a prediction that is no better than the mean of the target.

    Raises:
        ShapeError: nothing to compare. ArgumentError: a constant target.
    """
    x, y = pair("nmse_loss", input, target, "sum")
    if not x.numel():
        raise ShapeError("nmse_loss", "at least one element", str(x.shape))
    error, spread = x - y, y - mean(y)
    scale = sum(spread * spread)
    if type(scale.array) not in INTERPRETERS and float(scale) == 0:
        raise ArgumentError("nmse_loss", "a target that varies", "a constant one")
    return sum(error * error) / scale
