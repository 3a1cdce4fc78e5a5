"""Steps that look rows up in a table run compiled, and give what the loop gives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scan_cells import difference

import tinygrad_rnn as tg
from tinygrad_rnn.compiler import fallbacks, llvm_jit, long_products, structures, workers
from tinygrad_rnn.compiler.llvm_panels import panel
from tinygrad_rnn.compiler.long_products import add_rows
from tinygrad_rnn.compiler.workers import at_once
from tinygrad_rnn.errors import IndexRangeError
from tinygrad_rnn.graph import primitives
from tinygrad_rnn.ops.call import bind

EXACT = ["native", "llvm"] if llvm_jit.available() else []
ENGINES = ["numpy", *EXACT]
T, B, V, D, H = 7, 4, 9, 16, 5
Cell = Callable[[Any, Any], Any]


def leaves(dtype: Any = tg.float64) -> list[Any]:
    """A table, a matrix for its rows, one for the state, and a number for each symbol."""
    rng = np.random.default_rng(0)
    shapes = ((V, D), (D, H), (H, H), (V,))
    return [tg.tensor(0.3 * rng.normal(size=s), dtype, requires_grad=True) for s in shapes]


def plain(table: Any, w: Any, u: Any, b: Any) -> Cell:
    return lambda h, i: ((table[i] @ w + h @ u).tanh(),) * 2


def embedded(table: Any, w: Any, u: Any, b: Any) -> Cell:
    def step(h: Any, i: Any) -> Any:
        x = tg.functional.embedding(i, table, padding_idx=2)
        return ((x @ w + h @ u).tanh(),) * 2

    return step


def twice(table: Any, w: Any, u: Any, b: Any) -> Cell:
    """Two lookups in one table, rows of it, and another table of numbers."""

    def step(h: Any, i: Any) -> Any:
        x = table[i] + table[(i + 1) % V] * table[0]
        h = (x @ w + h @ u + b[i].unsqueeze(1) + table[1:2, :H]).tanh()
        return h, x

    return step


def by_hand(table: Any, w: Any, u: Any, b: Any) -> Cell:
    """A matrix of indices, pairs of them, and a table that no product reads."""

    def step(h: Any, i: Any) -> Any:
        pair = tg.stack([i, (i * 2) % V], 1)
        x = table[pair].sum(1) @ w + table[i, i % D].unsqueeze(1)
        h = (x + h @ u).tanh()
        return h, table[i, :H] * h

    return step


def fed_back(table: Any, w: Any, u: Any, b: Any) -> Cell:
    """What is looked up depends on the state."""
    return lambda h, i: ((table[(i + h.argmax(1)) % V] @ w + h @ u).tanh(),) * 2


def of_the_state(table: Any, w: Any, u: Any, b: Any) -> Cell:
    """The table is made anew in each step."""

    def step(h: Any, i: Any) -> Any:
        h = ((table * h.sum())[i] @ w + h @ u).tanh()
        return h, h[i % B]

    return step


CELLS = [plain, embedded, twice, by_hand, fed_back, of_the_state]


def run(
    cell: Any, engine: str, dtype: Any = tg.float64, index: Any = np.int64, second: bool = False,
    **options: Any,
) -> list[Any]:  # fmt: skip
    numbers = np.random.default_rng(1).integers(0, V, (options.pop("steps", T), B)).astype(index)
    weights = leaves(dtype)
    start = tg.zeros(B, H, dtype=dtype, requires_grad=True)
    final, ys = tg.scan(cell(*weights), start, tg.tensor(numbers), engine=engine, **options)
    loss = (ys * ys).sum() + final.sin().sum()
    asked = [start, *weights]
    how = {"create_graph": second, "allow_unused": True}
    found = list(tg.gradients(loss, asked, **how))
    if second:
        of_these = sum((g * g).sum() for g in found if g is not None)
        found += tg.gradients(of_these, asked, allow_unused=True)
    return [None if t is None else t.detach().numpy() for t in (final, ys, *found)]


OPTIONS: list[Any] = [
    {}, {"reverse": True}, {"truncate": 2}, {"checkpoint_every": 3}, {"lengths": [7, 2, 5, 1]},
    {"steps": 1},
]  # fmt: skip


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("cell", CELLS)
def test_equal_to_the_loop(cell: Any, options: Any, engine: str) -> None:
    before = len(fallbacks)
    found = run(cell, engine, second=True, **options)
    assert fallbacks[before:] == []
    assert difference(found, run(cell, "loop", second=True, **options)) < 1e-12


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("index", [np.uint8, np.int32])
def test_other_integers(index: Any, engine: str) -> None:
    assert difference(run(twice, engine, index=index), run(twice, "loop")) < 1e-12


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("index", [np.int8, np.uint8])
def test_more_rows_than_the_integers_count(index: Any, engine: str) -> None:
    table = tg.randn(300, H, requires_grad=True)
    numbers = tg.tensor(np.array([[1, 2], [120, 2], [7, 1]], index))

    def step(h: Any, i: Any) -> Any:
        return ((h + table[i]).tanh(),) * 2

    found = []
    for name in (engine, "loop"):
        _, ys = tg.scan(step, tg.zeros(2, H), numbers, engine=name)
        found.append([ys.detach().numpy(), tg.gradients(ys.sum(), [table])[0].numpy()])
    assert difference(*found) < 1e-6


@pytest.mark.parametrize("engine", EXACT)
@pytest.mark.parametrize("cell", CELLS[:3])
def test_checkpoints_change_no_bit(cell: Any, engine: str) -> None:
    whole = run(cell, engine, tg.float32)
    for every in (1, 2, 3, 5):
        found = run(cell, engine, tg.float32, checkpoint_every=every)
        assert all(np.array_equal(a, b) for a, b in zip(found, whole, strict=True))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("number", [V, -V - 1])
def test_an_index_out_of_range_is_told_as_by_the_loop(number: int, engine: str) -> None:
    numbers = np.zeros((T, B), np.int64)
    numbers[3, 2] = number
    with pytest.raises(IndexRangeError, match=str(number)):
        tg.scan(plain(*leaves()), tg.zeros(B, H, dtype=tg.float64), numbers, engine=engine)


PARTS: list[Any] = [lambda i: i[0], lambda i: i.reshape(-1)[:B], lambda i: i.flip(0)[-1]]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("part", PARTS)
def test_an_index_that_is_a_part_of_an_input_is_looked_at(part: Any, engine: str) -> None:
    """Only what is looked up: the other part of the input may be anything."""
    table, w, u, _ = leaves()
    step = lambda h, i: ((table[part(i)] @ w + h @ u).tanh(),) * 2  # noqa: E731
    numbers = np.random.default_rng(1).integers(0, V, (T, 2, B))
    numbers[:, 1] = 10**9
    start, before = tg.zeros(B, H, dtype=tg.float64), len(fallbacks)
    found, expected = (tg.scan(step, start, numbers, engine=e)[1] for e in (engine, "loop"))
    assert fallbacks[before:] == []
    assert difference([found.detach().numpy()], [expected.detach().numpy()]) < 1e-12
    numbers[3, 0, 2] = 10**9
    with pytest.raises(IndexRangeError, match=str(10**9)):
        tg.scan(step, start, numbers, engine=engine)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_carry_of_integers_is_looked_up(engine: str) -> None:
    table, w, u, _ = leaves()

    def step(c: Any, i: Any) -> Any:
        last, h = c
        h = (table[last] @ w + h @ u).tanh()
        return (i, h), h

    numbers = np.random.default_rng(1).integers(0, V, (T, B))
    start = tg.zeros(B, dtype=tg.int64), tg.zeros(B, H, dtype=tg.float64)
    found, expected = (tg.scan(step, start, numbers, engine=e)[1] for e in (engine, "loop"))
    assert difference([found.detach().numpy()], [expected.detach().numpy()]) < 1e-12
    numbers[3, 2] = 10**9
    with pytest.raises(IndexRangeError, match=str(10**9)):
        tg.scan(step, start, numbers, engine=engine)


@pytest.mark.parametrize("engine", ENGINES)
def test_indices_from_the_end(engine: str) -> None:
    numbers = -np.random.default_rng(1).integers(1, V + 1, (T, B))
    results = []
    for name in (engine, "loop"):
        weights = leaves()
        ys = tg.scan(plain(*weights), tg.zeros(B, H, dtype=tg.float64), numbers, engine=name)[1]
        gradients = tg.gradients((ys * ys).sum(), weights[:3])
        results.append([t.detach().numpy() for t in (ys, *gradients)])
    assert difference(*results) < 1e-12


def test_a_product_of_rows_is_made_of_the_table_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for rows, whole in ((B, True), (1, False)):  # a table of 9 rows is large beside one row
        kept: dict[Any, Any] = {}
        monkeypatch.setattr(structures, "_structures", kept)
        monkeypatch.setattr(structures, "_known", {})
        numbers = np.zeros((T, rows), np.int64)
        tg.scan(plain(*leaves()), tg.zeros(rows, H, dtype=tg.float64), numbers, engine="numpy")
        (found,) = kept.values()
        shapes = [v.shape for v in found.core.cut.before if v.name == "matmul"]
        assert shapes == [(V, H) if whole else (rows, H)]


def test_it_is_explained() -> None:
    text = tg.explain(plain(*leaves()), tg.zeros(B, H, dtype=tg.float64), np.zeros((T, B), int))
    assert "after lookup" in text
    assert "∂L/∂table = Σ_t δa1↑[i_t]" in text
    assert "--- the loop backward" in text  # it is compiled


WIDTHS = st.one_of(st.integers(0, 70), st.sampled_from([64, 128, 192]))


@pytest.mark.parametrize("threads", [1, 2, 3])
@given(st.integers(0, 40), WIDTHS, st.sampled_from([1, -1]), st.integers(0, 2**32))
def test_rows_are_added_in_order(
    threads: int, count: int, width: int, turn: int, seed: int
) -> None:
    if not EXACT:
        pytest.skip("needs llvmlite")
    rng = np.random.default_rng(seed)
    rows = rng.standard_normal((count, width)).astype(np.float32)
    numbers = rng.integers(-3, 3, count)
    total, expected = np.zeros((3, width), np.float32), np.zeros((3, width), np.float32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(long_products, "ADDED", 1)
        patch.setattr(workers, "threads", lambda: threads)
        shared: list[int] = []
        patch.setattr(
            long_products, "at_once", lambda calls: (shared.append(len(calls)), at_once(calls))
        )
        add_rows(total, numbers, rows, turn)
    fit = [n for n in range(1, threads + 1) if n == 1 or width % (n * panel(rows.dtype)) == 0]
    assert shared == ([max(fit)] if rows.size > 1 else [1] * rows.size)
    for i in range(count)[::turn]:
        expected[numbers[i]] += rows[i]
    assert np.array_equal(total, expected)


def test_scatter_is_the_transpose_of_index() -> None:
    rng = np.random.default_rng(0)
    number = tg.tensor(rng.integers(0, 3, (4,)))
    params = {"template": ("array",), "shape": (3, 2)}
    scatter = primitives["scatter"]
    check = lambda g: bind(scatter, [g, number], params)  # noqa: E731
    g = tg.tensor(rng.normal(size=(4, 2)), requires_grad=True)
    tg.testing.check_grads(check, [g])
    expected = np.zeros((3, 2))
    np.add.at(expected, number.numpy(), g.detach().numpy())
    assert np.array_equal(check(g).detach().numpy(), expected)
