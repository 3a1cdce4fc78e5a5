"""Pre-training: every layer learns to say its input again, and a deep network is better for it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn import nn
from tinygrad_rnn.errors import ArgumentError, ShapeError
from tinygrad_rnn.losses import cross_entropy
from tinygrad_rnn.optim import SGD
from tinygrad_rnn.train import pretrain_autoencoders, pretrain_rbms

CLASSES, SIZES = 6, [24, 20, 20, 20, 20, 20, 20]  # six hidden layers


def patterns(rng: Any, count: int = 240) -> tuple[Any, Any]:
    """Binary prototypes with a tenth of their bits turned over, and which one it was."""
    prototypes = rng.random((CLASSES, SIZES[0])) < 0.5
    kind = rng.integers(0, CLASSES, count)
    flipped = prototypes[kind] ^ (rng.random((count, SIZES[0])) < 0.1)
    return tg.tensor(flipped.astype(np.float32)), tg.tensor(kind)


def fine_tuned(mlp: nn.MLP, x: Any, t: Any, epochs: int = 60) -> float:
    optimizer = SGD(mlp.parameters(), lr=0.3, momentum=0.9)
    for _ in range(epochs):
        optimizer.zero_grad()
        loss = cross_entropy(mlp(x), t)
        loss.backward()
        optimizer.step()
    return float(loss)


def test_reconstruction_falls_layer_by_layer_with_autoencoders(rng: Any) -> None:
    x, _ = patterns(rng)
    curves = pretrain_autoencoders(nn.MLP([*SIZES, CLASSES]), x, epochs=8)
    assert len(curves) == 6
    assert all(curve[-1] < 0.5 * curve[0] for curve in curves)


def test_reconstruction_falls_layer_by_layer_with_rbms(rng: Any) -> None:
    x, _ = patterns(rng)
    dbn = nn.DBN(SIZES[:4])
    whole = [float((dbn(x, depth) - x).square().mean()) for depth in (1, 2, 3)]
    curves = pretrain_rbms(dbn, x, epochs=30)
    assert all(curve[-1] < 0.8 * curve[0] for curve in curves)
    for depth, before in zip((1, 2, 3), whole, strict=True):
        assert float((dbn(x, depth) - x).square().mean()) < 0.8 * before


@pytest.mark.parametrize("activation", ["tanh", "sigmoid"])
@pytest.mark.parametrize("seed", [1, 2])
def test_a_pretrained_deep_network_beats_a_random_start(
    rng: Any, activation: str, seed: int
) -> None:
    x, t = patterns(rng)
    tg.manual_seed(seed)
    mlp = nn.MLP([*SIZES, CLASSES], activation)
    fresh = nn.MLP([*SIZES, CLASSES], activation)
    if activation == "tanh":
        pretrain_autoencoders(mlp, x, epochs=20)
    else:
        dbn = nn.DBN(SIZES)
        pretrain_rbms(dbn, x, epochs=40)
        dbn.load_into(mlp)
    assert fine_tuned(mlp, x, t) < 0.5 * fine_tuned(fresh, x, t)


def test_machines_become_layers(rng: Any) -> None:
    x, _ = patterns(rng, 20)
    dbn, mlp = nn.DBN([24, 7, 5]), nn.MLP([24, 7, 5, 2], "sigmoid")
    dbn.load_into(mlp)
    np.testing.assert_allclose(mlp.hidden(x).detach(), dbn.hidden(x).detach(), rtol=1e-6)
    with pytest.raises(ArgumentError, match="activation='sigmoid'"):
        dbn.load_into(nn.MLP([24, 7, 5, 2]))
    with pytest.raises(ShapeError, match="the machines' sizes"):
        dbn.load_into(nn.MLP([24, 7, 2], "sigmoid"))


def test_what_pretraining_refuses() -> None:
    with pytest.raises(ArgumentError, match=r"data in \[0, 1\]"):
        pretrain_rbms(nn.DBN([2, 2]), tg.full((3, 2), 1.5))
    with pytest.raises(ShapeError, match=r"data \(N, I\)"):
        pretrain_autoencoders(nn.MLP([2, 2, 1]), tg.ones(2))
    with pytest.raises(ArgumentError, match="epochs, a whole number >= 1"):
        pretrain_autoencoders(nn.MLP([2, 2, 1]), tg.ones(3, 2), epochs=0)
    for batch in (0, -1, 2.5):
        with pytest.raises(ArgumentError, match="batch, a whole number >= 1"):
            pretrain_autoencoders(nn.MLP([2, 2, 1]), tg.ones(3, 2), batch=batch)
        with pytest.raises(ArgumentError, match="batch, a whole number >= 1"):
            pretrain_rbms(nn.DBN([2, 2]), tg.ones(3, 2), batch=batch)
