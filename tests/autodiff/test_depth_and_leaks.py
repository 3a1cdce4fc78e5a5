"""Deep graphs without recursion, and graphs that are gone when nobody holds them."""

from __future__ import annotations

import gc
import sys
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn.graph import Node


@contextmanager
def collector_off() -> Iterator[None]:
    """Only reference counts may free anything."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def nodes_of(t: tg.Tensor) -> list[Any]:
    """Weak references to every node of a graph."""
    seen: dict[int, Node] = {}
    stack = [t.node]
    while stack:
        node = stack.pop()
        if node is not None and node.index not in seen:
            seen[node.index] = node
            stack.extend(node.parents)
    return [weakref.ref(node) for node in seen.values()]


def alive(references: list[Any]) -> int:
    return len({id(r()) for r in references if r() is not None})


# ---------------------------------------------------------------------------------------- depth
def chain(length: int) -> tuple[tg.Tensor, tg.Tensor]:
    x = tg.tensor(1.0, dtype=tg.float64, requires_grad=True)
    y = x
    for _ in range(length):
        y = y + x
    return x, y


def test_a_million_operations_forward_backward_and_freed() -> None:
    x, y = chain(1_000_000)
    assert "add" in repr(y)
    y.backward()
    assert float(x.grad) == 1_000_001.0
    del y


def test_a_long_chain_is_freed_without_backward() -> None:
    x, y = chain(300_000)
    reference = weakref.ref(y.node)
    del y
    assert reference() is None
    assert x.is_leaf


@pytest.fixture
def shallow_stack() -> Iterator[None]:
    limit = sys.getrecursionlimit()
    depth, frame = 0, sys._getframe()
    while frame is not None:
        depth, frame = depth + 1, frame.f_back
    sys.setrecursionlimit(depth + 120)
    yield
    sys.setrecursionlimit(limit)


@pytest.mark.usefixtures("shallow_stack")
def test_hundred_thousand_operations_with_hardly_any_stack() -> None:
    x, y = chain(100_000)
    (first,) = tg.gradients(y, [x], create_graph=True, retain_graph=True)
    assert float(first) == 100_001.0
    y.backward()
    del y, first
    x = tg.tensor(1.0, dtype=tg.float64, requires_grad=True)
    y = x
    for _ in range(20_000):
        y = tg.tanh(y) * x
    reference = weakref.ref(y.node)
    del y
    assert reference() is None


@pytest.mark.usefixtures("shallow_stack")
def test_deep_forward_mode_and_checkpoints() -> None:
    def deep(x: Any) -> Any:
        for _ in range(5_000):
            x = x + 1.0
        return x * x

    _, pushed = tg.jvp(deep, (tg.ones(()),), (tg.ones(()),))
    assert float(pushed) == 2 * 5001.0
    x = tg.ones((), requires_grad=True)
    tg.checkpoint(deep, x).backward()
    assert float(x.grad) == 2 * 5001.0


# ---------------------------------------------------------------------------------------- leaks
def lstm_like(x: tg.Tensor, w: tg.Tensor) -> tg.Tensor:
    h = c = tg.zeros(2, 4, dtype=tg.float64)
    for _ in range(3):
        gates = tg.cat([x, h], 1) @ w
        i, f, g, o = gates.chunk(4, 1)
        c = tg.sigmoid(f) * c + tg.sigmoid(i) * tg.tanh(g)
        h = tg.sigmoid(o) * tg.tanh(c)
    return (h * h).sum()


def inputs() -> tuple[tg.Tensor, tg.Tensor]:
    rng = np.random.default_rng(0)
    x = tg.tensor(rng.standard_normal((2, 3)))
    return x, tg.tensor(rng.standard_normal((7, 16)), requires_grad=True)


def test_graph_dies_with_its_last_tensor() -> None:
    with collector_off():
        x, w = inputs()
        loss = lstm_like(x, w)
        nodes = nodes_of(loss)
        assert alive(nodes) == len(nodes) > 20
        del loss
        assert alive(nodes) == 1  # the leaf


@pytest.mark.parametrize("create_graph", [False, True])
def test_graph_dies_after_backward(create_graph: bool) -> None:
    with collector_off():
        x, w = inputs()
        loss = lstm_like(x, w)
        nodes = nodes_of(loss)
        loss.backward(create_graph=create_graph)
        if create_graph:
            nodes += nodes_of(w.grad)
            w.grad = None
        del loss
        assert alive(nodes) == 1


def test_saved_values_die_with_backward() -> None:
    with collector_off():
        x, w = inputs()
        product = x @ w[:3]
        y = tg.tanh(product)
        saved = weakref.ref(y.array)
        loss = (y * y).sum()
        loss.backward()
        del y, product
        assert saved() is None
        assert float(loss.detach()) > 0


def test_values_that_no_rule_names_are_not_kept() -> None:
    with collector_off():
        x = tg.ones(1000, requires_grad=True)
        between = x + 1
        array = weakref.ref(between.array)
        y = (between + 2).sum()
        del between
        assert array() is None
        y.backward()


def test_second_order_dies() -> None:
    with collector_off():
        x, w = inputs()
        (first,) = tg.gradients(lstm_like(x, w), [w], create_graph=True)
        loss = (first * first).sum()
        nodes = nodes_of(loss)
        loss.backward()
        del loss, first
        assert alive(nodes) == 1


def test_transforms_and_scan_die() -> None:
    with collector_off():
        _, w = inputs()
        tg.scan(lambda c, v: (c * v, c), w[0], w.detach())  # the first call compiles, for good
        before = len(gc.get_objects())
        for _ in range(3):
            tg.grad(lambda w: (w * w).sum())(w)
            tg.hvp(lambda w: (w**3).sum(), (w,), (w.detach(),))
            tg.jvp(tg.tanh, (w.detach(),), (w.detach(),))
            tg.checkpoint(lambda w: (w * w).sum(), w).backward()
            final, ys = tg.scan(lambda c, v: (c * v, c), w[0], w.detach())
            nodes = nodes_of(final) + nodes_of(ys)
            del final, ys
            w.grad = None
        leaf = w.node
        assert {r() for r in nodes} == {None, leaf}
        assert len(gc.get_objects()) - before < 100


def test_hooks_that_hold_their_tensor_die() -> None:
    with collector_off():
        x = tg.ones(3, requires_grad=True)
        y = x * 2
        seen: list[Any] = []
        y.register_hook(lambda g: seen.append(g.shape))
        reference = weakref.ref(y.node)
        y.sum().backward()
        del y
        assert reference() is None and seen == [(3,)]


def test_hook_that_captures_its_own_tensor_is_found_by_the_collector() -> None:
    x = tg.ones(3, requires_grad=True)
    y = x * 2
    y.register_hook(lambda g, y=y: None)
    reference = weakref.ref(y.node)
    y.sum().backward()
    del y
    gc.collect()
    assert reference() is None


def test_exceptions_do_not_hold_the_graph() -> None:
    with collector_off():
        x, w = inputs()
        loss = lstm_like(x, w)
        nodes = nodes_of(loss)
        with pytest.raises(tg.errors.TinygradRNNError):
            loss.backward(tg.ones(3))
        del loss
        assert alive(nodes) == 1


def test_a_thousand_training_steps_grow_nothing() -> None:
    with collector_off():
        x, w = inputs()
        counts = []
        for step in range(300):
            lstm_like(x, w).backward()
            with tg.no_grad():
                w.sub_(w.grad * 0.01)
            w.grad = None
            if step % 100 == 99:
                counts.append(len(gc.get_objects()))
        assert counts[1] == counts[2]
