"""What the engines promise beside equal numbers: counts, memory, threads, errors."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
from scan_cells import CELLS, B, H, I, difference, measured

import tinygrad_rnn as tg
from tinygrad_rnn.compiler import core, llvm_jit, run, spans, sums
from tinygrad_rnn.compiler import structures as found
from tinygrad_rnn.compiler.pool import pool
from tinygrad_rnn.errors import MissingDependencyError
from tinygrad_rnn.scan import ENGINES

NAMES = sorted(name for name in ENGINES if name != "loop")
needs_llvm = pytest.mark.skipif(not llvm_jit.available(), reason="llvmlite is not installed")


def compiled_now(monkeypatch: pytest.MonkeyPatch) -> dict[Any, Any]:
    """An empty cache of structures for one test."""
    structures: dict[Any, Any] = {}
    monkeypatch.setattr(found, "_structures", structures)
    monkeypatch.setattr(found, "_known", {})
    return structures


def lines_of(structures: dict[Any, Any]) -> tuple[list[str], list[str]]:
    """The lines of the loops, forward and backward, of the one structure compiled."""
    (compiled,) = structures.values()
    (way,) = compiled.core.ways.values()
    (back,) = way.backward.values()
    return way.forward.runner.source.splitlines()[3:], back.runner.source.splitlines()[3:]


def compiled_places(structures: dict[Any, Any]) -> dict[str, int]:
    """How many arguments each function of the loops takes before the place of its result."""
    (compiled,) = structures.values()
    (way,) = compiled.core.ways.values()
    (back,) = way.backward.values()
    spaces = {**way.forward.runner.space, **back.runner.space}
    return {name: getattr(f, "nin", 2) for name, f in spaces.items() if callable(f)}


# ----------------------------------------------------------------------- instructions per step
@needs_llvm
@pytest.mark.parametrize(
    "name", ["lstm_joined", "lstm_four_weights", "lstm_cat", "lstm_peephole", "rnn"]
)
def test_one_product_and_one_kernel_a_step(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    structures = compiled_now(monkeypatch)
    measured(name, "llvm")
    for lines in lines_of(structures):
        words = [line.split("_")[0].strip() for line in lines]
        assert sorted(words) == ["kernel", "matmul"]


@pytest.mark.parametrize("name", ["lstm_joined", "lstm_four_weights"])
def test_weight_gradients_are_one_product_for_each_operand(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled_now(monkeypatch)
    product, calls = sums._by_rows, []

    def counted(a: Any, b: Any) -> Any:
        calls.append(a.shape)
        return product(a, b)

    monkeypatch.setattr(sums, "_by_rows", counted)
    measured(name, "numpy")
    assert len(calls) == 2  # of x and of h, though there are eight weights


@needs_llvm
def test_layer_norm_fuses(monkeypatch: pytest.MonkeyPatch) -> None:
    structures = compiled_now(monkeypatch)
    measured("lstm_layer_norm", "llvm")
    forward, backward = lines_of(structures)
    assert [line.split("_")[0].strip() for line in forward] == ["matmul", "kernel"]
    assert sum("matmul" in line for line in backward) == 1
    assert len(backward) <= 3


def test_numpy_allocates_nothing_in_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    structures = compiled_now(monkeypatch)
    measured("lstm_joined", "numpy")
    places = compiled_places(structures)
    for lines in lines_of(structures):
        for call in (call for line in lines for call in line.strip().split("; ")):
            name, words = call.rstrip(")").split("(")
            *given, last = words.split(", ")
            assert last.removeprefix("out=")[0] in "as"  # a view of what is there
            assert places[name] == len(given) or name.startswith("copyto")
        assert sum("matmul" in line for line in lines) == 1


def test_a_pass_can_be_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = measured("lstm_four_weights", "loop")
    for name in ("clean", "split", "join", "gather"):
        monkeypatch.setattr(found, "switched_off", {name})
        structures = compiled_now(monkeypatch)
        for engine in NAMES:
            assert difference(measured("lstm_four_weights", engine), expected) < 1e-12
        history = [label for label, _ in next(iter(structures.values())).history]
        assert name not in history


def test_the_engine_is_in_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    structures = compiled_now(monkeypatch)
    for engine in NAMES:
        measured("rnn", engine)
    assert len(structures) == len(NAMES)


# ------------------------------------------------------------------------------ what is captured
@pytest.mark.parametrize("engine", NAMES)
def test_a_captured_tensor_is_never_stale(engine: str) -> None:
    w = tg.ones(H, requires_grad=True)
    xs = tg.ones(3, B, H)

    def total() -> float:
        return float(
            tg.scan(lambda c, x: (c + x * w, c), tg.zeros(B, H), xs, engine=engine)[0].sum()
        )

    assert total() == 3 * B * H
    with tg.no_grad():
        w.mul_(2.0)
    assert total() == 6 * B * H
    w = tg.full((H,), 3.0)
    assert total() == 9 * B * H


@pytest.mark.parametrize("engine", NAMES)
def test_a_python_number_is_part_of_the_structure(engine: str) -> None:
    for scale in (1.0, 2.0, 1, True, -0.0):
        final, _ = tg.scan(
            lambda c, x, s=scale: (c + x * s, c), tg.zeros(2), tg.ones(4, 2), engine=engine
        )
        assert final.tolist() == [4.0 * scale] * 2


@pytest.mark.parametrize("engine", NAMES)
def test_parameters_used_outside_as_well(engine: str) -> None:
    def gradients(engine: str) -> Any:
        w = tg.tensor(np.eye(H) * 0.5, dtype=tg.float64, requires_grad=True)
        xs = tg.tensor(np.arange(2.0 * B * H).reshape(2, B, H) / 30, dtype=tg.float64)
        final, ys = tg.scan(lambda c, x: ((c @ w + x).tanh(),) * 2, xs[0] @ w, xs, engine=engine)
        return [tg.gradients((final @ w).sum() + (ys * ys).sum(), w).numpy()]

    assert difference(gradients(engine), gradients("loop")) < 1e-12


@pytest.mark.parametrize("engine", NAMES)
def test_shared_parameters_of_two_loops(engine: str) -> None:
    def gradients(engine: str) -> Any:
        w = tg.tensor(np.eye(H) * 0.5, dtype=tg.float64, requires_grad=True)
        xs = tg.tensor(np.arange(3.0 * B * H).reshape(3, B, H) / 30, dtype=tg.float64)
        step = lambda c, x: ((c @ w + x).tanh(),) * 2  # noqa: E731
        _, ys = tg.scan(step, xs[0], xs, engine=engine)
        _, zs = tg.scan(step, xs[1], ys, reverse=True, engine=engine)
        return [tg.gradients((zs * zs).sum(), w).numpy()]

    assert difference(gradients(engine), gradients("loop")) < 1e-12


# ------------------------------------------------------------------------------------ memory
@pytest.mark.parametrize("engine", NAMES)
def test_results_are_never_overwritten(engine: str) -> None:
    w = tg.randn(H, H)
    step = lambda c, x: ((c @ w + x).tanh(),) * 2  # noqa: E731
    xs = [tg.randn(6, B, H) for _ in range(3)]
    first = [tg.scan(step, tg.zeros(B, H), x, engine=engine) for x in xs]
    copies = [(final.numpy().copy(), ys.numpy().copy()) for final, ys in first]
    for _ in range(3):
        tg.scan(step, tg.zeros(B, H), tg.randn(6, B, H), engine=engine)
    for (final, ys), (a, b) in zip(first, copies, strict=True):
        assert np.array_equal(final.numpy(), a)
        assert np.array_equal(ys.numpy(), b)


@pytest.mark.parametrize("engine", NAMES)
def test_gradients_are_never_overwritten(engine: str) -> None:
    """Here they are made outside of the loop, element by element, in memory that is used again."""
    w, scale = tg.randn(H, H), tg.randn(H)

    def gradient() -> Any:
        x = tg.randn(6, B, H, requires_grad=True)

        def step(c: Any, x: Any) -> Any:
            c = (c @ w + x * scale).tanh()
            return c, c * 2.0

        final, ys = tg.scan(step, tg.zeros(B, H), x, engine=engine)
        (final.sum() + (ys * ys).sum()).backward()
        return ys.detach().numpy(), x.grad.numpy()

    first = gradient()
    copies = [array.copy() for array in first]
    for _ in range(3):
        gradient()
    assert all(np.array_equal(a, b) for a, b in zip(first, copies, strict=True))


@pytest.mark.parametrize("engine", NAMES)
def test_memory_is_used_again(engine: str) -> None:
    for _ in range(3):
        measured("lstm_joined", engine)
    held = pool.bytes
    for _ in range(3):
        measured("lstm_joined", engine)
    assert pool.bytes == held


@pytest.mark.parametrize("engine", NAMES)
def test_inference_stores_nothing(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spans, "BLOCK", 1)
    lengths: list[int] = []
    original = core.run_core

    def spied(call: Any) -> Any:
        lengths.append(call.length)
        assert not any(call.wanted)
        return original(call)

    monkeypatch.setattr(run, "run_core", spied)
    w = tg.randn(H, H, requires_grad=True)
    step = lambda c, x: ((c @ w + x).tanh(), None)  # noqa: E731
    xs = tg.randn(1000, B, H)
    with tg.no_grad():
        found, _ = tg.scan(step, tg.zeros(B, H), xs, engine=engine)
        expected, _ = tg.scan(step, tg.zeros(B, H), xs, engine="loop")
    assert max(lengths) <= 64
    assert np.allclose(found.numpy(), expected.numpy(), atol=1e-5)


# ------------------------------------------------------------------------------ threads and errors
@pytest.mark.parametrize("engine", NAMES)
def test_two_threads_train_at_once(engine: str) -> None:
    expected = {name: measured(name, "loop") for name in ("lstm_joined", "gru_torch")}
    errors: list[float] = []

    def work(name: str) -> None:
        for _ in range(8):
            tg.manual_seed(3)
            errors.append(difference(measured(name, engine), expected[name]))

    threads = [threading.Thread(target=work, args=(name,)) for name in expected for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(errors) == 32
    assert max(errors) < 1e-12


@pytest.mark.parametrize("engine", NAMES)
def test_a_step_that_raises_leaves_nothing_broken(engine: str) -> None:
    calls = [0]

    def step(c: Any, x: Any) -> Any:
        calls[0] += 1
        if calls[0] >= 1:
            raise RuntimeError("half-way")
        return c + tg.rand(2) * x, c

    state = tg.get_rng_state()
    with pytest.raises(RuntimeError, match="half-way"):
        tg.scan(step, tg.zeros(2), tg.ones(3, 2), engine=engine)
    assert tg.get_rng_state() == state  # what was only traced has drawn nothing
    assert difference(measured("dropped", engine), measured("dropped", "loop")) < 1e-12


def test_changed_parameters_are_noticed() -> None:
    w = tg.randn(H, H, requires_grad=True)
    for engine in NAMES:
        _, ys = tg.scan(
            lambda c, x: ((c @ w + x).tanh(),) * 2, tg.zeros(B, H), tg.ones(3, B, H), engine=engine
        )
        with tg.no_grad():
            w.mul_(0.5)
        with pytest.raises(tg.errors.InPlaceError):
            ys.sum().backward()


def test_without_llvmlite(monkeypatch: pytest.MonkeyPatch) -> None:
    from tinygrad_rnn.compiler import engines

    monkeypatch.setattr(engines, "available", lambda: False)
    assert "auto: numpy" in tg.show_config()
    with pytest.raises(MissingDependencyError, match="llvmlite"):
        tg.scan(lambda c, x: (c + x, c), tg.zeros(2), tg.ones(3, 2), engine="llvm")
    tg.scan(lambda c, x: (c + x, c), tg.zeros(2), tg.ones(3, 2))


def test_inputs_may_need_gradients_alone() -> None:
    assert set(CELLS) >= {"leaky_echo", "lstm_joined"}
    for engine in NAMES:
        x = tg.tensor(np.ones((4, B, I)), requires_grad=True)
        w = tg.ones(I, H, dtype=tg.float64)
        final, _ = tg.scan(
            lambda c, v, w=w: (c + v @ w, None), tg.zeros(B, H, dtype=tg.float64), x, engine=engine
        )
        assert np.all(tg.gradients(final.sum(), x).numpy() == H)
