"""Transforms: functions that take a function and give its derivative, in any nesting.

Legend: J the Jacobian ∂f/∂x, H the Hessian of a scalar function, v a vector like x.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from .autodiff import gradients_of, others_may_ask
from .checks import check_callable, is_index, require_float
from .create import owned, zeros, zeros_like
from .errors import ArgumentError, AutodiffError, ShapeError
from .forward import Dual, check_tuples, jvp
from .graph import Node, enable_grad, grad_mode
from .ops.declare import linear
from .ops.shape import stack
from .tensor import Tensor, as_tensor, leaf_node
from .tree import flatten, tree_map, unflatten

__all__ = [
    "gauss_newton", "gnvp", "grad", "hessian", "hvp", "jacobian", "value_and_grad", "vjp",
]  # fmt: skip

Function = Callable[..., Any]
_alias = linear("alias", lambda xp, x: x, lambda g: g)


def _fresh(x: Any) -> Tensor:
    """The value of `x` as a new point of the graph: gradients stop here, those outside go on."""
    value = owned(x)
    if type(value.array) is Dual:
        dual = value.array
        return Tensor(Dual(_fresh(dual.primal), dual.tangent, dual.level))
    require_float("grad", value.dtype)
    if value.node is None:
        return Tensor(value.array, leaf_node(value.shape))
    with enable_grad():
        return Tensor(value.array, Node(_alias, (value.node,), (), {}, value.shape))


def _run(function: Function, args: Sequence[Any], inputs: Any, **options: Any) -> Any:
    """function(*args), recorded; `inputs` are the points among the arguments to differentiate at.

    Once it has run, nobody but the transform itself can ask for gradients of these points.
    """
    with enable_grad():
        out = function(*args, **options)
    for node in _points(flatten(inputs)[0]):
        if node.watch is not None:
            node.watch.keep = False
    return out


def _points(xs: Sequence[Any]) -> set[Node]:
    """The nodes of points of the graph, which may be dual numbers."""
    found = set()
    for x in xs:
        while type(x.array) is Dual:
            x = x.array.primal
        found.add(x.node)
    return found


def vjp(function: Function, *primals: Any) -> tuple[Any, Callable[[Any], Any]]:
    """(f(x), pullback): reverse mode; pullback(cotangent) is a tuple of trees like the primals.

    >>> from tinygrad_rnn import tensor
    >>> y, pullback = vjp(lambda x: x * x, tensor(3.0))
    >>> float(pullback(tensor(1.0))[0])
    6.0
    """
    check_callable(function, "vjp")
    inputs = tree_map(_fresh, primals)
    out = _run(function, inputs, inputs)
    xs = flatten(inputs)[0]
    ys, structure = flatten(out)

    def pullback(cotangent: Any) -> Any:
        cs, given = flatten(cotangent)
        if given != structure:
            raise ShapeError("pullback", "a cotangent structured like the output", repr(given))
        found = _pull_or_zero([as_tensor(y) for y in ys], xs, cs)
        return unflatten(flatten(primals)[1], found)

    return tree_map(lambda y: _outside(y, xs), out), pullback


def _outside(y: Any, xs: Sequence[Any]) -> Any:
    """An output as the caller may see it: without the graph, unless the caller is part of it."""
    if not isinstance(y, Tensor) or y.node is None:
        return y
    return y if grad_mode() and others_may_ask([y.node], _points(xs)) else y.detach()


def _pull_or_zero(ys: list[Any], xs: list[Any], cs: list[Any], create: bool | None = None) -> Any:
    live = [(y, c) for y, c in zip(ys, cs, strict=True) if y.requires_grad]
    found: list[Any] = [None] * len(xs)
    if not grad_mode():
        create = False
    if live:
        found = gradients_of([y for y, _ in live], xs, [c for _, c in live], True, create)
    return [zeros_like(x) if g is None else g for x, g in zip(xs, found, strict=True)]


def value_and_grad(
    function: Function, argnums: int | tuple[int, ...] = 0, has_aux: bool = False
) -> Function:
    """A function that gives (f(…), ∂f/∂argument); f gives one number, or (number, aux)."""

    check_callable(function, "value_and_grad")

    def differentiate(*args: Any, **options: Any) -> Any:
        several = isinstance(argnums, (tuple, list))
        numbers = _positions(argnums if several else (argnums,), len(args), "grad")
        fresh = list(args)
        for n in numbers:
            fresh[n] = tree_map(_fresh, args[n])
        points = [fresh[n] for n in numbers]
        out = _run(function, fresh, points, **options)
        value = out[0] if has_aux else out
        if not isinstance(value, Tensor) or value.numel() != 1:
            got = getattr(value, "shape", type(value).__name__)
            raise AutodiffError("grad", "a function that gives one number", got, "use jacobian")
        xs, structure = flatten(points)
        asked = others_may_ask([value.node], _points(xs)) if value.node else None
        found = unflatten(structure, _pull_or_zero([value], xs, [None], asked))
        kept = value if asked is None or (asked and grad_mode()) else value.detach()
        out = (kept, *tree_map(lambda y: _outside(y, xs), tuple(out[1:]))) if has_aux else kept
        return out, tuple(found) if several else found[0]

    return differentiate


def _positions(argnums: Any, count: int, called: str) -> list[int]:
    """The numbers of arguments, counted from the front."""
    if not all(is_index(n) and -count <= n < count for n in argnums):
        raise ArgumentError(called, f"argnums among {count} arguments", list(argnums))
    return [n % count for n in argnums]


def grad(function: Function, argnums: int | tuple[int, ...] = 0, has_aux: bool = False) -> Function:
    """A function that gives ∂f/∂argument, a tree like the argument; nests to any order.

    (For tensors already computed, as `torch.autograd.grad`, use `gradients`.)

    >>> from tinygrad_rnn import tensor
    >>> float(grad(grad(lambda x: x * x * x))(tensor(2.0)))
    12.0
    """
    check_callable(function, "grad")
    both = value_and_grad(function, argnums, has_aux)

    def gradient(*args: Any, **options: Any) -> Any:
        out, found = both(*args, **options)
        return (found, out[1]) if has_aux else found

    return gradient


def hvp(function: Function, primals: Sequence[Any], tangents: Sequence[Any]) -> Any:
    """Hessian times vector, H v, as the gradient of ∂f·v: about the price of two gradients.

    >>> from tinygrad_rnn import tensor
    >>> float(hvp(lambda x: x ** 3, (tensor(2.0),), (tensor(1.0),))[0])
    12.0
    """
    check_tuples("hvp", primals, tangents)
    return grad(lambda *xs: jvp(function, xs, tangents)[1], tuple(range(len(primals))))(*primals)


def gnvp(model: Function, loss: Function, primals: Sequence[Any], tangents: Sequence[Any]) -> Any:
    """Gauss–Newton product Jᵀ H_L J v for loss(model(x)) (Schraudolph 2002; Martens 2010).

    J is the Jacobian of the model, H_L the Hessian of the loss in the model's output.
    """
    out, pushed = jvp(model, primals, tangents)
    curved = hvp(loss, (out,), (pushed,))[0]
    return vjp(model, *primals)[1](curved)


def gauss_newton(model: Function, loss: Function, *primals: Any) -> Function:
    """The map v ↦ Jᵀ H_L J v of `gnvp` at one point, for many v: nothing is computed twice.

    A pullback is linear in its cotangent, so its own pullback is the pushforward J v; and H_L is
    its own transpose. A product is then three walks over graphs that stand; a compiled scan in
    the model has loops in their place.

    >>> from tinygrad_rnn import tensor
    >>> product = gauss_newton(lambda x: x * x, lambda y: (y * y).sum(), tensor([1.0, 2.0]))
    >>> product(tensor([1.0, 1.0]))[0].tolist()
    [8.0, 32.0]
    """
    out, pullback = vjp(model, *primals)
    _, push = vjp(pullback, tree_map(zeros_like, out))
    _, bend = vjp(grad(loss), out)

    def product(*tangents: Any) -> Any:
        return pullback(*bend(*push(tangents)))

    return product


def jacobian(function: Function, argnums: int = 0, mode: str = "reverse") -> Callable[..., Tensor]:
    """A function that gives ∂f/∂argument of shape output.shape + argument.shape.

    `mode` "reverse" costs a pullback for each output element, "forward" a jvp for each input one.
    """
    check_callable(function, "jacobian")
    if mode not in ("forward", "reverse"):
        raise ArgumentError("jacobian", 'mode "forward" or "reverse"', repr(mode))

    def full(*args: Any) -> Tensor:
        (number,) = _positions((argnums,), len(args), "jacobian")

        def of_one(x: Any) -> Any:
            out = function(*args[:number], x, *args[number + 1 :])
            if not isinstance(out, Tensor):
                got = type(out).__name__
                raise AutodiffError("jacobian", "a function that gives one tensor", got)
            return out

        x = as_tensor(args[number])
        if mode == "forward":
            columns = [jvp(of_one, (x,), (e,))[1] for e in _basis(x)]
            shape = columns[0].shape if columns else as_tensor(of_one(x)).shape
            return _stacked(columns, -1, (*shape, *x.shape), x)
        out, pullback = vjp(of_one, x)
        rows = [pullback(e)[0] for e in _basis(out)]
        return _stacked(rows, 0, (*out.shape, *x.shape), x)

    return full


def _basis(like: Tensor) -> list[Tensor]:
    xp = like.backend.xp
    eye = xp.eye(like.numel(), dtype=like.dtype)
    return [Tensor(row.reshape(like.shape)) for row in eye]


def _stacked(lines: Sequence[Tensor], dim: int, shape: tuple[int, ...], like: Tensor) -> Tensor:
    """The rows or columns of a Jacobian put together; without any it is empty."""
    whole: Tensor = stack(lines, dim) if lines else zeros(0, dtype=like.dtype, device=like.device)
    return whole.reshape(shape)


def hessian(function: Function, argnums: int = 0) -> Callable[..., Tensor]:
    """A function that gives the matrix of second derivatives, of shape x.shape + x.shape.

    >>> from tinygrad_rnn import tensor
    >>> hessian(lambda x: (x ** 3).sum())(tensor([1.0, 2.0])).tolist()
    [[6.0, 0.0], [0.0, 12.0]]
    """
    return jacobian(grad(function, argnums), argnums)
