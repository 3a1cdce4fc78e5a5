"""Cells: against finite differences, in closed form, and with their gates held open or shut."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from module_checks import check_module, random

import tinygrad_rnn as tg
from tinygrad_rnn import nn
from tinygrad_rnn.errors import ShapeError

B, I, H = 2, 3, 4  # noqa: E741

CELLS = [
    lambda: nn.RNNCell(I, H),
    lambda: nn.RNNCell(I, H, nonlinearity="sigmoid", bias=False),
    lambda: nn.LSTMCell(I, H),
    lambda: nn.LSTMCell(I, H, proj_size=2, bias=False),
    lambda: nn.GRUCell(I, H),
]


def start(cell: Any) -> Any:
    return tg.tree.tree_map(lambda c: random(*c.shape), cell.initial_state(B))


@pytest.mark.parametrize("make", CELLS)
def test_derivatives(make: Any) -> None:
    cell = make()
    check_module(cell, start(cell), random(B, I), directions=1)


@pytest.mark.parametrize("make", CELLS)
def test_protocol(make: Any) -> None:
    cell = make()
    carry, y = cell(cell.initial_state(B), tg.zeros(B, I))
    assert y.shape == (B, cell.output_size)
    before, after = tg.tree.flatten(cell.initial_state(B)), tg.tree.flatten(carry)
    assert before[1] == after[1]
    assert [c.shape for c in before[0]] == [c.shape for c in after[0]]
    bound = 1 / np.sqrt(H)
    assert all(float(p.abs().max()) <= bound for p in cell.parameters())


def test_arguments_in_pytorchs_order_are_noticed() -> None:
    x, h = tg.zeros(B, I), tg.zeros(B, H)
    for cell, state, got in (
        (nn.GRUCell(I, H), h, r"\(2, 4\)"),
        (nn.LSTMCell(I, H), (h, h), "a tuple"),
        (nn.RNNCell(I, H), None, "a NoneType"),
    ):
        with pytest.raises(ShapeError, match=rf"x of shape \(B, 3\) expected, got {got}\nhint"):
            cell(x, state)


@pytest.mark.parametrize(
    ("name", "f"),
    [
        ("tanh", np.tanh),
        ("relu", lambda x: np.maximum(x, 0)),
        ("sigmoid", lambda x: 1 / (1 + np.exp(-x))),
    ],
)
def test_simple_recurrence_by_hand(name: str, f: Any) -> None:
    cell = nn.RNNCell(I, H, nonlinearity=name).double()
    h, x = start(cell), random(B, I)
    w, u, b, c = (p.detach().numpy() for p in cell.parameters())
    expected = f(x.numpy() @ w.T + b + h.numpy() @ u.T + c)
    np.testing.assert_allclose(cell(h, x)[1].detach().numpy(), expected, rtol=1e-12)


# ------------------------------------------------------------------------ gates at their extremes
def gated(**biases: float) -> nn.LSTMCell:
    """An LSTM cell whose gates i, f, g, o are where these biases put them, whatever comes."""
    cell = nn.LSTMCell(I, H).double()
    values = [biases[gate] for gate in "ifgo"]
    with tg.no_grad():
        for p in cell.parameters():
            p.zero_()
        assert cell.bias_ih is not None
        cell.bias_ih.copy_(tg.tensor(np.repeat(values, H)))
    return cell


SHUT, OPEN = -1e4, 1e4


def test_lstm_keeps_its_cell_exactly() -> None:
    cell = gated(i=SHUT, f=OPEN, g=0.3, o=OPEN)
    h, c = start(cell)
    for _ in range(100):
        (h, after), _ = cell((h, c), random(B, I))
        assert after.tolist() == c.tolist()
    np.testing.assert_array_equal(h.detach().numpy(), np.tanh(c.numpy()))


def test_lstm_resets_its_cell_exactly() -> None:
    cell = gated(i=OPEN, f=SHUT, g=0.3, o=OPEN)
    (_, c), _ = cell(start(cell), random(B, I))
    np.testing.assert_array_equal(c.detach().numpy(), np.full((B, H), np.tanh(0.3)))


def test_lstm_hides_its_cell_exactly() -> None:
    cell = gated(i=OPEN, f=OPEN, g=0.3, o=SHUT)
    (h, c), y = cell(start(cell), random(B, I))
    assert not h.detach().numpy().any() and not y.detach().numpy().any()
    assert c.detach().numpy().all()


def test_kept_cell_passes_its_gradient_on_undiminished() -> None:
    cell = gated(i=SHUT, f=OPEN, g=0.3, o=OPEN)
    c = random(B, H).requires_grad_()
    (_, final), _ = tg.scan(cell, (tg.zeros(B, H, dtype=tg.float64), c), random(50, B, I))
    final.sum().backward()
    assert c.grad is not None and c.grad.tolist() == [[1.0] * H] * B


def test_gru_keeps_or_replaces_its_state_exactly() -> None:
    cell = nn.GRUCell(I, H).double()
    assert cell.bias_ih is not None
    h = start(cell)
    with tg.no_grad():
        cell.bias_ih[H : 2 * H] = OPEN
    assert cell(h, random(B, I))[1].tolist() == h.tolist()
    with tg.no_grad():
        for p in cell.parameters():
            p.zero_()
        cell.bias_ih[H : 2 * H] = SHUT
        cell.bias_ih[2 * H :] = 0.3
    np.testing.assert_array_equal(
        cell(h, random(B, I))[1].detach().numpy(), np.full((B, H), np.tanh(0.3))
    )


def test_gru_resets_after_the_product() -> None:
    cell = nn.GRUCell(I, H).double()
    assert cell.bias_ih is not None and cell.bias_hh is not None
    with tg.no_grad():
        for p in cell.parameters():
            p.zero_()
        cell.bias_ih[:H] = SHUT  # reset: nothing of W_hh h + b_hh is left, not even b_hh
        cell.bias_ih[H : 2 * H] = SHUT
        cell.bias_hh[2 * H :] = 5.0
    assert not cell(start(cell), random(B, I))[1].detach().numpy().any()


def test_linear_recurrence_in_closed_form() -> None:
    """h_n = Wⁿh₀ + Σ W^{n−t}(V x_t + b), and its derivative with respect to h₀."""
    steps, w, v, b = 6, 0.7, -1.3, 0.2
    cell = nn.RNNCell(1, 1, nonlinearity="relu").double()
    with tg.no_grad():
        for p, value in zip(cell.parameters(), (v, w, b, 0.0), strict=True):
            p.fill_(value)
    xs, h0 = -tg.rand(steps, 1, 1, dtype=tg.float64), tg.ones(1, 1, dtype=tg.float64)
    h0.requires_grad_()
    final, _ = tg.scan(cell, h0, xs)  # all states are positive, so relu is the identity
    x = xs.numpy().ravel()
    expected = w**steps + sum(w ** (steps - t) * (v * x[t - 1] + b) for t in range(1, steps + 1))
    assert float(final) == pytest.approx(expected, rel=1e-13)
    final.backward()
    assert h0.grad is not None and float(h0.grad) == pytest.approx(w**steps, rel=1e-13)
    slope = sum(w ** (steps - t) for t in range(1, steps + 1))
    assert cell.bias_ih is not None and cell.bias_ih.grad is not None
    assert float(cell.bias_ih.grad) == pytest.approx(slope, rel=1e-13)
