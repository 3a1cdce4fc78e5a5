"""Fresh processes with a stated number of threads.

Thread counts are read once, when a BLAS or OpenMP is loaded, so they stand in the environment
before the process starts; on Linux the process is also held to that many cores, which is the one
limit that every library keeps.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

__all__ = ["environment", "fresh", "hold_to", "lines_of"]

ROOT = Path(__file__).resolve().parents[1]
VARIABLES = (
    "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS",
)  # fmt: skip


def environment(threads: int) -> dict[str, str]:
    """The environment of a process that may use so many threads."""
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    limits = dict.fromkeys(VARIABLES, str(threads))
    return {**os.environ, **limits, "PYTHONPATH": os.pathsep.join(paths)}


def hold_to(threads: int) -> None:
    """Keep this process, and those that it starts, on so many cores."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-threads:])


def fresh(arguments: list[str], threads: int = 1, **variables: str) -> Any:
    """What a new Python prints, read as JSON; its complaints go where ours go."""
    done = subprocess.run(
        [sys.executable, *arguments], env=environment(threads) | variables, cwd=ROOT,
        stdout=subprocess.PIPE, text=True, check=True,
    )  # fmt: skip
    return json.loads(done.stdout)


def lines_of(arguments: list[str], threads: int) -> Iterator[Any]:
    """The lines of JSON that a new Python prints, as they come; the rest is passed on."""
    command = [sys.executable, *arguments]
    with subprocess.Popen(
        command, env=environment(threads), cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            yield json.loads(line)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
