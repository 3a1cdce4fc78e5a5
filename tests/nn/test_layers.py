"""Layers as modules: against finite differences and against what they are made of."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from module_checks import check_module

import tinygrad_rnn as tg
from tinygrad_rnn import functional as F
from tinygrad_rnn import losses, nn
from tinygrad_rnn.errors import ArgumentError, IndexRangeError, ShapeError

ACTIVATIONS: list[tuple[nn.Module, Any]] = [
    (nn.ELU(2.0), lambda x: F.elu(x, 2.0)),
    (nn.GELU(approximate="tanh"), lambda x: F.gelu(x, "tanh")),
    (nn.Hardtanh(-2.0, 0.5), lambda x: x.clip(-2.0, 0.5)),
    (nn.LeakyReLU(), lambda x: F.leaky_relu(x, 0.01)),
    (nn.LogSigmoid(), lambda x: x.sigmoid().log()),
    (nn.LogSoftmax(dim=0), lambda x: F.softmax(x, 0).log()),
    (nn.ReLU(), lambda x: x.relu()),
    (nn.SiLU(), lambda x: x * x.sigmoid()),
    (nn.Sigmoid(), lambda x: x.sigmoid()),
    (nn.Softmax(1), lambda x: x.exp() / x.exp().sum(1, keepdim=True)),
    (nn.Softplus(), lambda x: (1 + x.exp()).log()),
    (nn.Softsign(), lambda x: x / (1 + x.abs())),
    (nn.Tanh(), lambda x: x.tanh()),
]


def inputs(*shape: int) -> Any:
    return tg.randn(*shape, dtype=tg.float64)


@pytest.mark.parametrize(("module", "closed"), ACTIVATIONS, ids=lambda m: type(m).__name__)
def test_activation_modules(module: nn.Module, closed: Any) -> None:
    x = inputs(3, 4)
    np.testing.assert_allclose(module(x).numpy(), closed(x).numpy(), rtol=1e-12)
    assert list(module.parameters()) == []


def test_activation_says_its_options_and_refuses_others() -> None:
    assert repr(nn.ELU(alpha=2.0)) == "ELU(alpha=2.0)" and repr(nn.Tanh()) == "Tanh()"
    with pytest.raises(TypeError):
        nn.ReLU(slope=1)


MODULES: list[tuple[Any, tuple[int, ...]]] = [
    (lambda: nn.Linear(3, 4), (2, 5, 3)),
    (lambda: nn.Linear(3, 4, bias=False), (3,)),
    (lambda: nn.Conv1d(4, 6, 3, padding="causal", dilation=2, groups=2), (2, 4, 7)),
    (lambda: nn.Conv1d(2, 3, 2, stride=2, padding=1, bias=False), (2, 2, 5)),
    (lambda: nn.LayerNorm(5), (3, 5)),
    (lambda: nn.LayerNorm((2, 3), bias=False), (4, 2, 3)),
    (lambda: nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.LayerNorm(4), nn.Linear(4, 2)), (2, 3)),
]


@pytest.mark.parametrize(("make", "shape"), MODULES, ids=lambda v: None)
def test_gradients_of_layers(make: Any, shape: tuple[int, ...]) -> None:
    check_module(make(), inputs(*shape))


def test_gradients_of_embedding() -> None:
    check_module(nn.Embedding(4, 3), tg.tensor([[0, 3], [3, 3]]))


def test_linear_is_an_affine_map() -> None:
    layer = nn.Linear(3, 2)
    x = tg.randn(4, 5, 3)
    expected = x.numpy() @ layer.weight.detach().numpy().T + layer.bias.detach().numpy()
    np.testing.assert_allclose(layer(x).detach().numpy(), expected, rtol=1e-5, atol=1e-6)
    with pytest.raises(ShapeError, match="linear"):
        layer(tg.zeros(4, 2))


@pytest.mark.parametrize("shape", [(5, 3), (4, 5, 3), (2, 0, 5, 3)])
def test_linear_is_one_node_whatever_the_axes_of_its_rows(shape: tuple[int, ...]) -> None:
    node = nn.Linear(3, 2)(tg.zeros(*shape)).node
    while node.primitive.name == "reshape":
        (node,) = node.parents
    assert node.primitive.name == "linear" and node.shape == (math.prod(shape[:-1]), 2)


@pytest.mark.parametrize("make", [lambda: nn.Linear(25, 400), lambda: nn.Conv1d(5, 400, 5)])
def test_starting_values_are_within_one_over_root_fan_in(make: Any) -> None:
    tg.manual_seed(0)
    layer = make()
    for values in (layer.weight.detach().numpy(), layer.bias.detach().numpy()):
        assert np.abs(values).max() <= 0.2
        # of 400 uniform numbers in [−.2, .2] the largest is below .19 with probability .95⁴⁰⁰
        assert np.abs(values).max() > 0.19


def test_layers_start_where_the_seed_says() -> None:
    def draw() -> Any:
        tg.manual_seed(5)
        return [p.tolist() for p in nn.Sequential(nn.Linear(2, 2), nn.GRU(2, 2)).parameters()]

    assert draw() == draw()


def test_embedding_module() -> None:
    layer = nn.Embedding(5, 3, padding_idx=-1)
    assert layer.padding_idx == 4 and layer.weight[4].tolist() == [0.0] * 3
    assert layer(tg.tensor([4, 1]))[1].tolist() == layer.weight[1].tolist()
    layer(tg.tensor([4, 1])).sum().backward()
    assert layer.weight.grad is not None and layer.weight.grad[4].tolist() == [0.0] * 3
    assert repr(layer) == "Embedding(5, 3, padding_idx=4)"
    with pytest.raises(IndexRangeError, match="embedding"):
        layer(tg.tensor([5]))
    with pytest.raises(ArgumentError, match="padding_idx"):
        nn.Embedding(5, 3, padding_idx=5)


def test_causal_convolution_does_not_see_the_future() -> None:
    layer = nn.Conv1d(2, 3, 3, padding="causal", dilation=2)
    x = tg.randn(1, 2, 8, requires_grad=True)
    layer(x)[0, 0, 4].backward()
    assert x.grad is not None
    seen = x.grad.numpy()[0].any(axis=0).tolist()
    assert seen == [True, False, True, False, True, False, False, False]


def test_dropout_module_follows_the_mode() -> None:
    layer = nn.Dropout(0.5)
    x = tg.ones(100)
    assert set(layer(x).tolist()) == {0.0, 2.0}
    assert layer.eval()(x) is x


def test_layer_norm_starts_as_pure_normalisation() -> None:
    y = nn.LayerNorm(50)(tg.randn(3, 50) * 5 + 2).detach().numpy()
    np.testing.assert_allclose(y.mean(1), 0, atol=1e-6)
    np.testing.assert_allclose(y.std(1), 1, atol=1e-4)
    assert list(nn.LayerNorm(3, elementwise_affine=False).parameters()) == []


def test_flatten_and_identity() -> None:
    x = tg.zeros(2, 3, 4)
    assert nn.Flatten()(x).shape == (2, 12) and nn.Flatten(0, 1)(x).shape == (6, 4)
    assert nn.Identity()(x) is x


def test_device_and_dtype_where_it_is_made(device: str) -> None:
    made = [
        nn.Linear(2, 2, device=device, dtype=tg.float64),
        nn.Embedding(2, 2, device=device, dtype=tg.float64),
        nn.Conv1d(2, 2, 1, device=device, dtype=tg.float64),
        nn.LayerNorm(2, device=device, dtype=tg.float64),
        nn.LSTM(2, 2, device=device, dtype=tg.float64),
    ]
    for module in made:
        assert {(p.device, p.dtype) for p in module.parameters()} == {(device, tg.float64)}


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: nn.Linear(0, 1), "in_features"),
        (lambda: nn.Linear(1, 2.0), "out_features"),  # type: ignore[arg-type]
        (lambda: nn.Embedding(True, 1), "num_embeddings"),
        (lambda: nn.Conv1d(1, 1, 0), "kernel_size"),
        (lambda: nn.Conv1d(3, 4, 1, groups=2), "groups"),
        (lambda: nn.LayerNorm((2, 0)), r"normalized_shape\[1\]"),
        (lambda: nn.Dropout(2), "probability"),
    ],
    ids=range(7),
)
def test_sizes_that_cannot_be(make: Any, name: str) -> None:
    with pytest.raises(ArgumentError, match=name):
        make()


# ------------------------------------------------------------------------------ losses as modules
LOSSES: list[tuple[Any, Any]] = [
    (nn.MSELoss, losses.mse_loss),
    (nn.L1Loss, losses.l1_loss),
    (nn.HuberLoss, losses.huber_loss),
    (nn.BCEWithLogitsLoss, losses.binary_cross_entropy_with_logits),
    (nn.KLDivLoss, losses.kl_div),
]


@pytest.mark.parametrize(("kind", "function"), LOSSES)
def test_loss_modules(kind: Any, function: Any) -> None:
    x, y = inputs(3, 2), tg.rand(3, 2, dtype=tg.float64)
    assert float(kind()(x, y)) == float(function(x, y))
    assert kind(reduction="none")(x, y).tolist() == function(x, y, reduction="none").tolist()


def test_loss_modules_of_classes_keep_their_weights_as_buffers() -> None:
    x, y, weight = inputs(3, 2), tg.tensor([0, 1, 1]), tg.tensor([1.0, 3.0], dtype=tg.float64)
    for kind, function in (
        (nn.CrossEntropyLoss, losses.cross_entropy),
        (nn.NLLLoss, losses.nll_loss),
    ):
        loss = kind(weight, ignore_index=0)
        assert [name for name, _ in loss.named_buffers()] == ["weight"]
        assert float(loss(x, y)) == float(function(x, y, weight, 0))
        assert loss.float().weight.dtype == tg.float32
    assert "label_smoothing=0.1" in repr(nn.CrossEntropyLoss(label_smoothing=0.1))
    assert float(nn.NMSELoss()(x, x * 1.0)) == 0.0


def test_an_embedding_is_a_projection_of_one_hot_vectors() -> None:
    layer, symbols = nn.Embedding(7, 3), tg.tensor([[2, 0], [6, 2]])
    hot = tg.one_hot(symbols, 7).to(tg.float32)
    np.testing.assert_array_equal(layer(symbols).detach(), (hot @ layer.weight).detach())
    for loss in (layer(symbols), hot @ layer.weight):
        layer.zero_grad()
        loss.square().sum().backward()
        assert layer.weight.grad is not None and not layer.weight.grad[[1, 3, 4, 5]].any()
        np.testing.assert_allclose(layer.weight.grad[2], 4 * layer.weight.detach()[2], rtol=1e-6)


def test_the_divergence_itself_can_be_had_as_a_module() -> None:
    """Of all reductions "batchmean" gives KL(p‖q); the others average over classes too."""
    x, p = tg.log_softmax(tg.randn(3, 4)), tg.softmax(tg.randn(3, 4))
    loss = nn.KLDivLoss(reduction="batchmean")
    assert loss(x, p).item() == losses.kl_div(x, p, "batchmean").item()
    with pytest.raises(ArgumentError, match=r"KLDivLoss: reduction.*'avg'"):
        nn.KLDivLoss(reduction="avg")
    with pytest.raises(ArgumentError, match=r"MSELoss: reduction.*'batchmean'"):
        nn.MSELoss(reduction="batchmean")
