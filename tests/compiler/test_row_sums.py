"""Row reductions: sums taken apart into one pass, and what is kept of a normalised product."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("llvmlite")

import tinygrad_rnn as tg
from tinygrad_rnn.compiler import llvm_kernels
from tinygrad_rnn.compiler.lowering import Block, Rows
from tinygrad_rnn.compiler.native_engine import NativeRunner
from tinygrad_rnn.functional import layer_norm

T, B, H = 5, 6, 11


def run(engine: str, batch: int = B, width: int = H) -> list[np.ndarray]:
    """Outputs and gradients of a network with layer normalisation."""
    rng = np.random.default_rng(3)
    shapes = ((width, width), (width,), (width,))
    leaves = [tg.tensor(rng.standard_normal(shape), requires_grad=True) for shape in shapes]
    w, gain, bias = leaves

    def step(h: Any, x: Any) -> tuple[Any, Any]:
        h = (layer_norm(h @ w, width, gain, bias) + x).tanh()
        return h, h

    init, xs = (tg.tensor(rng.standard_normal((*s, width))) for s in ((batch,), (T, batch)))
    ys = tg.scan(step, init, xs, engine=engine)[1]
    (ys * ys).sum().backward()
    return [ys.detach().numpy(), *(leaf.grad.numpy() for leaf in leaves)]


def assert_as_the_loop(batch: int, width: int) -> None:
    for array, other in zip(run("native", batch, width), run("loop", batch, width), strict=True):
        np.testing.assert_allclose(array, other, rtol=1e-12, atol=1e-13)


@pytest.fixture(scope="module")
def loops() -> list[NativeRunner]:
    """The loops that are compiled, forward and backward."""
    runners: list[NativeRunner] = []
    original = NativeRunner.__init__

    def spied(self: NativeRunner, *args: Any) -> None:
        original(self, *args)
        runners.append(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(NativeRunner, "__init__", spied)
        assert_as_the_loop(B, H)
    return runners


def rows_of(runner: NativeRunner) -> list[Block]:
    (rows,) = (part for part in runner.parts if isinstance(part, Rows))
    return rows.blocks


def test_the_gradient_of_a_normalisation_reduces_each_row_once(loops: list[NativeRunner]) -> None:
    _, backward = loops
    assert sum(bool(block.reductions) for block in rows_of(backward)) == 1


def test_of_a_normalised_product_two_numbers_a_row_are_kept(loops: list[NativeRunner]) -> None:
    plan = loops[0].plan
    given = len(plan.loop.constant) + len(plan.loop.stacked)
    kept = [b.shape for b in plan.buffers if b.rows == "stack" and b.number >= given]
    assert sorted(kept) == [(B, 1), (B, 1), (B, H)]  # and the product itself


def test_sums_over_rows_are_added_where_no_row_is_reduced(loops: list[NativeRunner]) -> None:
    (adds,) = (block for block in rows_of(loops[1]) if block.adds)
    assert len(adds.adds) == 2 and not adds.reductions


@pytest.mark.parametrize("batch", [1, 7, 16, 34])
@pytest.mark.parametrize(("near", "width"), [(1, 9), (1 << 20, 10)])
def test_any_number_of_rows_at_a_time(
    batch: int, near: int, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(llvm_kernels, "NEAR", near)
    assert_as_the_loop(batch, width)


@pytest.mark.parametrize("number", [np.nan, np.inf, 1e-310])
def test_what_is_not_a_plain_number_goes_through(number: float) -> None:
    def last(engine: str) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng(3)
        w = tg.tensor(rng.standard_normal((H, H)), requires_grad=True)
        xs = rng.standard_normal((T, B, H))
        xs[1, 2, 3] = number

        def step(h: Any, x: Any) -> tuple[Any, Any]:
            h = layer_norm(h @ w + x, H)
            return h, h

        ys = tg.scan(step, tg.ones(B, H, dtype="float64"), tg.tensor(xs), engine=engine)[1]
        ys[:, :2].sum().backward()
        return ys.detach().numpy(), w.grad.numpy()

    with np.errstate(all="ignore"):
        expected = last("loop")
    for array, other in zip(last("native"), expected, strict=True):
        np.testing.assert_allclose(array, other, rtol=1e-12, atol=1e-13)
