"""inf and NaN are made without a word, unless the user asks for NumPy's."""

from __future__ import annotations

import subprocess
import sys

import pytest

BIRTHS = """
import numpy as np, tinygrad_rnn as tg
x = tg.tensor([0.0, -1.0, 1e30], requires_grad=True)
for y in (tg.log(x), 1 / x, tg.exp(x), tg.sqrt(x), x * x, x / 0.0, x ** -2):
    y.backward(tg.ones(3))
tg.log(np.zeros(2))
with tg.no_grad():
    tg.scan(lambda c, v: (tg.log(c * v), c / v), tg.zeros(2), tg.zeros(50, 2))
"""
OWN = "np.log(np.zeros(1))"


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        ([], BIRTHS, ""),
        (["-W", "always"], BIRTHS, "divide by zero encountered in log"),
        ([], BIRTHS + OWN, "<string>:9: RuntimeWarning: divide by zero"),
    ],
    ids=["silent", "asked for", "the user's own"],
)  # fmt: skip
def test_infinities_are_silent(options: list[str], code: str, words: str) -> None:
    command = [sys.executable, *options, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert words in done.stderr if words else done.stderr == ""
