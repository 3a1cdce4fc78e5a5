"""Factors that do not wait for the step after leave the backward loop of the numpy engine."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scan_cells import difference, measured

import tinygrad_rnn as tg
from tinygrad_rnn.compiler import structures
from tinygrad_rnn.compiler.factors import factored
from tinygrad_rnn.compiler.program import Graph, Value
from tinygrad_rnn.graph import primitives


def program() -> tuple[Graph, Value, Value, Value, Any]:
    """A cotangent w, a gate k, another value b, and what records operations on them."""
    graph = Graph()
    w, x, b = (graph.input(kind, (2, 3), np.dtype("f8")) for kind in ("carry", "stacked", "other"))

    def record(name: str, *args: Any) -> Value:
        return graph.record(primitives[name], args, {})

    return graph, w, record("tanh", x), b, record


def test_known_factors_come_first() -> None:
    _, w, k, b, record = program()
    product = record("mul", record("mul", w, k), b)
    assert factored([product], [w])[product].args == (w, record("mul", k, b))
    turned = record("mul", b, record("mul", k, w))
    assert factored([turned], [w])[turned].args == (w, record("mul", k, b))


def test_the_derivative_of_tanh_is_one_product() -> None:
    _, w, k, _, record = program()
    delta = record("sub", w, record("mul", record("mul", w, k), k))
    rest = record("sub", 1.0, record("mul", k, k))
    assert factored([delta], [w])[delta].args == (w, rest)


def test_what_might_overflow_stays_as_it_is() -> None:
    graph, w, k, b, record = program()
    other = graph.input("other", (2, 3), np.dtype("f8"))
    for value in (
        record("mul", record("mul", w, b), other),  # no gate
        record("sub", w, record("mul", w, b)),
        record("mul", record("mul", w, k), w),  # both wait
        record("sub", b, record("mul", w, k)),
    ):
        assert factored([value], [w])[value] is value


def test_other_shapes_stay_as_they_are() -> None:
    graph, w, k, _, record = program()
    column = graph.input("other", (2, 1), np.dtype("f8"))
    value = record("mul", record("mul", w, k), column)
    assert factored([value], [w])[value] is value


def test_the_backward_loop_of_an_lstm_is_one_product_a_gate() -> None:
    cell = tg.nn.LSTMCell(3, 5)
    state = tg.zeros(2, 5), tg.zeros(2, 5)
    text = tg.explain(cell.forward, state, tg.zeros(4, 2, 3), engine="numpy")
    loop = text.split("--- the loop backward\n")[1].split("\n\n")[0]
    lines = [line.split("(")[0].strip().rstrip("_0123456789") for line in loop.splitlines()[3:]]
    assert sorted(lines) == ["add", "add", "copyto", "matmul", *["mul"] * 6]


@pytest.mark.parametrize("name", ["lstm_joined", "gru_torch", "lstm_layer_norm"])
def test_gradients_are_the_same(name: str) -> None:
    found = measured(name, "numpy", second=True)
    assert difference(found, measured(name, "loop", second=True)) < 1e-12


@pytest.mark.parametrize(("output", "kept"), [("h", True), ("c", False)])
def test_a_next_carry_is_kept_if_all_steps_of_it_are_wanted(
    output: str, kept: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: dict[Any, Any] = {}
    monkeypatch.setattr(structures, "_structures", found)
    monkeypatch.setattr(structures, "_known", {})
    cell = tg.nn.LSTMCell(3, 5)

    def step(carry: Any, x: Any) -> Any:
        (h, c), _ = cell(carry, x)
        return (h, c), h if output == "h" else c

    tg.scan(step, (tg.zeros(2, 5), tg.zeros(2, 5)), tg.zeros(4, 2, 3), engine="numpy")
    (compiled,) = found.values()
    (way,) = compiled.core.ways.values()
    (_, h), _ = compiled.core.cut.whole.carries
    assert (h in way.full.saved) == kept
