"""Sums in which what is known before the loop comes first, on the numpy engine."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn.compiler.passes import gather
from tinygrad_rnn.compiler.program import Graph, Value, recorded
from tinygrad_rnn.compiler.step import Step

F8 = np.dtype("f8")


def program() -> tuple[Graph, dict[str, Value]]:
    """Inputs: the carry h, the input x, and captured a, b, all (2, 3) but b (3,) and n integers."""
    graph = Graph()
    kinds = {"h": "carry", "x": "x", "a": "captured", "b": "captured"}
    inputs = {n: graph.input(k, (3,) if n == "b" else (2, 3), F8) for n, k in kinds.items()}
    return graph, inputs


def added(*terms: Any) -> Value:
    total = terms[0]
    for term in terms[1:]:
        total = recorded("add", total, term)
    return total


def gathered(inputs: dict[str, Value], after: Value, *outputs: Value) -> str:
    """The sum that is the next carry, in words."""
    step = gather(Step(list(inputs.values()), [after], list(outputs)))
    names = dict(zip(step.inputs, inputs, strict=True))

    def text(value: Any) -> str:
        if value in names:
            return names[value]
        if type(value) is not Value:
            return repr(value)
        return f"{value.name}({', '.join(map(text, value.args))})"

    return text(step.carries[0])


def test_what_is_the_same_in_every_step_comes_first() -> None:
    _, v = program()
    waiting = recorded("tanh", v["h"])
    for total in (
        added(v["x"], added(waiting, v["b"])),
        added(waiting, v["x"], v["b"]),
        added(v["b"], added(waiting, v["x"])),
    ):
        assert gathered(v, total) == "add(add(b, x), tanh(h))"


def test_sums_of_constants_are_small() -> None:
    _, v = program()
    total = added(added(v["x"], v["b"]), added(recorded("tanh", v["h"]), v["a"]))
    assert gathered(v, total) == "add(add(add(b, a), x), tanh(h))"


def test_what_others_read_stays() -> None:
    _, v = program()
    inner = added(recorded("tanh", v["h"]), v["b"])
    total = added(v["x"], inner)
    assert gathered(v, total, inner) == "add(x, add(tanh(h), b))"
    assert gathered(v, recorded("mul", total, inner)).count("add(x, add(tanh(h), b))") == 1


def test_numbers_and_other_shapes_stay() -> None:
    graph, v = program()
    waiting = recorded("tanh", v["h"])
    assert gathered(v, added(v["x"], added(waiting, 1.0))) == "add(x, add(tanh(h), 1.0))"
    row = graph.input("carry", (3,), F8)
    v["row"] = row
    total = added(v["x"], added(row, v["b"]))
    assert gathered(v, total) == "add(x, add(row, b))"


def test_a_sum_without_two_known_terms_stays() -> None:
    _, v = program()
    waiting = recorded("tanh", v["h"])
    total = added(waiting, added(v["h"], v["x"]))
    assert gathered(v, total) == "add(tanh(h), add(h, x))"


@pytest.mark.parametrize("special", [np.inf, -np.inf, np.nan, 1e30])
def test_infinities_and_nan_are_those_of_the_loop(special: float) -> None:
    """A mask of −∞ added to scores, with an input and a bias."""
    rng = np.random.default_rng(0)
    w, b, h = (tg.tensor(rng.normal(size=s)) for s in ((4, 4), (4,), (2, 4)))
    mask = tg.tensor([0.0, special, 0.0, -np.inf], dtype=tg.float64)
    x = tg.tensor(rng.normal(size=(5, 2, 4)))

    def step(h: Any, x: Any) -> Any:
        h = (x + (h @ w + b) + mask).tanh()
        return h, h

    found = [tg.scan(step, h, x, engine=engine)[1].numpy() for engine in ("numpy", "loop")]
    np.testing.assert_allclose(*found, rtol=1e-12)


def test_an_lstm_adds_no_bias_in_its_loop() -> None:
    cell = tg.nn.LSTMCell(3, 5)
    state = tg.zeros(2, 5), tg.zeros(2, 5)
    text = tg.explain(cell.forward, state, tg.zeros(4, 2, 3), engine="numpy")
    loop = text.split("--- the loop forward\n")[1].split("\n\n")[0]
    lines = [line.strip() for line in loop.splitlines()]
    before = lines[: next(i for i, line in enumerate(lines) if "exp_" in line)]
    assert sum(line.startswith("add_") for line in before) == 1
