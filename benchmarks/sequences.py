"""Losses over sequences: CTC, forward and backward, beside PyTorch's.

Each part yields measures; `PARTS` names them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import tinygrad_rnn as tg
from tinygrad_rnn.losses import ctc_loss

from .measure import absolute, faster
from .peers import build, torch_at
from .spine import Measures
from .timing import Contender, alternate, compare
from .work import Settings

__all__ = ["PARTS"]

Batch = tuple[np.ndarray, np.ndarray, list[int], list[int]]
SIZES = {(200, 32, 64, 30): 1.0, (50, 8, 32, 10): None, (1000, 4, 64, 100): None}
SINGLE = 1e-2  # of the largest gradient: as near as PyTorch's float32 is after 1,000 steps


def ctc(settings: Settings) -> Measures:
    """−log p(labels) and its gradient in float32; targets are of the full length."""
    for size, target in SIZES.items():
        batch = _batch(*size)
        contenders = [_ours(batch), *build([_torch], batch, settings)]
        compare(contenders, SINGLE)
        times = alternate(contenders, settings.effort)
        what, label = "CTC loss and gradient", "T={}, B={}, V={}, labels {}".format(*size)
        ours, theirs = times["tinygrad_rnn"], times.get("PyTorch")
        if theirs is None:
            yield absolute("ctc", what, label, ours)
        else:
            yield faster("ctc", what, label, ours, "PyTorch", theirs, target)


def _batch(steps: int, rows: int, classes: int, labels: int) -> Batch:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((steps, rows, classes), dtype=np.float32)
    x -= np.log(np.exp(x).sum(-1, keepdims=True))
    return x, rng.integers(1, classes, (rows, labels)), [steps] * rows, [labels] * rows


def _ours(batch: Batch) -> Contender:
    log_probs, *rest = batch
    leaf = tg.tensor(log_probs, requires_grad=True)

    def run() -> Any:
        leaf.grad = None
        loss = ctc_loss(leaf, *rest, reduction="sum")
        loss.backward()
        return loss

    return Contender("tinygrad_rnn", run, lambda loss: _named(loss, leaf.grad))


def _torch(batch: Batch, settings: Settings) -> Contender:
    """PyTorch gives the gradient of what log_softmax comes after: eˣ more than that by x."""
    torch = torch_at(settings)
    log_probs, targets, *lengths = batch
    leaf = torch.tensor(log_probs, requires_grad=True)
    rest = [torch.tensor(values) for values in (targets, *lengths)]

    def run() -> Any:
        leaf.grad = None
        loss = torch.nn.functional.ctc_loss(leaf, *rest, reduction="sum")
        loss.backward()
        return loss

    return Contender("PyTorch", run, lambda loss: _named(loss, leaf.grad - leaf.detach().exp()))


def _named(loss: Any, gradient: Any) -> dict[str, np.ndarray]:
    return {"loss": loss.detach().numpy(), "gradient": gradient.numpy()}


PARTS: dict[str, Callable[[Settings], Measures]] = {"ctc": ctc}
