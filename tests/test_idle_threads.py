"""OpenBLAS is asked to let its idle threads sleep, before NumPy loads it."""

from __future__ import annotations

import os
import subprocess
import sys

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


@pytest.mark.parametrize(
    ("program", "given", "found"),
    [
        ("import tinygrad_rnn", {}, "18"),
        ("import tinygrad_rnn", {VARIABLE: "26"}, "26"),
        ("import numpy, tinygrad_rnn", {}, "None"),
    ],
)
def test_it_is_asked_in_time_or_not_at_all(
    program: str, given: dict[str, str], found: str
) -> None:
    assert said(f"{program}; {ASK}", **given).strip() == found


SHOW = "print(tinygrad_rnn.show_config())"


@pytest.mark.parametrize(
    ("program", "given", "hinted"),
    [
        ("import numpy, tinygrad_rnn", {"OMP_NUM_THREADS": "2"}, True),
        ("import numpy, tinygrad_rnn", {"OMP_NUM_THREADS": "1"}, False),
        ("import numpy, tinygrad_rnn", {"OMP_NUM_THREADS": "2", VARIABLE: "18"}, False),
        ("import tinygrad_rnn", {"OMP_NUM_THREADS": "2"}, False),
    ],
)
def test_what_came_too_late_is_told(program: str, given: dict[str, str], hinted: bool) -> None:
    text = said(f"{program}; {SHOW}", **given)
    if "BLAS kernels: unknown" in text:
        pytest.skip("NumPy has another BLAS")
    assert (VARIABLE in text) == hinted
