"""The state of an optimiser as nested dicts; and the way back, all checked before any is used."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ..backend import is_array
from ..errors import StateDictError
from ..tensor import Tensor
from .flat import FlatBuffer
from .groups import Group

__all__ = ["read_groups", "read_states", "state_of"]

Array = Any
Entries = dict[int, Mapping[str, Any]]  # by the number of the parameter here
FlatState = tuple[list[int], dict[str, Array]]  # steps, and the flat array of each name
CALLED = "load_state_dict"


def state_of(flat: FlatBuffer, needed: Sequence[str]) -> dict[int, dict[str, Any]]:
    """Number → step and state arrays (views) of every parameter that has been updated."""
    if not any(flat.steps):
        return {}
    names = sorted({*flat.states, *needed})
    views = {name: flat.shaped(flat.state(name)) for name in names}
    return {
        number: {"step": step, **{name: Tensor(views[name][i]) for name in names}}
        for i, (number, step) in enumerate(zip(flat.numbers, flat.steps, strict=True))
        if step
    }


# ---------------------------------------------------------------------------------- the groups
def read_groups(groups: Sequence[Group], given: Any) -> tuple[list[Group], Entries]:
    """The saved options of each group, and the saved state by today's number of each parameter."""
    if not _has_form(given):
        expected = '{"state": {number: dict, …}, "param_groups": [{"params": […], …}, …]}'
        raise StateDictError(CALLED, expected, repr(given)[:60])
    saved = given["param_groups"]
    sizes, found = [len(g["params"]) for g in groups], [len(g["params"]) for g in saved]
    if sizes != found:
        raise StateDictError(CALLED, f"groups of {sizes} parameters", f"groups of {found}")
    differences = [
        d for here, there in zip(groups, saved, strict=True) for d in _unlike(here, there)
    ]
    keys = [str(key) for group in saved for key in group["params"]]  # strings, after JSON
    state = {str(key): entry for key, entry in given["state"].items()}
    differences += [f"state of {key!r}, which is in no group" for key in state if key not in keys]
    _refuse(differences)
    options = [{k: v for k, v in g.items() if k not in ("params", "param_names")} for g in saved]
    return options, {n: state[key] for n, key in enumerate(keys) if key in state}


def _has_form(given: Any) -> bool:
    """Whether it is a state dict at all, whatever stands in it."""
    if not isinstance(given, Mapping) or not {"state", "param_groups"} <= given.keys():
        return False
    state, groups = given["state"], given["param_groups"]
    return (
        isinstance(state, Mapping)
        and all(isinstance(entry, Mapping) for entry in state.values())
        and isinstance(groups, Sequence)
        and all(isinstance(g, Mapping) and isinstance(g.get("params"), Sequence) for g in groups)
    )


def _unlike(here: Group, there: Mapping[str, Any]) -> Iterable[str]:
    """Options that are missing, names that differ."""
    for name in here.keys() - there.keys() - {"params", "param_names", "initial_lr", "name"}:
        yield f"option {name!r} is missing"
    names = here.get("param_names"), there.get("param_names")
    if None not in names:
        for mine, other in zip(*names, strict=True):  # type: ignore[arg-type]
            if mine != other:
                yield f"{other!r} where {mine!r} is needed"


def _refuse(differences: Sequence[str]) -> None:
    if differences:
        got = f"these differences: {'; '.join(differences)}"
        raise StateDictError(CALLED, "a state that fits the optimiser", got)


# ---------------------------------------------------------------------------------- the arrays
def read_states(
    flats: Sequence[tuple[FlatBuffer, Sequence[str]]], entries: Entries, known: Collection[str]
) -> list[FlatState]:
    """The steps and the arrays of each flat buffer; each comes with the names it needs."""
    _refuse([d for flat, needed in flats for d in _misfits(flat, entries, known, needed)])
    return [(_steps(flat, entries), _arrays(flat, entries)) for flat, _ in flats]


def _misfits(
    flat: FlatBuffer, entries: Entries, known: Collection[str], needed: Sequence[str]
) -> Iterable[str]:
    for number, label, param in zip(flat.numbers, flat.labels, flat.params, strict=True):
        entry = entries.get(number, {})
        arrays, step = _arrays_in(entry), entry.get("step", 0)
        if not _is_count(step):
            yield f"{label} has made {step!r} steps"
        elif step > 0:
            yield from (f"{label} has no {name!r}" for name in needed if name not in arrays)
        for name, array in arrays.items():
            if name not in known:
                yield f"{label} has {name!r}, which this optimiser does not use"
            elif array.shape != param.shape or array.dtype.kind not in "fiu":
                found = f"{array.dtype} {array.shape}"
                yield f"{name!r} of {label} is {found} where {param.dtype} {param.shape} is needed"


def _is_count(step: Any) -> bool:
    """Whether it counts: a whole number, which PyTorch keeps as a float in a tensor."""
    try:
        return not isinstance(step, str) and bool(float(step) == int(step) >= 0)
    except (TypeError, ValueError, OverflowError):
        return False


def _arrays_in(entry: Mapping[str, Any]) -> dict[str, Array]:
    """The arrays of an entry; None stands for one that has not begun."""
    given = ((k, v) for k, v in entry.items() if k != "step" and v is not None)
    return {name: _as_array(value) for name, value in given}


def _as_array(value: Any) -> Array:
    array = value.detach().array if isinstance(value, Tensor) else value
    return array if is_array(array) else np.asarray(array)


def _steps(flat: FlatBuffer, entries: Entries) -> list[int]:
    """A state without a count, as PyTorch's SGD keeps it, has begun if it has an array."""
    found = (entries.get(number, {}) for number in flat.numbers)
    return [int(entry.get("step", bool(_arrays_in(entry)))) for entry in found]


def _arrays(flat: FlatBuffer, entries: Entries) -> dict[str, Array]:
    made: dict[str, Array] = {}
    for i, number in enumerate(flat.numbers):
        for name, array in _arrays_in(entries.get(number, {})).items():
            if name not in made:
                made[name] = flat.filled()
            made[name][flat.spans[i]] = flat.brought(array).reshape(-1)
    return made
