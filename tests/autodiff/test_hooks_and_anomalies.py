"""Hooks and anomalies: who may look at a gradient on its way, and who made a NaN."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn.errors import AnomalyError, AutodiffError, DTypeError, InPlaceError, ShapeError


def leaf(values: Any, dtype: Any = tg.float64) -> tg.Tensor:
    return tg.tensor(values, dtype=dtype, requires_grad=True)


# --------------------------------------------------------------------------- 60 and 61: hooks
def test_60_hooks_see_replace_and_remove() -> None:
    x = leaf([1.0, 2.0])
    y = x * 3
    seen: list[Any] = []
    handle = y.register_hook(lambda g: seen.append(g.tolist()))
    y.register_hook(lambda g: g * 10)
    x.register_hook(lambda g: g + 1)
    y.sum().backward(retain_graph=True)
    assert seen == [[1.0, 1.0]] and x.grad.tolist() == [31.0, 31.0]
    handle.remove()
    handle.remove()
    y.sum().backward()
    assert len(seen) == 1


def test_60_hook_that_removes_itself() -> None:
    x = leaf(1.0)
    calls: list[int] = []

    def once(g: Any) -> None:
        calls.append(1)
        handle.remove()

    handle = x.register_hook(once)
    (x * 2).backward()
    (x * 2).backward()
    assert calls == [1] and float(x.grad) == 4.0


def test_60_removing_twice_leaves_later_hooks() -> None:
    x = leaf(1.0)
    first = x.register_hook(lambda g: g * 2)
    first.remove()
    x.register_hook(lambda g: g * 3)
    first.remove()
    (x * 1).backward()
    assert float(x.grad) == 3.0


def test_60_one_hook_registered_twice_runs_twice() -> None:
    x = leaf(1.0)

    def double(g: Any) -> Any:
        return g * 2

    first, second = x.register_hook(double), x.register_hook(double)
    (x * 1).backward()
    assert float(x.grad) == 4.0
    first.remove()
    (x * 1).backward()
    assert float(x.grad) == 6.0
    second.remove()
    (x * 1).backward()
    assert float(x.grad) == 7.0


def test_60_hook_that_changes_what_another_operation_has_saved() -> None:
    x, factor = leaf([1.0, 2.0]), tg.tensor([3.0, 4.0], dtype=tg.float64)
    y = x * factor

    def spoil(g: Any) -> None:
        factor.zero_()

    y.register_hook(spoil)
    with pytest.raises(InPlaceError, match="backward of mul"):
        y.sum().backward()
    assert x.grad is None


@pytest.mark.parametrize("wrong", [tg.ones(3), 3.0, "g"])
def test_60_hook_that_returns_another_shape(wrong: Any) -> None:
    x = leaf([1.0, 2.0])
    x.register_hook(lambda g: wrong)
    with pytest.raises(ShapeError, match=r"hook: .*\(2,\)"):
        x.sum().backward()
    assert x.grad is None


def test_60_hook_that_returns_another_dtype() -> None:
    x = leaf([1.0, 2.0])
    x.register_hook(lambda g: g.float())
    with pytest.raises(DTypeError, match=r"hook: .*float64.*float32"):
        x.sum().backward()
    assert x.grad is None


def test_60_hook_that_writes_to_its_gradient() -> None:
    """It is the hook's to use, and nobody else's cotangent changes."""
    x, w = leaf([1.0, 2.0]), leaf([1.0, 2.0])
    given = tg.ones(2, dtype=tg.float64)

    def write(g: Any) -> None:
        g.mul_(0)

    x.register_hook(write)
    (x + w).backward(given)
    assert given.tolist() == [1.0, 1.0] and w.grad.tolist() == [1.0, 1.0]


def test_61_exception_in_backward_leaves_every_grad_alone() -> None:
    x, w = leaf(1.0), leaf(2.0)

    def fail(g: Any) -> None:
        raise KeyError("mine")

    (x * 1).backward()
    y = x * w
    y.register_hook(fail)
    with pytest.raises(KeyError, match="mine"):
        (y + w * 3).backward()
    assert float(x.grad) == 1.0 and w.grad is None
    (x * 2).backward()
    assert float(x.grad) == 3.0


def test_hook_on_a_constant() -> None:
    with pytest.raises(AutodiffError, match="constant"):
        tg.ones(2).register_hook(lambda g: None)
    with pytest.raises(AutodiffError, match="constant"):
        tg.ones(2).retain_grad()


# ------------------------------------------------------------------------------------ anomalies
def test_anomaly_names_the_operation_and_the_line() -> None:
    x = leaf([-1.0, 4.0])
    with np.errstate(all="ignore"), tg.detect_anomaly(), pytest.raises(AnomalyError) as caught:
        tg.sqrt(x)
    assert "sqrt" in str(caught.value) and "test_hooks_and_anomalies.py" in str(caught.value)


def test_anomaly_in_backward_names_the_forward_line() -> None:
    x = leaf([0.0, 4.0])
    with tg.detect_anomaly():
        y = tg.sqrt(x)  # the derivative is infinite here
        z = (y * tg.tensor([0.0, 1.0], dtype=tg.float64)).sum()
        with pytest.raises(AnomalyError) as caught:
            z.backward()
    assert "backward of sqrt" in str(caught.value)
    assert "test_hooks_and_anomalies.py" in str(caught.value)
    assert x.grad is None


def test_anomaly_lets_good_programs_pass() -> None:
    with tg.detect_anomaly():
        x = leaf(np.linspace(0.5, 2, 6).reshape(2, 3))
        y = tg.cat([x[:, :1], tg.log(x) @ x.T, x[[0, 1, 1]][:2]], 1)
        (y * y).sum().backward()
        tg.gradients((tg.tanh(x) * x).sum(), x, create_graph=True)
    assert x.grad is not None


def test_nan_that_came_in_is_not_blamed_on_the_operation() -> None:
    x = leaf([np.nan, 1.0])
    with tg.detect_anomaly():
        tg.exp(x).sum().backward()
    assert np.isnan(x.grad.numpy()[0])


def test_40_power_of_a_negative_number_is_an_anomaly() -> None:
    x = leaf([-2.0])
    with np.errstate(all="ignore"):
        assert np.isnan((x**0.5).item())
        with tg.detect_anomaly(), pytest.raises(AnomalyError, match=r"pow|sqrt"):
            x**0.5
