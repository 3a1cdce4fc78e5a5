"""Named cells for the tests of the loop compiler, each as (step, initial carry, parameters).

Legend: B batch, I input, H hidden size.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import tinygrad_rnn as tg
from tinygrad_rnn.functional import dropout as drop
from tinygrad_rnn.tree import flatten

__all__ = ["B", "CELLS", "H", "I", "difference", "measured"]

B, I, H = 4, 3, 5  # noqa: E741 (the names of the legend)
CELLS: dict[str, Callable[[Any], Any]] = {}


def cell(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Register a cell by its name."""
    CELLS[function.__name__] = function
    return function


def lstm_update(gates: Any, c: Any) -> Any:
    i, f, g, o = gates
    c = f.sigmoid() * c + i.sigmoid() * g.tanh()
    h = o.sigmoid() * c.tanh()
    return (h, c), h


@cell
def lstm_joined(p: Any) -> Any:
    w, u, b = p(I, 4 * H), p(H, 4 * H), p(4 * H)

    def step(carry: Any, x: Any) -> Any:
        h, c = carry
        return lstm_update((x @ w + h @ u + b).chunk(4, 1), c)

    return step, (p(B, H), p(B, H)), [w, u, b]


@cell
def lstm_four_weights(p: Any) -> Any:
    ws, us, bs = ([p(*s) for _ in range(4)] for s in ((I, H), (H, H), (H,)))

    def step(carry: Any, x: Any) -> Any:
        h, c = carry
        return lstm_update([x @ w + h @ u + b for w, u, b in zip(ws, us, bs, strict=True)], c)

    return step, (p(B, H), p(B, H)), [*ws, *us, *bs]


@cell
def lstm_cat(p: Any) -> Any:
    w, b = p(I + H, 4 * H), p(4 * H)

    def step(carry: Any, x: Any) -> Any:
        h, c = carry
        return lstm_update((tg.cat([x, h], dim=1) @ w + b).chunk(4, 1), c)

    return step, (p(B, H), p(B, H)), [w, b]


@cell
def lstm_many_outputs(p: Any) -> Any:
    ws = [p(I + H, H) for _ in range(4)]

    def step(carry: Any, x: Any) -> Any:
        a = tg.cat([x, carry["h"]], 1)
        (h, c), _ = lstm_update([a @ w for w in ws], carry["c"])
        return {"h": h, "c": c}, {"y": h * 2, "c": [c, carry["h"], x.sum(1)]}

    return step, {"h": p(B, H), "c": p(B, H)}, ws


@cell
def gru_original(p: Any) -> Any:
    w, u, b, v = p(I, 3 * H), p(H, 2 * H), p(3 * H), p(H, H)

    def step(h: Any, x: Any) -> Any:
        a, s = x @ w + b, h @ u
        r = (a[:, :H] + s[:, :H]).sigmoid()
        z = (a[:, H : 2 * H] + s[:, H:]).sigmoid()
        n = (a[:, 2 * H :] + (r * h) @ v).tanh()
        h = (1 - z) * n + z * h
        return h, h

    return step, p(B, H), [w, u, b, v]


@cell
def gru_torch(p: Any) -> Any:
    w, u, b = p(I, 3 * H), p(H, 3 * H), p(3 * H)

    def step(h: Any, x: Any) -> Any:
        xr, xz, xn = (x @ w).chunk(3, 1)
        hr, hz, hn = (h @ u + b).chunk(3, 1)
        r, z = (xr + hr).sigmoid(), (xz + hz).sigmoid()
        n = (xn + r * hn).tanh()
        h = n + z * (h - n)
        return h, h

    return step, p(B, H), [w, u, b]


@cell
def rnn(p: Any) -> Any:
    w, u, b = p(I, H), p(H, H), p(H)

    def step(h: Any, x: Any) -> Any:
        h = (x @ w + h @ u + b).tanh()
        return h, (h @ u).exp()  # a parameter of the recurrence is used outside of it as well

    return step, p(B, H), [w, u, b]


def normalised(v: Any, gain: Any) -> Any:
    d = v - v.mean(1, keepdim=True)
    return d * ((d * d).mean(1, keepdim=True) + 1e-5).rsqrt() * gain


@cell
def lstm_layer_norm(p: Any) -> Any:
    w, u, b, g, k = p(I, 4 * H), p(H, 4 * H), p(4 * H), p(4 * H), p(H)

    def step(carry: Any, x: Any) -> Any:
        h, c = carry
        i, f, n, o = (normalised(x @ w, g) + normalised(h @ u, g) + b).chunk(4, 1)
        c = f.sigmoid() * c + i.sigmoid() * n.tanh()
        h = o.sigmoid() * normalised(c, k).tanh()
        return (h, c), h

    return step, (p(B, H), p(B, H)), [w, u, b, g, k]


@cell
def lstm_peephole(p: Any) -> Any:
    w, u, b, q = p(I, 4 * H), p(H, 4 * H), p(4 * H), p(3, H)

    def step(carry: Any, x: Any) -> Any:
        h, c = carry
        i, f, g, o = (x @ w + h @ u + b).chunk(4, 1)
        new = (f + q[0] * c).sigmoid() * c + (i + q[1] * c).sigmoid() * g.tanh()
        h = (o + q[2] * new).sigmoid() * new.tanh()
        return (h, new), h

    return step, (p(B, H), p(B, H)), [w, u, b, q]


@cell
def minimal_gated(p: Any) -> Any:
    w, u, v, k = p(I, H), p(H, H), p(I, H), p(H, H)

    def step(h: Any, x: Any) -> Any:
        f = (x @ w + h @ u).sigmoid()
        h = (1 - f) * h + f * (x @ v + (f * h) @ k).tanh()
        return h, h

    return step, p(B, H), [w, u, v, k]


@cell
def recurrent_highway(p: Any) -> Any:
    w, us = p(I, 2 * H), [p(H, 2 * H) for _ in range(3)]

    def step(s: Any, x: Any) -> Any:
        for depth, u in enumerate(us):
            h, t = (s @ u + (x @ w if depth == 0 else 0.0)).chunk(2, 1)
            t = t.sigmoid()
            s = h.tanh() * t + s * (1 - t)
        return s, s

    return step, p(B, H), [w, *us]


@cell
def independent(p: Any) -> Any:
    w, u = p(I, H), p(H)

    def step(h: Any, x: Any) -> Any:
        h = (x @ w + u * h).relu()
        return h, h

    return step, p(B, H), [w, u]


@cell
def lstm_multiplicative(p: Any) -> Any:
    w, u, m, n = p(I, 4 * H), p(H, 4 * H), p(I, H), p(H, H)

    def step(carry: Any, x: Any) -> Any:
        h, c = carry
        return lstm_update((x @ w + ((x @ m) * (h @ n)) @ u).chunk(4, 1), c)

    return step, (p(B, H), p(B, H)), [w, u, m, n]


@cell
def coupled_oscillators(p: Any) -> Any:
    w, v, u, b = p(H, H), p(H, H), p(I, H), p(H)

    def step(carry: Any, x: Any) -> Any:
        y, z = carry
        z = z + 0.1 * ((y @ w + z @ v + x @ u + b).tanh() - 1.5 * y - 0.7 * z)
        y = y + 0.1 * z
        return (y, z), y

    return step, (p(B, H), p(B, H)), [w, v, u, b]


@cell
def attention_read(p: Any) -> Any:
    keys, values, w = p(B, 7, H), p(B, 7, H), p(I, H)

    def step(h: Any, x: Any) -> Any:
        score = ((h + x @ w).reshape(B, 1, H) * keys).sum(2)
        weights = (score - score.logsumexp(1, keepdim=True)).exp()
        read = (weights.unsqueeze(2) * values).sum(1)
        return (h * 0.5 + read).tanh(), weights

    return step, p(B, H), [keys, values, w]


@cell
def leaky_echo(p: Any) -> Any:
    w, u = p(I, H).detach(), p(H, H).detach()

    def step(h: Any, x: Any) -> Any:
        h = 0.7 * h + 0.3 * (x @ w + h @ u).tanh()
        return h, h

    return step, p(B, H).detach(), []


@cell
def swapped(p: Any) -> Any:
    w = p(H, H)

    def step(carry: Any, x: Any) -> Any:
        a, b = carry
        return (b, a @ w + x.sum(1, keepdim=True)), (a, x, w[:4] * 1.0)

    return step, (p(B, H), p(B, H)), [w]


@cell
def doubled(p: Any) -> Any:
    w = p(H, H)

    def step(carry: Any, x: Any) -> Any:
        a, b = carry
        c = (a @ w).tanh() + b
        return (c, c), a * b

    return step, (p(B, H), p(B, H)), [w]


@cell
def forgetful(p: Any) -> Any:
    w = p(I, H)

    def step(h: Any, x: Any) -> Any:
        return tg.zeros(B, H, dtype=h.dtype), h + x @ w

    return step, p(B, H), [w]


@cell
def dropped(p: Any) -> Any:
    w, u = p(I, H), p(H, H)

    def step(h: Any, x: Any) -> Any:
        h = (drop(x, 0.3) @ w + drop(h, 0.2) @ u).tanh()
        return h, h

    return step, p(B, H), [w, u]


@cell
def pieces(p: Any) -> Any:
    w, b = p(2 * H, 2 * H), p(1, 2 * H)

    def step(h: Any, x: Any) -> Any:
        a = (h @ w + b + x.mean(1, keepdim=True)).clip(-1.5, 1.5)
        top = tg.where(a[:, :H] > 0, a[:, H:], a[:, :H].abs())
        h = tg.cat([tg.maximum(top, a[:, H:].flip(1)), top.exp() / (1 + top.exp())], 1)
        return h, (h.amax(1), h.amin(1, keepdim=True), h.softplus().sum())

    return step, p(B, 2 * H), [w, b]


# --------------------------------------------------------------------------------- measuring
def measured(
    name: str,
    engine: str,
    steps: int = 7,
    dtype: Any = tg.float64,
    second: bool = False,
    **options: Any,
) -> list[Any]:
    """Values, gradients and (of Σ g², if asked for) second-order gradients of a cell, as arrays."""
    rng = np.random.default_rng(1)

    def parameter(*shape: int) -> tg.Tensor:
        return tg.tensor(rng.normal(size=shape) * 0.5, dtype=dtype, requires_grad=True)

    step, init, parameters = CELLS[name](parameter)
    xs = parameter(steps, B, I)
    tg.manual_seed(3)
    outputs = flatten(tg.scan(step, init, xs, engine=engine, **options))[0]
    leaves = [t for t in [*flatten(init)[0], xs, *parameters] if t.requires_grad]
    weights = [tg.tensor(rng.normal(size=o.shape), dtype=dtype) for o in outputs]
    loss = sum((o * w).sum() for o, w in zip(outputs, weights, strict=True))
    found = [o.detach() for o in outputs]
    found += tg.gradients(loss, leaves, allow_unused=True, retain_graph=True)
    if second:
        first = tg.gradients(loss, leaves, create_graph=True, allow_unused=True)
        squares = sum((g * g).sum() for g in first if g is not None)
        known = squares.requires_grad  # if not, nothing depends on anything
        found += tg.gradients(squares, leaves, allow_unused=True) if known else [None] * len(leaves)
    return [None if f is None else f.detach().numpy() for f in found]


def difference(found: list[Any], expected: list[Any]) -> float:
    """The largest error, relative to the largest element of each array; None is zero.

    The numbers of all cells are about 1, so an array below 0.01 counts as 0.01: a gradient that is
    0 but for rounding has no relative error.
    """
    worst = 0.0
    for a, b in zip(found, expected, strict=True):
        if a is None or b is None:
            given = b if a is None else a
            worst = max(worst, 0.0 if given is None else float(np.abs(given).max()))
            continue
        assert a.shape == b.shape
        assert a.dtype == b.dtype
        worst = max(worst, float(np.abs(a - b).max() / max(np.abs(b).max(), 1e-2)))
    return worst
