"""NaN, infinities and subnormals in compiled loops, as in the loop itself."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn.compiler import fallbacks
from tinygrad_rnn.scan import ENGINES

NAMES = sorted(name for name in ENGINES if name != "loop")


@pytest.mark.parametrize("engine", NAMES)
@pytest.mark.parametrize("dtype", [tg.float32, tg.float64])
def test_special_values_propagate(engine: str, dtype: Any) -> None:
    tiny = float(np.finfo(dtype).smallest_subnormal)
    special = [
        np.nan,
        np.inf,
        -np.inf,
        0.0,
        -0.0,
        tiny,
        -tiny,
        1e30,
        -1e30,
        100.0,
        -100.0,
        88.0,
        -88.0,
        1.0,
    ]
    xs = tg.tensor(np.array([special, special[::-1]]), dtype=dtype)

    def step(c: Any, x: Any) -> Any:
        y = [
            x.tanh(),
            x.sigmoid(),
            x.exp(),
            x.relu(),
            x.abs(),
            x.sign(),
            tg.maximum(x, c),
            x.sqrt(),
        ]
        y += [
            tg.minimum(x, c),
            x.clip(-2, 2),
            x.isnan().to(dtype),
            x / (c + 1),
            x.square(),
            x.rsqrt(),
        ]
        y += [(x > c).to(dtype), x.isfinite().to(dtype), x.reciprocal(), x.floor(), x.round()]
        return c + x, tg.stack(y)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = tg.scan(step, tg.zeros(len(special), dtype=dtype), xs, engine=engine)
        expected = tg.scan(step, tg.zeros(len(special), dtype=dtype), xs, engine="loop")
    for a, b in zip(found, expected, strict=True):
        limit = 1e-6 if dtype == tg.float32 else 1e-14
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=limit, atol=1e-37)


@pytest.mark.parametrize("dtype", [tg.float32, tg.float64])
def test_the_numpy_engine_has_the_bits_of_the_loop(dtype: Any) -> None:
    points = np.concatenate([np.linspace(-120, 120, 10_001), np.linspace(-760, -700, 1001)])
    xs = tg.tensor(points[None], dtype=dtype)
    step = lambda c, x: (c + x, (x + c).sigmoid())  # noqa: E731
    found, expected = (
        tg.scan(step, tg.zeros(points.size, dtype=dtype), xs, engine=engine)[1].numpy()
        for engine in ("numpy", "loop")
    )
    assert np.array_equal(found, expected)


def test_a_gate_far_from_zero_in_float16() -> None:
    """e¹² is no number of sixteen bits."""
    xs = tg.tensor([[30.0, -30.0], [60000.0, 12.0]], dtype=tg.float16)

    def step(c: Any, x: Any) -> Any:
        c = (c + x).sigmoid()
        return c, c

    _, found = tg.scan(step, tg.zeros(2, dtype=tg.float16), xs, engine="numpy")
    assert found.dtype == tg.float16
    np.testing.assert_allclose(found.numpy(), [[1, 0], [1, 1]], atol=1e-3)


@pytest.mark.parametrize("engine", NAMES)
@pytest.mark.parametrize("function", [tg.sigmoid, tg.softplus])
def test_logistic_functions_in_float16_are_compiled(function: Any, engine: str) -> None:
    def run(engine: str) -> list[Any]:
        xs = tg.full((6, 2, 20), 0.5, dtype=tg.float16, requires_grad=True)

        def step(c: Any, x: Any) -> Any:
            c = function(x + c) * 0.5
            return c, c

        _, found = tg.scan(step, tg.zeros(2, 20, dtype=tg.float16), xs, engine=engine)
        return [found.detach().numpy(), tg.gradients(found.sum(), [xs])[0].numpy()]

    before = len(fallbacks)
    for found, expected in zip(run(engine), run("loop"), strict=True):
        np.testing.assert_allclose(found, expected, rtol=4e-3)
    assert fallbacks[before:] == []
