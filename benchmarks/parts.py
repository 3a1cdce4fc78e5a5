"""All parts by name, in the order of running, and those that are measured with more threads."""

from __future__ import annotations

from . import compiler, second, sequences, spine, vocabulary

__all__ = ["PARTS", "THREADED"]

PARTS = {**spine.PARTS, **compiler.PARTS, **second.PARTS, **sequences.PARTS, **vocabulary.PARTS}
THREADED = ("layers", "cell", "character_model", "lengths")
