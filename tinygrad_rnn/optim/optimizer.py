"""Optimizer: what all optimisers share; each of them adds its equation.

Legend: θ parameters, g = ∂loss/∂θ, γ the learning rate `lr`, λ `weight_decay`, t the step from 1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from operator import is_
from typing import Any, ClassVar

from ..backend import quiet
from ..errors import ArgumentError, TrainingError
from ..graph import enable_grad
from ..tensor import Tensor
from ._checks import checked_options
from .flat import FlatBuffer, Run
from .fused import Fused
from .groups import Group, check_distinct, groups_of, label_of, read_params
from .state import read_groups, read_states, state_of

__all__ = ["Optimizer"]


class Optimizer:
    """Changes leaf tensors by their gradients; a subclass says how, in `update`.

    The parameters move into flat buffers (see `optim.flat`): each tensor stays the same object but
    its `.array` becomes a view, so an array taken from it before is no longer its memory.

    Args:
        params: tensors, pairs (name, tensor), or dicts with "params" and options of their own.
        defaults: the options of groups that do not name them.
        error_if_nonfinite: `step` raises on a NaN or infinite gradient and changes nothing.

    Attributes:
        param_groups: list of dicts with "params" and the options, which may be changed any time.

    Raises:
        ArgumentError: no or duplicate parameters, options out of range. AutodiffError: not a leaf.
        DTypeError: not a floating-point tensor.
    """

    # The names of the state arrays, and the option that each is needed for, if not always.
    state_names: ClassVar[Mapping[str, str | None]] = {}
    # Whether `update` is nothing but operations that `optim.fused` knows: not inherited.
    fuses: ClassVar[bool] = False

    def __init__(
        self, params: Any, defaults: dict[str, Any], error_if_nonfinite: bool = False
    ) -> None:
        self.defaults = {**defaults, **self._checked(defaults)}
        self.error_if_nonfinite = error_if_nonfinite
        self.param_groups: list[Group] = []
        self._flats: list[list[FlatBuffer]] = []  # of each group, one for each dtype and device
        self._given: list[list[Tensor]] = []  # the parameters of each group
        self._add(groups_of(type(self).__name__, params), type(self).__name__)

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={value}" for name, value in self.defaults.items())
        count = sum(len(group["params"]) for group in self.param_groups)
        return f"{type(self).__name__}({count} tensors, {shown})"

    # ------------------------------------------------------------------ for subclasses
    def update(self, run: Run, group: Group) -> None:
        """Apply the equation to one run of parameters; may overwrite `run.grad`."""
        raise NotImplementedError

    def check(self, group: Group, called: str) -> None:
        """Refuse options that do not go together."""

    def initial_state(self, group: Group) -> float:
        """What the state arrays are filled with."""
        return 0.0

    # -------------------------------------------------------------------------- groups
    def add_param_group(self, param_group: Group) -> None:
        """Optimise further parameters, with options of their own where the group names them."""
        self._add(groups_of("add_param_group", [param_group]), "add_param_group")

    def _add(self, groups: list[Group], called: str) -> None:
        """Everything is checked before the first parameter is moved."""
        full = [read_params(called, group, self.defaults) for group in groups]
        taken = [p for group in self.param_groups for p in group["params"]]
        for group in full:
            group.update(self._checked(group, called))
            if not group["lr"] > 0:
                raise ArgumentError(called, "lr > 0", repr(group["lr"]))
            check_distinct(called, group["params"], taken)
            taken += group["params"]
        for group in full:
            self._flats.append(self._flattened(group))
            self._given.append(list(group["params"]))
            self.param_groups.append(group)

    def _checked(self, group: Mapping[str, Any], called: str | None = None) -> dict[str, Any]:
        options = checked_options(called or type(self).__name__, group)
        self.check(options, called or type(self).__name__)
        return options

    def _flattened(self, group: Group) -> list[FlatBuffer]:
        first = sum(len(earlier["params"]) for earlier in self.param_groups)
        alike: dict[Any, list[int]] = {}
        for position, param in enumerate(group["params"]):
            alike.setdefault((param.dtype, param.device), []).append(position)
        return [
            FlatBuffer(
                [group["params"][i] for i in members],
                [label_of(group, i) for i in members],
                [first + i for i in members],
                self.initial_state(group),
            )
            for members in alike.values()
        ]

    def check_given(self, called: str) -> None:
        """Refuse groups that were changed by hand: what is in no buffer would never be updated."""
        found = [group["params"] for group in self.param_groups]
        if list(map(len, found)) != list(map(len, self._given)) or not all(
            all(map(is_, *pair)) for pair in zip(found, self._given, strict=True)
        ):
            hint = "add_param_group adds some; for any other change make a new optimiser"
            expected = "in param_groups the parameters it was given"
            raise ArgumentError(called, expected, "others, put there since", hint)

    def _all_flats(self) -> list[tuple[Group, FlatBuffer]]:
        pairs = zip(self.param_groups, self._flats, strict=True)
        return [(group, flat) for group, flats in pairs for flat in flats]

    def needed(self, group: Group) -> list[str]:
        """The names of the state arrays that a step with these options uses."""
        return [n for n, option in self.state_names.items() if option is None or group[option]]

    # ---------------------------------------------------------------------------- step
    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients; or set them to zero in place, which makes `step` see them."""
        for group in self.param_groups:
            for param in group["params"]:
                if set_to_none or param.grad is None:
                    param.grad = None
                else:
                    param.grad.detach().zero_()

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update every parameter that has a gradient; one without is left alone, state and all.

        Args:
            closure: computes the loss and its gradients anew; its result is returned.

        Raises:
            ShapeError, DTypeError, DeviceError: a parameter or gradient changed its form since.
            ArgumentError: an option left its range. TrainingError: a gradient that is not finite,
            with `error_if_nonfinite`. Nothing has been changed then.
        """
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        called = f"{type(self).__name__}.step"
        self.check_given(called)
        for group in self.param_groups:
            group.update(self._checked(group, called))
        flats = self._all_flats()
        for _, flat in flats:
            flat.check(called)
        with quiet():
            self._step(flats, called)
        return loss

    def _step(self, flats: list[tuple[Group, FlatBuffer]], called: str) -> None:
        changing = [flat.values for _, flat in flats]
        gradients = [flat.found(changing) for _, flat in flats]
        if self.error_if_nonfinite:
            bad = [x for (_, f), g in zip(flats, gradients, strict=True) for x in f.not_finite(g)]
            if bad:
                raise TrainingError(
                    called, "finite gradients", f"NaN or infinity in {', '.join(bad)}"
                )
        for (group, flat), found in zip(flats, gradients, strict=True):
            flat.tie()
            update, negate = partial(self.update, group=group), group["maximize"]
            steps = flat.begin(found, bool(self.needed(group)))
            fuses = flat.large and vars(type(self)).get("fuses")
            if not (fuses and Fused(update, flat, negate)(found, steps)):
                for run in flat.runs(found, steps, negate):
                    update(run)

    # --------------------------------------------------------------------------- state
    @property
    def state(self) -> dict[Tensor, dict[str, Any]]:
        """Parameter → its step and its state arrays, as tensors that share their memory."""
        found = {}
        for group, flat in self._all_flats():
            kept = state_of(flat, self.needed(group))
            found.update(
                {p: kept[n] for p, n in zip(flat.params, flat.numbers, strict=True) if n in kept}
            )
        return found

    def state_dict(self) -> dict[str, Any]:
        """A copy of everything a later run needs to continue bit for bit.

        {"state": {number of the parameter: {"step": int, name: Tensor, …}},
        "param_groups": [{option: value, …, "params": [numbers]}]}, as in PyTorch; everything
        but the tensors can be written as JSON.
        """
        self.check_given("state_dict")
        state: dict[int, dict[str, Any]] = {}
        groups: list[Group] = []
        for group, flats in zip(self.param_groups, self._flats, strict=True):
            for flat in flats:
                state.update(state_of(flat, self.needed(group)))
            numbers = sorted(n for flat in flats for n in flat.numbers)
            groups.append({**group, "params": numbers})
        copied = {number: _copied(entry) for number, entry in sorted(state.items())}
        return {"state": copied, "param_groups": groups}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over a state; parameters without an entry start anew.

        Numbers may come as strings and arrays as anything `np.asarray` reads, so a state that
        went through a file can be loaded.

        Raises:
            StateDictError: groups, parameters, names or shapes that do not fit, all listed.
            ArgumentError: an option out of its range. Nothing has been changed then.
        """
        self.check_given("load_state_dict")
        saved, entries = read_groups(self.param_groups, state_dict)
        options = [{**o, **self._checked(o, "load_state_dict")} for o in saved]
        pairs = zip(self._flats, map(self.needed, options), strict=True)
        wanted = [(flat, needed) for flats, needed in pairs for flat in flats]
        states = read_states(wanted, entries, self.state_names)
        for group, taken in zip(self.param_groups, options, strict=True):
            group.update(taken)
        for (flat, _), (steps, arrays) in zip(wanted, states, strict=True):
            flat.steps, flat.states = steps, arrays


def _copied(entry: dict[str, Any]) -> dict[str, Any]:
    return {k: Tensor(v.array.copy()) if isinstance(v, Tensor) else v for k, v in entry.items()}
