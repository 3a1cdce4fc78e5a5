"""Primitives of a user's own in each of the three forms, right ones and wrong ones."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn.errors import DeviceError, GradientCheckError, NotDifferentiable, ShapeError
from tinygrad_rnn.graph import primitives
from tinygrad_rnn.ops.call import bind
from tinygrad_rnn.ops.declare import elementwise, general, linear, nondifferentiable
from tinygrad_rnn.testing import check_grads

X = np.linspace(-1, 2, 6).reshape(2, 3)
ROW = np.array([0.5, -1.5, 2.0])


@pytest.fixture(autouse=True)
def _registry_is_left_as_it_was() -> Iterator[None]:
    before = dict(primitives)
    yield
    primitives.clear()
    primitives.update(before)


def leaf(array: Any) -> tg.Tensor:
    return tg.tensor(np.asarray(array, dtype=np.float64), requires_grad=True)


# -------------------------------------------------------------------------------- the three forms
def test_elementwise_of_one_input_by_its_output() -> None:
    logistic = elementwise(
        "my_logistic", lambda xp: lambda x: 1 / (1 + xp.exp(-x)), lambda g, out: g * out * (1 - out)
    )
    check_grads(logistic, (X,))
    np.testing.assert_allclose(logistic(X), 1 / (1 + np.exp(-X)))
    assert logistic.primitive.name == logistic.__name__ == "my_logistic"


def test_elementwise_of_two_inputs_is_unbroadcast() -> None:
    hypot = elementwise(
        "my_hypot", lambda xp: xp.hypot,
        lambda g, out, x: g * x / out, lambda g, out, y: g * y / out,
    )  # fmt: skip
    check_grads(hypot, (X + 3, ROW))
    check_grads(hypot, (np.array(2.0), ROW))


def test_elementwise_of_three_inputs_and_with_a_parameter() -> None:
    fused = elementwise(
        "my_fma", lambda xp: lambda x, y, z: x * y + z,
        lambda g, y: g * y, lambda g, x: g * x, lambda g: g, inputs="x y z",
    )  # fmt: skip
    check_grads(fused, (X, ROW, np.array(2.0)))
    leaky = elementwise(
        "my_leaky", lambda xp: lambda x, slope: xp.where(x > 0, x, slope * x),
        lambda g, x, slope: tg.where(x > 0, g, g * slope), params=("slope",),
    )  # fmt: skip
    check_grads(lambda x: leaky(x, slope=0.1), (X + 0.01,))


def test_elementwise_input_without_derivative() -> None:
    step = elementwise("my_step", lambda xp: xp.heaviside, None, lambda g, x: g * (x == 0))
    x, y = leaf([0.0, 1.0]), leaf([0.5, 0.5])
    step(x, y).sum().backward()
    assert x.grad is None and y.grad.tolist() == [1.0, 0.0]


def test_linear_needs_no_jvp() -> None:
    primitive = linear("my_roll", lambda xp, x, by: xp.roll(x, by, -1), lambda g, by: roll(g, -by))

    def roll(x: Any, by: int) -> Any:
        return bind(primitive, (x,), {"by": by})

    check_grads(lambda x: roll(x * x, 1), (X,))


def test_linear_of_any_number_of_inputs() -> None:
    primitive = linear(
        "my_total", lambda xp, *xs: sum(xs[1:], xs[0]), lambda g, position, node: g, variadic=True
    )
    check_grads(lambda x, y: bind(primitive, [x * x, y, x], {}), (X, X[::-1].copy()))


def test_general_in_both_modes_and_in_one() -> None:
    def vjp(g: Any, x: Any) -> Any:
        return g * 3 * x * x

    both = general("my_cube", lambda xp, x: x**3, vjp, jvps=[vjp])
    check_grads(lambda x: bind(both, (x,)), (X,))
    one = general("my_cube_too", lambda xp, x: x**3, vjp)
    check_grads(lambda x: bind(one, (x,)), (X,), 2, ("reverse",))
    with pytest.raises(NotDifferentiable, match="my_cube_too"):
        tg.jvp(lambda x: bind(one, (x,)), (tg.ones(2),), (tg.ones(2),))


def test_nondifferentiable_is_a_constant() -> None:
    primitive = nondifferentiable("my_count", lambda xp, x: (x > 0).sum())
    x = leaf(X)
    assert not bind(primitive, (x,)).requires_grad
    (bind(primitive, (x,)) * x).sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), np.full((2, 3), (X > 0).sum()))


# ------------------------------------------------------------------------------------ wrong ones
def test_58_gradient_of_another_shape() -> None:
    wrong = linear("my_wrong", lambda xp, x: x * 1, lambda g: g.sum(0))
    x = leaf(X)
    with pytest.raises(ShapeError, match=r"backward: .*\(2, 3\) .*got \(3,\)\n.*check_grads"):
        bind(wrong, (x,)).sum().backward()
    assert x.grad is None
    with pytest.raises(ShapeError):
        tg.gradients(bind(wrong, (x,)).sum(), x)


def test_58_gradient_of_another_dtype_is_found_by_the_check() -> None:
    wrong = linear("my_narrow", lambda xp, x: x * 1, lambda g: g.astype("float32"))
    with pytest.raises(GradientCheckError, match="float32"):
        check_grads(lambda x: bind(wrong, (x,)), (X,), 1, ("reverse",))


def test_58_no_gradient_at_all() -> None:
    wrong = linear("my_nothing", lambda xp, x: x * 1, lambda g: None)
    x = leaf(X)
    with pytest.raises(DeviceError, match="NoneType"):
        bind(wrong, (x,)).sum().backward()
    assert x.grad is None


def test_59_rule_that_gives_back_the_cotangent_itself() -> None:
    """Another consumer of the same cotangent must not see what is added to it."""
    same = linear("my_same", lambda xp, x: x * 1, lambda g: g)
    x, y = leaf(X), leaf(X)
    a, b = bind(same, (x,)), bind(same, (y,))
    total = a + b
    (total + bind(same, (a,)) + bind(same, (a,))).backward(tg.tensor(np.ones((2, 3))))
    assert x.grad.tolist() == [[3.0] * 3] * 2 and y.grad.tolist() == [[1.0] * 3] * 2
