"""The stub of the attached methods says what is attached."""

from __future__ import annotations

import importlib.util
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def test_stub_shows_the_attached_methods() -> None:
    spec = importlib.util.spec_from_file_location("stubs", ROOT / "scripts" / "tensor_stubs.py")
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    written = (ROOT / "tinygrad_rnn" / "_methods.pyi").read_text(encoding="utf-8")
    assert written == script.stubs(), "run python scripts/tensor_stubs.py"
