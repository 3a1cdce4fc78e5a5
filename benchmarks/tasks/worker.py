"""One seed of one task, in a process of its own.

`python -m benchmarks.tasks.worker TASK SEED FILE`: the file receives the figures,
the time and what they were measured on.
"""

from __future__ import annotations

import json
import math
import os
import sys
import time
from datetime import date
from pathlib import Path
from typing import Any

from ..machine import machine, versions
from .catalogue import find
from .task import Task

__all__ = ["work"]


def work(task: Task, seed: int, quick: bool = False) -> dict[str, Any]:
    """Run it; the row to be kept.

    Raises:
        ValueError: a figure is not a finite number.
    """
    about = {"machine": machine(), "versions": versions(), "when": date.today().isoformat()}
    started, cpu = time.perf_counter(), time.process_time()
    figures = {name: float(value) for name, value in task.run(seed, quick).items()}
    if lost := [name for name, value in figures.items() if not math.isfinite(value)]:
        raise ValueError(f"{task.name}, seed {seed}: not finite: {', '.join(lost)}")
    return {
        "seed": seed, "figures": figures, "settings": dict(task.settings),
        "seconds": time.perf_counter() - started, "cpu": time.process_time() - cpu, **about,
    }  # fmt: skip


def main(name: str, seed: str, file: str, *flags: str) -> None:
    """Run, then write the file at once, so that there is a whole one or none."""
    (task,) = [task for task in find([name]) if task.name == name]
    row = work(task, int(seed), "quick" in flags)
    half = Path(file + ".half")
    half.write_text(json.dumps(row), encoding="utf-8")
    os.replace(half, file)


if __name__ == "__main__":
    main(*sys.argv[1:])
