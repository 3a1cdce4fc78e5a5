"""grad, vjp, jvp, hvp, gnvp, jacobian, hessian and gradients against closed forms."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn.errors import (
    AutodiffError,
    DTypeError,
    ShapeError,
    UnusedInputError,
)
from tinygrad_rnn.testing import check_grads

RNG = np.random.default_rng(5)
M = RNG.standard_normal((4, 4))
X = RNG.standard_normal(4)
U = RNG.standard_normal(4)


def t(array: Any) -> tg.Tensor:
    return tg.tensor(np.asarray(array, dtype=np.float64))


def quadratic(x: Any) -> Any:
    return x @ t(M) @ x / 2 + (x**3).sum()


HESSIAN = (M + M.T) / 2 + np.diag(6 * X)


def close(a: Any, b: Any, rtol: float = 1e-13) -> None:
    np.testing.assert_allclose(a.detach().numpy(), b, rtol=rtol, atol=1e-14)


# ---------------------------------------------------------------------------------- closed forms
def test_lectures_circuit() -> None:
    """f = (x + y)·z at x = −2, y = 5, z = −4: q = 3, f = −12, ∂f = (−4, −4, 3)."""
    x, y, z = (tg.tensor(v, requires_grad=True) for v in (-2.0, 5.0, -4.0))
    q = x + y
    q.retain_grad()
    f = q * z
    f.backward()
    assert (float(q), float(f)) == (3.0, -12.0)
    assert [float(v.grad) for v in (x, y, z, q)] == [-4.0, -4.0, 3.0, -4.0]


@pytest.mark.parametrize("steps", range(1, 7))
def test_linear_recurrence_has_its_closed_form(steps: int) -> None:
    """h_t = W h_{t−1} + V x_t + b gives h_n = Wⁿ h_0 + Σ Wⁿ⁻ᵗ (V x_t + b), and so its gradients."""
    rng = np.random.default_rng(steps)
    w, v, b, h0 = (rng.standard_normal(s) for s in [(3, 3), (3, 2), (3,), (3,)])
    xs, g = rng.standard_normal((steps, 2)), rng.standard_normal(3)
    powers = [np.linalg.matrix_power(w, n) for n in range(steps + 1)]
    inputs = [v @ x + b for x in xs]
    states = [h0]
    for given in inputs:
        states.append(w @ states[-1] + given)
    wt, vt, bt, ht, xt = (t(a).requires_grad_() for a in (w, v, b, h0, xs))
    h = ht
    for x in xt:
        h = wt @ h + vt @ x + bt
    closed = powers[steps] @ h0 + sum(
        powers[steps - 1 - n] @ given for n, given in enumerate(inputs)
    )
    close(h, closed, 1e-12)
    h.backward(t(g))
    reach = [powers[steps - 1 - n].T @ g for n in range(steps)]  # ∂(g·h_n)/∂h_{t+1}
    close(ht.grad, powers[steps].T @ g, 1e-12)
    close(wt.grad, sum(np.outer(r, s) for r, s in zip(reach, states, strict=False)), 1e-12)
    close(vt.grad, sum(np.outer(r, x) for r, x in zip(reach, xs, strict=True)), 1e-12)
    close(bt.grad, sum(reach), 1e-12)
    close(xt.grad, np.stack([v.T @ r for r in reach]), 1e-12)


# ------------------------------------------------------------------------------------ transforms
def test_grad_hvp_and_hessian_of_a_cubic() -> None:
    close(tg.grad(quadratic)(t(X)), (M + M.T) @ X / 2 + 3 * X**2)
    close(tg.hessian(quadratic)(t(X)), HESSIAN)
    close(tg.hvp(quadratic, (t(X),), (t(U),))[0], HESSIAN @ U)


def test_hvp_of_several_arguments() -> None:
    """The Hessian of Σ x²y has blocks 2y, 2x and 0."""
    x, y, a, b = (t(RNG.standard_normal(3)) for _ in range(4))
    got = tg.hvp(lambda x, y: (x * x * y).sum(), (x, y), (a, b))
    close(got[0], (2 * y * a + 2 * x * b).numpy())
    close(got[1], (2 * x * a).numpy())


def test_hvp_agrees_in_every_mode() -> None:
    u = t(U)
    forward_over_reverse = tg.jvp(tg.grad(quadratic), (t(X),), (u,))[1]
    reverse_over_reverse = tg.grad(lambda x: (tg.grad(quadratic)(x) * u).sum())(t(X))
    reverse_over_forward = tg.grad(lambda x: tg.jvp(quadratic, (x,), (u,))[1])(t(X))
    for found in (forward_over_reverse, reverse_over_reverse, reverse_over_forward):
        close(found, HESSIAN @ U)


def test_gauss_newton_product() -> None:
    """Jᵀ H J v of a softmax model, against the matrices."""
    w, v, target = (t(RNG.standard_normal(s)) for s in [(3, 4), (3, 4), (3,)])

    def model(w: Any) -> Any:
        return tg.tanh(w @ t(X))

    def loss(z: Any) -> Any:
        return tg.logsumexp(z, 0) - (z * target).sum()

    jacobian = tg.jacobian(model)(w).numpy().reshape(3, 12)
    curvature = tg.hessian(loss)(model(w)).numpy()
    expected = jacobian.T @ curvature @ jacobian @ v.numpy().ravel()
    found = tg.gnvp(model, loss, (w,), (v,))[0]
    close(found, expected.reshape(3, 4), 1e-12)
    assert float((found * v).sum()) > 0
    product = tg.gauss_newton(model, loss, w)
    for scale in (1.0, -3.0):  # the graphs that stand serve for any number of products
        close(product(scale * v)[0], scale * expected.reshape(3, 4), 1e-12)


@pytest.mark.parametrize("mode", ["forward", "reverse"])
@pytest.mark.parametrize("shape", [(), (1,), (2, 3)])
def test_jacobian_has_the_shape_of_output_and_argument(mode: str, shape: tuple[int, ...]) -> None:
    x = t(RNG.standard_normal(shape))
    found = tg.jacobian(lambda x: tg.stack([x * x, x * 3]), mode=mode)(x)
    assert found.shape == (2, *shape, *shape)
    eye = np.eye(x.numel()).reshape((*shape, *shape))
    close(found, np.stack([2 * x.numpy() * eye, 3 * eye]))


@pytest.mark.parametrize("mode", ["forward", "reverse"])
def test_jacobian_of_another_argument_and_of_nothing(mode: str) -> None:
    found = tg.jacobian(lambda a, b: a * b, 1, mode)(t([2.0, 3.0]), t([1.0, 1.0]))
    close(found, np.diag([2.0, 3.0]))
    assert tg.jacobian(lambda x: x * 2, mode=mode)(t(np.zeros(0))).shape == (0, 0)


def test_jacobian_of_what_is_constant_is_zero() -> None:
    for mode in ("forward", "reverse"):
        found = tg.jacobian(lambda x: t([1.0, 2.0]), mode=mode)(t(X))
        assert found.shape == (2, 4) and not found.numpy().any()


def test_trees_in_and_out() -> None:
    tree = {"w": t([1.0, 2.0]), "b": [t(3.0), (t(4.0),)]}

    def fn(p: Any) -> Any:
        return (p["w"] * p["b"][0]).sum() + p["b"][1][0] ** 2

    found = tg.grad(fn)(tree)
    assert found["w"].tolist() == [3.0, 3.0]
    assert [float(found["b"][0]), float(found["b"][1][0])] == [3.0, 8.0]
    _, pullback = tg.vjp(lambda p: {"y": p["w"] * 2, "z": p["b"][0]}, tree)
    back = pullback({"y": t([1.0, 0.5]), "z": t(5.0)})[0]
    assert back["w"].tolist() == [2.0, 1.0] and float(back["b"][1][0]) == 0
    value, pushed = tg.jvp(lambda p: {"y": p["w"] * p["b"][0]}, (tree,), (tree,))
    assert value["y"].tolist() == [3.0, 6.0] and pushed["y"].tolist() == [6.0, 12.0]


def test_an_infinite_constant_beside_a_variable_has_tangent_zero() -> None:
    pushed = tg.jvp(lambda x: tg.cat([t([-np.inf]), x]), (t([1.0]),), (t([2.0]),))[1]
    assert pushed.tolist() == [0.0, 2.0]


def test_argnums_and_aux() -> None:
    def f(a: Any, b: Any, c: Any) -> Any:
        return (a * b).sum() * c, {"a": a}

    args = t([1.0, 2.0]), t([3.0, 4.0]), t(2.0)
    (da, dc), aux = tg.grad(f, (0, 2), has_aux=True)(*args)
    assert da.tolist() == [6.0, 8.0] and float(dc) == 11.0 and aux["a"].tolist() == [1.0, 2.0]
    (value, aux), db = tg.value_and_grad(f, 1, has_aux=True)(*args)
    assert float(value) == 22.0 and db.tolist() == [2.0, 4.0]
    assert tg.grad(lambda a, scale: (a * scale).sum())(args[0], scale=3.0).tolist() == [3.0, 3.0]


@pytest.mark.parametrize("mode", ["forward", "reverse"])
def test_argnums_count_from_the_end_too(mode: str) -> None:
    def f(a: Any, *rest: Any) -> Any:
        return a * rest[-1] * len(rest)

    found = tg.jacobian(f, -1, mode)(t([1.0, 2.0]), t([3.0, 4.0]), t([5.0, 6.0]))
    assert found.tolist() == [[2.0, 0.0], [0.0, 4.0]]
    second = tg.hessian(lambda a, b: (a * b * b).sum(), -1)(t([1.0, 2.0]), t([3.0, 4.0]))
    assert second.tolist() == [[2.0, 0.0], [0.0, 4.0]]
    assert tg.grad(lambda a, b: (a * b).sum(), [-1])(t([1.0]), t([3.0]))[0].tolist() == [1.0]


def test_changes_in_place_are_refused_in_forward_mode() -> None:
    def assigned(x: Any) -> Any:
        y = x * 2
        y[0] = 0.0
        return y

    def added(x: Any) -> Any:
        return (x * 2).add_(1)

    def into_a_constant(x: Any) -> Any:
        y = tg.zeros(2, dtype=tg.float64)
        y[:] = x
        return y

    for f in (assigned, added, into_a_constant):
        with pytest.raises(tg.errors.InPlaceError, match=r"tg\.where"):
            tg.jvp(f, (t([1.0, 2.0]),), (t([1.0, 1.0]),))
        with tg.no_grad(), pytest.raises(tg.errors.InPlaceError, match=r"tg\.where"):
            tg.jvp(f, (t([1.0, 2.0]),), (t([1.0, 1.0]),))


def test_transforms_leave_their_arguments_alone() -> None:
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    before = x.detach().clone()
    tg.grad(lambda x: (x * x).sum())(x)
    tg.jvp(lambda x: x * x, (x.detach(),), (x.detach(),))
    tg.vjp(lambda x: x * x, x)[1](tg.ones(2))
    tg.hessian(lambda x: (x * x).sum())(x)
    assert x.grad is None and x.is_leaf and x.detach().tolist() == before.tolist()


def test_vjp_can_be_pulled_many_times() -> None:
    _, pullback = tg.vjp(lambda x: tg.tanh(x) * x, t(X))
    first, second = pullback(t(U))[0], pullback(t(U))[0]
    np.testing.assert_array_equal(first.numpy(), second.numpy())
    assert not np.shares_memory(first.numpy(), second.numpy())


def test_the_pullback_of_a_pullback_is_the_pushforward() -> None:
    y, pullback = tg.vjp(lambda x: tg.tanh(x) * x, t(X))
    _, push = tg.vjp(pullback, tg.zeros_like(y))
    pushed = push((t(U),))[0]
    close(pushed, tg.jvp(lambda x: tg.tanh(x) * x, (t(X),), (t(U),))[1].numpy())


def test_gradients_are_those_of_torch_autograd_grad() -> None:
    x, y = t([1.0, 2.0]).requires_grad_(), t(3.0).requires_grad_()
    z = (x * y).sum()
    dx, dy = tg.gradients(z, [x, y], create_graph=True)
    assert dx.tolist() == [3.0, 3.0] and float(dy) == 3.0 and x.grad is None
    assert float(tg.gradients((dx * dx).sum(), y)) == 12.0
    assert tg.gradients(x * y, x, t([1.0, 10.0])).tolist() == [3.0, 30.0]


def test_gradient_of_an_intermediate_value() -> None:
    x = t(2.0).requires_grad_()
    y = x * x
    z = y * y + x
    assert float(tg.gradients(z, y, retain_graph=True)) == 8.0
    assert float(tg.gradients(z, x)) == 33.0


def test_gradients_of_several_outputs_add_up() -> None:
    x = t([1.0, 2.0]).requires_grad_()
    y = x * 2
    found = tg.gradients([y, x * x], [x], [t([1.0, 1.0]), t([1.0, 1.0])])
    assert found[0].tolist() == [4.0, 6.0]
    found = tg.gradients([x, x], [x], [t([1.0, 1.0]), t([5.0, 5.0])])
    assert found[0].tolist() == [6.0, 6.0]


def test_unused_input_is_an_error_or_none() -> None:
    x, y = (t(1.0).requires_grad_() for _ in range(2))
    with pytest.raises(UnusedInputError, match=r"input 1 of shape \(\)"):
        tg.gradients(x * 2, [x, y])
    found = tg.gradients(x * 2, {"x": x, "y": y}, allow_unused=True)
    assert float(found["x"]) == 2.0 and found["y"] is None


def test_functional_gradient_of_an_unused_argument_is_zero() -> None:
    found = tg.grad(lambda a, b: (a * a).sum(), 1)(t([1.0, 2.0]), t([3.0]))
    assert found.tolist() == [0.0]


def test_transform_inside_no_grad_still_differentiates() -> None:
    with tg.no_grad():
        found = tg.grad(lambda x: x * x)(t(3.0))
        _, pushed = tg.jvp(lambda x: x * x, (t(3.0),), (t(1.0),))
    assert float(found) == 6.0 and not found.requires_grad and float(pushed) == 6.0


def test_no_grad_inside_a_transform_is_a_constant() -> None:
    def f(x: Any) -> Any:
        with tg.no_grad():
            c = x * x
        return c * x

    assert float(tg.grad(f)(t(3.0))) == 9.0


def test_captured_tensors_keep_their_gradients() -> None:
    """What the function closes over is an input of the graph around it."""
    w = t(2.0).requires_grad_()
    found = tg.grad(lambda x: x * x * w)(t(3.0))
    found.backward()
    assert float(found) == 12.0 and float(w.grad) == 6.0


def test_second_derivatives_are_checked() -> None:
    check_grads(quadratic, (X,))
    check_grads(tg.grad(quadratic), (X,))


# -------------------------------------------------------------------------------------- refusals
@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: tg.grad(lambda x: x * 2)(t([1.0, 2.0])), AutodiffError, r"one number.*\(2,\)"),
        (lambda: tg.grad(lambda x: 3.0)(t(1.0)), AutodiffError, "one number.*float"),
        (lambda: tg.grad(lambda x: x * 1.0)(tg.tensor(3)), DTypeError, "int64"),
        (lambda: tg.jvp(lambda x: x, (t(1.0),), (t([1.0]),)), ShapeError, r"shape \(\).*\(1,\)"),
        (lambda: tg.jvp(lambda x: x, (t(1.0),), (tg.ones(()),)), DTypeError, "float64.*float32"),
        (lambda: tg.jvp(lambda x: x, (t(1.0),), (t(1.0), t(1.0))), ShapeError, "2 and 1"),
        (lambda: tg.jvp(lambda x: x, (tg.tensor(1),), (tg.tensor(1),)), DTypeError, "int64"),
        (lambda: tg.vjp(lambda x: x, t(1.0))[1](t([1.0])), ShapeError, r"\(1,\)"),
        (lambda: tg.vjp(lambda x: x, t(1.0))[1]((t(1.0), t(1.0))), ShapeError, "structured"),
        (lambda: tg.vjp(lambda x: x, t(1.0))[1](tg.ones(())), DTypeError, "float32"),
        (lambda: tg.gradients(t(1.0), t(1.0)), AutodiffError, "constant"),
        (lambda: tg.gradients(t(1.0).requires_grad_(), 3.0), AutodiffError, "float"),
        (lambda: tg.gradients(3.0, t(1.0).requires_grad_()), DTypeError, "float"),
        (lambda: tg.jacobian(lambda x: x, mode="sideways")(t(1.0)), ValueError, "sideways"),
        (lambda: tg.jacobian(lambda x: x)(tg.tensor([1, 2])), DTypeError, "int64"),
    ],
)
def test_bad_input_is_named(call: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words) as caught:
        call()
    assert isinstance(caught.value, tg.errors.TinygradRNNError)


# ----------------------------------------------------------------------- what comes with a gradient
def test_a_value_has_a_graph_only_where_the_caller_is_part_of_it() -> None:
    x = tg.tensor([1.0, 2.0])
    w = tg.tensor([3.0, 4.0], requires_grad=True)
    value, gradient = tg.value_and_grad(lambda x: (x * x).sum())(x)
    assert not value.requires_grad and not gradient.requires_grad
    out, pullback = tg.vjp(lambda x: x * x, x)
    assert not out.requires_grad and pullback(out)[0].tolist() == [2.0, 16.0]
    (value, aux), gradient = tg.value_and_grad(lambda x: ((x * x).sum(), w * x), has_aux=True)(x)
    assert not value.requires_grad and aux.requires_grad
    value, gradient = tg.value_and_grad(lambda x: (w * x * x).sum())(x)
    value.backward()
    assert w.grad is not None and w.grad.tolist() == [1.0, 4.0]
    outer = tg.grad(lambda y: tg.value_and_grad(lambda x: (x**3).sum())(y)[0])(x)
    assert outer.tolist() == [3.0, 12.0]
    with tg.no_grad():
        assert not tg.value_and_grad(lambda x: (w * x).sum())(x)[0].requires_grad
