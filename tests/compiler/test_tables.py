"""An embedding before a scan is moved into it, and nobody can tell but by the time it takes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scan_cells import difference

import tinygrad_rnn as tg
from tinygrad_rnn.compiler import fallbacks, llvm_jit, run
from tinygrad_rnn.errors import InPlaceError

EXACT = ["native", "llvm"] if llvm_jit.available() else []
ENGINES = ["numpy", *EXACT]
T, B, V, D, H = 8, 4, 9, 16, 5


@pytest.fixture
def moved(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """For each scan that was run whether its embedding was moved."""
    seen: list[bool] = []
    original = run._made_of_table

    def spied(*args: Any) -> Any:
        found = original(*args)
        seen.append(found is not None)
        return found

    monkeypatch.setattr(run, "_made_of_table", spied)
    return seen


class Model:
    """A table, a recurrence that multiplies its rows, and a loss with whatever is asked for."""

    def __init__(self, engine: str, rows: int = V, dtype: Any = tg.float64, **options: Any) -> None:
        rng = np.random.default_rng(0)
        shapes = ((rows, D), (D, H), (H, H), (B, H))
        parts = [tg.tensor(0.3 * rng.normal(size=s), dtype, requires_grad=True) for s in shapes]
        self.table, self.w, self.u, self.start = parts
        self.numbers = tg.tensor(rng.integers(0, V, (T, B)))
        self.engine, self.options, self.parts = engine, options, parts

    def step(self, h: Any, x: Any) -> Any:
        h = (x @ self.w + h @ self.u).tanh()
        return h, h

    def embedded(self) -> Any:
        return tg.functional.embedding(self.numbers, self.table)

    def scan(self, x: Any, step: Any = None) -> tuple[Any, Any]:
        return tg.scan(step or self.step, self.start, x, engine=self.engine, **self.options)

    def loss(self, x: Any) -> Any:
        final, ys = self.scan(x)
        return (ys * ys).sum() + final.sin().sum()


def arrays(tensors: Any) -> list[Any]:
    return [t if t is None else t.detach().numpy() for t in tensors]


def simple(m: Model) -> list[Any]:
    final, ys = m.scan(m.embedded())
    return [final, ys, *tg.gradients((ys * ys).sum() + final.sin().sum(), m.parts)]


def of_the_vectors(m: Model) -> list[Any]:
    x = m.embedded()
    return [*tg.gradients(m.loss(x), [x, *m.parts])]


def of_the_vectors_alone(m: Model) -> list[Any]:
    x = m.embedded()
    return [tg.gradients(m.loss(x), x)]


def hooked(m: Model) -> list[Any]:
    x = m.embedded()
    seen: list[Any] = []
    x.register_hook(lambda g: seen.append(g) or g * 2.0)
    return [*tg.gradients(m.loss(x), m.parts), *seen]


def kept(m: Model) -> list[Any]:
    x = m.embedded()
    x.retain_grad()
    m.loss(x).backward()
    return [x.grad, *(p.grad for p in m.parts)]


def used_elsewhere(m: Model) -> list[Any]:
    x = m.embedded()
    loss = m.loss(x) + (x * x).sum()
    return list(tg.gradients(loss, m.parts))


def tied(m: Model) -> list[Any]:
    """The table is read by the step as well, and behind it."""

    def step(h: Any, x: Any) -> Any:
        h = (x @ m.w + h @ m.u + m.table[0, :H]).tanh()
        return h, h @ m.table[:, :H].T

    ys = m.scan(m.embedded(), step)[1]
    found = tg.gradients((ys * ys).sum() + (m.table * m.table).sum(), m.parts)
    x = m.embedded()
    ys = m.scan(x, step)[1]
    return [*found, *tg.gradients((ys * ys).sum(), [x, *m.parts])]


def twice(m: Model) -> list[Any]:
    loss = m.loss(m.embedded())
    first = tg.gradients(loss, m.parts, retain_graph=True)
    return [*first, *tg.gradients(loss, m.parts)]


def second_order(m: Model) -> list[Any]:
    x = m.embedded()
    first = tg.gradients(m.loss(x), [x, *m.parts], create_graph=True)
    return [*first, *tg.gradients(sum((g * g).sum() for g in first), m.parts)]


def within_a_checkpoint(m: Model) -> list[Any]:
    x = m.embedded()  # is outside of it
    outside = tg.gradients(tg.checkpoint(m.loss, x), m.parts)
    inside = tg.gradients(tg.checkpoint(lambda: m.loss(m.embedded())), m.parts)
    return [*outside, *inside]


def drawing(m: Model) -> list[Any]:
    tg.manual_seed(3)

    def step(h: Any, x: Any) -> Any:
        h = (x @ m.w + h @ m.u * (tg.rand(B, H) < 0.7)).tanh()
        return h, h

    x = m.embedded()
    ys = m.scan(x, step)[1]
    found = tg.gradients((ys * ys).sum(), m.parts[:3], retain_graph=True)
    return [ys, *found, *tg.gradients((ys * ys).sum(), x), tg.rand(2)]


USES = [
    simple, of_the_vectors, of_the_vectors_alone, hooked, kept, used_elsewhere, tied, twice,
    second_order, within_a_checkpoint, drawing,
]  # fmt: skip
OPTIONS: list[Any] = [{}, {"reverse": True}, {"truncate": 3}, {"checkpoint_every": 3}]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("use", USES)
def test_equal_to_the_loop(use: Any, options: Any, engine: str, moved: list[bool]) -> None:
    before = len(fallbacks)
    found = arrays(use(Model(engine, **options)))
    assert fallbacks[before:] == []
    assert moved
    assert all(moved[:1] if use is second_order else moved)  # what comes then is forward mode
    assert difference(found, arrays(use(Model("loop", **options)))) < 1e-12


@pytest.mark.parametrize("engine", EXACT)
@pytest.mark.parametrize("use", [simple, tied, used_elsewhere])
def test_checkpoints_change_no_bit(use: Any, engine: str) -> None:
    whole = arrays(use(Model(engine, dtype=tg.float32)))
    for every in (1, 3, 5):
        found = arrays(use(Model(engine, dtype=tg.float32, checkpoint_every=every)))
        assert all(np.array_equal(a, b) for a, b in zip(found, whole, strict=True))


@pytest.mark.parametrize("engine", ENGINES)
def test_a_table_may_change_after_it_was_read(engine: str, moved: list[bool]) -> None:
    results = []
    for name in (engine, "loop"):
        m = Model(name)
        loss = m.loss(m.embedded())
        m.table.detach().mul_(3.0)
        results.append(arrays(tg.gradients(loss, m.parts)))
    assert moved == [True]
    assert difference(*results) < 1e-12


@pytest.mark.parametrize("engine", ENGINES)
def test_vectors_that_change_are_told(engine: str) -> None:
    m = Model(engine)
    x = m.embedded()
    loss = m.loss(x)
    m.u.detach().mul_(2.0)
    with pytest.raises(InPlaceError):
        tg.gradients(loss, x)


@pytest.mark.parametrize("engine", ENGINES)
def test_what_the_step_reads_may_change_before_backward(engine: str, moved: list[bool]) -> None:
    """A number and a matrix that the step finds outside of itself are those of the scan."""
    results = []
    for name in (engine, "loop"):
        m = Model(name)
        known = {"scale": 2.0, "w": m.w}

        def step(h: Any, x: Any, m: Any = m, known: Any = known) -> Any:
            h = (known["scale"] * (x @ known["w"]) + h @ m.u).tanh()
            return h, h

        x = m.embedded()
        ys = m.scan(x, step)[1]
        known |= {"scale": 7.0, "w": tg.ones_like(m.w)}
        results.append(arrays(tg.gradients((ys * ys).sum(), [x, *m.parts[:3]])))
    assert moved == [True]
    assert difference(*results) < 1e-12


@pytest.mark.parametrize("engine", ENGINES)
def test_what_is_not_moved(engine: str, moved: list[bool]) -> None:
    large = Model(engine, rows=200)
    large.loss(large.embedded()).backward()
    with tg.no_grad():
        large.loss(large.embedded())
    frozen = Model(engine)
    frozen.table.requires_grad_(False)
    frozen.loss(frozen.embedded()).backward()
    scaled = Model(engine)
    scaled.loss(scaled.embedded() * 2.0).backward()
    added = Model(engine)  # there is no product with the vectors
    ys = added.scan(added.embedded(), lambda h, x: ((h @ added.u + x[:, :H]).tanh(),) * 2)[1]
    ys.sum().backward()
    assert moved == [False] * 5


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("form", ["tuple", "dict"])
def test_vectors_in_a_container_stay_in_it(engine: str, form: str, moved: list[bool]) -> None:
    """Without it x[0] would be the first row of a batch; here another lookup pays as well."""
    name: Any = {"tuple": 0, "dict": "x"}[form]

    def made(m: Model) -> list[Any]:
        def step(carry: Any, x: Any) -> Any:
            h, place = carry
            h = (x[name] @ m.w + m.table[place] @ m.w + h @ m.u).tanh()
            return (h, (place + 1) % V), h

        x = m.embedded()
        init = m.start, tg.tensor(np.arange(B))
        ys = tg.scan(step, init, (x,) if form == "tuple" else {"x": x}, engine=m.engine)[1]
        return [ys, *tg.gradients((ys * ys).sum(), m.parts)]

    before = len(fallbacks)
    found = arrays(made(Model(engine)))
    assert fallbacks[before:] == []
    assert moved == [True]
    assert difference(found, arrays(made(Model("loop")))) < 1e-12


def test_in_layers() -> None:
    results = []
    for engine in ("auto", "loop"):
        tg.manual_seed(0)
        embedding, lstm = tg.nn.Embedding(V, D), tg.nn.LSTM(D, H, num_layers=2, bidirectional=True)
        numbers = np.random.default_rng(0).integers(0, V, (T, 8))
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("TINYGRAD_RNN_ENGINE", engine)
            ys = lstm(embedding(tg.tensor(numbers)))[0]
            (ys * ys).sum().backward()
        parameters = [*embedding.parameters(), *lstm.parameters()]
        results.append([ys.detach().numpy(), *(p.grad.numpy() for p in parameters)])
    assert difference(*results) < 1e-5
