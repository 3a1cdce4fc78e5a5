"""What explain says of steps that the loop runs: scan's reason, or scan's error."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn.cli import main
from tinygrad_rnn.compiler import fallbacks
from tinygrad_rnn.scan import ENGINES

NAMES = sorted(name for name in ENGINES if name != "loop")
W = tg.randn(3, 3)


class Counter:
    n = 0

    def __call__(self, h: Any, x: Any) -> Any:
        self.n += 1
        return h * self.n + x, h

    def step(self, h: Any, x: Any) -> Any:
        self.n += 1
        return h * self.n + x, h


def noisy(h: Any, x: Any) -> Any:
    return h + x + tg.tensor(np.random.normal(size=3)).float(), h


def branching(h: Any, x: Any) -> Any:
    return (h + x if float(h.sum()) > 0 else h - x), h


def plain(h: Any, x: Any) -> Any:
    h = (h @ W + x).tanh()
    return h, h


def foreign(*shape: int) -> tg.Tensor:
    return tg.Tensor(np.ones(shape, np.dtype(np.float32).newbyteorder()))


def lists(h: Any, x: Any) -> Any:
    return h + np.maximum(x.tolist(), 0).astype(np.float32), h


LEFT: dict[str, tuple[Callable[[], Any], Any, Any]] = {
    "counting": (lambda: Counter().step, tg.zeros(2, 3), tg.ones(5, 2, 3)),
    "counting object": (Counter, tg.zeros(2, 3), tg.ones(5, 2, 3)),
    "noisy": (lambda: noisy, tg.zeros(2, 3), tg.ones(5, 2, 3)),
    "branching": (lambda: branching, tg.zeros(2, 3), tg.ones(5, 2, 3)),
    "lists": (lambda: lists, tg.zeros(2, 3), tg.ones(5, 2, 3)),
    "no steps": (lambda: plain, tg.zeros(2, 3), tg.ones(0, 2, 3)),
    "empty": (lambda: plain, tg.zeros(0, 3), tg.ones(5, 0, 3)),
    "foreign": (lambda: lambda h, x: (h + x, h), tg.zeros(2), foreign(5, 2)),
    "no carry": (lambda: lambda h, x: (h, x * 2), (), tg.ones(5, 2)),
}


@pytest.mark.parametrize("engine", NAMES)
@pytest.mark.parametrize("name", LEFT)
def test_the_reason_is_the_one_of_scan(name: str, engine: str) -> None:
    make, init, xs = LEFT[name]
    fallbacks.clear()
    tg.scan(make(), init, xs, engine=engine)
    (reason,) = fallbacks
    text = tg.explain(make(), init, xs, engine=engine)
    assert text.startswith(f"run by the loop: {reason}\n")
    assert fallbacks == [reason]  # asking is not falling back


def test_what_can_be_said_of_them_is_said() -> None:
    text = tg.explain(Counter().step, *LEFT["counting"][1:], engine="numpy")
    assert "what the engine numpy would make of it" in text
    for part in ("--- after trace", "--- equations, backward", "--- the loop forward"):
        assert part in text
    assert "--- after trace" in tg.explain(plain, *LEFT["empty"][1:], engine="numpy")
    text = tg.explain(branching, *LEFT["branching"][1:], engine="numpy")
    assert "---" not in text
    assert "would make" not in text


def test_auto_takes_the_loop_for_a_few_steps() -> None:
    few = 'run by the loop: engine "auto" takes it for fewer than 4 steps\n'
    for length in (0, 1, 3):
        text = tg.explain(plain, tg.zeros(2, 3), tg.zeros(length, 2, 3))
        assert text.startswith(few)
        assert "--- equations, backward" in text
    assert tg.explain(plain, tg.zeros(2, 3), tg.zeros(4, 2, 3)).startswith("engine: ")
    assert tg.explain(plain, tg.zeros(2, 3), tg.zeros(3, 2, 3), "numpy").startswith("engine: numpy")
    text = tg.explain(branching, tg.zeros(2, 3), tg.zeros(3, 2, 3))
    assert "with more steps: the step asks for the numbers in a tensor" in text


def test_a_number_of_steps() -> None:
    text = tg.explain(lambda h, t: (h + t, h), tg.zeros(2), 5, engine="numpy")
    assert text.startswith("engine: numpy\n")


# ------------------------------------------------------------------------------------- errors
WRONG: dict[str, tuple[Any, Any, Any]] = {
    "undefined": (lambda h, x: (h + nowhere, h), tg.zeros(2), tg.zeros(5, 2)),  # type: ignore[name-defined] # noqa: F821
    "shapes": (lambda h, x: (h @ W + x, h), tg.zeros(2, 4), tg.zeros(5, 2, 3)),
    "one value": (lambda h, x: h + x, tg.zeros(2), tg.zeros(5, 2)),
    "growing": (lambda h, x: (tg.cat([h, x]), h), tg.zeros(2), tg.zeros(5, 2)),
    "structure": (lambda h, x: ((h, h), h), tg.zeros(2), tg.zeros(5, 2)),
    "dtype": (lambda h, x: (h.double(), h), tg.zeros(2), tg.zeros(5, 2)),
    "no step": (3, tg.zeros(2), tg.zeros(5, 2)),
    "no time": (plain, tg.zeros(2, 3), tg.tensor(1.0)),
    "no xs": (plain, tg.zeros(2, 3), ()),
    "of no tensors": (plain, tg.zeros(2, 3), "text"),
    "two lengths": (lambda h, x: (h, h), tg.zeros(2), (tg.zeros(5, 2), tg.zeros(4, 2))),
    "attribute": (lambda h, x: (h.sinus(), h), tg.zeros(2), tg.zeros(5, 2)),
    "arguments": (lambda h: (h, h), tg.zeros(2), tg.zeros(5, 2)),
    "no steps of a wrong step": (lambda h, x: (h @ W + x, h @ W), tg.zeros(2, 4), tg.zeros(0, 2)),
}


def error_of(function: Any, *args: Any, **options: Any) -> Exception | None:
    try:
        function(*args, **options)
    except Exception as error:
        return error
    return None


@pytest.mark.parametrize("engine", [*NAMES, "auto", "loop"])
@pytest.mark.parametrize("name", WRONG)
def test_an_error_is_the_one_of_scan(name: str, engine: str) -> None:
    expected = error_of(tg.scan, *WRONG[name], engine=engine)
    before = list(fallbacks)
    found = error_of(tg.explain, *WRONG[name], engine=engine)
    assert (type(found), str(found)) == (type(expected), str(expected))
    assert expected is not None
    assert fallbacks == before


def test_numbers_are_drawn_as_if_nobody_had_asked() -> None:
    def step(h: Any, x: Any) -> Any:
        return h + x + tg.randn(2), (h if float(h.sum()) > 0 else x)

    tg.manual_seed(3)
    expected = tg.rand(3).tolist()
    tg.manual_seed(3)
    assert tg.explain(step, tg.zeros(2), tg.zeros(5, 2)).startswith("run by the loop: ")
    assert tg.rand(3).tolist() == expected


def test_a_loop_in_the_step_that_falls_back_is_not_noted() -> None:
    inner = tg.ones(5, 3)

    def step(h: Any, x: Any) -> Any:
        scale = tg.scan(branching, tg.zeros(3), inner, engine="numpy")[0]
        return (h + scale if float(h.sum()) >= 0 else h), h

    fallbacks.clear()
    assert tg.explain(step, tg.zeros(3), tg.zeros(5, 3)).startswith("run by the loop: ")
    assert fallbacks == []


def test_the_command_line_tells_errors_of_a_cell(
    tmp_path: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.py").write_text(
        "from tinygrad_rnn import nn, ones\n"
        "class Wrong(nn.Module):\n"
        "    def __init__(self, inputs, hidden):\n"
        "        self.w = nn.Parameter(ones(hidden + 1, hidden))\n"
        "    def forward(self, h, x):\n"
        "        h = h @ self.w\n"
        "        return h, h\n",
        encoding="utf-8",
    )
    assert main(["explain", f"{tmp_path / 'mine.py'}:Wrong", "--hidden", "4"]) == 1
    assert "matmul" in capsys.readouterr().err
