"""The smallest task: XOR by a network with one hidden layer."""

from __future__ import annotations

import numpy as np

import tinygrad_rnn as tg
from tinygrad_rnn import nn
from tinygrad_rnn.losses import binary_cross_entropy_with_logits
from tinygrad_rnn.optim import Adam

from .task import Figures, Task

__all__ = ["TASKS"]

SETTINGS = {"hidden": 8, "steps": 500, "lr": 0.05}


def run(seed: int, quick: bool) -> Figures:
    """Train on the four points; how many of them are wrong at the end."""
    tg.manual_seed(seed)
    points = tg.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    goals = tg.tensor([[0.0], [1.0], [1.0], [0.0]])
    model = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 1))
    optimizer = Adam(model.parameters(), lr=0.05)
    for _ in range(20 if quick else 500):
        optimizer.zero_grad()
        loss = binary_cross_entropy_with_logits(model(points), goals)
        loss.backward()
        optimizer.step()
    with tg.no_grad():
        wrong = np.sum((model(points).numpy() > 0) != (goals.numpy() > 0))
    return {"wrong": float(wrong), "loss": loss.item()}


TASKS = [
    Task(
        name="xor", title="XOR, one hidden layer", target="no point wrong, every seed",
        run=run, met=lambda rows: all(row["wrong"] == 0 for row in rows),
        minutes=0.02, settings=SETTINGS,
    )
]  # fmt: skip
