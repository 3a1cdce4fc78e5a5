"""Every option of the LSTM: derivatives, its equation by hand, one mask a sequence, compiled."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from module_checks import check_module, close, random

import tinygrad_rnn as tg
from tinygrad_rnn import nn
from tinygrad_rnn.compiler.run import fallbacks
from tinygrad_rnn.errors import ArgumentError

T, B, I, H = 6, 2, 3, 4  # noqa: E741
OPTIONS: dict[str, dict[str, Any]] = {
    "peephole": {"peephole": True},
    "layer_norm": {"layer_norm": True},
    "coupled": {"coupled_gates": True},
    "coupled peephole": {"coupled_gates": True, "peephole": True},
    "no forget gate": {"forget_gate": False, "peephole": True},
    "no output tanh": {"output_tanh": False},
    "softsign": {"activation": "softsign"},
    "own function": {"activation": lambda v: (0.5 * v).tanh()},
    "zoneout": {"zoneout": (0.1, 0.4)},
    "all": {"peephole": True, "layer_norm": True, "zoneout": 0.2, "coupled_gates": True,
            "output_tanh": False, "activation": "silu", "proj_size": 2},
}  # fmt: skip
RANDOM = {"recurrent_dropout": 0.5, "zoneout": (0.3, 0.2), "proj_size": 3, "peephole": True}
each = pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)


def start(cell: Any) -> Any:
    return tg.tree.tree_map(lambda c: random(*c.shape), cell.initial_state(B))


def sigma(v: Any) -> Any:
    return 1 / (1 + np.exp(-v))


@each
def test_second_derivatives(options: dict[str, Any]) -> None:
    tg.manual_seed(1)  # with 0, h and c are nearly constant rows: too curved to be differenced
    cell = nn.LSTMVariantCell(I, H, **options).eval()
    check_module(cell, start(cell.double()), random(B, I), directions=1)


@each
@pytest.mark.parametrize("engine", ["numpy", "llvm"])
def test_compiled_is_the_loop(options: dict[str, Any], engine: str) -> None:
    pytest.importorskip("llvmlite" if engine == "llvm" else "numpy")
    layer = nn.LSTM(I, H, bidirectional=True, dtype=tg.float64, **options).eval()
    xs, found = random(T, B, I).requires_grad_(), []
    fallbacks.clear()
    for name in ("loop", engine):
        loss = layer(xs, lengths=[6, 4], engine=name)[0].square().sum()
        found.append([loss, *tg.gradients(loss, [xs, *layer.parameters()])])
    assert not fallbacks
    for a, b in zip(*found, strict=True):
        close(a, b)


def test_peepholes_by_hand() -> None:
    cell = nn.LSTMVariantCell(I, H, peephole=True).double()
    (h, c), x = start(cell), random(B, I)
    named = {name: p.detach().numpy() for name, p in cell.named_parameters()}
    gates = x.numpy() @ named["weight_ih"].T + h.numpy() @ named["weight_hh"].T
    i, f, g, o = np.split(gates + named["bias_ih"] + named["bias_hh"], 4, axis=1)
    old = c.numpy()
    new = sigma(f + named["weight_cf"] * old) * old
    new = new + sigma(i + named["weight_ci"] * old) * np.tanh(g)
    (h_new, c_new), y = cell((h, c), x)
    close(c_new, new)
    close(h_new, sigma(o + named["weight_co"] * new) * np.tanh(new))
    close(y, h_new)


def test_layer_norm_by_hand() -> None:
    cell = nn.LSTMVariantCell(I, H, layer_norm=True, bias=False).double()
    assert cell.weight_ln_ih is not None and cell.weight_ln_ih.tolist() == [1.0] * 4 * H
    (h, c), x = start(cell), random(B, I)

    def normal(v: Any) -> Any:
        return (v - v.mean(1, keepdims=True)) / np.sqrt(v.var(1, keepdims=True) + 1e-5)

    gates = normal(x.numpy() @ cell.weight_ih.detach().numpy().T)
    gates = gates + normal(h.numpy() @ cell.weight_hh.detach().numpy().T)
    i, f, g, o = np.split(gates, 4, axis=1)
    new = sigma(f) * c.numpy() + sigma(i) * np.tanh(g)
    (h_new, c_new), _ = cell((h, c), x)
    close(c_new, new)
    close(h_new, sigma(o) * np.tanh(normal(new)))


def test_coupled_gates_are_a_plain_lstm_with_opposite_gates() -> None:
    coupled, plain = nn.LSTMVariantCell(I, H, coupled_gates=True), nn.LSTMCell(I, H)
    assert coupled.weight_ih.shape == (3 * H, I)
    with tg.no_grad():
        for name, p in coupled.double().named_parameters():
            whole = dict(plain.double().named_parameters())[name]
            whole.copy_(tg.cat([-p[:H], p], 0))  # i = 1 − f = σ(−f)
    carry, x = start(plain), random(B, I)
    close(coupled(carry, x)[1], plain(carry, x)[1])


def test_without_forget_gate_the_cell_is_handed_on_exactly() -> None:
    cell = nn.LSTMVariantCell(I, H, forget_gate=False).double()
    (h, c), x = start(cell), random(B, I)
    jacobian = tg.jacobian(lambda c: cell((h, c), x)[0][1])(c)
    assert jacobian.reshape(B * H, B * H).tolist() == np.eye(B * H).tolist()


def test_first_variant_shows_its_cell_as_it_is() -> None:
    cell, plain = nn.LSTMVariantCell(I, H, output_tanh=False).double(), nn.LSTMCell(I, H).double()
    plain.load_state_dict(cell.state_dict())
    carry, x = start(cell), random(B, I)
    ((h, c), _), ((other, same), _) = cell(carry, x), plain(carry, x)
    close(c, same)
    close(h, other / tg.tanh(same) * same)


# --------------------------------------------------------------------------------------- chance
def test_recurrent_dropout_keeps_one_mask_for_a_sequence() -> None:
    layer = nn.LSTM(1, 400, recurrent_dropout=0.25, dtype=tg.float64)
    cell = next(layer.children())
    with tg.no_grad():
        for p in layer.parameters():
            p.zero_()
        cell.weight_hh[:400] = tg.eye(400) * 2  # the input gate sees its own h, and nothing else
        cell.bias_ih[800:1200] = 1.0
    c = layer(tg.zeros(5, 1, 1, dtype=tg.float64), return_all_states=True)[2][1][:, 0, 0]
    increments = (c[1:] - 0.5 * c[:-1]).detach().numpy() / np.tanh(1.0)  # σ(2 m h)
    dropped = np.abs(increments[1:] - 0.5) < 1e-9  # in the second step h was 0 for all
    assert (dropped == dropped[0]).all()
    assert 60 < dropped[0].sum() < 140
    other = layer(tg.zeros(5, 1, 1, dtype=tg.float64))[1][1]
    assert not np.array_equal(other.detach().numpy()[0, 0], c.detach().numpy()[-1])


def test_zoneout_keeps_a_share_of_the_old_state_and_its_expectation_in_use() -> None:
    cell = nn.LSTMVariantCell(I, 2000, zoneout=(0.3, 0.1)).double()
    plain = nn.LSTMCell(I, 2000).double()
    plain.load_state_dict(cell.state_dict())
    old, x = start(cell), random(B, I)
    new = plain(old, x)[0]
    drawn, used = cell(old, x)[0], cell.eval()(old, x)[0]
    for k, p in enumerate((0.3, 0.1)):
        kept = drawn[k] == old[k]
        assert abs(float(kept.double().mean()) - p) < 0.03
        close(drawn[k], tg.where(kept, old[k], new[k]))
        close(used[k], p * old[k] + (1 - p) * new[k])


@pytest.mark.parametrize("engine", ["loop", "numpy"])
def test_masks_repeat_with_the_seed_on_every_engine(engine: str) -> None:
    layer, xs = nn.LSTM(I, H, dtype=tg.float64, **RANDOM), random(T, B, I)
    tg.manual_seed(5)
    expected = layer(xs, engine="loop")[0]
    tg.manual_seed(5)
    close(layer(xs, engine=engine)[0], expected)
    close(layer.eval()(xs, engine=engine)[0], layer.eval()(xs)[0])
    assert not np.allclose(layer(xs)[0].detach().numpy(), expected.detach().numpy())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"coupled_gates": True, "forget_gate": False}, "a forget gate to couple"),
        ({"recurrent_dropout": 1.5}, r"probability in \[0, 1\] expected, got 1.5"),
        ({"zoneout": (0.1, -0.1)}, "got -0.1"),
        ({"activation": "tahn"}, "an activation out of .*tanh.*got 'tahn'"),
    ],
)
def test_options_that_cannot_be(options: Any, words: str) -> None:
    with pytest.raises(ArgumentError, match=words):
        nn.LSTM(I, H, **options)


# ------------------------------------------------------------------------------------------ GRU
def test_gru_that_resets_before_the_product() -> None:
    cell = nn.GRUCell(I, H, reset_after=False)
    check_module(cell, random(B, H), random(B, I), directions=1)
    h, x = random(B, H), random(B, I)
    w, u, b, d = (p.detach().numpy() for p in cell.parameters())
    wr, wu, wg, ur, uu, ug = (m[k * H : k * H + H] for m in (w, u) for k in range(3))
    br, bu, bg = np.split(b + d, 3)
    r = sigma(x.numpy() @ wr.T + h.numpy() @ ur.T + br)
    keep = sigma(x.numpy() @ wu.T + h.numpy() @ uu.T + bu)  # the lecture's u
    g = np.tanh(x.numpy() @ wg.T + (h.numpy() * r) @ ug.T + bg)
    close(cell(h, x)[1], (1 - keep) * g + keep * h.numpy())


def test_both_grus_agree_where_nothing_is_reset() -> None:
    before, after = (nn.GRU(I, H, dtype=tg.float64, reset_after=flag) for flag in (False, True))
    after.load_state_dict(before.state_dict())
    xs = random(T, B, I)
    assert np.abs((before(xs)[0] - after(xs)[0]).detach().numpy()).max() > 1e-3
    with tg.no_grad():
        for layer in (before, after):
            layer.bias_ih_l0[:H] = 1e4
    close(before(xs)[0], after(xs)[0])
    close(before(xs, engine="loop")[0], before(xs)[0])
