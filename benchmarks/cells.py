"""Cells as a user would write them, and our own contenders: tape, scan and layers.

A maker takes the parameters and gives `step(carry, x) -> (carry, y)` for `tg.scan`.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np

import tinygrad_rnn as tg
from tinygrad_rnn import linear, nn
from tinygrad_rnn.functional import layer_norm

from .timing import Contender
from .work import Work, contender

__all__ = [
    "CELLS", "OURS", "OwnLSTM", "engines", "keeping_none", "layer", "layer_norm_lstm", "lstm",
    "own_layer", "peephole", "scan_forward", "scanned", "tape", "zoneout",
]  # fmt: skip

Step = Callable[[Any, Any], tuple[Any, Any]]
OURS = "tinygrad_rnn"


def engines() -> list[str]:
    """The engines of scan that are registered here."""
    import_module("tinygrad_rnn.compiler")  # they register when a first scan wants one
    return sorted(import_module("tinygrad_rnn.scan").ENGINES)


# ----------------------------------------------------------------------------------------- cells
def lstm(p: dict[str, Any]) -> Step:
    """The LSTM."""

    def step(carry: Any, x: Any) -> tuple[Any, Any]:
        h, c = carry
        gates = linear(x, p["weight_ih"], p["bias_ih"]) + linear(h, p["weight_hh"], p["bias_hh"])
        i, f, g, o = gates.chunk(4, -1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        h = o.sigmoid() * c.tanh()
        return (h, c), h

    return step


def peephole(p: dict[str, Any]) -> Step:
    """The LSTM whose gates see the cell state (Gers and Schmidhuber 2000)."""

    def step(carry: Any, x: Any) -> tuple[Any, Any]:
        h, c = carry
        gates = linear(x, p["weight_ih"], p["bias_ih"]) + linear(h, p["weight_hh"], p["bias_hh"])
        i, f, g, o = gates.chunk(4, -1)
        i, f = (i + p["peep_i"] * c).sigmoid(), (f + p["peep_f"] * c).sigmoid()
        c = f * c + i * g.tanh()
        h = (o + p["peep_o"] * c).sigmoid() * c.tanh()
        return (h, c), h

    return step


def layer_norm_lstm(p: dict[str, Any]) -> Step:
    """The LSTM with normalised products and cell state (Ba, Kiros and Hinton 2016)."""

    def normal(value: Any, name: str) -> Any:
        return layer_norm(value, value.shape[-1], p[f"gain_{name}"], p[f"bias_{name}"])

    def step(carry: Any, x: Any) -> tuple[Any, Any]:
        h, c = carry
        gates = normal(linear(x, p["weight_ih"]), "ih") + normal(linear(h, p["weight_hh"]), "hh")
        i, f, g, o = gates.chunk(4, -1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        h = o.sigmoid() * normal(c, "c").tanh()
        return (h, c), h

    return step


def zoneout(p: dict[str, Any], rate: float = 0.1) -> Step:
    """The LSTM that keeps units as they were at random (Krueger et al. 2017)."""
    plain = lstm(p)

    def step(carry: Any, x: Any) -> tuple[Any, Any]:
        (h, c), _ = plain(carry, x)
        h, c = (
            tg.where(tg.rand(*new.shape) < rate, old, new)
            for old, new in zip(carry, (h, c), strict=True)
        )
        return (h, c), h

    return step


def keeping_none(p: dict[str, Any]) -> Step:
    """Zoneout at rate 0, whose result is known."""
    return zoneout(p, 0.0)


CELLS = {"LSTM": lstm, "peephole LSTM": peephole, "LayerNorm-LSTM": layer_norm_lstm}


class OwnLSTM(nn.Module):
    """A cell of the user's, for `nn.Recurrent`."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        self.weight_ih = nn.Parameter(tg.zeros(4 * hidden_size, input_size))
        self.weight_hh = nn.Parameter(tg.zeros(4 * hidden_size, hidden_size))
        self.bias_ih = nn.Parameter(tg.zeros(4 * hidden_size))
        self.bias_hh = nn.Parameter(tg.zeros(4 * hidden_size))
        self.hidden_size = hidden_size

    def initial_state(self, batch: int) -> Any:
        """(h, c) = 0."""
        return tg.zeros(batch, self.hidden_size), tg.zeros(batch, self.hidden_size)

    def forward(self, carry: Any, x: Any) -> tuple[Any, Any]:
        """One step."""
        return lstm(vars(self))(carry, x)


# ------------------------------------------------------------------------------- our contenders
def tape(work: Work) -> Contender:
    """A Python loop over the LSTM cell, recorded operation by operation."""
    leaves = _leaves(work.parameters)
    xs, (T, B, H), step = tg.tensor(work.xs), work.size, lstm(leaves)

    def forward() -> Any:
        carry, ys = (tg.zeros(B, H), tg.zeros(B, H)), []
        for t in range(T):
            carry, y = step(carry, xs[t])
            ys.append(y)
        return tg.stack(ys)

    return contender(OURS, leaves, forward, tg.tensor(work.cotangent))


def scan_forward(
    work: Work, make: Callable[[Any], Step] = lstm, **options: Any
) -> tuple[dict[str, Any], Callable[[], Any]]:
    """The leaves of a cell, and `tg.scan` over it as a function that gives ys."""
    further = {n: a.astype(work.xs.dtype) for n, a in _further(make, work).items()}
    leaves = _leaves(work.parameters | further)
    xs, (_, B, H), step = tg.tensor(work.xs), work.size, make(leaves)

    def forward() -> Any:
        h, c = (tg.zeros(B, H, dtype=xs.dtype) for _ in range(2))
        return tg.scan(step, (h, c), xs, **options)[1]

    return leaves, forward


def scanned(
    work: Work, make: Callable[[Any], Step] = lstm, name: str = OURS, **options: Any
) -> Contender:
    """`tg.scan` over a cell, forward and backward."""
    leaves, forward = scan_forward(work, make, **options)
    return contender(name, leaves, forward, tg.tensor(work.cotangent))


def layer(
    work: Work, kind: str = "LSTM", name: str = OURS, xs_too: bool = False, **options: Any
) -> Contender:
    """nn.LSTM, nn.GRU or nn.RNN of ours."""
    H = work.size.H
    return _run_layer(work, getattr(nn, kind)(H, H), name, xs_too, options)


def own_layer(work: Work, name: str = "own cell", **options: Any) -> Contender:
    """A user's LSTM cell in `nn.Recurrent`."""
    H = work.size.H
    return _run_layer(work, nn.Recurrent(OwnLSTM, H, H), name, False, options)


def _run_layer(work: Work, made: Any, name: str, xs_too: bool, options: Any) -> Contender:
    made.load_state_dict({f"{n}_l0": a for n, a in work.parameters.items()})
    leaves = {n.removesuffix("_l0"): p for n, p in made.named_parameters()}
    xs = tg.tensor(work.xs, requires_grad=xs_too)
    leaves |= {"xs": xs} if xs_too else {}
    cotangent = tg.tensor(work.cotangent)
    return contender(name, leaves, lambda: made(xs, **options)[0], cotangent)


def _leaves(arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    return {name: tg.tensor(array, requires_grad=True) for name, array in arrays.items()}


def _further(make: Any, work: Work) -> dict[str, np.ndarray]:
    """What a cell has beside the parameters of the LSTM."""
    rng, H = np.random.default_rng(1), work.size.H
    if make is peephole:
        return {f"peep_{g}": rng.uniform(-0.1, 0.1, H).astype("f") for g in "ifo"}
    if make is layer_norm_lstm:
        sizes = {"ih": 4 * H, "hh": 4 * H, "c": H}
        gains = {f"gain_{n}": rng.uniform(0.5, 1.5, k).astype("f") for n, k in sizes.items()}
        return gains | {"bias_c": np.zeros(H, "f")}
    return {}
