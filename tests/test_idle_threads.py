"""OpenBLAS is asked to let its idle threads sleep, before NumPy loads it or behind that."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys

import numpy as np
import pytest

from tinygrad_rnn.compiler.engines import IDLE as VARIABLE


def said(program: str, **variables: str) -> str:
    """What a program prints in a fresh process in which nothing has been asked."""
    environ = {n: v for n, v in os.environ.items() if n not in (VARIABLE, "OMP_NUM_THREADS")}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environ | variables, check=True,
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    return done.stdout


ASK = f"import os; print(os.environ.get({VARIABLE!r}))"
SHOW = "print(tinygrad_rnn.show_config())"
FIRST = "import numpy, tinygrad_rnn"
WAITING = """
import numpy, threading
threading.Thread(target=threading.Event().wait, daemon=True).start()
import tinygrad_rnn
"""
NOTEBOOK = """
import numpy, threading
names = {"__name__": "ipykernel.iostream", "event": threading.Event()}
exec("def run(): event.wait()", names)
threading.Thread(target=names["run"], daemon=True).start()
import tinygrad_rnn
"""
AT_WORK = """
import numpy, threading
begun, end = threading.Event(), threading.Event()

def products():
    while not end.is_set():
        numpy.ones((9, 9)) @ numpy.ones((9, 9))
        begun.set()

thread = threading.Thread(target=products)
thread.start()
begun.wait()
import tinygrad_rnn
end.set()
thread.join()
"""
SPINNING = """
import time
x = numpy.ones((600, 600))
x @ x
begin = time.process_time()
time.sleep(0.2)
print(time.process_time() - begin)
"""


def openblas() -> bool:
    """Whether NumPy has an OpenBLAS that can be asked."""
    library = ctypes.CDLL(np._core._multiarray_umath.__file__)  # type: ignore[attr-defined]
    return hasattr(library, "blas_thread_shutdown_") and hasattr(library, "openblas_read_env")


@pytest.mark.parametrize(
    ("program", "given", "found"),
    [
        ("import tinygrad_rnn", {}, "18"),
        ("import tinygrad_rnn", {VARIABLE: "26"}, "26"),
        (FIRST, {VARIABLE: "26"}, "26"),
    ],
)
def test_it_is_asked_but_not_against_a_user(
    program: str, given: dict[str, str], found: str
) -> None:
    assert said(f"{program}\n{ASK}", **given).strip() == found


@pytest.mark.parametrize(
    ("program", "found"),
    [(FIRST, "18"), (NOTEBOOK, "18"), (WAITING, "None"), (AT_WORK, "None")],
)
def test_threads_are_started_anew_if_nobody_needs_them(program: str, found: str) -> None:
    if not openblas():
        pytest.skip("NumPy has another BLAS")
    assert said(f"{program}\n{ASK}").strip() == found


def test_idle_threads_sleep_where_numpy_came_first() -> None:
    if not openblas():
        pytest.skip("NumPy has another BLAS")
    busy = float(said(f"{FIRST}\n{SPINNING}", OPENBLAS_NUM_THREADS="2"))
    assert busy < 0.05  # else 0.1 and more: a thread waits busily


@pytest.mark.parametrize(
    ("program", "given", "hinted"),
    [
        (AT_WORK, {"OMP_NUM_THREADS": "2"}, True),
        (AT_WORK, {"OMP_NUM_THREADS": "1"}, False),
        (AT_WORK, {"OMP_NUM_THREADS": "2", VARIABLE: "18"}, False),
        (FIRST, {"OMP_NUM_THREADS": "2"}, False),
        ("import tinygrad_rnn", {"OMP_NUM_THREADS": "2"}, False),
    ],
)
def test_what_could_not_be_asked_is_told(program: str, given: dict[str, str], hinted: bool) -> None:
    if not openblas():
        pytest.skip("NumPy has another BLAS")
    assert (VARIABLE in said(f"{program}\n{SHOW}", **given)) == hinted
