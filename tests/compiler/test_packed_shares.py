"""Rows of unequal length on several threads: every bit is that of one thread."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg

pytest.importorskip("llvmlite")

import scan_cells
from scan_cells import CELLS, difference, measured

from tinygrad_rnn.compiler import native_engine, native_ragged, native_shares, structures, workers
from tinygrad_rnn.compiler.pool import Pool

LENGTHS = {
    "one long": [1] * 5 + [7] + [1] * 7,
    "three kinds": [4, 7, 1] * 5,
    "all kinds": [1 + 3 * i % 7 for i in range(17)],
    "two": [7, 2],
    "three": [2, 7, 5],
}
UNFIT = {"pieces", "swapped"}  # whose outputs have no rows
Counts = list[tuple[str, int]]


def on(count: int, monkeypatch: pytest.MonkeyPatch, each: int = 1, packed: bool = True) -> Counts:
    """Have so many threads; which loops were divided among how many, as they are run."""
    counts: Counts = []
    divided, way = native_ragged.NativePackedRunner.divided, native_engine.NativeRunner.way

    def packed_loop(self: Any, how: Any) -> Any:
        found = divided(self, how)
        counts.append(("packed", len(found)))
        return found

    def loop(self: Any, wanted: int) -> Any:
        found = way(self, wanted)
        counts.append(("whole", found[1].count))
        return found

    for module in (native_engine, native_ragged):
        monkeypatch.setattr(module, "EACH", each)
    monkeypatch.setattr(workers, "threads", lambda: count)
    monkeypatch.setattr(native_ragged.NativePackedRunner, "divided", packed_loop)
    monkeypatch.setattr(native_engine.NativeRunner, "way", loop)
    return counts


@pytest.fixture(autouse=True)
def memory_is_full_of_nan(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else what is not written would be what the same loop has left there."""
    block = Pool.block

    def filled(self: Pool, size: int) -> tuple[Any, int, int]:
        memory, start, address = block(self, size)
        memory[start : start + size] = 255
        return memory, start, address

    monkeypatch.setattr(Pool, "block", filled)


def assert_same_bits(found: list[Any], expected: list[Any]) -> None:
    for a, b in zip(found, expected, strict=True):
        assert (a is None) == (b is None)
        assert a is None or np.array_equal(a, b)


@pytest.mark.parametrize("name", sorted(set(CELLS) - UNFIT))
@pytest.mark.parametrize("lengths", ["one long", "three kinds", "all kinds"])
def test_no_bit_depends_on_threads(
    name: str, lengths: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers = LENGTHS[lengths]
    monkeypatch.setattr(scan_cells, "B", len(numbers))
    for options in ({}, {"reverse": True}, {"checkpoint_every": 3}):
        options = {"lengths": tg.tensor(numbers), **options}
        alone = measured(name, "native", **options)
        assert difference(alone, measured(name, "loop", **options)) < 1e-10
        for count in (2, 3, 4):
            with monkeypatch.context() as patch:
                counts = on(count, patch)
                assert_same_bits(measured(name, "native", **options), alone)
            least = 2 if lengths == "one long" else count
            assert ("packed", least) <= max(counts) <= ("packed", count)


@pytest.mark.parametrize("lengths", LENGTHS)
@pytest.mark.parametrize("dtype", [tg.float32, tg.float64])
def test_no_bit_of_wide_rows(lengths: str, dtype: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """With products in panels and in tiles of every height, and a nested carry."""
    rng = np.random.default_rng(0)
    numbers, width = LENGTHS[lengths], 48
    arrays = [rng.normal(size=s) * 0.2 for s in ((5, 4 * width), (width, 4 * width), (4 * width,))]
    xs = rng.normal(size=(7, len(numbers), 5))

    def run(engine: str) -> list[Any]:
        w, u, b = (tg.tensor(a, dtype=dtype, requires_grad=True) for a in arrays)
        x = tg.tensor(xs, dtype=dtype, requires_grad=True)

        def step(carry: Any, x: Any) -> Any:
            (h, c), [d] = carry["state"], carry["more"]
            (h, c), y = scan_cells.lstm_update((x @ w + h @ u + b).chunk(4, 1), c)
            return {"state": (h, c), "more": [d + h]}, (y, d)

        zero = tg.zeros(len(numbers), width, dtype=dtype)
        final, ys = tg.scan(
            step, {"state": (zero, zero), "more": [zero]}, x, lengths=numbers, engine=engine
        )
        outputs = [*final["state"], *final["more"], *ys]
        gradients = tg.gradients(sum((o * o).sum() for o in outputs), [w, u, b, x])
        return [t.detach().numpy() for t in (*outputs, *gradients)]

    alone = run("native")
    assert difference(alone, run("loop")) < (1e-5 if dtype == tg.float32 else 1e-12)
    for count in (2, 3, 4):
        with monkeypatch.context() as patch:
            on(count, patch)
            assert_same_bits(run("native"), alone)


def scanned(
    lengths: Any, rows: int = 16, steps: int = 6, width: int = 32, **options: Any
) -> list[Any]:
    """Values and gradients of a plain network."""
    rng = np.random.default_rng(2)
    w = tg.tensor(0.2 * rng.normal(size=(width, width)), requires_grad=True)
    xs = tg.tensor(rng.normal(size=(steps, rows, width)), requires_grad=True)
    options = {"engine": "native", "lengths": lengths, **options}
    init = tg.zeros(rows, width, dtype=tg.float64)
    final, ys = tg.scan(lambda h, x: ((h @ w + x).tanh(),) * 2, init, xs, **options)
    gradients = tg.gradients((ys * ys).sum() + final.sum(), [w, xs])
    return [t.detach().numpy() for t in (final, ys, *gradients)]


UNEQUAL = [1 + i % 6 for i in range(16)]


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("whole", {"lengths": [6] * 16}),
        ("whole", {"lengths": [3] * 16}),
        ("whole", {"lengths": UNEQUAL, "truncate": 2}),
        ("whole", {"lengths": UNEQUAL, "truncate": 2, "reverse": True}),
        ("whole", {"lengths": UNEQUAL, "truncate": 2, "checkpoint_every": 4}),
        ("packed", {"lengths": UNEQUAL}),
        ("packed", {"lengths": UNEQUAL, "checkpoint_every": 4}),
        ("packed", {"lengths": UNEQUAL, "checkpoint_every": 4, "reverse": True}),
    ],
    ids=str,
)
def test_every_kind_of_rows_has_threads(
    kind: str, options: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows of one length, rows with masks, as where carries are cut, and packed rows in spans."""
    alone = scanned(**options)
    counts = on(2, monkeypatch)
    assert difference(scanned(**options), alone) < 1e-14
    assert set(counts) == {(kind, 2)}
    assert difference(alone, scanned(**options | {"engine": "loop"})) < 1e-12


@pytest.mark.parametrize(
    ("lengths", "each", "expected"),
    [
        ([100] * 8 + [99] * 8, 1_000_000, 3),  # 2048 operations a row and step, and some
        ([100] * 8 + [99] * 8, 1_300_000, 2),
        ([100] * 8 + [99] * 8, 2_000_000, 1),
        ([100] + [20] * 15, 90_000, 3),
        ([100] + [1] * 15, 90_000, 1),  # the others have next to nothing to do
        ([100, 99], 1, 1),
    ],
)
def test_threads_are_used_where_they_pay(
    lengths: list[int], each: int, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        counts = on(3, patch, each)
        scanned(lengths, len(lengths), 100)
    assert counts[0] == ("packed", expected)


def test_rows_that_may_not_be_divided_are_left_to_one_thread(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    alone = scanned(UNEQUAL, width=29)
    monkeypatch.setattr(native_shares, "FEW", 5)  # more than half of the rows it is asked for
    monkeypatch.setattr(structures, "_structures", {})
    monkeypatch.setattr(structures, "_known", {})
    counts = on(2, monkeypatch)
    assert_same_bits(scanned(UNEQUAL, width=29), alone)
    assert set(counts) == {("packed", 1)}
