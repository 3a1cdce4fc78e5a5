"""The equations that `explain` prints are computed with, and give the gradients of the loop."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from read_equations import Put, evaluated
from scan_cells import CELLS, B, H, I

import tinygrad_rnn as tg
from tinygrad_rnn.compiler.labels import watched
from tinygrad_rnn.compiler.textbook import Book, written
from tinygrad_rnn.tree import flatten

T = 4


def checked(step: Any, init: Any, xs: Any, parameters: dict[str, tg.Tensor]) -> Book:
    """Compute forward and backward by the printed lines; compare with the loop."""
    traced = watched(step, init, xs)
    book = written(traced)
    lines, labels = book.equations(), traced.labels
    given = {
        book.known[v].text(): t.detach().numpy()
        for v, t in zip(book.whole.constant, traced.tensors, strict=True)
    }
    for name in [n for n in given if n.endswith("ᵀ")]:
        given[name.removesuffix("ᵀ")] = given[name].T
    carry = [t.detach().numpy() for t in flatten(init)[0]]
    inputs = [t.detach().numpy() for t in flatten(xs)[0]]
    worlds: list[dict[str, Any]] = []
    for t in range(T):
        world = dict(given)
        world |= {f"{n}_t−1": v for n, v in zip(labels.carries, carry, strict=True)}
        world |= {f"{n}_t": v[t] for n, v in zip(labels.inputs, inputs, strict=True)}
        for line in lines.forward:
            name, value = evaluated(line, world)
            world[name] = value
        shapes = [c.shape for c in carry]
        carry = [
            np.broadcast_to(world[f"{n}_t"], s) for n, s in zip(labels.carries, shapes, strict=True)
        ]
        worlds.append(world)

    leaves = [t.detach().requires_grad_() for t in flatten(init)[0]]
    series = [t.detach().requires_grad_() for t in flatten(xs)[0]]
    rebuilt = _like(init, leaves), _like(xs, series)
    final, outputs = tg.scan(step, *rebuilt, engine="loop")
    found = flatten(outputs)[0]
    names = [name.text() for name in book.outputs]
    rng = np.random.default_rng(0)
    weights = [rng.normal(size=o.shape) for o in found]
    for name, output in zip(names, found, strict=True):
        for t in range(T):
            value = np.reshape(worlds[t][name], output.shape[1:])
            np.testing.assert_allclose(value, output.detach().numpy()[t], rtol=1e-11, atol=1e-12)
    for value, expected in zip(carry, flatten(final)[0], strict=True):
        np.testing.assert_allclose(value, expected.detach().numpy(), rtol=1e-11, atol=1e-12)

    loss = sum((o * tg.tensor(w)).sum() for o, w in zip(found, weights, strict=True))
    wanted = [*leaves, *series, *parameters.values()]
    expected = [
        np.zeros(leaf.shape) if g is None else g.numpy()
        for leaf, g in zip(wanted, tg.gradients(loss, wanted, allow_unused=True), strict=True)
    ]
    coming = [np.zeros(leaf.shape) for leaf in leaves]
    deltas = [np.zeros(x.shape) for x in series]
    sums: dict[str, Any] = {}
    for t in reversed(range(T)):
        world = worlds[t]
        world |= {f"δ⁺{n}_t": g for n, g in zip(labels.carries, coming, strict=True)}
        for name, weight in zip(names, weights, strict=True):
            world[f"∂L/∂{name}"] = weight[t].reshape(np.shape(world[name]))
        for line in lines.backward:
            name, value = evaluated(line, world)
            if isinstance(value, Put):
                of = name.removeprefix("∂L/∂").removeprefix("δ⁺").removeprefix("δ")
                value = value.array(np.shape(world[of]))
            if name.startswith("∂L/∂"):
                assert " = Σ_t " in line
                sums[name] = sums.get(name, 0) + value
            else:
                world[name] = value
        coming = [
            _sized(world[f"δ⁺{n}_t−1"], leaf)
            for n, leaf in zip(labels.carries, leaves, strict=True)
        ]
        for delta, name in zip(deltas, labels.inputs, strict=True):
            delta[t] += world.get(f"δ{name}_t", 0)
    totals = [_total(sums, name, p.shape) for name, p in parameters.items()]
    for mine, other in zip([*coming, *deltas, *totals], expected, strict=True):
        if np.ndim(mine):
            mine = np.reshape(np.broadcast_to(mine, _full(mine, other)), other.shape)
        np.testing.assert_allclose(mine, other + 0 * mine, rtol=1e-9, atol=1e-10)
    left = [line.partition(" = ")[0] for line in (*lines.forward, *lines.backward)]
    assert len(set(left)) == len(left), left
    assert not set(left) & given.keys()
    inputs = {f"{n}_t" for n in labels.inputs} | {f"{n}_t−1" for n in labels.carries}
    assert not set(left) & inputs and len(inputs) == len(labels.inputs) + len(labels.carries)
    return book


def _total(sums: dict[str, Any], name: str, shape: tuple[int, ...]) -> Any:
    """The gradient of a parameter."""
    return np.reshape(np.asarray(sums.get(f"∂L/∂{name}", np.zeros(shape))), shape)


def _full(mine: Any, other: Any) -> tuple[int, ...]:
    return mine.shape if np.size(mine) == np.size(other) else other.shape


def _sized(value: Any, leaf: tg.Tensor) -> Any:
    return np.broadcast_to(value, leaf.shape)


def _like(tree: Any, leaves: list[Any]) -> Any:
    from tinygrad_rnn.tree import unflatten

    return unflatten(flatten(tree)[1], leaves)


def parameter(*shape: int) -> tg.Tensor:
    return tg.tensor(rng_.normal(size=shape) * 0.5, requires_grad=True)


rng_ = np.random.default_rng(1)


@pytest.mark.parametrize("name", sorted(CELLS.keys() - {"dropped"}))
def test_named_cells(name: str) -> None:
    step, init, parameters = CELLS[name](parameter)
    traced = watched(step, init, parameter(T, B, I))
    book = written(traced)
    tensors = zip(book.whole.constant, traced.tensors, strict=True)
    names = {id(t): book.known[v].text() for v, t in tensors}
    known = {names[id(p)]: p for p in parameters if id(p) in names}
    checked(step, init, parameter(T, B, I), known)


LAYERS: dict[str, Any] = {
    "lstm": lambda: tg.nn.LSTMCell(I, H),
    "projected lstm": lambda: tg.nn.LSTMCell(I, H, proj_size=2),
    "gru": lambda: tg.nn.GRUCell(I, H),
    "first gru": lambda: tg.nn.GRUCell(I, H, reset_after=False),
    "rnn": lambda: tg.nn.RNNCell(I, H),
    "oscillator": lambda: tg.nn.CoupledOscillatorCell(I, H),
    "echo state": lambda: tg.nn.EchoStateCell(I, H, leak=0.5),
    "indrnn": lambda: tg.nn.IndRNNCell(I, H, activation="tanh"),
    "jordan": lambda: tg.nn.JordanCell(I, H, outputs=2),
    "peephole": lambda: tg.nn.LSTMVariantCell(I, H, peephole=True),
    "layer norm": lambda: tg.nn.LSTMVariantCell(I, H, layer_norm=True),
    "mgu": lambda: tg.nn.MGUCell(I, H),
    "mlstm": lambda: tg.nn.MultiplicativeLSTMCell(I, H),
    "rhn": lambda: tg.nn.RHNCell(I, H),
    "skip": lambda: tg.nn.SkipRNNCell(I, H),
}


@pytest.mark.parametrize("name", LAYERS)
def test_layers(name: str) -> None:
    tg.manual_seed(0)
    cell = LAYERS[name]().to(tg.float64)
    init = cell.initial_state(B)
    init = _like(init, [tg.randn(*t.shape, dtype="float64") for t in flatten(init)[0]])
    checked(cell.forward, init, parameter(T, B, I), dict(cell.named_parameters()))


# -------------------------------------------------------------------- what readers stumbled over
W, U = parameter(I, H), parameter(H, H)


def negative(h: Any, x: Any) -> Any:
    h = (x @ W + h @ U).tanh()
    y = h - 0.3 * h.square() - (-2.0) * (-h)
    return h, y


def sums(h: Any, x: Any) -> Any:
    a = h + x @ W
    h = (0.2 * (a * a).sum(-1, keepdim=True) * a / (1 + a.abs().sum(-1, keepdim=True))).tanh()
    return h, h


def overlapping(h: Any, x: Any) -> Any:
    g = x @ W
    a = (h[:, : H - 1] * h[:, 1:]).tanh()
    return tg.cat([a, g[:, 1:2]], 1), g[:, ::2]


def gaps(h: Any, x: Any) -> Any:
    g = (h @ U + x @ W).tanh()
    return tg.cat([g[:, :1], g[:, 3:], x[:, : H - 3]], 1), g[:, -1:]


def rows(h: Any, x: Any) -> Any:
    both = tg.cat([x, h], 1) @ tg.cat([W, U], 0)
    h = both.tanh()
    return h, tg.cat([h, x @ W], 0)


def delayed(s: Any, x: Any) -> Any:
    a, b = s
    return (x @ W, a), b


def passed_on(h: Any, x: Any) -> Any:
    return x @ W, h


def unnamed_output(h: Any, x: Any) -> Any:
    h = (x @ W + h @ U).tanh()
    return h, (h @ U).exp()


def hoisted(h: Any, x: Any) -> Any:
    e = (x @ W).exp() * 0.1 + 1e-8
    p = x @ W
    h = e * h.tanh() + p[:, :1] * p[:, 1:2]
    return h, h


def taken_names(h: Any, x: Any) -> Any:
    a1 = U
    e1 = (h @ a1).tanh()
    h = (e1 @ a1 + h).sigmoid() * (x @ W).tanh() + (h @ a1).relu()
    return h, h


def taken_later(h: Any, x: Any) -> Any:
    e1 = (h @ U + x @ W).tanh()
    e3 = (e1.sum(-1, keepdim=True) * e1).tanh()
    h = (e3 * e3).sum(-1, keepdim=True) * e3 / (1.0 + (e1 * e1).sum(-1, keepdim=True) * e1)
    return h, h


def primed(h_prev: Any, x_t: Any) -> Any:
    h_t = (x_t @ W + h_prev @ U).tanh()
    return h_t, h_t


def rebound(h: Any, x_t: Any) -> Any:
    x_t = (x_t @ W) * 2.0
    h = (x_t * h + h @ U).tanh()
    return h, h


def taken_output(h: Any, x: Any) -> Any:
    y_t = (h @ U).tanh()
    h = y_t + x @ W
    return h, (y_t * y_t).exp()


def new_axes(h: Any, x: Any) -> Any:
    pairs = (h[:, :, None] * h[:, None, :]).sum(2)
    h = (pairs @ U + x @ W).tanh()
    return h, h[:, 0, None]


def twice_transposed(h: Any, x: Any) -> Any:
    h = (x @ W + h @ U + (h @ U.T) @ U).tanh()
    return h, h


def relations(h: Any, x: Any) -> Any:
    low = h < 0.1
    h = (tg.where(low, x @ W, h @ U) + tg.where(low, h, 0.5 * h)).tanh()
    return h, h


def in_a_dict(s: Any, x: Any) -> Any:
    p = {"w": W, "u": U}
    c = s["c"] * 0.5 + (x @ p["w"] + s["h"] @ p["u"]).tanh()
    return {"c": c, "h": c.tanh()}, {"first": c, "second": s["h"]}


CASES: dict[str, tuple[Any, Any]] = {
    **{
        f.__name__: (f, lambda: parameter(B, H))
        for f in (
            negative, sums, overlapping, gaps, rows, passed_on, unnamed_output, hoisted,
            taken_names, taken_later, primed, rebound, taken_output, new_axes, twice_transposed,
            relations,
        )
    },
    "like_the_input": (
        lambda s, x: ({"x": (s["x"] @ U + x @ W).tanh()}, s["x"]), lambda: {"x": parameter(B, H)}
    ),
    "delayed": (delayed, lambda: (parameter(B, H), parameter(B, H))),
    "in_a_dict": (in_a_dict, lambda: {"c": parameter(B, H), "h": parameter(B, H)}),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_what_readers_stumbled_over(name: str) -> None:
    step, init = CASES[name]
    known = {"W": W, "U": U}
    if name == "taken_names":
        known = {"W": W, "a1": U}
    checked(step, init(), parameter(T, B, I), known)


class Twice(tg.nn.Module):
    """Two normalisations, whose parameters have the same names."""

    def __init__(self) -> None:
        self.first, self.second = tg.nn.LayerNorm(H), tg.nn.LayerNorm(H)
        self.u = tg.nn.Parameter(tg.randn(H, H))

    def forward(self, h: Any, x: Any) -> Any:
        """One step."""
        h = (self.first(x.sum(1, keepdim=True) + h) + self.second(h @ self.u)).tanh()
        return h, h


def test_parts_of_a_module_have_names_of_their_own() -> None:
    tg.manual_seed(0)
    cell = Twice().to(tg.float64)
    known = dict(cell.named_parameters())
    book = checked(cell.forward, parameter(B, H), parameter(T, B, I), known)
    names = {name.base for name in book.known.values()}
    assert {"first.weight", "second.weight", "first.x", "second.x"} <= names


class Stack(tg.nn.Module):
    """Two cells of one class, one after the other, and a layer whose weight is read from here."""

    def __init__(self) -> None:
        self.a, self.b = tg.nn.RNNCell(I, H), tg.nn.RNNCell(H, H)
        self.out = tg.nn.Linear(H, H, bias=False)

    def forward(self, state: Any, x: Any) -> Any:
        """One step."""
        p, q = state
        p, y = self.a(p, x)
        q, y = self.b(q, y)
        return (p, q), y @ self.out.weight.T


def test_two_cells_of_one_class() -> None:
    tg.manual_seed(0)
    cell = Stack().to(tg.float64)
    init = (parameter(B, H), parameter(B, H))
    book = checked(cell.forward, init, parameter(T, B, I), dict(cell.named_parameters()))
    names = {name.base.removesuffix("ᵀ") for name in book.known.values()}
    assert {"a.weight_ih", "b.weight_ih", "out.weight"} <= names, names


def test_a_variable_that_is_made_again_is_numbered() -> None:
    def again(h: Any) -> Any:
        new = (h @ U).tanh()
        return new

    class Cell:
        def half(self, v: Any) -> Any:
            new = again(v) * 0.5
            return new

        def __call__(self, h: Any, x: Any) -> Any:
            h = self.half(self.half(h)) + x @ W
            return h, h

    book = checked(Cell(), parameter(B, H), parameter(T, B, I), {"W": W, "U": U})
    names = {name.base for name in book.known.values()}
    assert {f"new⁽{i}⁾" for i in range(1, 4)} <= names, names


def test_random_numbers_are_named_and_said_to_be_random() -> None:
    step, init, _ = CELLS["dropped"](parameter)
    lines = written(watched(step, init, parameter(T, B, I))).equations()
    assert any(note.startswith("r1_t: random numbers") for note in lines.legend)
    assert any("[r1_t ≥ 0.3]" in line for line in lines.forward)
