"""What the next step reads is fetched while this one multiplies: all of it, and nothing far."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn.compiler import (
    llvm_jit,
    llvm_products,
    native_engine,
    native_ragged,
    soon,
    structures,
    workers,
)
from tinygrad_rnn.compiler.llvm_kernels import LINE, Writer
from tinygrad_rnn.compiler.llvm_products import Product, Soon
from tinygrad_rnn.compiler.llvm_text import INT, POINTER
from tinygrad_rnn.compiler.lowering import Address

pytestmark = pytest.mark.skipif(not llvm_jit.available(), reason="needs llvmlite")
STEPS = 7
SEEN = np.zeros(1 << 20, np.int64)  # how many, then the addresses: code that is kept has its own


class Recorder:
    """Compiled code writes down what it would fetch; the tables say where things are."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seen = SEEN
        self.seen.fill(0)
        self.runs: list[tuple[Any, list[int]]] = []  # runner, a share's table
        self.begun: list[int] = []  # of each, how many addresses there were before
        address, recorder = self.seen.ctypes.data, self

        def fetched(writer: Writer, place: Any, size: int) -> None:
            code, number = writer.code, writer.number
            table = code.convert("inttoptr", number(address), POINTER)
            for start in range(0, size, LINE):
                count = code.add(code.load(INT, table, 8), number(1))
                code.store(count, table, 8)
                line = code.convert("ptrtoint", code.moved(place, number(start)), INT)
                code.store(line, writer.beyond(table, count, 8), 8)

        def one_by_one(calls: Any) -> None:
            for call in calls:
                call()

        write_parts = native_engine.NativeRunner.write_parts

        def noting(runner: Any, writer: Any, *rest: Any) -> None:
            writer.fetched = partial(fetched, writer)
            write_parts(runner, writer, *rest)

        monkeypatch.setattr(native_engine.NativeRunner, "write_parts", noting)
        monkeypatch.setattr(native_engine, "at_once", one_by_one)
        monkeypatch.setattr(native_ragged, "at_once", one_by_one)
        monkeypatch.setattr(native_engine.NativeRunner, "small", lambda *_: None)
        further = native_engine.NativeRunner.further

        def noted(runner: Any, each: Any, fixed: Any, *rest: Any) -> Any:
            kept = further(runner, each, fixed, *rest)
            recorder.runs += [(runner, table) for table in fixed[-1][1]]
            recorder.begun += [int(recorder.seen[0])] * len(fixed[-1][1])
            return kept

        monkeypatch.setattr(native_engine.NativeRunner, "further", noted)
        for name in ("_structures", "_known"):
            monkeypatch.setattr(structures, name, type(getattr(structures, name))())

    def lines(self) -> set[int]:
        """The numbers of the lines fetched."""
        return set((self.seen[1 : 1 + int(self.seen[0])] // LINE).tolist())


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    monkeypatch.setattr(workers, "threads", lambda: 1)
    return Recorder(monkeypatch)


def train(cell: Any, batch: int, width: int, dtype: Any, **options: Any) -> None:
    tg.manual_seed(0)
    module = cell(3, width).to(dtype)
    xs = tg.randn(STEPS, batch, 3, dtype=dtype)
    zero = tg.zeros(batch, width, dtype=dtype)
    init = (zero, zero) if cell is tg.nn.LSTMCell else zero
    _, ys = tg.scan(module, init, xs, engine="native", **options)
    (ys * ys).sum().backward()


def lines_of(start: int, size: int) -> set[int]:
    return set(range(start // LINE, (start + size - 1) // LINE + 1))


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("shares", [1, 2])
@pytest.mark.parametrize(
    ("batch", "width", "dtype"),
    [(32, 32, tg.float32), (8, 64, tg.float64), (12, 40, tg.float32), (20, 36, tg.float32)],
)
@pytest.mark.parametrize("cell", [tg.nn.LSTMCell, tg.nn.GRUCell])
def test_backward_fetches_the_next_step(
    cell: Any, batch: int, width: int, dtype: Any, shares: int, reverse: bool,
    monkeypatch: pytest.MonkeyPatch, recorder: Recorder,
) -> None:  # fmt: skip
    monkeypatch.setattr(workers, "threads", lambda: shares)
    monkeypatch.setattr(native_engine, "EACH", 1)
    train(cell, batch, width, dtype, reverse=reverse)
    runs = recorder.runs
    assert len(runs) == 2 * shares  # forward, and backward
    found = recorder.lines()
    wanted: set[int] = set()
    near: set[int] = set()
    for i, (runner, table) in enumerate(runs):
        backward = i >= shares
        spans = soon.wanted(runner.shares(shares).parts, runner.inputs)
        assert not backward or {a.base for a, _ in spans} & runner.inputs
        for address, size in spans:
            for step in range(STEPS):
                here = table[address.base] + address.offset + step * address.row
                first = step == (0 if reverse == backward else STEPS - 1)
                if address.base in runner.inputs and backward and not first:
                    wanted |= lines_of(here, size - LINE)  # it may begin within a line
            start = table[address.base] + address.offset
            near |= lines_of(start - address.row, (STEPS + 2) * address.row + 4 * LINE * batch)
    assert wanted <= found
    assert found <= near
    second = 1 if reverse else STEPS - 2  # which backward comes to second, and fetches first
    (address, _), table = spans[0], runs[shares][1]
    place = table[address.base] + address.offset + second * address.row
    assert recorder.seen[1 + recorder.begun[shares]] == place


def test_what_would_not_stay_near_is_not_fetched(
    monkeypatch: pytest.MonkeyPatch, recorder: Recorder
) -> None:
    small = llvm_jit.machine()._replace(near=1 << 12)
    monkeypatch.setattr(soon, "machine", lambda: small)
    train(tg.nn.LSTMCell, 32, 32, tg.float32)
    assert not recorder.seen[0]


def test_forward_sees_what_it_writes_coming(recorder: Recorder) -> None:
    train(tg.nn.LSTMCell, 32, 32, tg.float32)
    (forward, _), (backward, _) = recorder.runs
    assert not soon.wanted(forward.parts, forward.inputs)
    assert soon.wanted(backward.parts, backward.inputs)


def test_packed_rows_are_fetched_too(monkeypatch: pytest.MonkeyPatch, recorder: Recorder) -> None:
    runs: list[tuple[Any, bool, Any, int]] = []
    run_shares = native_ragged.NativePackedRunner.run_shares

    def noted(runner: Any, shares: Any, backward: bool, addresses: Any) -> None:
        runs.append((runner, backward, addresses, int(recorder.seen[0])))
        run_shares(runner, shares, backward, addresses)

    monkeypatch.setattr(native_ragged.NativePackedRunner, "run_shares", noted)
    rows = [5, 5, 5, 3, 3, 3, 3]  # of each step
    train(tg.nn.LSTMCell, 5, 64, tg.float32, lengths=tg.tensor([7, 7, 7, 3, 3]))
    found, wanted = recorder.lines(), set()
    for runner, backward, addresses, _ in runs:
        for address, _ in soon.wanted(runner.parts, runner.inputs) if backward else ():
            row = address.row // native_ragged.SYMBOLIC
            for step in range(STEPS) if address.base in runner.inputs else ():
                start = addresses[address.base] + sum(rows[:step]) * row
                lines = lines_of(start, rows[step] * row - LINE)
                if step not in (2, STEPS - 1):  # where some rows begin
                    wanted |= lines
    assert wanted
    assert wanted <= found
    runner, backward, addresses, begun = runs[-1]
    (address, _), *_ = soon.wanted(runner.parts, runner.inputs)
    row = address.row // native_ragged.SYMBOLIC
    place = addresses[address.base] + address.offset + sum(rows[: STEPS - 2]) * row
    assert backward
    assert recorder.seen[1 + begun] == place


@pytest.mark.parametrize(
    ("text", "size"),
    [("2048K\n", 2 << 20), ("1M", 1 << 20), ("2M", 2 << 20), ("0K", 1 << 20), ("-1K", 1 << 20),
     ("", 1 << 20), ("K", 1 << 20), ("12", 1 << 20)],
)  # fmt: skip
def test_the_second_cache(
    text: str, size: int, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "size"
    monkeypatch.setattr(llvm_jit, "SECOND_CACHE", str(file))
    assert llvm_jit._second_cache() == 1 << 20  # there is none
    file.write_text(text)
    assert llvm_jit._second_cache() == size


def test_a_tile_fetches_little_at_a_time_and_all_it_needs() -> None:
    def planned(inner: int, *sizes: int) -> tuple[int, list[int]]:
        rounds, kept = llvm_products._in_rounds(inner, 2, [Soon(None, n * LINE) for n in sizes])
        return rounds, [n // LINE for _, n in kept]

    assert planned(128, 8) == (1, [8])
    assert planned(128, 9, 1) == (2, [9, 1])
    assert planned(512, *[16] * 8, 64) == (8, [16] * 8 + [64])
    assert planned(128, 65, 8) == (1, [8])  # too many lines in any round
    assert planned(128, *[8] * 40) == (8, [8] * 32)
    assert planned(34, 1) == (1, [1])
    assert planned(127, 9) == (1, [])


def test_the_product_with_most_to_do_fetches_what_every_row_needs() -> None:
    def product(rows: int, inner: int, columns: int, *batch: int) -> Product:
        nothing: Any = None
        return Product(nothing, nothing, nothing, rows, inner, columns, True, batch)

    parts = [product(4, 8, 16), product(9, 9, 9), product(99, 99, 99, 2), product(2, 3, 5)]
    assert soon.longest(parts) is parts[1]
    assert soon.longest(parts[2:3]) is None
    address = Address(0, 16, (4,), np.dtype("float32"), 64)
    writer = Writer(1)
    (span,) = soon.in_step(writer, writer.number(3), [(address, 10)], 4)
    assert span.size == 3
    assert writer.step is writer.code.args[0]
