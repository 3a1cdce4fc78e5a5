"""checkpoint: the same values and derivatives of every order, with less kept."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn.errors import GraphFreedError, InPlaceError
from tinygrad_rnn.testing import check_grads

RNG = np.random.default_rng(11)
X, W = RNG.standard_normal((3, 4)), RNG.standard_normal((4, 4))


def leaf(values: Any) -> tg.Tensor:
    return tg.tensor(values, dtype=tg.float64, requires_grad=True)


def block(x: Any, w: Any) -> Any:
    return tg.tanh(x @ w) * x


def both_ways(program: Any, *arrays: Any) -> list[list[np.ndarray]]:
    """Outputs and gradients of program(run, …), with `run` a plain call and a checkpoint."""
    found = []
    for run in (lambda f, *args: f(*args), tg.checkpoint):
        tg.manual_seed(3)
        leaves = [leaf(a) for a in arrays]
        out = program(run, *leaves)
        out.sum().backward()
        grads = [np.zeros(0) if t.grad is None else t.grad.numpy() for t in leaves]
        found.append([out.detach().numpy(), *grads])
    return found


def same(program: Any, *arrays: Any) -> None:
    for plain, kept in zip(*both_ways(program, *arrays), strict=True):
        np.testing.assert_allclose(kept, plain, rtol=1e-13, atol=1e-14)  # sums in another order


def test_arguments() -> None:
    same(lambda run, x, w: run(block, x, w), X, W)


def test_closures() -> None:
    same(lambda run, x, w: run(lambda x: block(x, w) + w[0], x), X, W)
    same(lambda run, x, w: run(lambda: block(x, w)), X, W)


def test_values_between_as_arguments_and_closures() -> None:
    def program(run: Any, x: Any, w: Any) -> Any:
        a, b = x * 2, w + 1
        return run(lambda a: block(a, b) * x, a) + a

    same(program, X, W)


def test_one_after_another_and_inside_each_other() -> None:
    def program(run: Any, x: Any, w: Any) -> Any:
        x = run(block, x, w)
        x = run(block, x, w)
        return run(lambda x: run(block, run(block, x, w), w), x)

    same(program, X, W)


def test_nested_outputs_some_unused_some_constant() -> None:
    def f(x: Any, w: Any) -> Any:
        return {"y": block(x, w), "c": x.detach() * 2, "more": (x * 3, [w.sum()]), "none": None}

    def program(run: Any, x: Any, w: Any) -> Any:
        out = run(f, x, w)
        assert not out["c"].requires_grad and out["none"] is None
        return out["y"] * out["c"] + out["more"][1][0]

    same(program, X, W)


def test_outputs_that_are_not_tensors() -> None:
    def program(run: Any, x: Any) -> Any:
        y, name, count = run(lambda x: (x * x, "square", 2), x)
        assert (name, count) == ("square", 2)
        return y * count

    same(program, X)


def test_an_argument_returned_as_it_came() -> None:
    same(lambda run, x, w: run(lambda x, w: (x, x @ w), x, w)[0] * 2, X, W)


def test_random_numbers_are_drawn_again_the_same() -> None:
    def dropped(x: Any) -> Any:
        return x * (tg.rand(*x.shape, dtype=tg.float64) < 0.5)

    same(lambda run, x: run(dropped, x) * tg.rand(3, 4, dtype=tg.float64), X)


def test_backward_leaves_the_random_numbers_where_they_were() -> None:
    x = leaf(X)
    y = tg.checkpoint(lambda x: x * tg.rand(3, 4, dtype=tg.float64), x)
    state = tg.get_rng_state()
    tg.rand(5)
    later = tg.get_rng_state()
    y.sum().backward()
    assert tg.get_rng_state() == later != state


def test_retain_graph_and_second_backward() -> None:
    x = leaf(X)
    y = tg.checkpoint(lambda x: (x * x).sum(), x)
    y.backward(retain_graph=True)
    y.backward()
    np.testing.assert_allclose(x.grad.numpy(), 4 * X)
    with pytest.raises(GraphFreedError):
        y.backward()


def test_second_order() -> None:
    check_grads(lambda x, w: tg.checkpoint(block, x, w), (X, W))


def test_second_order_of_what_is_captured() -> None:
    def f(x: Any) -> Any:
        w = leaf(W)
        y = tg.checkpoint(lambda x: (block(x, w) ** 2).sum(), x)
        return tg.gradients(y, [w], create_graph=True)[0]

    def plain(x: Any) -> Any:
        w = leaf(W)
        return tg.gradients((block(x, w) ** 2).sum(), [w], create_graph=True)[0]

    xs = [leaf(X), leaf(X)]
    for x, g in zip(xs, (f, plain), strict=True):
        (g(x) ** 2).sum().backward()
    np.testing.assert_allclose(xs[0].grad.numpy(), xs[1].grad.numpy(), rtol=1e-12)


def test_under_transforms_and_no_grad() -> None:
    x, u = tg.tensor(X), tg.tensor(X[::-1].copy())

    def f(x: Any) -> Any:
        return tg.checkpoint(lambda v: (v**3).sum(), x)

    np.testing.assert_allclose(tg.grad(f)(x).numpy(), 3 * X**2)
    np.testing.assert_allclose(tg.hvp(f, (x,), (u,))[0].numpy(), (6 * x * u).numpy())
    with tg.no_grad():
        assert not f(leaf(X)).requires_grad


def test_only_gradients_that_are_asked_for() -> None:
    x, w = leaf(X), leaf(W)
    found = tg.gradients(tg.checkpoint(block, x, w).sum(), [x])
    assert found[0].shape == (3, 4) and x.grad is None and w.grad is None


def test_function_runs_twice_and_its_graph_is_not_kept() -> None:
    runs: list[Any] = []

    def f(x: Any) -> Any:
        inside = tg.tanh(x)
        runs.append(weakref.ref(inside.array))
        return inside * x

    x = leaf(X)
    gc.collect()
    gc.disable()
    try:
        y = tg.checkpoint(f, x)
        assert runs[0]() is None
        y.sum().backward()
    finally:
        gc.enable()
    assert len(runs) == 2 and runs[1]() is None


def test_argument_changed_in_place_since() -> None:
    x = leaf(X)
    y = tg.checkpoint(lambda x: (x * x).sum(), x)
    with tg.no_grad():
        x.mul_(2)
    with pytest.raises(InPlaceError, match="checkpoint"):
        y.backward()
    assert x.grad is None


def test_exception_inside_goes_through_and_changes_nothing() -> None:
    x = leaf(X)

    def bad(x: Any) -> Any:
        raise KeyError("mine")

    with pytest.raises(KeyError):
        tg.checkpoint(bad, x)
    calls: list[int] = []

    def bad_later(x: Any) -> Any:
        calls.append(1)
        if len(calls) > 1:
            raise KeyError("later")
        return x * x

    y = tg.checkpoint(bad_later, x)
    state = tg.get_rng_state()
    with pytest.raises(KeyError, match="later"):
        y.sum().backward()
    assert x.grad is None and tg.is_grad_enabled() and tg.get_rng_state() == state
