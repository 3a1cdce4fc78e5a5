"""The time-delay language model: a window, one projection, and the same use as any other."""

from __future__ import annotations

from itertools import islice
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn.decode import Sampler, as_step, beam_search, generate
from tinygrad_rnn.errors import ArgumentError, CarryError
from tinygrad_rnn.optim import Adam
from tinygrad_rnn.train import TDNNLM, bits_per_char, language_loss

V, N, T, B = 7, 3, 6, 2


@pytest.fixture
def model() -> TDNNLM:
    return TDNNLM(V, N, 8, embedding_size=4).double()


def symbols(rng: Any, *shape: int) -> Any:
    return tg.tensor(rng.integers(0, V, shape))


def test_each_output_is_a_network_on_its_window(model: TDNNLM, rng: Any) -> None:
    xs = symbols(rng, T, B)
    logits = model(xs)[0].detach().numpy()
    p, v, u = (layer.weight.detach().numpy() for layer in model.children())
    b, c = (layer.bias.detach().numpy() for layer in (model.spliced, model.output))
    for t in range(T):
        seen = [p[xs[t - k].numpy()] if t >= k else np.zeros((B, 4)) for k in range(N)]
        expected = np.tanh(np.concatenate(seen, 1) @ v.T + b) @ u.T + c
        np.testing.assert_allclose(logits[t], expected, rtol=1e-12, atol=1e-12)


def test_what_has_left_the_window_is_forgotten(model: TDNNLM, rng: Any) -> None:
    xs = symbols(rng, T, B)
    other = xs.clone()
    other[1] = (other[1] + 1) % V
    same = (model(xs)[0] == model(other)[0]).all(-1).all(-1).tolist()
    assert same == [True, False, False, False, True, True]


@pytest.mark.parametrize("window", [1, 2, N])
def test_in_pieces_it_is_the_whole(window: int, rng: Any) -> None:
    model, xs = TDNNLM(V, window, 8).double(), symbols(rng, T, B)
    whole, state, found = model(xs)[0], None, []
    for piece in (xs[:1], xs[1:2], xs[2:]):
        logits, state = model(piece, state)
        found.append(logits)
    np.testing.assert_allclose(tg.cat(found).detach(), whole.detach(), rtol=1e-12)


def test_it_is_trained_judged_drawn_from_and_searched_like_any_other(rng: Any) -> None:
    text = np.tile([0, 1, 2, 0, 3, 4], 60)  # what follows 0 depends on the symbol before it
    tg.manual_seed(0)
    model = TDNNLM(V, 2, 16, embedding_size=8)
    optimizer, loss = Adam(model.parameters(), lr=0.03), language_loss(model)
    batch = text[:-1].reshape(-1, 1), text[1:].reshape(-1, 1)
    for _ in range(60):
        optimizer.zero_grad()
        loss(batch, None)[0].backward()
        optimizer.step()
    assert bits_per_char(model, text[20:], text[:20]) < 0.05
    drawn = generate(model, [1, 2], Sampler(temperature=0), np.random.default_rng(0))
    assert list(islice(drawn, 6)) == [0, 3, 4, 0, 1, 2]
    with tg.no_grad():
        state = model(tg.tensor([[1]]))[1]
    [[best]] = beam_search(as_step(model), state, [2], beam_width=2, max_length=4, batch_dim=1)
    assert best.symbols == (0, 3, 4, 0)


def test_what_cannot_be(model: TDNNLM, rng: Any) -> None:
    with pytest.raises(ArgumentError, match="window, a whole number >= 1, expected, got 0"):
        TDNNLM(V, 0, 8)
    with pytest.raises(CarryError, match=r"a state of shape \(2, 2, 4\) expected, got \(2, 1, 4\)"):
        model(symbols(rng, T, B), model(symbols(rng, T, 1))[1])
