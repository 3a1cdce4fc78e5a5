"""What functions composed of primitives are tried on."""

from __future__ import annotations

from typing import Any

import numpy as np
from sampling import EMPTY, INF, SCALAR_0D, A, Array, B, C, Sample, V, W, numbers, sums

import tinygrad_rnn as tg


def _extreme_values(x: Array, largest: bool, k: int, axis: int) -> Array:
    ordered = np.sort(x, axis)
    return np.take(np.flip(ordered, axis) if largest else ordered, np.arange(k), axis)


def convolved(
    x: Array, w: Array, b: Any = 0.0, stride: int = 1, pad: tuple[int, int] = (0, 0),
    dilation: int = 1, groups: int = 1,
) -> Array:  # fmt: skip
    """The definition, one number at a time."""
    x = np.pad(x, ((0, 0), (0, 0), pad))
    count, (out, inner, kernel) = len(x), w.shape
    steps = (x.shape[2] - dilation * (kernel - 1) - 1) // stride + 1
    y = np.zeros((count, out, steps), dtype=np.result_type(x, w)) + np.reshape(b, (-1, 1))
    for n, o, u, c, k in np.ndindex(count, out, steps, inner, kernel):
        channel = (o // (out // groups)) * inner + c
        y[n, o, u] += w[o, c, k] * x[n, channel, u * stride + k * dilation]
    return y


XT, KERNEL = numbers(2, 4, 7), numbers(6, 2, 3, seed=4)


def _conv(name: str, options: dict[str, Any], **reference: Any) -> Sample:
    groups = options.get("groups", 1)
    kernel = numbers(6, 4 // groups, 3, seed=4)
    return Sample(
        name, lambda x, w, b: tg.conv1d(x, w, b, **options), (XT, kernel, numbers(6)),
        lambda x, w, b: convolved(x, w, b, groups=groups, **reference),
    )  # fmt: skip


def _einsum(equation: str, *args: Array) -> Sample:
    return Sample(
        equation, lambda *xs: tg.einsum(equation, *xs), args, lambda *xs: np.einsum(equation, *xs)
    )


ZEROS = {f"{n} zeros": np.where(np.arange(4) < n, 0.0, V) for n in range(4)}
COMPOSED: dict[str, list[Sample]] = {
    "mean": sums("mean", "mean"),
    "var": [
        Sample("unbiased", tg.var, (A,), lambda x: np.var(x, ddof=1)),
        Sample("dim", lambda x: tg.var(x, 1, 0, True), (A,), lambda x: np.var(x, 1, keepdims=True)),
    ],
    "std": [Sample("dim", lambda x: tg.std(x, 0), (A,), lambda x: np.std(x, 0, ddof=1))],
    "norm": [
        Sample("2", tg.norm, (A,), lambda x: np.sqrt((x * x).sum())),
        Sample("1", lambda x: tg.norm(x, 1, 0), (A,), lambda x: np.abs(x).sum(0), False),
        Sample("inf", lambda x: tg.norm(x, INF, 1), (A,), lambda x: np.abs(x).max(1), False),
        Sample("3", lambda x: tg.norm(x, 3.0, 1, True), (A,),
               lambda x: (np.abs(x) ** 3).sum(1, keepdims=True) ** (1 / 3), False),
    ],
    "prod": [
        *[Sample(n, tg.prod, (z,), np.prod) for n, z in ZEROS.items()],
        Sample("dim", lambda x: tg.prod(x, 1), (A,), lambda x: np.prod(x, 1)),
        Sample("dims", lambda x: tg.prod(x, (0, 2), True), (C[:, :2, :2],),
               lambda x: np.prod(x, (0, 2), keepdims=True)),
        Sample("empty", lambda x: tg.prod(x, 0), (EMPTY,), lambda x: np.ones(3)),
        Sample("0-d", tg.prod, (SCALAR_0D,), lambda x: x),
    ],
    "max, min": [
        Sample("max", lambda x: tg.max(x, 1).values, (A,), lambda x: x.max(1), False),
        Sample("min", lambda x: tg.min(x, 0, keepdim=True).values, (A,),
               lambda x: x.min(0, keepdims=True), False),
        Sample("max all", lambda x: tg.max(x), (A,), lambda x: x.max(), False),
    ],
    "sort": [
        Sample("up", lambda x: tg.sort(x, 0).values, (A,), lambda x: np.sort(x, 0), False),
        Sample("down", lambda x: tg.sort(x, descending=True).values, (A,),
               lambda x: -np.sort(-x, -1), False),
        Sample("topk", lambda x: tg.topk(x, 2).values, (A,),
               lambda x: _extreme_values(x, True, 2, 1), False),
        Sample("lowk", lambda x: tg.topk(x, 2, 0, largest=False).values, (A,),
               lambda x: _extreme_values(x, False, 2, 0), False),
    ],
    "outer, dot": [
        Sample("outer", tg.outer, (V, W), np.outer),
        Sample("dot", tg.dot, (V, V[::-1].copy()), np.dot),
    ],
    "einsum": [
        _einsum("ij,jk->ik", A, B.T), _einsum("ij,ij->", A, B), _einsum("i,j->ji", V, W),
        _einsum("bij,bjk->bik", C, C.swapaxes(1, 2)), _einsum("ii->i", A[:, :3]),
        _einsum("ii", A[:, :3]), _einsum("ijk->kj", C), _einsum("...ij,...j->...i", C, V),
        _einsum("ij,jk,kl->il", A, B.T, A), _einsum("bij,kj->bk", C, A), _einsum("ij->", A),
        _einsum("i,i,i->i", V, V, V), _einsum("...i->...", C), _einsum("ij,kl->", A, B),
    ],
    "conv1d": [
        _conv("plain", {}), _conv("stride", {"stride": 2}, stride=2),
        _conv("padding", {"padding": 2}, pad=(2, 2)),
        _conv("causal", {"padding": "causal", "dilation": 2}, pad=(4, 0), dilation=2),
        _conv("same", {"padding": "same"}, pad=(1, 1)),
        _conv("groups", {"groups": 2}), _conv("all", {"groups": 2, "stride": 2, "dilation": 2,
              "padding": 3}, stride=2, dilation=2, pad=(3, 3)),
    ],
    "pow": [
        Sample(f"power {p}", lambda x, p=p: tg.pow(x, p), (np.abs(A) + 0.3,), lambda x, p=p: x**p)
        for p in (0, 1, 2, 3, 0.5, -1, -2.5)
    ] + [Sample(f"negative base {p}", lambda x, p=p: tg.pow(x, p), (A * 2,), lambda x, p=p: x**p)
         for p in (2, 3, -1)]
      + [Sample("base", lambda y: tg.pow(2.0, y) if isinstance(y, tg.Tensor) else 2.0**y, (A,),
                lambda y: 2.0**y)],
    "clip": [
        Sample("low", lambda x: tg.clip(x, min=-0.5), (A,), lambda x: np.maximum(x, -0.5), False),
        Sample("tensors", lambda x, low: tg.clip(x, low, 0.9), (A, V * 0.3 - 1),
               lambda x, low: np.clip(x, low, 0.9), False),
    ],
    "add, sub": [
        Sample("add", lambda x, y: tg.add(x, y, alpha=2.5), (A, V), lambda x, y: x + 2.5 * y),
        Sample("sub", lambda x, y: tg.sub(x, y, alpha=-3), (A, V), lambda x, y: x + 3 * y),
    ],
    "softmax": [
        Sample("last", tg.softmax, (A,), lambda x: np.exp(x) / np.exp(x).sum(-1, keepdims=True)),
        Sample("log", lambda x: tg.log_softmax(x, 0), (A,), lambda x: x - np.log(np.exp(x).sum(0))),
    ],
    "products": [
        Sample("mm", tg.mm, (A, B.T), np.matmul),
        Sample("bmm", tg.bmm, (C, C.swapaxes(1, 2)), np.matmul),
        Sample("mv", tg.mv, (A, V), np.matmul),
    ],
    "parts of a matrix": [
        Sample("t", tg.t, (A,), np.transpose), Sample("t of a vector", tg.t, (V,), lambda x: x),
        *[Sample(f"{name} {k}", lambda x, f=name, k=k: getattr(tg, f)(x, k), (C,),
                 lambda x, f=name, k=k: getattr(np, f)(x, k))
          for name in ("tril", "triu") for k in (0, 1, -2)],
        *[Sample(f"diag {k}", lambda x, k=k: tg.diag(x, k), (x,), lambda x, k=k: np.diag(x, k))
          for x in (V, A) for k in (0, 2, -1)],
        Sample("diag of none", tg.diag, (V[:0],), np.diag),
        Sample("no diagonal", lambda x: tg.diag(x, 9), (A,), lambda x: np.diag(x, 9)),
        Sample("diagonal", lambda x: tg.diagonal(x, -1, 0, 2), (C,),
               lambda x: np.diagonal(x, -1, 0, 2)),
        Sample("trace", tg.trace, (A,), np.trace),
    ],
    "cumprod": [
        *[Sample(n, lambda x: tg.cumprod(x, 0), (z,), np.cumprod) for n, z in ZEROS.items()],
        Sample("dim", lambda x: tg.cumprod(x, -1), (C,), lambda x: np.cumprod(x, -1)),
        Sample("empty", lambda x: tg.cumprod(x, 0), (EMPTY,), lambda x: x),
        Sample("0-d", lambda x: tg.cumprod(x, 0), (SCALAR_0D,), lambda x: x),
    ],
    "masked": [
        Sample("fill", lambda x: tg.masked_fill(x, x > 0, -1.0), (A,),
               lambda x: np.where(x > 0, -1.0, x), False),
        Sample("fill rows", lambda x: tg.masked_fill(x, x[:, :1] > 0, 2), (A,),
               lambda x: np.where(x[:, :1] > 0, 2.0, x), False),
        Sample("select", lambda x: tg.masked_select(x, x > 0), (A,), lambda x: x[x > 0], False),
    ],
    "repeated": [
        Sample("tile", lambda x: tg.tile(x, 2, 1, 3), (A,), lambda x: np.tile(x, (2, 1, 3))),
        Sample("tile last", lambda x: tg.tile(x, (2,)), (A,), lambda x: np.tile(x, (2,))),
        Sample("tile none", lambda x: tg.tile(x, 0), (V,), lambda x: np.tile(x, 0)),
        Sample("interleave", lambda x: tg.repeat_interleave(x, 3, 1), (A,),
               lambda x: np.repeat(x, 3, 1)),
        Sample("interleave all", lambda x: tg.repeat_interleave(x, 2), (A,),
               lambda x: np.repeat(x, 2)),
    ],
    "roll": [
        *[Sample(f"by {k}", lambda x, k=k: tg.roll(x, k, 1), (A,),
                 lambda x, k=k: np.roll(x, k, 1)) for k in (1, -1, 4, 7)],
        Sample("flat", lambda x: tg.roll(x, 5), (A,), lambda x: np.roll(x, 5)),
        Sample("two", lambda x: tg.roll(x, (1, -2), (0, 2)), (C,),
               lambda x: np.roll(x, (1, -2), (0, 2))),
        Sample("empty", lambda x: tg.roll(x, 1, 0), (EMPTY,), lambda x: x),
    ],
    "side by side": [
        Sample("hstack", lambda x, y: tg.hstack([x, y]), (A, B), lambda x, y: np.hstack([x, y])),
        Sample("hstack vectors", lambda x, y: tg.hstack([x, y]), (V, W),
               lambda x, y: np.hstack([x, y])),
        Sample("vstack", lambda x, y: tg.vstack([x, y]), (A, V), lambda x, y: np.vstack([x, y])),
    ],
    "limits": [
        Sample("min", lambda x: tg.clamp_min(x, -0.5), (A,), lambda x: np.maximum(x, -0.5), False),
        Sample("max", lambda x: tg.clamp_max(x, 0.4), (A,), lambda x: np.minimum(x, 0.4), False),
    ],
    "safe": [
        Sample("sqrt", tg.safe_sqrt, (np.abs(A),), np.sqrt),
        Sample("log", tg.safe_log, (np.abs(A),), np.log),
    ],
}  # fmt: skip
