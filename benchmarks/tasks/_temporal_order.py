"""Temporal order learned from short sequences to long ones: one network for all lengths.

The length of a batch is drawn from [low, top]. `top` begins at 10 and grows by a fifth
whenever fewer than `next_at` of a thousand new sequences of that length are wrong; low =
min(40, top/2). What is asked, kept and judged in the end is the running mean of the weights
(Polyak, Juditsky 1992): from one update to the next, the wrong answers of the plain network at
T = 200 go up and down by some percent. The LSTM's do not, and its mean is its last weights. A
network that has lost what it knew (more than `back` of the last hundred batches or so wrong, once
top is 50) gets back the mean of its last good stage, at 0.6 of the rate.
The plain network learns with noise on what its units sum up: what is kept must then be
a state to which the network returns, and such a state lasts for longer than it was trained.
Ω wants gradients that keep their norm, which finds such states; but they are only stable where
gradients fade. So Ω fades as `top` grows.

Legend: T time steps, B batch, H hidden size.
"""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np

import tinygrad_rnn as tg
from tinygrad_rnn import nn
from tinygrad_rnn.data.tasks import TaskBatch, TemporalOrder
from tinygrad_rnn.losses import cross_entropy
from tinygrad_rnn.nn.init import normal_, orthogonal_
from tinygrad_rnn.optim import Adam, clip_grad_norm_
from tinygrad_rnn.recurrence import vanishing_gradient_penalty

from .task import Figures, say

__all__ = ["LENGTHS", "SETTINGS", "order"]

LENGTHS = (50, 100, 150, 200)
COMMON = {"hidden": 50, "batch": 32, "grow": 1.2, "next_at": 0.01, "back": 0.15,
          "steps": 30_000}  # fmt: skip
SETTINGS: dict[str, dict[str, Any]] = {
    "RNN": COMMON | {"lr": 5e-4, "slower": 0.5, "clip": 0.05, "penalty": 20.0, "fades": 2.0,
                     "noise": 0.1, "mean": 0.002},
    "LSTM": COMMON | {"lr": 1e-3, "slower": 0.0, "clip": 1.0, "mean": 1.0},
}  # fmt: skip
SHORT = 30  # what falls with the length begins to fall here
LOOK = 100  # updates from one look at new sequences to the next


class Plain(nn.Module):
    """h = tanh(V x + W h + b), logits U h + c of the last h; W begins orthogonal."""

    def __init__(self, hidden: int, penalty: float, fades: float, noise: float) -> None:
        self.penalty, self.fades, self.noise = penalty, fades, noise
        self.W = nn.Parameter(orthogonal_(tg.zeros(hidden, hidden)))
        self.V = nn.Parameter(normal_(tg.zeros(hidden, 6), std=0.3))
        self.b = nn.Parameter(tg.zeros(hidden))
        self.out = nn.Linear(hidden, 4)

    def run(self, xs: Any, push: Any = 0.0) -> tuple[Any, Any]:
        """Logits and all h; ∂loss/∂push is what arrives at each step."""

        def step(h: Any, a: Any) -> tuple[Any, Any]:
            h = tg.tanh(a + h @ self.W.T)
            return h, h

        start = tg.zeros(xs.shape[1], len(self.b))
        final, hs = tg.scan(step, start, xs @ self.V.T + self.b + push)
        return self.out(final), hs

    def forward(self, xs: Any) -> Any:
        """Logits (B, 4)."""
        return self.run(xs)[0]

    def learn(self, batch: TaskBatch, top: int) -> Any:
        """Gradients of the loss and of Ω/T, which counts less as `top` grows; the logits."""
        push = self.noise * tg.randn(*batch.inputs.shape[:2], len(self.b))
        push.requires_grad_()
        logits, hs = self.run(tg.tensor(batch.inputs), push)
        cross_entropy(logits, tg.tensor(batch.targets)).backward()
        omega = vanishing_gradient_penalty(self.W, push.grad, 1 - hs.detach() ** 2)
        penalty = self.penalty * _falling(top, self.fades)
        (penalty / len(batch.inputs) * omega).backward()
        return logits


class Gated(nn.Module):
    """An LSTM whose forget gates begin open (bias 3), and its last h."""

    def __init__(self, hidden: int) -> None:
        self.lstm, self.out = nn.LSTM(6, hidden), nn.Linear(hidden, 4)
        with tg.no_grad():
            self.lstm.bias_ih_l0[hidden : 2 * hidden] = 3.0

    def forward(self, xs: Any) -> Any:
        """Logits (B, 4)."""
        return self.out(self.lstm(xs)[1][0][0])

    def learn(self, batch: TaskBatch, top: int) -> Any:
        """Gradients of the loss; the logits."""
        logits = self(tg.tensor(batch.inputs))
        cross_entropy(logits, tg.tensor(batch.targets)).backward()
        return logits


def _falling(top: int, power: float) -> float:
    return min(1.0, SHORT / top) ** power


class Course:
    """The training of one network: lengths that grow, a way back; `mean` is what is learned."""

    def __init__(self, model: Any, settings: dict[str, Any], seed: int) -> None:
        self.model, self.mean, self.settings = model, copy.deepcopy(model), settings
        self.rng = np.random.default_rng([seed, 1])
        self.lr, self.top, self.wrong, self.updates = settings["lr"], 10, 1.0, 0
        self.good: dict[str, Any] | None = None
        self.optimizer = Adam(model.parameters(), lr=self.lr)

    def update(self) -> None:
        """One batch."""
        low = max(10, min(40, self.top // 2))
        task = TemporalOrder(int(self.rng.integers(low, self.top + 1)))
        batch = task.draw(self.rng, self.settings["batch"])
        slower = _falling(self.top, self.settings["slower"])
        self.optimizer.param_groups[0]["lr"] = self.lr * slower
        self.optimizer.zero_grad()
        logits = self.model.learn(batch, self.top)
        if math.isfinite(clip_grad_norm_(self.model.parameters(), self.settings["clip"])):
            self.optimizer.step()
        self.updates += 1
        self._follow()
        wrong = task.wrong(logits.detach().numpy(), batch).mean()
        self.wrong += 0.02 * (wrong - self.wrong)
        self._judge()

    def _follow(self) -> None:
        share = max(self.settings["mean"], 1 / self.updates)
        with tg.no_grad():
            for mean, now in zip(self.mean.parameters(), self.model.parameters(), strict=True):
                mean.add_(now - mean, alpha=share)

    def _judge(self) -> None:
        if self.good is not None and self.top >= 50 and self.wrong > self.settings["back"]:
            self._go_back()
        elif self.updates % LOOK == 0:
            seed = self.updates  # new sequences at every look
            if wrong_share(self.mean, self.top, 1000, seed) < self.settings["next_at"]:
                self._promote()

    def _go_back(self) -> None:
        self.model.load_state_dict(self.good)
        self.mean.load_state_dict(self.good)
        self.lr, self.wrong = 0.6 * self.lr, 0.05
        self.optimizer = Adam(self.model.parameters(), lr=self.lr)

    def _promote(self) -> None:
        state = self.mean.state_dict()
        self.good = {name: value.detach().clone() for name, value in state.items()}
        self.top = min(LENGTHS[-1], math.ceil(self.top * self.settings["grow"]))
        self.wrong = 0.05

    def ready(self) -> bool:
        """Whether it is time to look, and every length is learned."""
        if self.top < LENGTHS[-1] or self.updates % (5 * LOOK):
            return False
        return max(wrong_share(self.mean, length, 2000, 5) for length in LENGTHS) < 0.005


def wrong_share(model: Any, length: int, count: int, seed: int) -> float:
    """The share of new sequences that are answered wrongly."""
    task, rng, found = TemporalOrder(length), np.random.default_rng([seed, length]), []
    for _ in range(max(count // 1000, 1)):
        batch = task.draw(rng, min(count, 1000))
        with tg.no_grad():
            found.append(task.wrong(model(tg.tensor(batch.inputs)).numpy(), batch))
    return float(np.mean(found))


def order(kind: str, seed: int, quick: bool) -> Figures:
    """Train, and ask at every length; percent wrong of 10,000 new sequences each."""
    settings = SETTINGS[kind] | ({"steps": 3} if quick else {})
    tg.manual_seed(seed)
    names = ("hidden", "penalty", "fades", "noise")
    made = Plain(*map(settings.get, names)) if kind == "RNN" else Gated(settings["hidden"])
    course = Course(made, settings, seed)
    for n in range(1, settings["steps"] + 1):
        course.update()
        if n % 1000 == 0:
            say(f"{n} updates, up to T = {course.top}, {100 * course.wrong:.1f} % wrong")
        if course.ready():
            break
    count = 100 if quick else 10_000
    found = {f"T={t} %": 100 * wrong_share(course.mean, t, count, 10**6) for t in reversed(LENGTHS)}
    return found | {"updates": n}
