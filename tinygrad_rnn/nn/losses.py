"""The losses as modules: options when made, input and target when called."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, ClassVar

from .. import losses
from ..arguments import refuse_unknown, whole_number
from ..losses.reduction import check_reduction
from ..tensor import as_tensor
from .layers import check_flags
from .module import Module

__all__ = [
    "BCEWithLogitsLoss", "CTCLoss", "CrossEntropyLoss", "HuberLoss", "KLDivLoss", "L1Loss",
    "MSELoss", "NLLLoss", "NMSELoss",
]  # fmt: skip


class _Loss(Module):
    """Calls one loss with the options it was made with; weights are buffers and move with `to`."""

    function: Callable[..., Any]
    reductions: ClassVar[tuple[str, ...]] = ()  # beside those that all have

    def __init__(self, *args: Any, **options: Any) -> None:
        called, function = type(self).__name__, type(self).function
        refuse_unknown(called, function, options)
        bound = inspect.signature(function).bind_partial(None, None, *args, **options)
        given = dict(list(bound.arguments.items())[2:])
        if given.get("reduction", "mean") not in self.reductions:
            check_reduction(called, given.get("reduction", "mean"))
        self.names = tuple(given)
        for name, value in given.items():
            if name in ("weight", "pos_weight") and value is not None:
                self.register_buffer(name, as_tensor(value))
            else:
                setattr(self, name, value)

    def forward(self, input: Any, target: Any) -> Any:
        """The loss of input against target."""
        return type(self).function(
            input, target, **{name: getattr(self, name) for name in self.names}
        )

    def extra_repr(self) -> str:
        """The options that were given."""
        return ", ".join(f"{name}={getattr(self, name)!r}" for name in self.names)


class BCEWithLogitsLoss(_Loss):
    """`losses.binary_cross_entropy_with_logits` (weight, reduction, pos_weight)."""

    function = staticmethod(losses.binary_cross_entropy_with_logits)


class CTCLoss(Module):
    """`losses.ctc_loss` (blank, reduction, zero_infinity, strict)."""

    def __init__(
        self,
        blank: int = 0,
        reduction: str = "mean",
        zero_infinity: bool = False,
        *,
        strict: bool = False,
    ) -> None:
        check_reduction("CTCLoss", reduction)
        check_flags("CTCLoss", zero_infinity=zero_infinity, strict=strict)
        whole_number("CTCLoss", "blank", blank, 0)
        self.options: dict[str, Any] = {
            "blank": blank, "reduction": reduction, "zero_infinity": zero_infinity,
            "strict": strict,
        }  # fmt: skip

    def forward(self, log_probs: Any, targets: Any, input_lengths: Any, target_lengths: Any) -> Any:
        """The loss of log-probabilities (T, N, C) against labels (N, L)."""
        return losses.ctc_loss(log_probs, targets, input_lengths, target_lengths, **self.options)

    def extra_repr(self) -> str:
        """The options."""
        return ", ".join(f"{name}={value!r}" for name, value in self.options.items())


class CrossEntropyLoss(_Loss):
    """`losses.cross_entropy` (weight, ignore_index, reduction, label_smoothing, dim)."""

    function = staticmethod(losses.cross_entropy)


class HuberLoss(_Loss):
    """`losses.huber_loss` (reduction, delta)."""

    function = staticmethod(losses.huber_loss)


class KLDivLoss(_Loss):
    """`losses.kl_div` (reduction, log_target)."""

    function = staticmethod(losses.kl_div)
    reductions = ("batchmean",)


class L1Loss(_Loss):
    """`losses.l1_loss` (reduction)."""

    function = staticmethod(losses.l1_loss)


class MSELoss(_Loss):
    """`losses.mse_loss` (reduction)."""

    function = staticmethod(losses.mse_loss)


class NLLLoss(_Loss):
    """`losses.nll_loss` (weight, ignore_index, reduction, dim)."""

    function = staticmethod(losses.nll_loss)


class NMSELoss(_Loss):
    """`losses.nmse_loss`."""

    function = staticmethod(losses.nmse_loss)
