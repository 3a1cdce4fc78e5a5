"""Learning-rate schedules: the rate as a function of how often `step` was called.

Every schedule but `ReduceLROnPlateau` is a pure function `lr_at(epoch)`, so it can be drawn before
training, and where it stands is one number, `last_epoch`. An "epoch" is whatever lies between two
calls of `schedule.step()`: a pass over the data, or one batch.

Legend: γ₀ the group's rate when the first schedule was made (`initial_lr`), t the epoch from 0.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from math import cos, pi
from typing import Any

from ..arguments import real, several, whole_number
from ..errors import ArgumentError, DTypeError, StateDictError
from ._checks import check_entries, of_group
from .groups import Group
from .optimizer import Optimizer

__all__ = [
    "ConstantLR",
    "CosineAnnealingLR",
    "CosineAnnealingWarmRestarts",
    "ExponentialLR",
    "LRScheduler",
    "LambdaLR",
    "LinearLR",
    "LinearWarmup",
    "MultiStepLR",
    "PolynomialLR",
    "SequentialLR",
    "StepLR",
    "check_optimizer",
]


def check_optimizer(called: str, optimizer: Any) -> None:
    """A schedule needs an optimiser whose rate it can set."""
    if not isinstance(optimizer, Optimizer):
        raise DTypeError(called, "an optimiser", type(optimizer).__name__)


class LRScheduler:
    """A rate that depends on the epoch alone; a subclass defines `factor` or `lr_at`.

    Args:
        last_epoch: −1 begins; n goes on after epoch n, for an optimiser whose groups have an
            `initial_lr`.

    Raises:
        DTypeError: not an optimiser. ArgumentError: an option out of its range.
    """

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        called = type(self).__name__
        check_optimizer(called, optimizer)
        self.optimizer = optimizer
        begin = whole_number(called, "last_epoch", last_epoch, least=-1) + 1
        if last_epoch > -1 and any("initial_lr" not in g for g in optimizer.param_groups):
            hint = "load the optimiser's state first, or begin with last_epoch=-1"
            raise ArgumentError(called, "initial_lr in every group", "a new optimiser", hint)
        self._go_to(begin)

    @property
    def base_lrs(self) -> list[float]:
        """The rate of each group before any schedule; also of a group added since."""
        for group in self.optimizer.param_groups:
            group.setdefault("initial_lr", group["lr"])
        return [group["initial_lr"] for group in self.optimizer.param_groups]

    def factor(self, epoch: int) -> float:
        """The rate at an epoch, as a multiple of the initial one."""
        raise NotImplementedError

    def lr_at(self, epoch: int, group: int = 0) -> float:
        """The rate of a group at an epoch."""
        return self.base_lrs[group] * self.factor(epoch)

    def options_at(self, epoch: int, group: int) -> Group:
        """Every option the schedule sets: the rate, and what a subclass adds."""
        return {"lr": self.lr_at(epoch, group)}

    def step(self) -> None:
        """Go on to the next epoch; call it after `optimizer.step()`.

        Raises:
            ArgumentError: another schedule, or a hand, has changed a rate, which would be undone.
        """
        rates = self.get_last_lr()
        if rates[: len(self._rates)] != self._rates:
            called, expected = type(self).__name__, f"rates as step() left them, {self._rates}"
            hint = "join schedules by SequentialLR or LambdaLR; to change all rates set initial_lr"
            raise ArgumentError(called, expected, rates, hint)
        self._go_to(self.last_epoch + 1)

    def _go_to(self, epoch: int) -> None:
        new = [self.options_at(epoch, i) for i in range(len(self.base_lrs))]
        self.last_epoch = epoch
        for group, options in zip(self.optimizer.param_groups, new, strict=True):
            group.update(options)
        self._rates = self.get_last_lr()

    def get_last_lr(self) -> list[float]:
        """The present rate of each group."""
        return [group["lr"] for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """Where the schedule stands, as JSON can hold it."""
        return {"last_epoch": self.last_epoch, "base_lrs": self.base_lrs}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go where another schedule stood, and set the optimiser's rate accordingly.

        Raises:
            StateDictError: not a schedule's state, or one with another number of groups.
        """
        called, groups = "load_state_dict", self.optimizer.param_groups
        check_entries(state_dict, ("last_epoch", "base_lrs"))
        found = state_dict["base_lrs"]
        if not isinstance(found, (list, tuple)) or len(found) != len(groups):
            raise StateDictError(called, f"rates of {len(groups)} groups", repr(found)[:60])
        epoch = whole_number(called, "last_epoch", state_dict["last_epoch"], 0)
        rates = [real(called, "base_lrs", rate, 0) for rate in found]
        self.options_at(epoch, 0)  # raises if there is no such epoch
        for group, rate in zip(groups, rates, strict=True):
            group["initial_lr"] = rate
        self._go_to(epoch)


class StepLR(LRScheduler):
    """Multiply the rate by `gamma` every `step_size` epochs: γ₀·gamma^⌊t/step_size⌋."""

    def __init__(
        self, optimizer: Optimizer, step_size: int, gamma: float = 0.1, last_epoch: int = -1
    ) -> None:
        self.step_size = whole_number("StepLR", "step_size", step_size, least=1)
        self.gamma = real("StepLR", "gamma", gamma, 0)
        super().__init__(optimizer, last_epoch)

    def factor(self, epoch: int) -> float:
        """gamma^⌊t/step_size⌋."""
        return self.gamma ** (epoch // self.step_size)


class MultiStepLR(LRScheduler):
    """Multiply the rate by `gamma` at each milestone: γ₀·gamma^|{m : m <= t}|."""

    def __init__(
        self,
        optimizer: Optimizer,
        milestones: Iterable[int],
        gamma: float = 0.1,
        last_epoch: int = -1,
    ) -> None:
        self.milestones = sorted(
            whole_number("MultiStepLR", "milestones", m, 0)
            for m in several("MultiStepLR", "milestones", milestones)
        )
        self.gamma = real("MultiStepLR", "gamma", gamma, 0)
        super().__init__(optimizer, last_epoch)

    def factor(self, epoch: int) -> float:
        """gamma to the number of milestones passed."""
        return self.gamma ** bisect_right(self.milestones, epoch)


class ExponentialLR(LRScheduler):
    """Multiply the rate by `gamma` every epoch: γ₀·gammaᵗ."""

    def __init__(self, optimizer: Optimizer, gamma: float, last_epoch: int = -1) -> None:
        self.gamma = real("ExponentialLR", "gamma", gamma, 0)
        super().__init__(optimizer, last_epoch)

    def factor(self, epoch: int) -> float:
        """gammaᵗ."""
        return self.gamma**epoch


class ConstantLR(LRScheduler):
    """A smaller rate at first: γ₀·factor for `total_iters` epochs, then γ₀."""

    def __init__(
        self,
        optimizer: Optimizer,
        factor: float = 1 / 3,
        total_iters: int = 5,
        last_epoch: int = -1,
    ) -> None:
        self.start_factor = real("ConstantLR", "factor", factor, 0)
        self.total_iters = whole_number("ConstantLR", "total_iters", total_iters, 0)
        super().__init__(optimizer, last_epoch)

    def factor(self, epoch: int) -> float:
        """The factor at first, then 1."""
        return self.start_factor if epoch < self.total_iters else 1.0


class LinearLR(LRScheduler):
    """A straight line from γ₀·start_factor to γ₀·end_factor in `total_iters` epochs."""

    def __init__(
        self,
        optimizer: Optimizer,
        start_factor: float = 1 / 3,
        end_factor: float = 1.0,
        total_iters: int = 5,
        last_epoch: int = -1,
    ) -> None:
        self.start_factor = real("LinearLR", "start_factor", start_factor, 0)
        self.end_factor = real("LinearLR", "end_factor", end_factor, 0)
        self.total_iters = whole_number("LinearLR", "total_iters", total_iters, least=1)
        super().__init__(optimizer, last_epoch)

    def factor(self, epoch: int) -> float:
        """start + (end − start)·min(t, n)/n."""
        part = min(epoch, self.total_iters) / self.total_iters
        return self.start_factor + (self.end_factor - self.start_factor) * part


class PolynomialLR(LRScheduler):
    """Down to zero in `total_iters` epochs: γ₀·(1 − t/total_iters)^power."""

    def __init__(
        self,
        optimizer: Optimizer,
        total_iters: int = 5,
        power: float = 1.0,
        last_epoch: int = -1,
    ) -> None:
        self.total_iters = whole_number("PolynomialLR", "total_iters", total_iters, least=1)
        self.power = real("PolynomialLR", "power", power, 0)
        super().__init__(optimizer, last_epoch)

    def factor(self, epoch: int) -> float:
        """(1 − min(t, n)/n)^power."""
        return (1 - min(epoch, self.total_iters) / self.total_iters) ** self.power


class CosineAnnealingLR(LRScheduler):
    """Half a cosine from γ₀ to `eta_min` in `T_max` epochs (Loshchilov and Hutter, 2017).

    η + (γ₀ − η)·(1 + cos(πt/T_max))/2; after T_max it rises again.
    """

    def __init__(
        self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0, last_epoch: int = -1
    ) -> None:
        self.T_max = whole_number("CosineAnnealingLR", "T_max", T_max, least=1)
        self.eta_min = real("CosineAnnealingLR", "eta_min", eta_min, 0)
        super().__init__(optimizer, last_epoch)

    def lr_at(self, epoch: int, group: int = 0) -> float:
        """η + (γ₀ − η)·(1 + cos(πt/T_max))/2."""
        height = self.base_lrs[group] - self.eta_min
        return self.eta_min + height * (1 + cos(pi * epoch / self.T_max)) / 2


class CosineAnnealingWarmRestarts(LRScheduler):
    """Cosines one after another, each `T_mult` times as long (Loshchilov and Hutter, 2017)."""

    def __init__(
        self,
        optimizer: Optimizer,
        T_0: int,
        T_mult: int = 1,
        eta_min: float = 0.0,
        last_epoch: int = -1,
    ) -> None:
        called = "CosineAnnealingWarmRestarts"
        self.T_0, self.T_mult = (
            whole_number(called, "T_0", T_0, 1),
            whole_number(called, "T_mult", T_mult, 1),
        )
        self.eta_min = real(called, "eta_min", eta_min, 0)
        super().__init__(optimizer, last_epoch)

    def lr_at(self, epoch: int, group: int = 0) -> float:
        """η + (γ₀ − η)·(1 + cos(πu/T))/2, u epochs after the last start of a cosine of length T."""
        length, since = self.T_0, epoch
        if self.T_mult == 1:
            since %= length
        while since >= length:
            since, length = since - length, length * self.T_mult
        height = self.base_lrs[group] - self.eta_min
        return self.eta_min + height * (1 + cos(pi * since / length)) / 2


class LambdaLR(LRScheduler):
    """γ₀·f(t) for a function of your own, or one for each group.

    >>> from tinygrad_rnn import tensor
    >>> optimizer = Optimizer([tensor([0.0], requires_grad=True)], {"lr": 0.5})
    >>> LambdaLR(optimizer, lambda t: 1 / (1 + t)).lr_at(4)
    0.1
    """

    def __init__(
        self,
        optimizer: Optimizer,
        lr_lambda: Callable[[int], float] | Sequence[Callable[[int], float]],
        last_epoch: int = -1,
    ) -> None:
        check_optimizer("LambdaLR", optimizer)
        count = len(optimizer.param_groups)
        one = not isinstance(lr_lambda, (list, tuple))
        given: Sequence[Any] = [lr_lambda] if one else lr_lambda  # type: ignore[assignment]
        if not (one or len(given) == count) or not all(map(callable, given)):
            raise ArgumentError("LambdaLR", f"one function, or {count}", repr(lr_lambda)[:60])
        self.lr_lambdas: list[Callable[[int], float]] = list(given)
        super().__init__(optimizer, last_epoch)

    def lr_at(self, epoch: int, group: int = 0) -> float:
        """γ₀·f(t)."""
        rates = self.base_lrs
        function = of_group("LambdaLR", "lr_lambda", self.lr_lambdas, group, len(rates))
        return rates[group] * real("LambdaLR", f"lr_lambda({epoch})", function(epoch), 0)


class LinearWarmup(LRScheduler):
    """A rate that grows from γ₀/n to γ₀ in the first n epochs; then `after`, from its epoch 0.

    γ₀·(t + 1)/n for t < n: no epoch is wasted on a rate of zero.

    >>> from tinygrad_rnn import tensor
    >>> optimizer = Optimizer([tensor([0.0], requires_grad=True)], {"lr": 1.0})
    >>> schedule = LinearWarmup(optimizer, 4, after=ExponentialLR(optimizer, 0.5))
    >>> [schedule.lr_at(epoch) for epoch in range(7)]
    [0.25, 0.5, 0.75, 1.0, 1.0, 0.5, 0.25]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        warmup_steps: int,
        after: LRScheduler | None = None,
        last_epoch: int = -1,
    ) -> None:
        self.warmup_steps = whole_number("LinearWarmup", "warmup_steps", warmup_steps, 0)
        self.after = after
        if after is not None:
            _check_pure("LinearWarmup", optimizer, [after])
        super().__init__(optimizer, last_epoch)

    def options_at(self, epoch: int, group: int) -> Group:
        """Those of `after` when the warm-up is over."""
        since = epoch - self.warmup_steps
        if self.after is None or since < 0:
            return {"lr": self.base_lrs[group] * min(1.0, (epoch + 1) / max(self.warmup_steps, 1))}
        return self.after.options_at(since, group)

    def lr_at(self, epoch: int, group: int = 0) -> float:
        """γ₀·(t + 1)/n, then the rate of `after`."""
        rate: float = self.options_at(epoch, group)["lr"]
        return rate


class SequentialLR(LRScheduler):
    """One schedule after another, each from its epoch 0; a new one begins at each milestone."""

    def __init__(
        self,
        optimizer: Optimizer,
        schedulers: Sequence[LRScheduler],
        milestones: Sequence[int],
        last_epoch: int = -1,
    ) -> None:
        self.schedulers = several("SequentialLR", "schedulers", schedulers)
        given = several("SequentialLR", "milestones", milestones)
        self.milestones = [whole_number("SequentialLR", "milestones", m, least=1) for m in given]
        _check_pure("SequentialLR", optimizer, self.schedulers)
        count = len(self.schedulers)
        if not count or len(given) != count - 1:
            expected = f"{max(count - 1, 0)} milestones for {max(count, 1)} schedulers"
            raise ArgumentError("SequentialLR", expected, f"{len(given)} for {count}")
        if self.milestones != sorted(set(self.milestones)):
            raise ArgumentError("SequentialLR", "milestones that increase", str(self.milestones))
        super().__init__(optimizer, last_epoch)

    def options_at(self, epoch: int, group: int) -> Group:
        """Those of the schedule whose turn it is."""
        turn = bisect_right(self.milestones, epoch)
        return self.schedulers[turn].options_at(epoch - [0, *self.milestones][turn], group)

    def lr_at(self, epoch: int, group: int = 0) -> float:
        """The rate of the schedule whose turn it is."""
        rate: float = self.options_at(epoch, group)["lr"]
        return rate


def _check_pure(called: str, optimizer: Any, schedulers: Sequence[Any]) -> None:
    """Only schedules that are functions of the epoch can start at any time."""
    for schedule in schedulers:
        if not isinstance(schedule, LRScheduler):
            expected = "schedules that depend on the epoch alone"
            raise DTypeError(called, expected, type(schedule).__name__)
        if schedule.optimizer is not optimizer:
            raise ArgumentError(called, "schedules of the same optimiser", "another's")
