"""Truncated BPTT and RTRL against full BPTT and sums written out; diagnosis; the penalty Ω."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn.errors import ArgumentError, ShapeError
from tinygrad_rnn.recurrence import (
    RTRL,
    gradient_norms,
    log_slope,
    spectral_radius,
    step_jacobian,
    truncated_bptt,
    vanishing_gradient_penalty,
)

T, B, H = 7, 3, 4


def t(array: Any) -> tg.Tensor:
    return tg.tensor(np.asarray(array, dtype=np.float64))


def step(params: Any, carry: Any, x: Any) -> Any:
    h, c = carry
    c = 0.5 * c + tg.tanh(x @ params["V"] + h @ params["W"])
    h = tg.tanh(c)
    return (h, c), h @ params["U"]


def loss(y: Any, target: Any) -> Any:
    return ((y - target) ** 2).sum()


def problem(rng: np.random.Generator) -> tuple[Any, Any, Any, Any]:
    shapes = {"V": (2, H), "W": (H, H), "U": (H, 1)}
    params = {name: t(rng.standard_normal(shape)) for name, shape in shapes.items()}
    init = t(rng.standard_normal((B, H))), t(rng.standard_normal((B, H)))
    return params, init, t(rng.standard_normal((T, B, 2))), t(rng.standard_normal((T, B, 1)))


def unrolled(params: Any, init: Any, xs: Any, targets: Any, errors: Any, cut: Any) -> Any:
    """Gradient of the errors of some steps, the carry being detached before the steps in `cut`."""

    def total(params: Any) -> Any:
        carry, found = init, t(0.0)
        for time in range(T):
            if time in cut:
                carry = tuple(c.detach() for c in carry)
            carry, y = step(params, carry, xs[time])
            if time in errors:
                found = found + loss(y, targets[time])
        return found

    return tg.grad(total)(params)


def close(found: Any, expected: Any) -> None:
    for name in expected:
        np.testing.assert_allclose(found[name].numpy(), expected[name].numpy(), rtol=1e-10)


def summed(updates: Any) -> Any:
    listed = [u.gradient for u in updates]
    return {name: sum(g[name] for g in listed) for name in listed[0]}


@pytest.mark.parametrize(("k1", "k2"), [(T, T), (1, T), (3, T + 5), (2, T + 1)])
def test_truncation_beyond_the_start_is_full_bptt(k1: int, k2: int, rng: Any) -> None:
    data = problem(rng)
    updates = list(truncated_bptt(step, loss, *data, k1=k1, k2=k2))
    close(summed(updates), unrolled(*data, range(T), ()))
    assert updates[-1].time == T
    assert len(updates) == -(-T // k1)


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_every_error_goes_back_by_the_depth(depth: int, rng: Any) -> None:
    data = problem(rng)
    for time, update in enumerate(truncated_bptt(step, loss, *data, k1=1, k2=depth)):
        close(update.gradient, unrolled(*data, [time], [max(0, time - depth + 1)]))


def test_depth_one_is_elmans_rule(rng: Any) -> None:
    """The context is an input like any other: ∂h/∂W is (1 − h²)·context, no more."""
    w, x = 0.7, rng.standard_normal(5)
    simple = lambda w, h, x: (tg.tanh(w * h + x),) * 2  # noqa: E731
    updates = truncated_bptt(simple, lambda y, _: y, t(w), t(0.3), t(x), t(np.zeros(5)), k1=1, k2=1)
    h = 0.3
    for update, now in zip(updates, x, strict=True):
        context, h = h, np.tanh(w * h + now)
        assert float(update.gradient) == pytest.approx((1 - h * h) * context, rel=1e-12)


def test_chunks_with_carried_state_are_scans_truncation(rng: Any) -> None:
    params, init, xs, targets = problem(rng)

    def chunked(params: Any) -> Any:
        def one(carry: Any, pair: Any) -> Any:
            carry, y = step(params, carry, pair[0])
            return carry, loss(y, pair[1])

        return tg.scan(one, init, (xs, targets), truncate=3)[1].sum()

    found = summed(truncated_bptt(step, loss, params, init, xs, targets, k1=3, k2=3))
    close(found, tg.grad(chunked)(params))
    close(found, unrolled(params, init, xs, targets, range(T), (3, 6)))


def test_the_schedule_between(rng: Any) -> None:
    """k₁ = 2, k₂ = 5: at 2, 4, 6 and at the end, 7."""
    data = problem(rng)
    updates = list(truncated_bptt(step, loss, *data, k1=2, k2=5))
    for update, errors, start in zip(
        updates, [(0, 1), (2, 3), (4, 5), (6,)], (0, 0, 1, 3), strict=True
    ):
        close(update.gradient, unrolled(*data, errors, [start]))
    assert [u.time for u in updates] == [2, 4, 6, 7]


def test_average_divides_by_h_plus_one_terms(rng: Any) -> None:
    """An error that goes h steps back has h + 1 terms; at the start there are fewer."""
    data = problem(rng)
    plain = truncated_bptt(step, loss, *data, k1=1, k2=3)
    mean = truncated_bptt(step, loss, *data, k1=1, k2=3, average=True)
    for terms, one, other in zip((1, 2, 3, 3, 3, 3, 3), plain, mean, strict=True):
        close({name: terms * g for name, g in other.gradient.items()}, one.gradient)


def test_parameters_may_change_on_the_way(rng: Any) -> None:
    params, init, xs, targets = problem(rng)
    losses = []
    for _ in range(80):
        for update in truncated_bptt(step, loss, params, init, xs, targets, k1=2, k2=4):
            for name, gradient in update.gradient.items():
                params[name] -= 0.01 * gradient  # in place: the next window sees it
        losses.append(float(update.loss))
    assert losses[-1] < 0.5 * losses[0]


@pytest.mark.parametrize(
    ("options", "words"),
    [({"k1": 0, "k2": 1}, "k1"), ({"k1": 1, "k2": 1.5}, "k2"), ({"k1": 3, "k2": 2}, "k1 <= k2")],
)
def test_schedules_that_cannot_be_are_refused(options: Any, words: str, rng: Any) -> None:
    with pytest.raises(ArgumentError, match=words):
        next(truncated_bptt(step, loss, *problem(rng), **options))


# ------------------------------------------------------------------------------------------ RTRL
def test_rtrl_is_bptt_and_forward_mode_through_scan(rng: Any) -> None:
    params, init, xs, targets = problem(rng)
    learner = RTRL(step, loss, params, init)
    found = [learner.advance(x, target) for x, target in zip(xs, targets, strict=True)]
    for time, (_, gradient) in enumerate(found):
        close(gradient, unrolled(params, init, xs, targets, [time], ()))

    def whole(w: Any) -> Any:
        def one(carry: Any, pair: Any) -> Any:
            carry, y = step({**params, "W": w}, carry, pair[0])
            return carry, loss(y, pair[1])

        return tg.scan(one, init, (xs, targets))[1].sum()

    forward = tg.jacobian(whole, mode="forward")(params["W"])
    np.testing.assert_allclose(sum(g["W"] for _, g in found).numpy(), forward.numpy(), rtol=1e-10)
    assert float(sum(value for value, _ in found)) == pytest.approx(float(whole(params["W"])))
    assert learner.sensitivity.shape == (2 * B * H, 2 * H + H * H + H)


def test_rtrl_learns_online(rng: Any) -> None:
    """An echo of the input before last, learnt while it runs."""
    params = {n: t(rng.standard_normal(s) * 0.5) for n, s in
              {"V": (1, 4), "W": (4, 4), "U": (4, 1)}.items()}  # fmt: skip
    xs = rng.choice([-1.0, 1.0], size=(600, 1, 1))
    learner = RTRL(step, loss, params, (t(np.zeros((1, 4))), t(np.zeros((1, 4)))))
    errors = []
    for before, x in pairwise(xs):
        value, gradient = learner.advance(t(x), t(before))
        errors.append(float(value))
        for name, g in gradient.items():
            params[name] -= 0.05 * g
    assert np.mean(errors[-100:]) < 0.1 * np.mean(errors[:100])


# ------------------------------------------------------------------------------------- diagnosis
def test_norms_are_those_of_gradients_of_the_states(rng: Any) -> None:
    params, init, xs, _ = problem(rng)
    norms = gradient_norms(
        lambda c, x: step(params, c, x), lambda final, ys: (final[0] * ys[2:].sum()).sum(), init, xs
    )
    carry, carries, ys = init, [], []
    for time in range(T + 1):
        carry = tuple(c.detach().requires_grad_() if not time else c * 1 for c in carry)
        carries.append(carry)
        if time < T:
            carry, y = step(params, carry, xs[time])
            ys.append(y)
    total = (carries[T][0] * tg.stack(ys)[2:].sum()).sum()
    for norm, (h, c) in zip(norms, carries, strict=True):
        found = [g.numpy() for g in tg.gradients(total, (h, c), retain_graph=True,
                                                 allow_unused=True) if g is not None]  # fmt: skip
        assert norm == pytest.approx(np.sqrt(sum((g**2).sum() for g in found)), rel=1e-10)


@pytest.mark.parametrize("radius", [0.8, 1.0, 1.25])
def test_slope_of_a_linear_network_is_the_log_of_its_spectral_radius(
    radius: float, rng: Any
) -> None:
    w = tg.nn.init.spectral_radius_(t(rng.standard_normal((6, 6))), radius)
    linear = lambda h, x: (h @ w.T + x, h)  # noqa: E731
    norms = gradient_norms(
        linear, lambda h, _: (h**2).sum(), t(np.ones((1, 6))), t(np.zeros((400, 1, 6)))
    )
    jacobian = step_jacobian(linear, t(np.zeros((1, 6))), t(np.zeros((1, 6))))
    assert spectral_radius(jacobian) == pytest.approx(radius, rel=1e-9)
    assert log_slope(norms[:301]) == pytest.approx(np.log(radius), abs=2e-3)


def test_jacobian_of_a_step_with_two_parts_is_block_by_block(rng: Any) -> None:
    params, init, xs, _ = problem(rng)
    one = tuple(c[:1] for c in init)
    matrix = step_jacobian(lambda c, x: step(params, c, x), one, xs[0, :1])
    slope = (
        1
        - np.tanh(
            one[1].numpy() * 0.5
            + np.tanh(
                xs[0, :1].numpy() @ params["V"].numpy() + one[0].numpy() @ params["W"].numpy()
            )
        )
        ** 2
    )
    np.testing.assert_allclose(matrix[:H, H:], np.diag(0.5 * slope[0]), rtol=1e-12)  # ∂h'/∂c
    np.testing.assert_allclose(matrix[H:, H:], 0.5 * np.eye(H), rtol=1e-12)  # ∂c'/∂c


def test_bad_diagnoses_are_refused() -> None:
    with pytest.raises(ShapeError, match="square"):
        spectral_radius(np.ones((2, 3)))
    with pytest.raises(ArgumentError, match="two norms"):
        log_slope(np.array([0.0, 1.0, np.inf]))


# ------------------------------------------------------------------------------------- penalty Ω
def test_penalty_has_its_value_and_its_immediate_derivative(rng: Any) -> None:
    w, delta = rng.standard_normal((H, H)), rng.standard_normal((T, B, H))
    delta[:2, 1] = 0  # a row that no gradient reaches before step 2
    slopes = rng.uniform(0.1, 1.0, (T, B, H))

    def value(w: Any) -> float:
        total = 0.0
        for k in range(T - 1):
            for b in range(B):
                norm = np.linalg.norm(delta[k + 1, b])
                if norm:
                    ratio = np.linalg.norm(delta[k + 1, b] @ w * slopes[k, b]) / norm
                    total += (ratio - 1) ** 2 / B
        return total

    held = t(delta).requires_grad_(), t(slopes).requires_grad_()
    weight = t(w).requires_grad_()
    found = vanishing_gradient_penalty(weight, *held)
    assert found.item() == pytest.approx(value(w), rel=1e-12)
    found.backward()
    assert weight.grad is not None
    eps, numeric = 1e-6, np.zeros_like(w)
    for place in np.ndindex(*w.shape):
        shift = np.zeros_like(w)
        shift[place] = eps
        numeric[place] = (value(w + shift) - value(w - shift)) / (2 * eps)
    np.testing.assert_allclose(weight.grad.numpy(), numeric, rtol=1e-7, atol=1e-9)
    assert held[0].grad is None and held[1].grad is None


def test_an_orthogonal_linear_recurrence_has_no_penalty(rng: Any) -> None:
    q = np.linalg.qr(rng.standard_normal((H, H)))[0]
    delta = t(rng.standard_normal((T, B, H)))
    found = vanishing_gradient_penalty(t(q), delta, t(np.ones((T, B, H))))
    assert found.item() == pytest.approx(0.0, abs=1e-20)
    with pytest.raises(ShapeError, match="weight"):
        vanishing_gradient_penalty(t(q), delta, t(np.ones((T, B, 1))))
