"""What is compiled is forgotten at some time: other batch sizes at each call do not fill memory."""

from __future__ import annotations

import gc
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn.compiler import fallbacks, llvm_jit, structures
from tinygrad_rnn.compiler.pool import LONGEST, Pool
from tinygrad_rnn.scan import ENGINES

NAMES = sorted(name for name in ENGINES if name != "loop")


def train(w: Any, batch: int, engine: str, lengths: Any = None) -> list[Any]:
    def step(h: Any, x: Any) -> Any:
        h = (h @ w + x).tanh()
        return h, h * 2.0

    xs = tg.ones(4, batch, 3)
    final, ys = tg.scan(step, tg.zeros(batch, 3), xs, lengths=lengths, engine=engine)
    return [ys.detach().numpy(), tg.gradients((ys * ys).sum() + final.sum(), w).numpy()]


@pytest.mark.parametrize("engine", NAMES)
@pytest.mark.parametrize("ragged", [False, True])
def test_as_many_structures_as_that_are_kept(
    engine: str, ragged: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(structures, "KEPT", 4)
    monkeypatch.setattr(structures, "_structures", {})
    monkeypatch.setattr(structures, "_known", {})
    monkeypatch.setattr(structures, "_unknown", {})
    gc.collect()
    before = len(llvm_jit._kernels)
    fallbacks.clear()
    w = tg.randn(3, 3, requires_grad=True)
    for batch in [*range(2, 12), 2, 11]:
        lengths = [1 + i % 4 for i in range(batch)] if ragged else None
        pairs = zip(train(w, batch, engine, lengths), train(w, batch, "loop", lengths), strict=True)
        assert all(np.allclose(a, b, atol=1e-5) for a, b in pairs)
        assert len(structures._structures) <= 4
    ready = [len(known.ready) for variants in structures._known.values() for known in variants]
    assert ready and max(ready) <= 4
    gc.collect()
    assert len(llvm_jit._kernels) - before <= 16
    assert not fallbacks


def test_arrays_that_are_all_held_are_not_looked_through() -> None:
    pool = Pool()
    held = [pool.array((3,), np.dtype("f")) for _ in range(3 * LONGEST)]
    shelves = [len(shelf) for shelf in pool.shelves.values()]
    assert shelves == [LONGEST]
    assert pool.bytes == LONGEST * 12
    assert len({array.ctypes.data for array in held}) == len(held)
    del held
    addresses = [pool.array((3,), np.dtype("f")).ctypes.data for _ in range(10)]
    assert len(set(addresses)) == 1
