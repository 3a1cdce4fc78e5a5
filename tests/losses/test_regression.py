"""Losses of real numbers: closed forms, derivatives and refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn.errors import ArgumentError, DTypeError, ShapeError
from tinygrad_rnn.losses import huber_loss, l1_loss, mse_loss, nmse_loss
from tinygrad_rnn.testing import check_grads

X, Y = [[0.0, 1.0], [-3.0, 2.5]], [[0.0, 3.0], [-2.5, 2.0]]  # errors 0, −2, −½, ½
CLOSED: list[tuple[Any, list[float]]] = [
    (mse_loss, [0.0, 4.0, 0.25, 0.25]),
    (l1_loss, [0.0, 2.0, 0.5, 0.5]),
    (huber_loss, [0.0, 1.5, 0.125, 0.125]),
    (lambda x, y, r="mean": huber_loss(x, y, r, delta=0.25), [0.0, 0.46875, 0.09375, 0.09375]),
]


@pytest.mark.parametrize(("loss", "each"), CLOSED, ids=["mse", "l1", "huber", "huber-0.25"])
def test_closed_forms(loss: Any, each: list[float]) -> None:
    x, y = tg.tensor(X), tg.tensor(Y)
    assert loss(x, y, "none").reshape(-1).tolist() == each
    assert loss(x, y, "sum").item() == sum(each)
    assert loss(x, y).item() == sum(each) / 4
    check_grads(loss, (tg.tensor(X) + 0.1, tg.tensor(Y)))


def test_huber_slopes_are_limited() -> None:
    x = tg.tensor([-100.0, -0.5, 0.0, 0.5, 100.0], requires_grad=True)
    huber_loss(x, tg.zeros(5), "sum", delta=2.0).backward()
    assert x.grad is not None and x.grad.tolist() == [-2.0, -0.5, 0.0, 0.5, 2.0]


def test_normalised_error() -> None:
    y = tg.tensor([1.0, 2.0, 6.0], dtype=tg.float64)
    assert nmse_loss(y, y).item() == 0.0
    assert nmse_loss(tg.full(3, 3.0).double(), y).item() == 1.0  # the mean of the target
    assert nmse_loss(tg.tensor([1.0, 2.0, 5.0]), y).item() == pytest.approx(1 / 14)
    check_grads(nmse_loss, (tg.randn(4), tg.randn(4)))


def test_normalised_error_needs_a_target_that_varies() -> None:
    with pytest.raises(ArgumentError, match="varies"):
        nmse_loss(tg.zeros(3), tg.ones(3))
    with pytest.raises(ShapeError, match="at least one element"):
        nmse_loss(tg.zeros(0), tg.zeros(0))


@pytest.mark.parametrize("loss", [mse_loss, l1_loss, huber_loss, nmse_loss])
def test_refusals(loss: Any) -> None:
    with pytest.raises(ShapeError, match=r"\(3, 1\) and \(3,\)\nhint: reshape"):
        loss(tg.zeros(3, 1), tg.zeros(3))
    with pytest.raises(ShapeError, match="one shape"):
        loss(tg.zeros(3), tg.zeros(2))
    with pytest.raises(DTypeError, match="int64"):
        loss(tg.zeros(3, dtype=tg.int64), tg.zeros(3))
    if loss is not nmse_loss:
        with pytest.raises(ArgumentError, match="reduction"):
            loss(tg.zeros(3), tg.zeros(3), "average")
        with pytest.raises(ShapeError, match="to take the mean of"):
            loss(tg.zeros(0), tg.zeros(0))
        assert loss(tg.zeros(0), tg.zeros(0), "sum").item() == 0.0


def test_huber_needs_a_positive_delta() -> None:
    for delta in (0.0, -1.0, float("nan")):
        with pytest.raises(ArgumentError, match="delta"):
            huber_loss(tg.zeros(2), tg.zeros(2), delta=delta)


def test_arrays_and_lists_will_do() -> None:
    assert mse_loss(np.zeros(2), [3.0, 1.0]).item() == 5.0


@pytest.mark.parametrize("loss", [mse_loss, l1_loss, huber_loss])
def test_the_mean_of_many_halves_does_not_overflow(loss: Any) -> None:
    x = tg.full((40_000,), 4.0, dtype=tg.float16, requires_grad=True)
    found = loss(x, tg.zeros(40_000, dtype=tg.float16))
    assert found.dtype == np.float16
    assert found.item() == loss(tg.tensor([4.0]), tg.zeros(1)).item()
    found.backward()
    assert bool((x.grad > 0).all())


def test_delta_may_be_of_numpy_and_infinite() -> None:
    x, y = tg.tensor(X), tg.tensor(Y)
    assert huber_loss(x, y, delta=np.float32(0.25)).item() == huber_loss(x, y, delta=0.25).item()
    assert huber_loss(x, y, delta=float("inf")).item() == mse_loss(x, y).item() / 2
