"""Activation functions as modules, for use in `Sequential`."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from .. import functional as F
from .module import Module

__all__ = [
    "ELU", "GELU", "Hardtanh", "LeakyReLU", "LogSigmoid", "LogSoftmax", "ReLU", "SiLU", "Sigmoid",
    "Softmax", "Softplus", "Softsign", "Tanh",
]  # fmt: skip


class _Activation(Module):
    """Calls one function, with the options it was made with."""

    function: Callable[..., Any]

    def __init__(self, *args: Any, **options: Any) -> None:
        bound = inspect.signature(type(self).function).bind_partial(None, *args, **options)
        self.options = dict(list(bound.arguments.items())[1:])

    def forward(self, x: Any) -> Any:
        """The function, element by element (softmax: along its axis)."""
        return type(self).function(x, **self.options)

    def extra_repr(self) -> str:
        """The options that were given."""
        return ", ".join(f"{name}={value!r}" for name, value in self.options.items())


class ELU(_Activation):
    """`functional.elu` (alpha)."""

    function = staticmethod(F.elu)


class GELU(_Activation):
    """`functional.gelu` (approximate)."""

    function = staticmethod(F.gelu)


class Hardtanh(_Activation):
    """`functional.hardtanh` (min_val, max_val)."""

    function = staticmethod(F.hardtanh)


class LeakyReLU(_Activation):
    """`functional.leaky_relu` (negative_slope)."""

    function = staticmethod(F.leaky_relu)


class LogSigmoid(_Activation):
    """`functional.logsigmoid`."""

    function = staticmethod(F.logsigmoid)


class LogSoftmax(_Activation):
    """`functional.log_softmax` (dim)."""

    function = staticmethod(F.log_softmax)


class ReLU(_Activation):
    """max(x, 0)."""

    function = staticmethod(F.relu)


class SiLU(_Activation):
    """`functional.silu`."""

    function = staticmethod(F.silu)


class Sigmoid(_Activation):
    """σ(x)."""

    function = staticmethod(F.sigmoid)


class Softmax(_Activation):
    """`functional.softmax` (dim)."""

    function = staticmethod(F.softmax)


class Softplus(_Activation):
    """log(1 + eˣ)."""

    function = staticmethod(F.softplus)


class Softsign(_Activation):
    """`functional.softsign`."""

    function = staticmethod(F.softsign)


class Tanh(_Activation):
    """tanh x."""

    function = staticmethod(F.tanh)
