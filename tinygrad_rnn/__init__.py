"""tinygrad_rnn: autodiff from scratch, and recurrent networks whose unrolling is BPTT.

    import tinygrad_rnn as tg

    x = tg.tensor([1.0, 2.0], requires_grad=True)
    (x * x).sum().backward()
    x.grad                                   # tensor([2., 4.], …)
"""

import importlib
from typing import Any

from . import errors, inplace, ops
from ._version import __version__
from .autodiff import gradients
from .backend import cuda_is_available
from .checkpointing import checkpoint
from .checks import (
    bool_,
    float16,
    float32,
    float64,
    get_default_dtype,
    int8,
    int16,
    int32,
    int64,
    set_default_dtype,
    uint8,
)
from .create import (
    arange,
    empty,
    eye,
    full,
    full_like,
    get_rng_state,
    linspace,
    manual_seed,
    ones,
    ones_like,
    rand,
    rand_like,
    randint,
    randn,
    randperm,
    set_rng_state,
    zeros,
    zeros_like,
)
from .forward import jvp
from .graph import (
    detect_anomaly,
    enable_grad,
    is_grad_enabled,
    no_grad,
    set_grad_enabled,
)
from .ops.conv import conv1d
from .ops.elementwise import *
from .ops.indexing import (
    argsort,
    chunk,
    gather,
    index_select,
    one_hot,
    scatter_add,
    sort,
    split,
    take_along_dim,
    topk,
    unbind,
)
from .ops.linalg import dot, einsum, linear, matmul, outer
from .ops.reduce import (
    all,
    amax,
    amin,
    any,
    argmax,
    argmin,
    cumsum,
    logsumexp,
    max,
    mean,
    min,
    norm,
    prod,
    std,
    sum,
    var,
)
from .ops.shape import (
    broadcast_to,
    cat,
    clone,
    expand,
    flatten,
    flip,
    movedim,
    pad,
    permute,
    reshape,
    squeeze,
    stack,
    swapaxes,
    transpose,
    unsqueeze,
)
from .scan import announce_engines as _announce_engines
from .scan import scan
from .tensor import Tensor, as_tensor, from_dlpack, from_numpy, tensor
from .transforms import gauss_newton, gnvp, grad, hessian, hvp, jacobian, value_and_grad, vjp

_ROOMS = (
    "baselines", "compiler", "data", "decode", "draw", "functional", "losses", "nn", "optim",
    "recurrence", "testing", "train",
)  # fmt: skip


def __getattr__(name: str) -> Any:
    """The rooms upstairs (`tg.nn`, `tg.optim`, …) are imported when they are first named."""
    if name in _ROOMS:
        return importlib.import_module(f".{name}", __name__)
    if name in ("explain", "show_config"):
        return getattr(importlib.import_module(".compiler", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


_announce_engines(lambda: importlib.import_module(".compiler", __name__))

__all__ = [
    "Tensor", "__version__", "abs", "add", "all", "amax", "amin", "any", "arange", "argmax",
    "argmin", "argsort", "as_tensor", "atan", "bool_", "broadcast_to", "cat", "ceil",
    "checkpoint", "chunk", "clip", "clone", "conv1d", "cos", "cosh", "cuda_is_available",
    "cumsum", "detect_anomaly", "div", "dot", "einsum", "empty", "enable_grad", "eq", "erf",
    "errors", "exp", "expand", "expm1", "eye", "flatten", "flip", "float16", "float32",
    "float64", "floor", "from_dlpack", "from_numpy", "full", "full_like", "gather",
    "gauss_newton", "ge", "get_default_dtype", "get_rng_state", "gnvp", "grad", "gradients",
    "gt", "hessian", "hvp", "index_select", "inplace", "int16", "int32", "int64", "int8",
    "is_grad_enabled", "isfinite", "isinf", "isnan", "jacobian", "jvp", "le", "linear",
    "linspace", "log", "log1p", "logaddexp", "logical_and", "logical_not", "logical_or",
    "logsumexp", "lt", "manual_seed", "matmul", "max", "maximum", "mean", "min", "minimum",
    "movedim", "mul", "ne", "neg", "no_grad", "norm", "one_hot", "ones", "ones_like", "ops",
    "outer", "pad", "permute", "pow", "prod", "rand", "rand_like", "randint", "randn",
    "randperm", "reciprocal", "relu", "reshape", "round", "rsqrt", "safe_log", "safe_sqrt",
    "scan", "scatter_add", "set_default_dtype", "set_grad_enabled", "set_rng_state", "sigmoid",
    "sign", "sin", "sinh", "softplus", "sort", "split", "sqrt", "square", "squeeze", "stack",
    "std", "sub", "sum", "swapaxes", "take_along_dim", "tan", "tanh", "tensor", "topk",
    "transpose", "uint8", "unbind", "unsqueeze", "value_and_grad", "var", "vjp", "where",
    "zeros", "zeros_like",
]  # fmt: skip
