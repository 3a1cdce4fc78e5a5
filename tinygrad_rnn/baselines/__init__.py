"""What a network has to beat: n-gram models of text, persistence and linear AR of series."""

from __future__ import annotations

from .ngram import NGram

__all__ = ["NGram"]
