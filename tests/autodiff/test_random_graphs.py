"""Random expression graphs against the naive oracle."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import Cell, Scalar, backward

import tinygrad_rnn as tg

SHAPES = [(), (3,), (1,), (2, 3), (2, 1), (1, 3), (2, 1, 3), (0, 3)]


def _cells(values: np.ndarray, leaf: bool) -> np.ndarray:
    made = np.empty(values.shape, dtype=object)
    for at in np.ndindex(values.shape):
        made[at] = Scalar(Cell(float(values[at])), leaf=leaf)
    return made


def _each(name: str) -> Callable[[np.ndarray], np.ndarray]:
    def apply(x: np.ndarray) -> np.ndarray:
        made = np.empty(x.shape, dtype=object)
        for at in np.ndindex(x.shape):
            made[at] = getattr(x[at], name)()
        return made

    return apply


def _sum(x: np.ndarray, axis: int | None) -> np.ndarray:
    moved = x.reshape(-1) if axis is None else np.moveaxis(x, axis, -1)
    made = np.empty(moved.shape[:-1], dtype=object)
    for at in np.ndindex(made.shape):
        total = Scalar(Cell(0.0))
        for number in moved[at]:
            total = total + number
        made[at] = total
    return made


def _wrapped(x: Any) -> np.ndarray:
    """NumPy takes an object out of a 0-d array at every occasion; put it back."""
    if isinstance(x, np.ndarray):
        return x
    made = np.empty((), dtype=object)
    made[()] = x
    return made


UNARY: dict[str, tuple[Any, Any]] = {
    "neg": (lambda x: -x, lambda x: -x),
    "tanh": (tg.tanh, _each("tanh")),
    "exp of tanh": (lambda x: tg.exp(tg.tanh(x)), lambda x: _each("exp")(_each("tanh")(x))),
    "square": (lambda x: x**2, lambda x: x * x),
    "sum": (lambda x: x.sum(), lambda x: _sum(x, None)),
    "sum last": (lambda x: x.sum(-1), lambda x: _sum(x, -1)),
    "flatten": (lambda x: x.reshape(x.numel()), lambda x: x.reshape(-1)),
    "reverse axes": (lambda x: x.T, lambda x: x.T),
    "first": (lambda x: x[0], lambda x: x[0]),
    "rows but the first": (lambda x: x[1:], lambda x: x[1:]),
    "backwards": (lambda x: x[..., ::-1], lambda x: x[..., ::-1]),
    "repeated": (lambda x: x[[0, 0, -1]], lambda x: x[[0, 0, -1]]),
    "new axis": (lambda x: x[None], lambda x: x[None]),
    "half": (lambda x: x * 0.5, lambda x: x * Scalar(Cell(0.5))),
    "joined": (lambda x: tg.cat([x, x]), lambda x: np.concatenate([x, x])),
    "stacked": (lambda x: tg.stack([x, x], -1), lambda x: np.stack([x, x], -1)),
    "expanded": (lambda x: x.expand(2, *x.shape), lambda x: np.broadcast_to(x, (2, *x.shape))),
    "detached": (lambda x: x.detach(), lambda x: _cells(_values(x), False)),
}
BINARY: dict[str, tuple[Any, Any]] = {
    "add": (tg.add, lambda x, y: x + y),
    "sub": (tg.sub, lambda x, y: x - y),
    "mul": (tg.mul, lambda x, y: x * y),
    "mul again": (lambda x, y: x * y * x, lambda x, y: _wrapped(x * y) * x),
}
NEED = {"sum last": (1, 0), "first": (1, 1), "rows but the first": (1, 1), "backwards": (1, 0),
        "repeated": (1, 1), "joined": (1, 0)}  # fmt: skip


def _values(x: np.ndarray) -> np.ndarray:
    return np.array([number.value for number in x.ravel()], dtype=np.float64).reshape(x.shape)


def _fits(name: str, shape: tuple[int, ...]) -> bool:
    ndim, rows = NEED.get(name, (0, 0))
    return len(shape) >= ndim and (not rows or shape[0] >= rows) and len(shape) < 4


def _broadcast(a: tuple[int, ...], b: tuple[int, ...]) -> bool:
    try:
        np.broadcast_shapes(a, b)
    except ValueError:
        return False
    return True


@st.composite
def programs(draw: Any) -> tuple[list[np.ndarray], list[tuple[str, int, int]]]:
    """Leaves, and operations on what came before: their names and the places of operands."""
    shapes = draw(st.lists(st.sampled_from(SHAPES), min_size=1, max_size=3))
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    leaves = [rng.integers(-24, 25, s) / 16 for s in shapes]
    values = list(leaves)
    steps = []
    for _ in range(draw(st.integers(1, 12))):
        i = draw(st.integers(0, len(values) - 1))
        partners = [j for j, v in enumerate(values) if _broadcast(values[i].shape, v.shape)]
        unary = [n for n in UNARY if _fits(n, values[i].shape)]
        name = draw(st.sampled_from([*BINARY, *unary]))
        j = draw(st.sampled_from(partners)) if name in BINARY else i
        step = (name, i, j)
        out = _run_one(step, [tg.tensor(v) for v in values], 0).numpy()
        if out.size > 60 or np.abs(out).max(initial=0) > 1e6:
            continue
        steps.append(step)
        values.append(out)
    return leaves, steps


def _run_one(step: tuple[str, int, int], values: list[Any], which: int) -> Any:
    name, i, j = step
    if name in BINARY:
        return BINARY[name][which](values[i], values[j])
    return UNARY[name][which](values[i])


@settings(max_examples=6 * settings.default.max_examples)
@given(programs())
def test_value_and_gradients_are_the_oracles(program: Any) -> None:
    arrays, steps = program
    ours: list[Any] = [tg.tensor(a, requires_grad=True) for a in arrays]
    theirs: list[Any] = [_cells(a, leaf=True) for a in arrays]
    for step in steps:
        ours.append(_run_one(step, ours, 0))
        theirs.append(_wrapped(_run_one(step, theirs, 1)))
    for mine, naive in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(mine.detach().numpy(), _values(naive), rtol=1e-13, atol=1e-13)
    cotangent = np.cos(np.arange(ours[-1].numel())).reshape(ours[-1].shape) * 3
    found = backward(list(zip(theirs[-1].ravel(), cotangent.ravel(), strict=True)))
    if ours[-1].requires_grad:
        ours[-1].backward(tg.tensor(cotangent))
    for mine, naive in zip(ours[: len(arrays)], theirs, strict=False):
        expected = np.array([found.get(n, 0.0) for n in naive.ravel()]).reshape(naive.shape)
        got = np.zeros(mine.shape) if mine.grad is None else mine.grad.numpy()
        scale = max(1.0, float(np.abs(expected).max(initial=0.0)))
        np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-12 * scale)


@pytest.mark.parametrize("name", [*UNARY, *BINARY])
def test_every_operation_of_the_programs_is_tried(name: str) -> None:
    """The two columns of the tables mean the same."""
    x = np.array([[1.0, -2.0, 0.5], [0.25, 3.0, -1.0]])
    ours, theirs = [tg.tensor(x)], [_cells(x, leaf=True)]
    got = _run_one((name, 0, 0), ours, 0).numpy()
    np.testing.assert_allclose(got, _values(_wrapped(_run_one((name, 0, 0), theirs, 1))), 1e-14)
