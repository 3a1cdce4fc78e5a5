"""WaveNet: dilated causal convolutions with gates (van den Oord et al. 2016).

Legend: B batch, T time steps, I inputs, R residual channels, S skip channels, O outputs, K kernel.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from ...arguments import several
from ...create import zeros
from ...errors import ArgumentError, ShapeError
from ...functional import linear, relu, sigmoid, tanh
from ...ops.shape import cat, swapaxes
from ...tensor import Tensor
from ..containers import ModuleList
from ..layers import Conv1d, Linear, check_sizes
from ..module import Module

__all__ = ["WaveNet", "WaveNetCache"]


class _Block(Module):
    """z = tanh(W_f ∗ x) ⊙ σ(W_g ∗ x);  (x + W_r z, W_s z), with W_f and W_g in one convolution."""

    def __init__(self, residual: int, skip: int, kernel: int, dilation: int) -> None:
        self.reach = dilation * (kernel - 1)
        self.dilation = dilation
        self.conv = Conv1d(residual, 2 * residual, kernel, padding="causal", dilation=dilation)
        self.mix = Linear(residual, residual + skip)
        self.residual = residual

    def forward(self, x: Any) -> tuple[Any, Any]:
        """The whole sequence: x (B, T, R), and what the block adds to the output (B, T, S)."""
        return self.gated(x, swapaxes(self.conv(swapaxes(x, 1, 2)), 1, 2))

    def gated(self, x: Any, inner: Any) -> tuple[Any, Any]:
        """What the block makes of its convolution."""
        values, gates = inner.chunk(2, -1)
        mixed = self.mix(tanh(values) * sigmoid(gates))
        return x + mixed[..., : self.residual], mixed[..., self.residual :]

    def at_once(self, x: Any, past: list[Any]) -> tuple[Any, Any]:
        """One time: x (B, R), and the inputs of the taps before it, the oldest first."""
        weight = swapaxes(self.conv.weight, 1, 2)
        flat = weight.reshape(weight.shape[0], -1)
        return self.gated(x, linear(cat([*past, x], -1), flat, self.conv.bias))


class WaveNetCache:
    """The last d·(K−1) inputs of each block in a ring, and the number of the step.

    It is changed by `WaveNet.step`: generating costs one product a block, however long the past.
    """

    def __init__(self, rings: list[list[Tensor]]) -> None:
        self.rings, self.time = rings, 0


class WaveNet(Module):
    """Blocks of dilated causal convolutions; y = W₂ relu(W₁ relu(Σ skips)): (T, B, I) -> (T, B, O).

    Args:
        dilations: of the blocks in order; the paper's are 1, 2, 4, …, 512, three times over.

    >>> import tinygrad_rnn as tg
    >>> net = WaveNet(1, 16, 4, dilations=[2**k for k in range(10)])
    >>> net.receptive_field
    1024
    """

    def __init__(
        self,
        input_size: int,
        residual: int,
        output_size: int,
        *,
        dilations: Sequence[int],
        skip: int | None = None,
        kernel_size: int = 2,
    ) -> None:
        dilations = several("WaveNet", "dilations", dilations)
        skip = residual if skip is None else skip
        check_sizes("WaveNet", input_size=input_size, residual=residual, output_size=output_size,
                    skip=skip, kernel_size=kernel_size, blocks=len(dilations))  # fmt: skip
        self.input_size = input_size
        self.first = Linear(input_size, residual)
        self.blocks = ModuleList(_Block(residual, skip, kernel_size, d) for d in dilations)
        self.head, self.output = Linear(skip, skip), Linear(skip, output_size)

    @property
    def _blocks(self) -> Iterator[Any]:
        return iter(self.blocks)

    @property
    def receptive_field(self) -> int:
        """The number of inputs, up to its own time, that an output depends on."""
        return 1 + sum(block.reach for block in self._blocks)

    def forward(self, xs: Any) -> Any:
        """All times at once."""
        self._check(xs, 3)
        x, total = self.first(swapaxes(xs, 0, 1)), 0.0
        for block in self.blocks:
            x, skip = block(x)
            total = total + skip
        return swapaxes(self._headed(total), 0, 1)

    def start(self, batch: int) -> WaveNetCache:
        """The cache before the first sample: silence, as the zeros that pad a sequence."""
        check_sizes("WaveNet.start", batch=batch)
        weight = self.first.weight
        silence = zeros(batch, weight.shape[0], dtype=weight.dtype, device=weight.device)
        return WaveNetCache([[silence] * block.reach for block in self._blocks])

    def step(self, cache: WaveNetCache, x: Any) -> Any:
        """One more input (B, I) -> the output (B, O) at its time, in one product a block."""
        self._check(x, 2)
        reaches = [block.reach for block in self._blocks]
        if not isinstance(cache, WaveNetCache) or reaches != [len(r) for r in cache.rings]:
            got = type(cache).__name__
            raise ArgumentError("WaveNet.step", "a cache made by start() of this network", got)
        x, total = self.first(x), 0.0
        for block, ring in zip(self._blocks, cache.rings, strict=True):
            size = len(ring)
            past = [ring[(cache.time + k) % size] for k in range(0, size, block.dilation)]
            if size:
                ring[cache.time % size] = x
            x, skip = block.at_once(x, past)
            total = total + skip
        cache.time += 1
        return self._headed(total)

    def _headed(self, total: Any) -> Any:
        return self.output(relu(self.head(relu(total))))

    def _check(self, x: Any, ndim: int) -> None:
        if x.ndim != ndim or x.shape[-1] != self.input_size:
            wanted = f"({'T, ' * (ndim == 3)}B, {self.input_size})"
            raise ShapeError("WaveNet", f"an input of shape {wanted}", str(x.shape))
