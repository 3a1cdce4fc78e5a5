"""What the runs of the command line share: the choice of cells, and Adam under a schedule."""

from __future__ import annotations

from ..nn import GRU, LSTM, RNN, Module
from ..optim import Adam, Optimizer
from ..optim.lr_scheduler import CosineAnnealingLR, LinearWarmup, LRScheduler
from .settings import RunSettings

__all__ = ["CELLS", "adam_with_schedule"]

CELLS = {"lstm": LSTM, "gru": GRU, "rnn": RNN}
LOWEST = 0.02  # of the highest learning rate, at the end


def adam_with_schedule(model: Module, settings: RunSettings) -> tuple[Optimizer, LRScheduler]:
    """Adam (Kingma and Ba, 2015); the rate rises for ``warmup`` steps, then falls as a cosine."""
    optimizer = Adam(model.parameters(), lr=settings.lr, betas=(0.9, 0.99))
    falling = max(1, settings.steps - settings.warmup)
    fall = CosineAnnealingLR(optimizer, falling, eta_min=LOWEST * settings.lr)
    return optimizer, LinearWarmup(optimizer, settings.warmup, after=fall)
