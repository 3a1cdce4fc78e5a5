"""Compositions: values in closed form, derivatives, and what happens at the edges."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn import functional as F
from tinygrad_rnn.errors import ArgumentError, DTypeError, IndexRangeError, ShapeError
from tinygrad_rnn.testing import check_grads

INF, NAN = float("inf"), float("nan")
ACTIVATIONS: list[tuple[Any, Any]] = [
    (F.gelu, lambda x: x * 0.5 * (1 + math.erf(x / math.sqrt(2)))),
    (F.silu, lambda x: x / (1 + math.exp(-x))),
    (F.elu, lambda x: x if x > 0 else math.expm1(x)),
    (F.leaky_relu, lambda x: x if x > 0 else 0.01 * x),
    (F.hardtanh, lambda x: min(max(x, -1), 1)),
    (F.softsign, lambda x: x / (1 + abs(x))),
    (F.logsigmoid, lambda x: -math.log1p(math.exp(-x))),
]


def points(rng: np.random.Generator, *shape: int) -> tg.Tensor:
    """Away from 0 and ±1, where some of the functions have kinks."""
    return tg.tensor(rng.choice([-1.0, 1.0], shape) * rng.choice([0.4, 1.7], shape))


# ---------------------------------------------------------------------------------- activations
@pytest.mark.parametrize(("function", "closed"), ACTIVATIONS, ids=lambda f: f.__name__)
def test_activation(function: Any, closed: Any, rng: np.random.Generator) -> None:
    xs = rng.uniform(-3, 3, 50)
    expected = [closed(float(x)) for x in xs]
    np.testing.assert_allclose(function(tg.tensor(xs)).numpy(), expected, rtol=1e-14, atol=1e-15)
    check_grads(function, (points(rng, 4),))


def test_gelu_by_tanh(rng: np.random.Generator) -> None:
    xs = tg.tensor(rng.uniform(-4, 4, 200))
    gap = (F.gelu(xs, "tanh") - F.gelu(xs)).abs().max()
    assert 1e-5 < float(gap) < 5e-4
    check_grads(lambda x: F.gelu(x, "tanh"), (points(rng, 4),))
    with pytest.raises(ArgumentError, match="approximate"):
        F.gelu(xs, "sigmoid")


def test_options_of_activations() -> None:
    x = tg.tensor([-2.0, 3.0])
    assert F.leaky_relu(x, 0.5).tolist() == [-1.0, 3.0]
    assert F.hardtanh(x, -1.5, 2.0).tolist() == [-1.5, 2.0]
    assert float(F.elu(tg.tensor(-100.0), alpha=2.0)) == -2.0


def test_elu_does_not_overflow_where_it_is_not_used() -> None:
    x = tg.tensor([1e4, -1.0], requires_grad=True)
    F.elu(x).sum().backward()
    assert x.grad is not None and np.isfinite(x.grad.numpy()).all()


def test_elu_is_smooth_at_zero() -> None:
    x = tg.tensor([0.0, -0.0], requires_grad=True)
    F.elu(x).sum().backward()
    assert x.grad is not None and x.grad.tolist() == [1.0, 1.0]


# -------------------------------------------------------------------------------------- softmax
@pytest.mark.parametrize("dim", [0, 1, -1])
def test_softmax_and_its_logarithm(dim: int, rng: np.random.Generator) -> None:
    x = rng.standard_normal((3, 4))
    expected = np.exp(x) / np.exp(x).sum(dim, keepdims=True)
    np.testing.assert_allclose(F.softmax(tg.tensor(x), dim).numpy(), expected, rtol=1e-14)
    np.testing.assert_allclose(
        F.log_softmax(tg.tensor(x), dim).numpy(), np.log(expected), rtol=1e-13
    )
    check_grads(lambda v: F.softmax(v, dim), (tg.tensor(x),))
    check_grads(lambda v: F.log_softmax(v, dim), (tg.tensor(x),))


def test_softmax_is_exact_far_from_zero() -> None:
    x = tg.tensor([1e4, 1e4 - 1.0, -1e4])
    assert float(F.log_softmax(x)[0]) == pytest.approx(-math.log1p(math.exp(-1)), rel=1e-6)
    assert F.softmax(x).sum().item() == pytest.approx(1.0, rel=1e-6)
    big = tg.tensor([1e38, -1e38], requires_grad=True)
    F.log_softmax(big)[0].backward()
    assert big.grad is not None and big.grad.tolist() == [0.0, 0.0]


EDGES = [
    ([0.0, -INF], [1.0, 0.0]),
    ([INF, 0.0], [1.0, 0.0]),
    ([INF, INF], [0.5, 0.5]),
    ([INF, -INF], [1.0, 0.0]),
    ([-INF, -INF], [0.0, 0.0]),
]


@pytest.mark.parametrize(("row", "shares"), EDGES)
def test_softmax_at_infinity(row: list[float], shares: list[float]) -> None:
    x = tg.tensor([[1.0, 1.0], row], requires_grad=True)  # a row of numbers beside it is not hurt
    assert F.softmax(x).tolist() == [[0.5, 0.5], shares]
    logs = F.log_softmax(x)
    expected = np.array([-math.log(1 / share) if share else -INF for share in shares])
    np.testing.assert_allclose(logs.detach().numpy()[1], expected, rtol=1e-6)
    for function in (F.softmax, F.log_softmax):
        x.grad = None
        (function(x)[:, 0] * tg.tensor([2.0, 3.0])).sum().backward()
        assert x.grad is not None
        assert np.isfinite(x.grad.numpy()).all() and x.grad.numpy()[0].any()


def test_softmax_does_not_hide_nan() -> None:
    x = tg.tensor([[NAN, INF], [0.0, 0.0]])
    assert np.isnan(F.softmax(x).numpy()).tolist() == [[True, True], [False, False]]
    assert np.isnan(F.log_softmax(x).numpy()).tolist() == [[True, True], [False, False]]


def test_softmax_of_raw_arrays_is_raw() -> None:
    x = np.array([[0.0, 0.0], [INF, 0.0]])
    assert F.softmax(x).tolist() == [[0.5, 0.5], [1.0, 0.0]]
    assert type(F.log_softmax(x)) is np.ndarray


@pytest.mark.parametrize("function", [F.softmax, F.log_softmax])
def test_softmax_needs_an_axis(function: Any) -> None:
    for shape, dim in (((2, 0), 1), ((), 0), ((2,), 1)):
        with pytest.raises(ShapeError, match=function.__name__):
            function(tg.zeros(*shape), dim)


# -------------------------------------------------------------------------------------- dropout
def test_dropout_keeps_the_expectation_and_the_seed() -> None:
    x = tg.ones(200, 500)
    tg.manual_seed(3)
    y = F.dropout(x, 0.3)
    values = np.unique(y.numpy())
    np.testing.assert_allclose(values, [0.0, 1 / 0.7], rtol=1e-6)
    # 1e5 draws: the standard deviation of the mean is √(.3/.7/1e5) = .0021
    assert abs(float(y.mean()) - 1) < 4 * 0.0021
    tg.manual_seed(3)
    assert F.dropout(x, 0.3).tolist() == y.tolist()
    assert F.dropout(x, 0.3).tolist() != y.tolist()


def test_dropout_gradient_is_its_mask() -> None:
    x = tg.ones(50, requires_grad=True)
    y = F.dropout(x, 0.5)
    y.sum().backward()
    assert x.grad is not None and x.grad.tolist() == y.tolist()


def test_dropout_of_nothing_and_of_everything() -> None:
    x = tg.ones(4)
    assert F.dropout(x, 0.5, training=False) is x and F.dropout(x, 0.0) is x
    assert F.dropout(x, 1.0).tolist() == [0.0] * 4
    half = F.dropout(x.half(), 0.5)
    assert half.dtype == tg.float16
    for p in (-0.1, 1.1, NAN, "a"):
        with pytest.raises(ArgumentError, match="dropout"):
            F.dropout(x, p)  # type: ignore[arg-type]


# ------------------------------------------------------------------------------------- embedding
def test_embedding_is_one_hot_times_weight(rng: np.random.Generator) -> None:
    weight = tg.tensor(rng.standard_normal((5, 3)))
    index = tg.tensor([[0, 4, 4], [1, 0, 4]])
    expected = tg.one_hot(index, 5).double() @ weight
    np.testing.assert_array_equal(F.embedding(index, weight).numpy(), expected.numpy())
    check_grads(lambda w: F.embedding(index, w), (weight,))  # repeated rows add up


def test_embedding_of_padding_gets_no_gradient() -> None:
    weight = tg.ones(3, 2, requires_grad=True)
    F.embedding([1, 2, 1], weight, padding_idx=1).sum().backward()
    assert weight.grad is not None and weight.grad.tolist() == [[0, 0], [0, 0], [1, 1]]


def test_embedding_refuses() -> None:
    weight = tg.ones(3, 2)
    for bad in (3, -1):
        with pytest.raises(IndexRangeError, match=rf"0 … 2 expected, got {bad}"):
            F.embedding([0, bad], weight)
    with pytest.raises(DTypeError, match="float32"):
        F.embedding([0.0], weight)
    with pytest.raises(ShapeError, match=r"\(V, E\)"):
        F.embedding([0], weight[0])


# ------------------------------------------------------------------------------------ layer norm
def test_layer_norm(rng: np.random.Generator) -> None:
    x, w, b = (tg.tensor(rng.standard_normal(s)) for s in ((2, 3, 4), (3, 4), (3, 4)))
    y = F.layer_norm(x, (3, 4), w, b).numpy()
    a = x.numpy()
    mean, var = a.mean((1, 2), keepdims=True), a.var((1, 2), keepdims=True)
    expected = (a - mean) / np.sqrt(var + 1e-5) * w.numpy() + b.numpy()
    np.testing.assert_allclose(y, expected, rtol=1e-12, atol=1e-13)
    check_grads(lambda *args: F.layer_norm(args[0], (3, 4), *args[1:]), (x, w, b), directions=2)
    check_grads(lambda v: F.layer_norm(v, 4), (x,), directions=2)
    for wrong in ((2, 3), (), (5,)):
        with pytest.raises(ShapeError, match="layer_norm"):
            F.layer_norm(x, wrong)


def test_layer_norm_of_a_constant_row_is_finite() -> None:
    x = tg.full((2, 4), 7.0).requires_grad_()
    y = F.layer_norm(x, 4)
    (y * tg.tensor([1.0, 2.0, 3.0, 4.0])).sum().backward()
    assert y.tolist() == [[0.0] * 4] * 2
    assert x.grad is not None and np.isfinite(x.grad.numpy()).all()
