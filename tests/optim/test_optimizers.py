"""Every optimiser against its paper: closed forms, and a reference without flat buffers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from optim_reference import (
    CASE_NAMES,
    CASES,
    GROUPS,
    Reference,
    give,
    gradients,
    grouped,
    host,
    start,
    tensors,
)

import tinygrad_rnn as tg
from tinygrad_rnn import optim

STEPS = 20
# What rounding may do in 20 steps to values near 1, where the steps are below 0.1: one unit a step.
TOLERANCE = {"float32": 20 * 2.0**-23, "float64": 1e-12}


@pytest.mark.parametrize("missing", [False, True], ids=["all", "missing"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("name", "options"), CASES, ids=CASE_NAMES)
def test_twenty_steps_equal_the_reference(
    name: str,
    options: dict[str, Any],
    dtype: str,
    missing: bool,
    device: str,
    rng: np.random.Generator,
) -> None:
    first = start(rng, dtype)
    params = tensors(first, device)
    optimizer = getattr(optim, name)(grouped(params), **options)
    own = [options, {**options, "lr": 0.02, "weight_decay": 0.2}]
    references = [
        Reference(name, value, o)
        for part, o in zip(GROUPS, own, strict=True)
        for value in first[part]
    ]
    for found in gradients(rng, dtype, STEPS, missing):
        give(params, found)
        optimizer.step()
        for reference, g in zip(references, found, strict=True):
            if g is not None:
                reference.step(g)
    for param, reference in zip(params, references, strict=True):
        assert param.dtype == np.dtype(dtype)
        scale = TOLERANCE[dtype]
        np.testing.assert_allclose(host(param), reference.theta, rtol=scale, atol=scale)


# ------------------------------------------------------------------------------- closed forms
def descend(optimizer: Any, x: tg.Tensor, steps: int) -> float:
    """Minimise ½x² and return where it ends."""
    for _ in range(steps):
        optimizer.zero_grad()
        (x * x * 0.5).backward()
        optimizer.step()
    return float(x.detach())


def one(value: float = 1.0) -> tg.Tensor:
    return tg.tensor(np.float64(value), requires_grad=True)


def test_gradient_descent_on_a_parabola_is_a_geometric_sequence() -> None:
    x = one()
    assert descend(optim.SGD([x], lr=0.1), x, 30) == pytest.approx(0.9**30, rel=1e-13)


def test_momentum_on_a_parabola_follows_its_recurrence() -> None:
    x, rate, momentum = one(), 0.1, 0.5
    matrix = np.array([[1 + momentum - rate, -momentum], [1.0, 0.0]])  # of (xₜ, xₜ₋₁)
    expected = (np.linalg.matrix_power(matrix, 25) @ [1.0, 1.0])[0]
    assert descend(optim.SGD([x], rate, momentum), x, 25) == pytest.approx(expected, rel=1e-12)


def test_nesterov_on_a_parabola_follows_its_recurrence() -> None:
    x, rate, momentum = one(), 0.1, 0.5
    step = np.array([[1 - rate * (1 + momentum), -rate * momentum**2], [1.0, momentum]])
    expected = (np.linalg.matrix_power(step, 25) @ [1.0, 0.0])[0]  # (x, b) before each step
    found = descend(optim.SGD([x], rate, momentum, nesterov=True), x, 25)
    assert found == pytest.approx(expected, rel=1e-12)


def test_weight_decay_alone_shrinks_geometrically() -> None:
    x, y = one(), one()
    for optimizer in (
        optim.SGD([x], lr=0.1, weight_decay=0.5),
        optim.AdamW([y], lr=0.1, weight_decay=0.5),
    ):
        for _ in range(10):
            give([x, y], [np.float64(0.0)] * 2)
            optimizer.step()
    assert float(x.detach()) == pytest.approx(0.95**10, rel=1e-13)
    assert float(y.detach()) == pytest.approx(0.95**10, rel=1e-13)


@pytest.mark.parametrize("sign", [-1.0, 1.0])
@pytest.mark.parametrize("size", [1e-4, 1.0, 1e4])
def test_adam_moves_by_its_rate_under_a_constant_gradient(sign: float, size: float) -> None:
    x = one(0.0)
    optimizer = optim.Adam([x], lr=0.01, eps=0.0)
    for _ in range(50):
        x.grad = tg.tensor(np.float64(sign * size))
        optimizer.step()
    assert float(x.detach()) == pytest.approx(-sign * 0.5, rel=1e-11)


def test_adagrad_under_a_constant_gradient_sums_inverse_roots() -> None:
    x = one(0.0)
    optimizer = optim.Adagrad([x], lr=1.0, eps=0.0)
    for _ in range(40):
        x.grad = tg.tensor(np.float64(-7.0))
        optimizer.step()
    expected = sum(t**-0.5 for t in range(1, 41))
    assert float(x.detach()) == pytest.approx(expected, rel=1e-13)


def test_rmsprop_under_a_constant_gradient() -> None:
    x, alpha = one(0.0), 0.9
    optimizer = optim.RMSprop([x], lr=1.0, alpha=alpha, eps=0.0)
    for _ in range(15):
        x.grad = tg.tensor(np.float64(-3.0))
        optimizer.step()
    expected = sum((1 - alpha**t) ** -0.5 for t in range(1, 16))
    assert float(x.detach()) == pytest.approx(expected, rel=1e-13)


def test_centered_rmsprop_survives_a_variance_that_rounds_below_zero() -> None:
    x = tg.tensor(np.full(1000, 0.1) * np.arange(1000), requires_grad=True)
    optimizer = optim.RMSprop([x], lr=1e-3, alpha=0.5, centered=True, eps=1.0)
    for _ in range(200):  # the variance of a constant gradient tends to zero
        x.grad = tg.tensor(0.1 * np.arange(1000.0))
        optimizer.step()
    state = optimizer.state[x]
    variance = state["square_avg"].array - state["grad_avg"].array ** 2
    assert (variance < 0).any()
    assert np.isfinite(host(x)).all()


def test_adadelta_starts_with_steps_of_its_epsilon() -> None:
    x, eps, rho = one(0.0), 1e-6, 0.9
    optimizer = optim.Adadelta([x], rho=rho, eps=eps)
    x.grad = tg.tensor(np.float64(2.0))
    optimizer.step()
    expected = -np.sqrt(eps) / np.sqrt((1 - rho) * 4 + eps) * 2
    assert float(x.detach()) == pytest.approx(expected, rel=1e-13)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("SGD", {"lr": 0.05}),
        ("Adagrad", {"lr": 0.2}),
        ("RMSprop", {"lr": 0.05}),
        ("Adadelta", {"eps": 1e-4}),
        ("Adam", {"lr": 0.1}),
        ("AdamW", {"lr": 0.1}),
    ],
)
def test_least_squares_is_solved(
    name: str, options: dict[str, float], device: str, rng: np.random.Generator
) -> None:
    xs = tg.tensor(rng.standard_normal((64, 5)), device=device)
    truth = tg.tensor(rng.standard_normal(5), device=device)
    weight = tg.zeros(5, dtype=tg.float64, device=device, requires_grad=True)
    optimizer = getattr(optim, name)([weight], **options)
    losses = []
    for _ in range(200):
        optimizer.zero_grad()
        loss = ((xs @ weight - xs @ truth) ** 2).mean()
        loss.backward()
        losses.append(loss.item())
        optimizer.step()
    assert losses[-1] < 0.05 * losses[0]


def test_maximize_goes_up() -> None:
    x = one()
    assert descend(optim.SGD([x], lr=0.1, maximize=True), x, 5) == pytest.approx(1.1**5)


def test_float16_parameters_stay_float16(device: str) -> None:
    x = tg.tensor(np.ones(3, np.float16), device=device, requires_grad=True)
    optimizer = optim.Adam([x], lr=0.125, eps=1e-4)
    x.grad = tg.tensor(np.array([1, -1, 2], np.float16), device=device)
    optimizer.step()
    assert x.dtype == tg.float16
    np.testing.assert_allclose(host(x), [0.875, 1.125, 0.875], rtol=2e-3)


# ---------------------------------------------------------------------------------- the step
def test_step_returns_the_loss_of_its_closure_and_records_it() -> None:
    x = one(2.0)
    optimizer = optim.SGD([x], lr=0.25)

    def closure() -> tg.Tensor:
        optimizer.zero_grad()
        loss = x * x
        loss.backward()
        return loss

    with tg.no_grad():
        loss = optimizer.step(closure)
    assert loss.item() == 4.0
    assert float(x.detach()) == 1.0
    assert optimizer.step() is None


def test_gradients_are_left_as_they_were(device: str) -> None:
    x = tg.tensor([1.0, 2.0], device=device, requires_grad=True)
    optimizer = optim.Adam([x], weight_decay=0.1, maximize=True)
    x.backward(tg.tensor([3.0, 4.0], device=device))
    optimizer.step()
    assert x.grad is not None
    assert x.grad.tolist() == [3.0, 4.0]


def test_zero_grad_forgets_or_sets_to_zero(device: str) -> None:
    x, y = (tg.tensor([1.0, 2.0], device=device, requires_grad=True) for _ in range(2))
    optimizer = optim.SGD([x, y], lr=1.0, weight_decay=0.5)
    x.grad = kept = tg.tensor([3.0, 4.0], device=device)
    optimizer.zero_grad(set_to_none=False)
    assert kept.tolist() == [0.0, 0.0]
    assert x.grad is kept and y.grad is None
    optimizer.step()  # a zero gradient decays the weights, a missing one does not
    assert x.tolist() == [0.5, 1.0] and y.tolist() == [1.0, 2.0]
    optimizer.zero_grad()
    assert x.grad is None


def test_options_can_be_changed_between_steps() -> None:
    x = one()
    optimizer = optim.SGD([x], lr=0.5)
    descend(optimizer, x, 1)
    optimizer.param_groups[0]["lr"] = np.float32(0.25)
    assert descend(optimizer, x, 1) == 0.375


def test_momentum_turned_on_late_starts_with_the_gradient() -> None:
    x = one()
    optimizer = optim.SGD([x], lr=0.1, dampening=0.5)
    descend(optimizer, x, 2)
    optimizer.param_groups[0]["momentum"] = 0.9
    before = float(x.detach())
    assert descend(optimizer, x, 1) == pytest.approx(before * 0.9, rel=1e-15)
    assert optimizer.state[x]["step"] == 1


def test_parameters_that_stop_requiring_gradients_are_left_alone() -> None:
    x, y = one(), one()
    optimizer = optim.Adam([x, y])
    y.requires_grad_(False)
    descend(optimizer, x, 3)
    assert float(y) == 1.0
    assert y not in optimizer.state


def test_gradients_in_any_memory_layout(rng: np.random.Generator, device: str) -> None:
    value, g = rng.standard_normal((3, 4)), rng.standard_normal((4, 3))
    results = []
    for transposed in (False, True):
        x = tg.tensor(value, device=device, requires_grad=True)
        gradient = tg.tensor(g, device=device)
        gradient = gradient.T if transposed else tg.tensor(g.T.copy(), device=device)
        x.grad = gradient
        optim.Adam([x], lr=0.1).step()
        results.append(host(x))
    np.testing.assert_array_equal(*results)


def test_a_gradient_that_is_itself_recorded_is_used_by_value() -> None:
    x = one(3.0)
    optimizer = optim.SGD([x], lr=0.5)
    (x * x).backward(create_graph=True)
    optimizer.step()
    assert float(x.detach()) == 0.0
    assert x.is_leaf


class SignDescent(optim.Optimizer):
    """An optimiser is its `update`."""

    def update(self, run: Any, group: dict[str, Any]) -> None:
        run.descend(run.xp.sign(run.grad), group["lr"])


def test_an_optimiser_of_ones_own_is_one_method() -> None:
    x = tg.tensor([1.0, -1.0], requires_grad=True)
    optimizer = SignDescent([x], {"lr": 0.25, "maximize": False})
    x.backward(tg.tensor([7.0, -0.1]))
    optimizer.step()
    assert x.tolist() == [0.75, -0.75]
    assert repr(optimizer) == "SignDescent(1 tensors, lr=0.25, maximize=False)"


def test_the_base_class_does_not_know_an_equation() -> None:
    x = one()
    x.grad = tg.tensor(np.float64(1.0))
    with pytest.raises(NotImplementedError):
        optim.Optimizer([x], {"lr": 0.1, "maximize": False}).step()
