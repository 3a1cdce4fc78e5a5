"""Long scans in little memory, and rows of unequal length without their padding."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest
from scan_cells import CELLS, B, H, I, difference, measured

import tinygrad_rnn as tg
from tinygrad_rnn.compiler import (
    llvm_jit,
    native_ragged,
    packed,
    ragged_engine,
    rowwise,
    run,
    spans,
    structures,
)
from tinygrad_rnn.compiler.packing import ragged
from tinygrad_rnn.compiler.pool import pool
from tinygrad_rnn.compiler.program import Refused
from tinygrad_rnn.errors import ShapeError

ENGINES = ["numpy", *(["native"] if llvm_jit.available() else [])]
EVERY = [*ENGINES, *(["llvm"] if llvm_jit.available() else [])]
PACKED = [name for name in CELLS if name not in ("pieces", "swapped")]


# ------------------------------------------------------------------------ rows of unequal length
def count_packed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of what happened, "packed" or the reason why not, as scans are run."""
    seen: list[str] = []
    original = packed.run_packed

    def spied(*args: Any) -> Any:
        try:
            found = original(*args)
        except Refused as refusal:
            seen.append(refusal.reason)
            raise
        seen.append("packed")
        return found

    monkeypatch.setattr(run, "run_packed", spied)
    return seen


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("name", PACKED)
def test_rows_are_packed_and_mean_the_same(
    name: str, reverse: bool, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = count_packed(monkeypatch)
    for numbers in ([7, 3, 1, 5], [2, 2, 6, 2]):
        options = {"lengths": tg.tensor(numbers), "reverse": reverse}
        found = measured(name, engine, second=True, **options)
        assert difference(found, measured(name, "loop", second=True, **options)) < 1e-12
    assert set(seen) == {"packed"}


@pytest.mark.parametrize("engine", ENGINES)
def test_no_step_is_made_for_a_row_that_has_ended(
    engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    worked: list[int] = []
    native = engine == "native"
    runner: Any = native_ragged.NativePackedRunner if native else ragged_engine.PackedRunner
    original = runner.__call__

    def spied(self: Any, how: Any, *args: Any) -> Any:
        worked.append(sum(steps * rows for _, steps, rows in how.segments))
        return original(self, how, *args)

    monkeypatch.setattr(runner, "__call__", spied)
    measured("lstm_joined", engine, lengths=tg.tensor([7, 3, 1, 5]))
    assert worked == [16, 16]  # forward and backward


@pytest.mark.parametrize("engine", ENGINES)
def test_full_rows_need_no_packing(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = count_packed(monkeypatch)
    found = measured("gru_torch", engine, lengths=tg.tensor([7, 7, 7, 7]))
    assert seen == []
    assert difference(found, measured("gru_torch", engine)) == 0


def refuse(*args: Any) -> Any:
    raise AssertionError("rows of one length need neither masks nor packing")


@pytest.mark.parametrize("engine", EVERY)
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("name", sorted(CELLS))
def test_rows_of_one_length_are_run_on_their_steps(
    name: str, reverse: bool, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "masked", refuse)
    monkeypatch.setattr(run, "run_packed", refuse)
    options = {"lengths": tg.tensor([4] * B), "reverse": reverse}
    if name == "pieces":  # whose outputs have no rows
        with pytest.raises(ShapeError):
            measured(name, engine, **options)
        return
    found = measured(name, engine, second=True, **options)
    assert difference(found, measured(name, "loop", second=True, **options)) < 1e-12


@pytest.mark.parametrize("engine", EVERY)
@pytest.mark.parametrize("options", [{"truncate": 2}, {"checkpoint_every": 3}, {}])
@pytest.mark.parametrize("reverse", [False, True])
def test_a_single_row_with_padding(reverse: bool, options: Any, engine: str) -> None:
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=s) for s in ((1, H), (7, 1, H), (7,), (H, H))]
    results = []
    for name in (engine, "loop"):
        init, xs, scale, w = (tg.tensor(a, requires_grad=True) for a in arrays)
        tg.manual_seed(0)

        def step(h: Any, x: Any, w: Any = w) -> Any:
            h = (h @ w + x[0] * x[1] * tg.rand(1, H)).tanh()
            return h, {"y": h * 2.0, "n": (h > 0).sum(1)}

        final, ys = tg.scan(
            step, init, (xs, scale), lengths=[5], reverse=reverse, engine=name, **options
        )
        loss = (ys["y"] * ys["y"]).sum() + final.sum()
        outputs = [final, *ys.values(), *tg.gradients(loss, [init, xs, scale, w])]
        results.append([t.detach().numpy() for t in outputs])
    assert difference(*results) < 1e-12


def batch_mean(h: Any, x: Any) -> Any:
    h = (h + x - h.mean(0)).tanh()
    return h, h


def products_of_rows(h: Any, x: Any) -> Any:
    return (h @ h.T @ x).tanh(), h


def first_row(h: Any, x: Any) -> Any:
    return (h * 0.5 + x + h[0]).tanh(), h


def turned(h: Any, x: Any) -> Any:
    return (h + x.flip(0)).tanh(), h


def transposed(h: Any, x: Any) -> Any:
    return (h.T * 0.5 + x).tanh(), h


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("step", [transposed, batch_mean, products_of_rows, first_row, turned])
def test_rows_that_look_at_each_other_are_masked(
    step: Any, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = count_packed(monkeypatch)
    rng = np.random.default_rng(0)
    init, xs = rng.normal(size=(4, 4)), rng.normal(size=(6, 4, 4))  # B = H: shapes tell nothing
    found = []
    for name in (engine, "loop"):
        leaves = [tg.tensor(a, dtype=tg.float64, requires_grad=True) for a in (init, xs)]
        final, ys = tg.scan(step, *leaves, lengths=[6, 2, 5, 1], engine=name)
        outputs = [final, ys, *tg.gradients((ys * ys).sum() + final.sum(), leaves)]
        found.append([o.detach().numpy() for o in outputs])
    assert difference(*found) < 1e-12
    assert seen
    assert "packed" not in seen


@pytest.mark.parametrize("engine", ENGINES)
def test_padding_is_never_read(engine: str) -> None:
    w = tg.randn(I, H, requires_grad=True)
    xs = np.ones((5, B, I), np.float32)
    xs[2:, 1] = np.nan
    x = tg.tensor(xs, requires_grad=True)
    step = lambda h, x: ((h + x @ w).tanh(),) * 2  # noqa: E731
    final, ys = tg.scan(step, tg.zeros(B, H), x, lengths=[5, 2, 5, 4], engine=engine)
    (final.sum() + ys.sum()).backward()
    for array in (final.detach(), ys.detach(), w.grad, x.grad):
        assert np.isfinite(array.numpy()).all()
    assert not x.grad.numpy()[2:, 1].any()
    assert not ys.detach().numpy()[2:, 1].any()


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("dtype", [tg.float32, tg.float64])
@pytest.mark.parametrize("width", [1, 3, 16, 33, 64])
def test_any_number_of_rows_and_columns(width: int, dtype: Any, engine: str) -> None:
    rng = np.random.default_rng(0)
    weights = [
        rng.normal(size=s) * 0.7 * width**-0.5 for s in ((2, width), (width, width), (width,))
    ]
    lengths = [17 - i for i in range(17)]  # 17, 16, …, 1 rows: tiles of every height
    xs = rng.normal(size=(17, 17, 2))
    results = []
    for name in (engine, "loop"):
        w, u, b = (tg.tensor(a, dtype=dtype, requires_grad=True) for a in weights)
        step = lambda h, x: ((x @ w + h @ u + b).tanh(),) * 2  # noqa: B023, E731
        init = tg.zeros(17, width, dtype=dtype)
        final, ys = tg.scan(step, init, tg.tensor(xs, dtype=dtype), lengths=lengths, engine=name)
        gradients = tg.gradients((ys * ys).sum() + final.sum(), [w, u, b])
        results.append([t.detach().numpy() for t in (final, ys, *gradients)])
    assert difference(*results) < (1e-5 if dtype == tg.float32 else 1e-12)


@pytest.mark.parametrize("reverse", [False, True])
def test_what_is_packed_comes_back(reverse: bool) -> None:
    rng = np.random.default_rng(0)
    for numbers in ([2, 5, 1, 5], [3, 3, 3, 3], [5, 4, 2, 1], [0, 7, -1, 0]):
        how = ragged(np.array(numbers), 6, reverse)
        there = np.arange(6)[:, None] < np.array(numbers)
        for shape in ((), (3,), (1, 2)):
            x = rng.normal(size=(6, 4, *shape))
            rows = how.packed(x)
            expected = x.reshape(24, 1, *shape)[how.places]
            assert np.array_equal(rows, expected)
            mask = there.reshape(6, 4, *(1,) * len(shape))
            assert np.array_equal(how.padded(rows), np.where(mask, x, 0))
        assert rows.shape[0] == how.total == there.sum()
        assert how.total <= how.capacity <= how.total * 9 / 8


def test_packing() -> None:
    how = ragged(np.array([2, 4, 1, 4]), 4, False)
    assert how.order.tolist() == [1, 3, 0, 2]
    assert how.segments == [(0, 1, 4), (4, 1, 3), (7, 2, 2)]
    assert how.places.tolist() == [1, 3, 0, 2, 5, 7, 4, 9, 11, 13, 15]
    back = ragged(np.array([2, 4, 1, 4]), 4, True)
    assert back.places.tolist() == [13, 15, 4, 2, 9, 11, 0, 5, 7, 1, 3]
    assert ragged(np.array([-3, 9]), 4, False).segments == [(0, 4, 1)]


@pytest.mark.skipif(not llvm_jit.available(), reason="needs llvmlite")
def test_another_batch_or_number_of_steps_compiles_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    texts: list[str] = []
    original = llvm_jit._compile

    def spied(text: str, signature: Any) -> Any:
        texts.append(text)
        return original(text, signature)

    through_passes = structures._through_passes

    def counted(*args: Any) -> Any:
        texts.append("passes")
        return through_passes(*args)

    monkeypatch.setattr(llvm_jit, "_compile", spied)
    monkeypatch.setattr(structures, "_through_passes", counted)
    w = tg.randn(11, 11, requires_grad=True)

    def step(h: Any, x: Any) -> Any:
        h = (h @ w + x).tanh()
        return h, h

    def train(steps: int, batch: int, lengths: Any) -> int:
        xs = tg.randn(steps, batch, 11)
        before = len(texts)
        tg.scan(step, tg.zeros(batch, 11), xs, lengths=lengths, engine="native")[1].sum().backward()
        return len(texts) - before

    assert train(6, 4, None) == 4  # the passes, forward, backward, the sum over the steps
    assert train(9, 4, None) == 0
    assert train(6, 4, [6, 2, 3, 1]) == 3  # the passes, forward, backward; the sum is known
    assert train(9, 4, [2, 9, 3, 1]) == 0
    assert train(5, 3, [2, 5, 3]) == 0  # the last batch of an epoch


def test_a_rule_for_each_operation_with_rows() -> None:
    assert set(rowwise._RULES) <= set(tg.graph.primitives)


# --------------------------------------------------------------------------------------- memory
def peak(steps: int, inference: bool, every: int | None) -> int:
    """Bytes beyond inputs and outputs at the worst moment."""
    w = tg.randn(8, 8, requires_grad=not inference)
    xs = tg.randn(steps, 2, 8)

    def step(h: Any, x: Any) -> Any:
        h = (h @ w + x @ w).tanh()
        return h, h.sum(1)

    pool.clear()
    tracemalloc.start()
    try:
        with tg.no_grad() if inference else tg.enable_grad():
            final, ys = tg.scan(
                step, tg.zeros(2, 8), xs, checkpoint_every=every, engine=ENGINES[-1]
            )
            if not inference:
                (final.sum() + ys.sum()).backward()
        return tracemalloc.get_traced_memory()[1] - 2 * ys.array.nbytes
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("lengths", [False, True])
def test_inference_gives_the_same_in_blocks(lengths: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spans, "BLOCK", 1)
    tg.manual_seed(0)
    w = tg.randn(H, H) * 0.2
    step = lambda c, x: ((c @ w + x).tanh(), {"y": c, "n": (x > 0).sum(1), "b": x[:, 0] > 0})  # noqa: E731
    xs = tg.randn(200, B, H)
    numbers = tg.tensor([200, 3, 64, 130]) if lengths else None
    for reverse in (False, True):
        options = {"lengths": numbers, "reverse": reverse}
        with tg.no_grad():
            found, expected = (
                tg.tree.flatten(tg.scan(step, tg.zeros(B, H), xs, engine=engine, **options))[0]
                for engine in (ENGINES[-1], "loop")
            )
        assert len(found) == 4
        for a, b in zip(found, expected, strict=True):
            assert a.dtype == b.dtype
            np.testing.assert_allclose(a.numpy(), b.numpy(), atol=1e-6)


def test_memory_of_inference_does_not_grow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spans, "BLOCK", 1 << 15)
    peak(200, True, None)
    few, many = peak(500, True, None), peak(8000, True, None)
    assert many < 1.3 * few + 20_000


def test_memory_of_checkpointing_grows_as_the_root() -> None:
    peak(50, False, 5)
    few, many = peak(400, False, 20), peak(6400, False, 80)
    assert many < 6 * few  # a factor of 4, and what every span costs; 16 without
