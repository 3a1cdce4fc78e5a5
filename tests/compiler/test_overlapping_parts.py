"""Carries that are read in parts: overlapping ones, and ones that are not all there is.

The parts [1:] and [-1:] of four columns have four columns together, and are no cover of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn.compiler.run import fallbacks
from tinygrad_rnn.scan import ENGINES

Function = Callable[[Any, Any], Any]
PARTS: dict[str, Function] = {
    "shifted, last read": lambda w, a: tg.cat([w[:, 1:], w[:, -1:] * 0.5 + a], -1),
    "shifted, first read": lambda w, a: tg.cat([w[:, :1] * 0.5 + a, w[:, :-1]], -1),
    "halves that overlap": lambda w, a: tg.cat([w[:, :2] * a, w[:, 1:3]], -1),
    "a gap": lambda w, a: tg.cat([w[:, :1] * a, w[:, 2:], w[:, :1]], -1),
    "the same twice": lambda w, a: tg.cat([w[:, 2:] * a, w[:, 2:]], -1),
    "true halves": lambda w, a: tg.cat([w[:, 2:] * a, tg.tanh(w[:, :2])], -1),
}


@pytest.mark.parametrize("engine", ["numpy", "llvm", "native"])
@pytest.mark.parametrize("name", PARTS)
@pytest.mark.parametrize("rest", [False, True])
def test_gradients_are_those_of_the_loop(
    engine: str, name: str, rest: bool, rng: np.random.Generator
) -> None:
    tg.scan(lambda c, x: (c, x), tg.zeros(1), 1)  # which has the engines register themselves
    if engine not in ENGINES:
        pytest.skip(f"no engine {engine} here")
    a = tg.tensor(rng.standard_normal(()), dtype=tg.float64)
    start = tg.tensor(rng.standard_normal((3, 4)), dtype=tg.float64)

    def step(w: Any, _: Any) -> Any:
        w = PARTS[name](w, a) + (tg.tanh(w) * 0.1 if rest else 0.0)
        return w, w[:, 0]

    found = []
    for which in ("loop", engine):
        leaves = a, start
        for leaf in leaves:
            leaf.requires_grad_()
            leaf.grad = None
        before = len(fallbacks)
        _, ys = tg.scan(step, start, 5, engine=which)
        (ys**2).sum().backward()
        assert len(fallbacks) == before
        found.append([leaf.grad.numpy().copy() for leaf in leaves if leaf.grad is not None])
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-12, atol=1e-14)
