"""OneCycleLR: up to a large rate and far down again within one training."""

from __future__ import annotations

from itertools import pairwise
from math import cos, pi
from typing import Any

from ..arguments import positive, real, whole_number
from ..errors import ArgumentError
from ._checks import of_group
from .groups import Group
from .optimizer import Optimizer
from .schedules import LRScheduler, check_optimizer

__all__ = ["OneCycleLR"]

SHAPES = {"cos": lambda part: (1 - cos(pi * part)) / 2, "linear": lambda part: part}


class OneCycleLR(LRScheduler):
    """The 1cycle policy (Smith and Topin, 2018), called after every batch.

    From max_lr/div_factor up to max_lr in the first `pct_start` of `total_steps`, then down to
    max_lr/(div_factor·final_div_factor); with `three_phase`, down the way it came and then to the
    end. Momentum (β₁ of Adam) goes the other way, unless `cycle_momentum` is False.

    Raises:
        ArgumentError: an option out of its range, momentum to cycle where there is none, a step
        beyond the last.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: float | list[float],
        total_steps: int,
        pct_start: float = 0.3,
        anneal_strategy: str = "cos",
        cycle_momentum: bool = True,
        base_momentum: float = 0.85,
        max_momentum: float = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
        last_epoch: int = -1,
    ) -> None:
        called = "OneCycleLR"
        check_optimizer(called, optimizer)
        self.optimizer, count = optimizer, len(optimizer.param_groups)
        one = not isinstance(max_lr, (list, tuple))
        rates: list[Any] = [max_lr] if one else list(max_lr)  # type: ignore[arg-type]
        if not (one or len(rates) == count):
            raise ArgumentError(called, f"max_lr, one number or {count},", repr(max_lr))
        if anneal_strategy not in SHAPES:
            raise ArgumentError(
                called, 'anneal_strategy, "cos" or "linear",', repr(anneal_strategy)
            )
        self.max_lrs = [positive(called, "max_lr", rate) for rate in rates]
        self.total_steps = whole_number(called, "total_steps", total_steps, least=2)
        self.shape = SHAPES[anneal_strategy]
        self.low, self.high = (
            real(called, name, value, 0, 1)
            for name, value in (("base_momentum", base_momentum), ("max_momentum", max_momentum))
        )
        self.div_factor = positive(called, "div_factor", div_factor)
        self.final_div_factor = positive(called, "final_div_factor", final_div_factor)
        self.ends = self._ends(real(called, "pct_start", pct_start, 0, 1), three_phase)
        self.momentum = self._momentum_option(called) if cycle_momentum else None
        super().__init__(optimizer, last_epoch)

    def _ends(self, start: float, three_phase: bool) -> list[float]:
        """The steps at which one phase ends and the next begins."""
        top, last = start * self.total_steps - 1, self.total_steps - 1
        ends = [0.0, top, 2 * top, last] if three_phase else [0.0, top, last]
        if ends != sorted(set(ends)):
            expected = "pct_start that leaves every phase some steps"
            raise ArgumentError("OneCycleLR", expected, f"phases that end at {ends}")
        return ends

    def _momentum_option(self, called: str) -> str:
        for name in ("betas", "momentum"):
            if all(name in group for group in self.optimizer.param_groups):
                return name
        raise ArgumentError(
            called, "an optimiser with momentum", repr(self.optimizer), "or cycle_momentum=False"
        )

    def _between(self, epoch: int, low: float, high: float, end: float) -> float:
        """The curve from `low` to `high`, back to `low` if there are three phases, and to `end`."""
        corners = [low, high, *[low] * (len(self.ends) - 3), end]
        phases = list(zip(pairwise(self.ends), pairwise(corners), strict=True))
        epoch -= epoch == self.total_steps  # after the last batch it stays where it is
        for (start, stop), (first, last) in phases:
            if epoch <= stop:
                return first + (last - first) * self.shape((epoch - start) / (stop - start))
        raise ArgumentError("OneCycleLR", f"at most {self.total_steps} calls of step()", epoch)

    def lr_at(self, epoch: int, group: int = 0) -> float:
        """The rate after `epoch` batches."""
        count = len(self.optimizer.param_groups)
        top = of_group("OneCycleLR", "max_lr", self.max_lrs, group, count)
        low = top / self.div_factor
        return self._between(epoch, low, top, low / self.final_div_factor)

    def options_at(self, epoch: int, group: int) -> Group:
        """The rate, and the momentum that moves against it."""
        options: dict[str, Any] = {"lr": self.lr_at(epoch, group)}
        if self.momentum is not None:
            momentum = self._between(epoch, self.high, self.low, self.high)
            kept = self.optimizer.param_groups[group][self.momentum]
            options[self.momentum] = (momentum, kept[1]) if self.momentum == "betas" else momentum
        return options
