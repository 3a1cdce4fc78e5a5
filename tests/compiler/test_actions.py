"""explain tells what a compiled loop does, and what is at the addresses of its kernels."""

from __future__ import annotations

import re
from typing import Any

import pytest
from scan_cells import CELLS

import tinygrad_rnn as tg
from tinygrad_rnn.compiler import llvm_jit

pytestmark = pytest.mark.skipif(not llvm_jit.available(), reason="llvmlite is not installed")
B, I, H = 4, 3, 5  # noqa: E741 (of `scan_cells`)


def elman() -> Any:
    w, u, b = tg.randn(I, H), tg.randn(H, H), tg.zeros(H)

    def step(h: Any, x: Any) -> Any:
        h = (x @ w + h @ u + b).tanh()
        return h, h

    return step, tg.zeros(B, H), tg.zeros(6, B, I)


def section(text: str, title: str) -> list[str]:
    return text.split(f"--- {title}\n")[1].split("\n\n")[0].splitlines()


def test_the_actions_of_a_compiled_loop() -> None:
    text = tg.explain(*elman(), engine="native")
    assert section(text, "the loop forward") == [
        "  %6 = matmul h_t−1 u",
        "  h_t = kernel %5 %6 b",
    ]
    kernel, product = section(text, "the loop backward")
    assert re.fullmatch(r"  %\d+ %\d+ = kernel %\d+ %\d+ h_t", kernel)
    assert re.fullmatch(r"  %\d+ = matmul %\d+ %\d+", product)


def test_the_memory_of_its_kernels() -> None:
    text = tg.explain(*elman(), engine="native")
    memory = section(text, "memory forward")
    for line in (
        "h_t−1 = carry; a stacked carry",
        "u = constant; the same in every step",
        "%6 = matmul h_t−1 u; of this step alone",
        "h_t = tanh %8; a stacked carry, of the next step",
        "%5 = matmul x_t w; stacked",
        "b = constant; the same in every step",
    ):
        assert sum(found.endswith(line) for found in memory) == 1, line
    assert len(memory) == 6
    kernel = section(text, "kernel forward")
    (stored,) = (line for line in kernel if line.endswith("= r5"))
    (place,) = (line for line in memory if "h_t = tanh" in line)
    assert place.strip().startswith(stored.strip().partition("[")[0] + ":")


def test_a_buffer_is_told_by_what_fills_it_and_a_kernel_by_what_comes_from_outside() -> None:
    step, init, _ = CELLS["lstm_joined"](tg.randn)
    text = tg.explain(step, init, tg.randn(7, B, I), engine="native")
    (gates,) = (line for line in section(text, "memory backward") if " = assemble " in line)
    (kernel, _) = section(text, "the loop backward")
    made, read = (set(side.split()) for side in kernel.split(" = kernel "))
    assert gates.split()[1] in made  # the bias sums its rows in the same kernel
    assert not made & read


@pytest.mark.parametrize("engine", ["llvm", "native"])
@pytest.mark.parametrize("name", CELLS)
def test_every_address_is_told(name: str, engine: str) -> None:
    step, init, _ = CELLS[name](tg.randn)
    text = tg.explain(step, init, tg.randn(7, B, I), engine=engine)
    assert "() = fixed" not in text
    for title in ("forward", "backward"):
        if f"--- kernel {title}\n" not in text:
            continue
        parts = [p.split("\n\n")[0] for p in text.split(f"--- kernel {title}\n")[1:]]
        if f"--- memory {title}\n" in text:
            table = "\n".join(section(text, f"memory {title}"))
            parts = [f"{p}\nwhere\n{table}" for p in parts]
        for part in parts:
            kernel, table = part.split("\nwhere\n")
            told = dict(re.findall(r"^  (m\d+): (.*)$", table, re.M))
            assert set(re.findall(r"\b(m\d+)\[", kernel)) <= told.keys()
            assert all(" = " in what or what.startswith("of this") for what in told.values())
