"""Grad mode: per thread and task, restored by whatever leaves it."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn.errors import AnomalyError, ArgumentError, GraphFreedError, TinygradRNNError


@pytest.fixture(autouse=True)
def _mode_does_not_leak() -> Iterator[None]:
    assert tg.is_grad_enabled()
    yield
    assert tg.is_grad_enabled()


def recorded() -> bool:
    return (tg.ones((), requires_grad=True) * 2).requires_grad


# ------------------------------------------------------------------------------------- nesting
def test_nesting_restores_each_level() -> None:
    seen = [recorded()]
    with tg.no_grad():
        seen.append(recorded())
        with tg.enable_grad():
            seen.append(recorded())
            with tg.no_grad(), tg.no_grad():
                seen.append(recorded())
            seen.append(recorded())
        seen.append(recorded())
    assert [*seen, recorded()] == [True, False, True, False, True, False, True]


def test_set_grad_enabled_holds_from_the_call_on() -> None:
    tg.set_grad_enabled(False)
    seen = [recorded()]
    with tg.set_grad_enabled(True):
        seen.append(recorded())
    seen.append(recorded())
    tg.set_grad_enabled(True)
    assert [*seen, recorded()] == [False, True, False, True]


def test_decorators_with_and_without_brackets() -> None:
    assert not tg.no_grad(recorded)()
    assert not tg.no_grad()(recorded)()
    off = tg.set_grad_enabled(False)(recorded)
    assert [recorded(), off(), recorded(), off()] == [True, False, True, False]
    with tg.no_grad():
        assert tg.enable_grad(recorded)()


def test_one_manager_inside_of_itself() -> None:
    off = tg.no_grad()
    for _ in range(2):
        with off:
            with off:
                assert not recorded()
            assert not recorded()
        assert recorded()


def test_set_grad_enabled() -> None:
    with tg.set_grad_enabled(False):
        assert not recorded()
        with tg.set_grad_enabled(True):
            assert recorded()


def test_decorators() -> None:
    @tg.no_grad()
    def off() -> bool:
        return recorded()

    @tg.enable_grad()
    def on() -> bool:
        return recorded()

    with tg.no_grad():
        assert on() and not off()
    assert on() and not off()
    assert off.__name__ == "off"


def test_leaves_are_made_inside_no_grad() -> None:
    with tg.no_grad():
        x = tg.ones(2, requires_grad=True)
        assert x.requires_grad and not (x * 2).requires_grad
    assert (x * 2).requires_grad


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, GeneratorExit, TinygradRNNError])
def test_exceptions_restore(error: type[BaseException]) -> None:
    with pytest.raises(error), tg.no_grad():
        raise error("a", "b", "c") if error is TinygradRNNError else error
    assert recorded()


def test_exception_inside_transforms_and_backward_restores() -> None:
    def bad(x: Any) -> Any:
        raise KeyError("mine")

    x = tg.ones((), requires_grad=True)
    y = x * 2
    y.register_hook(bad)
    for call in (lambda: tg.grad(bad)(x), lambda: tg.jvp(bad, (x,), (x,)), y.backward):
        for mode in (tg.no_grad, tg.enable_grad):
            with mode():
                before = tg.is_grad_enabled()
                with pytest.raises(KeyError):
                    call()
                assert tg.is_grad_enabled() == before


# ----------------------------------------------------------------- 62: generators and tasks
def test_62_generator_paused_inside_no_grad() -> None:
    """The mode belongs to the context of execution: the consumer sees it while it is paused.

    (Python has no other way for a plain generator: PEP 568 was deferred.) What must hold is that
    each is restored in the end, in whatever order they are left.
    """

    def numbers() -> Iterator[bool]:
        with tg.no_grad():
            yield recorded()
            yield recorded()

    assert list(numbers()) == [False, False]
    assert recorded()


def test_62_generators_and_coroutines_are_not_decorated() -> None:
    """A decorator would be left before the first of their statements runs."""
    with pytest.raises(ArgumentError, match=r"numbers\n.*with"):

        @tg.no_grad()
        def numbers() -> Iterator[bool]:
            yield recorded()

    with pytest.raises(ArgumentError, match="later"):

        @tg.enable_grad()
        async def later() -> bool:
            return recorded()


def test_62_generator_closed_in_another_thread() -> None:
    def numbers() -> Iterator[int]:
        with tg.no_grad():
            yield 1

    def consume() -> None:
        left.append(numbers())
        next(left[0])

    left: list[Any] = []
    thread = threading.Thread(target=consume)
    thread.start()
    thread.join()
    left[0].close()
    assert recorded()


def test_anomaly_detection_survives_enable_grad() -> None:
    x = tg.tensor([-1.0], requires_grad=True)
    decorated = tg.enable_grad()(lambda: tg.sqrt(x))
    with np.errstate(invalid="ignore"), tg.detect_anomaly(), pytest.raises(AnomalyError):
        decorated()


def test_tasks_have_modes_of_their_own() -> None:
    async def off(log: list[bool]) -> None:
        with tg.no_grad():
            await asyncio.sleep(0)
            log.append(recorded())
            await asyncio.sleep(0)
            log.append(recorded())

    async def on(log: list[bool]) -> None:
        for _ in range(3):
            log.append(recorded())
            await asyncio.sleep(0)

    async def both() -> tuple[list[bool], list[bool]]:
        a: list[bool] = []
        b: list[bool] = []
        await asyncio.gather(off(a), on(b))
        return a, b

    assert asyncio.run(both()) == ([False, False], [True, True, True])


# --------------------------------------------------------------------------------- threads
def test_a_new_thread_records() -> None:
    seen: list[bool] = []
    with tg.no_grad():
        thread = threading.Thread(target=lambda: seen.append(recorded()))
        thread.start()
        thread.join()
        assert not recorded()
    assert seen == [True]


def _program(seed: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    w = tg.tensor(rng.standard_normal((8, 8)), requires_grad=True)
    h = tg.tensor(rng.standard_normal((4, 8)), requires_grad=True)
    y = h
    for _ in range(20):
        y = tg.tanh(y @ w + h)
    with tg.no_grad():
        y.detach() * 2
    y.sum().backward()
    return [y.detach().numpy(), w.grad.numpy(), h.grad.numpy()]


def test_12_threads_give_the_bits_of_one() -> None:
    serial = [_program(seed) for seed in range(40)]
    with ThreadPoolExecutor(8) as pool:
        parallel = list(pool.map(_program, range(40)))
    for a, b in zip(serial, parallel, strict=True):
        for x, y in zip(a, b, strict=True):
            np.testing.assert_array_equal(x, y)


def test_12_threads_accumulate_into_one_leaf_exactly() -> None:
    x = tg.tensor(np.zeros(64), requires_grad=True)

    def run(k: int) -> None:
        for _ in range(50):
            (x * float(k)).sum().backward()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(run, range(1, 9)))
    assert x.grad.tolist() == [50.0 * sum(range(1, 9))] * 64


def test_63_backward_from_another_thread() -> None:
    x = tg.ones(3, requires_grad=True)
    y = (x * x).sum()
    thread = threading.Thread(target=y.backward)
    thread.start()
    thread.join()
    assert x.grad.tolist() == [2.0] * 3


@pytest.fixture
def _threads_change_often() -> Iterator[None]:
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


@pytest.mark.usefixtures("_threads_change_often")
def test_second_backward_in_five_threads() -> None:
    """One succeeds, the others find the graph freed, and no part of a gradient is lost or added."""
    for _ in range(40):
        x = tg.ones(3, dtype=tg.float64, requires_grad=True)
        y = x
        for _ in range(8):
            y = tg.tanh(y) * 0 + x
        total = y.sum()
        outcomes: list[str] = []
        gate = threading.Barrier(5)

        def run(total: Any = total, outcomes: list[str] = outcomes, gate: Any = gate) -> None:
            gate.wait()
            try:
                total.backward()
                outcomes.append("ok")
            except GraphFreedError:
                outcomes.append("freed")

        threads = [threading.Thread(target=run) for _ in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(outcomes) == ["freed"] * 4 + ["ok"]
        assert x.grad.tolist() == [1.0] * 3
