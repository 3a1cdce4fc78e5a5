"""The ranges of every option an optimiser can have, and the checks that use them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import inf
from typing import Any

from ..arguments import flag, real
from ..errors import ArgumentError, StateDictError

# Every number an optimiser takes, and the half-open interval [least, bound) it must lie in.
RANGES: dict[str, tuple[float, float]] = {
    "alpha": (0, 1),
    "betas": (0, 1),
    "dampening": (-inf, inf),
    "damping": (0, inf),
    "eps": (0, inf),
    "initial_accumulator_value": (0, inf),
    "initial_covariance": (0, inf),
    "lr": (0, inf),
    "lr_decay": (0, inf),
    "measurement_noise": (0, inf),
    "momentum": (0, inf),
    "process_noise": (0, inf),
    "rho": (0, 1),
    "structural_damping": (0, inf),
    "tolerance_change": (0, inf),
    "tolerance_grad": (0, inf),
    "weight_decay": (0, inf),
}
FLAGS = frozenset(("amsgrad", "centered", "maximize", "nesterov"))


def checked_options(called: str, group: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a group as plain Python values, each within its range."""
    numbers_ = {name: _number(called, name, group[name]) for name in RANGES if name in group}
    flags = {name: flag(called, name, group[name]) for name in FLAGS if name in group}
    return {**numbers_, **flags}


def _number(called: str, name: str, value: Any) -> Any:
    if name != "betas":
        return real(called, name, value, *RANGES[name])
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        raise ArgumentError(called, "betas, two numbers", repr(value))
    return tuple(real(called, f"betas[{i}]", b, *RANGES[name]) for i, b in enumerate(value))


def check_entries(state: Any, names: Iterable[str]) -> None:
    """The state of a schedule must be a mapping that has all these."""
    is_mapping = isinstance(state, Mapping)
    if not is_mapping or not set(names) <= state.keys():
        got = sorted(map(str, state)) if is_mapping else type(state).__name__
        raise StateDictError("load_state_dict", " and ".join(names), got)


def of_group(called: str, name: str, values: Sequence[Any], group: int, count: int) -> Any:
    """What one of `count` groups shall have: a single value is for all, those added since too."""
    if len(values) == 1:
        return values[0]
    if len(values) != count:
        raise ArgumentError(called, f"{name}, one or one for each of {count} groups", len(values))
    return values[group]
