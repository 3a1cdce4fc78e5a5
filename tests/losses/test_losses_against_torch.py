"""Losses against PyTorch's: values and gradients, with every option."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn import losses

torch = pytest.importorskip("torch")
functional = torch.nn.functional


def compare(
    name: str, x: np.ndarray, target: np.ndarray, theirs: dict[str, Any], **ours: Any
) -> None:
    mine = tg.tensor(x, requires_grad=True)
    yours = torch.tensor(x, requires_grad=True)
    a = getattr(losses, name)(mine, tg.tensor(target), **ours)
    b = getattr(functional, name)(yours, torch.tensor(target), **theirs)
    np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=1e-12, atol=1e-15)
    weights = np.random.default_rng(0).standard_normal(a.shape)
    (a * tg.tensor(weights)).sum().backward()
    (b * torch.tensor(weights)).sum().backward()
    assert mine.grad is not None
    np.testing.assert_allclose(mine.grad.numpy(), yours.grad.numpy(), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("soft", [False, True])
def test_cross_entropy(
    reduction: str, smoothing: float, weighted: bool, soft: bool, rng: np.random.Generator
) -> None:
    x = rng.standard_normal((4, 5, 3))  # PyTorch's (N, C, d)
    target = rng.random((4, 5, 3)) if soft else rng.choice([-100, 0, 1, 2, 3, 4], (4, 3))
    weight = rng.random(5) if weighted else None
    options = {"reduction": reduction, "label_smoothing": smoothing}
    theirs = {"weight": None if weight is None else torch.tensor(weight), **options}
    compare("cross_entropy", x, target, theirs, weight=weight, dim=1, **options)
    if not soft and not smoothing:
        theirs.pop("label_smoothing")
        compare("nll_loss", x, target, theirs, weight=weight, dim=1, reduction=reduction)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("ignored", [-100, 0, 4, 5])
@pytest.mark.parametrize("there", [False, True], ids=["absent", "there"])
def test_ignored_classes(
    reduction: str, ignored: int, there: bool, rng: np.random.Generator
) -> None:
    x, weight = rng.standard_normal((7, 5)), rng.random(5)
    target = rng.choice([1, 2, 3, ignored] if there else [1, 2, 3], 7)
    target[0] = ignored if there else 1
    options: dict[str, Any] = {"reduction": reduction, "ignore_index": ignored}
    theirs = {"weight": torch.tensor(weight), **options}
    compare("cross_entropy", x, target, theirs, weight=weight, **options)
    compare("nll_loss", x, target, theirs, weight=weight, **options)


@pytest.mark.filterwarnings("ignore:reduction:UserWarning")  # PyTorch's on the mean of kl_div
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("name", ["mse_loss", "l1_loss", "huber_loss", "kl_div"])
def test_elementwise_losses(name: str, reduction: str, rng: np.random.Generator) -> None:
    x, y = rng.standard_normal((2, 3, 4)), rng.random((2, 3, 4))
    compare(name, x, y, {"reduction": reduction}, reduction=reduction)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_binary_cross_entropy(reduction: str, rng: np.random.Generator) -> None:
    x, y = rng.standard_normal((3, 4)) * 10, rng.random((3, 4))
    w, p = rng.random(4), rng.random(4)
    theirs = {"weight": torch.tensor(w), "pos_weight": torch.tensor(p), "reduction": reduction}
    compare(
        "binary_cross_entropy_with_logits", x, y, theirs,
        weight=tg.tensor(w), pos_weight=tg.tensor(p), reduction=reduction,
    )  # fmt: skip
