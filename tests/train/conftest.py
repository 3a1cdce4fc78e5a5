"""A sound checkpoint, for the tests that load it, damage it or move it about."""

from __future__ import annotations

from pathlib import Path

import pytest
from checkpoint_files import sample

from tinygrad_rnn.train import save_checkpoint


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a checkpoint will stand."""
    return tmp_path / "last.ckpt"


@pytest.fixture
def good(path: Path) -> bytes:
    """The bytes of a checkpoint that stands there."""
    save_checkpoint(path, *sample())
    return path.read_bytes()
