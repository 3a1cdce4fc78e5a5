"""Whole networks, each held against what it is said to be."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from module_checks import check_module, close, gradients_of, random

import tinygrad_rnn as tg
from tinygrad_rnn import nn
from tinygrad_rnn.baselines import nmse
from tinygrad_rnn.data.tasks import nonlinear_plant
from tinygrad_rnn.errors import ArgumentError, ShapeError
from tinygrad_rnn.optim import LBFGS

T, B, I, H, O = 7, 3, 2, 4, 2  # noqa: E741
PAIRS = np.array(list(itertools.product([0.0, 1.0], repeat=2)))


# --------------------------------------------------------------------------------- threshold units
@pytest.mark.parametrize(
    ("weights", "threshold", "table"),
    [([1, 1], 2, [0, 0, 0, 1]), ([1, 1], 1, [0, 1, 1, 1]), ([-1, 0], 0, [1, 1, 0, 0])],
    ids=["and", "or", "not"],
)
def test_truth_tables(weights: list[float], threshold: float, table: list[float]) -> None:
    assert nn.McCullochPitts(weights, threshold)(tg.tensor(PAIRS)).tolist() == table


def test_one_unit_cannot_be_xor_and_three_can() -> None:
    x = tg.tensor(PAIRS)
    grid = [-2.0, -1.0, -0.5, 0.5, 1.0, 2.0]
    for a, b, threshold in itertools.product(grid, grid, [-1.5, -0.7, 0.0, 0.7, 1.5]):
        assert nn.McCullochPitts([a, b], threshold)(x).tolist() != [0, 1, 1, 0]
    either, both = nn.McCullochPitts([1, 1], 1)(x), nn.McCullochPitts([1, 1], 2)(x)
    xor = nn.McCullochPitts([1, -1], 1)(tg.stack([either, both], -1))
    assert xor.tolist() == [0, 1, 1, 0]
    mistakes = nn.Perceptron(2).fit(PAIRS, [-1, 1, 1, -1], epochs=50)
    assert len(mistakes) == 50 and all(mistakes)


@pytest.mark.parametrize("rate", [0.1, 1.0])
def test_perceptron_converges_within_novikoffs_bound(rng: Any, rate: float) -> None:
    direction = np.array([0.6, -0.8, 0.0])
    x = rng.normal(size=(200, 3))
    x = x[np.abs(x @ direction + 0.2) > 0.15]
    t = np.sign(x @ direction + 0.2)
    unit = nn.Perceptron(3).double()
    mistakes = unit.fit(tg.tensor(x, dtype=tg.float64), t, epochs=1000, learning_rate=rate)
    wide = np.column_stack([x, np.ones(len(x))])
    separator = np.append(direction, 0.2) / np.linalg.norm(np.append(direction, 0.2))
    bound = (np.linalg.norm(wide, axis=1).max() / (t * (wide @ separator)).min()) ** 2
    assert mistakes[-1] == 0 < sum(mistakes) <= bound
    assert unit(tg.tensor(x, dtype=tg.float64)).tolist() == t.tolist()


def test_perceptron_refuses_other_targets() -> None:
    with pytest.raises(ArgumentError, match="targets −1 or \\+1"):
        nn.Perceptron(2).fit(PAIRS, [0, 1, 1, 0])
    with pytest.raises(ShapeError, match=r"x \(N, I\) and t \(N,\)"):
        nn.Perceptron(2).fit(PAIRS, [1, 1])


# --------------------------------------------------------------------------------------- the MLP
def test_mlp_derivatives_and_sizes() -> None:
    check_module(nn.MLP([I, H, H, O], "sigmoid", "softplus"), random(B, I), directions=2)
    net = nn.MLP([3, 5, 6, 2])
    assert [net.hidden(tg.ones(1, 3), depth).shape[1] for depth in range(3)] == [3, 5, 6]
    with pytest.raises(ShapeError, match="an input and an output"):
        nn.MLP([3])


def test_shallow_mlp_learns_xor() -> None:
    net = nn.MLP([2, 4, 1]).double()
    x, t = tg.tensor(PAIRS, dtype=tg.float64), tg.tensor([0, 1, 1, 0], dtype=tg.float64)
    for _ in range(500):
        net.zero_grad()
        (net(x)[:, 0] - t).square().mean().backward()
        with tg.no_grad():
            for p in net.parameters():
                p.add_(-0.5 * p.grad)
    close(net(x)[:, 0], t, 0.05)


# ---------------------------------------------------------------------------------- delay lines
def test_tapped_delay_line_by_hand(rng: Any) -> None:
    xs = rng.normal(size=(5, 2, 3))
    lines = nn.tapped_delay_line(tg.tensor(xs, dtype=tg.float64), 3).numpy()
    for t, k in itertools.product(range(5), range(3)):
        expected = xs[t - k] if t >= k else np.zeros((2, 3))
        assert (lines[t, :, 3 * k : 3 * k + 3] == expected).all()


def test_dlnn_is_least_squares(rng: Any) -> None:
    series = np.cumsum(rng.normal(size=(80, 2)), 0)
    xs, ys = series[:-1, :, None], series[1:, :, None]
    net = nn.DLNN(1, taps=4).double()
    net.fit(tg.tensor(xs, dtype=tg.float64), tg.tensor(ys, dtype=tg.float64))
    rows = [[*series[t - 3 : t + 1, b][::-1], 1.0] for t in range(3, 79) for b in range(2)]
    goal = [series[t + 1, b] for t in range(3, 79) for b in range(2)]
    expected = np.linalg.lstsq(np.array(rows), np.array(goal), rcond=None)[0]
    close(net.linear.weight[0], expected[:4], 1e-9)
    close(net.linear.bias, expected[4:], 1e-9)
    errors = net(tg.tensor(xs, dtype=tg.float64))[3:] - tg.tensor(ys, dtype=tg.float64)[3:]
    slopes = tg.gradients(errors.square().sum(), list(net.parameters()))
    assert all(np.abs(g.numpy()).max() < 1e-6 for g in slopes)


def test_ridge_and_the_wrong_shapes(rng: Any) -> None:
    x, y = rng.normal(size=(9, 3)), rng.normal(size=(9, 2))
    layer = nn.least_squares_(nn.Linear(3, 2, bias=False, dtype=tg.float64), x, y, ridge=0.5)
    expected = np.linalg.solve(x.T @ x + 0.5 * np.eye(3), x.T @ y)
    close(layer.weight, expected.T)
    with pytest.raises(ArgumentError, match="ridge, a number >= 0 and finite, expected, got -1"):
        nn.least_squares_(layer, x, y, ridge=-1)
    with pytest.raises(ShapeError, match="rows of 3 inputs and 2 targets"):
        nn.least_squares_(layer, y, x)


def test_dmlp_is_an_mlp_on_each_window() -> None:
    net, xs = nn.DMLP(I, taps=3, hidden=[5], output_size=O).double(), random(T, B, I)
    ys = net(xs)
    for t in range(2, T):
        close(ys[t], net.mlp(tg.cat([xs[t], xs[t - 1], xs[t - 2]], -1)))


@pytest.mark.parametrize("network", [nn.DMLP(1, 3, [5]), nn.SimpleRNN(1, 5, 1)])
def test_direct_connections_lie_beside_the_network(network: nn.Module) -> None:
    net, xs, ys = nn.Direct(network, 1, taps=4).double(), random(T, B, 1), random(T, B, 1)
    alone = nn.DLNN(1, taps=4).double().fit(xs, ys)
    found = network(xs)
    found = found[0] if isinstance(found, tuple) else found
    close(net.fit(xs, ys)(xs) - found, alone(xs))


# ------------------------------------------------------------------------------------------ TDNN
PEDDINTI = [range(-2, 3), (-1, 2), (-3, 3), (-7, 2)]


def test_tdnn_is_a_window_mlp_with_shared_weights() -> None:
    net = nn.TDNN([(-1, 0, 1), (0, 2)], [I, 5, O], activation="tanh").double()
    xs = random(T, B, I)
    first, second = net.layers
    ys = net(xs)
    assert ys.shape == (T - 4, B, O) and net.receptive_field == 5
    for u in range(T - 4):
        window = xs[u : u + 5]
        z = [first(tg.cat([window[c], window[c + 1], window[c + 2]], -1)).tanh() for c in (0, 2)]
        close(ys[u], second(tg.cat(z, -1)))


def test_tdnn_layer_is_a_convolution_in_time() -> None:
    net, xs = nn.TDNN([range(-2, 3)], [I, O]).double(), random(12, B, I)
    weight = net.layers[0].weight.reshape(O, 5, I).permute(0, 2, 1)
    conv = tg.conv1d(xs.permute(1, 2, 0), weight, net.layers[0].bias)
    close(net(xs), conv.permute(2, 0, 1))


@pytest.mark.parametrize("every", [1, 2, 3, 30])
def test_subsampled_tdnn_gives_the_kept_frames_of_the_dense_one(every: int) -> None:
    net, xs = nn.TDNN(PEDDINTI, [I, H, H, H, O]).double(), random(50, B, I)
    assert net.receptive_field == 23
    dense, kept = net(xs), net(xs, every=every)
    assert dense.shape[0] == 50 - 22
    close(kept, dense[::every])
    for a, b in zip(*(gradients_of(lambda y=y: y, net) for y in (kept, dense[::every]))):
        close(a, b, 1e-10)


def test_subsampling_evaluates_fewer_frames() -> None:
    net = nn.TDNN(PEDDINTI, [I, H, H, H, O])
    counts = [sum(net.frames(322, every).evaluated) for every in (1, 3)]
    assert counts == [1242, 414]
    assert net.frames(23).evaluated == [7, 4, 2, 1]  # of 19, 18, 10 and 1 in between


def test_tdnn_that_cannot_be() -> None:
    with pytest.raises(ArgumentError, match="offsets that rise"):
        nn.TDNN([(1, -1)], [I, O])
    with pytest.raises(ShapeError, match="one size more"):
        nn.TDNN([(0, 1)], [I, H, O])
    with pytest.raises(ArgumentError, match="5 frames or more expected, got 4"):
        nn.TDNN([range(5)], [I, O])(tg.ones(4, B, I))


# --------------------------------------------------------------------------------------- WaveNet
def wavenet(**options: Any) -> nn.WaveNet:
    return nn.WaveNet(I, 4, O, skip=5, **{"dilations": [1, 2, 4, 1, 2], **options}).double()


def test_wavenet_is_causal_and_sees_its_receptive_field() -> None:
    net, xs = wavenet(), random(20, 1, I).requires_grad_()
    assert net.receptive_field == 11
    for t in (4, 14, 19):
        (slope,) = tg.gradients(net(xs)[t].sum(), [xs])
        seen = np.flatnonzero(np.abs(slope.numpy()).sum((1, 2)))
        assert seen.tolist() == list(range(max(0, t - 10), t + 1))


def test_wavenet_derivatives() -> None:
    net = wavenet(dilations=[1, 2])
    with tg.no_grad():  # away from the kinks of relu
        net.head.bias.add_(9.0)  # type: ignore[union-attr]
        for block in net.blocks:
            block.mix.bias[4:] = 9.0
    check_module(net, random(4, 1, I), directions=1)


@pytest.mark.parametrize("kernel", [1, 2, 3])
def test_wavenet_one_sample_at_a_time_equals_the_whole_pass(kernel: int) -> None:
    net, xs = wavenet(kernel_size=kernel), random(30, B, I)
    cache = net.start(B)
    close(tg.stack([net.step(cache, x) for x in xs]), net(xs))


def test_generating_costs_one_product_a_block_whatever_the_dilation(monkeypatch: Any) -> None:
    calls: list[Any] = []

    def counted(*args: Any) -> Any:
        calls.append(args[0].shape)
        return tg.linear(*args)

    monkeypatch.setattr("tinygrad_rnn.nn.nets.wavenet.linear", counted)
    for dilations in ([1] * 6, [2**k for k in range(6)]):
        net = wavenet(dilations=dilations)
        cache, x = net.start(B), random(B, I)
        for _ in range(70):
            net.step(cache, x)
        assert [len(ring) for ring in cache.rings] == dilations
    assert calls == [(B, 8)] * 6 * 70 * 2


# ------------------------------------------------------------------------------------------ NARX
def narx() -> nn.NARX:
    return nn.NARX(I, O, hidden=[5], output_lags=3, input_lags=1).double()


def by_hand(net: nn.NARX, xs: Any, ys: Any, start: Any) -> Any:
    """Both modes: what comes back is ys, or the outputs themselves."""
    past, found, before = [start[:, k * O : k * O + O] for k in range(3)], [], xs[0] * 0
    for t, x in enumerate(xs):
        found.append(net.mlp(tg.cat([*past, x, before], -1)))
        past, before = [found[-1] if ys is None else ys[t], *past[:2]], x
    return tg.stack(found)


@pytest.mark.parametrize("taught", [True, False])
def test_narx_in_both_modes(taught: bool) -> None:
    net, xs, start = narx(), random(T, B, I), random(B, 3 * O)
    ys = random(T, B, O) if taught else None
    found, expected = net(xs, ys, start=start), by_hand(net, xs, ys, start)
    close(found, expected)
    for a, b in zip(*(gradients_of(lambda y=y: y, net) for y in (found, expected)), strict=True):
        close(a, b, 1e-10)


def test_gradients_of_narx_go_through_its_own_outputs_only_when_it_runs_freely() -> None:
    net, xs = narx(), random(T, B, I).requires_grad_()
    (free,) = tg.gradients(net(xs)[-1].sum(), [xs])
    (taught,) = tg.gradients(net(xs, random(T, B, O))[-1].sum(), [xs])
    assert np.abs(free.numpy()[0]).max() > 0
    assert not taught.numpy()[: T - 2].any() and taught.numpy()[T - 2 :].any()


def test_narx_taught_with_its_own_run_repeats_it() -> None:
    net, xs = narx(), random(T, B, I)
    free = net(xs)
    close(net(xs, free.detach()), free)
    check_module(net, xs[:3], directions=1)


def test_narx_identifies_a_plant_beside_it_and_then_runs_alone(rng: Any) -> None:
    u = rng.uniform(-1, 1, (300, 4, 1))
    u[200:] = np.sin(2 * np.pi * np.arange(100) / 25)[:, None, None]  # it was taught by noise
    xs, ys = (tg.tensor(v, dtype=tg.float64) for v in (u, nonlinear_plant(u)))
    tg.manual_seed(0)
    net = nn.NARX(1, 1, hidden=[16], output_lags=1).double()
    optimizer = LBFGS(net.parameters(), max_iter=200, line_search_fn="strong_wolfe")

    def closure() -> Any:
        optimizer.zero_grad()
        loss = (net(xs[:200], ys[:200]) - ys[:200]).square().mean()
        loss.backward()
        return loss

    optimizer.step(closure)
    with tg.no_grad():
        alone = net(xs[200:], start=ys[199])
        untaught = nn.NARX(1, 1, hidden=[16], output_lags=1).double()(xs[200:], start=ys[199])
    assert nmse(ys[200:].numpy(), alone.numpy()) < 1e-3
    assert nmse(ys[200:].numpy(), untaught.numpy()) > 0.1


# ---------------------------------------------------------------------------------- unsupervised
def test_rbm_energies_agree_with_sums_over_all_states(rng: Any) -> None:
    rbm = nn.RBM(4, 3).double()
    with tg.no_grad():
        for p in rbm.parameters():
            p.copy_(tg.tensor(rng.normal(size=p.shape), dtype=tg.float64))
    w, a, b = (p.detach().numpy() for p in rbm.parameters())
    vs = np.array(list(itertools.product([0.0, 1.0], repeat=4)))
    hs = np.array(list(itertools.product([0.0, 1.0], repeat=3)))
    weight = np.exp((vs @ a)[:, None] + hs @ b + vs @ w.T @ hs.T)  # e^{−E(v, h)}
    held = tg.tensor(vs, dtype=tg.float64)
    close(rbm.free_energy(held), -np.log(weight.sum(1)), 1e-12)
    close(rbm.hidden(held), weight @ hs / weight.sum(1, keepdims=True))
    given = tg.tensor(hs, dtype=tg.float64)
    close(rbm.visible(given), weight.T @ vs / weight.sum(0)[:, None])


def test_contrastive_divergence_is_hintons_rule() -> None:
    rbm, v = nn.RBM(5, 3).double(), (random(40, 5) > 0).double()
    tg.manual_seed(3)
    found = [g.numpy() for g in tg.gradients(rbm.contrast(v), list(rbm.parameters()))]
    tg.manual_seed(3)
    with tg.no_grad():
        h = (tg.rand(40, 3) < rbm.hidden(v)).double()
        w = (tg.rand(40, 5) < rbm.visible(h)).double()
    for sign, states, total in ((-1, v, 0), (1, w, 0)):
        p = rbm.hidden(states)
        expected = (p.swapaxes(0, 1) @ states, states.sum(0), p.sum(0))
        found = [f - sign * e.detach().numpy() / 40 + total for f, e in zip(found, expected)]
    for rest in found:
        close(rest, 0 * rest)


def test_autoencoder_derivatives() -> None:
    check_module(nn.Autoencoder(4, 2), random(B, 4), directions=1)
