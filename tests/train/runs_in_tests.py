"""Small runs that the tests of training and of the command line share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tinygrad_rnn.train import TextSettings, Trainer, load_checkpoint

__all__ = ["TEXT", "assert_same_run", "small_text_settings", "write_series", "write_text"]

TEXT = "the quick brown fox jumps over the lazy dog; pack my box with five dozen jugs.\n" * 12


def write_text(folder: Path) -> Path:
    """A text of 948 characters."""
    path = folder / "words.txt"
    path.write_text(TEXT, encoding="utf-8")
    return path


def write_series(folder: Path, rows: int = 160) -> Path:
    """A table whose column ``y`` depends on its own past and on ``push``."""
    push = np.random.default_rng(5).standard_normal(rows)
    y = np.zeros(rows)
    for t in range(1, rows):
        y[t] = 0.8 * y[t - 1] + push[t - 1] + 0.5 * np.sin(t / 3)
    lines = [f"day{t},{y[t]:.6f},{push[t]:.6f}" for t in range(rows)]
    path = folder / "river.csv"
    path.write_text("\n".join(["day,y,push", *lines]) + "\n", encoding="utf-8")
    return path


def small_text_settings(text: Path, **others: Any) -> TextSettings:
    """Everything that has a state is in it: dropout, two layers, a schedule, several epochs."""
    small: dict[str, Any] = {
        "hidden": 6, "layers": 2, "embedding": 4, "dropout": 0.2, "batch": 4, "window": 13,
        "steps": 24, "warmup": 5, "lr": 0.01, "validate_every": 6, "held_out": 0.1,
    }  # fmt: skip
    return TextSettings(files=(str(text),), **{**small, **others})


def assert_same_run(one: Path, other: Path) -> None:
    """Two checkpoints are equal in every bit but the time they took."""
    a, b = load_checkpoint(one), load_checkpoint(other)
    assert a.tensors.keys() == b.tensors.keys()
    for name, array in a.tensors.items():
        assert array.dtype == b.tensors[name].dtype, name
        assert array.tobytes() == b.tensors[name].tobytes(), name
    assert {**a.state, "seconds": 0} == {**b.state, "seconds": 0}


def assert_resumes(made: Callable[[], Trainer], stop: int, steps: int, folder: Path) -> None:
    """A run that is stopped, saved and gone on with by a fresh trainer is the one that was not."""
    whole = made()
    whole.run(steps)
    whole.save(folder / "whole.ckpt")
    first = made()
    first.run(stop)
    first.save(folder / "part.ckpt")
    second = made()
    second.load(folder / "part.ckpt")
    second.run(steps)
    second.save(folder / "resumed.ckpt")
    assert_same_run(folder / "resumed.ckpt", folder / "whole.ckpt")
