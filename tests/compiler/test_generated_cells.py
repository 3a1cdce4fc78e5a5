"""Cells that nobody wrote: random programs over the primitives, on every engine as on the loop."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from generated_cells import B, N, build, programs, shapes_of_outputs
from hypothesis import given, settings
from hypothesis import strategies as st
from scan_cells import difference

import tinygrad_rnn as tg
from tinygrad_rnn.compiler import fallbacks
from tinygrad_rnn.scan import ENGINES
from tinygrad_rnn.tree import flatten

NAMES = sorted(name for name in ENGINES if name != "loop")


def outcome(program: Any, carries: int, form: str, engine: str, dtype: Any, options: Any) -> Any:
    rng = np.random.default_rng(7)

    def leaf(*shape: int) -> Any:
        return tg.tensor(rng.normal(size=shape) * 0.5, dtype=dtype, requires_grad=True)

    parameters = [leaf(N, N), leaf(N, N)]
    init, xs = tuple(leaf(B, N) for _ in range(carries)), leaf(options["steps"], B, N)
    rest = {k: v for k, v in options.items() if k != "steps"}
    step = build(program, carries, form, parameters)
    outputs = flatten(tg.scan(step, init, xs, engine=engine, **rest))[0]
    weights = [tg.tensor(rng.normal(size=o.shape), dtype=dtype) for o in outputs]
    loss = sum((o * w).sum() for o, w in zip(outputs, weights, strict=True))
    leaves = [*init, xs, *parameters]
    found: list[Any] = [None] * len(leaves)  # the loop may know that nothing has a gradient
    if loss.requires_grad:
        found = tg.gradients(loss, leaves, allow_unused=True)
    return [o.detach().numpy() for o in outputs] + [None if g is None else g.numpy() for g in found]


options_of_scan = st.fixed_dictionaries(
    {"steps": st.sampled_from([1, 2, 5])},
    optional={
        "reverse": st.booleans(),
        "truncate": st.sampled_from([1, 2]),
        "checkpoint_every": st.sampled_from([2, 3]),
    },
)


@pytest.mark.parametrize("engine", NAMES)
@settings(max_examples=max(1, settings.default.max_examples))
@given(programs, st.integers(1, 3), shapes_of_outputs, options_of_scan)
def test_float64_is_exact(engine: str, program: Any, carries: int, form: str, options: Any) -> None:
    fallbacks.clear()
    found = outcome(program, carries, form, engine, tg.float64, options)
    assert not fallbacks
    expected = outcome(program, carries, form, "loop", tg.float64, options)
    assert difference(found, expected) < 1e-12


@pytest.mark.parametrize("engine", NAMES)
@settings(max_examples=max(1, settings.default.max_examples // 3))
@given(programs, st.integers(1, 2), shapes_of_outputs)
def test_float32_errs_no_more_than_the_loop(
    engine: str, program: Any, carries: int, form: str
) -> None:
    """At most eight times the loop's own rounding error, which float64 measures, plus one ulp."""
    options = {"steps": 4}
    exact = outcome(program, carries, form, "loop", tg.float64, options)
    loop = outcome(program, carries, form, "loop", tg.float32, options)
    found = outcome(program, carries, form, engine, tg.float32, options)
    for a, b, c in zip(found, loop, exact, strict=True):
        if c is None:
            continue
        size = np.abs(c).max()
        ours, theirs = (0.0 if v is None else float(np.abs(v - c).max()) for v in (a, b))
        assert ours <= 8 * theirs + 4e-7 * max(size, 1.0)
