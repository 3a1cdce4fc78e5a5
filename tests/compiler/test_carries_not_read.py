"""Carries whose old value no gradient passes: nobody reads it, or an output without a loss."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scan_cells import difference

import tinygrad_rnn as tg
from tinygrad_rnn.compiler import fallbacks
from tinygrad_rnn.scan import ENGINES

NAMES = sorted(name for name in ENGINES if name != "loop")


def outcome(engine: str, readers: str, number: bool, options: Any) -> list[Any]:
    rng = np.random.default_rng(3)

    def leaf(*shape: int) -> Any:
        return tg.tensor(rng.normal(size=shape), requires_grad=True)

    w, h0, xs, m0 = leaf(3, 3), leaf(2, 3), leaf(5, 2, 3), leaf() if number else leaf(2, 3)

    def step(carry: Any, x: Any) -> Any:
        h, m = carry
        h = (h @ w + x).tanh()
        return (h, h.sum() if number else h * 2.0), (h if readers == "nobody" else m * h, h + 1.0)

    (h, m), (other, y) = tg.scan(step, (h0, m0), xs, engine=engine, **options)
    loss = (h * h).sum() + (m * m).sum() + (y * y).sum()
    if readers == "an output":
        loss = loss + other.sum()
    leaves = [w, h0, xs, m0]
    found = tg.gradients(loss, leaves, allow_unused=True, retain_graph=True)
    found += tg.gradients(m.sum(), leaves, allow_unused=True)
    return [0.0 * x.detach().numpy() if g is None else g.numpy() for g, x in zip(found, leaves * 2)]


@pytest.mark.parametrize("engine", NAMES)
@pytest.mark.parametrize("readers", ["nobody", "an output", "an output without a loss"])
@pytest.mark.parametrize("number", [False, True])
@pytest.mark.parametrize(
    "options", [{}, {"reverse": True}, {"truncate": 2}, {"checkpoint_every": 2}], ids=str
)
def test_gradients_are_those_of_the_loop(
    engine: str, readers: str, number: bool, options: Any
) -> None:
    fallbacks.clear()
    found = outcome(engine, readers, number, options)
    assert not fallbacks
    assert difference(found, outcome("loop", readers, number, options)) < 1e-12


@pytest.mark.parametrize("engine", NAMES)
@pytest.mark.parametrize("readers", ["nobody", "an output", "an output without a loss"])
def test_gradients_of_rows_of_unequal_length(engine: str, readers: str) -> None:
    options = {"lengths": [5, 2]}
    found = outcome(engine, readers, False, options)
    assert difference(found, outcome("loop", readers, False, options)) < 1e-12
