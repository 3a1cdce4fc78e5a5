"""Optimisers and modules: one sees tensors, the other owns them, and neither knows the other."""

from __future__ import annotations

import numpy as np
import pytest
from optim_reference import host

import tinygrad_rnn as tg
from tinygrad_rnn import nn, optim
from tinygrad_rnn.errors import DTypeError


def test_the_state_of_a_module_follows_its_optimiser(rng: np.random.Generator) -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    before = {name: host(t).copy() for name, t in model.state_dict().items()}
    optimizer = optim.SGD(model.named_parameters(), lr=0.5)
    assert list(model.state_dict()) == list(before) == optimizer.param_groups[0]["param_names"]
    for name, tensor in model.state_dict().items():
        np.testing.assert_array_equal(host(tensor), before[name])
    model(tg.tensor(rng.standard_normal((5, 3)).astype(np.float32))).sum().backward()
    optimizer.step()
    gradients = {name: p.grad for name, p in model.named_parameters()}
    for name, tensor in model.state_dict().items():
        g = gradients[name]
        assert g is not None
        np.testing.assert_array_equal(host(tensor), before[name] - 0.5 * host(g))


def test_a_state_loaded_into_a_module_is_what_the_optimiser_goes_on_from() -> None:
    model, other = nn.Linear(2, 2), nn.Linear(2, 2)
    optimizer = optim.SGD(model.parameters(), lr=0.5)
    model.load_state_dict(other.state_dict())
    for param in model.parameters():
        param.grad = tg.ones_like(param.detach())
    optimizer.step()
    for mine, loaded in zip(model.parameters(), other.parameters(), strict=True):
        np.testing.assert_array_equal(host(mine), host(loaded) - np.float32(0.5))


def test_a_module_cast_after_its_optimiser_was_made_is_refused() -> None:
    model = nn.Linear(2, 2)
    optimizer = optim.Adam(model.named_parameters())
    model.to(dtype=tg.float64)
    with pytest.raises(DTypeError, match="make the optimiser after") as caught:
        optimizer.step()
    assert "'weight'" in str(caught.value)


def test_a_recurrent_network_learns_to_remember() -> None:
    tg.manual_seed(1)
    cell, out = nn.RNN(1, 8), nn.Linear(8, 1)
    params = [*cell.parameters(), *out.parameters()]
    optimizer = optim.Adam(params, lr=0.02)
    schedule = optim.LinearWarmup(optimizer, 5, optim.CosineAnnealingLR(optimizer, 200))
    xs = tg.tensor(np.random.default_rng(0).standard_normal((4, 32, 1)).astype(np.float32))
    losses = []
    for _ in range(150):
        optimizer.zero_grad()
        states, _ = cell(xs)
        loss = ((out(states[-1]) - xs[0]) ** 2).mean()
        loss.backward()
        optim.clip_grad_norm_(params, 1.0)
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
    assert losses[-1] < 0.1 * losses[0]
