"""``demo``: the first real job, with nothing but a Python."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from ..train import BEST, LAST, TextSettings
from .runs import use_threads
from .text import run_text

__all__ = ["demo"]

# Chosen by what predicts held-out text best after about a minute on one core.
SETTINGS = TextSettings(lr=0.01, steps=1800, validate_every=150)
QUICK = replace(SETTINGS, hidden=64, warmup=10, steps=60, validate_every=20)


def demo(arguments: argparse.Namespace) -> None:
    """Train on the text that every Python carries; an earlier demo in the folder is replaced."""
    if arguments.own_process:
        use_threads(SETTINGS.threads)
    folder = Path(arguments.out or "runs/demo")
    for name in (BEST, LAST):
        (folder / name).unlink(missing_ok=True)
    run_text(QUICK if arguments.quick else SETTINGS, folder)
