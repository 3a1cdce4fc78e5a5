"""Loading values by name: everything is compared first, and only then anything is changed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from ..errors import StateDictError, TinygradRNNError
from ..graph import no_grad
from ..guards import memory_of
from ..tensor import Tensor, as_tensor

__all__ = ["LoadResult", "load_state"]


class LoadResult(NamedTuple):
    """The names that were looked for in vain, and those nobody wanted."""

    missing_keys: list[str]
    unexpected_keys: list[str]


def load_state(
    called: str, named: Mapping[str, Tensor], state: Mapping[str, Any], strict: bool
) -> LoadResult:
    """Copy `state` into the tensors of `named`, or raise StateDictError with all that is wrong."""
    if not isinstance(state, Mapping):
        raise StateDictError(called, "a dict of tensors by name", type(state).__name__)
    missing = [name for name in named if name not in state]
    unexpected = [name for name in state if name not in named]
    given = {name: _as_loaded(state[name]) for name in named if name in state}
    wrong = [
        f"{name} is {_kind(named[name])}, given {_kind(value, state[name])}"
        for name, value in given.items()
        if not _fits(named[name], value, strict)
    ]
    if strict:
        wrong = _listed("missing", missing) + _listed("unexpected", unexpected) + wrong
    if wrong:
        hint = "strict=False ignores missing and unexpected names and casts" if strict else None
        raise StateDictError(
            f"{called}.load_state_dict", "the names, shapes and dtypes of the module",
            "\n  ".join(["", *wrong]), hint,
        )  # fmt: skip
    memory = {memory_of(tensor) for tensor in named.values()}
    with no_grad():
        for name, value in _apart(given, memory).items():
            named[name].copy_(value.to(device=named[name].device))
    return LoadResult(missing, unexpected)


def _apart(given: Mapping[str, Any], memory: set[int]) -> dict[str, Tensor]:
    """The values, copied where they lie in memory that is to be overwritten."""
    return {n: v.clone() if memory_of(v) in memory else v for n, v in given.items()}


def _listed(what: str, names: list[str]) -> list[str]:
    return [f"{what}: {', '.join(names)}"] if names else []


def _as_loaded(value: Any) -> Tensor | None:
    """A tensor, an array of any library or nested lists, as a Tensor; None if it is no numbers."""
    if isinstance(value, Tensor):
        return value.detach()
    try:
        foreign = hasattr(value, "__array__") and not hasattr(value, "__cuda_array_interface__")
        return as_tensor(np.asarray(value) if foreign else value)
    except (TinygradRNNError, TypeError, ValueError, RuntimeError):
        return None


def _fits(held: Tensor, given: Tensor | None, strict: bool) -> bool:
    if given is None or given.shape != held.shape:
        return False
    return given.dtype == held.dtype if strict else given.dtype.kind == held.dtype.kind


def _kind(tensor: Tensor | None, value: Any = None) -> str:
    if tensor is None:
        return type(value).__name__
    return f"{tensor.dtype.name}{list(tensor.shape)}"
