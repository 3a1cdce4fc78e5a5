"""``config``: what is installed, and what of it is used."""

from __future__ import annotations

import argparse
import os
import platform
from importlib.metadata import PackageNotFoundError, version

import numpy as np

from .._version import __version__
from ..backend import get_backend
from ..compiler import show_config
from ..errors import TinygradRNNError
from .console import show_pairs

__all__ = ["config"]

OPTIONAL = {
    "llvmlite": ("compiled loops", "jit"),
    "cupy": ("device cuda", "cuda12"),
    "safetensors": ("checkpoints", "io"),
    "matplotlib": ("pictures", "viz"),
    "tqdm": ("progress bar", "run"),
    "onnx": ("export to ONNX", "onnx"),
    "mpi4py": ("data-parallel training", "mpi"),
}
DISTRIBUTIONS = {"cupy": ("cupy-cuda12x", "cupy-cuda13x", "cupy")}


def config(arguments: argparse.Namespace) -> None:
    """Print versions, devices, scan engines and optional packages."""
    show_pairs(
        "used",
        {
            "tinygrad_rnn": __version__,
            "Python": platform.python_version(),
            "NumPy": np.__version__,
            "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
            "device cuda": _cuda(),
            **_engines(),
        },
    )
    show_pairs("optional packages", {name: _package(name) for name in OPTIONAL})


def _cuda() -> str:
    try:
        get_backend("cuda")
    except TinygradRNNError as error:
        return f"not usable: {error.got}"
    return "usable"


def _engines() -> dict[str, str]:
    found = dict(line.split(": ", 1) for line in show_config().splitlines())
    return {"scan engines": found["engines"], "engine taken": found["auto"]}


def _package(name: str) -> str:
    purpose, extra = OPTIONAL[name]
    for distribution in DISTRIBUTIONS.get(name, (name,)):
        try:
            return f"{version(distribution)} ({purpose})"
        except PackageNotFoundError:
            continue
    return f'absent ({purpose}): pip install "tinygrad-rnn[{extra}]"'
