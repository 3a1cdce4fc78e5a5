"""Products that the native loop does for a few steps together: which, and that they are right."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from scan_cells import difference

import tinygrad_rnn as tg
from tinygrad_rnn.compiler import llvm_jit, native_engine, structures, workers
from tinygrad_rnn.compiler.layout import FEW

pytestmark = pytest.mark.skipif(not llvm_jit.available(), reason="needs llvmlite")

B, N = 16, 32


@pytest.fixture(autouse=True)
def groups(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[int, int]]]:
    """Every matrix is large; how many products are done ahead and behind, for each loop."""
    monkeypatch.setattr(native_engine, "FAR", 0)
    monkeypatch.setattr(structures, "_structures", {})
    monkeypatch.setattr(structures, "_known", {})
    found: list[tuple[int, int]] = []
    original = native_engine.grouped

    def spied(plan: Any) -> Any:
        ahead, behind = original(plan)
        found.append((len(ahead), len(behind)))
        return ahead, behind

    monkeypatch.setattr(native_engine, "grouped", spied)
    return found


def run(engine: str, steps: int, dtype: Any = tg.float64, **options: Any) -> list[Any]:
    """Values and gradients of a step with one product each: of x, of h, and of the new h."""
    rng = np.random.default_rng(1)
    shapes = ((steps, B, N), (B, N), (N, 2 * N), (N, 2 * N), (N, N))
    arrays = [0.3 * rng.normal(size=s) for s in shapes]
    xs, start, w, u, v = (tg.tensor(array, dtype, requires_grad=True) for array in arrays)

    def step(h: Any, x: Any) -> Any:
        z, n = (x @ w + h @ u).chunk(2, 1)
        h = z.sigmoid() * h + n.tanh()
        return h, h @ v

    final, ys = tg.scan(step, start, xs, engine=engine, **options)
    (ys.sin().sum() + final.sum()).backward()
    return [t.detach().numpy() for t in (final, ys)] + [
        t.grad.numpy() for t in (xs, start, w, u, v)
    ]


OPTIONS: list[Any] = [
    {}, {"reverse": True}, {"truncate": 3}, {"checkpoint_every": 5},
    {"truncate": 2, "checkpoint_every": 3, "reverse": True}, {"lengths": [4] * B},
]  # fmt: skip


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("steps", [5, FEW, FEW + 1, 2 * FEW - 1, 2 * FEW, 3 * FEW + 2])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_equal_to_the_loop(
    options: Any, steps: int, count: int, groups: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(native_engine, "EACH", 1)
    monkeypatch.setattr(workers, "threads", lambda: count)
    found, expected = run("native", steps, **options), run("loop", steps, **options)
    assert difference(found, expected) < 1e-12
    # x·w is ahead and h·v behind; δ·vᵀ is ahead, and the cotangent of x behind
    assert groups == [(1, 1), (1, 1)]


def test_bits_are_those_of_one_step_at_a_time(monkeypatch: pytest.MonkeyPatch, groups: Any) -> None:
    together = run("native", 9, tg.float32)
    monkeypatch.setattr(native_engine, "FAR", 1 << 40)
    monkeypatch.setattr(structures, "_structures", {})
    monkeypatch.setattr(structures, "_known", {})
    alone = run("native", 9, tg.float32)
    assert groups[2:] == [(0, 0), (0, 0)]
    assert all(np.array_equal(a, b) for a, b in zip(together, alone, strict=True))


def test_what_the_carry_is_made_of_stays_in_its_step(groups: Any) -> None:
    """The product of a new carry that the next step reads is in each step."""
    w = tg.tensor(0.1 * np.random.default_rng(0).normal(size=(N, N)), requires_grad=True)
    step = lambda h, x: ((h @ w + x).tanh(),) * 2  # noqa: E731
    results = []
    for engine in ("native", "loop"):
        xs = tg.ones(9, B, N, dtype=w.dtype)
        ys = tg.scan(step, tg.zeros(B, N, dtype=w.dtype), xs, engine=engine)[1]
        (gradient,) = tg.gradients(ys.sum(), [w])
        results.append([ys.detach().numpy(), gradient.numpy()])
    assert difference(*results) < 1e-5
    assert groups == [(0, 0), (0, 0)]
