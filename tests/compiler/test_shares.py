"""A loop divided among threads: sums over the batch that are carried, and what interrupts it."""

from __future__ import annotations

import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from time import sleep
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg

pytest.importorskip("llvmlite")

from scan_cells import difference

from tinygrad_rnn.compiler import native_engine, native_ragged, workers


def statistics_carried(engine: str, kind: str, **options: Any) -> list[Any]:
    """Outputs and gradients where the carry has a sum over the batch of the step before."""
    rng = np.random.default_rng(1)

    def leaf(*shape: int) -> Any:
        return tg.tensor(rng.normal(size=shape), requires_grad=True)

    w, u, v = leaf(3, 16), leaf(16, 16), leaf(16, 4)
    shape = {"row": (1, 16), "vector": (16,), "number": ()}[kind]
    h0, s0, xs = leaf(8, 16), leaf(*shape), leaf(5, 8, 3)

    def step(carry: Any, x: Any) -> Any:
        h, s = carry
        h = (x @ w + h @ u).tanh()
        after = {"row": h.sum(0, keepdim=True), "vector": h.sum(0), "number": h.sum()}[kind]
        return (h, after), s * 2.0 if kind == "number" else s @ v

    (h, s), ys = tg.scan(step, (h0, s0), xs, engine=engine, **options)
    loss = (ys * ys).sum() + (h * h).sum() + (s * s).sum()
    found = tg.gradients(loss, [w, u, v, h0, s0, xs], allow_unused=True)
    outputs = [t.detach().numpy() for t in (ys, h, s)]
    return outputs + [None if g is None else g.numpy() for g in found]


@pytest.mark.parametrize("kind", ["row", "vector", "number"])
@pytest.mark.parametrize("options", [{}, {"reverse": True}, {"truncate": 2}], ids=str)
def test_a_sum_over_the_batch_as_a_carry(
    kind: str, options: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first thread's carry begins with the initial one, the others' with nothing."""
    monkeypatch.setattr(native_engine, "EACH", 1)
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    counts, way = [], native_engine.NativeRunner.way

    def counted(self: Any, count: int) -> Any:
        found = way(self, count)
        counts.append(found[1].count)
        return found

    monkeypatch.setattr(native_engine.NativeRunner, "way", counted)
    found = statistics_carried("native", kind, **options)
    assert kind != "row" or 2 in counts
    assert difference(found, statistics_carried("loop", kind, **options)) < 1e-12


@pytest.mark.parametrize("where", ["start", "call", "wait"])
def test_an_interrupt_leaves_no_thread_at_work(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads write to memory that somebody else gets as soon as the error is raised."""
    at_work, go_on = threading.Event(), threading.Event()

    def interrupt(*_: Any) -> None:
        at_work.wait()
        go_on.set()
        raise KeyboardInterrupt

    class Interrupted(workers._Crew):
        def submit(self, share: Any) -> Any:
            future = super().submit(share)
            if where == "start":
                interrupt()
            if where == "wait":
                future.result = interrupt  # type: ignore[method-assign, assignment]
            return future

    done: list[bool] = []

    def other() -> None:
        at_work.set()
        go_on.wait()
        sleep(0.05)  # so that who does not wait is first
        done.append(True)

    monkeypatch.setattr(workers, "_kept", [Interrupted()])
    with pytest.raises(KeyboardInterrupt):
        workers.at_once([interrupt if where == "call" else lambda: None, other])
    assert done


def test_an_interrupt_of_waiting_for_those_at_work_is_raised_when_they_are_done() -> None:
    share, done = workers._Share(lambda: None), []

    class Interrupting:
        tries = 0

        def __enter__(self) -> None:
            self.tries += 1
            if self.tries < 3:
                raise KeyboardInterrupt
            done.append(True)

        def __exit__(self, *_: Any) -> None:
            pass

    share.work = Interrupting()  # type: ignore[assignment]
    assert [type(error) for error in share.end()] == [KeyboardInterrupt] * 2
    assert done
    assert share.over


def test_a_thread_that_has_not_begun_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    waiting: list[Any] = []

    class Late(workers._Crew):
        def submit(self, share: Any) -> Any:
            waiting.append(share)
            raise KeyboardInterrupt

    monkeypatch.setattr(workers, "_kept", [Late()])
    with pytest.raises(KeyboardInterrupt):
        workers.at_once([lambda: calls.append("own"), lambda: calls.append("other")])
    waiting[0]()
    assert not calls


@pytest.mark.parametrize("queued", [False, True])
def test_without_another_thread_all_is_done_by_this_one_once(
    queued: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when the interpreter ends, or when no thread can be started for what is queued."""
    calls: list[str] = []
    waiting: list[Any] = []

    class Closed(ThreadPoolExecutor):
        def submit(self, share: Any) -> Any:  # type: ignore[override]
            waiting.append(share)
            raise RuntimeError("can't start new thread")

    crew = workers._Crew()
    crew.pool = Closed()
    monkeypatch.setattr(workers, "_kept", [crew])
    workers.at_once([lambda: calls.append("own"), lambda: calls.append("other")])
    if queued:
        waiting[0]()
    assert calls == ["other", "own"]


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs sched_setaffinity")
def test_threads_leave_the_core_alone_that_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    allowed = os.sched_getaffinity(0)
    core = max(allowed)
    monkeypatch.setattr(workers, "_kept", [])
    monkeypatch.setattr(workers, "_core_of_this_thread", lambda: core)
    found: list[set[int]] = []
    for _ in range(2):  # the first time the thread is not yet known
        workers.at_once([lambda: None, lambda: found.append(os.sched_getaffinity(0))])
    assert found[1] == (allowed - {core} or allowed)
    assert os.sched_getaffinity(0) == allowed


def test_threads_run_where_they_are_put_if_that_cannot_be_chosen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refused(*_: Any) -> None:
        raise PermissionError

    for core in (None, lambda: -1, lambda: 0):
        monkeypatch.setattr(workers, "_kept", [])
        monkeypatch.setattr(workers, "_core_of_this_thread", core)
        monkeypatch.setattr(os, "sched_setaffinity", refused, raising=False)
        done: list[bool] = []
        for _ in range(3):
            workers.at_once([lambda: None, lambda done=done: done.append(True)])
        assert len(done) == 3


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_the_copy_of_a_process_has_threads_of_its_own() -> None:
    """It has none of those that were kept, and would wait for ever."""
    workers.at_once([lambda: None, lambda: None])
    child = os.fork()
    if not child:
        done: list[bool] = []
        signal.alarm(20)
        workers.at_once([lambda: None, lambda: done.append(True)])
        os._exit(not done)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_what_another_thread_raises_is_raised() -> None:
    """A share that was not done must not be taken for one that was."""
    calls: list[str] = []

    def other() -> None:
        raise MemoryError

    with pytest.raises(MemoryError):
        workers.at_once([lambda: calls.append("own"), other, lambda: calls.append("third")])
    assert sorted(calls) == ["own", "third"]


class Forgetful(dict[Any, Any]):
    """What another thread clears as soon as something is put in."""

    def __setitem__(self, key: Any, value: Any) -> None:
        pass


@pytest.mark.parametrize("lengths", [None, [2, 5, 3]])
def test_layouts_that_another_thread_forgets(lengths: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    runner = native_ragged.NativePackedRunner if lengths else native_engine.NativeRunner
    begin = runner.__init__

    def forgetful(self: Any, plan: Any) -> None:
        begin(self, plan)
        self.calls = self.layouts = Forgetful()

    monkeypatch.setattr(runner, "__init__", forgetful)
    w, xs = tg.randn(7, 7), tg.randn(5, 3, 7)

    def run(engine: str) -> Any:
        return tg.scan(
            lambda h, x: ((h @ w - x).tanh(),) * 2, tg.zeros(3, 7), xs, lengths=lengths,
            engine=engine,
        )[1].numpy()  # fmt: skip

    assert np.allclose(run("native"), run("loop"), atol=1e-5)


def test_work_is_shared_only_if_each_share_pays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    assert [workers.shares_of(work, 100) for work in (0, 199, 200, 399, 400, 10_000)] == [
        1, 1, 2, 3, 4, 4,
    ]  # fmt: skip
