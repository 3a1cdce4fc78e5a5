"""The costs that explain prints, against counts by hand.

Legend: B batch, I inputs, H hidden units, of which 4·H are not a multiple of any vector: so the
product of the inputs leaves the loop on every engine.
"""

from __future__ import annotations

from typing import Any

import pytest

import tinygrad_rnn as tg
from tinygrad_rnn.compiler import llvm_jit

B, I, H, T = 2, 4, 3, 6  # noqa: E741 (the names of the legend)
F = 4  # bytes of a number
ENGINES = ["numpy", *(["llvm", "native"] if llvm_jit.available() else [])]


def lstm() -> Any:
    w, u, b = tg.randn(I, 4 * H), tg.randn(H, 4 * H), tg.zeros(4 * H)

    def step(carry: Any, x: Any) -> Any:
        h, c = carry
        i, f, g, o = (x @ w + h @ u + b).chunk(4, 1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        h = o.sigmoid() * c.tanh()
        return (h, c), h

    return step, (tg.zeros(B, H), tg.zeros(B, H)), tg.zeros(T, B, I)


def elman() -> Any:
    w, u, b = tg.randn(I, H), tg.randn(H, H), tg.zeros(H)

    def step(h: Any, x: Any) -> Any:
        h = (x @ w + h @ u + b).tanh()
        return h, h

    return step, tg.zeros(B, H), tg.zeros(T, B, I)


def costs(cell: Any, engine: str) -> list[str]:
    text = tg.explain(*cell, engine=engine)
    lines = text.split("--- costs of a step\n")[1].split("\n\n")[0].splitlines()
    return [line.strip() for line in lines]


def flops(title: str, everything: int, inside: int) -> str:
    return f"{title}: {everything} flop in products, {inside} of them in the loop"


def elements(title: str, everything: int, inside: int) -> str:
    return f"{title}: {everything} elements in the rest, {inside} of them in the loop"


def moved(title: str, numbers: int) -> str:
    return f"{title}: {F * numbers} bytes read and written in the loop"


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("make", "width"), [(lstm, 4 * H), (elman, H)])
def test_products(make: Any, width: int, engine: str) -> None:
    found = costs(make(), engine)
    of_inputs, of_state = 2 * B * I * width, 2 * B * H * width
    assert flops("forward", of_inputs + of_state, of_state) in found
    # backward: δ·uᵀ in the loop; δ·wᵀ, xᵀ·δ and hᵀ·δ outside of it
    assert flops("backward", 2 * (of_inputs + of_state), of_state) in found
    assert not any("once" in line for line in found)


def test_elements_and_bytes_of_an_lstm_in_numpy() -> None:
    found, one = costs(lstm(), "numpy"), B * H
    # two sums of 4·B·H, one of them outside; four gates; two products and a sum; tanh c; h
    assert elements("forward", 8 * one + 9 * one, 4 * one + 9 * one) in found
    # in the loop: two sums; δh by ∂c, ∂o; δc by f, ∂i, ∂f, ∂g. Outside: ∂c = o − h·tanh c;
    # ∂o, ∂i and ∂f are σ − σ² by another factor; ∂g = i − (i·g)·g; the bias sums 4·B·H
    assert elements("backward", 8 * one + (2 + 9 + 3) * one + 4 * one, 8 * one) in found
    # i, f, g, o, tanh c, and all h and c
    inputs = F * B * I
    assert f"kept for backward: {F * 7 * one} bytes in 7 arrays; {inputs} bytes of inputs" in found
    # h·u; x·w + b and it; e^z of i and f in between; 1/… of each; g; o in between; f·c, i·g, their
    # sum, and h are of three; tanh c
    product = one + H * 4 * H + 4 * one
    assert moved("forward", product + (12 + 6 + 3 + 3 + 2 + 3 + 4 * 3 + 2) * one) in found
    # eight of three; the four δ side by side are copied to where all steps of them are kept
    assert moved("backward", product + (8 * 3 + 2 * 4) * one) in found


@pytest.mark.skipif(not llvm_jit.available(), reason="llvmlite is not installed")
@pytest.mark.parametrize("engine", ["llvm", "native"])
def test_elements_and_bytes_of_an_lstm_in_kernels(engine: str) -> None:
    found, one = costs(lstm(), engine), B * H
    assert elements("forward", 17 * one, 17 * one) in found
    # δh and δc add up; δo, δi, δf, δg, and δc twice of a product; tanh′ twice and σ′ thrice as
    # g − (g·y)·y and g·(y − y²); the bias adds rows, and their sums outside
    sums, products, tanhs, sigmoids = 2, 6, 2 * 3, 3 * 3
    inside = (sums + products + tanhs + sigmoids + 4) * one
    assert elements("backward", inside + 4 * H, inside) in found
    inputs = F * B * I
    assert f"kept for backward: {F * 7 * one} bytes in 7 arrays; {inputs} bytes of inputs" in found
    product = one + H * 4 * H + 4 * one
    # the kernel reads h·u, x·w, b and c; it writes four gates, c, tanh c and h
    assert moved("forward", product + (4 + 4 + 1 + 7) * one + 4 * H) in found
    # it reads δ⁺h, ∂L/∂h, c, tanh c and four gates, changes δc, and writes δz and a row of the bias
    assert moved("backward", product + (2 + 6 + 1 + 4) * one + 4 * H) in found


@pytest.mark.parametrize("engine", ENGINES)
def test_elements_and_bytes_of_an_elman_cell(engine: str) -> None:
    found, one, numpy = costs(elman(), engine), B * H, engine == "numpy"
    assert elements("forward", 3 * one, (2 if numpy else 3) * one) in found
    if numpy:  # δ + …, · (1 − h·h), of which two leave; the bias sums
        assert elements("backward", (2 + 2 + 1) * one, 2 * one) in found
    else:  # δ − (δ·h)·h stays
        assert elements("backward", (4 + 1) * one + H, (4 + 1) * one) in found
    assert f"kept for backward: {F * one} bytes in 1 array; {F * B * I} bytes of inputs" in found
    product = one + H * H + one
    in_kernel = 3 * one + H  # h·u, x·w, b and h
    assert moved("forward", product + ((3 + 2) * one if numpy else in_kernel)) in found
    in_kernel = 4 * one + H  # δ⁺h, ∂L/∂h, h, δ and a row of the bias
    assert moved("backward", product + ((3 + 3) * one if numpy else in_kernel)) in found


@pytest.mark.parametrize("engine", ENGINES)
def test_what_is_the_same_in_every_step_is_done_once(engine: str) -> None:
    rows, width = 3, 16
    table, w = tg.randn(rows, width), tg.randn(width, H)

    def step(h: Any, symbols: Any) -> Any:
        h = h * 0.5 + table[symbols] @ w  # (table @ w)[symbols], with few rows
        return h, h

    symbols = tg.zeros(T, 4 * rows, dtype=tg.int64)
    found = costs((step, tg.zeros(4 * rows, H), symbols), engine)
    assert flops("forward", 0, 0) in found
    assert flops("backward", 0, 0) in found
    product = 2 * rows * width * H
    once = "once a call: {} flop in products, 0 elements in the rest"
    assert f"forward, {once.format(product)}" in found
    # the rows of δ are added up to a gradient of table @ w, which gives the two others
    assert f"backward, {once.format(2 * product)}" in found
    each = 4 * rows * H  # δ⁺h + ∂L/∂h and half of it in the loop; outside δ is added to rows
    assert elements("backward", 3 * each, 2 * each) in found
