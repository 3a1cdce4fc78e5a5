"""Derivatives of derivatives, in every nesting of forward and reverse mode.

The programs are those on which other systems have confused perturbations (Siskind and Pearlmutter
2005; Manzyuk et al. 2019): d/dx [x · d/dy (x + y)] is 1, not 2.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg

Number = Any
Derivative = Callable[[Callable[[Number], Number]], Callable[[Number], Number]]


# ------------------------------------------------------------------- four ways to differentiate
def by_grad(f: Callable[[Number], Number]) -> Callable[[Number], Number]:
    return tg.grad(f)


def by_jvp(f: Callable[[Number], Number]) -> Callable[[Number], Number]:
    return lambda x: tg.jvp(f, (x,), (tg.ones_like(x),))[1]


def by_vjp(f: Callable[[Number], Number]) -> Callable[[Number], Number]:
    def derivative(x: Number) -> Number:
        y, pullback = tg.vjp(f, x)
        return pullback(tg.ones_like(y))[0]

    return derivative


def by_jacobian(f: Callable[[Number], Number]) -> Callable[[Number], Number]:
    return tg.jacobian(f, mode="forward")


WAYS: dict[str, Derivative] = {
    "grad": by_grad, "jvp": by_jvp, "vjp": by_vjp, "jacobian": by_jacobian
}  # fmt: skip
PAIRS = list(itertools.product(WAYS, WAYS))
TRIPLES = list(itertools.product(("grad", "jvp", "vjp"), repeat=3))


# ------------------------------------------------------------------------------------ programs
def confusion(d: Derivative, e: Derivative, x: Number) -> Number:
    """d/dx [x · d/dy (x + y)] = 1."""
    return d(lambda x: x * e(lambda y: x + y)(tg.ones_like(x)))(x)


def product(d: Derivative, e: Derivative, x: Number) -> Number:
    """d/dx [x · d/dy (x·y)] = 2x."""
    return d(lambda x: x * e(lambda y: x * y)(tg.ones_like(x)))(x)


def at_the_same_point(d: Derivative, e: Derivative, x: Number) -> Number:
    """d/dx [x · d/dy (x·y²) at y = x] = 6x²."""
    return d(lambda x: x * e(lambda y: x * y * y)(x))(x)


def second(d: Derivative, e: Derivative, x: Number) -> Number:
    """d²/dx² sin x = −sin x."""
    return d(e(tg.sin))(x)


def second_through_a_closure(d: Derivative, e: Derivative, x: Number) -> Number:
    """d/dx [d/dy sin(x·y) at y = 1] = cos x − x·sin x."""
    return d(lambda x: e(lambda y: tg.sin(x * y))(tg.ones_like(x)))(x)


def constant_inside(d: Derivative, e: Derivative, x: Number) -> Number:
    """d/dx [x · d/dy (x²)] = 0: the inner function does not use y."""
    return d(lambda x: x * e(lambda y: x * x + y * 0)(x))(x)


def derivative_of_a_derivative_used_twice(d: Derivative, e: Derivative, x: Number) -> Number:
    """d/dx [(d/dy x·y)² + d/dy x·y²] at y = 3 = 2x + 6."""

    def f(x: Number) -> Number:
        three = tg.ones_like(x) * 3
        return e(lambda y: x * y)(three) ** 2 + e(lambda y: x * y * y)(three)

    return d(f)(x)


def curried(d: Derivative, e: Derivative, x: Number) -> Number:
    """The derivative of u ↦ (d/dx of f(x) + u) at 0 is 1 and leaves no mark on x."""

    def shift(u: Number) -> Callable[[Number], Number]:
        return lambda f: lambda x: f(x) + u * x

    return d(lambda u: e(shift(u)(lambda x: x * x))(x))(tg.zeros_like(x))


def escaping(d: Derivative, e: Derivative, x: Number) -> Number:
    """A function that a derivative has made is differentiated again outside of it."""
    slope = e(lambda y: y * y * y)
    return d(lambda x: slope(x) * x)(x)


def beside(d: Derivative, e: Derivative, x: Number) -> Number:
    """Two inner derivatives side by side: d/dx [(d/dy xy)·(d/dz x²z)] = 3x²."""
    return d(lambda x: e(lambda y: x * y)(x) * e(lambda z: x * x * z)(x))(x)


def through_branches(d: Derivative, e: Derivative, x: Number) -> Number:
    """where keeps levels apart: d/dx [x·d/dy where(y > 0, x·y, y)] = 2x."""
    return d(lambda x: x * e(lambda y: tg.where(y > 0, x * y, y))(tg.ones_like(x)))(x)


def through_indexing(d: Derivative, e: Derivative, x: Number) -> Number:
    """stack, slice, cat and sum: d/dx [x·d/dy Σ [x·y, y]²] at y = 1 = 6x² + 2."""

    def f(x: Number) -> Number:
        def g(y: Number) -> Number:
            both = tg.stack([x * y, y])
            return (tg.cat([both[1:], both[:1]]) ** 2).sum()

        return x * e(g)(tg.ones_like(x))

    return d(f)(x)


def through_products(d: Derivative, e: Derivative, x: Number) -> Number:
    """matmul: d/dx [d/dy (x·1)ᵀ(y·y·1)] at y = x with 1 of length 3 = 12x."""

    def f(x: Number) -> Number:
        ones = tg.ones(3, dtype=tg.float64)
        return e(lambda y: (x * ones) @ (y * y * ones))(x)

    return d(f)(x)


def detached(d: Derivative, e: Derivative, x: Number) -> Number:
    """detach is a constant to every level that runs outside of it: d/dx [x·d/dy (x̄·y)] = x."""
    return d(lambda x: x * e(lambda y: x.detach() * y)(tg.ones_like(x)))(x)


PROGRAMS: dict[Callable[..., Number], Callable[[float], float]] = {
    confusion: lambda x: 1,
    product: lambda x: 2 * x,
    at_the_same_point: lambda x: 6 * x * x,
    second: lambda x: -math.sin(x),
    second_through_a_closure: lambda x: math.cos(x) - x * math.sin(x),
    constant_inside: lambda x: 0,
    derivative_of_a_derivative_used_twice: lambda x: 2 * x + 6,
    curried: lambda x: 1,
    escaping: lambda x: 9 * x * x,
    beside: lambda x: 3 * x * x,
    through_branches: lambda x: 2 * x,
    through_indexing: lambda x: 6 * x * x + 2,
    through_products: lambda x: 12 * x,
    detached: lambda x: x,
}


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda p: p.__name__)
@pytest.mark.parametrize(("outer", "inner"), PAIRS)
def test_program(program: Any, outer: str, inner: str) -> None:
    for x in (1.0, 0.7):
        point = tg.tensor(x, dtype=tg.float64)
        got = program(WAYS[outer], WAYS[inner], point)
        assert float(got) == pytest.approx(PROGRAMS[program](x), rel=1e-13, abs=1e-13)
        assert not got.requires_grad and not point.requires_grad


@pytest.mark.parametrize("ways", TRIPLES, ids="-".join)
def test_three_levels(ways: tuple[str, str, str]) -> None:
    """d/dx x·d/dy y·d/dz (x·y·z²) at y = x, z = y: each level sees the other two."""
    d, e, f = (WAYS[w] for w in ways)

    def program(x: Number) -> Number:
        return d(lambda x: x * e(lambda y: y * f(lambda z: x * y * z * z)(y))(x))(x)

    # f: 2xy·z at z = y -> 2xy²; y times: 2xy³; e: 6xy² at y = x -> 6x³; x times: 6x⁴; d: 24x³
    assert float(program(tg.tensor(1.5, dtype=tg.float64))) == pytest.approx(24 * 1.5**3, rel=1e-13)


@pytest.mark.parametrize("ways", TRIPLES, ids="-".join)
@pytest.mark.parametrize(
    ("f", "third"),
    [
        (lambda x: tg.exp(x * 2), lambda x: 8 * math.exp(2 * x)),
        (tg.sin, lambda x: -math.cos(x)),
        (lambda x: x**5, lambda x: 60 * x * x),
        (lambda x: tg.log(x), lambda x: 2 / x**3),
        (lambda x: 1 / x, lambda x: -6 / x**4),
        (lambda x: tg.sqrt(x), lambda x: 3 / 8 * x**-2.5),
        (lambda x: tg.prod(tg.stack([x, x, x, x])), lambda x: 24 * x),
        (lambda x: tg.logsumexp(tg.stack([x, x * 0]), 0),
         lambda x: _sigmoid(x) * (1 - _sigmoid(x)) * (1 - 2 * _sigmoid(x))),
        (tg.softplus, lambda x: _sigmoid(x) * (1 - _sigmoid(x)) * (1 - 2 * _sigmoid(x))),
        (tg.tanh, lambda x: (6 * math.tanh(x) ** 2 - 2) * (1 - math.tanh(x) ** 2)),
    ],
)  # fmt: skip
def test_third_derivative(ways: tuple[str, str, str], f: Any, third: Any) -> None:
    g = f
    for way in ways:
        g = WAYS[way](g)
    x = 0.8
    assert float(g(tg.tensor(x, dtype=tg.float64))) == pytest.approx(third(x), rel=1e-12)


def _sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


@pytest.mark.parametrize("way", WAYS)
def test_backward_outside_a_transform(way: str) -> None:
    """A transform inside an ordinary graph: .backward() goes through what it gave."""
    x = tg.tensor(1.5, dtype=tg.float64, requires_grad=True)
    (x * WAYS[way](lambda y: x * y * y)(x)).backward()  # x·2x·x = 2x³
    assert float(x.grad) == pytest.approx(6 * 1.5**2, rel=1e-13)


@pytest.mark.parametrize("way", WAYS)
def test_transform_of_a_function_that_calls_backward(way: str) -> None:
    """Or it is refused: never a silent zero."""
    from tinygrad_rnn.errors import NotDifferentiable

    def f(x: Number) -> Number:
        y = x * 1
        leaf = y.detach().requires_grad_()
        (leaf**3).backward()
        return leaf.grad * y

    point = tg.tensor(2.0, dtype=tg.float64)
    try:
        got = float(WAYS[way](f)(point))
    except NotDifferentiable:
        return
    assert got == 12.0


def test_a_gradient_that_is_to_be_recorded_is_within_forward_mode_too() -> None:
    """∂²/∂v∂w of (v cos(wv))² + w²v at w = v = 1, of a w that collects gradients itself."""
    w = tg.tensor(1.0, tg.float64, requires_grad=True)

    def by_w(v: Number) -> Number:
        (g,) = tg.gradients((w * v).sin(), [w], create_graph=True)
        return tg.gradients(g * g + w * w * v, [w])[0]  # -v³ sin(2wv) + 2wv

    value, change = tg.jvp(by_w, (tg.tensor(1.0, tg.float64),), (tg.tensor(1.0, tg.float64),))
    assert float(value) == pytest.approx(2 - math.sin(2), rel=1e-14)
    assert float(change) == pytest.approx(2 - 3 * math.sin(2) - 2 * math.cos(2), rel=1e-14)


def test_a_hessian_product_within_no_grad_has_no_graph() -> None:
    w = tg.ones(3).requires_grad_()
    with tg.no_grad():
        (product,) = tg.hvp(lambda v: ((w * v).sin() ** 2).sum(), (tg.ones(3),), (tg.ones(3),))
    assert not product.requires_grad


def test_derivatives_of_what_depends_on_something_else_alone() -> None:
    """They are zero also where that has a graph of its own."""
    w, v = tg.ones(3).requires_grad_(), tg.ones(3)
    assert tg.hvp(lambda x: (w * w).sum(), (v,), (v,))[0].tolist() == [0, 0, 0]
    value, change = tg.jvp(lambda x: tg.vjp(lambda y: w * w, x)[0], (v,), (v,))
    assert (value.tolist(), change.tolist()) == ([1, 1, 1], [0, 0, 0])


def test_higher_orders_in_float32_stay_float32() -> None:
    f = tg.grad(tg.grad(lambda x: (tg.tanh(x) * x).sum()))
    with pytest.raises(tg.errors.AutodiffError, match="one number"):
        f(tg.ones(3))
    g = tg.grad(lambda x: tg.grad(lambda y: (tg.tanh(y) * y).sum())(x).sum())
    assert g(tg.ones(3)).dtype == np.float32
