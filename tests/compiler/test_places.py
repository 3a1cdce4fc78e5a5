"""A reason for the loop says where in the user's code it arose."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn import nn
from tinygrad_rnn.compiler import fallbacks

HERE = Path(__file__)


def by_if(h: Any, x: Any) -> Any:
    if h.sum() > 0:  # if
        h = -h
    return h + x, h


def by_while(h: Any, x: Any) -> Any:
    while h.sum() > 9:  # while
        h = h / 2
    return h + x, h


def by_float(h: Any, x: Any) -> Any:
    return h + float(x.sum()), h  # float


def by_assert(h: Any, x: Any) -> Any:
    assert (x > 0).all()  # assert
    return h + x, h


def by_item(h: Any, x: Any) -> Any:
    return h + inner(x), h


def inner(x: Any) -> Any:
    y = x * 2
    return y.sum().item()  # item


def by_numpy(h: Any, x: Any) -> Any:
    return h + tg.tensor(x.numpy()), h  # numpy


def by_asarray(h: Any, x: Any) -> Any:
    return h + tg.tensor(np.asarray(x)), h  # asarray


def by_a_module(h: Any, x: Any) -> Any:
    return CELL(x, h), h


class Cell(nn.Module):
    def forward(self, x: Any, h: Any) -> Any:
        return h + x * x.max().item()  # module


CELL = Cell()
STEPS: dict[str, tuple[Callable[[Any, Any], Any], str]] = {
    "if": (by_if, "item"), "while": (by_while, "item"), "float": (by_float, "item"),
    "assert": (by_assert, "item"), "item": (by_item, "item"), "numpy": (by_numpy, "numpy"),
    "asarray": (by_asarray, "numpy"), "module": (by_a_module, "item"),
}  # fmt: skip


@pytest.mark.parametrize("name", STEPS)
def test_where_a_step_asks_for_numbers(name: str) -> None:
    step, how = STEPS[name]
    lines = HERE.read_text(encoding="utf-8").splitlines()
    (line,) = [i for i, text in enumerate(lines, 1) if text.endswith(f"# {name}")]
    reason = f"the step asks for the numbers in a tensor ({how}) at {HERE.name}:{line}"
    fallbacks.clear()
    tg.scan(step, tg.zeros(2), tg.ones(5, 2), engine="numpy")
    assert fallbacks == [reason]
    told = tg.explain(step, tg.zeros(2), tg.ones(5, 2), engine="numpy")
    assert told == f"run by the loop: {reason}\n"


def test_where_a_trace_fails_otherwise() -> None:
    def step(h: Any, x: Any) -> Any:
        return h + sorted(vars(x.array)) if type(h.array) is not np.ndarray else h + x, h

    fallbacks.clear()
    tg.scan(step, tg.zeros(2), tg.ones(5, 2), engine="numpy")
    (reason,) = fallbacks
    line = step.__code__.co_firstlineno + 1
    assert reason.startswith(f"TypeError while tracing at {HERE.name}:{line}: ")


def test_numbers_of_what_needs_a_gradient_are_refused_as_ever() -> None:
    w = tg.ones(2, requires_grad=True)

    def step(h: Any, x: Any) -> Any:
        return h + tg.tensor(w.numpy()), h

    for function in (tg.scan, tg.explain):
        with pytest.raises(tg.errors.AutodiffError, match="without gradient"):
            function(step, tg.zeros(2), tg.ones(5, 2), engine="numpy")
    with pytest.raises(tg.errors.AutodiffError):
        tg.jvp(lambda x: tg.tensor(x.numpy()), (tg.ones(2),), (tg.ones(2),))
