"""Checks of arguments that several files of this package share."""

from __future__ import annotations


def shorten(value: object, width: int = 60) -> str:
    """What ``repr`` shows of a value, cut off where a message would become unreadable."""
    shown = repr(value)
    return shown if len(shown) <= width else shown[: width - 1] + "…"
