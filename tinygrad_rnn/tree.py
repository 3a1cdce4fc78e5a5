"""Nested tuples, lists and dicts of tensors, taken apart and put together again.

A *tree* is a leaf or a tuple (named or not), list or dict of trees. `flatten` gives its leaves in a
fixed order and a structure from which `unflatten` rebuilds it; two structures compare with ==.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

__all__ = ["flatten", "paths", "tree_map", "unflatten"]

Structure = Any  # LEAF_MARK, None, or (type, keys, tuple of structures)
LEAF_MARK = "*"
BRANCHES = (tuple, list, dict)


def flatten(tree: Any) -> tuple[list[Any], Structure]:
    """The leaves of a tree, and its structure.

    >>> flatten({"c": 1, "h": (2, 3)})[0]
    [1, 2, 3]
    """
    leaves: list[Any] = []
    return leaves, _flatten(tree, leaves)


def _flatten(tree: Any, leaves: list[Any]) -> Structure:
    if not isinstance(tree, BRANCHES):
        if tree is None:
            return None
        leaves.append(tree)
        return LEAF_MARK
    if isinstance(tree, dict):
        keys = sorted(tree, key=str)
        return (type(tree), tuple(keys), tuple([_flatten(tree[key], leaves) for key in keys]))
    return (type(tree), None, tuple([_flatten(part, leaves) for part in tree]))


def unflatten(structure: Structure, leaves: Sequence[Any]) -> Any:
    """The tree of this structure with these leaves."""
    return _unflatten(structure, iter(leaves))


def _unflatten(structure: Structure, leaves: Iterator[Any]) -> Any:
    if structure is None:
        return None
    if structure == LEAF_MARK:
        return next(leaves)
    kind, keys, parts = structure
    built = [_unflatten(part, leaves) for part in parts]
    if keys is not None:
        return kind(zip(keys, built, strict=True))
    return kind(*built) if hasattr(kind, "_fields") else kind(built)


def tree_map(function: Callable[..., Any], tree: Any, *others: Any) -> Any:
    """The tree with `function` applied to its leaves (and those of others of equal structure).

    >>> tree_map(lambda a: a + 1, [1, (2, 3)])
    [2, (3, 4)]
    """
    leaves, structure = flatten(tree)
    columns = [flatten(other)[0] for other in others]
    return unflatten(structure, [function(*row) for row in zip(leaves, *columns, strict=True)])


def paths(tree: Any, prefix: str = "") -> list[str]:
    """A readable name for each leaf, in the order of `flatten`.

    >>> paths({"c": 1, "h": (2, 3)}, "carry")
    ["carry['c']", "carry['h'][0]", "carry['h'][1]"]
    """
    if tree is None:
        return []
    if isinstance(tree, dict):
        keys = sorted(tree, key=str)
        return [name for key in keys for name in paths(tree[key], f"{prefix}[{key!r}]")]
    if isinstance(tree, (tuple, list)):
        fields = getattr(tree, "_fields", None)
        names = [f".{f}" for f in fields] if fields else [f"[{i}]" for i in range(len(tree))]
        return [
            n for part, name in zip(tree, names, strict=True) for n in paths(part, prefix + name)
        ]
    return [prefix]
