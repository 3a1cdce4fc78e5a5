"""Every example runs as it stands, says what it should, and stays short."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
LONGEST = 100
DRAW = [
    "adding",
    "mackey_glass",
    "optimisers",
    "pen_strokes",
    "phonemes",
    "sequential_digits",
    "spoken_digits",
    "sunspots",
    "temporal_order",
    "time_series",
]
NEEDS = dict.fromkeys(DRAW, "matplotlib")

# What must be on the screen: the numbers of the lecture, and the baselines beside each network.
SAYS = {
    "adding": ["guessing costs 0.1667", "LSTM", "IRNN", "plain", "runs/adding.png"],
    "autodiff_tour": ["q = 3", "f = -12", "∂f/∂z = q = 3", "∂f/∂x = -4", "by hand 5.75"],
    "char_lm": ["5-gram", "LSTM", "bits per character", "beam of 8", "length penalty 1"],
    "classify": ["guessing", "statistics", "GRU"],
    "custom_cell": ["differ from a loop over the cell by", "minimal gated unit", "always ½"],
    "five_shapes": ["one to one", "one to many", "many to one", "delayed", "in step"],
    "mackey_glass": ["AR(20)", "persistence", "NARX", "runs/mackey_glass.png"],
    "optimisers": ["SGD, momentum", "Newton", "runs/optimisers.png"],
    "pen_strokes": ["one Gaussian", "mixtures by an LSTM", "runs/pen_strokes.png"],
    "phonemes": ["commonest sound", "TDNN", "BLSTM", "runs/phonemes.png"],
    "sunspots": ["AR", "persistence", "NARX", "GRU", "runs/sunspots.png"],
    "sequential_digits": ["unseen digits in 64 steps", "runs/sequential_digits.png"],
    "spoken_digits": ["best path", "beam search", "word models", "runs/spoken_digits.png"],
    "temporal_order": ["penalty", "wrong", "ρ(W)", "runs/temporal_order.png"],
    "time_series": ["persistence", "AR(", "GRU", "runs/time_series.png"],
    "translate_dates": ["with attention", "unseen dates exact", "->"],
}


def run(script: Path, folder: Path, *arguments: str) -> str:
    """What a script prints when it is run from an empty folder; warnings are errors."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"}
    result = subprocess.run(
        [sys.executable, "-W", "error", str(script), *arguments],
        cwd=folder, env=environment, capture_output=True, encoding="utf-8", check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    return result.stdout


def test_every_example_is_expected_to_say_something() -> None:
    assert sorted(SAYS) == [path.stem for path in EXAMPLES]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_example_runs(path: Path, tmp_path: Path) -> None:
    if path.stem in NEEDS:
        pytest.importorskip(NEEDS[path.stem])
    output = run(path, tmp_path, "--quick")
    assert [words for words in SAYS[path.stem] if words not in output] == []
    for picture in tmp_path.rglob("*.png"):
        assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_example_is_short_and_says_how_to_run_it(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") <= LONGEST
    assert f"\npython examples/{path.name}" in text.split('"""')[1]
