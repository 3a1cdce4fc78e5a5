"""What is computed outside of a loop: in memory that is used again, and nothing that is needed."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_rnn.compiler.program import Graph, Value, recorded
from tinygrad_rnn.compiler.script import Script, forgetting, names
from tinygrad_rnn.tensor import Tensor

F8 = np.dtype("f8")
T = 5


def script_of(count: int) -> tuple[Script, list[Value]]:
    """A script that is given so many inputs of all steps."""
    graph, script = Graph(), Script()
    values = [graph.input("stacked", (2, 3), F8) for _ in range(count)]
    script.lines.append(f"{script.given(values, ())} = inputs")
    return script, values


def run(script: Script, wanted: list[Value], inputs: list[Any]) -> list[Any]:
    function = script.function("inputs, length", names([script.array(v) for v in wanted]))
    found: list[Any] = function(inputs, T)
    return found


def arrays(count: int) -> list[Any]:
    rng = np.random.default_rng(1)
    return [rng.normal(size=(T, 2, 3)) for _ in range(count)]


def test_a_chain_is_computed_in_place() -> None:
    written, (a, b) = script_of(2)
    product = recorded("mul", a, b)
    chain = recorded("mul", recorded("sub", a, product), b)
    x, y = arrays(2)
    before = x.copy(), y.copy()
    (found,) = run(written, [chain], [x, y])
    np.testing.assert_array_equal(found, (x - x * y) * y)
    np.testing.assert_array_equal((x, y), before)
    text = "\n".join(written.in_place(names([written.known[chain]])))
    assert text.count("out=") == 2


def test_what_is_still_needed_is_not_written_over() -> None:
    written, (a, b) = script_of(2)
    product = recorded("mul", a, b)
    rest, again = recorded("sub", a, product), recorded("mul", product, product)
    view = recorded("reshape", product, shape=(3, 2))
    x, y = arrays(2)
    found = run(written, [rest, again, view, recorded("exp", rest)], [x, y])
    expected = [x - x * y, (x * y) ** 2, (x * y).reshape(T, 3, 2), np.exp(x - x * y)]
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_view_keeps_what_it_looks_at() -> None:
    written, (a, b) = script_of(2)
    product = recorded("mul", a, b)
    view = recorded("slice", product, key=(slice(None), slice(0, 1)), span=None)
    x, y = arrays(2)
    rest = recorded("sub", a, product)
    found = run(written, [view, recorded("add", rest, view)], [x, y])
    np.testing.assert_array_equal(found[0], (x * y)[:, :, :1])
    np.testing.assert_array_equal(found[1], x - x * y + (x * y)[:, :, :1])


def test_what_is_wanted_is_not_written_over() -> None:
    written, (a, b) = script_of(2)
    product = recorded("mul", a, b)
    x, y = arrays(2)
    found = run(written, [product, recorded("neg", product)], [x, y])
    np.testing.assert_array_equal(found[0], x * y)
    np.testing.assert_array_equal(found[1], -(x * y))


def test_tensors_are_not_changed() -> None:
    written, (a, b) = script_of(2)
    chain = recorded("sub", a, recorded("mul", a, b))
    x, y = map(Tensor, arrays(2))
    (found,) = run(written, [chain], [x, y])
    np.testing.assert_array_equal(found.array, x.array - x.array * y.array)


def test_another_dtype_or_shape_is_no_place() -> None:
    graph, script = Graph(), Script()
    a = graph.input("stacked", (2, 3), F8)
    c = graph.input("stacked", (2, 1), F8)
    script.lines.append(f"{script.given([a, c], ())} = inputs")
    small = recorded("mul", c, c)
    wide = recorded("add", a, small)
    truth = recorded("gt", wide, 0.0)
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(T, 2, 3)), rng.normal(size=(T, 2, 1))
    found = run(script, [truth], [x, y])
    np.testing.assert_array_equal(found[0], x + y * y > 0)


def test_views_are_written_as_such() -> None:
    graph, script = Graph(), Script(arrays=True)
    a, c = graph.input("stacked", (2, 3), F8), graph.input("constant", (2, 3), F8)
    script.lines.append(f"{script.given([a, c], {c})} = inputs")
    x, y = np.random.default_rng(2).normal(size=(T, 2, 3)), np.arange(6.0).reshape(2, 3)
    wanted, expected = [], []
    for value, array in ((a, x), (c, y)):
        lead = (slice(None),) * (value is a)
        key = slice(np.int64(0), 1), None, ..., 2
        wanted += [
            recorded("permute", value, dims=(1, 0)),
            recorded("reshape", value, shape=(3, 1, 2)),
            recorded("slice", value, key=key, span=None),
            recorded("slice", value, key=1, span=None),
        ]
        steps = (T,) * (value is a)
        expected += [
            array.swapaxes(-1, -2), array.reshape(*steps, 3, 1, 2), array[(*lead, *key)],
            array[(*lead, 1)],
        ]  # fmt: skip
    found = run(script, wanted, [x, y])
    for one, other, source in zip(found, expected, [x] * 4 + [y] * 4, strict=True):
        assert one.base is not None and np.shares_memory(one, source)
        np.testing.assert_array_equal(one, other)
    text = "\n".join(script.lines)
    assert all(text.count(word) == 2 for word in (".transpose(", ".reshape("))


def test_variables_are_forgotten_after_their_last_use() -> None:
    lines = ["[v1] = inputs", "v2 = f(v1)", "v3, v4 = loop(v2, v2, v5)", "v3 = g(v3)"]
    assert forgetting(lines, "[v3, v2]") == [
        "[v1] = inputs", "v2 = f(v1)", "del v1", "v3, v4 = loop(v2, v2, v5)", "del v4", "v3 = g(v3)"
    ]  # fmt: skip
