"""`tinygrad-rnn explain`: the built-in cells, a cell of one's own, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from tinygrad_rnn.cli import main

CELL = """
from tinygrad_rnn import nn, rand, tanh

class Echo(nn.Module):
    def __init__(self, input_size, hidden_size):
        self.weight = nn.Parameter(rand(hidden_size, hidden_size))

    def forward(self, h, x):
        h = tanh(x + h @ self.weight)
        return h, h

class Narrow(Echo):
    def __init__(self, size):
        super().__init__(size, size)

class Broken(Echo):
    def __init__(self, input_size, hidden_size):
        raise ValueError("not\\n  today")

class Stacked(Echo):
    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        nn.LSTMCell(input_size, -hidden_size)

NUMBER = 3
"""


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
def test_built_in_cells_are_explained(cell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", cell, "--hidden", "8", "--inputs", "8", "--engine", "numpy"]) == 0
    told = capsys.readouterr().out
    assert not told.startswith("run by the loop")
    for part in ("engine: numpy", "--- after", "δ", "matmul", "tanh", "\\delta"):
        assert part in told


def test_a_cell_of_ones_own_is_explained(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.py").write_text(CELL, encoding="utf-8")
    name = f"{tmp_path / 'mine.py'}:Echo"
    assert main(["explain", name, "--hidden", "5", "--inputs", "5", "--engine", "numpy"]) == 0
    assert "δ" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("lstmm", "lstm, gru, rnn or FILE.py:CELL expected, got 'lstmm'"),
        ("absent.py:Cell", "a file that exists expected, got absent.py"),
        ("mine.py:Echoo", "a class or function Echoo in mine.py expected, got Broken, Echo"),
        ("mine.py:NUMBER", "a class or function NUMBER in mine.py expected"),
        ("broken.py:Cell", "broken.py to run expected, got ZeroDivisionError"),
        ("mine.py:str", "a class or function str in mine.py expected"),
        (
            "mine.py:Narrow",
            "Narrow(input_size, hidden_size) to make a cell expected, got Narrow(32, 16): "
            "TypeError: Narrow.__init__() takes 2 positional arguments but 3 were given",
        ),
        ("mine.py:Broken", "got Broken(32, 16): ValueError: not today\n"),
        ("mine.py:Stacked", "got Stacked(32, 16): ArgumentError: LSTMCell: hidden_size"),
    ],
)
def test_what_cannot_be_explained(
    name: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text(CELL, encoding="utf-8")
    Path("broken.py").write_text("1 / 0", encoding="utf-8")
    assert main(["explain", name, "--hidden", "16"]) == 1
    assert expected in capsys.readouterr().err
