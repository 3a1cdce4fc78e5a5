"""What the next step reads is fetched while this one multiplies: all of it, and nothing else."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn.compiler import llvm_jit, native_engine, native_ragged, soon, structures, workers
from tinygrad_rnn.compiler.llvm_kernels import LINE, Writer
from tinygrad_rnn.compiler.llvm_text import INT, POINTER

pytestmark = pytest.mark.skipif(not llvm_jit.available(), reason="needs llvmlite")
STEPS = 7
SEEN = np.zeros(1 << 20, np.int64)  # how many, then the addresses: code that is kept has its own


class Recorder:
    """Compiled code writes down what it would fetch; the tables say where things are."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seen = SEEN
        self.seen.fill(0)
        self.runs: list[tuple[Any, list[int]]] = []  # runner, a share's table
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
    before: list[set[int]] = []  # what is read in the step that comes first
    for i, (runner, table) in enumerate(runs):
        backward = i >= shares
        spans = soon.wanted(runner.shares(shares).parts, runner.inputs)
        assert not backward or {a.base for a, _ in spans} & runner.inputs
        for address, size in spans:
            for step in range(STEPS):
                here = table[address.base] + address.offset + step * address.row
                first = step == (0 if reverse == backward else STEPS - 1)
                if address.base in runner.inputs and backward:
                    lines = lines_of(here, size - LINE)  # it may begin within a line
                    before += [lines] * first
                    wanted |= set() if first else lines
            start = table[address.base] + address.offset
            near |= lines_of(start - address.row, (STEPS + 2) * address.row + 4 * LINE * batch)
    assert wanted <= found
    assert found <= near
    assert any(lines - found for lines in before)


def test_what_would_not_stay_near_is_not_fetched(
    monkeypatch: pytest.MonkeyPatch, recorder: Recorder
) -> None:
    small = llvm_jit.machine()._replace(near=1 << 12)
    monkeypatch.setattr(soon, "machine", lambda: small)
    train(tg.nn.LSTMCell, 32, 32, tg.float32)
    assert not recorder.seen[0]


def test_packed_rows_are_fetched_too(recorder: Recorder) -> None:
    lengths = tg.tensor([7, 7, 5, 5, 5, 3, 2, 1, 1])
    train(tg.nn.LSTMCell, 9, 32, tg.float32, lengths=lengths)
    assert recorder.seen[0]
