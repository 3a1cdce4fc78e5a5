"""All parameters at once: clipping, one vector, and modules as functions of their parameters."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn import nn
from tinygrad_rnn.errors import ShapeError, StateDictError
from tinygrad_rnn.nn.utils import (
    functional_call,
    parameters_to_vector,
    vector_to_parameters,
)

INF, NAN = float("inf"), float("nan")


def with_gradients(*values: list[float]) -> list[tg.Tensor]:
    made = [tg.zeros(len(v), requires_grad=True) for v in values]
    for p, v in zip(made, values, strict=True):
        p.grad = tg.tensor(v)
    return made


def gradients(parameters: list[tg.Tensor]) -> list[float]:
    return [g for p in parameters if p.grad is not None for g in p.grad.tolist()]


def test_clipping_is_that_of_optim() -> None:
    assert nn.utils.clip_grad_norm_ is tg.optim.clip_grad_norm_
    assert nn.utils.clip_grad_value_ is tg.optim.clip_grad_value_


# ------------------------------------------------------------------------------------ one vector
def test_vector_and_back() -> None:
    net = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    held = list(net.parameters())
    vector = parameters_to_vector(net.parameters())
    assert vector.shape == (13,) and vector.requires_grad
    vector_to_parameters(vector * 2, net.parameters())
    assert all(a is b for a, b in zip(net.parameters(), held, strict=True))
    np.testing.assert_array_equal(
        parameters_to_vector(net.parameters()).detach().numpy(), 2 * vector.detach().numpy()
    )
    for size in (12, 14):
        with pytest.raises(ShapeError, match=r"\(13,\)"):
            vector_to_parameters(tg.zeros(size), net.parameters())
    with pytest.raises(ShapeError, match="none"):
        parameters_to_vector([])


# ------------------------------------------------------------------------- functions of parameters
def test_functional_call_is_the_module_with_other_parameters() -> None:
    net, other = nn.LSTM(2, 3, num_layers=2), nn.LSTM(2, 3, num_layers=2)
    x = tg.randn(4, 1, 2)
    before = [p.tolist() for p in net.parameters()]
    output, _ = functional_call(net, other.state_dict(), x)
    assert output.tolist() == other(x)[0].tolist()
    assert [p.tolist() for p in net.parameters()] == before
    output, _ = functional_call(net, {}, (x,), {"lengths": [3]})
    assert not output[3].detach().numpy().any()


def test_functional_call_gives_gradients_of_all_orders() -> None:
    net = nn.Linear(3, 1, bias=False).double()
    x = tg.randn(5, 3, dtype=tg.float64)

    def loss(held: dict[str, Any]) -> Any:
        return (functional_call(net, held, x) ** 2).sum()

    held = net.state_dict()
    assert tg.grad(loss)(held)["weight"].shape == (1, 3)
    direction = {"weight": tg.randn(1, 3, dtype=tg.float64)}
    product = tg.hvp(loss, (held,), (direction,))
    flat = product[0] if isinstance(product, tuple) else product
    expected = 2 * direction["weight"] @ x.T @ x
    np.testing.assert_allclose(flat["weight"].numpy(), expected.numpy(), rtol=1e-12)


def test_shared_parameters_are_replaced_wherever_they_are() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            self.embed = nn.Embedding(4, 3)
            self.out = nn.Linear(3, 4, bias=False)
            self.out.weight = self.embed.weight

        def forward(self, index: Any) -> Any:
            return self.out(self.embed(index))

    net = Tied()
    y = functional_call(net, {"embed.weight": tg.ones(4, 3)}, tg.tensor([1]))
    assert y.tolist() == [[3.0] * 4]
    assert net.out.weight is net.embed.weight


def test_functional_call_restores_after_an_error_and_refuses_strangers() -> None:
    net = nn.Linear(3, 1)
    weight = net.weight
    with pytest.raises(ShapeError, match="linear"):
        functional_call(net, {"weight": tg.ones(1, 3)}, tg.zeros(2, 2))
    assert net.weight is weight
    with pytest.raises(StateDictError, match="names among weight, bias expected, got wait"):
        functional_call(net, {"wait": tg.ones(1, 3)}, tg.zeros(2, 3))
    with pytest.raises(ShapeError, match=r"weight of shape \(1, 3\)"):
        functional_call(net, {"weight": tg.ones(3)}, tg.zeros(2, 3))
