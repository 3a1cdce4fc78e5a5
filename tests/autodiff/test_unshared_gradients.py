"""Gradients that are themselves recorded have memory of their own too: clipping writes into it."""

from __future__ import annotations

import numpy as np

import tinygrad_rnn as tg
from tinygrad_rnn.optim import clip_grad_norm_


def test_recorded_gradients_do_not_share_memory() -> None:
    x, z = tg.ones(3, requires_grad=True), tg.ones(3, requires_grad=True)
    (x + z).sum().backward(create_graph=True)
    assert x.grad is not None
    assert z.grad is not None
    assert not np.may_share_memory(x.grad.array, z.grad.array)
    clip_grad_norm_([x, z], 1.0)
    assert abs(np.linalg.norm([x.grad.array, z.grad.array]) - 1) < 1e-6


def test_recorded_gradient_does_not_share_memory_with_the_cotangent() -> None:
    x, g = tg.ones(3, requires_grad=True), tg.ones(3)
    (found,) = tg.gradients([x + 1], [x], [g], create_graph=True)
    assert not np.may_share_memory(found.array, g.array)


def test_a_copied_gradient_can_still_be_differentiated() -> None:
    x, z = tg.tensor(2.0, requires_grad=True), tg.tensor(3.0, requires_grad=True)
    first = tg.gradients((x + z) ** 3, [x, z], create_graph=True)
    assert [float(tg.gradients(g, x, retain_graph=True)) for g in first] == [30.0, 30.0]
