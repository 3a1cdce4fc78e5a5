"""``demo``: the first real job, with nothing but a Python."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from ..train import BEST, LAST, TextSettings
from .text import run_text

__all__ = ["demo"]

SETTINGS = TextSettings(
    hidden=256, embedding=64, batch=16, window=64, lr=0.01, steps=1500, validate_every=100
)


def demo(arguments: argparse.Namespace) -> None:
    """Train on the text that every Python carries; an earlier demo in the folder is replaced."""
    folder = Path(arguments.out or "runs/demo")
    for name in (BEST, LAST):
        (folder / name).unlink(missing_ok=True)
    quick = replace(SETTINGS, hidden=64, steps=60, validate_every=20)
    run_text(quick if arguments.quick else SETTINGS, folder)
