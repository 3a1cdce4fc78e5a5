"""Matrix memories, attention and log-domain recursions are one compiled loop, equal to the loop."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scan_cells import difference

import tinygrad_rnn as tg
from tinygrad_rnn.compiler import fallbacks, llvm_jit, native_engine, workers
from tinygrad_rnn.scan import ENGINES

NAMES = sorted(name for name in ENGINES if name != "loop")
B, N = 3, 5
needs_llvm = pytest.mark.skipif(not llvm_jit.available(), reason="llvmlite is not installed")


def matrix_memory(m: Any, x: Any, w: Any) -> Any:
    """Written by an outer product, read from either side."""
    key, value = (x @ w).tanh(), (x @ w.T).tanh()
    m = m * 0.9 + value.unsqueeze(2) @ key.unsqueeze(1)
    right, left = m @ x.unsqueeze(2), x.unsqueeze(1) @ m
    return (m + 0.1 * right * left).tanh()


def transposed_reads(m: Any, x: Any, w: Any) -> Any:
    right = (m.transpose(1, 2) @ x.unsqueeze(2)).squeeze(2)
    left = (x.unsqueeze(1) @ m.transpose(1, 2)).squeeze(1)
    return (m * 0.5 + (right * left @ w).unsqueeze(1)).tanh()


def attention(m: Any, x: Any, w: Any) -> Any:
    scores = ((m @ (x @ w).unsqueeze(2)).squeeze(2) / math.sqrt(N)).softmax(-1)
    read = (scores.unsqueeze(1) @ m).squeeze(1)
    return m * (1 - scores.unsqueeze(2)) + scores.unsqueeze(2) * (read + x).tanh().unsqueeze(1)


def rows_by_weights(m: Any, x: Any, w: Any) -> Any:
    return (m @ w + x.unsqueeze(1)).tanh()


def log_domain(m: Any, x: Any, w: Any) -> Any:
    """Over the last axis, over another one, over two, with and without it."""
    a = (m + w).logsumexp(1) + (m + x.unsqueeze(2)).logsumexp(2)
    return m * 0.3 + a.unsqueeze(1) * 0.1 - m.logsumexp((0, 2), keepdim=True) + x.unsqueeze(1)


def extremes(m: Any, x: Any, w: Any) -> Any:
    a = m * 0.5 + x.unsqueeze(1)
    return a - 0.3 * a.amax(1, keepdim=True) + 0.1 * a.amin((0, 1)) * w


def batches_of_products(m: Any, x: Any, w: Any) -> Any:
    a = m @ m.transpose(1, 2) + (w[:, :2] @ x.reshape(B, 1, N).expand(-1, 2, -1)).tanh()
    return (a @ m * 0.1 + x.unsqueeze(1)).tanh()


def convolution(m: Any, x: Any, w: Any) -> Any:
    a = tg.conv1d(m, w.reshape(N, 1, N).expand(N, N, N)[:, :, :3], padding="same")
    return (a + tg.conv1d(m, w[:, :, None].expand(N, N, 2), padding="causal") + x[:, None]).tanh()


def parts(m: Any, x: Any, w: Any) -> Any:
    """Of some of which nothing is used, and some of which twice."""
    a = tg.stack([x * m[:, 0], m[:, 1] * w[0], m[:, -1, :]], 1).sum(1)
    corner = tg.pad(m[:, 1:3, :3] * 0.3, (1, 1, 2, 1))
    return (m * 0.5 + a.unsqueeze(1) + corner + m[:, 2:, 1:4].mean((1, 2), keepdim=True)).tanh()


def running_sums(m: Any, x: Any, w: Any) -> Any:
    return (m.cumsum(2) * 0.1 + (m + x.unsqueeze(1)).transpose(1, 2).cumsum(1) @ w).tanh()


def sums_over_axes(m: Any, x: Any, w: Any) -> Any:
    a = m.sum((0, 2), keepdim=True) + m.sum(1, keepdim=True) + m.sum((0, 1)) * w + m.mean()
    return (m + 0.1 * a + x.sum(0) + x[:, :1].sum(0, keepdim=True).sum(0)).tanh()


STEPS: list[Callable[[Any, Any, Any], Any]] = [
    matrix_memory, transposed_reads, attention, rows_by_weights, log_domain, extremes,
    batches_of_products, convolution, parts, running_sums, sums_over_axes,
]  # fmt: skip


def run(update: Any, engine: str, **options: Any) -> list[Any]:
    """Values and gradients of 4 steps in float64."""
    rng = np.random.default_rng(4)
    w, m, xs = (
        tg.tensor(0.5 * rng.standard_normal(shape), tg.float64, requires_grad=True)
        for shape in ((N, N), (B, N, N), (4, B, N))
    )

    def step(m: Any, x: Any) -> Any:
        m = update(m, x, w)
        return m, m

    last, ys = tg.scan(step, m, xs, engine=engine, **options)
    (ys * tg.tensor(rng.standard_normal(ys.shape), tg.float64)).sum().backward()
    found = [last.detach().numpy(), ys.detach().numpy()]
    return found + [leaf.grad.numpy() for leaf in (w, m, xs) if leaf.grad is not None]


@pytest.mark.parametrize("engine", NAMES)
@pytest.mark.parametrize("update", STEPS)
def test_rewritten_operations_equal_the_loop(update: Any, engine: str) -> None:
    fallbacks.clear()
    found = run(update, engine)
    assert not fallbacks
    assert difference(found, run(update, "loop")) < 1e-12


@needs_llvm
@pytest.mark.parametrize("update", STEPS)
def test_a_step_is_no_call_of_numpy(update: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native_engine, "KernelRunner", None)
    run(update, "native")


@pytest.mark.parametrize("engine", NAMES)
@pytest.mark.parametrize("update", STEPS)
def test_rows_of_unequal_length(update: Any, engine: str) -> None:
    lengths = [3, 1, 4]
    found = run(update, engine, lengths=lengths)
    assert difference(found, run(update, "loop", lengths=lengths)) < 1e-12


@needs_llvm
@pytest.mark.parametrize("update", STEPS)
def test_shares_of_the_batch(update: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    alone = run(update, "native")
    monkeypatch.setattr(native_engine, "EACH", 1)
    monkeypatch.setattr(workers, "threads", lambda: B)
    assert difference(run(update, "native"), alone) < 1e-13


@pytest.mark.filterwarnings("ignore:invalid value")
@pytest.mark.parametrize("engine", NAMES)
def test_a_sum_of_exponentials_of_infinities(engine: str) -> None:
    inf, nan = math.inf, math.nan
    rows = [[-inf] * 3, [-inf, 1.0, 2.0], [inf, 1.0, -inf], [inf, inf, 0.0], [nan, inf, 0.0]]

    def gone(name: str) -> list[Any]:
        x = tg.tensor([rows] * 2, tg.float64, requires_grad=True)

        def step(h: Any, v: Any) -> Any:
            y = (v + 0.5 * h.unsqueeze(1)).logsumexp(1)
            return tg.where(tg.isfinite(y), y, 0.0), y

        _, ys = tg.scan(step, tg.zeros(5, dtype=tg.float64), x, engine=name)
        tg.where(tg.isfinite(ys), ys, 0.0).sum().backward()
        assert x.grad is not None
        return [ys.detach().numpy(), x.grad.numpy()]

    for mine, right in zip(gone(engine), gone("loop"), strict=True):
        np.testing.assert_allclose(mine, right, rtol=1e-12)


@pytest.mark.parametrize("engine", NAMES)
@pytest.mark.parametrize("shape", [(1, 1, N), (B, 1, N), (B, N, 1), (1, N, 1)])
def test_a_batch_of_matrices_that_does_not_change(shape: Any, engine: str) -> None:
    """Backward has its transpose from outside of the loop, and one row or column to multiply."""
    rng = np.random.default_rng(0)
    xs, start = rng.normal(size=(7, *shape)), tg.zeros(shape, dtype=tg.float64, requires_grad=True)
    weight = tg.tensor(rng.normal(size=(shape[0], N, N)), requires_grad=True)

    def step(h: Any, x: Any) -> Any:
        h = ((h @ weight if shape[2] == N else weight @ h) + x).tanh()
        return h, h

    results = []
    for name in (engine, "loop"):
        ys = tg.scan(step, start, xs, engine=name)[1]
        found = tg.gradients((ys * ys).sum(), [start, weight])
        results.append([t.detach().numpy() for t in (ys, *found)])
    assert difference(*results) < 1e-12
