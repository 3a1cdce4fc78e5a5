"""The peers, each imported only where it is asked for: PyTorch, JAX, HIPS autograd and MyGrad.

`build(names, …)` gives those that are installed. All take the same arrays and hand back the same
values and gradients; each is written as its own users would write it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .timing import Contender
from .work import Settings, Work, contender

__all__ = [
    "LOOPS", "autograd_loop", "build", "jax_forward", "jax_scan", "mygrad_loop", "named",
    "torch_at", "torch_compiled", "torch_forward", "torch_layer", "torch_loop",
]  # fmt: skip


def build(
    makers: Sequence[Callable[[Work, Settings], Contender]], work: Work, settings: Settings
) -> list[Contender]:
    """The contenders whose libraries are here; none if peers are not asked for."""
    made = []
    for make in makers if settings.peers else ():
        try:
            made.append(make(work, settings))
        except ImportError:
            continue
    return made


# --------------------------------------------------------------------------------------- PyTorch
def torch_layer(work: Work, settings: Settings, kind: str = "LSTM", xs_too: bool = False) -> Any:
    """nn.LSTM, nn.GRU or nn.RNN; with `xs_too` the inputs get a gradient as well."""
    torch = torch_at(settings)
    layer = getattr(torch.nn, kind)(work.size.H, work.size.H)
    layer.load_state_dict({f"{n}_l0": torch.tensor(a) for n, a in work.parameters.items()})
    xs = torch.tensor(work.xs, requires_grad=xs_too)
    leaves = {n.removesuffix("_l0"): p for n, p in layer.named_parameters()}
    leaves |= {"xs": xs} if xs_too else {}
    return contender(f"nn.{kind}", leaves, lambda: layer(xs)[0], torch.tensor(work.cotangent))


def torch_loop(work: Work, settings: Settings) -> Contender:
    """A Python loop over an LSTM cell."""
    return _torch_loop("PyTorch loop", work, settings, lambda cell: cell)


def torch_compiled(work: Work, settings: Settings) -> Contender:
    """The same loop over the cell that torch.compile made; the first call takes half a minute."""
    if not settings.torch_compile:
        raise ImportError("not asked for")
    return _torch_loop("torch.compile", work, settings, torch_at(settings).compile)


def torch_at(settings: Settings) -> Any:
    """The package torch, at so many threads."""
    import torch

    torch.set_num_threads(settings.threads)
    return torch


def _torch_loop(name: str, work: Work, settings: Settings, wrap: Callable[[Any], Any]) -> Contender:
    leaves, forward = torch_forward(work, settings, wrap)
    return contender(name, leaves, forward, torch_at(settings).tensor(work.cotangent))


def torch_forward(
    work: Work, settings: Settings, wrap: Callable[[Any], Any] = lambda cell: cell
) -> tuple[dict[str, Any], Callable[[], Any]]:
    """The leaves of an LSTM cell, and the loop over it as a function that gives ys."""
    torch = torch_at(settings)
    linear = torch.nn.functional.linear
    leaves = {n: torch.tensor(a, requires_grad=True) for n, a in work.parameters.items()}
    weight_ih, weight_hh, bias_ih, bias_hh = leaves.values()
    xs, (T, B, H) = torch.tensor(work.xs), work.size

    def cell(x: Any, h: Any, c: Any) -> Any:
        gates = linear(x, weight_ih, bias_ih) + linear(h, weight_hh, bias_hh)
        i, f, g, o = gates.chunk(4, 1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        return o.sigmoid() * c.tanh(), c

    step = wrap(cell)

    def forward() -> Any:
        h, c, ys = torch.zeros(B, H), torch.zeros(B, H), []
        for t in range(T):
            h, c = step(xs[t], h, c)
            ys.append(h)
        return torch.stack(ys)

    return leaves, forward


# ------------------------------------------------------------------------------------------- JAX
def jax_forward(work: Work) -> Callable[[Any, Any], Any]:
    """lax.scan over an LSTM cell as a function of parameters and xs."""
    import jax

    _, B, H = work.size

    def forward(parameters: Any, xs: Any) -> Any:
        weight_ih, weight_hh, bias_ih, bias_hh = parameters

        def step(carry: Any, x: Any) -> Any:
            h, c = carry
            gates = x @ weight_ih.T + bias_ih + h @ weight_hh.T + bias_hh
            i, f, g, o = jax.numpy.split(gates, 4, -1)
            sigmoid, tanh = jax.nn.sigmoid, jax.numpy.tanh
            c = sigmoid(f) * c + sigmoid(i) * tanh(g)
            h = sigmoid(o) * tanh(c)
            return (h, c), h

        zero = jax.numpy.zeros((B, H), "float32")
        return jax.lax.scan(step, (zero, zero), xs)[1]

    return forward


def jax_scan(work: Work, settings: Settings) -> Contender:
    """jit of lax.scan over an LSTM cell and of its vjp."""
    import jax

    forward = jax_forward(work)

    @jax.jit
    def both(parameters: Any, xs: Any, cotangent: Any) -> Any:
        ys, pullback = jax.vjp(lambda p: forward(p, xs), parameters)
        return ys, pullback(cotangent)[0]

    parameters = tuple(map(jax.numpy.asarray, work.parameters.values()))
    xs, cotangent = jax.numpy.asarray(work.xs), jax.numpy.asarray(work.cotangent)
    return Contender(
        "JAX scan",
        lambda: jax.block_until_ready(both(parameters, xs, cotangent)),
        lambda result: named(work, result[0], result[1]),
    )


def named(work: Work, ys: Any, gradients: Any) -> dict[str, np.ndarray]:
    """What a run gave, as arrays by their names."""
    by_name = dict(zip(work.parameters, gradients, strict=True))
    return {"ys": np.asarray(ys), **{n: np.asarray(g) for n, g in by_name.items()}}


# ---------------------------------------------------------------------------- the peers on NumPy
def autograd_loop(work: Work, settings: Settings) -> Contender:
    """A Python loop over an LSTM cell in HIPS autograd."""
    import autograd.numpy as anp
    from autograd import make_vjp

    _, B, H = work.size

    def sigmoid(x: Any) -> Any:
        return 0.5 * (anp.tanh(0.5 * x) + 1)

    def forward(parameters: Any) -> Any:
        weight_ih, weight_hh, bias_ih, bias_hh = (parameters[k] for k in range(4))
        h, c, ys = np.zeros((B, H), "f"), np.zeros((B, H), "f"), []
        for x in work.xs:
            gates = anp.dot(x, weight_ih.T) + bias_ih + anp.dot(h, weight_hh.T) + bias_hh
            i, f, g, o = (gates[:, k * H : (k + 1) * H] for k in range(4))
            c = sigmoid(f) * c + sigmoid(i) * anp.tanh(g)
            h = sigmoid(o) * anp.tanh(c)
            ys.append(h)
        return anp.stack(ys)

    parameters = tuple(work.parameters.values())

    def run() -> Any:
        pullback, ys = make_vjp(forward)(parameters)
        return ys, pullback(work.cotangent)

    return Contender("autograd", run, lambda result: named(work, *result))


def mygrad_loop(work: Work, settings: Settings) -> Contender:
    """A Python loop over an LSTM cell in MyGrad."""
    import mygrad
    from mygrad.nnet.activations import sigmoid

    leaves = [mygrad.tensor(a) for a in work.parameters.values()]
    weight_ih, weight_hh, bias_ih, bias_hh = leaves
    _, B, H = work.size

    def run() -> Any:
        h, c, ys = np.zeros((B, H), "f"), np.zeros((B, H), "f"), []
        for x in work.xs:
            gates = x @ weight_ih.T + bias_ih + h @ weight_hh.T + bias_hh
            i, f, g, o = (gates[:, k * H : (k + 1) * H] for k in range(4))
            c = sigmoid(f) * c + sigmoid(i) * mygrad.tanh(g)
            h = sigmoid(o) * mygrad.tanh(c)
            ys.append(h)
        outputs = mygrad.stack(ys)
        outputs.backward(work.cotangent)
        return outputs.data, [leaf.grad for leaf in leaves]

    return Contender("MyGrad", run, lambda result: named(work, *result))


LOOPS = (torch_loop, autograd_loop, mygrad_loop)
