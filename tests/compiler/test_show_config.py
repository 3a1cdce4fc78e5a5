"""show_config says which engine is active, and each reason for the loop once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import tinygrad_rnn as tg
from tinygrad_rnn.cli import main
from tinygrad_rnn.compiler import engines, fallbacks, llvm_jit

VARIABLE = "TINYGRAD_RNN_ENGINE"
BEST = "native" if llvm_jit.available() else "numpy"


@pytest.fixture(autouse=True)
def without(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv(VARIABLE, raising=False)
    fallbacks.clear()
    yield
    fallbacks.clear()


def lines(start: str) -> list[str]:
    return [line for line in tg.show_config().splitlines() if line.startswith(start)]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, BEST), ("", BEST), ("numpy", f"numpy ({VARIABLE})"), ("loop", f"loop ({VARIABLE})"),
        ("foo", "nothing (scan: engine auto or one of ['llvm', 'loop', 'native', 'numpy'] expected,"
                f" got 'foo' from {VARIABLE})"),
    ],
)  # fmt: skip
def test_the_active_engine(
    value: str | None, expected: str, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    if value is not None:
        monkeypatch.setenv(VARIABLE, value)
    assert lines("auto: ") == [f"auto: {expected}"]
    assert main(["config"]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert f"engine taken {expected}" in told


def test_an_engine_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "available", lambda: False)
    monkeypatch.setenv(VARIABLE, "llvm")
    (line,) = lines("auto: ")
    assert line.startswith('auto: nothing (engine "llvm": the package llvmlite expected')
    assert "pip install" in line


def test_reasons_are_counted() -> None:
    for _ in range(60):
        tg.scan(lambda h, x: (h, x), (), tg.ones(5, 2))
    tg.scan(lambda h, x: (h + x, h), tg.zeros(0), tg.ones(5, 0))
    found = [line.removeprefix("fell back to the loop: ") for line in lines("fell back")]
    assert found == ["no carry (60 times)", "an empty tensor"]


def test_a_reason_stays_on_its_line() -> None:
    def step(h: tg.Tensor, x: tg.Tensor) -> tuple[tg.Tensor, tg.Tensor]:
        if type(h.array).__name__ == "Value":  # as what only a traced tensor cannot do
            raise tg.errors.ShapeError("this", "that", "it", "do so")
        return h + x, h

    tg.scan(step, tg.zeros(2), tg.ones(5, 2))
    (line,) = lines("fell back")
    assert "this: that expected, got it; hint: do so" in line
    assert main(["config"]) == 0
