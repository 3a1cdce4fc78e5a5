"""Convolution in time, composed of strided slices and one matrix product.

Legend: N batch, C channels in, O channels out, G groups, K kernel, T time in, U time out.
"""

from __future__ import annotations

from typing import Any

from .arguments import explicit
from .errors import ArgumentError, ShapeError
from .ops.linalg import matmul
from .ops.shape import pad, reshape, stack
from .tensor import method

__all__ = ["conv1d"]


@method("conv1d")
@explicit
def conv1d(
    x: Any,
    weight: Any,
    bias: Any = None,
    stride: int = 1,
    padding: int | str = 0,
    dilation: int = 1,
    groups: int = 1,
) -> Any:
    """y[n,o,u] = b[o] + Σ_{c,k} w[o,c,k] x[n,c,u·stride + k·dilation].

    Args:
        x: (N, C, T). weight: (O, C/G, K). bias: (O,) or None.
        padding: zeros on both sides, or "same" (length kept, more on the right if odd), or
            "causal" (all on the left: y[u] sees x[…u] only).
    Returns:
        (N, O, U) with U = ⌊(T + padding − dilation·(K−1) − 1)/stride⌋ + 1.
    Raises:
        ShapeError, ArgumentError: shapes, groups, stride or kernel that do not fit.

    >>> import tinygrad_rnn as tg
    >>> tg.conv1d(tg.ones(1, 1, 4), tg.ones(1, 1, 2), padding="causal").tolist()
    [[[1.0, 2.0, 2.0, 2.0]]]
    """
    _check(x, weight, bias, stride, dilation, groups)
    out_channels, _, kernel = weight.shape
    before, after = _padding(padding, dilation * (kernel - 1), stride)
    if before or after:
        x = pad(x, (before, after))
    batch, channels, time = x.shape
    steps = (time - dilation * (kernel - 1) - 1) // stride + 1
    if steps < 1:
        raise ShapeError(
            "conv1d", f"time (with padding) >= {dilation * (kernel - 1) + 1}", f"{time}"
        )
    span = stride * (steps - 1) + 1
    taps = [x[:, :, k * dilation : k * dilation + span : stride] for k in range(kernel)]
    # (N, C, K, U) -> (N, G, C/G·K, U)
    windows = reshape(stack(taps, 2), (batch, groups, channels // groups * kernel, steps))
    filters = reshape(weight, (groups, out_channels // groups, -1))
    out = reshape(matmul(filters, windows), (batch, out_channels, steps))
    return out if bias is None else out + reshape(bias, (-1, 1))


def _check(x: Any, weight: Any, bias: Any, stride: int, dilation: int, groups: int) -> None:
    if x.ndim != 3 or weight.ndim != 3:
        raise ShapeError(
            "conv1d", "x (N, C, T) and weight (O, C/groups, K)", f"{x.shape} and {weight.shape}"
        )
    for name, value in (("stride", stride), ("dilation", dilation), ("groups", groups)):
        if not isinstance(value, int) or value < 1:
            raise ArgumentError("conv1d", f"{name} >= 1", repr(value))
    if x.shape[1] % groups or weight.shape[0] % groups or x.shape[1] // groups != weight.shape[1]:
        raise ShapeError(
            "conv1d",
            f"channels that groups={groups} divides, weight.shape[1] == C/groups",
            f"x {x.shape}, weight {weight.shape}",
        )
    if bias is not None and tuple(bias.shape) != (weight.shape[0],):
        raise ShapeError("conv1d", f"a bias of shape ({weight.shape[0]},)", str(bias.shape))


def _padding(padding: int | str, reach: int, stride: int) -> tuple[int, int]:
    check_padding("conv1d", padding, stride)
    if padding == "causal":
        return reach, 0
    if padding == "same":
        return reach // 2, reach - reach // 2
    assert isinstance(padding, int)
    return padding, padding


def check_padding(called: str, padding: int | str, stride: int) -> None:
    """Padding is a number of zeros, or one of two words."""
    if padding == "same" and stride != 1:
        raise ArgumentError(called, 'stride 1 with padding="same"', f"stride={stride}")
    if padding not in ("same", "causal") and (type(padding) is not int or padding < 0):
        raise ArgumentError(called, 'padding >= 0, "same" or "causal"', repr(padding))
