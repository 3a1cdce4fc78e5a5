"""explain speaks of the engine that scan would take, and refuses what scan refuses."""

from __future__ import annotations

from typing import Any

import pytest

import tinygrad_rnn as tg
from tinygrad_rnn.cli import main
from tinygrad_rnn.compiler import engines, llvm_jit

VARIABLE = "TINYGRAD_RNN_ENGINE"


def step(h: Any, x: Any) -> Any:
    h = (h * 0.5 + x).tanh()
    return h, h


INIT, XS = tg.zeros(2), tg.zeros(5, 2)


def refusal(function: Any, **options: Any) -> str:
    with pytest.raises(tg.errors.ArgumentError) as caught:
        function(step, INIT, XS, **options)
    return str(caught.value)


@pytest.mark.parametrize("name", ["foo", "NUMPY", "", 3, []])
def test_an_unknown_engine_is_refused_as_by_scan(name: Any) -> None:
    text = refusal(tg.explain, engine=name)
    assert text == refusal(tg.scan, engine=name)
    assert text.endswith(f"'native', 'numpy'] expected, got {name!r}")


def test_an_unknown_engine_in_the_environment(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(VARIABLE, "foo")
    assert refusal(tg.explain) == refusal(tg.scan)
    assert refusal(tg.scan).endswith(f"got 'foo' from {VARIABLE}")
    assert tg.explain(step, INIT, XS, engine="numpy").startswith("engine: numpy\n")
    assert main(["explain", "lstm"]) == 1
    assert VARIABLE in capsys.readouterr().err
    monkeypatch.delenv(VARIABLE)
    assert main(["explain", "lstm", "--engine", "foo"]) == 1
    assert "got 'foo'" in capsys.readouterr().err


def test_an_empty_variable_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = tg.explain(step, INIT, XS)
    monkeypatch.setenv(VARIABLE, "")
    assert tg.explain(step, INIT, XS) == plain
    assert repr(tg.scan(step, INIT, XS)) == repr(tg.scan(step, INIT, XS, engine="loop"))


def test_the_variable_chooses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "numpy")
    assert tg.explain(step, INIT, XS).startswith("engine: numpy\n")


def test_the_loop_compiles_nothing() -> None:
    text = tg.explain(step, INIT, XS, engine="loop")
    assert text.startswith("engine: loop\n")
    assert "nothing is compiled" in text
    assert "= mul %0 0.5" in text
    assert "δ⁺h_t−1 = " in text
    for absent in ("after clean", "what leaves the loop", "costs", "kernel", "loop forward"):
        assert f"--- {absent}" not in text


def test_an_engine_without_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "available", lambda: False)
    for function in (tg.scan, tg.explain):
        with pytest.raises(tg.errors.MissingDependencyError, match="llvmlite"):
            function(step, INIT, XS, engine="native")
    assert tg.explain(step, INIT, XS).startswith("engine: numpy\n")


@pytest.mark.skipif(not llvm_jit.available(), reason="llvmlite is not installed")
@pytest.mark.parametrize("name", ["numpy", "llvm", "native"])
def test_engines_by_name(name: str) -> None:
    assert tg.explain(step, INIT, XS, engine=name).startswith(f"engine: {name}\n")
