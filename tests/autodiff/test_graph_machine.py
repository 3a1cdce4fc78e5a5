"""A stateful machine: whatever is done to a graph, in any order, the oracle did the same."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from oracle import Cell, FreedError, Scalar, StaleError, backward

import tinygrad_rnn as tg
from tinygrad_rnn.errors import AutodiffError, GraphFreedError, InPlaceError, ShapeError

NUMBERS = st.integers(-6, 6).map(lambda n: n / 4)
PLACES = st.integers(0, 10**6)


class Pair:
    """A tensor, the oracle's number, and for a leaf the gradient that the oracle has collected."""

    def __init__(self, ours: tg.Tensor, naive: Scalar) -> None:
        self.ours, self.naive = ours, naive
        self.grad: float | None = None


class GraphMachine(RuleBasedStateMachine):
    """Tensors of one number each, and what can be done to them."""

    def __init__(self) -> None:
        super().__init__()
        self.pairs: list[Pair] = []
        self.off = 0  # how many no_grad() we are inside of
        self.modes: list[Any] = []

    def one(self, place: int) -> Pair:
        return self.pairs[place % len(self.pairs)]

    def add(self, ours: tg.Tensor, naive: Scalar) -> None:
        if self.off:  # nothing was recorded
            naive = naive if naive.leaf else Scalar(naive.cell)
        self.pairs.append(Pair(ours, naive))

    @initialize(x=NUMBERS)
    def first(self, x: float) -> None:
        self.create(x, True)

    @rule(x=NUMBERS, requires_grad=st.booleans())
    def create(self, x: float, requires_grad: bool) -> None:
        made = tg.tensor(x, dtype=tg.float64, requires_grad=requires_grad)
        self.pairs.append(Pair(made, Scalar(Cell(x), leaf=requires_grad)))

    @rule(i=PLACES, j=PLACES, name=st.sampled_from(["add", "sub", "mul"]))
    def combine(self, i: int, j: int, name: str) -> None:
        x, y = self.one(i), self.one(j)
        if abs(x.naive.value) > 1e3 or abs(y.naive.value) > 1e3:
            return
        naive = getattr(Scalar, f"__{name}__")(x.naive, y.naive)
        self.add(getattr(tg, name)(x.ours, y.ours), naive)

    @rule(i=PLACES, name=st.sampled_from(["neg", "tanh"]))
    def map(self, i: int, name: str) -> None:
        x = self.one(i)
        naive = -x.naive if name == "neg" else x.naive.tanh()
        self.add(getattr(tg, name)(x.ours), naive)

    @rule(i=PLACES)
    def detach(self, i: int) -> None:
        x = self.one(i)
        self.pairs.append(Pair(x.ours.detach(), Scalar(x.naive.cell)))

    @rule(i=PLACES, by=NUMBERS, how=st.sampled_from(["add_", "mul_", "fill_"]))
    def change_in_place(self, i: int, by: float, how: str) -> None:
        x = self.one(i)
        if x.naive.parents or (x.naive.leaf and not self.off):
            before = float(x.ours.detach())
            with pytest.raises(InPlaceError, match=how.rstrip("_")):
                getattr(x.ours, how)(by)
            assert float(x.ours.detach()) == before
            return
        getattr(x.ours, how)(by)
        cell = x.naive.cell
        cell.value = {"add_": cell.value + by, "mul_": cell.value * by, "fill_": by}[how]
        cell.version += 1

    @rule()
    def enter_no_grad(self) -> None:
        if self.off < 3:
            self.modes.append(tg.no_grad())
            self.modes[-1].__enter__()
            self.off += 1

    @precondition(lambda self: self.off)
    @rule()
    def leave_no_grad(self) -> None:
        self.modes.pop().__exit__(None, None, None)
        self.off -= 1

    @rule(inside=st.booleans())
    def fail(self, inside: bool) -> None:
        """An exception passes through: modes are as before, and nothing was recorded."""
        before = tg.is_grad_enabled()
        with pytest.raises(ShapeError), tg.no_grad() if inside else tg.enable_grad():
            tg.ones(2) + tg.ones(3)
        assert tg.is_grad_enabled() == before

    @rule(i=PLACES, cotangent=NUMBERS, retain=st.booleans())
    def run_backward(self, i: int, cotangent: float, retain: bool) -> None:
        x = self.one(i)
        given = tg.tensor(cotangent, dtype=tg.float64)
        if not (x.naive.leaf or x.naive.parents):
            with pytest.raises(AutodiffError, match="constant"):
                x.ours.backward(given, retain_graph=retain)
            return
        try:
            found = backward([(x.naive, cotangent)], retain)
        except FreedError:
            with pytest.raises(GraphFreedError, match="retain_graph"):
                x.ours.backward(given, retain_graph=retain)
        except StaleError:
            with pytest.raises(InPlaceError, match="clone"):
                x.ours.backward(given, retain_graph=retain)
        else:
            x.ours.backward(given, retain_graph=retain)
            for pair in self.pairs:
                if pair.naive in found:
                    pair.grad = (pair.grad or 0.0) + found[pair.naive]

    @rule(i=PLACES)
    def zero_grad(self, i: int) -> None:
        x = self.one(i)
        x.ours.grad = None
        x.grad = None

    @precondition(lambda self: len(self.pairs) > 1)
    @rule(i=PLACES)
    def delete(self, i: int) -> None:
        del self.pairs[i % len(self.pairs)]

    @invariant()
    def everything_agrees(self) -> None:
        assert tg.is_grad_enabled() == (self.off == 0)
        for pair in self.pairs:
            value = float(pair.ours.detach())
            assert value == pytest.approx(pair.naive.value, rel=1e-13, abs=1e-300)
            assert pair.ours.requires_grad == bool(pair.naive.leaf or pair.naive.parents)
            got = None if pair.ours.grad is None else float(pair.ours.grad)
            if pair.grad is None:
                assert got is None
            else:
                assert got == pytest.approx(pair.grad, rel=1e-12, abs=1e-12)

    def teardown(self) -> None:
        while self.modes:
            self.modes.pop().__exit__(None, None, None)


TestGraphMachine = GraphMachine.TestCase
TestGraphMachine.settings = settings(
    max_examples=2 * settings.default.max_examples, stateful_step_count=60
)
