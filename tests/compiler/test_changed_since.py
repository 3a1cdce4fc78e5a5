"""What changes in place before backward is refused also where backward runs a step again.

Everything that a step reads, by any engine: leaves, constants, inputs, carries and lengths.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn.compiler import llvm_jit, structures
from tinygrad_rnn.errors import InPlaceError
from tinygrad_rnn.inplace import AGAIN

ENGINES = ["loop", "numpy", *(["llvm", "native"] if llvm_jit.available() else [])]
T, B, H = 6, 3, 4
OPTIONS: list[dict[str, Any]] = [
    {"checkpoint_every": 2},
    {"checkpoint_every": 2, "reverse": True},
    {"checkpoint_every": 4, "truncate": 3},
    {"checkpoint_every": 2, "lengths": [6, 4, 2]},
    {"checkpoint_every": 2, "lengths": [6, 6, 6]},
    {"checkpoint_every": 2, "lengths": [4, 4, 4], "reverse": True},
    {},
    {"lengths": [6, 4, 2]},
]
RNG = np.random.default_rng(6)


class Run:
    """A scan that reads a weight, a bias, two constants, inputs and a carry, and its gradient."""

    def __init__(self, engine: str, **options: Any) -> None:
        numbers = {"w": (H, H), "b": (H,), "c": (H,), "mask": (H,), "xs": (T, B, H), "h": (B, H)}
        for name, shape in numbers.items():
            array = np.random.default_rng(len(name)).standard_normal(shape) / 2
            setattr(self, name, tg.tensor(array, requires_grad=name in "wb"))
        self.final, self.ys = tg.scan(self.step, self.h, self.xs, engine=engine, **options)

    w: Any
    b: Any
    c: Any
    mask: Any
    xs: Any
    h: Any

    def step(self, h: Any, x: Any) -> Any:
        h = (h @ self.w + x * (1.0 - self.mask) + self.b + self.c).tanh()
        return h, h

    def gradient(self) -> Any:
        return tg.gradients((self.ys * self.ys).sum() + self.final.sum(), [self.w, self.b])


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("options", OPTIONS[:-2], ids=str)
@pytest.mark.parametrize("name", ["w", "b", "c", "mask", "xs", "h"])
def test_what_a_step_reads_and_has_changed_is_refused(name: str, options: Any, engine: str) -> None:
    run = Run(engine, **options)
    with tg.no_grad():
        getattr(run, name).mul_(1.5)
    if name == "xs" and engine == "loop" and "lengths" in options:  # it has copied the inputs
        expected = Run(engine, **options).gradient()
        pairs = zip(run.gradient(), expected, strict=True)
        assert all(np.array_equal(a.numpy(), b.numpy()) for a, b in pairs)
        return
    with pytest.raises(InPlaceError, match="changed in place since"):
        run.gradient()
    assert not AGAIN


@pytest.mark.parametrize("engine", ENGINES)
def test_it_is_refused_by_name_where_a_step_is_traced_again(
    engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever fails in a trace has the loop run, but what backward runs again cannot fall back."""
    run = Run(engine, checkpoint_every=2, lengths=[6, 4, 2])
    monkeypatch.setattr(structures, "code_of", lambda step: None)  # its reads are not known
    run.mask.mul_(1.5)
    with pytest.raises(InPlaceError, match="changed in place since"):
        run.gradient()


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_what_no_step_reads_may_change(options: Any, engine: str) -> None:
    """Values handed out, parameters of others that an optimiser updates, another graph's."""
    expected = [g.numpy() for g in Run(engine, **options).gradient()]
    other = [tg.ones(H, requires_grad=True), tg.ones(2, requires_grad=True)]
    optimizer = tg.optim.SGD(other, lr=0.1)
    run = Run(engine, **options)
    held = (run.ys.detach() * 1.0, run.final.tolist())
    (other[0] * 2.0).sum().backward()
    optimizer.step()
    held[0].mul_(2.0)
    assert all(np.array_equal(a.numpy(), b) for a, b in zip(run.gradient(), expected, strict=True))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_a_step_of_an_optimiser_between_two_graphs(options: Any, engine: str) -> None:
    """The usual loop; the optimiser may also be made between forward and backward."""
    losses = []
    for kept in (options, {k: v for k, v in options.items() if k != "checkpoint_every"}):
        run = Run(engine, **kept)
        optimizer = tg.optim.Adam([run.w, run.b], lr=0.1)
        for _ in range(3):
            loss = (run.ys * run.ys).sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            run.ys = tg.scan(run.step, run.h, run.xs, engine=engine, **kept)[1]
        losses.append(float((run.ys * run.ys).sum()))
    assert abs(losses[0] - losses[1]) < 1e-12


@pytest.mark.parametrize("engine", ENGINES)
def test_lengths_changed_before_a_function_runs_again(engine: str) -> None:
    w, lengths = tg.tensor(np.eye(H), requires_grad=True), tg.tensor([6, 4, 2])
    xs, start = tg.tensor(RNG.standard_normal((T, B, H))), tg.zeros(B, H, dtype=tg.float64)
    step = lambda h, x: ((h @ w + x).tanh(),) * 2  # noqa: E731
    run = lambda: tg.scan(step, start, xs, lengths=lengths, engine=engine)[1]  # noqa: E731
    ys = tg.checkpoint(run)
    lengths.fill_(3)
    with pytest.raises(InPlaceError, match="checkpoint"):
        ys.sum().backward()


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("options", OPTIONS[:-2], ids=str)
def test_running_statistics_are_updated_inside_no_grad(options: Any, engine: str) -> None:
    """Such a step is the loop's whatever the engine; what it records does not read them."""
    found = []
    for kept in (options, {k: v for k, v in options.items() if k != "checkpoint_every"}):
        w, mean = tg.tensor(np.eye(H) / 2, requires_grad=True), tg.zeros(H, dtype=tg.float64)

        def step(h: Any, x: Any, w: Any = w, mean: Any = mean) -> Any:
            h = (h @ w + x).tanh()
            with tg.no_grad():
                mean.mul_(0.9)
                mean.add_(0.1 * h.detach().mean(0) + 0.0 * mean)
            return h, h

        xs = tg.tensor(np.random.default_rng(1).standard_normal((T, B, H)))
        start = tg.zeros(B, H, dtype=tg.float64)
        ys = tg.scan(step, start, xs, engine=engine, **kept)[1]
        found.append(tg.gradients((ys * ys).sum(), w).numpy())
    np.testing.assert_allclose(found[0], found[1], rtol=1e-12)


# ------------------------------------------------------------------------------- checkpoint itself
X, W = RNG.standard_normal((3, 4)), RNG.standard_normal((4, 4))
READS: dict[str, Callable[[Any, Any], Any]] = {
    "product": lambda x, t: x @ t,
    "sum": lambda x, t: x + t[:3],
    "of a constant alone": lambda x, t: (x * (1.0 - t.detach()[0])).exp(),
    "view": lambda x, t: (x + t.T[:3]).exp(),
    "reduced": lambda x, t: x * t.detach().sum(),
    "linear": lambda x, t: tg.nn.functional.linear(x, t, t[0]).tanh(),
    "looked up": lambda x, t: (x + t.detach()[tg.tensor([0, 0, 1])]).tanh(),
    "chosen": lambda x, t: tg.where(t.detach()[:3] > 0, x, 2 * x),
    "stacked": lambda x, t: tg.cat([x, t]).tanh(),
    "inside": lambda x, t: tg.checkpoint(lambda x: (x @ t).tanh(), x),
}


@pytest.mark.parametrize("constant", [False, True])
@pytest.mark.parametrize("name", sorted(READS))
def test_a_closed_over_tensor_changed_before_backward(name: str, constant: bool) -> None:
    x, t = tg.tensor(X, requires_grad=True), tg.tensor(W, requires_grad=not constant)
    y = tg.checkpoint(lambda x: READS[name](x, t), x)
    state = tg.get_rng_state()
    with tg.no_grad():
        t.add_(0.5)
    with pytest.raises(InPlaceError, match=r"checkpoint: .*\(4, 4\)|checkpoint: .*\n.*clone"):
        y.sum().backward()
    assert x.grad is None and not AGAIN and tg.get_rng_state() == state
    READS[name](x, t).sum().backward()  # what comes after is not looked after


@pytest.mark.parametrize("name", sorted(READS))
def test_a_closed_over_tensor_as_it_was(name: str) -> None:
    """Others have changed: each operation is asked what it reads."""
    x, t, other = (tg.tensor(a, requires_grad=True) for a in (X, W, W))
    expected = tg.gradients(READS[name](x, t).sum(), x)
    y = tg.checkpoint(lambda x: READS[name](x, t), x)
    with tg.no_grad():
        other.mul_(2.0)
    assert np.array_equal(tg.gradients(y.sum(), x).numpy(), expected.numpy())


def test_what_a_function_makes_and_fills_itself() -> None:
    x, other = tg.tensor(X, requires_grad=True), tg.ones(2)

    def f(x: Any) -> Any:
        mask = tg.zeros(3, 4, dtype=tg.float64)
        mask[1:] = 1.0
        return (x * mask).exp()

    y = tg.checkpoint(f, x)
    other.add_(1.0)
    y.sum().backward()
    expected = np.exp(X)
    expected[0] = 0.0
    np.testing.assert_allclose(x.grad.numpy(), expected)


@pytest.mark.parametrize("first", [False, True])
def test_what_a_function_changes_and_reads_is_refused(first: bool) -> None:
    """Run again it would read another value."""
    x, scale = tg.tensor(X, requires_grad=True), tg.ones(4, dtype=tg.float64)

    def f(x: Any) -> Any:
        if first:
            scale.mul_(1.5)
        y = (x * scale).exp()
        if not first:
            scale.mul_(1.5)
        return y

    y = tg.checkpoint(f, x)
    with pytest.raises(InPlaceError, match=r"no_grad\(\)"):
        y.sum().backward()


def test_statistics_of_a_function_that_is_called_twice() -> None:
    x, mean = tg.tensor(X, requires_grad=True), tg.zeros(4, dtype=tg.float64)

    def f(x: Any) -> Any:
        with tg.no_grad():
            mean.copy_(0.9 * mean + 0.1 * x.mean(0))
        return (x - x.mean(0)).tanh()

    tg.checkpoint(f, tg.checkpoint(f, x)).sum().backward()
    f(f(y := tg.tensor(X, requires_grad=True))).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), y.grad.numpy(), rtol=1e-12)


def test_a_second_derivative_refuses_as_well() -> None:
    x, t = tg.tensor(X, requires_grad=True), tg.tensor(W, requires_grad=True)
    y = tg.checkpoint(lambda x: (x @ t).tanh(), x)
    with tg.no_grad():
        t.mul_(2.0)
    with pytest.raises(InPlaceError, match="checkpoint"):
        tg.gradients(y.sum(), x, create_graph=True)
