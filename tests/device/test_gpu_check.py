"""What `make test-gpu` runs, as far as it goes without a GPU."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from both_devices import TARGET

import tinygrad_rnn as tg

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = ROOT / "scripts"


@pytest.fixture(scope="module")
def timing() -> Any:
    return runpy.run_path(str(SCRIPTS / "gpu_timing.py"))


def test_steps_are_timed_on_both_devices(timing: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert timing["main"](["--devices", f"cpu,{TARGET}", "--sizes", "1", "--repeats", "1"]) == 0
    head, row = capsys.readouterr().out.splitlines()
    assert head.split()[-4:] == ["cpu", "ms", TARGET, "ms"] and row.startswith("     32, 16, 32")
    assert all(float(number) > 0 for number in row.split()[-2:])


def test_a_timed_step_trains(timing: Any) -> None:
    step = timing["training_step"](4, 3, 5, TARGET)
    losses = [step() for _ in range(5)]
    assert losses == sorted(losses, reverse=True) and losses[-1] < losses[0]


def test_a_missing_gpu_is_one_message(timing: Any, capsys: pytest.CaptureFixture[str]) -> None:
    if tg.cuda_is_available():
        pytest.skip("a GPU is at hand")
    assert timing["main"]([]) == 1
    assert capsys.readouterr().out.startswith('device "cuda": ')


def test_the_check_ends_at_once_without_a_gpu() -> None:
    """Nothing is installed where an interpreter is named, and no test is begun."""
    if tg.cuda_is_available():
        pytest.skip("a GPU is at hand")
    ran = subprocess.run(
        [SCRIPTS / "gpu_check"], env={**os.environ, "GPU_PYTHON": sys.executable},
        capture_output=True, text=True, cwd="/", check=False,
    )  # fmt: skip
    assert ran.returncode == 1 and 'device "cuda": ' in ran.stdout and "passed" not in ran.stdout
