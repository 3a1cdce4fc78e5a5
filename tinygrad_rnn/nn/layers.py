"""The layers without memory of time: linear, embedding, convolution, dropout, normalisation.

Legend: N batch, I features in, O features out, V vocabulary, E embedding size, C channels, T time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ..arguments import flag, positive, whole_number
from ..convolution import check_padding
from ..create import empty
from ..errors import ArgumentError
from ..functional import check_probability
from ..ops.shape import flatten
from ..tensor import Tensor
from . import functional as F
from . import init
from .module import Module
from .parameter import Parameter

__all__ = ["Conv1d", "Dropout", "Embedding", "Flatten", "Identity", "LayerNorm", "Linear"]


def check_sizes(called: str, **sizes: Any) -> None:
    """Sizes must be integers of at least 1; NumPy's are some."""
    for name, size in sizes.items():
        whole_number(called, name, size)


def check_flags(called: str, **flags: Any) -> None:
    """Flags are True or False: what stands in the place of another argument is neither."""
    for name, value in flags.items():
        flag(called, name, value)


def new_parameter(*shape: int) -> Tensor:
    """A parameter whose values are still to be drawn."""
    return Parameter(empty(*shape))


class Linear(Module):
    """y = x Wᵀ + b, with W and b from U(±1/√I).

    Shapes: x (…, in_features) -> (…, out_features); weight (O, I), bias (O,).

    >>> import tinygrad_rnn as tg
    >>> Linear(3, 4)(tg.ones(5, 2, 3)).shape
    (5, 2, 4)
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        check_sizes("Linear", in_features=in_features, out_features=out_features)
        check_flags("Linear", bias=bias)
        self.in_features, self.out_features = in_features, out_features
        self.weight = new_parameter(out_features, in_features)
        self.bias = new_parameter(out_features) if bias else None
        self.reset_parameters()
        self.to(device=device, dtype=dtype)

    def reset_parameters(self) -> None:
        """Draw the starting values anew."""
        bound = 1 / math.sqrt(self.in_features)
        init.uniform_(self.weight, -bound, bound)
        if self.bias is not None:
            init.uniform_(self.bias, -bound, bound)

    def forward(self, x: Any) -> Any:
        """x Wᵀ + b."""
        return F.linear(x, self.weight, self.bias)

    def extra_repr(self) -> str:
        """The sizes."""
        return f"{self.in_features}, {self.out_features}, bias={self.bias is not None}"


class Embedding(Module):
    """A row of `weight` for every integer; the start is N(0, 1), as in PyTorch.

    Shapes: integers (…) -> (…, E); weight (V, E). The row `padding_idx` starts at zero and gets no
    gradient.

    Raises:
        IndexRangeError: an integer outside 0 … V − 1.
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        check_sizes("Embedding", num_embeddings=num_embeddings, embedding_dim=embedding_dim)
        self.num_embeddings, self.embedding_dim = num_embeddings, embedding_dim
        self.padding_idx = padding_idx
        if padding_idx is not None:
            whole_number("Embedding", "padding_idx", padding_idx, -num_embeddings)
            if padding_idx >= num_embeddings:
                raise ArgumentError("Embedding", f"padding_idx below {num_embeddings}", padding_idx)
            self.padding_idx = padding_idx % num_embeddings
        self.weight = new_parameter(num_embeddings, embedding_dim)
        self.reset_parameters()
        self.to(device=device, dtype=dtype)

    def reset_parameters(self) -> None:
        """Draw the starting values anew."""
        init.normal_(self.weight)
        if self.padding_idx is not None:
            init.zeros_(self.weight.detach()[self.padding_idx])

    def forward(self, index: Any) -> Any:
        """The rows named by `index`."""
        return F.embedding(index, self.weight, self.padding_idx)

    def extra_repr(self) -> str:
        """The sizes."""
        padding = "" if self.padding_idx is None else f", padding_idx={self.padding_idx}"
        return f"{self.num_embeddings}, {self.embedding_dim}{padding}"


class Conv1d(Module):
    """Convolution in time, y[n,o,u] = b[o] + Σ w[o,c,k] x[n,c,u·stride + k·dilation].

    Shapes: x (N, C, T) -> (N, O, U); weight (O, C/groups, K), bias (O,), from U(±1/√(C/groups·K)).
    `padding` is a number of zeros on both sides, "same", or "causal" (all of them on the left).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        padding: int | str = 0,
        dilation: int = 1,
        groups: int = 1,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        check_sizes(
            "Conv1d", in_channels=in_channels, out_channels=out_channels, kernel_size=kernel_size,
            stride=stride, dilation=dilation, groups=groups,
        )  # fmt: skip
        check_flags("Conv1d", bias=bias)
        if in_channels % groups or out_channels % groups:
            raise ArgumentError(
                "Conv1d",
                "groups that divides both channels",
                f"{groups} of {in_channels}, {out_channels}",
            )
        check_padding("Conv1d", padding, stride)
        self.in_channels, self.out_channels = in_channels, out_channels
        self.kernel_size = kernel_size
        self.options = {
            "stride": stride,
            "padding": padding,
            "dilation": dilation,
            "groups": groups,
        }
        self.weight = new_parameter(out_channels, in_channels // groups, kernel_size)
        self.bias = new_parameter(out_channels) if bias else None
        self.reset_parameters()
        self.to(device=device, dtype=dtype)

    def reset_parameters(self) -> None:
        """Draw the starting values anew."""
        bound = 1 / math.sqrt(math.prod(self.weight.shape[1:]))
        init.uniform_(self.weight, -bound, bound)
        if self.bias is not None:
            init.uniform_(self.bias, -bound, bound)

    def forward(self, x: Any) -> Any:
        """The convolution of x."""
        return F.conv1d(x, self.weight, self.bias, **self.options)  # type: ignore[arg-type]

    def extra_repr(self) -> str:
        """The sizes and options."""
        options = ", ".join(f"{name}={value!r}" for name, value in self.options.items())
        return f"{self.in_channels}, {self.out_channels}, {self.kernel_size}, {options}"


class Dropout(Module):
    """In training, zero each element with probability p and scale the rest by 1/(1 − p)."""

    def __init__(self, p: float = 0.5) -> None:
        check_probability(p, "Dropout")
        self.p = p

    def forward(self, x: Any) -> Any:
        """x with a fresh mask, or x itself in use."""
        return F.dropout(x, self.p, self.training)

    def extra_repr(self) -> str:
        """The probability."""
        return f"p={self.p}"


class LayerNorm(Module):
    """(x − E[x]) / √(Var[x] + ε) · w + b over the last axes (Ba, Kiros, Hinton 2016).

    Shapes: x (…, *normalized_shape) -> the same; weight starts at 1, bias at 0.
    """

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        given: Any = normalized_shape
        sizes = tuple(given) if isinstance(given, (tuple, list)) else (given,)
        check_sizes("LayerNorm", **{f"normalized_shape[{i}]": n for i, n in enumerate(sizes)})
        check_flags("LayerNorm", elementwise_affine=elementwise_affine, bias=bias)
        self.normalized_shape, self.eps = sizes, positive("LayerNorm", "eps", eps)
        self.weight = new_parameter(*sizes) if elementwise_affine else None
        self.bias = new_parameter(*sizes) if elementwise_affine and bias else None
        self.reset_parameters()
        self.to(device=device, dtype=dtype)

    def reset_parameters(self) -> None:
        """Gain 1 and bias 0."""
        if self.weight is not None:
            init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)

    def forward(self, x: Any) -> Any:
        """x normalised over its last axes."""
        return F.layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        """The sizes."""
        return f"{self.normalized_shape}, eps={self.eps}"


class Identity(Module):
    """x itself."""

    def forward(self, x: Any) -> Any:
        """x."""
        return x


class Flatten(Module):
    """The axes from `start_dim` to `end_dim` joined into one."""

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        for name, axis in (("start_dim", start_dim), ("end_dim", end_dim)):
            if isinstance(axis, bool) or not isinstance(axis, int):
                raise ArgumentError("Flatten", f"{name}, a whole number,", repr(axis))
        self.start_dim, self.end_dim = start_dim, end_dim

    def forward(self, x: Any) -> Any:
        """x with the axes joined."""
        return flatten(x, self.start_dim, self.end_dim)
