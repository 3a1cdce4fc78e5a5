"""Running the seeds of tasks in processes, some at a time, and keeping what they find."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..processes import ROOT, environment
from .task import Task

__all__ = ["Runner", "kept"]

KEPT = ROOT / "runs" / "tasks"
BREATH = 0.05  # seconds between two looks at the processes
Row = dict[str, Any]
Job = tuple[Task, int]


def kept(task: Task, folder: Path = KEPT) -> list[Row]:
    """The rows of seeds that were run with the task's settings, by seed."""
    rows = [json.loads(path.read_text(encoding="utf-8")) for path in folder.glob(_file(task, "*"))]
    settings = json.loads(json.dumps(dict(task.settings)))  # tuples come back as lists
    same = [row for row in rows if row["settings"] == settings]
    return sorted(same, key=lambda row: row["seed"])


def _file(task: Task, seed: object) -> str:
    return f"{task.name}@{seed}.json"


@dataclass
class Runner:
    """Runs jobs, at most ``slots`` threads' worth at a time; what ends is kept at once."""

    slots: int = 1
    quick: bool = False
    own_kernels: bool = False
    folder: Path = KEPT
    running: dict[Job, subprocess.Popen[bytes]] = field(default_factory=dict)

    def run(self, jobs: list[Job]) -> Iterator[tuple[Job, Row | None]]:
        """Each job as it ends, with its row; None where it failed. Leaving early stops them all."""
        self.folder.mkdir(parents=True, exist_ok=True)
        waiting = list(jobs)
        try:
            while waiting or self.running:
                while waiting and self._fits(waiting[0]):
                    self._start(waiting.pop(0))
                yield from self._ended()
                time.sleep(BREATH)
        finally:
            self._stop()

    def _fits(self, job: Job) -> bool:
        used = sum(task.threads for task, _ in self.running)
        return not self.running or used + job[0].threads <= self.slots

    def _start(self, job: Job) -> None:
        task, seed = job
        print(f"  {task.name}, seed {seed} …", flush=True)
        command = ["-m", "benchmarks.tasks.worker", task.name, str(seed), str(self._path(job))]
        self.running[job] = subprocess.Popen(
            [sys.executable, *command, *["quick"] * self.quick],
            env=environment(task.threads, self.own_kernels), cwd=ROOT,
            start_new_session=True,  # an interrupt is for us; we end it
        )  # fmt: skip

    def _ended(self) -> Iterator[tuple[Job, Row | None]]:
        for job in [job for job, process in self.running.items() if process.poll() is not None]:
            done = self.running.pop(job).returncode == 0
            yield job, json.loads(self._path(job).read_text(encoding="utf-8")) if done else None

    def _path(self, job: Job) -> Path:
        return self.folder / _file(*job)

    def _stop(self) -> None:
        for process in self.running.values():
            process.terminate()
        for process in self.running.values():
            process.wait()
        self.running.clear()
