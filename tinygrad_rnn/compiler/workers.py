"""The threads that take their shares of a loop or a product: kept, since to start one takes longer.

Who asks for a share is there until all shares are done, whatever happens: they write to memory that
belongs to somebody else afterwards.
"""

from __future__ import annotations

import ctypes
import os
import sys
from _thread import start_new_thread
from collections.abc import Callable, Sequence
from contextlib import suppress
from queue import SimpleQueue
from threading import Lock, get_native_id

__all__ = ["at_once", "shares_of", "threads"]

MOST = 256  # threads that are kept
_library = ctypes.CDLL(None) if hasattr(os, "sched_setaffinity") else None
_core_of_this_thread = getattr(_library, "sched_getcpu", None)
_kept: list[_Crew] = []


def threads() -> int:
    """How many threads may be used: OMP_NUM_THREADS, else the cores that are there for us."""
    named = os.environ.get("OMP_NUM_THREADS", "").split(",")[0]
    if named.isdigit() and int(named):
        return int(named)
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity is not None else os.cpu_count() or 1


def shares_of(work: int, each: int) -> int:
    """In how many shares work is done, if a thread pays for `each` of it."""
    return 1 if work < 2 * each else max(1, min(threads(), work // each))


def at_once(calls: Sequence[Callable[[], object]]) -> None:
    """Make all calls, the first one in this thread; none is left running, whatever happens.

    An interrupt waits for those that have begun, and the others are not made. What another thread
    raises, for want of memory, is raised here.
    """
    others = [_Share(call) for call in calls[1:]]
    interrupts: list[BaseException] = []
    try:
        for share in others:
            _begin(share)
        calls[0]()
        for share in others:
            share.wait()
    finally:
        left = len(others)
        while left:
            try:
                for share in others:
                    interrupts += share.end()
                left = 0
            except BaseException as error:  # between two of them
                interrupts.append(error)
    failures = [share.error for share in others if share.error is not None]
    for failure in (*interrupts, *failures):
        raise failure


def _nothing() -> None:
    pass


class _Share:
    """A call for another thread, made once, and not at all if that comes too late.

    Attributes:
        work: held while the call is made. made: held until it has been.
        over: whether it was begun or is not to be. ended: whether nobody waits for it any more.
        wait: wait until the call has been made, or for an interrupt.
        error: what it raised.
    """

    def __init__(self, call: Callable[[], object]) -> None:
        self.call, self.work, self.made, self.over = call, Lock(), Lock(), False
        self.error: BaseException | None = None
        self.ended = [False]
        self.made.acquire()
        self.wait: Callable[[], object] = self.made.acquire  # alone it can be interrupted anywhere

    def __call__(self) -> None:
        with self.work:
            if not self.over:
                self.over = True
                try:
                    self.call()
                except BaseException as error:
                    self.error = error
                self.made.release()

    def end(self) -> list[BaseException]:
        """Wait for the call if it was begun, else have it not made; what was raised meanwhile."""
        raised: list[BaseException] = []
        ended = False
        while not ended:
            try:
                with self.work:
                    self.over = self.ended[0] = ended = True
                    self.call = _nothing  # a queue that nobody comes to must not keep its arrays
            except BaseException as error:
                raised.append(error)
        return raised


class _Crew:
    """Threads that are kept, on other cores than that of who asks.

    A system would wake them where it finds them a core that is awake. In a virtual machine the only
    such core may be the one that asks, and both would share it for some milliseconds.
    """

    def __init__(self) -> None:
        self.queue: SimpleQueue[_Share] = SimpleQueue()
        self.ends: list[list[bool]] = []  # of the shares that somebody waits for
        self.started = 0
        self.threads: list[int] = []
        self.placed: tuple[set[int], int] = set(), 0  # where they may run, and how many know

    def work(self) -> None:
        """What a thread does as long as there is a process.

        It waits in the queue alone: what else Python has to wait with can be interrupted where
        nobody else may ever go on.
        """
        self.threads.append(get_native_id())
        while True:
            self.queue.get()()

    def submit(self, share: _Share) -> None:
        """Hand a share to a thread that waits for one; make it here if there can be none."""
        self.leave_alone(_core_of_this_thread() if _core_of_this_thread is not None else -1)
        self.ends = [end for end in self.ends if not end[0]] + [share.ended]
        last = sys.is_finalizing()
        if self.started < min(len(self.ends), MOST) and not last:
            with suppress(RuntimeError):  # there are too many threads
                start_new_thread(self.work, ())
                self.started += 1
        if self.started and not last:
            self.queue.put(share)
        else:
            share()

    def leave_alone(self, core: int) -> None:
        """Let the threads run on any core that is there for us but this one."""
        others = os.sched_getaffinity(0) - {core} if core >= 0 else set()
        if not others or self.placed == (others, len(self.threads)):
            return
        self.placed = others, len(self.threads)
        for thread in list(self.threads):
            with suppress(OSError):  # then they run where they are put
                os.sched_setaffinity(thread, others)


def _begin(share: _Share) -> None:
    """Hand a share to a thread."""
    if not _kept:
        _kept.append(_Crew())
    _kept[-1].submit(share)


if hasattr(os, "register_at_fork"):  # of a process's threads its copy has one
    os.register_at_fork(after_in_child=_kept.clear)
