"""The command line: `python -m benchmarks.tasks [TASK…] [--seeds N] [--jobs N] [--record]`."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from .catalogue import find, modules
from .record import entry, joined, line, record, recorded
from .runner import KEPT, Job, Runner, kept
from .task import DATA_FOLDER, Task

__all__ = ["main"]


def main(arguments: list[str] | None = None) -> int:
    """Run, print, record; 1 if a run failed."""
    given = _parser().parse_args(arguments)
    if given.data:
        os.environ[DATA_FOLDER] = str(given.data.resolve())
    try:
        tasks = find(given.tasks)
    except KeyError as error:
        sys.exit(str(error.args[0]))
    if given.list:
        print("\n".join(f"{t.name:24} {t.minutes:4g} min a seed  {t.title}" for t in tasks))
        return 0
    signal.signal(signal.SIGTERM, _as_interrupt)
    try:
        if not given.quick:
            return _run(tasks, given, KEPT)
        with tempfile.TemporaryDirectory() as folder:
            return _run(tasks, given, Path(folder))
    except KeyboardInterrupt:
        print("\nstopped; the same command goes on with the seeds that are left", flush=True)
        return 130


def _as_interrupt(*_: Any) -> None:
    raise KeyboardInterrupt


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.tasks", description="What the library learns.",
        epilog=f"tasks: {', '.join(modules())}; --list names their variants",
    )  # fmt: skip
    parser.add_argument("tasks", nargs="*", metavar="TASK", help="all if none is named")
    parser.add_argument("--list", action="store_true", help="name the tasks, run nothing")
    parser.add_argument("--seeds", type=int, metavar="N", help="instead of each task's own number")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="cores to use (1)")
    parser.add_argument("--quick", action="store_true", help="once and tiny: does it run?")
    parser.add_argument("--again", action="store_true", help="also what was run before")
    parser.add_argument(
        "--data", type=Path, metavar="PATH", help=f"folder of real data (else ${DATA_FOLDER})"
    )
    parser.add_argument(
        "--own-kernels", action="store_true",
        help="drop variables such as OPENBLAS_CORETYPE that keep a library from its best kernels",
    )  # fmt: skip
    parser.add_argument(
        "--record", action="store_true",
        help="put the figures in benchmarks/tasks.json and RESULTS.md",
    )  # fmt: skip
    return parser


def _run(tasks: list[Task], given: argparse.Namespace, folder: Path) -> int:
    for task in tasks:
        if task.absent():
            print(f"{task.name}: not run, no {', '.join(task.absent())} in the data folder")
    ready = [task for task in tasks if not task.absent()]
    jobs = _jobs(ready, given, folder)
    failed = _work(jobs, Runner(given.jobs, given.quick, given.own_kernels, folder))
    found = {task: rows for task in ready if (rows := kept(task, folder))}
    if to_record := given.record and not given.quick:  # seeds that were run elsewhere stay
        found = {task: joined(recorded(task), rows) for task, rows in found.items()}
    entries = {task.name: entry(task, rows) for task, rows in found.items()}
    print("\n" + "\n".join(line(name, each) for name, each in entries.items()))
    if to_record:
        record(entries)
    return int(failed > 0)


def _jobs(tasks: list[Task], given: argparse.Namespace, folder: Path) -> list[Job]:
    """Every seed that is wanted and not yet there."""
    jobs: list[Job] = []
    for task in tasks:
        done = set() if given.again else {row["seed"] for row in kept(task, folder)}
        wanted = range(1 if given.quick else given.seeds or task.seeds)
        jobs += [(task, seed) for seed in wanted if seed not in done]
    return jobs


def _work(jobs: list[Job], runner: Runner) -> int:
    """Run the jobs, one line each; how many failed."""
    minutes = sum(task.minutes for task, _ in jobs) / runner.slots
    print(f"{len(jobs)} runs, about {0 if runner.quick else minutes:.0f} minutes", flush=True)
    started, failed = time.perf_counter(), 0
    for number, ((task, seed), row) in enumerate(runner.run(jobs), start=1):
        failed += row is None
        said = "failed" if row is None else _said(row["figures"])
        spent = f"{(time.perf_counter() - started) / 60:.1f} min"
        print(f"{number}/{len(jobs)} {task.name}, seed {seed}: {said} ({spent})", flush=True)
    return failed


def _said(figures: dict[str, float]) -> str:
    return ", ".join(f"{n} {value:.3g}" for n, value in figures.items() if not n.startswith("_"))


if __name__ == "__main__":
    sys.exit(main())
