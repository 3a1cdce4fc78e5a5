"""Forward mode is compiled: tangents are those of the loop, under all transforms."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from generated_cells import B, N, build, programs, shapes_of_outputs
from hypothesis import given, settings
from hypothesis import strategies as st
from scan_cells import CELLS, I, difference
from scan_cells import B as CELL_B

import tinygrad_rnn as tg
from tinygrad_rnn.compiler import fallbacks, structures
from tinygrad_rnn.errors import CarryError
from tinygrad_rnn.scan import ENGINES
from tinygrad_rnn.tree import flatten, unflatten

NAMES = sorted(name for name in ENGINES if name != "loop")
T = 6


def numbers(*shape: int, seed: int = 0) -> Any:
    return tg.tensor(np.random.default_rng(seed).normal(size=shape) * 0.5)


def arrays(tree: Any) -> list[Any]:
    return [t.detach().numpy() + 0 for t in flatten(tree)[0]]  # truth values become numbers


def assert_as_the_loop(
    made: Callable[[str], Any], compiled: bool = True, tolerance: float = 1e-12
) -> None:
    """What is made by an engine, compiled or not, is what the loop makes."""
    expected = arrays(made("loop"))
    for engine in NAMES:
        fallbacks.clear()
        found = arrays(made(engine))
        assert bool(fallbacks) != compiled, fallbacks
        assert difference(found, expected) < tolerance


def tanh_step(w: Any, u: Any) -> Any:
    def step(h: Any, x: Any) -> Any:
        h = (x @ w + h @ u).tanh()
        return h, {"h": h * 2, "positive": h > 0, "two": (h.sum(1), (h > 0).sum(1))}

    return step


W, U, H0, XS = numbers(N, N), numbers(N, N, seed=1), numbers(B, N, seed=2), numbers(T, B, N, seed=3)
TANGENTS = tuple(numbers(*t.shape, seed=9 + i) for i, t in enumerate((W, U, H0, XS)))
OPTIONS: list[dict[str, Any]] = [
    {}, {"reverse": True}, {"lengths": [6, 2, 4]}, {"lengths": [3, 3, 3], "reverse": True},
    {"checkpoint_every": 2}, {"checkpoint_every": 2, "lengths": [6, 1, 4]},
]  # fmt: skip


def scanned(engine: str, **options: Any) -> Callable[..., Any]:
    def run(w: Any, u: Any, h: Any, xs: Any) -> Any:
        return tg.scan(tanh_step(w, u), h, xs, engine=engine, **options)

    return run


def loss_of(engine: str, **options: Any) -> Callable[..., Any]:
    def loss(*args: Any) -> Any:
        final, ys = scanned(engine, **options)(*args)
        return (final * final).sum() + (ys["h"] ** 3).sum() + ys["two"][0].sum()

    return loss


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("places", [(0, 1, 2, 3), (0,), (1,), (2,), (3,)])
def test_jvp(places: tuple[int, ...], options: dict[str, Any]) -> None:
    def made(engine: str) -> Any:
        def of_some(*some: Any) -> Any:
            args = [W, U, H0, XS]
            for place, value in zip(places, some, strict=True):
                args[place] = value
            return scanned(engine, **options)(*args)

        args = (W, U, H0, XS)
        return tg.jvp(of_some, [args[p] for p in places], [TANGENTS[p] for p in places])

    assert_as_the_loop(made)

    def without_recording(engine: str) -> Any:
        with tg.no_grad():
            return made(engine)

    assert_as_the_loop(without_recording)


@pytest.mark.parametrize("options", OPTIONS)
def test_transforms_in_each_other(options: dict[str, Any]) -> None:
    args = (W, U, H0, XS)
    assert_as_the_loop(lambda e: tg.hvp(loss_of(e, **options), args, TANGENTS))
    assert_as_the_loop(
        lambda e: tg.grad(
            lambda w: tg.jvp(loss_of(e, **options), (w, *args[1:]), TANGENTS)[1].sum()
        )(W)
    )
    assert_as_the_loop(
        lambda e: tg.jvp(lambda *a: tg.jvp(loss_of(e, **options), a, TANGENTS)[1], args, TANGENTS)
    )
    assert_as_the_loop(  # the inner transform of what is captured, the outer one of the carry
        lambda e: tg.jvp(
            lambda h: tg.jvp(lambda u: loss_of(e, **options)(W, u, h, XS), (U,), (U,))[1],
            (H0,), (H0,),
        )
    )  # fmt: skip
    assert_as_the_loop(  # and the other way round
        lambda e: tg.jvp(
            lambda u: tg.jvp(lambda h: loss_of(e, **options)(W, u, h, XS), (H0,), (H0,))[1],
            (U,), (U,),
        )
    )  # fmt: skip
    assert_as_the_loop(
        lambda e: tg.jvp(
            lambda u: tg.hvp(lambda h: loss_of(e, **options)(W, u, h, XS), (H0,), (H0,))[0],
            (U,), (U,),
        )
    )  # fmt: skip


def test_a_hessian_product_can_be_differentiated_by_what_it_reads() -> None:
    def made(engine: str) -> Any:
        w = W.detach().requires_grad_()
        (product,) = tg.hvp(lambda u: loss_of(engine)(w, u, H0, XS), (U,), (U,))
        assert product.requires_grad
        return tg.gradients((product**2).sum(), [w])

    assert_as_the_loop(made, tolerance=1e-11)
    assert not tg.hvp(lambda u: loss_of("auto")(W, u, H0, XS), (U,), (U,))[0].requires_grad


@pytest.mark.parametrize("name", sorted(CELLS))
def test_named_cells(name: str) -> None:
    def made(engine: str) -> Any:
        rng = np.random.default_rng(1)

        def parameter(*shape: int) -> Any:
            return tg.tensor(rng.normal(size=shape) * 0.5, requires_grad=True)

        step, init, _ = CELLS[name](parameter)
        leaves, structure = flatten(init)
        xs = numbers(5, CELL_B, I, seed=4)
        tg.manual_seed(3)

        def run(xs: Any, *init: Any) -> Any:
            return tg.scan(step, unflatten(structure, init), xs, engine=engine)

        tangents = [numbers(*t.shape, seed=5) for t in (xs, *leaves)]
        return tg.jvp(run, (xs, *leaves), tangents)

    assert_as_the_loop(made)


@pytest.mark.parametrize("engine", NAMES)
@settings(max_examples=max(1, settings.default.max_examples // 2))
@given(programs, st.integers(1, 3), shapes_of_outputs, st.sampled_from(["jvp", "hvp", "second"]))
def test_generated_cells(engine: str, program: Any, carries: int, form: str, kind: str) -> None:
    def made(engine: str) -> Any:
        args = (W, U, XS[:4], *[numbers(B, N, seed=20 + i) for i in range(carries)])
        tangents = [numbers(*t.shape, seed=30 + i) for i, t in enumerate(args)]

        def run(w: Any, u: Any, xs: Any, *init: Any) -> Any:
            return tg.scan(build(program, carries, form, [w, u]), init, xs, engine=engine)

        def loss(*args: Any) -> Any:
            return sum((leaf * leaf).sum() for leaf in flatten(run(*args))[0])

        if kind == "jvp":
            return tg.jvp(run, args, tangents)
        if kind == "hvp":
            return tg.hvp(loss, args, tangents)
        leaves = [t.detach().requires_grad_() for t in args]
        first = tg.gradients(loss(*leaves), leaves, create_graph=True, allow_unused=True)
        squares = sum((g * g).sum() for g in first if g is not None)
        if not getattr(squares, "requires_grad", False):
            return [g for g in first if g is not None]
        second = tg.gradients(squares, leaves, allow_unused=True)
        return [tg.zeros_like(t) if g is None else g for t, g in zip(leaves, second, strict=True)]

    fallbacks.clear()
    found = arrays(made(engine))
    assert not fallbacks
    assert difference(found, arrays(made("loop"))) < 1e-11


def test_a_component_without_a_tangent_gets_none() -> None:
    """√t has an infinite derivative at t = 0, which a tangent of zeros would make NaN."""

    def made(engine: str) -> Any:
        def step(carry: Any, x: Any) -> Any:
            h, t = carry
            h = (h * 0.5 + x * t.sqrt()).tanh()
            return (h, t + 1.0), h

        init = tg.zeros(B, N, dtype=tg.float64), tg.zeros(1, dtype=tg.float64)
        return tg.jvp(lambda xs: tg.scan(step, init, xs, engine=engine), (XS,), (TANGENTS[3],))

    assert_as_the_loop(made)


def test_tangents_reach_one_component_after_the_other() -> None:
    def made(engine: str) -> Any:
        def step(carry: Any, x: Any) -> Any:
            a, b, c = carry
            return (a * 0.5 + x, b * 0.5 + a, c * 0.5 + b), c

        init = tuple(tg.zeros(B, N, dtype=tg.float64) for _ in range(3))
        return tg.jvp(lambda xs: tg.scan(step, init, xs, engine=engine), (XS,), (TANGENTS[3],))

    assert_as_the_loop(made)


def test_random_numbers_are_those_of_the_loop() -> None:
    def made(engine: str) -> Any:
        tg.manual_seed(5)

        def step(h: Any, x: Any) -> Any:
            keep = tg.rand(B, N, dtype=tg.float64) < 0.5
            return tg.where(keep, h, (h @ U + x).tanh()), h

        return tg.jvp(lambda xs: tg.scan(step, H0, xs, engine=engine), (XS,), (TANGENTS[3],))

    assert_as_the_loop(made)


def test_a_layer() -> None:
    layer = tg.nn.LSTM(N, N, num_layers=2, bidirectional=True, dtype=tg.float64)

    def made(engine: str) -> Any:
        return tg.jvp(lambda xs: layer(xs, engine=engine)[0], (XS,), (TANGENTS[3],))

    assert_as_the_loop(made)


def test_a_table_without_a_tangent() -> None:
    """Its lookup is moved into the step, whose input is then a pair of values and tangents."""
    numbers_read = tg.tensor(np.random.default_rng(0).integers(0, 5, (T, 8)))
    w, u = numbers(16, N), numbers(N, N, seed=1)

    def made(engine: str) -> Any:
        table = numbers(5, 16, seed=2).requires_grad_()

        def loss(w: Any) -> Any:
            x = tg.functional.embedding(numbers_read, table)
            init = tg.zeros(8, N, dtype=tg.float64)
            ys = tg.scan(lambda h, x: ((x @ w + h @ u).tanh(), h), init, x, engine=engine)[1]
            return (ys * ys).sum()

        (product,) = tg.hvp(loss, (w,), (w,))
        return product, tg.gradients((product**2).sum(), table)

    assert_as_the_loop(made)


def test_truncation_cuts_tangents_by_the_loop() -> None:
    def made(engine: str) -> Any:
        return tg.jvp(scanned(engine, truncate=2), (W, U, H0, XS), TANGENTS)

    assert_as_the_loop(made, compiled=False)
    assert set(fallbacks) == {"truncation in forward mode"}
    assert_as_the_loop(lambda e: tg.jvp(scanned(e, truncate=T), (W, U, H0, XS), TANGENTS))


def test_steps_that_the_loop_has_to_run_are_run_by_it() -> None:
    calls = [0]

    def counting(h: Any, x: Any) -> Any:
        calls[0] += 1
        return h * float(calls[0]) + x, h

    def made(engine: str) -> Any:
        calls[0] = 0
        return tg.jvp(lambda xs: tg.scan(counting, H0, xs, engine=engine), (XS,), (XS,))

    assert_as_the_loop(made, compiled=False)


@pytest.mark.parametrize("engine", NAMES)
def test_what_is_no_step_is_said_as_by_the_loop(engine: str) -> None:
    for wrong in (lambda h, x: h + x, lambda h, x: ((h, h), x), lambda h, x: (h.sum(), x)):
        with pytest.raises(CarryError):
            tg.jvp(lambda xs: tg.scan(wrong, H0, xs, engine=engine), (XS,), (XS,))  # noqa: B023


def test_forward_mode_leaves_what_is_known_of_a_step() -> None:
    """A step that captures dual numbers is not held for one that cannot be enumerated."""
    w = [W]

    def step(h: Any, x: Any) -> Any:
        return (h @ w[0] + x).tanh(), h

    def run(value: Any) -> Any:
        w[0] = value
        return tg.scan(step, H0, XS)[0]

    run(W)
    for _ in range(20):
        tg.jvp(run, (W,), (U,))
    assert step.__code__ not in structures._unknown
    assert step.__code__ in structures._known


@pytest.mark.parametrize("engine", NAMES)
@pytest.mark.parametrize("around", ["mask", "table"])
def test_forward_mode_leaves_what_is_known_of_other_steps(
    around: str, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The compiler puts the same function around all that have masks, or read a table."""
    for name in ("_known", "_unknown"):
        monkeypatch.setattr(structures, name, {})
    monkeypatch.setattr(structures, "VARIANTS", 2)
    table, w = numbers(5, 16, seed=2).requires_grad_(), numbers(16, N)
    read = tg.tensor(np.random.default_rng(0).integers(0, 5, (T, 8)))

    def run(u: Any) -> Any:
        h, xs = tg.zeros(8, N, dtype=tg.float64), (tg.functional.embedding(read, table),)
        if around == "mask":  # an input without rows needs one
            xs = (*xs, tg.ones(T, dtype=tg.float64))

        def step(h: Any, x: Any) -> Any:
            h = (x[0] @ w + h @ u).tanh()
            return h, h

        lengths = [6, 2, 4, 4, 4, 4, 4, 4] if around == "mask" else None
        return tg.scan(step, h, xs, lengths=lengths, engine=engine)

    run(U)
    for _ in range(4):
        tg.jvp(run, (U,), (U,))
    traced: list[Any] = []
    original = structures.trace_step
    monkeypatch.setattr(structures, "trace_step", lambda *a: traced.append(a) or original(*a))
    run(U)
    assert not traced


@pytest.mark.parametrize("engine", NAMES)
def test_nothing_waits_for_the_cycle_collector(engine: str) -> None:
    """Not even what was found out by an exception, whose frames hold all there is."""

    def run() -> None:
        h = H0.detach().requires_grad_()
        loss = loss_of(engine)(W, U, h, XS)
        (g,) = tg.gradients(loss, [h], create_graph=True)
        tg.gradients((g * g).sum(), h)
        tg.jvp(lambda u: tg.hvp(lambda w: loss_of(engine)(w, u, H0, XS), (W,), (W,)), (U,), (U,))

    def objects() -> int:
        return sum(str(type(o).__module__).startswith("tinygrad_rnn") for o in gc.get_objects())

    run()
    gc.collect()
    gc.disable()
    try:
        before = objects()
        run()
        assert objects() == before
    finally:
        gc.enable()


def test_a_loop_in_a_loop() -> None:
    def made(engine: str) -> Any:
        def inner(h: Any, x: Any) -> Any:
            return (h * 0.5 + x).sin(), h

        def step(h: Any, x: Any) -> Any:
            last, _ = tg.scan(inner, h, tg.stack([x, h, x * h, x]), engine=engine)
            return last.tanh(), last

        return tg.jvp(lambda xs: tg.scan(step, H0, xs, engine=engine), (XS,), (TANGENTS[3],))

    assert_as_the_loop(made)
