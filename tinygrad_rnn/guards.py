"""What can go wrong on the way back: freed graphs, changed values, NaN, hooks that misbehave."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .backend import backend_of
from .errors import AnomalyError, DTypeError, GraphFreedError, InPlaceError, ShapeError
from .graph import Node, birthplace, has_nan, root_of, touched_since
from .ops.parts import PARTIALS, settle
from .tensor import Tensor

__all__ = ["check_for_nan", "check_unchanged", "freed", "full_array", "memory_of", "run_hooks"]


def run_hooks(node: Node, g: Any) -> Any:
    """The cotangent after the hooks of a node have seen it."""
    assert node.watch is not None
    for hook in list(node.watch.hooks.values()):
        given = g if type(g) is Tensor else Tensor(full_array(g).copy())  # it may be written to
        replaced = hook(given)
        if replaced is None:
            continue
        if not isinstance(replaced, Tensor) or replaced.shape != node.shape:
            got = getattr(replaced, "shape", type(replaced).__name__)
            raise ShapeError("hook", f"None or a gradient of shape {node.shape}", got)
        if replaced.dtype != given.dtype:
            raise DTypeError("hook", f"a gradient of dtype {given.dtype}", replaced.dtype.name)
        g = replaced if type(g) is Tensor else replaced.array.copy()
    return g


def full_array(g: Any) -> Any:
    """An array where NumPy gave a scalar."""
    backend = backend_of(g)
    return g if type(g) is backend.array_type else backend.xp.asarray(g)


def memory_of(value: Any) -> int:
    """The memory that a tensor or an array stands in, as a number."""
    return id(root_of(getattr(value, "array", value)))


def freed(node: Node) -> GraphFreedError:
    """The error of a second backward."""
    return GraphFreedError(
        "backward", "a graph that is still there", f"{node!r}, freed by an earlier backward",
        "pass retain_graph=True to the first one",
    )  # fmt: skip


def check_unchanged(node: Node, saved: Sequence[Any]) -> None:
    """Raise if a value that this node saved has been changed in place since."""
    for value in saved:
        if touched_since(value, node.index):
            place = birthplace(node)
            raise InPlaceError(
                f"backward of {node.primitive.name}",
                f"its saved value of shape {getattr(value, 'shape', ())} as it was",
                "one changed in place since" + (f" (made at {place})" if place else ""),
                "change a copy: x = x.clone()",
            )


def check_for_nan(node: Node, g: Any, saved: Sequence[Any], cotangent: Any) -> None:
    """Raise if this rule made a NaN from numbers: its cotangent and what it had saved."""
    if type(cotangent) in PARTIALS:
        part = cotangent
        cotangent = part.value if hasattr(part, "value") else settle([part], None, node)
    if has_nan(cotangent) and not has_nan((g, *saved)):
        raise AnomalyError(
            f"backward of {node.primitive.name}", "a gradient without NaN",
            f"NaN; the operation was called at {birthplace(node) or 'a line that was not watched'}",
        )  # fmt: skip
