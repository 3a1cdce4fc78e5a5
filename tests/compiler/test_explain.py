"""explain speaks the language of the lecture, with the user's own names."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest

import tinygrad_rnn as tg
from tinygrad_rnn.compiler import core, llvm_jit
from tinygrad_rnn.compiler.program import Refused

B, I, H = 2, 3, 4  # noqa: E741 (the names of the legend)
W = tg.ones(H, H)


def lstm() -> Any:
    w, u, b = tg.randn(I, 4 * H), tg.randn(H, 4 * H), tg.zeros(4 * H)

    def step(carry: Any, x: Any) -> Any:
        h, c = carry
        z = x @ w + h @ u + b
        i, f, g, o = z.chunk(4, 1)
        i, f, g, o = i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid()
        c = f * c + i * g
        h = o * c.tanh()
        return (h, c), h

    return step, (tg.zeros(B, H), tg.zeros(B, H)), tg.zeros(5, B, I)


def test_the_equations_of_the_lecture() -> None:
    text = tg.explain(*lstm(), engine="numpy")
    for line in (
        "z = x_t w + h_t−1 u + b",
        "c_t = f ⊙ c_t−1 + i ⊙ g",
        "h_t = o ⊙ tanh(c_t)",
        "δh_t = δ⁺h_t + ∂L/∂h_t",
        "δc_t = δ⁺c_t + δh_t ⊙ o ⊙ (1 − tanh(c_t)²)",
        "δ⁺c_t−1 = δc_t ⊙ f",
        "δz = [δi ⊙ i ⊙ (1 − i), δf ⊙ f ⊙ (1 − f), δg ⊙ (1 − g²), δo ⊙ o ⊙ (1 − o)]",
        "δ⁺h_t−1 = δz uᵀ",
        "∂L/∂u = Σ_t h_t−1ᵀ δz",
        "∂L/∂b = Σ_t Σ_b δz",
        r"c_{t} &= f \odot c_{t-1} + i \odot g \\",
        r"\delta^{+} h_{t-1} &= \delta z u^{\top} \\",
    ):
        assert line in text, line


def test_the_gradient_of_a_parameter_that_is_an_output() -> None:
    w = tg.ones(H, requires_grad=True)
    text = tg.explain(lambda h, x: (h * 0.5, w), tg.zeros(B, H), tg.zeros(5, B, I), engine="numpy")
    assert "y_t = w" in text
    assert "∂L/∂w = Σ_t ∂L/∂y_t" in text


def test_programs_passes_and_what_left() -> None:
    text = tg.explain(*lstm(), engine="numpy")
    for part in ("after trace", "after clean", "after split", "after join", "before: ", "costs"):
        assert part in text
    assert "flop in products" in text
    assert "matmul_" in text


@pytest.mark.skipif(not llvm_jit.available(), reason="llvmlite is not installed")
def test_kernels_are_shown() -> None:
    text = tg.explain(*lstm(), engine="llvm")
    assert "kernel forward" in text
    assert "kernel backward" in text
    assert "= sigmoid r" in text


def test_the_reason_for_the_loop() -> None:
    text = tg.explain(lambda c, x: (c + x if float(x.sum()) else c, c), tg.zeros(2), tg.zeros(3, 2))
    assert text.startswith("run by the loop: ")
    assert "item" in text


def test_layers_of_modules_are_named() -> None:
    class Cell:
        def __init__(self) -> None:
            self.weight = tg.randn(H, H, requires_grad=True)

        def __call__(self, h: Any, x: Any) -> Any:
            new = (h @ self.weight.T + x).tanh()
            return new, new

    text = tg.explain(Cell(), tg.zeros(B, H), tg.zeros(5, B, H), engine="numpy")
    assert "a = h_t−1 weightᵀ + x_t" in text
    assert "δa = δh_t ⊙ (1 − h_t²)" in text
    assert "∂L/∂weight = Σ_t δaᵀ h_t−1" in text


def test_what_becomes_of_options_is_said() -> None:
    init, xs = tg.zeros(4, 3), tg.zeros(6, 4, 3)
    apart = tg.explain(lambda h, x: ((h + x).tanh(), h), init, xs, engine="numpy")
    assert "lengths: rows are packed" in apart
    assert "forward mode (jvp): compiled, as a loop of values and tangents; with truncate" in apart
    mixed = tg.explain(lambda h, x: ((h + x.mean(0)).tanh(), h), init, xs, engine="numpy")
    assert "lengths: rows are masked (rows of the batch that depend on each other)" in mixed


@pytest.mark.skipif(not llvm_jit.available(), reason="llvmlite is not installed")
def test_what_auto_takes_is_explained_and_what_stays_in_its_loop() -> None:
    w, u = tg.randn(3, 32), tg.randn(32, 32)

    def step(h: tg.Tensor, x: tg.Tensor) -> tuple[tg.Tensor, tg.Tensor]:
        h = (x @ w + h @ u).tanh()
        return h, h

    init, xs = tg.zeros(16, 32), tg.zeros(5, 16, 3)
    native = tg.explain(step, init, xs)
    assert native.startswith("engine: native")
    assert native.count("stays, being quicker there") == 1
    numpy = tg.explain(step, init, xs, engine="numpy")
    assert "stays, being" not in numpy
    assert numpy.count("  before: ") == 1


def test_a_derivative_that_cannot_be_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> Any:
        raise Refused("for a reason")

    monkeypatch.setattr(core, "differentiate", refuse)
    step = lambda h, x: ((h * 0.25 + x).tanh(),) * 2  # noqa: E731
    text = tg.explain(step, tg.zeros(B, H), tg.zeros(5, B, H))
    assert text.endswith("where gradients are wanted it is run by the loop: for a reason\n")
    assert "--- after clean" in text


def test_it_is_a_text_and_shown_as_one(tmp_path: Path) -> None:
    step = lambda h, x: ((h * 0.25 + x).tanh(),) * 2  # noqa: E731
    text = tg.explain(step, tg.zeros(B, H), tg.zeros(5, B, H))
    assert repr(text) == text
    assert "\n" in repr(text)
    assert isinstance(text, str)
    assert type(str(text)) is str
    (tmp_path / "told.txt").write_text(text, encoding="utf-8")
    assert (tmp_path / "told.txt").read_text(encoding="utf-8") == text
    assert f"{text}" == text
    assert hash(text) == hash(str(text))
    assert pickle.loads(pickle.dumps(text)) == text


STRANGE: dict[str, tuple[Any, Any, Any]] = {
    "copies of a concatenation": (
        lambda h, x: ((tg.cat([x, h], 1) @ tg.cat([W, W], 0)).tanh(), h),
        tg.zeros(B, H), tg.zeros(5, B, H),
    ),
    "a transposed weight twice": (
        lambda h, x: (h @ W + h @ W.T @ W, h), tg.zeros(B, H), tg.zeros(5, B, H)
    ),
    "new axes": (
        lambda a, x: (a + x[:, :, None] * x[:, None, :], a.sum(1)),
        tg.zeros(B, 3, 3), tg.zeros(5, B, 3),
    ),
    "a number as carry": (lambda h, t: (h * 0.5 + 1, h), tg.tensor(1.0), 6),
    "a counter": (
        lambda c, x: ((c[0] + 1, c[1] + x), x), (tg.tensor(0), tg.zeros(B, H)), tg.zeros(5, B, H)
    ),
    "integers alone": (
        lambda h, x: (h + x, h * 2), tg.zeros(B, H, dtype="int64"), tg.zeros(5, B, H, dtype="int64")
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", STRANGE)
@pytest.mark.parametrize("engine", ["loop", "numpy", "auto"])
def test_whatever_scan_runs_is_explained(name: str, engine: str) -> None:
    text = tg.explain(*STRANGE[name], engine=engine)
    assert "--- equations, forward" in text or "run by the loop" in text
    assert "nothing to differentiate" in text or "costs" in text or engine == "loop"
