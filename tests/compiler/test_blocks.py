"""Parts of rows in blocks, neighbours in one call: the numbers are those of the loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn.compiler import blocks, fallbacks, numpy_engine

B, H = 3, 4
Step = Callable[[Any, Any], Any]


def in_order(z: Any, a: Any) -> Any:
    i, f, g, o = z.chunk(4, 1)
    return i.sigmoid() * a + f.sigmoid() * g.tanh() * o.sigmoid()


def neighbours_last(z: Any, a: Any) -> Any:
    g, o, i, f = z.chunk(4, 1)
    return f.sigmoid() * a + i.sigmoid() * g.tanh() * o


def with_numbers(z: Any, a: Any) -> Any:
    i, f, g, o = z.chunk(4, 1)
    return (1 - i) * (1 - f) * a + (g * 2) * (o * 2) + (i - 1) * (f - 1)


def gates_first(z: Any, a: Any) -> Any:
    i, f, g, o = z.sigmoid().chunk(4, 1)
    return i * f * a + g * o


def relu_and_softplus(z: Any, a: Any) -> Any:
    i, f, g, o = z.chunk(4, 1)
    return i.relu() * a + f.relu() * tg.softplus(g) + tg.softplus(o)


def twice(z: Any, a: Any) -> Any:
    i, f, g, o = z.chunk(4, 1)
    return tg.cat([(i + f).tanh(), (g + o).sigmoid()], 1)[:, H // 2 : H + H // 2] * a


def overlapping(z: Any, a: Any) -> Any:
    return z[:, :H].sigmoid() * z[:, 1 : H + 1].sigmoid() * a + z[:, -H:]


def with_vectors(z: Any, a: Any) -> Any:
    i, f, g, o = z.chunk(4, 1)
    return (i + a[:1]).sigmoid() * (f + a[:1]).sigmoid() * (g * a[:, :1]) + o * a[0]


def depends_on_its_neighbour(z: Any, a: Any) -> Any:
    i, f, g, o = z.chunk(4, 1)
    i = i.sigmoid()
    return (f * i).sigmoid() * a + g.sigmoid() * (o + i).sigmoid()


def unequal(z: Any, a: Any) -> Any:
    return z[:, : 2 * H].sigmoid()[:, 1 : H + 1] * a + z[:, 2 * H : 3 * H] + z[:, 3 * H :]


def crossed(z: Any, a: Any) -> Any:
    i, f, g, o = z.chunk(4, 1)
    return (i - o).sigmoid() * (f - g).sigmoid() * a


UPDATES: list[Callable[[Any, Any], Any]] = [
    in_order, neighbours_last, with_numbers, gates_first, relu_and_softplus, twice, overlapping,
    with_vectors, depends_on_its_neighbour, unequal, crossed,
]  # fmt: skip


def run(update: Callable[[Any, Any], Any], engine: str, output: str, **options: Any) -> list[Any]:
    """Outputs, and gradients of everything."""
    rng = np.random.default_rng(5)
    shapes = (6, B, 2), (2, 4 * H), (H, 4 * H), (4 * H,), (B, H)
    leaves = x, w, u, b, h = [tg.tensor(rng.normal(size=s), requires_grad=True) for s in shapes]

    def step(h: Any, x: Any) -> Any:
        z = x @ w + (h @ u + b)
        after = update(z, h).tanh()
        outputs = {"carry": after, "part": z[:, H : 2 * H], "whole": z, "state": h * 2}
        return after, (outputs[output], after)

    fallbacks.clear()
    final, ys = tg.scan(step, h, x, engine=engine, **options)
    assert not fallbacks
    loss = (final * final).sum() + (ys[0] * ys[0]).sum() + ys[1].sum()
    return [*ys, final, *tg.gradients(loss, leaves)]


@pytest.mark.parametrize("most", [blocks.MOST, 1])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("output", ["carry", "part", "whole", "state"])
@pytest.mark.parametrize("update", UPDATES)
def test_equals_the_loop(
    update: Callable[[Any, Any], Any], output: str, reverse: bool, most: int, monkeypatch: Any
) -> None:
    monkeypatch.setattr(blocks, "MOST", most)
    monkeypatch.setattr("tinygrad_rnn.compiler.structures._structures", {})
    monkeypatch.setattr("tinygrad_rnn.compiler.structures._known", {})
    expected = run(update, "loop", output, reverse=reverse)
    for a, b in zip(run(update, "numpy", output, reverse=reverse), expected, strict=True):
        np.testing.assert_allclose(a.detach(), b.detach(), rtol=1e-11, atol=1e-12)


def lines_of(cell: Any, state: Any, direction: str) -> str:
    text = tg.explain(cell.forward, state, tg.zeros(5, 2, 3), engine="numpy")
    return text.split(f"--- the loop {direction}\n")[1].split("\n\n")[0]


def test_two_neighbouring_gates_have_one_exponential() -> None:
    loop = lines_of(tg.nn.LSTMCell(3, 5), (tg.zeros(2, 5), tg.zeros(2, 5)), "forward")
    assert [loop.count(f"{name}_") for name in ("exp", "div", "tanh", "add")] == [2, 3, 2, 4]


def test_neighbours_of_two_operands_are_one_call() -> None:
    loop = lines_of(tg.nn.GRUCell(3, 5), tg.zeros(2, 5), "forward")
    assert loop.count("exp_") == 1


def test_the_parts_of_a_concatenation_are_copied_together() -> None:
    for cell, state in (
        (tg.nn.LSTMCell(3, 5), (tg.zeros(2, 5), tg.zeros(2, 5))),
        (tg.nn.GRUCell(3, 5), tg.zeros(2, 5)),
    ):
        assert lines_of(cell, state, "backward").count("copyto") == 1


def test_one_row_needs_no_blocks() -> None:
    loop = tg.explain(
        tg.nn.LSTMCell(3, 5).forward,
        (tg.zeros(1, 5), tg.zeros(1, 5)),
        tg.zeros(5, 1, 3),
        engine="numpy",
    )
    assert "copyto" not in loop


@pytest.mark.parametrize("together", [1, H, B * H, 1 << 16])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_maximum_with_a_number_meets_many_of_it_at_a_time(
    together: int, dtype: str, monkeypatch: Any
) -> None:
    monkeypatch.setattr(numpy_engine, "TOGETHER", together)
    monkeypatch.setattr("tinygrad_rnn.compiler.structures._structures", {})
    monkeypatch.setattr("tinygrad_rnn.compiler.structures._known", {})
    values = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1e4, -1e4, 0.3])

    def step(h: Any, x: Any) -> Any:
        y = x.relu() + tg.minimum(x[:, 1:2], 0.25) + x.clamp(-0.5, 0.5) * x.sigmoid()
        return tg.maximum(h * 0.5, -2.0) + y, y

    xs = tg.tensor(np.resize(values, (7, B, H)), dtype=dtype, requires_grad=True)
    h = tg.zeros(B, H, dtype=dtype)
    results = []
    for engine in ("numpy", "loop"):
        final, ys = tg.scan(step, h, xs, engine=engine)
        results.append([final.detach(), ys.detach(), tg.gradients((final + ys).sum(), [xs])[0]])
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6 if dtype == "float32" else 1e-12)
