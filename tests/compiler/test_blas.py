"""Products over all rows on threads of ours, with OpenBLAS's own asleep."""

from __future__ import annotations

import importlib.util
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest
from interrupts import interrupted, needs_timers

import tinygrad_rnn as tg
from tinygrad_rnn.backend import quiet
from tinygrad_rnn.compiler import blas, numpy_engine, workers

AWAKE = 3


@pytest.fixture(autouse=True)
def awake() -> Iterator[None]:
    """OpenBLAS uses some threads, whatever the environment says."""
    alone = blas._alone
    if alone is None:
        yield
        return
    before = alone.count()
    alone.use(AWAKE)
    yield
    alone.use(before)


@pytest.fixture
def number() -> Callable[[], int]:
    """How many threads OpenBLAS uses."""
    alone = blas._alone
    if alone is None:
        pytest.skip("needs NumPy with OpenBLAS")
    return alone.count


@pytest.fixture(params=[1, 2, 3])
def shared(request: Any, monkeypatch: pytest.MonkeyPatch) -> int:
    """So many threads, from the smallest products on."""
    monkeypatch.setattr(blas, "EACH", 1)
    monkeypatch.setattr(blas, "ALONE", 0)
    monkeypatch.setattr(blas, "FEWEST", 1)
    monkeypatch.setattr(workers, "threads", lambda: request.param)
    return int(request.param)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "complex128"])
@pytest.mark.parametrize(
    "shape", [(7, 5, 3), (1, 4, 2), (0, 3, 2), (3, 0, 2), (4, 3, 0), (64, 1, 9)]
)
def test_a_product_is_numpys(shared: int, shape: tuple[int, int, int], dtype: str) -> None:
    rows, inner, columns = shape
    rng = np.random.default_rng(0)
    a, b = (rng.integers(-9, 9, s).astype(dtype) for s in ((rows, inner), (inner, columns)))
    for x in (a, np.asfortranarray(a), a[::-1], np.repeat(a, 2, 1)[:, ::2]):
        for y in (b, np.asfortranarray(b), b[:, ::-1]):
            found = blas.product(x, y)
            assert found.dtype == a.dtype
            np.testing.assert_array_equal(found, x @ y)  # of integers, so exactly


def test_infinities_are_multiplied_without_a_word(shared: int) -> None:
    with quiet():
        found = blas.product(np.array([[np.inf], [0.0], [-np.inf]]), np.array([[0.0, 1.0]]))
    np.testing.assert_array_equal(found, [[np.nan, np.inf], [0, 0], [np.nan, -np.inf]])


def test_threads_of_openblas_sleep_in_a_product_and_are_there_after_it(
    shared: int, number: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    original = workers.at_once
    monkeypatch.setattr(blas, "at_once", lambda calls: (seen.append(number()), original(calls)))
    blas.product(np.ones((8, 4)), np.ones((4, 2)))
    assert seen == [1] * (shared > 1)
    assert number() == AWAKE


@pytest.mark.parametrize("shared", [2], indirect=True)
def test_they_are_there_after_an_error_too(
    shared: int, number: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(calls: Any) -> None:
        raise MemoryError

    monkeypatch.setattr(blas, "at_once", fails)
    with pytest.raises(MemoryError):
        blas.product(np.ones((8, 4)), np.ones((4, 2)))
    assert number() == AWAKE


def test_who_is_last_wakes_them_again() -> None:
    set_numbers: list[int] = []
    alone = blas._Alone(lambda: 5, set_numbers.append)
    inside, leave = threading.Event(), threading.Event()

    def other() -> None:
        assert alone.enter("other") == 5
        inside.set()
        leave.wait(10)  # no longer than a failed test may take
        alone.leave("other")

    thread = threading.Thread(target=other)
    thread.start()
    inside.wait()
    assert alone.enter("this") == 5
    assert set_numbers == [1]
    alone.leave("this")
    alone.leave("this")  # again, as after an interrupt
    assert set_numbers == [1]
    leave.set()
    thread.join()
    assert set_numbers == [1, 5]


def test_any_other_blas_is_left_alone(shared: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blas, "_alone", None)
    monkeypatch.setattr(blas, "at_once", lambda calls: pytest.fail("shared"))
    assert blas.product(np.full((8, 4), 2.0), np.ones((4, 2))).tolist() == [[8.0, 8.0]] * 8


def test_the_numpy_engine_on_several_threads(shared: int) -> None:
    rng = np.random.default_rng(0)
    w, u = (tg.tensor(rng.normal(size=(n, 8)) / 3, requires_grad=True) for n in (3, 8))
    xs = tg.tensor(rng.normal(size=(9, 4, 3)), requires_grad=True)

    def step(h: Any, x: Any) -> Any:
        h = (x @ w + h @ u).tanh()
        return h, h

    results = []
    for engine in ("numpy", "loop"):
        ys = tg.scan(step, tg.zeros(4, 8, dtype="float64"), xs, engine=engine)[1]
        results.append([t.numpy() for t in tg.gradients((ys * ys).sum(), [w, u, xs])])
    for found, expected in zip(*results, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_openblas_may_have_been_told_to_use_one_thread(
    shared: int, number: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = blas._alone
    assert alone is not None
    alone.use(1)
    monkeypatch.setattr(blas, "at_once", lambda calls: pytest.fail("shared"))
    assert blas.product(np.full((8, 4), 2.0), np.ones((4, 2))).tolist() == [[8.0, 8.0]] * 8


@needs_timers
def test_an_interrupt_of_a_product_leaves_nobody_inside(
    number: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever it comes, in the product or in what is done before and after it."""
    monkeypatch.setattr(workers, "threads", lambda: 1)
    matrix = np.ones((60, 60))
    after = [1e-5 + i % 100 * 4e-6 for i in range(1000)]
    interrupted(lambda: blas.product(matrix, matrix), after)
    assert number() == AWAKE


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("where", ["inside", "at the door"])
def test_in_the_copy_of_a_process_nobody_is_inside(where: str, number: Callable[[], int]) -> None:
    alone, there, leave = blas._alone, threading.Event(), threading.Event()
    assert alone is not None

    def other() -> None:
        if where == "inside":
            alone.enter("other")
        with alone.lock if where == "at the door" else nullcontext():
            there.set()
            leave.wait(10)
        alone.leave("other")

    thread = threading.Thread(target=other)
    thread.start()
    there.wait()
    child = os.fork()
    if not child:
        code = 1
        try:
            signal.alarm(20)
            blas.product(np.ones((80, 80)), np.ones((80, 80)))
            code = int(number() != AWAKE)
        finally:
            os._exit(code)
    leave.set()
    thread.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_openblas_is_found_before_two_can_look_for_it(number: Callable[[], int]) -> None:
    """Each would ask it to be alone, and one of them take one thread for what it had before."""
    name = "tinygrad_rnn.compiler.blas_once_more"
    spec = importlib.util.spec_from_file_location(name, str(blas.__file__))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module._alone.count() == number() == AWAKE  # nothing was multiplied yet


# ----------------------------------------------------------------------- a few rows at a time
@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kernels that read small matrices where they are, and of 24 × 16 no more than 5 rows."""
    monkeypatch.setattr(blas, "kernels", lambda: blas.IN_PLACE[0])
    monkeypatch.setattr(blas, "SMALL", 5 * 24 * 16)
    monkeypatch.setattr("tinygrad_rnn.compiler.structures._structures", {})
    monkeypatch.setattr("tinygrad_rnn.compiler.structures._known", {})


@pytest.mark.parametrize(
    ("kernels", "rows", "inner", "columns", "few"),
    [
        ("SkylakeX", 30, 128, 512, 15),
        ("SkylakeX", 32, 128, 512, 8),
        ("SkylakeX", 62, 128, 512, 0),  # two or 31
        ("SkylakeX", 15, 128, 512, 0),  # all are few
        ("SkylakeX", 32, 512, 512, 0),  # three: not worth a call
        ("SkylakeX", 4000, 16, 16, 2000),
        ("SkylakeX", 30, 128, 500, 0),  # its rows begin anywhere
        ("SkylakeX", 32, 0, 16, 0),
        ("SkylakeX", 32, 512, 0, 0),
        ("SkylakeX", 70, 256, 544, 7),
        ("Haswell", 30, 128, 512, 0),
        ("unknown", 30, 128, 512, 0),
    ],
)
def test_how_many_rows(
    kernels: str, rows: int, inner: int, columns: int, few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blas, "kernels", lambda: kernels)
    assert blas.rows_at_once(rows, inner, columns, 4) == few


def test_a_matrix_that_is_far_is_not_read_for_every_few_rows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(blas, "kernels", lambda: "SkylakeX")
    assert blas.rows_at_once(32, 240, 960, 4) == 4
    assert blas.rows_at_once(32, 240, 960, 8) == 0


@pytest.mark.parametrize("batch", [4, 7, 10, 15])
@pytest.mark.parametrize("joined", [False, True])
def test_products_of_a_step_by_a_few_rows(
    few: None, joined: bool, batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts: list[int] = []
    original = numpy_engine._in_parts
    monkeypatch.setattr(
        numpy_engine, "_in_parts", lambda place, n: (parts.append(n), original(place, n))[1]
    )
    rng = np.random.default_rng(0)
    u, w = (
        tg.tensor(rng.normal(size=(n, 16)) / 5, requires_grad=True)
        for n in (24, 16 if joined else 8)
    )
    xs = tg.tensor(rng.normal(size=(9, batch, 8)), requires_grad=True)

    def step(h: Any, x: Any) -> Any:
        y = (tg.cat([x, h[:, ::2].exp() - 1, h[:, 8:]], 1) if joined else tg.cat([h, x], 1)) @ u
        h = y.tanh() @ w if joined else (y + x @ w).tanh()
        return h, h

    results = []
    for engine in ("numpy", "loop"):
        ys = tg.scan(step, tg.zeros(batch, 16, dtype="float64"), xs, engine=engine)[1]
        results.append([t.numpy() for t in tg.gradients((ys * ys).sum(), [xs, u, w])])
    for found, expected in zip(*results, strict=True):
        assert np.abs(found - expected).max() <= 1e-12 * np.abs(expected).max()
    assert bool(parts) == (batch > 4 and batch != 7)
    assert set(parts) <= {5}


def test_rows_of_unequal_length_are_done_together(few: None) -> None:
    """How many there are in a step is not known when the loop is written."""
    rng = np.random.default_rng(0)
    u = tg.tensor(rng.normal(size=(24, 16)) / 5, requires_grad=True)
    xs, start = tg.tensor(rng.normal(size=(9, 15, 8))), tg.zeros(15, 16, dtype="float64")
    lengths = tg.tensor([9, 9, 8, 8, 8, 7, 7, 7, 6, 5, 4, 3, 2, 1, 1])

    def step(h: Any, x: Any) -> Any:
        h = (tg.cat([h, x], 1) @ u).tanh()
        return h, h

    results = []
    for engine in ("numpy", "loop"):
        ys = tg.scan(step, start, xs, engine=engine, lengths=lengths)[1]
        results.append(tg.gradients((ys * ys).sum(), [u])[0].numpy())
    np.testing.assert_allclose(*results, rtol=1e-12, atol=1e-12)
