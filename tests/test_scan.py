"""scan's loop engine against loops written by hand, for generated cells."""

from __future__ import annotations

from collections import namedtuple
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad_rnn as tg
from tinygrad_rnn.errors import ArgumentError, CarryError, DTypeError, ShapeError
from tinygrad_rnn.testing import check_grads
from tinygrad_rnn.tree import flatten, tree_map

B, I, H = 3, 2, 4  # noqa: E741
RNG = np.random.default_rng(8)
WEIGHTS = {
    "w": RNG.standard_normal((H, H)) / 2, "v": RNG.standard_normal((I, H)),
    "b": RNG.standard_normal(H), "gates": RNG.standard_normal((I + H, 3 * H)) / 2,
}  # fmt: skip


# ----------------------------------------------------------------------------- generated cells
def _elman(p: Any, c: Any, x: Any) -> Any:
    h = tg.tanh(x @ p["v"] + c @ p["w"] + p["b"])
    return h, h


def _additive(p: Any, c: Any, x: Any) -> Any:
    return c + x @ p["v"], (c * p["b"]).sum(-1)


def _gated(p: Any, c: Any, x: Any) -> Any:
    z, r, n = (tg.cat([x, c], 1) @ p["gates"]).chunk(3, 1)
    h = tg.sigmoid(z) * c + (1 - tg.sigmoid(z)) * tg.tanh(n * tg.sigmoid(r))
    return h, {"h": h, "z": z}


def _without_input(p: Any, c: Any, x: Any) -> Any:
    return c * 0.5 + p["b"], c


def _without_carry(p: Any, c: Any, x: Any) -> Any:
    return c, tg.tanh(x @ p["v"])


def _normalised(p: Any, c: Any, x: Any) -> Any:
    a = x @ p["v"] + c
    h = (a - a.mean(-1, keepdim=True)) / tg.sqrt(a.var(-1, 0, keepdim=True) + 0.1)
    return h * p["b"], (h, a.amax(-1))


CELLS = [_elman, _additive, _gated, _without_input, _without_carry, _normalised]


def _paired(first: Any, second: Any) -> Any:
    """Two cells side by side: a carry and outputs that are trees."""

    def cell(p: Any, c: Any, x: Any) -> Any:
        a, ya = first(p, c["a"], x)
        b, yb = second(p, c["b"][0], x)
        return {"a": a, "b": (b, c["b"][1] + 1)}, {"ya": ya, "both": [yb, a * b]}

    return cell


def _rows(a: Any, t: int, lengths: Any, otherwise: Any) -> Any:
    mask = tg.tensor(np.array([float(t < n) for n in lengths])).reshape(-1, *[1] * (a.ndim - 1))
    return mask * a + (1 - mask) * otherwise


def by_hand(
    step: Any, c: Any, xs: Any, lengths: Any = None, reverse: bool = False, truncate: Any = None
) -> Any:
    """The definition, written as plainly as possible."""
    count = len(xs)
    ys: list[Any] = [None] * count
    for i in range(count):
        t = count - 1 - i if reverse else i
        if truncate and i and i % truncate == 0:
            c = tree_map(lambda a: a.detach(), c)
        new, y = step(c, xs[t])
        if lengths is not None:
            new = tree_map(lambda n, o: _rows(n, t, lengths, o), new, c)  # noqa: B023 (used at once)
            y = tree_map(lambda a: _rows(a, t, lengths, a * 0), y)  # noqa: B023 (used at once)
        c, ys[t] = new, y
    stacked = tree_map(lambda *parts: tg.stack(list(parts)), ys[0], *ys[1:]) if count else None
    return c, stacked


def _run(scan: Any, cell: Any, paired: bool, length: int, seed: int, **options: Any) -> list[Any]:
    """Every output, and every gradient of their weighted sum."""
    rng = np.random.default_rng(seed)
    p = {k: tg.tensor(v, requires_grad=True) for k, v in WEIGHTS.items()}
    xs = tg.tensor(rng.standard_normal((length, B, I)), requires_grad=True)
    h0 = tg.tensor(rng.standard_normal((B, H)), requires_grad=True)
    init = {"a": h0, "b": (h0 * 2, tg.zeros(B, 1, dtype=tg.float64))} if paired else h0
    final, ys = scan(lambda c, x: cell(p, c, x), init, xs, **options)
    outputs = flatten([final, ys])[0]
    loss = sum((tg.tensor(rng.standard_normal(y.shape)) * y).sum() for y in outputs)
    found = [y.detach().numpy() for y in outputs]
    if isinstance(loss, tg.Tensor) and loss.requires_grad:
        loss.backward()
    for leaf in (*p.values(), xs, h0):
        found.append(np.zeros(leaf.shape) if leaf.grad is None else leaf.grad.numpy())
    return found


@st.composite
def calls(draw: Any) -> dict[str, Any]:
    length = draw(st.sampled_from([1, 2, 3, 7]))
    cell = draw(st.sampled_from(CELLS))
    paired = draw(st.booleans())
    if paired:
        cell = _paired(cell, draw(st.sampled_from(CELLS)))
    options: dict[str, Any] = {"reverse": draw(st.booleans())}
    if draw(st.booleans()):
        options["lengths"] = draw(st.lists(st.integers(1, length), min_size=B, max_size=B))
    if draw(st.booleans()):
        options["truncate"] = draw(st.integers(1, length + 1))
    every = draw(st.none() | st.integers(1, length + 1))
    return {"cell": cell, "paired": paired, "length": length, "seed": draw(st.integers(0, 9)),
            "options": options, "every": every}  # fmt: skip


@settings(max_examples=2 * settings.default.max_examples)
@given(calls())
def test_scan_is_the_loop_written_by_hand(call: Any) -> None:
    args = call["cell"], call["paired"], call["length"], call["seed"]
    ours = _run(tg.scan, *args, engine="loop", checkpoint_every=call["every"], **call["options"])
    theirs = _run(by_hand, *args, **call["options"])
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


# ------------------------------------------------------------------------------------- meaning
def test_example_of_the_docstring_and_step_numbers() -> None:
    final, ys = tg.scan(lambda c, t: (c * 2 + t, c), tg.tensor(1.0), 4, engine="loop")
    assert float(final) == 27.0 and ys.tolist() == [1.0, 2.0, 5.0, 12.0]


def test_no_steps() -> None:
    h0 = tg.ones(B, H, requires_grad=True)
    xs = tg.zeros(0, B, I)
    final, ys = tg.scan(lambda c, x: (c, {"y": c[:, :1], "x": x}), h0, xs, engine="loop")
    assert final is h0 or final.tolist() == h0.tolist()
    assert ys["y"].shape == (0, B, 1) and ys["x"].shape == (0, B, I)
    final.sum().backward()
    assert h0.grad.tolist() == [[1.0] * H] * B
    assert tg.scan(lambda c, t: (c, c), tg.zeros(2), 0, engine="loop")[1].shape == (0, 2)


def test_no_outputs() -> None:
    final, ys = tg.scan(lambda c, x: (c + x, None), tg.zeros(2), tg.ones(3, 2), engine="loop")
    assert ys is None and final.tolist() == [3.0, 3.0]


def test_no_carry() -> None:
    final, ys = tg.scan(lambda c, x: ((), x * 2), (), tg.ones(3, 2), engine="loop")
    assert final == () and ys.tolist() == [[2.0, 2.0]] * 3


def test_numbers_and_arrays_are_taken_for_tensors() -> None:
    ones = np.ones(3, np.float32)
    final, ys = tg.scan(lambda c, x: (c + x, 1.0), np.float32(0), ones, engine="loop")
    assert float(final) == 3.0 and ys.tolist() == [1.0, 1.0, 1.0]


def test_named_tuples_come_back_as_such() -> None:
    State = namedtuple("State", "h c")
    init = State(tg.zeros(2), tg.ones(2))
    final, ys = tg.scan(lambda s, x: (State(s.c, s.h + x), s), init, tg.ones(3, 2), engine="loop")
    assert type(final) is State and type(ys) is State and ys.h.shape == (3, 2)


def test_inputs_that_are_trees() -> None:
    xs = {"a": tg.ones(3, 2), "b": (tg.arange(3).float(),)}
    final, _ = tg.scan(lambda c, x: (c + x["a"] * x["b"][0], None), tg.zeros(2), xs, engine="loop")
    assert final.tolist() == [3.0, 3.0]


def test_lengths_with_reverse_start_at_each_rows_own_end() -> None:
    xs = tg.tensor([[1.0, 10.0], [2.0, 20.0], [3.0, 30.0]]).unsqueeze(-1)
    final, ys = tg.scan(
        lambda c, x: (c * 2 + x, c), tg.zeros(2, 1), xs, lengths=[3, 1], reverse=True, engine="loop"
    )
    assert final.tolist() == [[17.0], [10.0]]  # (3·2 + 2)·2 + 1, and 10 alone
    assert ys[:, 1, 0].tolist() == [0.0, 0.0, 0.0] and ys[:, 0, 0].tolist() == [8.0, 3.0, 0.0]


def test_padding_does_not_matter() -> None:
    """Neither to values nor to gradients, be it infinite or no number."""
    w = tg.tensor(WEIGHTS["w"], requires_grad=True)

    def run(fill: float) -> list[Any]:
        w.grad = None
        array = np.ones((4, 2, H))
        array[2:, 1] = fill
        xs = tg.tensor(array, requires_grad=True)
        final, ys = tg.scan(
            lambda c, x: (tg.tanh(c @ w + x), c), tg.zeros(2, H, dtype=tg.float64), xs,
            lengths=[4, 2], engine="loop",
        )  # fmt: skip
        (final.sum() + ys.sum()).backward()
        return [final.tolist(), ys.tolist(), w.grad.tolist(), xs.grad.tolist()]

    assert run(0.0) == run(7.0) == run(np.inf) == run(np.nan)
    assert not np.any(run(7.0)[3][2][1]) and not np.any(run(7.0)[3][3][1])


def test_truncation_cuts_the_gradient_and_not_the_value() -> None:
    x = tg.ones(5, dtype=tg.float64, requires_grad=True)
    final, _ = tg.scan(
        lambda c, v: (c * 2 + v, None), tg.zeros((), dtype=tg.float64), x, truncate=2, engine="loop"
    )
    final.backward()
    assert float(final) == 31.0 and x.grad.tolist() == [0.0, 0.0, 0.0, 0.0, 1.0]


def test_derivatives_of_every_order_and_mode() -> None:
    def f(xs: Any, h0: Any, w: Any) -> Any:
        return tg.scan(lambda c, x: (tg.tanh(c @ w + x), c * c), h0, xs, engine="loop")

    rng = np.random.default_rng(0)
    args = rng.standard_normal((3, 2, 2)), rng.standard_normal((2, 2)), rng.standard_normal((2, 2))
    check_grads(f, args, directions=3)

    def kept(xs: Any, h0: Any, w: Any) -> Any:
        step = lambda c, x: (tg.tanh(c @ w + x), c * c)  # noqa: E731
        return tg.scan(step, h0, xs, checkpoint_every=2, engine="loop")

    check_grads(kept, args, directions=3)


def test_random_numbers_inside_checkpointed_steps() -> None:
    def run(every: int | None) -> list[Any]:
        tg.manual_seed(4)
        x = tg.ones(6, 3, dtype=tg.float64, requires_grad=True)
        final, _ = tg.scan(
            lambda c, v: (c + v * tg.rand(3, dtype=tg.float64) * v, None),
            tg.zeros(3, dtype=tg.float64), x, checkpoint_every=every, engine="loop",
        )  # fmt: skip
        final.sum().backward()
        return [final.tolist(), x.grad.tolist()]

    assert run(None) == run(1) == run(4)


# ----------------------------------------------------------------------------------- bad input
def _scan(step: Any = None, init: Any = None, xs: Any = None, **options: Any) -> Any:
    step = step or (lambda c, x: (c + x, c))
    init = tg.zeros(3, 4) if init is None else init
    xs = tg.ones(5, 3, 4) if xs is None else xs
    return lambda: tg.scan(step, init, xs, engine=options.pop("engine", "loop"), **options)


State, Other = (namedtuple("State", "h c") for _ in range(2))
TREE = {"h": tg.zeros(3, 4), "c": (tg.zeros(3, 4),)}
BAD = {
    "73 shape": (
        _scan(lambda c, x: (c[:1], c)), CarryError, r"carry was float32\[3, 4\].*\[1, 4\]"
    ),
    "73 dtype": (_scan(lambda c, x: (c.double(), c)), CarryError, "carry.*float32.*float64"),
    "73 by path": (
        _scan(lambda c, x: ({"h": c["h"], "c": (c["c"][0].sum(),)}, x), TREE), CarryError,
        r"carry\['c'\]\[0\] was float32\[3, 4\] and became float32\[\]",
    ),
    "73 both paths": (
        _scan(lambda c, x: (tree_map(lambda a: a.sum(), c), x), TREE), CarryError,
        r"carry\['c'\]\[0\] was .*; carry\['h'\] was",
    ),
    "73 tree": (
        _scan(lambda c, x: (c["h"], x), TREE), CarryError,
        r"init, a dict {'c': \(tensor,\), 'h': tensor}, expected, got a tensor after step 0",
    ),
    "73 key": (
        _scan(lambda c, x: ({"g": c["h"], "c": c["c"]}, x), TREE), CarryError,
        r"got a dict {'c': \(tensor,\), 'g': tensor} after",
    ),
    "73 list": (
        _scan(lambda c, x: ((c[0],), x), [tg.zeros(3, 4)]), CarryError,
        r"init, a list \[tensor\], expected, got a tuple \(tensor,\) after",
    ),
    "73 list inside": (
        _scan(lambda c, x: ({"h": c["h"], "c": [*c["c"]]}, x), TREE), CarryError,
        r"got a dict {'c': \[tensor\], 'h'",
    ),
    "73 named": (
        _scan(lambda c, x: (tuple(c), x), State(tg.zeros(3, 4), None)), CarryError,
        r"init, a State\(h=tensor, c=None\), expected, got a tuple \(tensor, None\) after",
    ),
    "73 another of that name": (
        _scan(lambda c, x: (Other(*c), x), State(tg.zeros(3, 4), None)), CarryError,
        r"got a State\(h=tensor, c=None\) of another class after",
    ),
    "73 later": (
        _scan(lambda c, x: (c if float(x.sum()) < 30 else c[:1], c), None,
              tg.stack([tg.ones(3, 4), tg.ones(3, 4) * 9])), CarryError, "after step 1",
    ),
    "74 not a pair": (_scan(lambda c, x: c), CarryError, r"\(carry, output\) expected, got Tensor"),
    "74 none": (_scan(lambda c, x: None), CarryError, "NoneType"),
    "74 triple": (_scan(lambda c, x: (c, c, c)), CarryError, "carry, output"),
    "74 text": (_scan(lambda c, x: (c, "y")), DTypeError, "'y'"),
    "outputs change structure": (
        _scan(lambda c, x: (c + x, c if float(c.sum()) else (c,))), CarryError, "outputs"
    ),
    "outputs change shape": (
        _scan(lambda c, x: (c + x, c if float(c.sum()) else c[:1])), ShapeError, "outputs"
    ),
    "75 unequal": (
        _scan(lambda c, x: (c, c), None, (tg.ones(5, 3), tg.ones(4, 3))), ShapeError,
        r"xs\[1\].*xs\[0\], 5 expected, got \(4, 3\)",
    ),
    "75 no time axis": (_scan(None, None, tg.ones(())), ShapeError, "xs with a time axis"),
    "empty tree": (_scan(None, None, {}), ShapeError, "number of steps"),
    "76 steps": (_scan(None, None, -1), ArgumentError, "-1"),
    "76 bool": (_scan(None, None, True), DTypeError, "True"),
    "71 zero": (_scan(lengths=[1, 0, 5]), ArgumentError, r"lengths in 1 … 5 expected, got 0"),
    "71 long": (_scan(lengths=[1, 6, 5]), ArgumentError, "got 6"),
    "71 float": (_scan(lengths=[1.0, 2.0, 5.0]), DTypeError, "float32"),
    "71 matrix": (_scan(lengths=[[1, 2, 3]]), ShapeError, r"\(1, 3\)"),
    "71 batch": (
        _scan(lengths=[1, 2]), ShapeError,
        r"a length for each row of carry, axis 0 of \(3, 4\), expected, got 2 lengths",
    ),
    "71 batch of xs": (
        _scan(init=tg.zeros(2, 4), lengths=[1, 2]), ShapeError, r"xs, axis 1 of \(5, 3, 4\)"
    ),
    "truncate 0": (_scan(truncate=0), ArgumentError, "truncate >= 1.*0"),
    "truncate float": (_scan(truncate=1.5), ArgumentError, "truncate"),
    "truncate bool": (_scan(truncate=True), ArgumentError, "truncate.*True"),
    "every": (_scan(checkpoint_every=-2), ArgumentError, "checkpoint_every.*-2"),
    "engine": (_scan(engine="warp"), ArgumentError, "'warp'"),
    "step": (lambda: tg.scan(None, tg.zeros(2), 3), DTypeError, "step"),
    "init": (lambda: tg.scan(lambda c, x: (c, c), "h0", 3, engine="loop"), DTypeError, "h0"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_input(name: str) -> None:
    call, error, words = BAD[name]
    with pytest.raises(error, match=words) as caught:
        call()
    assert type(caught.value) is error


def test_exceptions_of_the_step_come_through() -> None:
    def step(c: Any, x: Any) -> Any:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        _scan(step)()
