"""`x += y` and its like: when they change the tensor, and when only the name."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import pytest

import tinygrad_rnn as tg
from tinygrad_rnn import nn
from tinygrad_rnn.errors import InPlaceError

OPERATORS = {
    operator.iadd: [5.0, 6.0],
    operator.isub: [-1.0, -2.0],
    operator.imul: [6.0, 8.0],
    operator.itruediv: [2 / 3, 0.5],
}


@pytest.mark.parametrize("change", OPERATORS)
def test_a_leaf_in_no_grad_is_changed_itself(change: Callable[[Any, Any], Any]) -> None:
    leaf = tg.tensor([2.0, 2.0], requires_grad=True)
    with tg.no_grad():
        result = change(leaf, tg.tensor([3.0, 4.0]))
    assert result is leaf
    assert leaf.requires_grad
    assert leaf.tolist() == pytest.approx(OPERATORS[change])


def test_gradient_descent_by_hand_reaches_the_parameters() -> None:
    layer = nn.Linear(2, 1, bias=False)
    with tg.no_grad():
        layer.weight.copy_([[1.0, 2.0]])
    layer(tg.tensor([3.0, 4.0])).sum().backward()
    with tg.no_grad():
        for p in layer.parameters():
            p -= 0.5 * p.grad
    assert layer.weight.tolist() == [[-0.5, 0.0]]


def test_a_saved_leaf_changed_by_an_operator_is_noticed() -> None:
    leaf = tg.tensor([2.0], requires_grad=True)
    square = leaf * leaf
    with tg.no_grad():
        leaf += 1
    with pytest.raises(InPlaceError, match="changed in place since"):
        square.backward()


def test_elsewhere_the_name_gets_a_new_tensor() -> None:
    constant, leaf = tg.tensor([1.0]), tg.tensor([2.0], requires_grad=True)
    total, result = constant, leaf * 1
    kept = result
    total += leaf
    result *= leaf
    (total + result).backward()
    assert (constant.tolist(), kept.tolist()) == ([1.0], [2.0])
    assert leaf.grad is not None
    assert leaf.grad.tolist() == [5.0]


def test_a_step_may_use_them_on_every_engine() -> None:
    def step(h: Any, x: Any) -> Any:
        h += x
        h *= 0.5
        return h, h

    init, xs = tg.tensor([1.0, 1.0]), tg.ones(3, 2)
    for engine in ("loop", "numpy"):
        final, _ = tg.scan(step, init, xs, engine=engine)
        assert final.tolist() == [1.0, 1.0]
        assert init.tolist() == [1.0, 1.0]
    assert tg.grad(lambda x: step(x, x)[0].sum())(tg.tensor([3.0])).tolist() == [1.0]


def test_a_parameter_refuses_while_gradients_are_recorded() -> None:
    weight = nn.Parameter(tg.tensor([1.0, 2.0]))
    with pytest.raises(InPlaceError, match="no_grad"):
        weight += 1
    assert weight.tolist() == [1.0, 2.0]


def test_what_does_not_fit_is_refused_and_changes_nothing() -> None:
    leaf = tg.tensor([1.0, 2.0], requires_grad=True)
    with tg.no_grad(), pytest.raises(ValueError, match="broadcasts to"):
        leaf -= tg.ones(3)
    assert leaf.tolist() == [1.0, 2.0]
