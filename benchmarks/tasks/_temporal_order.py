"""Temporal order learned from short sequences to long ones: one network for all lengths.

The length of a batch is drawn from [low, top]. `top` begins at 10 and grows by a fifth
whenever fewer than `next_at` of a thousand new sequences of that length are wrong; low =
min(40, top/2). A network that has lost what it knew (more than `back` of the last hundred batches
or so wrong, once top is 50) gets back the weights of its last good stage, at 0.6 of the rate; one
that stands still for `patience` updates goes on at half the rate.
The plain network learns with noise on what its units sum up: what is kept must then be
a state to which the network returns, and such a state lasts for longer than it was trained.

Legend: T time steps, B batch, H hidden size.
"""

from __future__ import annotations

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
          "patience": 5000, "steps": 30_000}  # fmt: skip
SETTINGS: dict[str, dict[str, Any]] = {
    "RNN": COMMON | {"lr": 5e-4, "slower": 0.5, "clip": 0.05, "penalty": 20.0, "noise": 0.1},
    "LSTM": COMMON | {"lr": 1e-3, "slower": 0.0, "clip": 1.0},
}
LOOK = 100  # updates from one look at new sequences to the next


class Plain(nn.Module):
    """h = tanh(V x + W h + b), logits U h + c of the last h; W begins orthogonal."""

    def __init__(self, hidden: int, penalty: float, noise: float) -> None:
        self.penalty, self.noise = penalty, noise
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

    def learn(self, batch: TaskBatch) -> Any:
        """Gradients of the loss and of Ω/T; the logits."""
        push = self.noise * tg.randn(*batch.inputs.shape[:2], len(self.b))
        push.requires_grad_()
        logits, hs = self.run(tg.tensor(batch.inputs), push)
        cross_entropy(logits, tg.tensor(batch.targets)).backward()
        omega = vanishing_gradient_penalty(self.W, push.grad, 1 - hs.detach() ** 2)
        (self.penalty / len(batch.inputs) * omega).backward()
        return logits


class Gated(nn.Module):
    """An LSTM whose forget gates begin open (bias 3), and its last h."""

    def __init__(self, hidden: int) -> None:
        self.lstm, self.out, self.noise = nn.LSTM(6, hidden), nn.Linear(hidden, 4), 0.0
        with tg.no_grad():
            self.lstm.bias_ih_l0[hidden : 2 * hidden] = 3.0

    def forward(self, xs: Any) -> Any:
        """Logits (B, 4)."""
        return self.out(self.lstm(xs)[1][0][0])

    def learn(self, batch: TaskBatch) -> Any:
        """Gradients of the loss; the logits."""
        logits = self(tg.tensor(batch.inputs))
        cross_entropy(logits, tg.tensor(batch.targets)).backward()
        return logits


class Course:
    """The training of one network: lengths that grow, a way back, rates that fall at the end."""

    def __init__(self, model: Any, settings: dict[str, Any], seed: int) -> None:
        self.model, self.settings = model, settings
        self.rng = np.random.default_rng([seed, 1])
        self.lr, self.top, self.wrong = settings["lr"], 10, 1.0
        self.updates = self.standing = 0
        self.good: dict[str, Any] | None = None
        self._restart()

    def _restart(self) -> None:
        self.optimizer = Adam(self.model.parameters(), lr=self.lr)

    def update(self) -> None:
        """One batch."""
        low = max(10, min(40, self.top // 2))
        task = TemporalOrder(int(self.rng.integers(low, self.top + 1)))
        batch = task.draw(self.rng, self.settings["batch"])
        slower = min(1.0, 30 / self.top) ** self.settings["slower"]
        self.optimizer.param_groups[0]["lr"] = self.lr * slower
        self.optimizer.zero_grad()
        logits = self.model.learn(batch)
        if math.isfinite(clip_grad_norm_(self.model.parameters(), self.settings["clip"])):
            self.optimizer.step()
        wrong = task.wrong(logits.detach().numpy(), batch).mean()
        self.wrong += 0.02 * (wrong - self.wrong)
        self._judge()

    def _judge(self) -> None:
        self.updates, self.standing = self.updates + 1, self.standing + 1
        if self.good is not None and self.top >= 50 and self.wrong > self.settings["back"]:
            self.model.load_state_dict(self.good)
            self._slow_down(0.6)
        elif self.updates % LOOK == 0 and self._knows(self.top):
            self._promote()
        elif self.standing % self.settings["patience"] == 0:
            self.lr *= 0.5

    def _knows(self, length: int) -> bool:
        seed = self.updates  # new sequences at every look
        return wrong_share(self.model, length, 1000, seed) < self.settings["next_at"]

    def _slow_down(self, factor: float) -> None:
        self.lr, self.wrong, self.standing = factor * self.lr, 0.05, 0
        self._restart()

    def _promote(self) -> None:
        state = self.model.state_dict()
        self.good = {name: value.detach().clone() for name, value in state.items()}
        self.top = min(LENGTHS[-1], math.ceil(self.top * self.settings["grow"]))
        self.wrong, self.standing = 0.05, 0

    def ready(self) -> bool:
        """Whether it is time to look, and every length is learned."""
        if self.top < LENGTHS[-1] or self.updates % (5 * LOOK):
            return False
        return max(wrong_share(self.model, length, 2000, 5) for length in LENGTHS) < 0.005


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
    hidden = settings["hidden"]
    model = (
        Plain(hidden, settings["penalty"], settings["noise"]) if kind == "RNN" else Gated(hidden)
    )
    course = Course(model, settings, seed)
    for n in range(1, settings["steps"] + 1):
        course.update()
        if n % 1000 == 0:
            say(f"{n} updates, up to T = {course.top}, {100 * course.wrong:.1f} % wrong")
        if course.ready():
            break
    count = 100 if quick else 10_000
    found = {f"T={t} %": 100 * wrong_share(model, t, count, 10**6) for t in reversed(LENGTHS)}
    return found | {"updates": n}
