"""Steps that take gradients, stop them, change tensors or ask about them: as the loop runs them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn.compiler import fallbacks
from tinygrad_rnn.errors import IndexRangeError
from tinygrad_rnn.functional import one_hot
from tinygrad_rnn.scan import ENGINES

NAMES = sorted(name for name in ENGINES if name != "loop")
T, B, H = 5, 3, 4
Step = Callable[[Any, Any], Any]


def numbers(*shape: int, seed: int = 0) -> tg.Tensor:
    array = np.random.default_rng(seed).normal(size=shape) * 0.4
    return tg.tensor(array, requires_grad=True)


def found(make: Callable[[Any], Step], engine: str, second: bool = False, **options: Any) -> Any:
    """Values, and gradients of W, the first carry and xs."""
    w, h, xs = numbers(H, H), numbers(B, H, seed=1), numbers(T, B, H, seed=2)
    step = make(w)
    with tg.no_grad():
        tg.scan(step, h, xs, engine=engine, **options)  # which must not decide for what follows
    final, ys = tg.scan(step, h, xs, engine=engine, **options)
    loss = (final * final).sum() + (ys * ys * ys).sum()
    gradients = tg.gradients(loss, [w, h, xs], create_graph=second, allow_unused=True)
    if second:
        squares = sum((g * g).sum() for g in gradients if g is not None)
        gradients += tg.gradients(squares, [w, h, xs], allow_unused=True)
    return [t if t is None else t.detach().numpy() for t in (final, ys, *gradients)]


def assert_as_the_loop(make: Callable[[Any], Step], compiled: bool, **options: Any) -> None:
    for second in (False, True):
        expected = found(make, "loop", second, **options)
        for engine in NAMES:
            fallbacks.clear()
            for mine, other in zip(found(make, engine, second, **options), expected, strict=True):
                assert (mine is None) == (other is None)
                if mine is not None:
                    np.testing.assert_allclose(mine, other, rtol=1e-11, atol=1e-12)
            assert bool(fallbacks) != compiled, fallbacks


def energy(h: Any) -> Any:
    return (h.tanh() * h).sum()


DERIVATIVES: dict[str, Callable[[Any], Step]] = {
    "grad": lambda w: lambda h, x: (x.tanh() + 0.3 * tg.grad(energy)(h @ w), h),
    "grad of a parameter": lambda w: lambda h, x: (
        (h @ (w - 0.1 * tg.grad(lambda v: energy(h @ v))(w)) + x).tanh(), h
    ),
    "value_and_grad": lambda w: lambda h, x: (
        (lambda pair: (x + pair[0] * 0.1 + pair[1]).tanh())(tg.value_and_grad(energy)(h @ w)), h
    ),
    "vjp": lambda w: lambda h, x: ((x + tg.vjp(lambda a: a.tanh() @ w, h)[1](x)[0]).tanh(), h),
    "hvp": lambda w: lambda h, x: ((x @ w + tg.hvp(energy, (h,), (x,))[0]).tanh(), h),
    "jacobian": lambda w: lambda h, x: (
        (x @ w + tg.jacobian(lambda a: (a * a).sum(0))(h).sum(0)).tanh(), h
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", DERIVATIVES)
def test_reverse_mode_in_a_step_is_run_by_the_loop(name: str) -> None:
    """On tensors without numbers nothing is recorded: a derivative would be 0."""
    assert_as_the_loop(DERIVATIVES[name], compiled=False)


def test_forward_mode_in_a_step_is_compiled() -> None:
    def make(w: Any) -> Step:
        return lambda h, x: ((x + tg.jvp(lambda a: (a @ w).tanh(), (h,), (x,))[1]).tanh(), h)

    assert_as_the_loop(make, compiled=True)


@tg.no_grad()
def target_of(h: Any, w: Any) -> Any:
    """Through which no gradient goes."""
    return (h @ w).tanh()


def within(w: Any) -> Step:
    def step(h: Any, x: Any) -> Any:
        with tg.no_grad():
            target = h @ w
        h = (h @ w + 0.5 * target + x).tanh()
        return h, h * target

    return step


def nested(w: Any) -> Step:
    def step(h: Any, x: Any) -> Any:
        with tg.no_grad():
            a = h @ w
            with tg.enable_grad():
                b = (h @ w + a).tanh()
            a = a + b
        h = (a * 0.3 + b + x).tanh()
        return h, h

    return step


def decorated(w: Any) -> Step:
    def step(h: Any, x: Any) -> Any:
        h = (h * 0.5 + target_of(h, w) + x @ w).tanh()
        return h, target_of(x, w) * h

    return step


@pytest.mark.parametrize("make", [within, nested, decorated])
@pytest.mark.parametrize("options", [{}, {"lengths": [5, 2, 3]}, {"reverse": True}])
def test_no_grad_in_a_step_stops_gradients(make: Any, options: dict[str, Any]) -> None:
    assert_as_the_loop(make, compiled=True, **options)


def test_no_grad_in_a_step_with_kept_states() -> None:
    for make in (within, nested, decorated):
        expected = found(make, "loop")
        for engine in NAMES:
            pairs = zip(found(make, engine, checkpoint_every=2), expected, strict=True)
            for mine, other in pairs:
                np.testing.assert_allclose(mine, other, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("change", ["mul_", "setitem"])
def test_a_tensor_that_a_step_changes_is_changed_as_often_as_by_the_loop(change: str) -> None:
    for engine in ("loop", *NAMES):
        kept = tg.ones(H)

        def step(h: Any, x: Any, kept: Any = kept) -> Any:
            if change == "mul_":
                kept.mul_(0.5)
            else:
                kept[0] = kept[0] * 0.5
            return h * 0.5 + x * kept, h

        fallbacks.clear()
        with tg.no_grad():
            tg.scan(step, tg.ones(B, H), tg.ones(T, B, H), engine=engine)
        assert kept[0].item() == 0.5**T
        assert engine == "loop" or "changes a tensor in place" in fallbacks[-1]


def test_a_tensor_that_a_step_makes_may_be_filled_in_it() -> None:
    def make(w: Any) -> Step:
        def step(h: Any, x: Any) -> Any:
            mask = tg.zeros(B, H, dtype="float64")
            mask[:, 1:] = 1.0
            mask.mul_(0.5)
            return (h @ w + x * mask).tanh(), h

        return step

    assert_as_the_loop(make, compiled=True)


def test_a_step_that_catches_what_its_change_would_do_is_run_by_the_loop() -> None:
    for engine in ("loop", *NAMES):
        count = tg.zeros(1)

        def step(h: Any, x: Any, count: Any = count) -> Any:
            try:
                count.add_(1.0)
            except Exception:
                return h * 2.0, x
            return h + x, h

        with tg.no_grad():
            final, _ = tg.scan(step, tg.ones(B, H), tg.ones(T, B, H), engine=engine)
        assert count.item() == T
        assert final[0, 0].item() == 1.0 + T


def test_adding_to_the_carry_changes_nothing_that_the_user_gave() -> None:
    def step(h: Any, x: Any) -> Any:
        h += x
        return h.tanh(), h

    for engine in ("loop", *NAMES):
        first = tg.nn.Parameter(tg.zeros(B, H))
        with tg.no_grad():
            tg.scan(step, first, tg.ones(T, B, H), engine=engine)
        assert not first.detach().numpy().any()


def test_what_a_step_asks_about_gradients_is_answered_by_the_loop() -> None:
    def step(h: Any, x: Any) -> Any:
        return h + x * (1.0 if h.requires_grad else 2.0), h

    for engine in NAMES:
        fallbacks.clear()
        final, _ = tg.scan(step, numbers(B, H), tg.ones(T, B, H), engine=engine)
        expected, _ = tg.scan(step, numbers(B, H), tg.ones(T, B, H), engine="loop")
        np.testing.assert_array_equal(final.detach().numpy(), expected.detach().numpy())
        assert "requires a gradient" in fallbacks[-1]


def test_a_step_that_catches_the_refusal_is_run_by_the_loop_all_the_same() -> None:
    def step(h: Any, x: Any) -> Any:
        try:
            k = float(h.sum())
        except Exception:
            k = 100.0
        return (h * 0.5 + x * k).sin(), h

    expected = tg.scan(step, tg.ones(B, H), tg.ones(T, B, H), engine="loop")[0].numpy()
    for engine in NAMES:
        fallbacks.clear()
        mine = tg.scan(step, tg.ones(B, H), tg.ones(T, B, H), engine=engine)[0].numpy()
        np.testing.assert_array_equal(mine, expected)
        assert "asks for the numbers" in fallbacks[-1]


SYMBOLS = np.array([[0, 3, 1], [2, 2, 0], [1, 0, 3], [3, 1, 2], [0, 0, 0]])


def of_symbols(engine: str, symbols: Any) -> Any:
    w, u = numbers(4, H), numbers(H, H, seed=1)

    def step(h: Any, n: Any) -> Any:
        return (one_hot(n, 4).to(tg.float64) @ w + h @ u).tanh(), h

    final, ys = tg.scan(step, tg.zeros(B, H, dtype="float64"), tg.tensor(symbols), engine=engine)
    gradients = tg.gradients((ys * ys).sum() + final.sum(), [w, u])
    return [t.detach().numpy() for t in (final, ys, *gradients)]


def test_one_hot_in_a_step_is_compiled() -> None:
    expected = of_symbols("loop", SYMBOLS)
    for engine in NAMES:
        fallbacks.clear()
        for mine, other in zip(of_symbols(engine, SYMBOLS), expected, strict=True):
            np.testing.assert_allclose(mine, other, rtol=1e-11, atol=1e-12)
        assert not fallbacks


@pytest.mark.parametrize("wrong", [-1, 4])
@pytest.mark.parametrize("engine", ["loop", *NAMES])
def test_one_hot_of_what_is_no_class_is_refused(wrong: int, engine: str) -> None:
    symbols = SYMBOLS.copy()
    symbols[3, 1] = wrong
    with pytest.raises(IndexRangeError, match="one_hot"):
        of_symbols(engine, symbols)
