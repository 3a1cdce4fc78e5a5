"""Parameter groups: what users may hand to an optimiser, and what is refused."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from typing import Any

from ..backend import is_array
from ..errors import ArgumentError, AutodiffError, DTypeError
from ..tensor import Tensor

__all__ = ["check_distinct", "groups_of", "label_of", "read_params"]

Group = dict[str, Any]
OF_SCHEDULES = frozenset(("initial_lr", "name", "param_names", "params"))


def groups_of(called: str, params: Any) -> list[Group]:
    """The groups in the first argument of an optimiser: tensors, named tensors, or dicts."""
    items = _listed(called, params)
    if any(isinstance(item, Mapping) for item in items):
        return [_group(called, item) for item in items]
    return [{"params": items}]


def _listed(called: str, params: Any) -> list[Any]:
    if isinstance(params, (Tensor, str, Mapping, set, frozenset)) or not isinstance(
        params, Iterable
    ):
        hint = "[tensor]" if isinstance(params, Tensor) else "model.parameters()"
        expected = "a list or another ordered iterable of tensors"
        raise DTypeError(called, expected, type(params).__name__, f"pass {hint}")
    items = list(params)
    if not items:
        hint = "is the model empty, or was a generator used up?"
        raise ArgumentError(called, "at least one parameter", "none", hint)
    return items


def _group(called: str, item: Any) -> Group:
    if not isinstance(item, Mapping) or "params" not in item:
        raise ArgumentError(called, 'groups as dicts with the key "params"', repr(item)[:60])
    params = item["params"]
    return {**item, "params": [params] if isinstance(params, Tensor) else params}


def read_params(called: str, group: Group, defaults: Mapping[str, Any]) -> Group:
    """A complete group: tensors that can be optimised, their names, and every option."""
    unknown = sorted(group.keys() - defaults.keys() - OF_SCHEDULES)
    if unknown:
        known = ", ".join(sorted(defaults))
        raise ArgumentError(called, f"options among {known}", ", ".join(map(repr, unknown)))
    items = _listed(called, group["params"])
    named = [item for item in items if isinstance(item, tuple) and len(item) == 2]
    if named and len(named) < len(items):
        raise ArgumentError(called, "names for all parameters or for none", "some of each")
    tensors = [item[1] for item in named] if named else items
    full = {**defaults, **group, "params": tensors}
    if named:
        full["param_names"] = [str(name) for name, _ in named]
    for position, tensor in enumerate(tensors):
        _check_optimisable(called, label_of(full, position), tensor)
    return full


def label_of(group: Mapping[str, Any], position: int) -> str:
    """How a message calls one parameter of a group."""
    names = group.get("param_names")
    return f"parameter {names[position]!r}" if names else f"parameter {position}"


def _check_optimisable(called: str, label: str, tensor: Any) -> None:
    if not isinstance(tensor, Tensor):
        raise DTypeError(called, f"{label} as a tensor", type(tensor).__name__)
    if not is_array(tensor.array) or not tensor.is_leaf:
        hint = "optimise what it was computed from, or detach() it"
        raise AutodiffError(called, f"{label} as a leaf", "the result of an operation", hint)
    if not tensor.is_floating_point():
        raise DTypeError(called, f"{label} as a floating-point tensor", tensor.dtype.name)


def check_distinct(called: str, params: Sequence[Tensor], before: Iterable[Tensor]) -> None:
    """No parameter may occur twice, nor share memory with another: it would be updated twice."""
    seen = {id(p) for p in before}
    for position, param in enumerate(params):
        if id(param) in seen:
            expected = "each parameter in one group, once"
            raise ArgumentError(called, expected, f"number {position} of the group again")
        seen.add(id(param))
    _check_memory(called, [*before, *params])


def _check_memory(called: str, params: Sequence[Tensor]) -> None:
    """Only arrays that are views of one array can overlap."""
    families: dict[int, list[Tensor]] = {}
    for param in params:
        base = getattr(param.array, "base", None)
        families.setdefault(id(param.array if base is None else base), []).append(param)
    for family in families.values():
        for one, other in combinations(family, 2):
            if one.backend.xp.may_share_memory(one.array, other.array):
                expected = "parameters with memory of their own"
                got = f"two that share it, {one.shape} and {other.shape}"
                hint = "to tie weights, use one Parameter in both places"
                raise ArgumentError(called, expected, got, hint)
