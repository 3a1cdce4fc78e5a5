"""`tinygrad-rnn explain`: the built-in cells, a cell of one's own, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from tinygrad_rnn.cli import main
from tinygrad_rnn.cli.cells import part

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
STEPS = """
import tinygrad_rnn as tg
from tinygrad_rnn import nn

def step(h, x):
    h = tg.tanh(h + x)
    return h, h

def two(carry, x):
    h, c = carry
    c = c + tg.tanh(h + x)
    h = tg.tanh(c)
    return (h, c), h

def make(input_size, hidden_size):
    V = tg.rand(input_size, hidden_size)
    def inner(h, x):
        h = tg.tanh(h + x @ V)
        return h, h
    return inner

class Plain:
    def __init__(self, input_size, hidden_size):
        self.V = tg.rand(input_size, hidden_size)

    def __call__(self, h, x):
        h = tg.tanh(h + x @ self.V)
        return h, h

class Forward:
    __init__ = Plain.__init__

    def forward(self, h, x):
        h = tg.tanh(h + x @ self.V)
        return h, h

class Nothing:
    def __init__(self, input_size, hidden_size):
        pass

class Late(nn.Module):
    def __init__(self, input_size, hidden_size):
        pass

    def initial_state(self):
        return tg.zeros(3)

def wide(h, x):
    return h @ tg.ones(5, 5), h

def wide_two(carry, x):
    h, c = carry
    return (h @ tg.ones(5, 5), c), h

cell = nn.RNNCell(4, 4)
"""


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
def test_built_in_cells_are_explained(cell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", cell, "--hidden", "8", "--inputs", "8", "--engine", "numpy"]) == 0
    told = capsys.readouterr().out
    assert not told.startswith("run by the loop")
    for word in ("engine: numpy", "--- after", "δ", "matmul", "tanh", "\\delta"):
        assert word in told


def test_a_cell_of_ones_own_is_explained(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.py").write_text(CELL, encoding="utf-8")
    name = f"{tmp_path / 'mine.py'}:Echo"
    assert main(["explain", name, "--hidden", "5", "--inputs", "5", "--engine", "numpy"]) == 0
    assert "δ" in capsys.readouterr().out


@pytest.mark.parametrize("batch", [2, 3])  # 2 rows would pass for the two parts of a carry
@pytest.mark.parametrize(
    ("name", "equations"),
    [
        ("step", ["h_t = tanh(h_t−1 + x_t)"]),
        ("two", ["a = tanh(h_t−1 + x_t)", "c_t = c_t−1 + a", "h_t = tanh(c_t)"]),
        ("make", ["a = h_t−1 + x_t V", "h_t = tanh(a)"]),
        ("Plain", ["a = h_t−1 + x_t V", "h_t = tanh(a)"]),
        ("Forward", ["a = h_t−1 + x_t V", "h_t = tanh(a)"]),
    ],
)
def test_a_step_is_explained_and_what_makes_one(
    name: str, equations: list[str], batch: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.py").write_text(STEPS, encoding="utf-8")
    sizes = ["--hidden", "4", "--inputs", "4", "--batch", str(batch), "--engine", "numpy"]
    assert main(["explain", f"{tmp_path / 'mine.py'}:{name}", *sizes, "--only", "equations"]) == 0
    told = capsys.readouterr().out
    forward, _, _ = told.removeprefix("--- equations, forward\n").partition("\n\n")
    assert forward.splitlines() == [f"  {line}" for line in equations]


def test_a_made_cell_is_explained(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.py").write_text(STEPS, encoding="utf-8")
    assert main(["explain", f"{tmp_path / 'mine.py'}:cell", "--hidden", "4", "--inputs", "4"]) == 0
    assert "weight_hh" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("only", "titles"),
    [
        ("equations", ["--- equations, forward", "--- equations, backward", "--- signs"]),
        ("latex", ["% equations, forward (LaTeX)", "% equations, backward (LaTeX)"]),
        ("costs", ["--- costs of a step"]),
    ],
)
def test_one_part_alone(only: str, titles: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "GRU"]) == 0
    whole = capsys.readouterr().out
    assert main(["explain", "gru", "--only", only]) == 0
    told = capsys.readouterr().out
    lines = told.splitlines()
    assert [line for line in lines if line[:3] in ("---", "% e")] == titles
    assert set(lines[1:]) - set(titles) <= set(whole.splitlines())


def test_the_program_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "rnn", "--only", "program"]) == 0
    told = capsys.readouterr().out
    assert told.startswith("--- after trace\n")
    assert "--- what leaves the loop" in told
    assert "--- costs" not in told and "--- equations" not in told


def test_of_what_has_no_parts_the_reason_is_told() -> None:
    reason = "run by the loop: a step that prints\n"
    assert part(reason, "costs") == reason


@pytest.mark.parametrize("size", ["abc", "0", "-3", "2.5"])
def test_a_size_is_a_whole_number(size: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["explain", "lstm", f"--hidden={size}"])
    assert f"--hidden: a whole number above 0 expected, got '{size}'" in capsys.readouterr().err


def test_help_says_what_the_sizes_are_of(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["explain", "--help"])
    told = " ".join(capsys.readouterr().out.split())
    assert "--inputs N size of x (default: 32)" in told
    assert "step(carry, x) -> (carry, y)" in told


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
        (
            "steps.py:Nope",
            "Nope in steps.py expected, got Forward, Late, Nothing, Plain, make, step",
        ),
        ("steps.py:Nothing", "to make a cell expected, got Nothing(32, 16) of type Nothing"),
        ("steps.py:Late", "initial_state(batch) of Late to give a carry expected, got TypeError: "),
        (
            "steps.py:wide",
            "wide to take a step(carry, x) -> (carry, y) expected, got ShapeError: matmul: ",
        ),
        ("steps.py:wide", " (carry (16, 16), x (16, 32))\nhint: as a function (input_size, "),
        ("steps.py:wide_two", " ((h, c), each (16, 16), x (16, 32))\nhint: as a function"),
        ("empty.py:Cell", "Cell in empty.py expected, got a file without any"),
        ("mine.py:Stacked", "got Stacked(32, 16): ArgumentError: LSTMCell: hidden_size"),
    ],
)
def test_what_cannot_be_explained(
    name: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text(CELL, encoding="utf-8")
    Path("steps.py").write_text(STEPS, encoding="utf-8")
    Path("empty.py").write_text("", encoding="utf-8")
    Path("broken.py").write_text("1 / 0", encoding="utf-8")
    assert main(["explain", name, "--hidden", "16"]) == 1
    assert expected in capsys.readouterr().err
