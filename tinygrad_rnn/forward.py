"""Forward mode: the program is run on dual numbers.

A dual number is a Tensor whose payload is a value and its tangent. Every operation on one comes to
`_run_on_duals`, which runs it on the values and pushes the tangents through its jvp. Levels tell
nested transforms apart, so that an inner one takes the duals of an outer one for constants. Reverse
mode *under* forward mode is a pull on both halves, since differentiation commutes.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

from .autodiff import gradients_of, others_may_ask
from .checks import check_callable, require_float
from .create import ones_like, owned, zeros_like
from .errors import DTypeError, ShapeError
from .graph import INTERPRETERS, OFF, REVERSE_UNDER, Node, Primitive, grad_mode
from .ops.call import bind
from .tensor import Tensor, as_tensor
from .tree import flatten, unflatten

__all__ = ["Dual", "check_tuples", "jvp"]


class Dual:
    """The payload of a value and its tangent; `level` tells nested transforms apart."""

    __slots__ = ("level", "primal", "tangent")

    def __init__(self, primal: Tensor, tangent: Tensor, level: int) -> None:
        self.primal, self.tangent, self.level = primal, tangent, level

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the value."""
        return self.primal.shape

    @property
    def dtype(self) -> Any:
        """The dtype of the value."""
        return self.primal.dtype

    def __repr__(self) -> str:
        return f"Dual({self.primal!r}, {self.tangent!r})"


_levels = itertools.count(1)


def _run_on_duals(primitive: Primitive, args: tuple[Any, ...], params: dict[str, Any]) -> Any:
    level = max(a.array.level for a in args if type(getattr(a, "array", None)) is Dual)
    primals: list[Any] = []
    tangents: list[Tensor | None] = []
    for arg in args:
        mine = type(getattr(arg, "array", None)) is Dual and arg.array.level == level
        plain = hasattr(arg, "dtype") and type(arg) is not Tensor
        primals.append(arg.array.primal if mine else owned(arg) if plain else arg)
        tangents.append(arg.array.tangent if mine else None)
    out = bind(primitive, primals, params)
    if isinstance(out, Tensor) and type(out.array) not in INTERPRETERS and out.dtype.kind != "f":
        return out
    tangent = primitive.jvp(tangents, primals, out, params)
    return out if tangent is None else Tensor(Dual(out, tangent, level))


def _reverse(ys: list[Any], xs: list[Any], cs: list[Any], create: bool | None) -> list[Any]:
    """Reverse mode under forward mode: d/dε of a gradient is the gradient of the d/dε.

    Recorded if that is asked for, or something beyond the inputs could ask for it.
    """
    level = max(t.array.level for t in (*ys, *xs, *cs) if type(getattr(t, "array", None)) is Dual)
    y, dy = halves(ys, level)
    x, _ = halves(xs, level)
    c, dc = halves([ones_like(p) if g is None else g for p, g in zip(y, cs, strict=True)], level)
    pairs = [(t, g) for t, g in zip(dy, c, strict=True) if t is not None and t.requires_grad]
    pairs += [(p, g) for p, g in zip(y, dc, strict=True) if g is not None]
    roots = [node for t in (*y, *c, *(t for pair in pairs for t in pair)) for node in _nodes(t)]
    targets = {node for t in x for node in _nodes(t)}
    create = create or (grad_mode() != OFF and others_may_ask(roots, targets))
    value = gradients_of(y, x, c, True, create)
    change = gradients_of([p for p, _ in pairs], x, [g for _, g in pairs], True, create)
    return [
        v if d is None else Tensor(Dual(zeros_like(p) if v is None else v, d, level))
        for p, v, d in zip(x, value, change, strict=True)
    ]


def _nodes(t: Tensor) -> list[Node]:
    """The nodes of a tensor, or of both halves of a dual."""
    if type(t.array) is Dual:
        return _nodes(t.array.primal) + _nodes(t.array.tangent)
    return [] if t.node is None else [t.node]


def halves(tensors: Sequence[Any], level: int) -> tuple[list[Any], list[Any]]:
    """The values of duals of this level, and their tangents (None: a constant)."""
    mine = [type(t.array) is Dual and t.array.level == level for t in tensors]
    return (
        [t.array.primal if m else t for t, m in zip(tensors, mine, strict=True)],
        [t.array.tangent if m else None for t, m in zip(tensors, mine, strict=True)],
    )


INTERPRETERS[Dual] = _run_on_duals
REVERSE_UNDER[Dual] = _reverse


def jvp(function: Callable[..., Any], primals: Sequence[Any], tangents: Sequence[Any]) -> Any:
    """(f(x), ∂f/∂x · tangent): forward mode; both are trees like the output.

    Raises:
        ShapeError, DTypeError: tangents that are not like the primals.

    >>> from tinygrad_rnn import tensor
    >>> y, dy = jvp(lambda x: x * x, (tensor(3.0),), (tensor(1.0),))
    >>> float(dy)
    6.0
    """
    check_callable(function, "jvp")
    check_tuples("jvp", primals, tangents)
    xs, structure = flatten(tuple(primals))
    ts, other = flatten(tuple(tangents))
    if other != structure:
        raise ShapeError("jvp", "tangents structured like the primals", f"{len(ts)} and {len(xs)}")
    level = next(_levels)
    duals = [_dual(x, t, level) for x, t in zip(xs, ts, strict=True)]
    out = function(*unflatten(structure, duals))
    leaves, out_structure = flatten(out)
    value, change = halves([as_tensor(leaf) for leaf in leaves], level)
    filled = [zeros_like(v) if t is None else t for v, t in zip(value, change, strict=True)]
    return unflatten(out_structure, value), unflatten(out_structure, filled)


def check_tuples(called: str, *several: Any) -> None:
    """Points and directions are given as tuples, one element for each argument."""
    for given in several:
        if not isinstance(given, (tuple, list)):
            raise DTypeError(called, "tuples", type(given).__name__, f"{called}(f, (x,), (v,))")


def _dual(x: Any, t: Any, level: int) -> Tensor:
    primal, tangent = owned(x), owned(t)
    require_float("jvp", primal.dtype)
    if primal.shape != tangent.shape:
        raise ShapeError("jvp", f"a tangent of shape {primal.shape}", str(tangent.shape))
    if primal.dtype != tangent.dtype:
        raise DTypeError("jvp", f"a tangent of dtype {primal.dtype}", str(tangent.dtype))
    return Tensor(Dual(primal, tangent, level))
