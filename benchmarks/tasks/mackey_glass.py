"""Mackey–Glass 17, run freely for 84 steps by the NARX network of examples/mackey_glass.py."""

from __future__ import annotations

from collections.abc import Callable
from statistics import fmean
from typing import Any

import numpy as np

import tinygrad_rnn as tg
from examples.mackey_glass import AHEAD, TAPS, Narx, train
from tinygrad_rnn.baselines import LinearAR, nrmse84
from tinygrad_rnn.data import Standardizer
from tinygrad_rnn.data.tasks import mackey_glass
from tinygrad_rnn.losses import mse_loss
from tinygrad_rnn.optim import Adam, CosineAnnealingLR, clip_grad_norm_

from .task import Figures, Task, say

__all__ = ["TASKS"]

COUNT, HELD = 3000, 2000  # values to train on, and after them those to judge by
SPACING = 12  # between the origins of the free runs that are taught
ADAM = {"one step": (6000, 1e-2), "free": (500, 3e-4)}  # iterations, first learning rate
LBFGS = {"one step": 2500, "free": 2000}


class Judge:
    """NRMSE84 over free runs from origins in what was held back."""

    def __init__(self) -> None:
        series = mackey_glass(COUNT + HELD)
        self.scale = Standardizer.fit(series[:COUNT])
        self.z = self.scale.transform(series)
        self.deviation = float(series.std() / self.scale.scale)
        self.origins = np.arange(COUNT, COUNT + HELD - AHEAD, 19)
        self.goal = self.z[self.origins + np.arange(AHEAD)[:, None]]

    @property
    def taught(self) -> Any:
        """The training part."""
        return self.z[:COUNT]

    def __call__(self, model: Any) -> float:
        """The error of the 84th free step."""
        with tg.no_grad():
            runs = model.run(self.z, self.origins, AHEAD).numpy()
        return nrmse84(self.goal, runs, self.deviation)

    def autoregression(self) -> float:
        """That of AR with the same taps."""
        past = self.z[self.origins + np.arange(-TAPS, 0)[:, None]]
        runs = LinearAR.fit(self.taught, TAPS).forecast(past, AHEAD)
        return nrmse84(self.goal, runs, self.deviation)


def by_adam(model: Any, z: Any, steps: int, spacing: int, iterations: int, lr: float) -> None:
    """Fit runs of so many steps, all origins at once."""
    origins = np.arange(TAPS, len(z) - steps + 1, spacing)
    targets = tg.tensor(z[origins + np.arange(steps)[:, None]], dtype=tg.float64)
    optimizer = Adam(model.parameters, lr=lr)
    schedule = CosineAnnealingLR(optimizer, iterations)
    for _ in range(iterations):
        optimizer.zero_grad()
        mse_loss(model.run(z, origins, steps), targets).backward()
        clip_grad_norm_(model.parameters, 1.0)
        optimizer.step()
        schedule.step()


def _run(teach: Callable[[Any, Any, int, int, bool], None]) -> Callable[[int, bool], Figures]:
    def run(seed: int, quick: bool) -> Figures:
        judge = Judge()
        tg.manual_seed(seed)
        model, found = Narx(), []
        for steps, spacing in ((1, 1), (AHEAD, SPACING)):
            teach(model, judge.taught, steps, spacing, quick)
            found.append(judge(model))
            say(f"taught {steps} ahead: NRMSE84 {found[-1]:.2e}")
        return {"NRMSE84": found[1], "taught one step only": found[0], "AR": judge.autoregression()}

    return run


def _adam(model: Any, z: Any, steps: int, spacing: int, quick: bool) -> None:
    iterations, lr = ADAM["one step" if steps == 1 else "free"]
    by_adam(model, z, steps, spacing, 5 if quick else iterations, lr)


def _lbfgs(model: Any, z: Any, steps: int, spacing: int, quick: bool) -> None:
    iterations = LBFGS["one step" if steps == 1 else "free"]
    train(model, z, steps, spacing, 3 if quick else iterations)


def _below(bar: float) -> Callable[[list[Figures]], bool]:
    return lambda rows: fmean(row["NRMSE84"] for row in rows) < bar


TASKS = [
    Task(
        name="mackey_glass.adam", title="Mackey–Glass 17, free run of 84 steps, Adam",
        target="NRMSE84 < 1e-2, mean of 5 seeds", run=_run(_adam), met=_below(1e-2),
        minutes=2, settings=ADAM,
    ),
    Task(
        name="mackey_glass.lbfgs", title="Mackey–Glass 17, free run of 84 steps, L-BFGS",
        target="NRMSE84 < 1e-3, mean of 5 seeds", run=_run(_lbfgs), met=_below(1e-3),
        minutes=2, settings=LBFGS,
    ),
]  # fmt: skip
