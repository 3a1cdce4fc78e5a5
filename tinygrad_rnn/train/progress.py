"""What a run shows while it goes on: a bar on a terminal, with loss, rate and time left."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable
from typing import Any, Self

from .loop import Trainer
from .metrics import MovingAverage

__all__ = ["Progress", "clock"]

BAR = "{percentage:3.0f}% |{bar}| {desc}"


def clock(seconds: float) -> str:
    """A time span as a clock shows it.

    >>> clock(65.4), clock(3723)
    ('1:05', '1:02:03')
    """
    minutes, second = divmod(round(seconds), 60)
    hour, minute = divmod(minutes, 60)
    return f"{hour}:{minute:02}:{second:02}" if hour else f"{minute}:{second:02}"


class Progress:
    """Follows a Trainer through ``on_step``; a context manager that clears the bar at its end.

    ``count(batch)`` says how many units, characters say, a batch holds; ``show(loss)`` puts the
    average loss in words. Where there is no terminal, or no tqdm, no bar is drawn.
    """

    def __init__(
        self, steps: int, count: Callable[[Any], int], unit: str, show: Callable[[float], str]
    ) -> None:
        self.steps, self.count, self.unit, self.show = steps, count, unit, show
        self.loss = MovingAverage(0.95)
        self._bar = _bar(steps)
        self._start: tuple[float, float, int] | None = None  # wall clock, trained seconds, step
        self._done = self._units = 0
        self._trained = self._wall = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def __call__(self, trainer: Trainer, batch: Any) -> None:
        """Take note of one step: the ``on_step`` of a Trainer."""
        now = time.perf_counter()
        if self._start is None:  # the first step is not timed: it warms caches, and may compile
            self._start = now, trainer.seconds, trainer.step
        else:
            self._units += self.count(batch)
        self._wall, self._trained = now - self._start[0], trainer.seconds - self._start[1]
        self._done = trainer.step - self._start[2]
        loss = self.loss.update(trainer.history.losses[-1])
        if self._bar is not None:
            rate = f"{self.rate:,.0f} {self.unit}/s"
            left = f"{clock(self.left(trainer.step))} left"
            words = f"step {trainer.step:,} of {self.steps:,}", self.show(loss), rate, left
            self._bar.set_description_str(" · ".join(words), refresh=False)
            self._bar.update(trainer.step - self._bar.n)

    @property
    def rate(self) -> float:
        """Units per second of training, validations and saves not counted."""
        return self._units / self._trained if self._trained else 0.0

    def left(self, step: int) -> float:
        """Seconds until the end at the pace so far, all counted."""
        return (self.steps - step) * self._wall / self._done if self._done else 0.0

    def print(self, text: str = "") -> None:
        """Print a line above the bar."""
        if self._bar is None:
            print(text, flush=True)
        else:
            self._bar.write(text, file=sys.stdout)


def _bar(steps: int) -> Any:
    if not sys.stderr.isatty():
        return None
    try:
        import tqdm
    except ImportError:
        return None
    width, height = shutil.get_terminal_size()  # 80 × 24 for a terminal that says 0 × 0
    return tqdm.tqdm(
        total=steps, bar_format=BAR, leave=False, mininterval=0.2, ncols=width, nrows=height
    )
