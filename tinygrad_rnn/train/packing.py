"""Nested state taken apart into named arrays and a rest that JSON can hold, and put back.

A checkpoint stores arrays under flat names and everything else as JSON, which knows neither
arrays nor tuples nor keys that are not strings. So a tree of dicts, lists and tuples with
Tensors, arrays and plain values as leaves is packed: an array becomes ``{"array": name}``, a
dict ``{"dict": [[key, value], ...]}``, a tuple ``{"tuple": [...]}``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ArgumentError, CheckpointError
from ..tensor import Tensor

__all__ = ["pack", "unpack"]

Arrays = dict[str, NDArray[Any]]


def pack(tree: Any, prefix: str) -> tuple[Arrays, Any]:
    """Take a tree apart into arrays, named by their path below ``prefix``, and the rest.

    Arrays are copied to the host; a Tensor comes back as an array.

    >>> arrays, rest = pack({"step": 3, "moments": (np.zeros(2), None)}, "adam")
    >>> arrays
    {'adam.moments.0': array([0., 0.])}
    >>> unpack(arrays, rest)
    {'step': 3, 'moments': (array([0., 0.]), None)}
    """
    arrays: Arrays = {}
    return arrays, _pack(tree, prefix, arrays)


def _pack(tree: Any, path: str, arrays: Arrays) -> Any:
    if isinstance(tree, (Tensor, np.ndarray)):
        host = tree.detach().to("cpu").numpy() if isinstance(tree, Tensor) else tree
        while path in arrays:  # {"a.b": …} beside {"a": {"b": …}}
            path += "'"
        arrays[path] = host.copy()  # a snapshot: training goes on in the original
        return {"array": path}
    if isinstance(tree, Mapping):
        return {
            "dict": [[key, _pack(value, f"{path}.{key}", arrays)] for key, value in tree.items()]
        }
    if isinstance(tree, (list, tuple)):
        parts = [_pack(part, f"{path}.{index}", arrays) for index, part in enumerate(tree)]
        return {"tuple": parts} if isinstance(tree, tuple) else parts
    if tree is None or isinstance(tree, (bool, int, float, str)):
        return tree
    if isinstance(tree, np.generic):
        return tree.item()
    raise ArgumentError("pack", f"plain values and arrays at {path}", type(tree).__name__)


def unpack(arrays: Mapping[str, NDArray[Any]], rest: Any) -> Any:
    """Put together what ``pack`` took apart.

    Raises:
        CheckpointError: an array is missing, or the rest is not as ``pack`` made it.
    """
    if isinstance(rest, list):
        return [unpack(arrays, part) for part in rest]
    if not isinstance(rest, dict):
        return rest
    match rest:
        case {"array": str(name)} if name in arrays:
            return arrays[name]
        case {"tuple": list(parts)}:
            return tuple(unpack(arrays, part) for part in parts)
        case {"dict": list(items)} if all(map(_is_item, items)):
            return {key: unpack(arrays, value) for key, value in items}
    raise CheckpointError("unpack", "state that pack made, with all its arrays", repr(rest)[:80])


def _is_item(item: Any) -> bool:
    return isinstance(item, list) and len(item) == 2 and isinstance(item[0], (str, int))
