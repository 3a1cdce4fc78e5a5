"""All parameters at once: clipping, one vector, and modules as functions of their parameters."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn import nn
from tinygrad_rnn.errors import ArgumentError, ShapeError, StateDictError
from tinygrad_rnn.nn.utils import (
    clip_grad_norm_,
    clip_grad_value_,
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


# ------------------------------------------------------------------------------------- clipping
@pytest.mark.parametrize("limit", [0.1, 5.0, 13.0, 50.0])
def test_norm_afterwards_is_the_smaller_of_norm_and_limit(limit: float) -> None:
    ps = [*with_gradients([3.0, -4.0], [12.0]), tg.zeros(2, requires_grad=True)]
    before = gradients(ps)
    assert clip_grad_norm_(ps, limit) == pytest.approx(13.0)
    after = np.array(gradients(ps))
    assert np.linalg.norm(after) == pytest.approx(min(13.0, limit), rel=1e-6)
    np.testing.assert_allclose(after, np.array(before) * min(1, limit / 13), rtol=1e-6)
    if limit >= 13:
        assert gradients(ps) == before


@pytest.mark.parametrize(
    ("p", "norm"), [(1.0, 19.0), (3.0, (27 + 64 + 1728) ** (1 / 3)), (INF, 12)]
)
def test_other_norms(p: float, norm: float) -> None:
    ps = with_gradients([3.0, -4.0], [12.0])
    assert clip_grad_norm_(iter(ps), 1.0, p) == pytest.approx(norm, rel=1e-6)
    assert np.linalg.norm(gradients(ps), p) == pytest.approx(1.0, rel=1e-6)


def test_one_tensor_none_and_zero_gradients() -> None:
    (one,) = with_gradients([3.0, 4.0])
    assert clip_grad_norm_(one, 1.0) == pytest.approx(5.0)
    assert clip_grad_norm_([], 1.0) == 0.0
    assert clip_grad_norm_([tg.zeros(2, requires_grad=True)], 1.0) == 0.0
    zero = with_gradients([0.0, 0.0])
    assert clip_grad_norm_(zero, 1.0) == 0.0 and gradients(zero) == [0.0, 0.0]


def test_norm_that_float32_cannot_square() -> None:
    ps = with_gradients([3e30, 4e30])
    assert clip_grad_norm_(ps, 1.0) == pytest.approx(5e30, rel=1e-6)
    assert gradients(ps) == pytest.approx([0.6, 0.8], rel=1e-6)


def test_gradients_that_are_not_finite_are_reported_and_left() -> None:
    for bad in (INF, NAN):
        ps = with_gradients([bad, 1.0])
        with pytest.raises(ArgumentError, match="finite"):
            clip_grad_norm_(ps, 1.0, error_if_nonfinite=True)
        assert not math.isfinite(clip_grad_norm_(ps, 1.0))
        assert str(gradients(ps)) == str([bad, 1.0])


def test_clipping_by_value() -> None:
    ps = with_gradients([3.0, -4.0], [0.5])
    clip_grad_value_(ps, 1.0)
    assert gradients(ps) == [1.0, -1.0, 0.5]


@pytest.mark.parametrize("limit", [0.0, -1.0, NAN])
def test_limits_must_be_positive(limit: float) -> None:
    ps = with_gradients([3.0])
    for clip in (clip_grad_norm_, clip_grad_value_):
        with pytest.raises(ArgumentError, match="> 0"):
            clip(ps, limit)
    with pytest.raises(ArgumentError, match="norm_type"):
        clip_grad_norm_(ps, 1.0, limit)
    assert gradients(ps) == [3.0]


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
