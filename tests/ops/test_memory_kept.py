"""Memory of freed arrays is used again, not given back to the system to be fetched anew."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

PROGRAM = """
import resource
import tinygrad_rnn as tg

x = tg.ones(500_000)  # two megabytes, five hundred pages

def steps():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        results = [x + x for _ in range(8)]
        del results
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

steps()
print(steps())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="of the GNU C library")
def test_a_large_result_takes_the_pages_of_the_last_one() -> None:
    variables = {k: v for k, v in os.environ.items() if not k.startswith(("MALLOC_", "GLIBC_"))}
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=variables, capture_output=True, text=True, check=True
    )
    assert int(ran.stdout) < 100
