"""Products over all rows on threads of ours, with OpenBLAS's own asleep."""

from __future__ import annotations

import importlib.util
import os
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

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
        with alone:
            inside.set()
            leave.wait(10)  # no longer than a failed test may take

    thread = threading.Thread(target=other)
    thread.start()
    inside.wait()
    with alone:
        assert set_numbers == [1]
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


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs timers")
def test_an_interrupt_of_a_product_leaves_nobody_inside(
    number: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is noticed at the next call, which must not be that of the exit."""
    monkeypatch.setattr(workers, "threads", lambda: 1)
    large = np.ones((900, 900))

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    def multiply() -> None:
        signal.setitimer(signal.ITIMER_REAL, 0.001)
        while True:
            blas.product(large, large)

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        for _ in range(3):
            with pytest.raises(KeyboardInterrupt):
                multiply()
    finally:
        signal.signal(signal.SIGALRM, before)
    assert number() == AWAKE


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("where", ["inside", "at the door"])
def test_in_the_copy_of_a_process_nobody_is_inside(where: str, number: Callable[[], int]) -> None:
    alone, there, leave = blas._alone, threading.Event(), threading.Event()
    assert alone is not None

    def other() -> None:
        with alone if where == "inside" else alone.lock:
            there.set()
            leave.wait(10)

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
    for module in (blas, numpy_engine):
        monkeypatch.setattr(module, "SMALL", 5 * 24 * 16)
    monkeypatch.setattr("tinygrad_rnn.compiler.structures._structures", {})
    monkeypatch.setattr("tinygrad_rnn.compiler.structures._known", {})


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("long", [1, 10**9])
@pytest.mark.parametrize("rows", [0, 1, 2, 4, 5, 6, 11, 15, 37, 100])
def test_a_product_by_a_few_rows_is_numpys(
    shared: int, few: None, rows: int, long: int, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blas, "LONG", long)
    assert blas.rows_at_once(24, 16, np.dtype(dtype).itemsize) == 5
    rng = np.random.default_rng(0)
    a, b = (rng.integers(-9, 9, s).astype(dtype) for s in ((rows, 24), (24, 16)))
    for x in (a, np.asfortranarray(a), a[::-1], np.repeat(a, 2, 1)[:, ::2]):
        for y in (b, np.asfortranarray(b), np.repeat(b, 2, 1)[:, ::2]):
            expected = x.astype(int) @ y.astype(int)
            np.testing.assert_array_equal(blas.product(x, y), expected)


@pytest.mark.parametrize("width", [16, 48, 128])
def test_a_row_has_the_same_bits_whatever_is_beside_it(width: int) -> None:
    """What is computed again between checkpoints has as many rows as are left there."""
    if blas.kernels() not in blas.IN_PLACE:
        pytest.skip("needs OpenBLAS's kernels for AVX-512")
    rng = np.random.default_rng(0)
    a, b = (rng.normal(size=s).astype("float32") for s in ((700, 600), (600, width)))
    whole = blas.product(a, b)
    for count in (96, 255, 256, 257, 611):
        np.testing.assert_array_equal(blas.product(a[:count], b), whole[:count])


@pytest.mark.parametrize(
    ("kernels", "inner", "columns", "rows"),
    [
        ("SkylakeX", 128, 512, 15),
        ("SkylakeX", 512, 512, 0),  # three: not worth a call
        ("SkylakeX", 16, 16, blas.MOST),
        ("SkylakeX", 128, 500, 0),  # its rows begin anywhere
        ("SkylakeX", 0, 16, 0),
        ("Haswell", 128, 512, 0),
        ("unknown", 128, 512, 0),
    ],
)
def test_how_many_rows(
    kernels: str, inner: int, columns: int, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blas, "kernels", lambda: kernels)
    assert blas.rows_at_once(inner, columns, 4) == rows


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
