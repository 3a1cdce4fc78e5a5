"""A whole training step of a character model, ours and PyTorch's from the same parameters.

Embedding, two LSTM layers, output, cross entropy, clipping, Adam. Legend: T time steps, B batch,
V characters, E embedding, H hidden size.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import tinygrad_rnn as tg

from .peers import torch_at
from .timing import Contender
from .work import Settings

__all__ = ["Corpus", "ours", "pytorch", "repeated"]

CLIP, RATE = 0.25, 1e-3  # the norm is clipped at every step of a new model
Step = Callable[[], Any]


class Corpus(NamedTuple):
    """The sizes, and symbols (T + 1, B): inputs and, one later, targets."""

    V: int
    E: int
    H: int
    symbols: np.ndarray

    @staticmethod
    def draw(quick: bool) -> Corpus:
        """B = 32, T = 64, V = 90, E = 64, H = 256, or tiny."""
        V, E, H, T, B = (5, 3, 4, 3, 2) if quick else (90, 64, 256, 64, 32)
        return Corpus(V, E, H, np.random.default_rng(0).integers(0, V, (T + 1, B)))


class CharacterModel(tg.nn.Module):
    """Logits (T, B, V) of the next character from characters (T, B)."""

    def __init__(self, corpus: Corpus) -> None:
        self.embedding = tg.nn.Embedding(corpus.V, corpus.E)
        self.lstm = tg.nn.LSTM(corpus.E, corpus.H, num_layers=2)
        self.output = tg.nn.Linear(corpus.H, corpus.V)

    def forward(self, symbols: Any) -> Any:
        """The logits."""
        return self.output(self.lstm(self.embedding(symbols))[0])


def start(corpus: Corpus) -> dict[str, np.ndarray]:
    """The parameters that both begin with."""
    tg.manual_seed(0)
    state = CharacterModel(corpus).state_dict()
    return {name: value.numpy().copy() for name, value in state.items()}


def ours(corpus: Corpus) -> tuple[Step, Any]:
    """A training step that gives its loss, and the model."""
    model = CharacterModel(corpus)
    model.load_state_dict(start(corpus))
    optimizer = tg.optim.Adam(model.parameters(), lr=RATE)
    inputs, targets = tg.tensor(corpus.symbols[:-1]), tg.tensor(corpus.symbols[1:])

    def step() -> Any:
        optimizer.zero_grad()
        loss = tg.losses.cross_entropy(model(inputs), targets)
        loss.backward()
        tg.optim.clip_grad_norm_(model.parameters(), CLIP)
        optimizer.step()
        return loss

    return step, model


def pytorch(corpus: Corpus, settings: Settings) -> tuple[Step, Any]:
    """The same in PyTorch."""
    torch = torch_at(settings)
    model = torch.nn.ModuleDict(
        {
            "embedding": torch.nn.Embedding(corpus.V, corpus.E),
            "lstm": torch.nn.LSTM(corpus.E, corpus.H, num_layers=2),
            "output": torch.nn.Linear(corpus.H, corpus.V),
        }
    )
    model.load_state_dict({n: torch.tensor(a) for n, a in start(corpus).items()})
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE)
    inputs, targets = torch.tensor(corpus.symbols[:-1]), torch.tensor(corpus.symbols[1:])

    def step() -> Any:
        optimizer.zero_grad()
        logits = model["output"](model["lstm"](model["embedding"](inputs))[0])
        loss = torch.nn.functional.cross_entropy(logits.view(-1, corpus.V), targets.view(-1))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimizer.step()
        return loss

    return step, model


def repeated(name: str, step: Step, model: Any, times: int = 5) -> Contender:
    """Some steps from the start: the losses, and the clipped gradients of the last one."""

    def read(losses: list[Any]) -> dict[str, np.ndarray]:
        gradients = {n: p.grad.numpy() for n, p in model.named_parameters()}
        return {"losses": np.array([loss.item() for loss in losses]), **gradients}

    return Contender(name, lambda: [step() for _ in range(times)], read)
