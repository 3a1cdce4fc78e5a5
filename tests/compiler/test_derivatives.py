"""Derivatives of derivatives: compiled by way of forward mode, and only if somebody asks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scan_cells import CELLS, B, I, difference

import tinygrad_rnn as tg
from tinygrad_rnn.compiler import derivatives, fallbacks
from tinygrad_rnn.errors import InPlaceError
from tinygrad_rnn.scan import ENGINES
from tinygrad_rnn.tree import flatten

NAMES = sorted(name for name in ENGINES if name != "loop")
T = 6
OPTIONS: list[dict[str, Any]] = [
    {}, {"reverse": True}, {"checkpoint_every": 2}, {"truncate": 4}, {"lengths": [6, 2, 4, 4]},
    {"truncate": 4, "reverse": True}, {"truncate": 2, "checkpoint_every": 3},
    {"lengths": [4, 4, 4, 4]}, {"lengths": [5, 5, 5, 5], "reverse": True},
    {"lengths": [6, 1, 4, 4], "checkpoint_every": 2},
]  # fmt: skip


class Model:
    """A named cell with its leaves and the outputs of a scan."""

    def __init__(self, name: str, engine: str, **options: Any) -> None:
        rng = np.random.default_rng(1)

        def parameter(*shape: int) -> Any:
            return tg.tensor(rng.normal(size=shape) * 0.5, requires_grad=True)

        step, init, parameters = CELLS[name](parameter)
        xs = parameter(T, B, I)
        tg.manual_seed(3)
        self.outputs = flatten(tg.scan(step, init, xs, engine=engine, **options))[0]
        self.leaves = [t for t in [*flatten(init)[0], xs, *parameters] if t.requires_grad]

    def of_order(self, order: int) -> list[Any]:
        """The gradients of each order, each of the squares of those before."""
        value = sum((y * y * y.sin()).sum() for y in self.outputs if y.dtype.kind == "f")
        found: list[Any] = []
        for left in reversed(range(order)):
            here = tg.gradients(value, self.leaves, create_graph=left > 0, allow_unused=True)
            found += here
            value = sum((g * g).sum() for g in here if g is not None) * 0.01
        return [None if g is None else g.detach().numpy() for g in found]


@pytest.mark.parametrize("engine", NAMES)
@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("name", ["gru_torch", "dropped", "attention_read"])
def test_to_the_third_order(name: str, options: dict[str, Any], engine: str) -> None:
    fallbacks.clear()
    found = Model(name, engine, **options).of_order(3)
    assert not fallbacks
    assert difference(found, Model(name, "loop", **options).of_order(3)) < 1e-10


@pytest.fixture
def asked(monkeypatch: Any) -> list[str]:
    """How graphs of gradients were made."""
    found: list[str] = []

    def noted(name: str) -> Any:
        call = getattr(derivatives, name)
        return lambda *args: (found.append(name), call(*args))[1]

    for name in ("_scanned", "replayed"):
        monkeypatch.setattr(derivatives, name, noted(name))
    return found


@pytest.mark.parametrize("engine", NAMES)
def test_nothing_is_made_before_somebody_asks(engine: str, asked: list[str]) -> None:
    model = Model("gru_torch", engine)
    loss = sum((y * y).sum() for y in model.outputs)
    first = tg.gradients(loss, model.leaves, create_graph=True)
    assert asked == []
    tg.gradients((first[-1] ** 2).sum(), model.leaves[-1])
    assert asked == ["_scanned"]


@pytest.mark.parametrize("engine", NAMES)
def test_unequal_rows_are_replayed_once(engine: str, asked: list[str]) -> None:
    model = Model("gru_torch", engine, lengths=[6, 2, 4, 4])
    first = tg.gradients(sum((y * y).sum() for y in model.outputs), model.leaves, create_graph=True)
    for g in first:
        tg.gradients((g * g).sum(), model.leaves, retain_graph=True, allow_unused=True)
    assert asked == (["replayed"] if engine != "llvm" else ["_scanned"] * len(first))


@pytest.mark.parametrize("engine", NAMES)
def test_the_numbers_are_those_without_a_graph(engine: str) -> None:
    for name in sorted(CELLS):
        found = []
        for create in (False, True):
            model = Model(name, engine)
            loss = sum((y * y).sum() for y in model.outputs if y.dtype.kind == "f")
            found.append(tg.gradients(loss, model.leaves, create_graph=create, allow_unused=True))
        for a, b in zip(*found, strict=True):
            assert (a is None) == (b is None)
            assert a is None or np.array_equal(a.detach().numpy(), b.detach().numpy())


@pytest.mark.parametrize("engine", NAMES)
@pytest.mark.parametrize("options", [{}, {"lengths": [6, 2, 4, 4]}], ids=str)
def test_what_was_changed_meanwhile_is_refused(options: Any, engine: str) -> None:
    model = Model("gru_torch", engine, **options)
    first = tg.gradients(sum((y * y).sum() for y in model.outputs), model.leaves, create_graph=True)
    with tg.no_grad():
        model.leaves[-1].add_(1.0)
    with pytest.raises(InPlaceError):
        tg.gradients((first[0] ** 2).sum(), model.leaves)


@pytest.mark.parametrize("engine", [*NAMES, "loop"])
def test_gradients_that_share_memory_can_be_differentiated_within_no_grad(engine: str) -> None:
    """x @ v and x @ w have one product, whose gradient has parts for both."""
    w, v, x = (tg.tensor(np.random.default_rng(i).normal(size=(3, 3))) for i in range(3))
    leaves = [t.requires_grad_() for t in (w, v, x)]

    def step(h: Any, x: Any) -> Any:
        return (x @ w).tanh() * (h + x @ v).sin(), h

    final, _ = tg.scan(step, tg.ones(3, 3, dtype=tg.float64), x.reshape(1, 3, 3), engine=engine)
    loss = (final * final).sum()
    with tg.no_grad():
        first = tg.gradients(loss, leaves, create_graph=True)
    assert all(g.requires_grad for g in first)
