"""Derivatives of derivatives of a user's LSTM cell, beside a PyTorch loop and JAX.

A gradient penalty is the gradient of L + Σ‖∂L/∂θ‖² (Gulrajani et al. 2017 penalise such a norm); a
Hessian product is (∂²L/∂θ²)·v. L is Σ ys·c for a fixed c.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import tinygrad_rnn as tg

from . import cells, peers
from .measure import absolute, faster
from .spine import Measures
from .timing import Contender, alternate, compare
from .work import Settings, Work

__all__ = ["PARTS"]

TOLERANCE = 1e-3  # of the largest element: second derivatives add up what first ones round


def second(settings: Settings) -> Measures:
    """Gradient penalties and Hessian products of a user's LSTM cell."""
    kinds: dict[str, list[Callable[[Work, Settings], Contender]]] = {
        "gradient penalty": [our_penalty, torch_penalty, jax_penalty],
        "Hessian product": [our_product, torch_product, jax_product],
    }
    for size in settings.sizes(0, 1, 2):
        work = Work.draw(size)
        for what, (mine, *others) in kinds.items():
            field = [mine(work, settings), *peers.build(others, work, settings)]
            compare(field, TOLERANCE)
            times = alternate(field, settings.effort)
            ours = times.pop(cells.OURS)
            if not times:
                yield absolute("second", what, str(size), ours)
            for name, theirs in times.items():
                yield faster("second", what, str(size), ours, name, theirs)


def _vectors(work: Work) -> list[np.ndarray]:
    """The v of a Hessian product."""
    rng = np.random.default_rng(1)
    return [rng.standard_normal(a.shape, np.float32) * 0.1 for a in work.parameters.values()]


def _contender(name: str, work: Work, run: Callable[[], Any]) -> Contender:
    """`run` gives one array like each of the parameters."""

    def read(found: Any) -> dict[str, np.ndarray]:
        return dict(zip(work.parameters, map(np.asarray, found), strict=True))

    return Contender(name, run, read)


# ------------------------------------------------------------------------------------------- ours
def our_penalty(work: Work, settings: Settings) -> Contender:
    """The gradients of a loss and of the squares of its gradients."""
    by_name, forward = cells.scan_forward(work)
    leaves, cotangent = list(by_name.values()), tg.tensor(work.cotangent)

    def run() -> Any:
        loss = (forward() * cotangent).sum()
        first = tg.gradients(loss, leaves, create_graph=True)
        return tg.gradients(loss + sum((g * g).sum() for g in first), leaves)

    return _contender(cells.OURS, work, run)


def our_product(work: Work, settings: Settings) -> Contender:
    """`hvp` of the loss."""
    values = [tg.tensor(a) for a in work.parameters.values()]
    vectors, cotangent = [tg.tensor(v) for v in _vectors(work)], tg.tensor(work.cotangent)
    xs, (_, B, H) = tg.tensor(work.xs), work.size

    def loss(*parameters: Any) -> Any:
        step = cells.lstm(dict(zip(work.parameters, parameters, strict=True)))
        return (tg.scan(step, (tg.zeros(B, H), tg.zeros(B, H)), xs)[1] * cotangent).sum()

    return _contender(cells.OURS, work, lambda: tg.hvp(loss, values, vectors))


# --------------------------------------------------------------------------------------- the peers
def torch_penalty(work: Work, settings: Settings) -> Contender:
    """The same in PyTorch, over a Python loop: its fused LSTM has no second derivative."""
    torch = peers.torch_at(settings)
    by_name, forward = peers.torch_forward(work, settings)
    leaves, cotangent = list(by_name.values()), torch.tensor(work.cotangent)

    def run() -> Any:
        loss = (forward() * cotangent).sum()
        first = torch.autograd.grad(loss, leaves, create_graph=True)
        return torch.autograd.grad(loss + sum((g * g).sum() for g in first), leaves)

    return _contender("PyTorch loop", work, run)


def torch_product(work: Work, settings: Settings) -> Contender:
    """The gradient of (∂L/∂θ)·v, which is quicker there than forward over reverse."""
    torch = peers.torch_at(settings)
    by_name, forward = peers.torch_forward(work, settings)
    leaves, cotangent = list(by_name.values()), torch.tensor(work.cotangent)
    vectors = [torch.tensor(v) for v in _vectors(work)]

    def run() -> Any:
        first = torch.autograd.grad((forward() * cotangent).sum(), leaves, create_graph=True)
        return torch.autograd.grad(first, leaves, vectors)

    return _contender("PyTorch loop", work, run)


def _jax(work: Work) -> tuple[Any, Any, tuple[Any, ...]]:
    import jax

    forward = peers.jax_forward(work)
    xs, cotangent = jax.numpy.asarray(work.xs), jax.numpy.asarray(work.cotangent)
    parameters = tuple(map(jax.numpy.asarray, work.parameters.values()))
    return jax, lambda p: (forward(p, xs) * cotangent).sum(), parameters


def jax_penalty(work: Work, settings: Settings) -> Contender:
    """jit of grad of grad of lax.scan."""
    jax, loss, parameters = _jax(work)

    def penalised(p: Any) -> Any:
        return loss(p) + sum((g * g).sum() for g in jax.grad(loss)(p))

    both = jax.jit(jax.grad(penalised))
    return _contender("JAX scan", work, lambda: jax.block_until_ready(both(parameters)))


def jax_product(work: Work, settings: Settings) -> Contender:
    """jit of jvp of grad of lax.scan."""
    jax, loss, parameters = _jax(work)
    vectors = tuple(map(jax.numpy.asarray, _vectors(work)))
    product = jax.jit(lambda p, v: jax.jvp(jax.grad(loss), (p,), (v,))[1])
    return _contender("JAX scan", work, lambda: jax.block_until_ready(product(parameters, vectors)))


PARTS = {"second": second}
