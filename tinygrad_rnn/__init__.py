"""tinygrad_rnn: autodiff from scratch, and recurrent networks whose unrolling is BPTT.

    import tinygrad_rnn as tg

    x = tg.tensor([1.0, 2.0], requires_grad=True)
    (x * x).sum().backward()
    x.grad                                   # tensor([2., 4.], …)
"""

import importlib
import warnings
from typing import Any

from . import (
    _idle_threads,  # noqa: F401 (before anything that imports NumPy)
    derived,
    errors,
    inplace,
    ops,
)
from ._version import __version__
from .arguments import explicit as _explicit
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
from .convolution import conv1d
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
from .derived import *
from .forward import jvp
from .functional import log_softmax, softmax
from .graph import (
    detect_anomaly,
    enable_grad,
    is_grad_enabled,
    no_grad,
    set_grad_enabled,
)
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
from .ops.linalg import dot, linear, matmul, outer
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


_ELSEWHERE = {  # what bears another name than in PyTorch
    "autograd": "tg.gradients(outputs, inputs), or tg.grad(function)",
    "cuda": 'tg.cuda_is_available() and x.to("cuda")',
    "device": 'a plain name, device="cpu"',
    "load": "tg.train.load_checkpoint",
    "save": "tg.train.save_checkpoint",
}


def __getattr__(name: str) -> Any:
    """The rooms upstairs (`tg.nn`, `tg.optim`, …) are imported when they are first named."""
    if name in _ROOMS:
        return importlib.import_module(f".{name}", __name__)
    if name in ("explain", "show_config"):
        return getattr(importlib.import_module(".compiler", __name__), name)
    place = f"; here it is {_ELSEWHERE[name]}" if name in _ELSEWHERE else ""
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}{place}")


# what takes a tensor says so; elementwise operations and `cat` do by themselves
for _name in (
    "all", "amax", "amin", "any", "argmax", "argmin", "argsort", "broadcast_to", "chunk", "clip",
    "clone", "cumsum", "dot", "expand", "flatten", "flip", "full_like", "gather", "index_select",
    "logsumexp", "max", "mean", "min", "movedim", "norm", "ones_like", "outer", "pad", "permute",
    "prod", "rand_like", "reshape", "safe_log", "safe_sqrt", "scatter_add", "sort", "split",
    "squeeze", "std", "sum", "swapaxes", "take_along_dim", "topk", "transpose", "unbind",
    "unsqueeze", "var", "zeros_like",
    *derived.__all__,
):  # fmt: skip
    if not hasattr(globals()[_name], "primitive"):
        globals()[_name] = _explicit(globals()[_name])

# inf and NaN are born in silence, as in PyTorch (`detect_anomaly` finds where); behind the user's
# own filters, so whoever wants NumPy's words has them by warnings.simplefilter("always")
warnings.filterwarnings(
    "ignore",
    r"(divide by zero|invalid value|overflow|underflow) encountered",
    RuntimeWarning,
    r"tinygrad_rnn\.",
    append=True,
)

_announce_engines(lambda: importlib.import_module(".compiler", __name__))

__all__ = [
    "Tensor", "__version__", "abs", "acos", "add", "all", "allclose", "amax", "amin", "any",
    "arange", "argmax", "argmin", "argsort", "as_tensor", "asin", "atan", "bernoulli",
    "bitwise_and", "bitwise_not", "bitwise_or", "bitwise_xor", "bmm", "bool_", "broadcast_to",
    "cat", "ceil", "checkpoint", "chunk", "clamp", "clamp_max", "clamp_min", "clip", "clone",
    "concat", "conv1d", "cos", "cosh", "count_nonzero", "cuda_is_available", "cumprod", "cumsum",
    "derived", "detect_anomaly", "diag", "diagonal", "div", "dot", "einsum", "empty",
    "empty_like", "enable_grad", "eq", "equal", "erf", "errors", "exp", "exp2", "expand", "expm1",
    "eye", "flatten", "flip", "float16", "float32", "float64", "floor", "floor_divide", "fmod",
    "from_dlpack", "from_numpy", "full", "full_like", "gather", "gauss_newton", "ge",
    "get_default_dtype", "get_rng_state", "gnvp", "grad", "gradients", "gt", "hessian", "hstack",
    "hvp", "index_select", "inplace", "int16", "int32", "int64", "int8", "is_grad_enabled",
    "is_tensor", "isclose", "isfinite", "isinf", "isnan", "jacobian", "jvp", "le", "linear",
    "linspace", "log", "log10", "log1p", "log2", "log_softmax", "logaddexp", "logical_and",
    "logical_not", "logical_or", "logical_xor", "logsumexp", "lt", "manual_seed", "masked_fill",
    "masked_select", "matmul", "max", "maximum", "mean", "median", "min", "minimum", "mm",
    "movedim", "mul", "multinomial", "mv", "ne", "neg", "no_grad", "nonzero", "norm", "numel",
    "one_hot", "ones", "ones_like", "ops", "outer", "pad", "permute", "pow", "prod", "rand",
    "rand_like", "randint", "randn", "randn_like", "randperm", "ravel", "reciprocal", "relu",
    "remainder", "repeat_interleave", "reshape", "roll", "round", "rsqrt", "safe_log",
    "safe_sqrt", "scan", "scatter_add", "set_default_dtype", "set_grad_enabled", "set_rng_state",
    "sigmoid", "sign", "sin", "sinh", "softmax", "softplus", "sort", "split", "sqrt", "square",
    "squeeze", "stack", "std", "sub", "sum", "swapaxes", "t", "take_along_dim", "tan", "tanh",
    "tensor", "tile", "topk", "trace", "transpose", "tril", "triu", "trunc", "uint8", "unbind",
    "unique", "unsqueeze", "value_and_grad", "var", "vjp", "vstack", "where", "zeros",
    "zeros_like",
]  # fmt: skip
