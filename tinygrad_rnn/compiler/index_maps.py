"""Index maps: at which element of a value the point of a nest looks.

A map has for each axis of the value (axis of the nest or None, offset, step): the index along it is
offset + step · point[axis]. Views compose maps, so slices and permutations of what is never stored
cost nothing.
"""

from __future__ import annotations

from typing import Any

from .program import Value

__all__ = ["Map", "identity", "operand_map", "through_view"]

Map = tuple[tuple[int | None, int, int], ...]
ONE = (None, 0, 0)  # the only index of an axis of size 1


def identity(shape: tuple[int, ...]) -> Map:
    """The map of a value to the nest over its own shape."""
    return tuple([(i, 0, 1) if n != 1 else ONE for i, n in enumerate(shape)])


def operand_map(arg: Value, value: Value, index: Map) -> Map:
    """Where an operand is read when `value`, to which it broadcasts, is computed at `index`."""
    lead = len(value.shape) - len(arg.shape)
    return tuple([index[lead + i] if n != 1 else ONE for i, n in enumerate(arg.shape)])


def through_view(value: Value, index: Map) -> Map | None:
    """Where the source of a view is read, or None if that cannot be said by a map."""
    rule = _RULES.get(value.name)
    return None if rule is None else rule(value, value.inputs[0].shape, index)


def _same(value: Value, shape: tuple[int, ...], index: Map) -> Map:
    return index


def _permute(value: Value, shape: tuple[int, ...], index: Map) -> Map:
    dims = value.params["dims"]
    return tuple([index[dims.index(d)] for d in range(len(shape))])


def _expand(value: Value, shape: tuple[int, ...], index: Map) -> Map:
    lead = len(value.shape) - len(shape)
    return tuple([index[lead + i] if n != 1 else ONE for i, n in enumerate(shape)])


def _flip(value: Value, shape: tuple[int, ...], index: Map) -> Map:
    dims = value.params["dims"]
    return tuple([
        (a, shape[d] - 1 - o, -s) if d in dims else (a, o, s) for d, (a, o, s) in enumerate(index)
    ])  # fmt: skip


def _reshape(value: Value, shape: tuple[int, ...], index: Map) -> Map | None:
    """Axes of size 1 may come and go; anything else is not a map."""
    kept = [entry for entry, n in zip(index, value.shape, strict=True) if n != 1]
    if [n for n in value.shape if n != 1] != [n for n in shape if n != 1]:
        return None
    entries = iter(kept)
    return tuple([next(entries) if n != 1 else ONE for n in shape])


def _slice(value: Value, shape: tuple[int, ...], index: Map) -> Map | None:
    key = value.params["key"]
    items: list[Any] = list(key) if type(key) is tuple else [key]
    used = sum(item is not None and item is not Ellipsis for item in items)
    if Ellipsis in items:
        at = items.index(Ellipsis)
        items[at : at + 1] = [slice(None)] * (len(shape) - used)
    items += [slice(None)] * (len(shape) - sum(item is not None for item in items))
    outer, found, axis = iter(index), [], 0
    for item in items:
        if item is None:
            next(outer)
            continue
        size = shape[axis]
        axis += 1
        if type(item) is slice:
            start, _, step = item.indices(size)
            a, o, s = next(outer)
            found.append((a, start + step * o, step * s))
        else:
            found.append((None, item % size, 0))
    return tuple([entry if n != 1 else ONE for entry, n in zip(found, shape, strict=True)])


_RULES = {
    "alias": _same, "detach": _same, "permute": _permute, "expand": _expand, "flip": _flip,
    "reshape": _reshape, "slice": _slice,
}  # fmt: skip
