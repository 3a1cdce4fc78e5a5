"""Interrupts at any moment of a call."""

from __future__ import annotations

import gc
import signal
from collections.abc import Callable, Iterable
from typing import Any

import pytest

__all__ = ["interrupted", "needs_timers"]

needs_timers = pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs timers")


def interrupted(call: Callable[[], object], after: Iterable[float]) -> None:
    """Make a call over and over again, and interrupt that after each of these times in seconds."""

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    def keep_on(seconds: float) -> None:
        signal.setitimer(signal.ITIMER_REAL, seconds)
        while True:
            call()

    before = signal.signal(signal.SIGALRM, interrupt)
    gc.disable()  # in a callback of its own an interrupt would be lost
    try:
        for seconds in after:
            with pytest.raises(KeyboardInterrupt):
                keep_on(seconds)
    finally:
        gc.enable()
        signal.signal(signal.SIGALRM, before)
