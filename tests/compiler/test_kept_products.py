"""Products with a constant matrix that stay in the native loop: they are there, and right."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scan_cells import difference

import tinygrad_rnn as tg
from tinygrad_rnn.compiler import llvm_jit, structures

pytestmark = pytest.mark.skipif(not llvm_jit.available(), reason="llvmlite is not installed")

T, B, N = 5, 16, 32  # rows and columns from which a product stays, in both floating-point types


def step_of(w: Any, u: Any, v: Any) -> Any:
    """A state, and what is read out of it."""

    def step(h: Any, x: Any) -> Any:
        h = (x @ w + h @ u).tanh()
        return h, (h @ v, x @ w)

    return step


def run(engine: str, rows: int = B, dtype: Any = tg.float64, **options: Any) -> list[Any]:
    """Values, and the gradients of inputs, of the first state and of the matrices."""
    rng = np.random.default_rng(1)
    arrays = [0.3 * rng.normal(size=s) for s in ((T, rows, N), (rows, N), *[(N, N)] * 3)]
    tensors = [tg.tensor(array, dtype, requires_grad=True) for array in arrays]
    xs, h, *weights = tensors
    if options.pop("uneven", False):
        options["lengths"] = np.arange(rows) % T + 1
    final, (ys, zs) = tg.scan(step_of(*weights), h, xs, engine=engine, **options)
    (ys.sin().sum() + (zs * zs).sum() + final.sum()).backward()
    return [t.detach().numpy() for t in (final, ys, zs)] + [t.grad.numpy() for t in tensors]


@pytest.mark.parametrize("rows", [1, 3, B, B + 3])
@pytest.mark.parametrize(
    "options",
    [{}, {"reverse": True}, {"truncate": 2}, {"checkpoint_every": 2}, {"uneven": True},
     {"uneven": True, "reverse": True}],
    ids=str,
)  # fmt: skip
def test_equal_to_the_loop(rows: int, options: dict[str, Any]) -> None:
    assert difference(run("native", rows, **options), run("loop", rows, **options)) < 1e-12


def test_float32_is_as_good_as_its_products() -> None:
    exact = run("loop")
    found = [array.astype(np.float64) for array in run("native", dtype=tg.float32)]
    assert difference(found, exact) < 1e-5


def products(values: Any) -> int:
    return sum(value.name == "matmul" for value in values)


@pytest.mark.parametrize(("rows", "inside"), [(B, True), (1, False)])
def test_they_are_in_the_loop(rows: int, inside: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: dict[Any, Any] = {}
    monkeypatch.setattr(structures, "_structures", compiled)
    monkeypatch.setattr(structures, "_known", {})
    monkeypatch.setattr("tinygrad_rnn.compiler.native_engine.NEAR", 0)
    run("native", rows)
    (found,) = compiled.values()
    cut = found.core.cut
    (way,) = found.core.ways.values()
    ((back, _),) = way.loops.values()
    outside = products(cut.before) + products(cut.after) + products(back.before)
    # x·w, which is wanted itself, leaves the loop; h·v, and δ·vᵀ with few rows, need not
    assert outside == (1 if inside else 3)
    assert products(cut.loop.body) == (2 if inside else 1)
    assert products(back.loop.body) == (3 if inside else 1)
