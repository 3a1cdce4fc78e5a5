"""detect_anomaly over loops and checkpoints: good programs pass, and a NaN is found and named."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn.compiler import llvm_jit, structures
from tinygrad_rnn.errors import AnomalyError

COMPILED = ["numpy", *(["llvm", "native"] if llvm_jit.available() else [])]
ENGINES = ["loop", *COMPILED]
T, B, H = 7, 3, 4
OPTIONS: list[dict[str, Any]] = [
    {},
    {"reverse": True},
    {"truncate": 2},
    {"checkpoint_every": 2},
    {"checkpoint_every": 3, "truncate": 2, "reverse": True},
    {"lengths": [7, 4, 2]},
    {"lengths": [5, 5, 5]},
    {"lengths": [7, 4, 2], "reverse": True},
    {"lengths": [7, 4, 2], "truncate": 3},
    {"lengths": [7, 4, 2], "checkpoint_every": 2},
    {"lengths": [7, 7, 7], "checkpoint_every": 2},
]
RNG = np.random.default_rng(5)
XS, START, WEIGHT = RNG.standard_normal((T, B, H)), RNG.standard_normal((B, H)), np.eye(H) / 2
HERE = "test_anomalies.py"


def leaf(values: Any) -> tg.Tensor:
    return tg.tensor(values, dtype=tg.float64, requires_grad=True)


def found(step: Any, watched: bool, engine: str, **options: Any) -> list[Any]:
    """Values and gradients, with anomalies detected or not; step(w, h, x)."""
    w, start, xs = leaf(WEIGHT), leaf(START), leaf(XS)
    with tg.detect_anomaly() if watched else nullcontext(), np.errstate(all="ignore"):
        run = lambda h, x: step(w, h, x)  # noqa: E731
        final, ys = tg.scan(run, start, xs, engine=engine, **options)
        grads = tg.gradients(final.sum() + (ys * ys).sum(), [w, start, xs])
    return [t.detach().numpy() for t in (final, ys, *grads)]


def recurrent(w: Any, h: Any, x: Any) -> Any:
    h = (h @ w + x).tanh()
    return h, h * x


# ------------------------------------------------------------------------- good programs pass
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_a_good_scan_is_as_it_is_unwatched(engine: str, options: Any) -> None:
    plain, watched = (found(recurrent, flag, engine, **options) for flag in (False, True))
    assert all(np.array_equal(a, b) for a, b in zip(plain, watched, strict=True))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", ["LSTM", "GRU", "RNN"])
def test_good_layers_pass(name: str, engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TINYGRAD_RNN_ENGINE", engine)
    layer = getattr(tg.nn, name)(3, 4, num_layers=2, bidirectional=True)
    with tg.detect_anomaly():
        layer(tg.ones(7, 2, 3))[0].sum().backward()
    assert all(p.grad is not None for p in layer.parameters())


@pytest.mark.parametrize("engine", ENGINES)
def test_outputs_and_carries_of_which_some_have_no_gradient(engine: str) -> None:
    """Their cotangents are None among those of the others."""
    w = leaf(WEIGHT)
    with tg.detect_anomaly():
        step = lambda c, x: (((c[0] @ w).tanh(), c[1] + x), (c[0] * 2, x))  # noqa: E731
        start = (tg.tensor(START), tg.zeros(B, H, dtype=tg.float64))
        _, ys = tg.scan(step, start, tg.tensor(XS), engine=engine)
        ys[0].sum().backward()
    assert w.grad is not None


@pytest.mark.parametrize("engine", ENGINES)
def test_a_second_derivative_passes(engine: str) -> None:
    w = leaf(WEIGHT)
    with tg.detect_anomaly():
        ys = tg.scan(lambda h, x: recurrent(w, h, x), tg.tensor(START), leaf(XS), engine=engine)[1]
        (g,) = tg.gradients(ys.sum(), [w], create_graph=True)
        (g * g).sum().backward()
    assert w.grad is not None


@pytest.mark.parametrize("engine", ENGINES)
def test_forward_mode_passes(engine: str) -> None:
    def f(w: Any) -> Any:
        step = lambda h, x: recurrent(w, h, x)  # noqa: E731
        return tg.scan(step, tg.tensor(START), tg.tensor(XS), engine=engine)[1].sum()

    w = tg.tensor(WEIGHT)
    with tg.detect_anomaly():
        assert tg.jvp(f, (w,), (w,))[1].shape == ()
        assert tg.hvp(f, (w,), (w,))[0].shape == w.shape


def test_every_promise_and_a_node_of_several_outputs_pass() -> None:
    """Part, Product, RowSum, and Item with and without a cotangent."""
    x, w, b = leaf(START), leaf(WEIGHT), leaf(np.ones(H))
    with tg.detect_anomaly():
        y = tg.nn.functional.linear(x, w, b).tanh()
        first, second = y.chunk(2, 1)
        kept = tg.checkpoint(lambda v: (v[0] * v[1], v.exp(), v[:, :1]), first * second)
        (kept[0].sum() + y[1:].sum() + (x @ w.T)[0].sum() + x[[0, 0, 2]].sum()).backward()
    assert all(t.grad is not None for t in (x, w, b))


# --------------------------------------------------------------------------- a NaN is named
def bad_forward(w: Any, h: Any, x: Any) -> Any:
    h = (h @ w - 1.0 + 0 * x).sqrt()
    return h, h


def bad_backward(w: Any, h: Any, x: Any) -> Any:
    """The derivative is 0 · ∞, which the values do not show."""
    h = (h @ w) * 0.5
    return h, (h * 0.0).abs().sqrt() * x


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_a_nan_of_the_step_is_named(engine: str, options: Any) -> None:
    with pytest.raises(AnomalyError, match="sqrt" if engine == "loop" else r"^loop: ") as caught:
        found(bad_forward, True, engine, **options)
    assert HERE in str(caught.value)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_a_nan_of_the_way_back_is_named(engine: str, options: Any) -> None:
    name = "backward of (sqrt|abs)" if engine == "loop" else "backward of loop"
    with pytest.raises(AnomalyError, match=name) as caught:
        found(bad_backward, True, engine, **options)
    assert HERE in str(caught.value)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_a_nan_that_came_in_is_not_blamed_on_the_loop(engine: str, options: Any) -> None:
    w, xs = leaf(WEIGHT), XS.copy()
    xs[0] = np.nan
    with tg.detect_anomaly():
        step = lambda h, x: recurrent(w, h, x)  # noqa: E731
        ys = tg.scan(step, tg.tensor(START), tg.tensor(xs), engine=engine, **options)[1]
        ys.sum().backward()
    assert np.isnan(w.grad.numpy()).any()


@pytest.mark.parametrize("engine", COMPILED)
def test_a_nan_of_the_padding_hides_none_of_the_loop(engine: str) -> None:
    w, xs = leaf(WEIGHT), XS.copy()
    xs[4:, 1] = np.nan
    run = lambda h, x: bad_forward(w, h, x)  # noqa: E731
    with tg.detect_anomaly(), pytest.raises(AnomalyError, match=r"^loop: "):
        tg.scan(run, tg.tensor(START), tg.tensor(xs), lengths=[7, 4, 2], engine=engine)


def test_a_nan_of_the_way_back_inside_a_checkpoint_is_named() -> None:
    x = leaf([0.0, 4.0])
    with tg.detect_anomaly():
        y = tg.checkpoint(lambda v: v.sqrt() * tg.tensor([0.0, 1.0], dtype=tg.float64), x)
        with pytest.raises(AnomalyError, match="backward of sqrt") as caught:
            y.sum().backward()
    assert HERE in str(caught.value) and x.grad is None


@pytest.mark.parametrize("engine", COMPILED)
def test_watching_the_way_back_alone(engine: str) -> None:
    w = leaf(WEIGHT)
    run = lambda h, x: bad_backward(w, h, x)  # noqa: E731
    ys = tg.scan(run, tg.tensor(START), tg.tensor(XS), engine=engine)[1]
    with tg.detect_anomaly(), pytest.raises(AnomalyError, match=r"loop.*\n?.*not watched"):
        ys.sum().backward()
    assert w.grad is None


@pytest.mark.parametrize("engine", COMPILED)
def test_a_nan_where_a_step_is_traced_again_is_named(
    engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of what the step makes of the weight alone, which tracing computes: on the way back."""
    monkeypatch.setattr(structures, "code_of", lambda step: None)  # its reads are not known
    w, options = leaf(-WEIGHT), {"lengths": [7, 4, 2], "checkpoint_every": 2}
    run = lambda h, x: ((h @ w.sqrt() + x).tanh(), h)  # noqa: E731
    with np.errstate(all="ignore"):
        ys = tg.scan(run, tg.tensor(START), tg.tensor(XS), engine=engine, **options)[1]
        with tg.detect_anomaly(), pytest.raises(AnomalyError, match="sqrt"):
            ys.sum().backward()
