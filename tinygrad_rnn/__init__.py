"""tinygrad_rnn: autodiff from scratch, and recurrent networks whose unrolling is BPTT.

    import tinygrad_rnn as tg

    x = tg.tensor([1.0, 2.0], requires_grad=True)
    (x * x).sum().backward()
    x.grad                                   # tensor([2., 4.], …)
"""

from . import errors, ops
from ._version import __version__
from .autodiff import gradients
from .backend import cuda_is_available
from .checkpointing import checkpoint
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
from .ops.elementwise import *  # noqa: F403
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
from .ops.linalg import dot, einsum, matmul, outer
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
from .scan import scan
from .tensor import (
    Tensor,
    as_tensor,
    bool_,
    float16,
    float32,
    float64,
    from_dlpack,
    from_numpy,
    get_default_dtype,
    int8,
    int16,
    int32,
    int64,
    set_default_dtype,
    tensor,
    uint8,
)
from .transforms import gnvp, grad, hessian, hvp, jacobian, value_and_grad, vjp
