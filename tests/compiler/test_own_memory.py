"""What a loop gives has memory of its own: to change one in place changes no other."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn.compiler import fallbacks
from tinygrad_rnn.scan import ENGINES
from tinygrad_rnn.tree import flatten

NAMES = sorted(name for name in ENGINES if name != "loop")
LENGTHS = {"no lengths": None, "all steps": [4, 4], "equal": [3, 3], "unequal": [2, 4]}


def outputs_of_all_kinds(engine: str, steps: int, recorded: bool, **options: Any) -> list[Any]:
    """All arrays that a call reads and gives, of a step whose outputs are views of each other."""
    tg.manual_seed(1)
    w, c = tg.randn(3, 3, requires_grad=recorded), tg.ones(2, 3)
    h0, xs = tg.ones(2, 3), tg.randn(steps, 2, 3)

    def step(h: Any, x: Any) -> Any:
        new = (x + h @ w).tanh()
        views = (new.flip(1), new[:, :2], x[:, 1:], x.reshape(2, 3, 1), h.detach())
        return new, (new, new, x, h, c, c * 2, (c * 2).reshape(2, 1, 3), views)

    fallbacks.clear()
    final, ys = tg.scan(step, h0, xs, engine=engine, **options)
    assert not fallbacks
    return [t.array for t in (w, c, h0, xs, final, *flatten(ys)[0])]


@pytest.mark.parametrize("engine", NAMES)
@pytest.mark.parametrize("lengths", LENGTHS)
@pytest.mark.parametrize("recorded", [False, True])
@pytest.mark.parametrize("reverse", [False, True])
def test_outputs_share_no_memory(engine: str, lengths: str, recorded: bool, reverse: bool) -> None:
    options = {"lengths": LENGTHS[lengths], "reverse": reverse}
    arrays = outputs_of_all_kinds(engine, 4, recorded, **options)
    assert not any(np.shares_memory(a, b) for a, b in combinations(arrays, 2))


@pytest.mark.parametrize("engine", NAMES)
def test_outputs_of_one_step_share_no_memory(engine: str) -> None:
    """What is the same in every step is, of one step, an array that is there already."""
    arrays = outputs_of_all_kinds(engine, 1, True)
    assert not any(np.shares_memory(a, b) for a, b in combinations(arrays, 2))


@pytest.mark.parametrize("engine", NAMES)
def test_outputs_are_those_of_the_loop(engine: str) -> None:
    pairs = zip(
        outputs_of_all_kinds(engine, 4, True), outputs_of_all_kinds("loop", 4, True), strict=True
    )
    assert all(np.allclose(a, b, rtol=1e-6, atol=1e-6) for a, b in pairs)


# ------------------------------------------------------------- the last carry, by the loop as well
HANDED_ON: dict[str, Any] = {
    "the carry": lambda h, x, c, p: h,
    "a view of the carry": lambda h, x, c, p: h.detach()[:],
    "the input": lambda h, x, c, p: x,
    "a constant": lambda h, x, c, p: c,
    "a leaf": lambda h, x, c, p: p,
}


@pytest.mark.parametrize("engine", ["loop", *NAMES])
@pytest.mark.parametrize("options", [{}, {"checkpoint_every": 2}, {"lengths": [4, 4]}], ids=str)
@pytest.mark.parametrize("name", sorted(HANDED_ON))
def test_a_last_carry_is_not_the_users_own(name: str, options: Any, engine: str) -> None:
    given = [tg.zeros(2, 3), tg.ones(4, 2, 3), tg.ones(2, 3), tg.ones(2, 3, requires_grad=True)]
    h0, xs, c, p = given
    before = [t.tolist() for t in given]

    def step(carry: Any, x: Any) -> Any:
        h, twin = carry
        new = HANDED_ON[name](h, x, c, p)
        return (new, new), twin

    final, ys = tg.scan(step, (h0, h0), xs, engine=engine, **options)
    arrays = [*(t.array for t in given), ys.array]
    assert not any(np.shares_memory(f.array, a) for f in final for a in arrays)
    assert not np.shares_memory(final[0].array, final[1].array)
    final[0].detach().mul_(3.0)
    final[1].detach().add_(2.0)
    assert [t.tolist() for t in given] == before
    if name == "a leaf":
        final[0].sum().backward()
        assert p.grad is not None and final[0] is not p and not final[0].is_leaf


@pytest.mark.parametrize("engine", ["loop", *NAMES])
def test_a_carry_of_no_steps_is_not_the_users_own(engine: str) -> None:
    h0 = tg.zeros(2, 3)
    final, _ = tg.scan(lambda h, x: (h + x, h), h0, tg.ones(0, 2, 3), engine=engine)
    final.add_(1.0)
    assert h0.tolist() == np.zeros((2, 3)).tolist()
