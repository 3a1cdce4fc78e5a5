"""The equations that `explain` prints in LaTeX can be set, and say what the plain ones say."""

from __future__ import annotations

from typing import Any

import pytest
from scan_cells import CELLS, B, H, I
from test_equations import CASES, T, U, W, parameter

from tinygrad_rnn.compiler.labels import watched
from tinygrad_rnn.compiler.textbook import written


def latex_of(step: Any, init: Any) -> list[str]:
    lines = written(watched(step, init, parameter(T, B, I))).equations(latex=True)
    return [*lines.forward, *lines.backward]


@pytest.mark.parametrize("name", [*CELLS, *CASES])
def test_latex_can_be_set(name: str) -> None:
    mathtext = pytest.importorskip("matplotlib.mathtext")
    step, init, *_ = CELLS[name](parameter) if name in CELLS else (CASES[name][0], CASES[name][1]())
    for line in latex_of(step, init):
        mathtext.MathTextParser("path").parse(f"${line.replace('&', '')}$")


def test_latex_of_what_is_raised_twice_and_of_greek() -> None:
    mathtext = pytest.importorskip("matplotlib.mathtext")
    λ, ς, a_1 = parameter(H, H), parameter(H), parameter(H)

    def step(h: Any, x: Any) -> Any:
        h = (h @ λ.T.square() + ς * a_1 + (h @ U).exp() * (h @ U)).tanh()
        return h, h

    text = latex_of(step, parameter(B, H))
    for line in text:
        mathtext.MathTextParser("path").parse(f"${line.replace('&', '')}$")
    assert r"{\lambda^{\top}}^{2}" in "".join(text)
    assert len({line.partition(" &=")[0] for line in text}) == len(text)


def test_latex_says_the_same() -> None:
    θ, b__c, _tmp = parameter(H, H), parameter(H), parameter(H)

    def step(h: Any, x: Any) -> Any:
        a = (h @ θ / 2).exp().square() + b__c * h * 1e-5 + _tmp
        h = a.sqrt() + (x @ W).square()
        return h, h

    text = "\n".join(latex_of(step, parameter(B, H)))
    for part in (
        r"\frac{h_{t-1} \theta}{2}", r"(x_{t} W)^{2}", r"10^{-5} \mathrm{b\_\_c}",
        r"\mathrm{\_tmp}", r"\sqrt{a}", r"\partial L/\partial \theta",
    ):  # fmt: skip
        assert part in text, text
