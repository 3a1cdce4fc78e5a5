"""What the engines leave to the loop, by themselves and with a reason, and what they do not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn.compiler import fallbacks
from tinygrad_rnn.scan import ENGINES

NAMES = sorted(name for name in ENGINES if name != "loop")


def reason_for(step: Any, init: Any, xs: Any, **options: Any) -> str:
    fallbacks.clear()
    for engine in NAMES:
        found = tg.scan(step, init, xs, engine=engine, **options)
        expected = tg.scan(step, init, xs, engine="loop", **options)
        assert repr(found) == repr(expected)
    assert len(fallbacks) == len(NAMES)
    return fallbacks[-1]


def test_control_flow_on_data_is_run_by_the_loop() -> None:
    def step(c: Any, x: Any) -> Any:
        return (c + x if float(c.sum()) < 3 else c - x), c

    assert "item" in reason_for(step, tg.zeros(2), tg.ones(5, 2))


def test_numpy_inside_a_step_is_run_by_the_loop() -> None:
    def step(c: Any, x: Any) -> Any:
        return c + tg.tensor(x.numpy() * 2), c

    assert "numpy" in reason_for(step, tg.zeros(2), tg.ones(5, 2))


def test_new_numbers_at_each_call_are_not_baked_in() -> None:
    seen: list[int] = []

    def step(c: Any, x: Any) -> Any:
        seen.append(1)
        return c + tg.tensor(np.full(2, float(len(seen)))).float(), c

    fallbacks.clear()
    for engine in NAMES:
        tg.scan(step, tg.zeros(2), tg.ones(5, 2), engine=engine)
    assert all("new numbers" in reason for reason in fallbacks)
    assert len(fallbacks) == len(NAMES)


COUNT = 0


def steps_that_count() -> dict[str, Callable[[], Any]]:
    """What makes a step of which every third call does something else."""

    class Counter:
        n = 0

        def twice(self, x: Any) -> Any:
            self.n = self.n + 1
            return x * 2 if self.n % 3 == 0 else x

        def by_attribute(self, c: Any, x: Any) -> Any:
            return c + self.twice(x), c

    def by_variable() -> Any:
        n = 0

        def step(c: Any, x: Any) -> Any:
            nonlocal n
            n += 1
            return (c + x if n % 3 else c - x), c

        return step

    def by_element() -> Any:
        n = [0]

        def step(c: Any, x: Any) -> Any:
            n[0] += 1
            return (c + x if n[0] % 3 else c - x), c

        return step

    def by_global() -> Any:
        global COUNT
        COUNT = 0

        def step(c: Any, x: Any) -> Any:
            global COUNT
            COUNT += 1
            return (c + x if COUNT % 3 else c - x), c

        return step

    return {
        "attribute": lambda: Counter().by_attribute,
        "variable": by_variable, "element": by_element, "global": by_global,
    }  # fmt: skip


@pytest.mark.parametrize("name", steps_that_count())
def test_a_step_that_counts_its_calls_is_run_by_the_loop(name: str) -> None:
    make = steps_that_count()[name]
    expected = tg.scan(make(), tg.zeros(2), tg.ones(7, 2), engine="loop")
    fallbacks.clear()
    for engine in NAMES:
        found = tg.scan(make(), tg.zeros(2), tg.ones(7, 2), engine=engine)
        assert repr(found) == repr(expected)
    assert len(fallbacks) == len(NAMES)
    assert all("how often it was called" in reason for reason in fallbacks)


def test_empty_things_are_run_by_the_loop() -> None:
    step = lambda c, x: (c + x, c)  # noqa: E731
    assert reason_for(step, tg.zeros(2), tg.ones(0, 2)) == "no steps"
    assert reason_for(step, tg.zeros(0), tg.ones(3, 0)) == "an empty tensor"


# ------------------------------------------------------------------ what is compiled all the same
TABLE = tg.tensor(np.random.default_rng(0).normal(size=(7, 4)))
UNUSUAL: dict[str, Any] = {
    "integer carry": (lambda c, t: (c + t, c * 2), tg.tensor(0), 5),
    "numbers of steps": (lambda c, t: (c * 0.5 + t, c), tg.tensor([1.0, 2.0]), 5),
    "mixed carries": (
        lambda c, x: ((c[0] + 1, c[1] * x + c[0]), c[0]),
        (tg.tensor(0), tg.tensor(1.0)),
        tg.tensor([1.0, 2.0, 3.0]),
    ),
    "truth as output": (lambda c, x: (c + x, (c > 0).any()), tg.tensor([1.0, -2.0]), tg.ones(3, 2)),
    "index as output": (lambda c, x: (c + x, c.argmax(0)), tg.tensor([1.0, -2.0]), tg.ones(3, 2)),
    "embedding": (
        lambda c, x: (c * 0.5 + TABLE[x], c),
        tg.zeros(3, 4, dtype=tg.float64),
        tg.tensor([[1, 2, 3], [0, 6, 1]]),
    ),
    "index by the carry": (
        lambda c, x: (c + TABLE[c.argmax(1)], c),
        tg.zeros(3, 4, dtype=tg.float64),
        tg.ones(4, 3),
    ),
    "half precision": (lambda c, x: (c.half().float() + x, c), tg.zeros(3, 4), tg.ones(4, 3, 4)),
    "two precisions": (lambda c, x: (c.double().float() + x, c), tg.zeros(3, 4), tg.ones(4, 3, 4)),
    "no output": (lambda c, x: (c + x, None), tg.zeros(3, 4), tg.ones(4, 3, 4)),
    "a loop in the step": (
        lambda c, x: (tg.scan(lambda a, b: (a * 0.5 + b, a), c, x)[0], c),
        tg.zeros(4),
        tg.ones(5, 3, 4),
    ),
}


@pytest.mark.parametrize("engine", NAMES)
@pytest.mark.parametrize("name", UNUSUAL)
def test_unusual_programs(name: str, engine: str) -> None:
    step, init, xs = UNUSUAL[name]
    fallbacks.clear()
    found = tg.scan(step, init, xs, engine=engine)
    assert not fallbacks
    assert repr(found) == repr(tg.scan(step, init, xs, engine="loop"))


def foreign(array: np.ndarray) -> tg.Tensor:
    """The same numbers with their bytes in another order."""
    return tg.Tensor(array.astype(array.dtype.newbyteorder()))


@pytest.mark.parametrize("engine", [*NAMES, "loop"])
def test_bytes_in_another_order_are_never_read_as_they_are(engine: str) -> None:
    numbers = np.arange(10.0, dtype=np.float32).reshape(5, 2)
    b = foreign(numbers[1])
    fallbacks.clear()
    final, _ = tg.scan(
        lambda c, x: ((c + x) * b, c), tg.Tensor(numbers[2]), foreign(numbers), engine=engine
    )
    expected = numbers[2]
    for x in numbers:
        expected = (expected + x) * numbers[1]
    assert final.tolist() == expected.tolist()
    assert len(fallbacks) == (engine != "loop")
    w = foreign(np.eye(2, dtype=np.float32))
    with pytest.raises(tg.errors.DTypeError, match="matmul"):
        tg.scan(lambda c, x: (c @ w + x, c), tg.zeros(1, 2), tg.ones(5, 1, 2), engine=engine)


@pytest.mark.parametrize("engine", NAMES)
def test_a_way_that_is_refused_has_drawn_nothing(engine: str) -> None:
    """Rows of unequal length are tried without masks first, which fails late for some steps."""

    def made(engine: str) -> Any:
        tg.manual_seed(1)
        h = tg.ones(3, 4, dtype=tg.float64).requires_grad_()
        xs = tg.arange(48, dtype=tg.float64).reshape(4, 3, 4) * 0.1

        def step(h: Any, x: Any) -> Any:
            v = tg.cat([h[:, :2], h[:, :2]], 1) * (x - 2.0)
            return v.clip(-3, 1).expm1() * (tg.rand(3, 4, dtype=tg.float64) < 0.8), v

        _, ys = tg.scan(step, h, xs, lengths=[4, 2, 2], engine=engine)
        return ys.detach(), tg.gradients(ys.sum(), h), tg.rand(2)

    for found, expected in zip(made(engine), made("loop"), strict=True):
        assert np.allclose(found.numpy(), expected.numpy(), rtol=1e-12, atol=0)
