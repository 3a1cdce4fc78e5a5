"""Layers and losses on a device: the same numbers as on the host, and few crossings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import fake_device
import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn import functional as F
from tinygrad_rnn import losses, nn
from tinygrad_rnn.errors import DeviceError

T, B, V, E, H = 4, 3, 6, 5, 4
LENGTHS = [4, 1, 3]
TARGETS = [[0, 1, 2], [3, -100, 5], [-100] * 3, [5, 4, 3]]


class Tagger(nn.Module):
    """Something of everything."""

    def __init__(self, kind: Any) -> None:
        self.embed = nn.Embedding(V, E, padding_idx=0)
        self.norm = nn.LayerNorm(E)
        self.rnn = kind(E, H, num_layers=2, bidirectional=True, dropout=0.5)
        self.conv = nn.Conv1d(2 * H, 2 * H, 3, padding="same")
        self.out = nn.Sequential(nn.GELU(), nn.Dropout(0.2), nn.Linear(2 * H, V))

    def forward(self, index: Any) -> Any:
        output, final = self.rnn(self.norm(self.embed(index)), lengths=LENGTHS)
        mixed = self.conv(output.permute(1, 2, 0)).permute(2, 0, 1)
        return self.out(mixed), final


def run_on_both(function: Callable[[str], list[tg.Tensor]]) -> Counter[str]:
    """The same seeds and numbers on both devices; what crossed on the fake one."""
    tg.manual_seed(1)
    wanted = function("cpu")
    tg.manual_seed(1)
    with fake_device.traffic() as crossed:
        found = function("fake")
    for a, b in zip(found, wanted, strict=True):
        assert a.device == "fake" and a.dtype == b.dtype
        there, here = a.detach().cpu().numpy(), b.detach().numpy()
        np.testing.assert_allclose(there, here, rtol=1e-12, atol=1e-14)
    return crossed


@pytest.mark.parametrize("kind", [nn.RNN, nn.LSTM, nn.GRU])
def test_a_whole_network(kind: Any) -> None:
    def train(device: str) -> list[tg.Tensor]:
        net = Tagger(kind).double().to(device)
        logits, final = net(tg.tensor([[1, 2, 0], [3, 0, 5], [1, 0, 4], [2, 0, 0]], device=device))
        loss = losses.cross_entropy(logits, TARGETS, label_smoothing=0.1)
        loss.backward()
        grads = [p.grad for p in net.parameters() if p.grad is not None]
        nn.utils.clip_grad_value_(net.parameters(), 0.1)
        return [loss, *tg.tree.flatten(final)[0], *grads]

    run_on_both(train)


@pytest.mark.parametrize(
    "loss",
    [
        lambda x, y: losses.mse_loss(x, y) + losses.l1_loss(x, y) + losses.huber_loss(x, y),
        losses.nmse_loss,
        lambda x, y: losses.binary_cross_entropy_with_logits(x, y.sigmoid(), pos_weight=y.exp()),
        lambda x, y: losses.kl_div(F.log_softmax(x), F.softmax(y), "batchmean"),
        lambda x, y: losses.cross_entropy(x, F.softmax(y), weight=[1.0, 0.5, 2.0]),
        lambda x, y: losses.nll_loss(x, [0, 2], weight=[1.0, 0.5, 2.0]),
        lambda x, y: losses.cross_entropy(tg.where(x > 1, float("inf"), x), [2, 0]),
    ],
    ids=range(7),
)
def test_losses(loss: Any) -> None:
    x, y = np.array([[0.5, -1.0, 2.0], [0.1, 0.2, -3.0]]), np.array([[1.0, 0.2, 0.3], [0, 1, 2.0]])

    def run(device: str) -> list[tg.Tensor]:
        a, b = (tg.tensor(v, device=device, requires_grad=True) for v in (x, y))
        made = loss(a, b)
        made.backward()
        return [made, *(v.grad for v in (a, b) if v.grad is not None)]

    run_on_both(run)


def test_a_step_in_use_moves_nothing() -> None:
    rnn = nn.LSTM(E, H, num_layers=2, bidirectional=True).to("fake")
    xs = tg.randn(T, B, E).to("fake")
    rnn(xs)  # the constants of σ are sent once, for good
    with fake_device.traffic() as crossed:
        rnn(xs)
    assert not crossed


def test_tensors_of_the_other_device_are_not_moved_in_silence() -> None:
    x, target = tg.randn(2, 3).to("fake"), tg.tensor([0, 1])
    for function in (losses.cross_entropy, losses.nll_loss):
        with pytest.raises(DeviceError, match=function.__name__):
            function(x, target)
    with pytest.raises(DeviceError, match="mse_loss"):
        losses.mse_loss(x, tg.zeros(2, 3))
    with pytest.raises(DeviceError, match=r"LSTM\.forward"):
        nn.LSTM(3, 2).to("fake")(tg.zeros(4, 2, 3))
    with pytest.raises(DeviceError, match="embedding"):
        F.embedding(target, x)


def test_state_dicts_load_across_devices() -> None:
    here, there = nn.GRU(2, 3), nn.GRU(2, 3).to("fake")
    there.load_state_dict(here.state_dict())
    assert there.weight_hh_l0.device == "fake"
    assert there.weight_hh_l0.tolist() == here.weight_hh_l0.tolist()
    there.cpu().load_state_dict(nn.GRU(2, 3).to("fake").state_dict())
    assert there.weight_hh_l0.device == "cpu"
