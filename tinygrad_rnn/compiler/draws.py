"""Random numbers of all steps, drawn before the loop as the loop would have drawn them.

A generator gives the same numbers one after the other or all at once, so draws of one kind are one
call, whose numbers are then dealt out to the steps.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import prod
from typing import Any

import numpy as np

from ..create import generator, get_rng_state, set_rng_state
from ..tensor import Tensor
from .llvm_draws import uniform
from .pool import pool
from .program import Refused

__all__ = ["Draw", "drawn", "drawn_again", "restored", "undone_if_refused"]

Draw = tuple[str, tuple[int, ...], Any]  # the generator's method, the shape in a step, the dtype


def drawn(draws: Sequence[Draw], length: int, reverse: bool) -> list[Tensor]:
    """For each draw of a step the numbers of all steps, the last step's first if `reverse`."""
    if len({(name, dtype) for name, _, dtype in draws}) == 1:
        return [Tensor(array) for array in _at_once(draws, length, reverse)]
    arrays = [np.empty((length, *shape), dtype) for _, shape, dtype in draws]
    methods = [getattr(generator(), name) for name, _, _ in draws]
    for t in range(length)[:: -1 if reverse else 1]:
        for method, array in zip(methods, arrays, strict=True):
            method(dtype=array.dtype, out=array[t, ...])
    return [Tensor(array) for array in arrays]


def drawn_again(draws: Sequence[Draw], length: int, reverse: bool, state: Any) -> list[Tensor]:
    """The numbers that were drawn when the generator was in that state; it is left as it is."""
    with restored(state):
        return drawn(draws, length, reverse)


@contextmanager
def restored(state: Any) -> Iterator[None]:
    """The generator in a state that it was in, and then as it is now."""
    now = get_rng_state()
    set_rng_state(state)
    try:
        yield
    finally:
        set_rng_state(now)


@contextmanager
def undone_if_refused() -> Iterator[None]:
    """What is refused here has drawn nothing: another way draws from where this one began."""
    before = get_rng_state()
    try:
        yield
    except Refused:
        if get_rng_state() != before:
            set_rng_state(before)
        raise


def _at_once(draws: Sequence[Draw], length: int, reverse: bool) -> list[Any]:
    name, _, dtype = draws[0]
    if name == "random" and np.dtype(dtype) == np.float32:
        found = uniform(generator(), [shape for _, shape, _ in draws], length, reverse)
        if found is not None:
            return found
    sizes = [prod(shape) for _, shape, _ in draws]
    whole = pool.array((length, sum(sizes)), np.dtype(dtype))
    getattr(generator(), name)(dtype=whole.dtype, out=whole)
    parts, start = [], 0
    for (_, shape, _), size in zip(draws, sizes, strict=True):
        part = whole[:: -1 if reverse else 1, start : start + size]
        parts.append(np.ascontiguousarray(part).reshape(length, *shape))
        start += size
    return parts
