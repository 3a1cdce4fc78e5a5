"""Checkpoint files, sound and hostile, for the tests of checkpoints."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tinygrad_rnn.errors import (
    CheckpointError,
)
from tinygrad_rnn.train import load_checkpoint, tensorfile

ROOT = Path(__file__).resolve().parents[2]


def sample() -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    rng = np.random.default_rng(5)
    tensors = {
        "lstm.weight_hh_l0": rng.standard_normal((6, 4)).astype("f4"),
        "mask": np.array([True, False, True]),
        "optim/step": np.array(12),
        "empty": np.zeros((0, 3), "f2"),
    }
    state = np.random.default_rng(3).bit_generator.state
    return tensors, {"epoch": 3, "best": float("inf"), "text": 'é"\\\n', "rng": state}


def same(a: np.ndarray, b: np.ndarray) -> bool:
    kind = a.dtype == b.dtype.newbyteorder("=") and a.shape == b.shape
    return kind and a.tobytes() == b.astype(a.dtype).tobytes()


def refusal(path: Path, content: bytes | None = None) -> str:
    """The message with which a file is refused, after the part that names the path."""
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(path)
    start = f"load_checkpoint({str(path)!r}): "
    assert str(caught.value).startswith(start)
    return str(caught.value).removeprefix(start)


def split(content: bytes) -> tuple[dict[str, Any], dict[str, Any], bytes]:
    """The table, the run header and the arrays of a checkpoint."""
    start = 8 + int.from_bytes(content[:8], "little")
    table = json.loads(content[8:start])
    run = json.loads(table.pop("__metadata__")[tensorfile.MARK][64:])
    return table, run, content[start:]


def sealed(header: str | bytes, body: bytes) -> bytes:
    """A file with this text for its header, its 64 zeros replaced by the seal."""
    text = header.encode() if isinstance(header, str) else header
    blob = len(text).to_bytes(8, "little") + text + body
    return b"".join(tensorfile.seal(blob))


def build(table: dict[str, Any], run: Any, body: bytes) -> bytes:
    """A checkpoint of these parts, whatever they are, with the seal that fits."""
    metadata = {tensorfile.MARK: f"{tensorfile.UNSEALED} {json.dumps(run)}"}
    text = json.dumps({"__metadata__": metadata, **table}, separators=(",", ":"))
    return sealed(text, body)


# The beginning of a header, up to the JSON text of the run header.
MARKED = f'"__metadata__":{{"{tensorfile.MARK}":"{tensorfile.UNSEALED} '


def run(script: str, path: Path) -> list[str]:
    """The lines that a script prints in a process of its own."""
    command = [sys.executable, "-c", script, str(ROOT), str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()
