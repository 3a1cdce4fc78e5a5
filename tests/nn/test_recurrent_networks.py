"""Recurrent networks and encoder–decoders, each held against what it is said to be."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from module_checks import check_module, close, gradients_of, random

import tinygrad_rnn as tg
from tinygrad_rnn import nn
from tinygrad_rnn.errors import ArgumentError, ShapeError
from tinygrad_rnn.nn.nets.recurrent import NOTATIONS

T, B, I, H, O = 7, 3, 2, 4, 2  # noqa: E741


# ----------------------------------------------------------------------------- simple recurrences
def test_three_notations_of_one_network(rng: Any) -> None:
    v, w, u = rng.normal(size=(H, I)), rng.normal(size=(H, H)), rng.normal(size=(O, H))
    b, c, xs = rng.normal(size=H), rng.normal(size=O), rng.normal(size=(T, B, I))
    nets = []
    for notation, names in NOTATIONS.items():
        nets.append(nn.SimpleRNN(I, H, O, "sigmoid", "tanh").double())
        nets[-1].load_notation(notation, **dict(zip(names, (v, w, u, b, c), strict=True)))
    h, expected = np.zeros((B, H)), []
    for x in xs:
        h = 1 / (1 + np.exp(-(x @ v.T + h @ w.T + b)))
        expected.append(np.tanh(h @ u.T + c))
    for net in nets:
        close(net(tg.tensor(xs, dtype=tg.float64))[0], np.array(expected), 1e-6)
    with pytest.raises(ArgumentError, match="the names"):
        nets[0].load_notation("s=f(Ux+Ws)", V=v, W=w)
    with pytest.raises(ShapeError, match="U"):
        nets[0].load_notation("s=f(Ux+Ws)", U=v.T, W=w, V=u)


def test_dropout_hides_from_v_and_u_but_never_from_w() -> None:
    net, xs, h = nn.SimpleRNN(I, H, O, dropout=1.0).double(), random(T, B, I), random(1, B, H)
    ys, final = net(xs, h)
    w, bias = net.rnn.weight_hh_l0, net.rnn.bias_ih_l0 + net.rnn.bias_hh_l0
    for _ in range(T):
        h = (h @ w.swapaxes(0, 1) + bias).tanh()
    close(final, h)
    close(ys, net.output.bias.expand(T, B, O))
    plain = nn.SimpleRNN(I, H, O).double()
    plain.load_state_dict(net.state_dict())
    close(net.eval()(xs)[0], plain(xs)[0])


def test_dropout_keeps_what_u_sees_on_average() -> None:
    net, xs = nn.SimpleRNN(I, H, O, dropout=0.3).double(), random(T, 1, I).expand(T, 4000, I)
    with tg.no_grad():
        net.rnn.weight_ih_l0.zero_()  # so that only U sees a mask
    expected = net.eval()(xs[:, :1])[0]
    drawn = net.train()(xs)[0]
    assert float(drawn.std()) > 0.01
    close(drawn.mean(1), expected[:, 0], 0.03)


def test_elmans_rule_is_truncation_to_one_step() -> None:
    net, xs = nn.Elman(I, H, O).double(), random(T, B, I)
    cell = next(net.rnn.children())
    h, ys = tg.zeros(B, H, dtype=tg.float64), []
    for x in xs:
        h, y = cell(h.detach(), x)  # the context is an input like any other
        ys.append(net.output(y))
    by_rule = gradients_of(lambda: tg.stack(ys), net)
    full = gradients_of(lambda: net(xs, truncate=None)[0], net)
    for a, b in zip(gradients_of(lambda: net(xs)[0], net), by_rule, strict=True):
        close(a, b, 1e-11)
    whole = nn.SimpleRNN(I, H, O).double()
    whole.load_state_dict(net.state_dict())
    for a, b in zip(full, gradients_of(lambda: whole(xs)[0], whole), strict=True):
        close(a, b, 1e-11)
    assert max(np.abs(a - b).max() for a, b in zip(full, by_rule, strict=True)) > 1e-2


def test_rmlp_by_hand_and_in_pieces() -> None:
    net, xs = nn.RMLP([I, H, 5, O]).double(), random(T, B, I)
    states, ys = [np.zeros((B, H)), np.zeros((B, 5))], []
    for x in xs.numpy():
        for k, layer in enumerate(net.layers):
            p = {name: p.detach().numpy() for name, p in layer.named_parameters()}
            inner = x @ p["weight_ih_l0"].T + states[k] @ p["weight_hh_l0"].T
            x = states[k] = np.tanh(inner + p["bias_ih_l0"] + p["bias_hh_l0"])
        ys.append(x @ net.output.weight.detach().numpy().T + net.output.bias.detach().numpy())
    whole, _ = net(xs)
    close(whole, np.array(ys))
    first, state = net(xs[:4])
    close(tg.cat([first, net(xs[4:], state)[0]]), whole)


def test_parallel_recursion_is_its_layers_side_by_side() -> None:
    layers, xs = [nn.RNN(I, 3), nn.GRU(I, 4), nn.LSTM(I, 2)], tg.randn(T, B, I)
    output, finals = nn.ParallelRecurrent(layers)(xs, lengths=[7, 5, 2])
    expected = [layer(xs, lengths=[7, 5, 2]) for layer in layers]
    close(output, tg.cat([y for y, _ in expected], -1))
    close(finals[2][1], expected[2][1][1])
    again = nn.ParallelRecurrent(layers)(xs, finals)[0]
    close(again[:, :, :3], layers[0](xs, expected[0][1])[0])


@pytest.mark.parametrize("layer", [nn.RNN, nn.LSTM])
def test_brnn_reversed_in_time_is_itself_with_directions_exchanged(layer: Any) -> None:
    net, mirror = (nn.BRNN(I, H, O, layer).double() for _ in range(2))
    state = net.state_dict()
    swapped = {}
    for name, value in state.items():
        other = name.removesuffix("_reverse") if "_reverse" in name else name + "_reverse"
        swapped[other if name.startswith("layer") else name] = value
    swapped["output.weight"] = state["output.weight"][:, [*range(H, 2 * H), *range(H)]]
    mirror.load_state_dict(swapped)
    xs = random(T, B, I)
    close(mirror(xs.flip(0)), net(xs).flip(0))


def test_brnn_rows_end_at_their_own_length() -> None:
    net, xs = nn.BRNN(I, H, O, nn.GRU).double(), random(T, B, I)
    together = net(xs, lengths=[7, 4, 1])
    for row, length in enumerate((7, 4, 1)):
        close(together[:length, row], net(xs[:length, row : row + 1])[:, 0])


# ------------------------------------------------------------------------------ encoder, decoder
V = 6


def translator(attention: bool) -> nn.EncoderDecoder:
    return nn.EncoderDecoder(V, V, embedding_size=3, hidden_size=5, attention=attention).double()


def symbols(*shape: int) -> Any:
    return tg.randint(1, V, shape)


@pytest.mark.parametrize("attention", [False, True])
def test_teacher_forcing_is_one_symbol_after_the_other(attention: bool) -> None:
    net, source, target = translator(attention), symbols(T, B), symbols(5, B)
    logits, state = net(source, target, [7, 4, 2]), net.encode(source, [7, 4, 2])
    for t in range(5):
        state, step = net.step(state, target[t])
        close(step, logits[t])


@pytest.mark.parametrize("attention", [False, True])
def test_padding_of_the_source_is_not_seen(attention: bool) -> None:
    net, source, target = translator(attention), symbols(T, B), symbols(5, B)
    logits = net(source, target, [7, 4, 2])
    for row, length in enumerate((7, 4, 2)):
        alone = net(source[:length, row : row + 1], target[:, row : row + 1])
        close(alone[:, 0], logits[:, row])


@pytest.mark.parametrize("attention", [False, True])
def test_greedy_feeds_back_what_is_likeliest(attention: bool) -> None:
    net, source = translator(attention), symbols(T, B)
    found = net.greedy(source, first=0, steps=6)
    fed = tg.cat([found[:1] * 0, found[:-1]], 0)
    assert net(source, fed).argmax(-1).tolist() == found.tolist()
    with pytest.raises(ArgumentError, match="steps, a whole number >= 1"):
        net.greedy(source, first=0, steps=0)


def test_attention_by_hand_and_its_derivatives() -> None:
    net = nn.Attention(3, 4)
    mask = tg.tensor([[True, True, False], [True, False, False]])
    check_module(net, random(2, 2, 3), random(2, 3, 4), mask, directions=1)
    h, m = random(1, 1, 3).numpy()[0, 0], random(1, 3, 4).numpy()[0]
    w, c = net.score.weight.detach().numpy(), net.combine.weight.detach().numpy()
    score = np.exp(m @ w.T @ h)
    context = score / score.sum() @ m
    found, weights = net(*(tg.tensor(v, dtype=tg.float64) for v in (h[None, None], m[None])))
    close(weights[0, 0], score / score.sum(), 1e-6)
    close(found[0, 0], np.tanh(c @ np.concatenate([context, h])), 1e-6)
