"""Unsupervised pre-training: a deep network begins where its layers already know the data.

Legend: N patterns, I inputs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from ..arguments import whole_number
from ..create import randperm
from ..errors import ArgumentError, ShapeError
from ..graph import no_grad
from ..losses import mse_loss
from ..nn import DBN, MLP, Autoencoder
from ..optim import SGD, Adam
from ..tensor import Tensor, as_tensor

__all__ = ["pretrain_autoencoders", "pretrain_rbms"]

Curves = list[list[float]]


def pretrain_autoencoders(
    mlp: MLP, data: Any, *, epochs: int = 20, lr: float = 1e-2, batch: int = 32
) -> Curves:
    """Train each hidden layer, from the bottom up, to say again what it was told (Bengio 2007).

    Layer l becomes the encoder of an autoencoder of zˡ⁻¹, whose decoder is then thrown away.

    Args:
        mlp: its hidden layers are changed in place. data: (N, I), no targets.

    Returns:
        For each hidden layer the mean squared reconstruction error before and after each epoch.

    >>> import tinygrad_rnn as tg
    >>> curves = pretrain_autoencoders(MLP([6, 4, 3, 1]), tg.rand(32, 6), epochs=2)
    >>> [len(curve) for curve in curves]
    [3, 3]
    """
    z, curves = _checked("pretrain_autoencoders", data, epochs, batch), []
    for layer in list(mlp.layers)[:-1]:
        auto = Autoencoder(layer.in_features, layer.out_features)  # type: ignore[attr-defined]
        auto.encoder, auto.activation = layer, mlp.activation  # type: ignore[assignment]
        auto.to(z)
        optimizer = Adam(auto.parameters(), lr=lr)
        curves.append(_trained(auto, z, epochs, batch, optimizer, partial(_reconstruction, auto)))
        with no_grad():
            z = auto.encode(z)
    return curves


def pretrain_rbms(
    dbn: DBN, data: Any, *, epochs: int = 20, lr: float = 0.5, batch: int = 32
) -> Curves:
    """Train each machine, from the bottom up, by CD-1 on the hidden units of the one below.

    Args:
        dbn: changed in place; `dbn.load_into(mlp)` starts a network from it.
        data: (N, I) in [0, 1].

    Returns:
        For each machine the mean squared reconstruction error before and after each epoch.

    Raises:
        ArgumentError: data outside [0, 1].
    """
    z, curves = _checked("pretrain_rbms", data, epochs, batch), []
    if not bool(((z >= 0) & (z <= 1)).all()):
        raise ArgumentError("pretrain_rbms", "data in [0, 1]", "others")
    for rbm in dbn.rbms:
        optimizer = SGD(rbm.parameters(), lr=lr, momentum=0.5)
        contrast: Callable[[Any], Any] = rbm.contrast  # type: ignore[attr-defined]
        curves.append(_trained(rbm, z, epochs, batch, optimizer, contrast))
        with no_grad():
            z = rbm.hidden(z)  # type: ignore[attr-defined]
    return curves


def _reconstruction(auto: Autoencoder, x: Tensor) -> Any:
    return mse_loss(auto(x), x)


def _checked(called: str, data: Any, epochs: int, batch: int) -> Tensor:
    patterns = as_tensor(data)
    if patterns.ndim != 2 or not patterns.shape[0]:
        raise ShapeError(called, "data (N, I), N >= 1", str(patterns.shape))
    whole_number(called, "epochs", epochs)
    whole_number(called, "batch", batch)
    return patterns


def _trained(
    model: Any, data: Tensor, epochs: int, batch: int, optimizer: Any, loss: Callable[[Any], Any]
) -> list[float]:
    curve = [_error(model, data)]
    for _ in range(epochs):
        for rows in _batches(data.shape[0], batch):
            optimizer.zero_grad()
            loss(data[rows]).backward()
            optimizer.step()
        curve.append(_error(model, data))
    return curve


def _batches(count: int, size: int) -> Iterable[Any]:
    order = randperm(count)
    return (order[start : start + size] for start in range(0, count, size))


def _error(model: Any, data: Tensor) -> float:
    with no_grad():
        return float(mse_loss(model(data), data))
