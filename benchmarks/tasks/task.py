"""What a task is, and what its run may use: the data folder, a line of progress."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["DATA_FOLDER", "Figures", "Task", "data_file", "say"]

DATA_FOLDER = "TINYGRAD_RNN_DATA"  # the variable that names the folder of real data
Figures = dict[str, float]


@dataclass(frozen=True, eq=False)
class Task:
    """One row of "What it learns".

    ``run(seed, quick)`` trains and measures; its figures are numbers under short names, the one
    that is judged first; those whose names begin with _ are kept in tasks.json alone.
    ``met(rows)`` judges the figures of all seeds. ``settings`` are what the figures depend on: a
    seed that was run with other settings is run again. ``data`` are the files, below the data
    folder, without which the task is listed as not run. ``note`` says what was tried, or what a
    reader should know.
    """

    name: str
    title: str
    target: str
    run: Callable[[int, bool], Figures]
    met: Callable[[list[Figures]], bool]
    seeds: int = 5
    minutes: float = 1.0  # one seed takes about so long on one core
    threads: int = 1
    settings: Mapping[str, object] = field(default_factory=dict)
    data: tuple[str, ...] = ()
    note: str = ""

    def absent(self) -> list[str]:
        """The data files that are not there."""
        return [name for name in self.data if not _located(name)]


def data_file(name: str) -> Path:
    """Where a file of the data folder lies; the folder is named by the environment."""
    found = _located(name)
    if found is None:
        raise FileNotFoundError(f"{name} in the folder that {DATA_FOLDER} names")
    return found


def _located(name: str) -> Path | None:
    folder = os.environ.get(DATA_FOLDER)
    path = Path(folder, name) if folder else None
    return path if path and path.exists() else None


def say(text: str) -> None:
    """A line of progress, below the line that announced the run."""
    print(f"    {text}", flush=True)
