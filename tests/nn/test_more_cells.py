"""The cells beside RNN, LSTM and GRU: derivatives, a case by hand for each, all engines."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from module_checks import check_module, close, random

import tinygrad_rnn as tg
from tinygrad_rnn import nn
from tinygrad_rnn.errors import ArgumentError

T, B, I, H = 6, 2, 3, 4  # noqa: E741


def state_space(*sizes: int) -> nn.StateSpaceCell:
    return nn.StateSpaceCell(I, H, F=nn.MLP([I + H, *sizes, H]), G=nn.MLP([H, 3, 2]), outputs=2)


CELLS: dict[str, Any] = {
    "minimal gated": lambda: nn.MGUCell(I, H),
    "highway": lambda: nn.RHNCell(I, H, depth=3),
    "independent": lambda: nn.IndRNNCell(I, H, activation="tanh"),
    "multiplicative": lambda: nn.MultiplicativeLSTMCell(I, H),
    "oscillators": lambda: nn.CoupledOscillatorCell(I, H, dt=0.3),
    "echo state": lambda: nn.EchoStateCell(I, H, leak=0.3),
    "skip": lambda: nn.SkipRNNCell(I, H, skip=3),
    "Jordan": lambda: nn.JordanCell(I, H, outputs=2),
    "Jordan, decay": lambda: nn.JordanCell(I, H, outputs=2, decay=0.7),
    "state space": lambda: state_space(),
    "state space, deep": lambda: state_space(5, 5, 5),
}
each = pytest.mark.parametrize("make", CELLS.values(), ids=CELLS)


def start(cell: Any) -> Any:
    carry = tg.tree.tree_map(lambda c: 0.5 * random(*c.shape), cell.initial_state(B))
    return (carry[0], carry[1].abs() + 3.0) if isinstance(cell, nn.JordanCell) else carry


def named(cell: Any) -> dict[str, Any]:
    return {name: p.detach().numpy() for name, p in cell.state_dict().items()}


def sigma(v: Any) -> Any:
    return 1 / (1 + np.exp(-v))


def test_every_cell_is_here() -> None:
    elsewhere = {"Cell", "GatedCell", "RNNCell", "LSTMCell", "LSTMVariantCell", "GRUCell"}
    assert {type(make()).__name__ for make in CELLS.values()} | elsewhere == set(nn.cells.__all__)


@each
def test_derivatives_of_the_cell(make: Any) -> None:
    cell = make()
    check_module(cell, start(cell.double()), random(B, I), directions=1)


@each
def test_engines_agree_on_the_cell(make: Any) -> None:
    layer, xs = nn.Recurrent(lambda *sizes: make(), I, H), random(T, B, I).requires_grad_()
    layer.double()
    found = []
    for engine in ("loop", "numpy"):
        loss = layer(xs, lengths=[6, 3], engine=engine)[0].square().sum()
        found.append([loss, *tg.gradients(loss, [xs, *layer.parameters()])])
    for a, b in zip(*found, strict=True):
        close(a, b)


# -------------------------------------------------------------------------------- each by hand
def test_minimal_gated_unit_by_hand() -> None:
    cell = nn.MGUCell(I, H, bias=False).double()
    h, x, p = random(B, H).numpy(), random(B, I).numpy(), named(cell)
    (wf, wn), (uf, un) = (np.split(p[name], 2) for name in ("weight_ih", "weight_hh"))
    f = sigma(x @ wf.T + h @ uf.T)
    expected = (1 - f) * h + f * np.tanh(x @ wn.T + (f * h) @ un.T)
    close(cell(tg.tensor(h, dtype=tg.float64), tg.tensor(x, dtype=tg.float64))[1], expected)


def test_highway_keeps_with_its_transfer_shut_and_has_depth_micro_steps() -> None:
    cell, h = nn.RHNCell(I, H, depth=4, transfer_bias=-1e4).double(), random(B, H)
    assert cell(h, random(B, I))[1].tolist() == h.tolist()
    cell.transfer_bias = 1e4  # nothing is kept: four tanh layers, one after the other
    p, x = named(cell), random(B, I)
    s = x.numpy() @ p["weight_ih"][:H].T + p["bias_ih"][:H]
    s = np.tanh(s + h.numpy() @ p["weight_hh"][:H].T + p["bias_hh"][:H])
    for w, b in zip(p["weight_deep"], p["bias_deep"], strict=True):
        s = np.tanh(s @ w[:H].T + b[:H])
    close(cell(h, x)[1], s)


def test_independent_units_do_not_see_each_other() -> None:
    cell = nn.IndRNNCell(I, H).double()
    h, x = random(1, H), random(1, I) + 5
    jacobian = tg.jacobian(lambda h: cell(h, x)[1])(h).detach().numpy().reshape(H, H)
    off = jacobian * (1 - np.eye(H))
    assert not off.any()
    final, _ = tg.scan(lambda h, x: (h * cell.weight_hh, h), tg.ones(1, H, dtype=tg.float64), 9)
    close(final, cell.weight_hh.detach().numpy()[None] ** 9)


def test_multiplicative_lstm_is_an_lstm_that_sees_the_product() -> None:
    cell, plain = nn.MultiplicativeLSTMCell(I, H).double(), nn.LSTMCell(I, H).double()
    plain.load_state_dict(cell.state_dict(), strict=False)
    (h, c), x = start(cell), random(B, I)
    m = (x @ cell.weight_mx.swapaxes(0, 1)) * (h @ cell.weight_mh.swapaxes(0, 1))
    close(cell((h, c), x)[1], plain((m, c), x)[1])


def test_oscillators_left_alone_keep_their_energy_and_their_period() -> None:
    cell = nn.CoupledOscillatorCell(1, 1, bias=False, dt=0.01, gamma=4.0, epsilon=0.0).double()
    with tg.no_grad():
        for p in cell.parameters():
            p.zero_()
    begin = (tg.ones(1, 1, dtype=tg.float64), tg.zeros(1, 1, dtype=tg.float64))
    _, ys = tg.scan(cell, begin, tg.zeros(628, 1, 1, dtype=tg.float64))  # two periods, ω = 2
    times = 0.01 * np.arange(1, 629)
    close(ys.detach().numpy().ravel(), np.cos(2 * times), 0.02)


def test_echo_states_forget_where_they_started() -> None:
    cell = nn.EchoStateCell(1, 60, spectral_radius=0.8).double()
    radius = np.abs(np.linalg.eigvals(named(cell)["weight_hh"])).max()
    assert radius == pytest.approx(0.8, rel=1e-6)
    xs = random(200, 2, 1)
    ends = [tg.scan(cell, 3 * random(2, 60), xs)[0] for _ in range(2)]
    close(*ends, 1e-9)
    assert not list(cell.parameters()) and set(cell.state_dict()) == {
        "weight_ih", "weight_hh", "bias_ih",
    }  # fmt: skip


def test_readout_of_an_echo_state_network_recalls() -> None:
    reservoir, readout = nn.Recurrent(nn.EchoStateCell, 1, 80), nn.Linear(80, 1)
    xs = tg.rand(600, 1, 1) - 0.5
    states = reservoir(xs)[0]
    nn.least_squares_(readout, states[50:400], xs[47:397], ridge=1e-6)  # three steps ago
    errors = (readout(states[400:]) - xs[397:-3]).detach().numpy()
    assert np.square(errors).mean() < 1e-3 * np.square(xs.numpy()).mean()


# ---------------------------------------------------------------------------- memory and outputs
@pytest.mark.parametrize("decay", [None, 0.0, 0.7])
def test_jordans_memory_in_closed_form(decay: float | None) -> None:
    cell = nn.JordanCell(I, H, outputs=2, decay=decay).double()
    carry = (random(B, 2) * 0, random(B, 1) * 0)
    ys: list[Any] = []
    for x in random(7, B, I):
        carry, y = cell(carry, x)
        ys.append(y.detach().numpy())
        weights = [1 / len(ys) if decay is None else decay**k for k in range(len(ys))]
        close(carry[0], sum(w * y for w, y in zip(weights, reversed(ys), strict=True)))


def test_state_space_model_with_one_layer_is_a_simple_network() -> None:
    inner = nn.Linear(H + I, H)
    cell, rnn = nn.StateSpaceCell(I, H, F=nn.Sequential(inner, nn.Tanh())), nn.RNNCell(I, H)
    with tg.no_grad():
        rnn.weight_hh.copy_(inner.weight[:, :H])
        rnn.weight_ih.copy_(inner.weight[:, H:])
        rnn.bias_ih.copy_(inner.bias)  # type: ignore[union-attr, arg-type]
        rnn.bias_hh.zero_()  # type: ignore[union-attr]
    h, x = tg.randn(B, H), tg.randn(B, I)
    close(cell(h, x)[1], rnn(h, x)[1], 1e-6)


# ---------------------------------------------------------------------------------------- skips
def profile(run: Any, steps: int) -> Any:
    """log₁₀ ‖∂L/∂x_t‖ for a loss at the last step."""
    xs = random(steps, B, I).requires_grad_()
    run(xs)[0][-1].square().sum().backward()
    return np.log10(np.linalg.norm(xs.grad.numpy().reshape(steps, -1), axis=1))


def test_skips_through_time_flatten_the_gradient() -> None:
    steps = 60
    skipping = nn.Recurrent(nn.SkipRNNCell, I, H, skip=5, dtype=tg.float64)
    plain = nn.RNN(I, H, dtype=tg.float64)
    plain.load_state_dict(skipping.state_dict(), strict=False)
    falls = [p[-1] - p[:10].mean() for p in (profile(skipping, steps), profile(plain, steps))]
    assert falls[0] < 4 < 12 < falls[1]


def test_skip_of_one_step_adds_the_last_state() -> None:
    cell, plain = nn.SkipRNNCell(I, H, skip=1, skip_scale=0.5).double(), nn.RNNCell(I, H).double()
    plain.load_state_dict(cell.state_dict(), strict=False)
    h, x = random(B, H), random(B, I)
    close(cell(h, x)[1], plain(h, x)[1] + 0.5 * h)


def test_skips_through_layers_flatten_the_gradient() -> None:
    layers = [nn.RNN(I if k == 0 else H, H, dtype=tg.float64) for k in range(20)]

    def chain(xs: Any) -> Any:
        for layer in layers:
            xs, _ = layer(xs)
        return xs, None

    norms = []
    for run in (nn.ResidualRecurrent(layers), chain):
        for layer in layers:
            layer.zero_grad()
        run(random(T, B, I))[0].square().sum().backward()
        norms.append([float(layer.weight_hh_l0.grad.norm()) for layer in layers])
    falls = [np.log10(n[-1] / n[1]) for n in norms]
    assert abs(falls[0]) < 1 < 3 < falls[1]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: nn.RHNCell(I, H, depth=0), "depth, a whole number >= 1"),
        (lambda: nn.IndRNNCell(I, H, activation="rleu"), "'rleu'"),
        (lambda: nn.CoupledOscillatorCell(I, H, dt=0.0), "dt > 0 expected, got 0.0"),
        (lambda: nn.EchoStateCell(I, H, leak=0.0), "0 < leak <= 1"),
        (lambda: nn.SkipRNNCell(I, H, skip=0), "skip, a whole number >= 1"),
        (lambda: nn.JordanCell(I, H, decay=1.0), "decay, a number >= 0 and < 1, expected, got 1.0"),
    ],
)
def test_cells_that_cannot_be(make: Any, words: str) -> None:
    with pytest.raises(ArgumentError, match=words):
        make()
