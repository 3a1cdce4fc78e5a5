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

__all__ = ["OVERRIDES", "ROOT", "environment", "fresh", "hold_to", "lines_of"]

ROOT = Path(__file__).resolve().parents[1]
VARIABLES = (
    "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS",
)  # fmt: skip
# Variables that make a library take other kernels than the processor's best, and so favour a peer.
OVERRIDES = (
    "ATEN_CPU_CAPABILITY", "DNNL_MAX_CPU_ISA", "MKL_ENABLE_INSTRUCTIONS",
    "NPY_DISABLE_CPU_FEATURES", "ONEDNN_MAX_CPU_ISA", "OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE",
    "TINYGRAD_RNN_ENGINE",
)  # fmt: skip


def environment(threads: int, own_kernels: bool = False) -> dict[str, str]:
    """The environment of a process that may use so many threads; perhaps without overrides.

    Python may keep the bytecode of our modules, as it keeps that of an installed package.
    """
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    limits = dict.fromkeys(VARIABLES, str(threads))
    dropped = {"PYTHONDONTWRITEBYTECODE", *(OVERRIDES if own_kernels else ())}
    given = {name: value for name, value in os.environ.items() if name not in dropped}
    return {**given, **limits, "PYTHONPATH": os.pathsep.join(paths)}


def hold_to(threads: int) -> None:
    """Keep this process, and those that it starts, on so many cores."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-threads:])


def fresh(arguments: list[str], variables: dict[str, str]) -> Any:
    """What a new Python with one thread prints, read as JSON; its complaints go where ours go."""
    done = subprocess.run(
        [sys.executable, *arguments], env=environment(1) | variables, cwd=ROOT,
        stdout=subprocess.PIPE, text=True, check=True,
    )  # fmt: skip
    return json.loads(done.stdout)


def lines_of(arguments: list[str], environ: dict[str, str]) -> Iterator[Any]:
    """The lines of JSON that a new Python prints, as they come; the rest is passed on."""
    command = [sys.executable, *arguments]
    with subprocess.Popen(
        command, env=environ, cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            yield json.loads(line)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
