"""Decoding: from a model's scores to symbols."""

from __future__ import annotations

from .sampling import Sampler, generate

__all__ = ["Sampler", "generate"]
