"""Threads that are kept: how many there are, where they run, and what interrupts them."""

from __future__ import annotations

import os
import signal
import threading
from functools import partial
from time import sleep
from typing import Any
from weakref import ref

import numpy as np
import pytest
from interrupts import interrupted, needs_timers

from tinygrad_rnn.compiler import workers


def test_threads_are_those_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert workers.threads() == 3
    monkeypatch.setenv("OMP_NUM_THREADS", "5,2")
    assert workers.threads() == 5
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert workers.threads() >= 1


@pytest.mark.parametrize("where", ["start", "call", "wait"])
def test_an_interrupt_leaves_no_thread_at_work(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads write to memory that somebody else gets as soon as the error is raised."""
    at_work, go_on = threading.Event(), threading.Event()

    def interrupt(*_: Any) -> None:
        at_work.wait()
        go_on.set()
        raise KeyboardInterrupt

    class Interrupted(workers._Crew):
        def submit(self, share: Any) -> None:
            super().submit(share)
            if where == "start":
                interrupt()
            if where == "wait":
                share.wait = interrupt

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


def test_who_waits_for_a_share_waits_for_a_lock_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A condition that is interrupted may say that its lock is not held, in place of that."""
    go_on, done = threading.Lock(), []
    workers.at_once([lambda: None, lambda: None])  # to start a thread is not meant
    go_on.acquire()

    def other() -> None:
        with go_on:
            sleep(0.05)  # so that who does not wait is first
            done.append(True)

    monkeypatch.setattr(threading.Condition, "wait", lambda *_: pytest.fail("a condition"))
    workers.at_once([go_on.release, other])
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


@pytest.mark.parametrize("why", ["the interpreter ends", "no thread can be started"])
def test_without_another_thread_all_is_done_by_this_one_once(
    why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []

    def refused(*_: Any) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(workers, "_kept", [workers._Crew()])
    if why == "the interpreter ends":
        workers.at_once([lambda: None, lambda: None])
        monkeypatch.setattr(workers.sys, "is_finalizing", lambda: True)
    else:
        monkeypatch.setattr(workers, "start_new_thread", refused)
    array = np.ones(3)
    kept = ref(array)
    workers.at_once([lambda: calls.append("own"), partial(lambda _: calls.append("other"), array)])
    del array
    assert kept() is None  # although the share is still known
    assert calls == ["other", "own"]


def test_there_are_as_many_threads_as_have_been_needed_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    crew = workers._Crew()
    monkeypatch.setattr(workers, "_kept", [crew])
    for count in (2, 2, 4, 3):
        workers.at_once([lambda: None] * count)
    assert crew.started == 3
    workers.at_once([lambda: sleep(0.01)] * 4)
    assert len(crew.threads) == 3
    assert len(crew.ends) == 3  # the others are over


@needs_timers
def test_after_any_interrupt_there_are_threads_that_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever it comes: in handing over, in the call, in waiting."""
    monkeypatch.setattr(workers, "_kept", [workers._Crew()])

    def share() -> None:
        pass

    after = [1e-5 + i % 200 * 1e-6 for i in range(2000)]
    interrupted(lambda: workers.at_once([share, share, share]), after)
    done: list[bool] = []
    workers.at_once([share, lambda: done.append(True), lambda: done.append(True)])
    assert done == [True, True]


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
        try:
            workers.at_once([lambda: None, lambda: done.append(True)])
        finally:
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


def test_work_is_shared_only_if_each_share_pays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    assert [workers.shares_of(work, 100) for work in (0, 199, 200, 399, 400, 10_000)] == [
        1, 1, 2, 3, 4, 4,
    ]  # fmt: skip
