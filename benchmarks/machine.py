"""What the figures were measured on: the machine, the versions, and how busy others kept it."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
import time
from dataclasses import dataclass
from typing import Any

from .processes import OVERRIDES, ROOT

__all__ = ["Watch", "machine", "versions"]

PACKAGES = (
    "tinygrad-rnn", "numpy", "llvmlite", "torch", "jax", "jaxlib", "autograd", "mygrad",
)  # fmt: skip


def machine() -> dict[str, Any]:
    """The processor, the cores that may be used, the memory, the system."""
    return {
        "processor": _processor(), "cores": os.cpu_count(), "memory": _memory(),
        "system": f"{platform.system()} {platform.machine()}",
        "overrides": {name: os.environ[name] for name in OVERRIDES if name in os.environ},
    }  # fmt: skip


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            lines = dict(line.split(":", 1) for line in file if ":" in line)
    except OSError:
        return platform.processor()
    fields = {name.strip(): value.strip() for name, value in lines.items()}
    wide = [flag for flag in ("avx512f", "avx2") if flag in fields.get("flags", "").split()]
    return " ".join([fields.get("model name", platform.processor()), *wide[:1]])


def _memory() -> str:
    pages = os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 0
    return f"{pages * os.sysconf('SC_PAGE_SIZE') / 2**30:.0f} GiB" if pages else "unknown"


def versions() -> dict[str, str]:
    """Python, our commit, and each package or "not installed"."""
    found = {"Python": platform.python_version(), "commit": _commit(), "BLAS of NumPy": _blas()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found


def _commit() -> str:
    command = ["git", "describe", "--always", "--dirty"]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return done.stdout.strip()


def _blas() -> str:
    import numpy as np

    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    try:
        import threadpoolctl
    except ImportError:
        return f"{blas['name']} {blas['version']}"
    kernels = {pool.get("architecture") for pool in threadpoolctl.threadpool_info()} - {None}
    return f"{blas['name']} {blas['version']} with {', '.join(sorted(kernels))} kernels"


@dataclass(frozen=True)
class Watch:
    """Started with a part, it tells at the end how long that took and what others did meanwhile."""

    wall: float
    own: float
    busy: float | None

    @staticmethod
    def start() -> Watch:
        """Now."""
        return Watch(time.perf_counter(), _own_seconds(), _busy_seconds())

    def seconds(self) -> float:
        """Since the start."""
        return time.perf_counter() - self.wall

    def others(self) -> float | None:
        """The cores that others kept busy on average; None where the system does not say."""
        busy = _busy_seconds()
        if busy is None or self.busy is None:
            return None
        return max(0.0, (busy - self.busy) - (_own_seconds() - self.own)) / self.seconds()


def _own_seconds() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _busy_seconds() -> float | None:
    """Seconds of all cores that were not idle, since the machine started (Linux)."""
    try:
        with open("/proc/stat", encoding="ascii") as file:
            ticks = [int(number) for number in file.readline().split()[1:9]]
    except OSError:
        return None
    _user, _nice, _system, idle, waiting, *_rest = ticks
    return (sum(ticks) - idle - waiting) / os.sysconf("SC_CLK_TCK")
