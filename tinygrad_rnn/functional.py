"""Compositions of the primitives: no rule of differentiation is written here.

`safe_sqrt` and `safe_log` stand beside them for the trap that compositions meet: a derivative that
is infinite at a singular point gives 0·inf = NaN even where `where` deselects it, so the *argument*
has to be replaced before the function is computed, and that is what they do.

Legend: N rows, I features in, O features out, V vocabulary, E embedding size.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from .arguments import explicit
from .backend import quiet
from .checks import check_dim, check_shape
from .convolution import conv1d
from .create import rand
from .errors import ArgumentError, DeviceError, DTypeError, ShapeError
from .graph import INTERPRETERS
from .ops.elementwise import (
    abs,
    clip,
    erf,
    exp,
    expm1,
    isfinite,
    log,
    neg,
    relu,
    rsqrt,
    safe_log,
    safe_sqrt,
    sigmoid,
    softplus,
    tanh,
    where,
)
from .ops.indexing import check_range, one_hot
from .ops.linalg import linear
from .ops.reduce import amax, mean, sum
from .ops.shape import pad, unsqueeze
from .tensor import Tensor, as_tensor, method

__all__ = [
    "conv1d", "dropout", "elu", "embedding", "gelu", "hardtanh", "layer_norm", "leaky_relu",
    "linear", "log_softmax", "logsigmoid", "one_hot", "pad", "relu", "safe_log", "safe_sqrt",
    "sigmoid", "silu", "softmax", "softplus", "softsign", "tanh",
]  # fmt: skip

INF = float("inf")


# --------------------------------------------------------------------------------------- layers
@explicit
def embedding(index: Any, weight: Any, padding_idx: int | None = None) -> Any:
    """The rows of `weight` that integers name; the row `padding_idx` gets no gradient.

    Args:
        index: integers of any shape (…). weight: (V, E).

    Returns:
        (…, E).

    Raises:
        IndexRangeError: a number outside 0 … V − 1. DTypeError: numbers that are not integers.

    >>> import tinygrad_rnn as tg
    >>> embedding(tg.tensor([1, 0]), tg.tensor([[1.0], [2.0]])).tolist()
    [[2.0], [1.0]]
    """
    table = as_tensor(weight)
    number = index if isinstance(index, Tensor) else as_tensor(index, device=table.device)
    if number.dtype.kind not in "iu":
        raise DTypeError("embedding", "integer indices", number.dtype.name)
    if number.backend is not table.backend:
        raise DeviceError("embedding", f"indices on {table.device!r}", number.device)
    if table.ndim != 2:
        raise ShapeError("embedding", "a weight of shape (V, E)", str(table.shape))
    check_range(number, table.shape[0], "embedding")
    rows = table[number]
    if padding_idx is None:
        return rows
    return where(unsqueeze(number == padding_idx, -1), rows.detach(), rows)


@explicit
def dropout(x: Any, p: float = 0.5, training: bool = True) -> Any:
    """x ⊙ m / (1 − p) with m ~ Bernoulli(1 − p): the expectation is x (Srivastava et al. 2014).

    The mask comes from the library's generator, so `manual_seed` repeats it. Without `training`
    it is the identity.

    Raises:
        ArgumentError: p outside [0, 1].
    """
    check_probability(p, "dropout")
    if not training or p == 0:
        return x
    x = as_tensor(x)
    if p == 1:
        return x * 0.0
    kept = rand(*x.shape, device=x.device) >= p
    return x * (kept.to(x.dtype) * (1 / (1 - p)))


def check_probability(p: Any, called: str) -> None:
    """p must be a number in [0, 1]; NaN is not, and True is a flag in the wrong place."""
    if isinstance(p, bool) or not isinstance(p, (int, float)) or not 0 <= p <= 1:
        raise ArgumentError(called, "a dropout probability in [0, 1]", repr(p))


@explicit
def layer_norm(
    x: Any,
    normalized_shape: int | Sequence[int],
    weight: Any = None,
    bias: Any = None,
    eps: float = 1e-5,
) -> Any:
    """(x − E[x]) / √(Var[x] + ε) · w + b over the last axes (Ba, Kiros, Hinton 2016).

    Raises:
        ShapeError: x does not end in `normalized_shape`.
    """
    if not isinstance(eps, (int, float)):
        raise DTypeError("layer_norm", "eps as a number", type(eps).__name__)
    ending = _as_shape(normalized_shape)
    if not ending or tuple(x.shape[-len(ending) :]) != ending:
        raise ShapeError("layer_norm", f"x of shape (…, {str(ending)[1:-1]})", str(x.shape))
    dims = tuple(range(-len(ending), 0))
    centred = x - mean(x, dims, keepdim=True)
    scaled = centred * rsqrt(mean(centred * centred, dims, keepdim=True) + eps)
    scaled = scaled if weight is None else scaled * weight
    return scaled if bias is None else scaled + bias


def _as_shape(shape: int | Sequence[int]) -> tuple[int, ...]:
    return check_shape((shape,), "layer_norm")


# -------------------------------------------------------------------------------------- softmax
def _below_top(x: Any, axis: int) -> tuple[Any, Any]:
    """x − max x (a constant: softmax does not see a shift), and where everything is −inf.

    A row that holds +inf is replaced by its limit: its +inf share the weight, the rest has none.
    """
    top = _constant(amax(x, axis, keepdim=True))
    if _all_finite(top):
        return x - top, None
    empty = top == -INF
    with quiet():
        below = x - where(empty, 0.0, top)
    return where(_constant(x) == INF, 0.0, below), empty


def _total(weight: Any, dim: int, empty: Any) -> Any:
    """Σ along an axis, 1 where there is nothing, so that nothing is divided by it."""
    total = sum(weight, dim, keepdim=True)
    return total if empty is None else where(empty, 1.0, total)


def _constant(x: Any) -> Any:
    return x.detach() if type(x) is Tensor else x


def _all_finite(x: Any) -> bool:
    """Whether all is finite; of what is only being traced nobody knows."""
    return type(getattr(x, "array", None)) not in INTERPRETERS and bool(isfinite(x).all())


@method("softmax")
@explicit
def softmax(x: Any, dim: int = -1) -> Any:
    """eˣⁱ / Σⱼ eˣʲ along an axis, without overflow.

    A row that is −inf throughout (everything masked) gives zeros and gradient zero.

    >>> import tinygrad_rnn as tg
    >>> softmax(tg.tensor([1000.0, 1000.0])).tolist()
    [0.5, 0.5]
    """
    z, empty = _below_top(x, _axis(x, dim, "softmax"))
    weight = exp(z)
    return weight / _total(weight, dim, empty)


@method("log_softmax")
@explicit
def log_softmax(x: Any, dim: int = -1) -> Any:
    """xᵢ − log Σⱼ eˣʲ along an axis, without overflow; −inf where a row is −inf throughout.

    >>> import tinygrad_rnn as tg
    >>> log_softmax(tg.tensor([0.0, float("-inf")])).tolist()
    [0.0, -inf]
    """
    z, empty = _below_top(x, _axis(x, dim, "log_softmax"))
    found = z - log(_total(exp(z), dim, empty))
    return found if empty is None else where(empty, -INF, found)


def _axis(x: Any, dim: int, called: str) -> int:
    axis = check_dim(dim, x.ndim, called)
    if not x.ndim or not x.shape[axis]:
        raise ShapeError(called, "an axis with at least one element", f"shape {x.shape}")
    return axis


# ---------------------------------------------------------------------------------- activations
@explicit
def gelu(x: Any, approximate: str = "none") -> Any:
    """x Φ(x), Φ the normal distribution function (Hendrycks, Gimpel 2016).

    Args:
        approximate: "none", or "tanh" for ½x(1 + tanh(√(2/π)(x + 0.044715x³))).
    """
    if approximate == "tanh":
        return 0.5 * x * (1 + tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * (x * x * x))))
    if approximate != "none":
        raise ArgumentError("gelu", 'approximate "none" or "tanh"', repr(approximate))
    return 0.5 * x * (1 + erf(x * math.sqrt(0.5)))


@explicit
def silu(x: Any) -> Any:
    """x σ(x), also called swish (Elfwing et al. 2018)."""
    return x * sigmoid(x)


@explicit
def elu(x: Any, alpha: float = 1.0) -> Any:
    """x for x > 0, else α(eˣ − 1) (Clevert et al. 2015)."""
    positive = x > 0
    return where(positive, x, alpha * expm1(where(positive, 0.0, x)))


@explicit
def leaky_relu(x: Any, negative_slope: float = 0.01) -> Any:
    """x for x > 0, else slope · x (Maas et al. 2013)."""
    return where(x > 0, x, negative_slope * x)


@explicit
def hardtanh(x: Any, min_val: float = -1.0, max_val: float = 1.0) -> Any:
    """x limited to [min_val, max_val]."""
    return clip(x, min_val, max_val)


@explicit
def softsign(x: Any) -> Any:
    """x / (1 + |x|)."""
    return x / (1 + abs(x))


@explicit
def logsigmoid(x: Any) -> Any:
    """log σ(x) = −softplus(−x), without overflow."""
    return neg(softplus(neg(x)))
