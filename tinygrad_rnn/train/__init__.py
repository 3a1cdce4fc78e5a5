"""Training: the loop, its metrics, and checkpoints."""

from __future__ import annotations

from .checkpoint import Checkpoint, load_checkpoint, save_checkpoint

__all__ = ["Checkpoint", "load_checkpoint", "save_checkpoint"]
