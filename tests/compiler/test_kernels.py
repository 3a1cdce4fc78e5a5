"""What kernels do beside elementwise: reductions of rows and columns; draws; threads."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scan_cells import CELLS, difference, measured

import tinygrad_rnn as tg
from tinygrad_rnn.compiler import fallbacks, llvm_jit, native_engine, native_shares, workers
from tinygrad_rnn.compiler.draws import Draw, drawn
from tinygrad_rnn.scan import ENGINES

NAMES = sorted(name for name in ENGINES if name != "loop")
needs_llvm = pytest.mark.skipif(not llvm_jit.available(), reason="llvmlite is not installed")


# ------------------------------------------------------------------------------------ reductions
def softmax_state(h: Any, x: Any, w: Any) -> Any:
    return (h @ w + x).softmax(-1)


def batch_normal(h: Any, x: Any, w: Any) -> Any:
    a = h @ w + x
    centred = a - a.mean(0, keepdim=True)
    return (centred / (1e-3 + (centred * centred).mean(0)).sqrt()).tanh()


def row_and_column_means(h: Any, x: Any, w: Any) -> Any:
    a = h @ w
    return (a - a.mean(0) + x * a.sum(-1, keepdim=True)).tanh()


def carry_that_is_a_sum(h: Any, x: Any, w: Any) -> Any:
    """The carry is read, by all rows, where the sum that is to overwrite it is made."""
    return (h * x).tanh().sum(0, keepdim=True).expand(4, -1) * 0.3 + h * 0.1


def two_widths(h: Any, x: Any, w: Any) -> Any:
    a = (h @ w).tanh()
    wide = tg.cat([a, x * a.amax(-1, keepdim=True)], 1)
    return wide.exp().sum(-1, keepdim=True).log() * a - wide[:, : a.shape[1]].amin(-1, keepdim=True)


def sums_of_blocks(h: Any, x: Any, w: Any) -> Any:
    cube = (h @ w + x).reshape(4, -1, 5)
    means = cube.mean(1, keepdim=True)
    return (cube - means + cube.sum(2, keepdim=True) * 0.1).tanh().reshape(4, -1)


STEPS: list[Callable[[Any, Any, Any], Any]] = [
    softmax_state, batch_normal, row_and_column_means, carry_that_is_a_sum, two_widths,
    sums_of_blocks,
]  # fmt: skip


def run(update: Any, engine: str, width: int) -> list[Any]:
    """Values and gradients of 6 steps over 4 rows in float64."""
    rng = np.random.default_rng(3)
    w, gain, h, xs = (
        tg.tensor(0.4 * rng.standard_normal(shape), tg.float64, requires_grad=True)
        for shape in ((width, width), (width,), (4, width), (6, 4, width))
    )

    def step(h: Any, x: Any) -> Any:
        h = update(h, x, w) * gain
        return h, h

    last, ys = tg.scan(step, h, xs, engine=engine)
    (ys * tg.tensor(rng.standard_normal(ys.shape), tg.float64)).sum().backward()
    leaves = [leaf.grad.numpy() for leaf in (w, gain, h, xs) if leaf.grad is not None]
    return [last.detach().numpy(), ys.detach().numpy(), *leaves]


@pytest.mark.parametrize("engine", NAMES)
@pytest.mark.parametrize("width", [5, 35])
@pytest.mark.parametrize("update", STEPS)
def test_reductions_equal_the_loop(update: Any, width: int, engine: str) -> None:
    fallbacks.clear()
    found = run(update, engine, width)
    assert not fallbacks
    assert difference(found, run(update, "loop", width)) < 1e-12


def kernels(step: Any, *shapes: tuple[int, ...]) -> tuple[str, str]:
    """The kernels, forward and backward, for a carry and inputs of these shapes."""
    text = tg.explain(step, *(tg.zeros(*shape) for shape in shapes), engine="llvm")
    forward = text.split("--- kernel forward\n")[1]
    forward, backward = forward.split("\n--- kernel backward\n")[:2]
    return forward.split("\nwhere\n")[0], backward.split("\nwhere\n")[0]


@needs_llvm
def test_rows_are_done_one_after_the_other() -> None:
    w = tg.randn(8, 8, requires_grad=True)
    forward, _ = kernels(lambda h, x: (softmax_state(h, x, w), None), (4, 8), (6, 4, 8))
    assert forward.count("for each i < 4, all of") == 1
    assert forward.count("exp") == 1  # kept, and not computed again for the quotient


@needs_llvm
def test_sums_over_the_batch_are_not_done_row_by_row() -> None:
    """What needs all rows waits for all rows."""
    w = tg.randn(8, 8, requires_grad=True)
    forward, _ = kernels(lambda h, x: (batch_normal(h, x, w), None), (4, 8), (6, 4, 8))
    first = forward.index("+=")
    assert "for each" not in forward[first:].split("tanh")[0].split("\n", 1)[1].split("+=")[0]


@pytest.mark.parametrize("engine", NAMES)
def test_sums_over_the_batch_of_one_column(engine: str) -> None:
    def gradient(name: str) -> Any:
        bias = tg.tensor([0.3], tg.float64, requires_grad=True)
        xs = tg.tensor(np.linspace(-1, 1, 20).reshape(5, 4, 1), tg.float64)
        final, _ = tg.scan(
            lambda h, x: ((h + x + bias).tanh(), h), tg.zeros(4, 1, dtype=tg.float64), xs,
            engine=name,
        )  # fmt: skip
        (final * final).sum().backward()
        assert bias.grad is not None
        return bias.grad.numpy()

    np.testing.assert_allclose(gradient(engine), gradient("loop"), rtol=1e-12)


@pytest.mark.parametrize("lengths", [None, [2, 4, 1]])
@pytest.mark.parametrize("engine", NAMES)
def test_empty_parts_are_left_to_the_loop(engine: str, lengths: Any) -> None:
    def run(name: str) -> Any:
        xs = tg.tensor(np.linspace(-1, 1, 12).reshape(4, 3, 1), tg.float32, requires_grad=True)
        _, ys = tg.scan(
            lambda h, x: (tg.cat([h[:, 1:], h[:, :1]], 1) * 0.5 + x, h), tg.zeros(3, 1), xs,
            lengths=lengths, engine=name,
        )  # fmt: skip
        ys.sum().backward()
        assert xs.grad is not None
        return xs.grad.numpy()

    np.testing.assert_allclose(run(engine), run("loop"), rtol=1e-6)


@needs_llvm
def test_bias_gradients_are_summed_in_the_kernel() -> None:
    w, b = tg.randn(8, 8, requires_grad=True), tg.zeros(8, requires_grad=True)

    def step(h: Any, x: Any) -> Any:
        h = (h @ w + x + b).tanh()
        return h, h

    _, backward = kernels(step, (4, 8), (6, 4, 8))
    assert backward.count("+=") == 1


@pytest.mark.filterwarnings("ignore:invalid value")
@pytest.mark.parametrize("engine", NAMES)
def test_special_values_stay_in_their_row(engine: str) -> None:
    def step(h: Any, x: Any) -> Any:
        powers = (h + x - (h + x).amax(-1, keepdim=True)).exp()
        h = powers / powers.sum(-1, keepdim=True)
        return h, h

    xs = np.zeros((2, 4, 7), np.float32)
    xs[0, 1, 2], xs[0, 2, 3] = np.nan, np.inf
    found = tg.scan(step, tg.zeros(4, 7), tg.tensor(xs), engine=engine)[1].numpy()
    wanted = tg.scan(step, tg.zeros(4, 7), tg.tensor(xs), engine="loop")[1].numpy()
    np.testing.assert_allclose(found, wanted, rtol=1e-6)
    assert np.isnan(found[:, 1:3]).all() and np.isfinite(found[:, [0, 3]]).all()


# ----------------------------------------------------------------------------------------- draws
KINDS: dict[str, list[Draw]] = {
    "one": [("random", (3, 5), tg.float32)],
    "alike": [("random", shape, tg.float32) for shape in ((3, 5), (7,), ())],
    "normal": [("standard_normal", (3, 3), tg.float64), ("standard_normal", (2,), tg.float64)],
    "unlike": [("random", (3, 5), tg.float32), ("standard_normal", (3,), tg.float64)],
}  # fmt: skip


@pytest.mark.parametrize("engine", NAMES)
@pytest.mark.parametrize("dim", [0, -1])
def test_softmax_at_infinity_is_that_of_the_loop(engine: str, dim: int) -> None:
    inf = math.inf
    rows = [[-inf] * 3, [0.5, -inf, 1.0], [inf, 2.0, inf], [inf, -inf, 1.0], [math.nan, inf, 0.0]]

    def gone(function: Any, name: str) -> list[Any]:
        x = tg.tensor([rows] * 4, tg.float64, requires_grad=True)
        _, ys = tg.scan(
            lambda h, v: (h * 0.5, function(v + h, dim)), tg.ones(5, 3, dtype=tg.float64), x,
            engine=name,
        )  # fmt: skip
        (tg.where(tg.isfinite(ys), ys, 0.0) * tg.arange(3)).sum().backward()
        assert x.grad is not None
        return [ys.detach().numpy(), x.grad.numpy()]

    for function in (tg.softmax, tg.log_softmax):
        for mine, right in zip(gone(function, engine), gone(function, "loop"), strict=True):
            np.testing.assert_allclose(mine, right, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_draws_are_those_of_the_loop(kind: str, reverse: bool) -> None:
    tg.manual_seed(5)
    found = [t.numpy() for t in drawn(KINDS[kind], 4, reverse)]
    tg.manual_seed(5)
    for t in range(4)[:: -1 if reverse else 1]:
        for (name, shape, dtype), array in zip(KINDS[kind], found, strict=True):
            draw = tg.rand if name == "random" else tg.randn
            np.testing.assert_array_equal(array[t], draw(*shape, dtype=dtype).numpy())


# --------------------------------------------------------------------------------------- threads
def shared(
    monkeypatch: pytest.MonkeyPatch, count: int, run: Callable[[], list[Any]]
) -> tuple[list[Any], list[int]]:
    """What `run` gives with so many threads, and into how many shares its loops were divided."""
    counts = []
    way = native_engine.NativeRunner.way

    def counted(runner: Any, wanted: int) -> Any:
        found = way(runner, wanted)
        counts.append(found[1].count)
        return found

    with monkeypatch.context() as patch:
        patch.setattr(native_engine, "EACH", 1)
        patch.setattr(workers, "threads", lambda: count)
        patch.setattr(native_shares, "FEW", 1)
        patch.setattr(native_engine.NativeRunner, "way", counted)
        return run(), counts


@needs_llvm
@pytest.mark.parametrize("name", CELLS)
def test_shares_of_the_batch_give_the_same(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def run() -> list[Any]:
        return measured(name, "native", truncate=3)

    alone, _ = shared(monkeypatch, 1, run)
    found, counts = shared(monkeypatch, 2, run)
    assert set(counts) == {2}
    assert difference(found, alone) < 1e-15  # of the order of sums over the batch


@needs_llvm
@pytest.mark.parametrize("update", [batch_normal, row_and_column_means, carry_that_is_a_sum])
def test_rows_that_wait_for_each_other_stay_together(
    update: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, counts = shared(monkeypatch, 2, lambda: run(update, "native", 5))
    assert set(counts) == {1}
    assert difference(found, run(update, "loop", 5)) < 1e-12


@needs_llvm
def test_as_many_shares_as_divide_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    _, counts = shared(monkeypatch, 3, lambda: measured("lstm_joined", "native"))
    assert set(counts) <= {1, 2}  # of four rows; two by way of three
