"""ReduceLROnPlateau: the one schedule that listens, to a figure such as the validation loss."""

from __future__ import annotations

import numbers
from collections.abc import Mapping, Sequence
from math import inf
from typing import Any

from ..arguments import positive, real, whole_number
from ..errors import ArgumentError
from ..tensor import Tensor
from ._checks import check_entries, of_group
from .optimizer import Optimizer
from .schedules import check_optimizer

__all__ = ["ReduceLROnPlateau"]


class ReduceLROnPlateau:
    """Multiply the rate by `factor` when a figure has not improved for more than `patience` epochs.

    Args:
        mode: "min" if less is better, else "max".
        threshold, threshold_mode: how much better than the best counts: by a share of it ("rel")
            or by an amount ("abs").
        cooldown: epochs after a reduction in which nothing is counted.
        min_lr: the least rate, one or one for each group; eps: a smaller change is not made.

    >>> from tinygrad_rnn import tensor
    >>> optimizer = Optimizer([tensor([0.0], requires_grad=True)], {"lr": 1.0})
    >>> schedule = ReduceLROnPlateau(optimizer, factor=0.5, patience=1)
    >>> for loss in (3.0, 2.0, 2.0, 2.0):
    ...     schedule.step(loss)
    >>> schedule.get_last_lr()
    [0.5]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        mode: str = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: str = "rel",
        cooldown: int = 0,
        min_lr: float | Sequence[float] = 0.0,
        eps: float = 1e-8,
    ) -> None:
        called = "ReduceLROnPlateau"
        check_optimizer(called, optimizer)
        if mode not in ("min", "max"):
            raise ArgumentError(called, 'mode, "min" or "max",', repr(mode))
        if threshold_mode not in ("rel", "abs"):
            raise ArgumentError(called, 'threshold_mode, "rel" or "abs",', repr(threshold_mode))
        self.optimizer = optimizer
        self.mode, self.threshold_mode = mode, threshold_mode
        self.factor = positive(called, "factor", factor, bound=1)
        self.patience = whole_number(called, "patience", patience, 0)
        self.threshold = real(called, "threshold", threshold, 0)
        self.cooldown = whole_number(called, "cooldown", cooldown, 0)
        self.min_lrs = _rates(called, min_lr, len(optimizer.param_groups))
        self.eps = real(called, "eps", eps, 0)
        self.best: float | None = None
        self.num_bad_epochs = self.cooldown_counter = self.last_epoch = 0

    def step(self, metrics: Any) -> None:
        """Note the figure of an epoch, a number or a tensor with one; NaN is no improvement."""
        value = metrics.item() if isinstance(metrics, Tensor) else metrics
        if isinstance(value, bool) or not isinstance(value, numbers.Real):
            raise ArgumentError("ReduceLROnPlateau.step", "a number", repr(metrics)[:60])
        groups = self.optimizer.param_groups
        least = [
            of_group("ReduceLROnPlateau", "min_lr", self.min_lrs, i, len(groups))
            for i in range(len(groups))
        ]
        self.last_epoch += 1
        if self._is_better(float(value)):
            self.best, self.num_bad_epochs = float(value), 0
        else:
            self.num_bad_epochs += 1
        if self.cooldown_counter > 0:
            self.cooldown_counter -= 1
            self.num_bad_epochs = 0
        if self.num_bad_epochs > self.patience:
            self._reduce(least)

    def _is_better(self, value: float) -> bool:
        if self.best is None:  # the worst there is must not be a best: inf − inf is NaN
            return value < inf if self.mode == "min" else value > -inf
        margin = self.threshold * (self.best if self.threshold_mode == "rel" else 1)
        return value < self.best - margin if self.mode == "min" else value > self.best + margin

    def _reduce(self, rates: list[float]) -> None:
        self.cooldown_counter, self.num_bad_epochs = self.cooldown, 0
        for group, least in zip(self.optimizer.param_groups, rates, strict=True):
            new = max(group["lr"] * self.factor, least)
            if group["lr"] - new > self.eps:
                group["lr"] = new

    def get_last_lr(self) -> list[float]:
        """The present rate of each group."""
        return [group["lr"] for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """What has been seen, as JSON can hold it; the rates are in the optimiser's state."""
        return {name: getattr(self, name) for name in COUNTED}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over what another has seen.

        Raises:
            StateDictError: not the state of such a schedule.
        """
        called = "load_state_dict"
        check_entries(state_dict, COUNTED)
        best = state_dict["best"]
        counts = {name: whole_number(called, name, state_dict[name], 0) for name in COUNTED[1:]}
        self.best = best if best in (None, inf, -inf) else real(called, "best", best)
        self.__dict__.update(counts)


COUNTED = ("best", "cooldown_counter", "last_epoch", "num_bad_epochs")


def _rates(called: str, given: Any, count: int) -> list[float]:
    one = not isinstance(given, (list, tuple))
    rates = [given] if one else list(given)
    if not (one or len(rates) == count):
        raise ArgumentError(called, f"min_lr, one number or {count},", repr(given))
    return [real(called, "min_lr", rate, 0) for rate in rates]
