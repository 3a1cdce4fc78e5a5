"""Products: `matmul` is linear in each argument, everything else is composed of it."""

from __future__ import annotations

import math
from typing import Any

from ..errors import DTypeError, ShapeError
from ..graph import ANOMALY, INTERPRETERS, Node, grad_mode, watch_nan
from ..inplace import AGAIN, check_read
from ..tensor import Tensor, method
from .call import HINT, bind
from .declare import general
from .declare import linear as declare_linear
from .fast import fast_binary
from .parts import Product, RowSum
from .shape import expand, reshape

__all__ = ["dot", "linear", "matmul", "outer"]

_matmul = declare_linear(
    "matmul",
    lambda xp, x, y: xp.matmul(x, y),
    lambda g, y: _product_transposed(g, y),
    lambda g, x: _transposed_product(x, g),
    linear_in=(0, 1),
    broadcasts=True,
)


def _product_transposed(g: Any, y: Any) -> Any:
    """g·yᵀ; `dot` is the faster call for plain matrices."""
    if type(g) is not Tensor and g.ndim == 2 == y.ndim:
        return g.dot(y.T)
    return g @ y.swapaxes(-1, -2)


def _transposed_product(x: Any, g: Any) -> Any:
    """xᵀ·g; of plain matrices only promised, so that the products of all steps become one."""
    if type(g) is not Tensor and g.ndim == 2 == x.ndim:
        return Product(x, g)
    return x.swapaxes(-1, -2) @ g


_matmul_2d = fast_binary(_matmul, _matmul.extra["plan"], lambda xp: xp.ndarray.dot)


@method("matmul", "__matmul__")
def matmul(x: Any, y: Any) -> Any:
    """Matrix product over the last two axes; the axes before them broadcast, vectors are allowed.

    Raises:
        ShapeError: inner sizes that differ, a 0-d argument. DTypeError: dtypes that differ.

    >>> import tinygrad_rnn as tg
    >>> (tg.ones(2, 3) @ tg.ones(3)).tolist()
    [3.0, 3.0]
    """
    if type(x) is Tensor and type(y) is Tensor and len(x.array.shape) == 2 == len(y.array.shape):
        if x.array.dtype == y.array.dtype:
            return _matmul_2d(x, y)
    elif isinstance(x, (int, float)) or isinstance(y, (int, float)):
        raise ShapeError("matmul", "matrices or vectors", "a number", "use *")
    elif not hasattr(x, "dtype") or not hasattr(y, "dtype"):
        got = type(y if hasattr(x, "dtype") else x).__name__
        raise DTypeError("matmul", "tensors or arrays", got, HINT)
    return _matmul_general(x, y)


def _matmul_general(x: Any, y: Any) -> Any:
    if not x.ndim or not y.ndim:
        raise ShapeError("matmul", "matrices or vectors", f"shapes {x.shape} and {y.shape}")
    if x.dtype != y.dtype:
        got = f"{x.dtype} and {y.dtype}"
        raise DTypeError("matmul", "equal dtypes", got, "convert one with .to(dtype)")
    if x.shape[-1] != y.shape[-2 if y.ndim > 1 else 0]:
        got = f"{x.shape} and {y.shape}"
        raise ShapeError("matmul", "x.shape[-1] == y.shape[-2]", got, "transpose one?")
    if x.ndim == 1:
        return _squeeze(matmul(reshape(x, 1, -1), y if y.ndim > 1 else reshape(y, -1, 1)), y.ndim)
    if y.ndim == 1:
        return reshape(matmul(x, reshape(y, -1, 1)), *x.shape[:-1])
    if y.ndim == 2 and x.ndim > 2 and type(x) is Tensor and type(x.array) not in INTERPRETERS:
        # one product over all rows; and then the gradient of y is one product as well
        rows = reshape(x, math.prod(x.shape[:-1]), x.shape[-1])
        return reshape(matmul(rows, y), *x.shape[:-1], y.shape[-1])
    return bind(_matmul, (x, y))


def _squeeze(product: Any, ndim: int) -> Any:
    shape = product.shape[:-2] + (product.shape[-1:] if ndim > 1 else ())
    return reshape(product, *shape) if shape else reshape(product, ())


_linear = general(
    "linear",
    lambda xp, x, weight, bias: _affine(x, weight, bias),
    lambda g, weight: g @ weight if type(g) is Tensor else g.dot(weight),
    lambda g, x: _transposed_product(g, x),
    lambda g: g.sum(0) if type(g) is Tensor else RowSum(g),
    jvps=[
        lambda t, weight: t @ weight.T,
        lambda t, x: x @ t.T,
        lambda t, out: expand(t, *out.shape),
    ],
    inputs="x weight bias",
)


def _affine(x: Any, weight: Any, bias: Any) -> Any:
    out = x.dot(weight.T)
    out += bias
    return out


def linear(x: Any, weight: Any, bias: Any = None) -> Any:
    """x·Wᵀ + b over the last axis of x (…, I), with weight (O, I) and bias (O,) or None.

    The same as `x @ weight.T + bias`, which is what forward mode and the loop compiler see; on the
    tape it is one node.

    Raises:
        ShapeError, DTypeError: what does not fit.
    """
    if bias is not None and _plain(x, weight, bias):
        if len(x.array.shape) == 2:
            return _linear_2d(x, weight, bias)
        rows = reshape(x, math.prod(x.shape[:-1]), x.shape[-1])
        return reshape(_linear_2d(rows, weight, bias), *x.shape[:-1], weight.shape[0])
    for operand in (x, weight) if bias is None else (x, weight, bias):
        if not hasattr(operand, "dtype"):
            raise DTypeError("linear", "tensors or arrays", type(operand).__name__, HINT)
    if weight.ndim != 2 or not x.shape or x.shape[-1] != weight.shape[1]:
        got = f"{tuple(x.shape)} and {weight.shape}"
        raise ShapeError("linear", "x.shape[-1] == weight.shape[1]", got)
    product = matmul(x, weight.T)
    if bias is None:
        return product
    if tuple(bias.shape) != (weight.shape[0],):
        raise ShapeError("linear", f"a bias of shape ({weight.shape[0]},)", str(bias.shape))
    return product + bias


def _plain(x: Any, weight: Any, bias: Any) -> bool:
    """Whether all three are tensors of numbers, alike, x of rows, and of shapes that fit."""
    if not type(x) is type(weight) is type(bias) is Tensor:
        return False
    a, w, b = x.array, weight.array, bias.array
    dtype, shape = a.dtype, w.shape
    return (
        type(a) is type(w) is type(b)
        and dtype is w.dtype is b.dtype
        and type(a) not in INTERPRETERS
        and dtype.kind == "f"
        and len(a.shape) >= 2 == len(shape)
        and shape == (*b.shape, a.shape[-1])
    )


def _linear_2d(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    a, w = x.array, weight.array
    out = Tensor(_affine(a, w, bias.array))
    if AGAIN:
        check_read((a, w, bias.array))
    p, q, r = x.node, weight.node, bias.node
    mode = grad_mode()
    if mode and (p is not None or q is not None or r is not None):
        saved = (None if q is None else a, None if p is None else w)
        out.node = node = Node(_linear, (p, q, r), saved, None, out.array.shape)
        if mode == ANOMALY:
            watch_nan(node, out.array, (a, w, bias.array))
    return out


@method("__rmatmul__")
def _rmatmul(x: Any, y: Any) -> Any:
    return matmul(y, x)


@method("outer")
def outer(x: Any, y: Any) -> Any:
    """xᵢ yⱼ of two vectors."""
    if x.ndim != 1 or y.ndim != 1:
        raise ShapeError("outer", "two vectors", f"{x.shape} and {y.shape}")
    return reshape(x, -1, 1) * y


@method("dot")
def dot(x: Any, y: Any) -> Any:
    """Σ xᵢ yᵢ of two vectors."""
    if x.ndim != 1 or y.ndim != 1:
        raise ShapeError("dot", "two vectors", f"{x.shape} and {y.shape}")
    return matmul(x, y)
