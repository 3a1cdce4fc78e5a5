"""L-BFGS, Hessian-free and Kalman training against closed forms, PyTorch and each other."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn.errors import ArgumentError, DTypeError, ShapeError, StateDictError, TrainingError
from tinygrad_rnn.optim import EKF, LBFGS, HessianFree, conjugate_gradient
from tinygrad_rnn.optim.line_search import Point, strong_wolfe

N = 6


def t(array: Any) -> tg.Tensor:
    return tg.tensor(np.asarray(array, dtype=np.float64))


def leaf(array: Any) -> tg.Tensor:
    return t(array).requires_grad_()


def positive_definite(rng: np.random.Generator, size: int = N) -> Any:
    q, _ = np.linalg.qr(rng.standard_normal((size, size)))
    return (q * np.linspace(1.0, 20.0, size)) @ q.T


def closure_of(
    optimizer: Any, loss: Callable[[], Any], count: list[int] | None = None
) -> Callable[[], Any]:
    def closure() -> Any:
        optimizer.zero_grad()
        value = loss()
        value.backward()
        if count is not None:
            count[0] += 1
        return value

    return closure


def rosenbrock(x: Any) -> Any:
    return (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()


# ----------------------------------------------------------------------------------- the search
def points_of(function: Any, slope: Any) -> Callable[[float], Point]:
    return lambda a: Point(a, float(function(a)), float(slope(a)))


@pytest.mark.parametrize("rate", [1e-3, 0.1, 1.0, 50.0])
@pytest.mark.parametrize(
    ("function", "slope"),
    [
        (lambda a: -a / (a * a + 2), lambda a: (a * a - 2) / (a * a + 2) ** 2),  # Moré, Thuente 1
        (lambda a: (a + 0.004) ** 5 - 2 * (a + 0.004) ** 4,
         lambda a: 5 * (a + 0.004) ** 4 - 8 * (a + 0.004) ** 3),  # their 2
        (lambda a: np.exp(min(a, 700.0)) - 3 * a, lambda a: np.exp(min(a, 700.0)) - 3),
    ],
)  # fmt: skip
def test_line_search_meets_the_strong_wolfe_conditions(
    function: Any, slope: Any, rate: float
) -> None:
    phi = points_of(function, slope)
    start = phi(0.0)
    found = strong_wolfe(phi, start, rate, c1=1e-3, c2=0.1)
    assert found.value <= start.value + 1e-3 * found.rate * start.slope
    assert abs(found.slope) <= 0.1 * abs(start.slope)


def test_line_search_comes_back_from_where_nothing_is_finite() -> None:
    wall = points_of(
        lambda a: (a - 1) ** 2 if a < 2 else np.nan, lambda a: 2 * (a - 1) if a < 2 else np.nan
    )
    assert strong_wolfe(wall, wall(0.0), 1e6, c2=0.1, evaluations=60).rate == pytest.approx(1, 0.1)


def test_conjugate_gradient_solves_in_n_iterations(rng: np.random.Generator) -> None:
    a, b = positive_definite(rng), rng.standard_normal(N)
    calls = [0]

    def product(v: Any) -> Any:
        calls[0] += 1
        return a @ v

    found = conjugate_gradient(product, b, np.zeros(N), iterations=N)
    np.testing.assert_allclose(found[-1], np.linalg.solve(a, b), rtol=1e-10)
    assert calls == [N + 1]
    exact = conjugate_gradient(  # with the matrix itself as preconditioner one iteration is enough
        lambda v: np.diag(a) * v, b, np.zeros(N), precondition=np.diag(a), iterations=1
    )
    np.testing.assert_allclose(exact[-1], b / np.diag(a), rtol=1e-12)


def test_conjugate_gradient_stops_where_nothing_is_gained(rng: np.random.Generator) -> None:
    # a long flat valley: far from solved after 40 iterations, but hardly anything to gain
    scale = np.concatenate([np.ones(5), np.logspace(2, 9, 200)])
    b = np.concatenate([np.ones(5), np.full(200, 1e-3)])
    found = conjugate_gradient(lambda v: scale * v, b, np.zeros(205), iterations=200)
    patient = conjugate_gradient(
        lambda v: scale * v, b, np.zeros(205), iterations=200, progress=0.0
    )
    assert len(found) < len(patient)


# --------------------------------------------------------------------------------------- L-BFGS
def test_lbfgs_ends_on_a_quadratic_in_n_steps(rng: np.random.Generator) -> None:
    """With an exact search it is the method of conjugate gradients (Nocedal, 1980)."""
    a, b = positive_definite(rng), rng.standard_normal(N)
    x = leaf(np.zeros(N))
    optimizer = LBFGS(
        [x], max_iter=N, max_eval=10_000, wolfe=(1e-12, 1e-9), tolerance_grad=0, tolerance_change=0
    )
    optimizer.step(closure_of(optimizer, lambda: x @ t(a) @ x / 2 - t(b) @ x))
    np.testing.assert_allclose(x.detach().numpy(), np.linalg.solve(a, b), rtol=1e-5)
    before = leaf(np.zeros(N))
    short = LBFGS(
        [before], max_iter=N - 2, max_eval=10_000, wolfe=(1e-12, 1e-9), tolerance_change=0
    )
    short.step(closure_of(short, lambda: before @ t(a) @ before / 2 - t(b) @ before))
    assert abs(before.detach().numpy() - x.detach().numpy()).max() > 1e-4  # and not in fewer


def test_lbfgs_goes_through_rosenbrocks_valley_in_parts() -> None:
    x, y = leaf([-1.2]), leaf([[1.0, -0.5], [0.3, 2.0]])
    optimizer = LBFGS([("x", x), ("y", y)], max_iter=200, tolerance_change=0)
    count = [0]
    loss = lambda: rosenbrock(tg.cat([x, y.reshape(-1)]))  # noqa: E731
    optimizer.step(closure_of(optimizer, loss, count))
    assert count[0] <= optimizer.group["max_eval"]
    np.testing.assert_allclose(np.append(x.detach().numpy(), y.detach().numpy()), 1.0, atol=1e-6)


def test_lbfgs_without_a_search_is_pytorchs() -> None:
    torch = pytest.importorskip("torch")
    start = [-1.2, 1.0, 0.4]
    mine, theirs = leaf(start), torch.tensor(start, dtype=torch.float64, requires_grad=True)
    options: Any = {"lr": 0.01, "max_iter": 8, "history_size": 3, "line_search_fn": None}
    first, second = LBFGS([mine], **options), torch.optim.LBFGS([theirs], **options)
    first.step(closure_of(first, lambda: rosenbrock(mine)))
    second.step(closure_of(second, lambda: rosenbrock(theirs)))
    np.testing.assert_allclose(mine.detach().numpy(), theirs.detach().numpy(), rtol=1e-10)


def test_lbfgs_leaves_alone_what_is_flat_or_not_finite() -> None:
    x = leaf([1.0, 2.0])
    for loss in (lambda: (x * 0).sum(), lambda: (x * np.inf).sum() * 0):
        optimizer = LBFGS([x])
        optimizer.step(closure_of(optimizer, loss))
        assert x.tolist() == [1.0, 2.0]


# --------------------------------------------------------------------------------- Hessian-free
def test_hessian_free_solves_least_squares_in_one_step(rng: np.random.Generator) -> None:
    xs, ys = rng.standard_normal((20, N)), rng.standard_normal(20)
    w = leaf(np.zeros(N))
    optimizer = HessianFree([("w", w)], damping=0.0, cg_progress=0.0)
    before = optimizer.step(
        lambda p: t(xs) @ p["w"], lambda out: ((out - t(ys)) ** 2).sum(),
    )  # fmt: skip
    np.testing.assert_allclose(w.detach().numpy(), np.linalg.lstsq(xs, ys)[0], rtol=1e-8)
    assert before == pytest.approx(float(ys @ ys))
    assert optimizer.report is not None
    assert optimizer.report.reduction_ratio == pytest.approx(1.0)


def test_damping_holds_a_step_back_as_ridge_regression_does(rng: np.random.Generator) -> None:
    xs, ys = rng.standard_normal((20, N)), rng.standard_normal(20)
    w = leaf(np.zeros(N))
    optimizer = HessianFree([w], damping=3.0, cg_progress=0.0)
    optimizer.step(lambda p: t(xs) @ p[0], lambda out: ((out - t(ys)) ** 2).sum() / 2)
    ridge = np.linalg.solve(xs.T @ xs + 3.0 * np.eye(N), xs.T @ ys)
    np.testing.assert_allclose(w.detach().numpy(), ridge, rtol=1e-8)
    assert optimizer.group["damping"] == pytest.approx(2.0)  # the quadratic was right: λ ← ⅔λ


def test_structural_damping_adds_the_curvature_of_the_states(rng: np.random.Generator) -> None:
    """Linear output and linear states: one step is (XᵀX + λI + λμ SᵀS)⁻¹ Xᵀy."""
    xs, ys, states = (rng.standard_normal(s) for s in [(20, N), (20,), (9, N)])
    w = leaf(np.zeros(N))
    optimizer = HessianFree([w], damping=2.0, structural_damping=0.5, cg_progress=0.0)
    optimizer.step(
        lambda p: (t(xs) @ p[0], t(states) @ p[0]), lambda out: ((out - t(ys)) ** 2).sum() / 2
    )
    matrix = xs.T @ xs + 2.0 * np.eye(N) + 1.0 * states.T @ states
    np.testing.assert_allclose(w.detach().numpy(), np.linalg.solve(matrix, xs.T @ ys), rtol=1e-8)


def test_a_step_that_would_not_descend_is_not_taken() -> None:
    x = leaf([0.0])
    optimizer = HessianFree([x], damping=1e-3)
    # the gradient promises what the function does not keep: a step of any length climbs
    optimizer.step(lambda p: p[0], lambda y: (y + 1e6 * tg.abs(y.detach())).sum())
    assert x.tolist() == [0.0]
    assert optimizer.group["damping"] == pytest.approx(1.5e-3)


def test_preconditioner_estimates_the_diagonal(rng: np.random.Generator) -> None:
    xs, ys = rng.standard_normal((3, N)), rng.standard_normal(3)
    w = leaf(np.zeros(N))
    tg.manual_seed(0)
    optimizer = HessianFree([w], probes=4000)
    optimizer.step(lambda p: t(xs) @ p[0], lambda out: ((out - t(ys)) ** 2).sum() / 2)
    np.testing.assert_allclose(optimizer._diagonal, (xs**2).T @ ys**2, rtol=0.1)


def recurrent(xs: Any) -> Callable[[Any], Any]:
    def model(p: Any) -> Any:
        def step(h: Any, x: Any) -> Any:
            h = tg.tanh(x @ p[0] + h @ p[1])
            return h, h

        _, states = tg.scan(step, tg.zeros(xs.shape[1], 4, dtype=tg.float64), xs)
        return states[-1] @ p[2], states

    return model


@pytest.mark.parametrize("structural", [0.0, 0.3])
def test_hessian_free_trains_a_recurrent_network(
    structural: float, rng: np.random.Generator
) -> None:
    """The last output is to be the first input: 8 steps through a network of 4 units."""
    tg.manual_seed(1)
    xs = t(rng.standard_normal((8, 40, 1)) * 0.5)
    params = [leaf(rng.standard_normal(s) * 0.5) for s in [(1, 4), (4, 4), (4, 1)]]
    optimizer = HessianFree(params, damping=0.1, structural_damping=structural)
    whole = recurrent(xs)
    model = whole if structural else lambda p: whole(p)[0]
    losses = [
        optimizer.step(model, lambda y: ((y - xs[0]) ** 2).mean()) for _ in range(15)
    ]  # fmt: skip
    assert all(b <= a for a, b in pairwise(losses))
    assert losses[-1] < 0.05 * losses[0]


# ---------------------------------------------------------------------------------------- Kalman
def test_kalman_training_is_recursive_least_squares(rng: np.random.Generator) -> None:
    xs, ys = rng.standard_normal((30, N)), rng.standard_normal(30)
    w = leaf(np.zeros(N))
    optimizer = EKF([w], measurement_noise=0.5, initial_covariance=10.0)
    weights, p = np.zeros(N), 10.0 * np.eye(N)
    for x, y in zip(xs, ys, strict=True):
        optimizer.step(lambda params, x=x: t(x) @ params[0], t(y))
        gain = p @ x / (0.5 + x @ p @ x)  # recursive least squares (Plackett, 1950)
        weights, p = weights + gain * (y - x @ weights), p - np.outer(gain, x @ p)
        np.testing.assert_allclose(w.detach().numpy(), weights, rtol=1e-9)
    ridge = np.linalg.solve(xs.T @ xs / 0.5 + np.eye(N) / 10.0, xs.T @ ys / 0.5)
    np.testing.assert_allclose(w.detach().numpy(), ridge, rtol=1e-8)


def test_outputs_may_come_together_or_one_by_one(rng: np.random.Generator) -> None:
    """On a linear model a batch says what its rows say one after another."""
    xs, ys = rng.standard_normal((5, N)), rng.standard_normal(5)
    together, apart = leaf(np.zeros(N)), leaf(np.zeros(N))
    EKF([together]).step(lambda p: t(xs) @ p[0], t(ys))
    optimizer = EKF([apart])
    for x, y in zip(xs, ys, strict=True):
        optimizer.step(lambda p, x=x: t(x) @ p[0], t(y))
    np.testing.assert_allclose(together.detach().numpy(), apart.detach().numpy(), rtol=1e-9)


def test_nodes_that_share_nothing_lose_nothing(rng: np.random.Generator) -> None:
    """Two linear outputs depend on weights of their own: decoupled filters equal the global one."""
    found = []
    for decoupling in ("global", "node"):
        local = np.random.default_rng(4)
        params = [leaf(np.zeros((2, 3))), leaf(np.zeros(2))]
        optimizer = EKF(params, decoupling=decoupling, process_noise=1e-3)
        for _ in range(10):
            x, y = local.standard_normal(3), local.standard_normal(2)
            optimizer.step(lambda p, x=x: p[0] @ t(x) + p[1], t(y))
        found.append(np.concatenate([p.detach().numpy().ravel() for p in params]))
        shapes = [p.shape for p in optimizer.remember().values()]
        assert shapes == ([(8, 8)] if decoupling == "global" else [(4, 4), (4, 4)])
    np.testing.assert_allclose(found[0], found[1], rtol=1e-9)


def test_layers_of_equal_width_are_told_apart_by_groups() -> None:
    layers = [[leaf(np.zeros((2, 3))), leaf(np.zeros(2))], [leaf(np.zeros((2, 2)))]]
    apart = EKF([{"params": layer} for layer in layers], decoupling="node")
    assert sorted(len(p) for p in apart.remember().values()) == [2, 2, 4, 4]


@pytest.mark.parametrize("decoupling", ["global", "node"])
def test_kalman_training_learns_a_recurrence(decoupling: str) -> None:
    rng = np.random.default_rng(3)
    xs = t(rng.standard_normal((6, 200, 1)) * 0.5)
    params = [leaf(rng.standard_normal(s) * 0.5) for s in [(1, 4), (4, 4), (4, 1)]]
    optimizer = EKF(params, decoupling=decoupling, measurement_noise=0.1, process_noise=1e-5)
    errors = []
    for i in range(0, 200, 5):
        now = xs[:, i : i + 5]
        errors.append(optimizer.step(lambda p, now=now: recurrent(now)(p)[0], now[-2]))
    assert np.mean(errors[-8:]) < 0.05 * np.mean(errors[:4])


# ---------------------------------------------------------------------------------------- resume
def makers() -> list[tuple[str, Callable[[Any], Any], Callable[[Any, Any], Any]]]:
    def quasi(optimizer: Any, x: Any) -> None:
        optimizer.step(closure_of(optimizer, lambda: rosenbrock(x)))

    def free(optimizer: Any, x: Any) -> None:
        optimizer.step(lambda p: p[0] ** 2, lambda y: ((y - 1) ** 2).sum())

    def kalman(optimizer: Any, x: Any) -> None:
        optimizer.step(lambda p: p[0] ** 2, [1.0, 2.0, 3.0])

    return [
        ("lbfgs", lambda x: LBFGS([x], max_iter=3), quasi),
        ("free", lambda x: HessianFree([x], cg_iterations=2), free),
        ("kalman", lambda x: EKF([x]), kalman),
        ("nodes", lambda x: EKF([x], decoupling="node"), kalman),
    ]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("name", "make", "advance"), makers(), ids=lambda v: str(v)[:6])
def test_a_run_goes_on_bit_for_bit(name: str, make: Any, advance: Any, dtype: Any) -> None:
    x = tg.tensor(np.array([0.5, 0.8, -0.6], dtype=dtype)).requires_grad_()
    optimizer = make(x)
    for _ in range(2):
        advance(optimizer, x)
    state, random, at = optimizer.state_dict(), tg.get_rng_state(), x.tolist()
    json.dumps(state["param_groups"])
    for _ in range(3):
        advance(optimizer, x)
    other = tg.tensor(np.array(at, dtype=dtype)).requires_grad_()
    resumed = make(other)
    resumed.load_state_dict(state)
    tg.set_rng_state(random)
    for _ in range(3):
        advance(resumed, other)
    assert other.tolist() == x.tolist()
    assert x.tolist() != at


def test_states_that_do_not_fit_are_refused() -> None:
    small, large = (EKF([leaf(np.zeros(n))]) for n in (2, 3))
    with pytest.raises(StateDictError, match=r"covariance_0.*\(3, 3\).*\(2, 2\)"):
        small.load_state_dict(large.state_dict())
    with pytest.raises(StateDictError, match="memory"):
        small.load_state_dict({"state": {}, "param_groups": []})
    quasi = LBFGS([leaf(np.zeros(2))])
    with pytest.raises(StateDictError, match="changes"):
        quasi.load_state_dict({**quasi.state_dict(), "memory": {"steps": t(np.ones((1, 2)))}})


# ------------------------------------------------------------------------------------- bad input
@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda x: HessianFree([x], damping=-1.0), "damping.*>= 0"),
        (lambda x: HessianFree([x], damping=float("nan")), "damping"),
        (lambda x: HessianFree([x], structural_damping=-0.1), "structural_damping"),
        (lambda x: HessianFree([x], cg_iterations=0), "cg_iterations"),
        (lambda x: HessianFree([x]).step(None, None), "a model and a loss"),
        (lambda x: HessianFree([x], structural_damping=1.0).step(
            lambda p: p[0], lambda y: y.sum()), "hidden states"),
        (lambda x: HessianFree([x]).step(lambda p: p[0], lambda y: y.sum() * np.nan), "finite"),
        (lambda x: EKF([x], measurement_noise=0.0), "measurement_noise > 0"),
        (lambda x: EKF([x], initial_covariance=-1.0), "initial_covariance"),
        (lambda x: EKF([x], process_noise=-1.0), "process_noise"),
        (lambda x: EKF([x], decoupling="layer"), "global, node"),
        (lambda x: LBFGS([x], line_search_fn="armijo"), "strong_wolfe"),
        (lambda x: LBFGS([x], wolfe=(0.9, 0.1)), "c₁ < c₂"),
        (lambda x: LBFGS([x], history_size=0), "history_size"),
        (lambda x: LBFGS([x], lr=0.0), "lr > 0"),
        (lambda x: LBFGS([x]).step(), "a closure"),
        (lambda x: LBFGS([x]).step(lambda: None), "a loss from the closure"),
        (lambda x: LBFGS([{"params": [x]}, {"params": [leaf([1.0])]}]), "one group"),
    ],
)  # fmt: skip
def test_bad_options_are_one_clear_error(call: Any, words: str) -> None:
    x = leaf([1.0, 2.0])
    with pytest.raises(ArgumentError, match=words):
        call(x)
    assert x.tolist() == [1.0, 2.0]


def test_bad_measurements_change_nothing() -> None:
    x = leaf([1.0, 2.0])
    optimizer = EKF([x])
    with pytest.raises(ShapeError, match=r"target of shape \(2,\)"):
        optimizer.step(lambda p: p[0], [1.0])
    with pytest.raises(TrainingError, match="finite"):
        optimizer.step(lambda p: p[0], [1.0, float("nan")])
    assert x.tolist() == [1.0, 2.0]
    assert optimizer.remember()["covariance_0"].tolist() == (100 * np.eye(2)).tolist()
    with pytest.raises(DTypeError, match="one dtype"):
        LBFGS([x, tg.tensor([1.0], requires_grad=True)])
