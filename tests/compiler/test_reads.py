"""A step is traced again when anything that it reads has changed, and only then."""

from __future__ import annotations

import dataclasses
import functools
import math
import types
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn import nn
from tinygrad_rnn.compiler import structures

T, B, H = 4, 2, 3
XS = tg.tensor(np.linspace(-1, 1, T * B * H).reshape(T, B, H), tg.float32)
FACTOR = 2.0
WEIGHT = tg.tensor(np.linspace(-1, 1, H * H).reshape(H, H), tg.float32)
OTHER = tg.tensor(np.linspace(1, 2, H * H).reshape(H, H), tg.float32)


@pytest.fixture
def traces(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The steps that have been traced, with nothing known at the beginning."""
    seen: list[Any] = []
    trace = structures.trace_step

    def counted(step: Any, *args: Any) -> Any:
        seen.append(step)
        return trace(step, *args)

    monkeypatch.setattr(structures, "trace_step", counted)
    monkeypatch.setattr(structures, "_known", {})
    monkeypatch.setattr(structures, "_unknown", {})
    return seen


def ran(step: Any, engine: str = "auto", init: Any = None) -> list[Any]:
    """Final carry and outputs, as lists."""
    final, ys = tg.scan(step, tg.zeros(B, H) if init is None else init, XS, engine=engine)
    return [final.tolist(), ys.tolist()]


class Holder(nn.Module):
    """A cell with something of each kind."""

    power = 1.0

    def __init__(self) -> None:
        self.weight = nn.Parameter(WEIGHT.clone())
        self.scale: Any = 1.5
        self.sizes = [1.0, 2.0]
        self.table = {"a": WEIGHT, "b": OTHER}
        self.activation = tg.tanh
        self.inner = nn.Linear(H, H)

    def forward(self, carry: Any, x: Any) -> Any:
        seen = x @ self.weight + self.inner(carry) @ self.table["a"] * self.power
        h = self.activation(seen * self.scale) + self.sizes[0] + FACTOR * self.helped(x)
        return h, tg.functional.softsign(h) if self.training else h.sigmoid()

    def helped(self, x: Any) -> Any:
        return -x * pow(3, 1) if type(self.scale) is float else x


def changes() -> dict[str, Callable[[Holder, Any], Any]]:
    """By name, what changes what the step of a holder reads."""
    return {
        "number": lambda h, p: p.setattr(h, "scale", 2.5),
        "type of a number": lambda h, p: p.setattr(h, "scale", np.float32(1.5)),
        "sign": lambda h, p: p.setattr(h, "scale", -1.5),
        "element of a list": lambda h, p: h.sizes.insert(0, 3.0),
        "element of a dict": lambda h, p: p.setitem(h.table, "a", OTHER),
        "function": lambda h, p: p.setattr(h, "activation", tg.sigmoid),
        "parameter": lambda h, p: p.setattr(h, "weight", nn.Parameter(OTHER.clone())),
        "numbers of a parameter": lambda h, p: h.weight.copy_(OTHER),
        "module": lambda h, p: p.setattr(h, "inner", nn.Linear(H, H)),
        "parameter of a module": lambda h, p: p.setattr(h.inner, "bias", None),
        "mode": lambda h, p: h.eval(),
        "attribute of the class": lambda h, p: p.setattr(Holder, "power", 2.0),
        "attribute over that of the class": lambda h, p: p.setattr(h, "power", 3.0, raising=False),
        "method of the class": lambda h, p: p.setattr(Holder, "helped", lambda self, x: x * 5),
        "method over that of the class": lambda h, p: p.setattr(
            h, "helped", lambda x: x * 7, raising=False
        ),
        "forward of the class": lambda h, p: p.setattr(
            Holder, "forward", lambda self, c, x: (c + x, c)
        ),
        "forward of a module": lambda h, p: p.setattr(nn.Linear, "forward", lambda self, x: x * 2),
        "call of modules": lambda h, p: p.setattr(nn.Module, "__call__", lambda self, x: x * 3),
        "global": lambda h, p: p.setitem(globals(), "FACTOR", 5.0),
        "operation of a module": lambda h, p: p.setattr(tg.functional, "softsign", tg.relu),
        "method of tensors": lambda h, p: (h.eval(), p.setattr(tg.Tensor, "sigmoid", tg.relu)),
        "operator of tensors": lambda h, p: p.setattr(tg.Tensor, "__neg__", lambda x: x * 9),
        # one that the compiler itself does not call
        "builtin": lambda h, p: p.setattr("builtins.pow", lambda *_: 5),
    }


@pytest.mark.parametrize("name", changes())
def test_every_change_is_seen(
    name: str, traces: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    tg.manual_seed(0)
    holder = Holder()
    if name == "method of tensors":
        holder.eval()
    with tg.no_grad():
        before = ran(holder.forward)
        assert len(traces) == 1
        assert ran(holder.forward) == before
        assert len(traces) == 1
        with monkeypatch.context() as patch:
            changes()[name](holder, patch)
            after, expected = ran(holder.forward), ran(holder.forward, "loop")
    assert after != before
    np.testing.assert_allclose(after[0], expected[0], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(after[1], expected[1], rtol=1e-5, atol=1e-6)


def closure(scale: float, weight: Any) -> Any:
    def step(carry: Any, x: Any, *, more: Any = (1.0, {"k": 2})) -> Any:
        h = (x * scale + carry @ weight + more[0] * more[1]["k"]).tanh()
        return h, h

    return step


def test_closures_made_anew_are_known(traces: list[Any]) -> None:
    first = ran(closure(2.0, WEIGHT))
    assert ran(closure(2.0, WEIGHT.clone())) == first
    assert len(traces) == 1  # another tensor is another value of the same input
    assert ran(closure(2.0, OTHER)) != first
    assert len(traces) == 1
    assert ran(closure(3.0, WEIGHT)) != first
    assert len(traces) == 2
    assert ran(closure(2.0, WEIGHT)) == first
    assert len(traces) == 2


def test_defaults_and_code_are_seen(traces: list[Any]) -> None:
    step = closure(2.0, WEIGHT)
    before = ran(step)
    step.__kwdefaults__ = {"more": (1.0, {"k": 5})}
    assert ran(step) != before
    held = step.__closure__
    step.__code__ = types.FunctionType(
        (lambda scale, weight: lambda c, x: (c + x * scale, c @ weight))(1, 2).__code__,
        {}, "step", None, held,
    ).__code__  # fmt: skip
    step.__kwdefaults__ = None
    np.testing.assert_allclose(ran(step)[0], ran(step, "loop")[0], rtol=1e-6)


def test_partial_functions_are_known(traces: list[Any]) -> None:
    step = functools.partial(lambda w, c, x: ((c @ w + x).tanh(),) * 2, WEIGHT)
    assert ran(step) == ran(step) != ran(functools.partial(step.func, OTHER))
    assert len(traces) == 1


def test_the_same_tensor_twice(traces: list[Any]) -> None:
    def gradients(first: Any, second: Any) -> list[Any]:
        table = {"a": first, "b": second}
        final, _ = tg.scan(lambda c, x: (c * table["a"] + x * table["b"],) * 2, tg.ones(B, H), XS)
        return [g.tolist() for g in tg.gradients(final.sum(), [first, second])]

    a, b = (tg.full((H,), v, requires_grad=True) for v in (0.5, 0.25))
    apart = gradients(a, b)
    twice = gradients(a, a)
    assert gradients(a, b) == apart
    assert twice[0] == twice[1] != apart[0]


def test_gradient_flags_are_of_this_call(traces: list[Any]) -> None:
    weight = WEIGHT.clone()
    step = closure(1.0, weight)
    assert tg.scan(step, tg.zeros(B, H), XS)[0].node is None
    weight.requires_grad_()
    tg.scan(step, tg.zeros(B, H), XS)[0].sum().backward()
    assert weight.grad is not None
    assert len(traces) == 1


def test_shapes_and_dtypes_are_of_this_call(traces: list[Any]) -> None:
    step = closure(1.0, WEIGHT)
    ran(step)
    final, _ = tg.scan(
        closure(1.0, WEIGHT.double()), tg.zeros(1, H, dtype=tg.float64), XS[:, :1].double()
    )
    assert final.shape == (1, H) and final.dtype == tg.float64
    assert len(traces) == 2


def test_random_steps_draw_anew(traces: list[Any]) -> None:
    def step(c: Any, x: Any) -> Any:
        h = tg.functional.dropout(c + x, 0.5)
        return h, h

    def drawn(engine: str) -> list[Any]:
        tg.manual_seed(3)
        return [ran(step, engine), ran(step, engine)]

    first = drawn("auto")
    assert first[0] != first[1]
    assert len(traces) == 1
    np.testing.assert_allclose(first[1][0], drawn("loop")[1][0], rtol=1e-6)


def steps_that_are_traced_each_time() -> dict[str, Any]:
    """Whatever cannot be enumerated: effects, and reads that are no names."""
    calls: list[int] = []
    box = types.SimpleNamespace(n=0)
    array = np.full((B, H), 2.0, np.float32)

    def storing(c: Any, x: Any) -> Any:
        box.n = 1
        return c + x, c

    def keeping(c: Any, x: Any) -> Any:
        calls.append(1)
        return c + x, c

    def catching(c: Any, x: Any) -> Any:
        try:
            return c + x * math.sqrt(4.0), c
        finally:
            pass

    def named(c: Any, x: Any) -> Any:
        return getattr(tg, "ta" + "nh")(c + x), c

    def made(c: Any, x: Any) -> Any:
        return c + x * tg.ones(H), c

    return {
        "effect": storing, "list": keeping, "errors": catching, "getattr": named, "made": made,
        "array": lambda c, x: (c + x * array, c),
    }  # fmt: skip


@pytest.mark.parametrize("name", steps_that_are_traced_each_time())
def test_other_steps_are_traced_each_time(name: str, traces: list[Any]) -> None:
    step = steps_that_are_traced_each_time()[name]
    ran(step)
    for _ in range(3):
        count = len(traces)
        np.testing.assert_allclose(ran(step)[0], ran(step, "loop")[0], rtol=1e-6)
        assert len(traces) > count


class Number(float):
    """A number that says what its product is."""

    def __mul__(self, x: Any) -> Any:
        return x * FACTOR


@dataclasses.dataclass
class Settings:
    """A dataclass that is called, multiplied and compared."""

    scale: float = 1.0
    other: float = 2.0

    def __mul__(self, x: Any) -> Any:
        return x * self.scale


class Texts:
    """What it is as text is what a global is."""

    def __str__(self) -> str:
        return str(FACTOR)


def named_one(x: Any) -> Any:
    return x * 0.5


def hidden_changes() -> dict[str, tuple[Any, Callable[[Any], Any]]]:
    """By name a step, and what changes something that it reads without naming it."""
    record = np.array([(1.0,)], dtype=[("scale", "f4")])[0]
    number, texts, settings, right = Number(2.0), Texts(), Settings(), Settings()
    box = types.SimpleNamespace(factor=1.0)
    made = np.frompyfunc(lambda a: a * box.factor, 1, 1)
    holder = Holder()
    holder.table["a"] = WEIGHT.clone()

    class Plain:
        pass

    plain: Any = Plain()
    plain.scale = 1.0
    late = property(lambda self: 3.0)
    return {
        "operator of a number": (
            lambda h, x: (h * 0.5 + number * x, h), lambda p: p.setitem(globals(), "FACTOR", 5.0)
        ),
        "record": (
            lambda h, x: (h * 0.5 + x * float(record["scale"]), h),
            lambda p: record.__setitem__("scale", 3.0),
        ),
        "function in a ufunc": (
            lambda h, x: (h * 0.5 + x * float(made(2.0)), h), lambda p: setattr(box, "factor", 3.0)
        ),
        "text": (
            lambda h, x: (h * 0.5 + x * float(f"{texts}"), h),
            lambda p: p.setitem(globals(), "FACTOR", 5.0),
        ),
        "operator of a dataclass": (
            lambda h, x: (h * 0.5 + settings * x, h), lambda p: setattr(settings, "scale", 3.0)
        ),
        "comparison of dataclasses": (
            lambda h, x: (h * 0.5 + (x if settings == right else -x), h),
            lambda p: setattr(settings, "other", 3.0),
        ),
        "two tensors become one": (
            lambda h, x: (h * 0.5 + (x if holder.table["a"] is holder.table["b"] else -x), h),
            lambda p: p.setitem(holder.table, "b", holder.table["a"]),
        ),
        "name of a function": (
            lambda h, x: (named_one(h) + (x if named_one.__name__ == "named_one" else -x), h),
            lambda p: p.setattr(named_one, "__name__", "other"),
        ),
        "property made later": (
            lambda h, x: (h * 0.5 + x * plain.scale, h), lambda p: setattr(Plain, "scale", late)
        ),
        "truth made later": (
            lambda h, x: (h * 0.5 + (x if plain else -x), h),
            lambda p: setattr(Plain, "__bool__", lambda self: False),
        ),
    }  # fmt: skip


@pytest.mark.parametrize("name", hidden_changes())
def test_what_is_read_without_being_named_is_seen(
    name: str, traces: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    step, change = hidden_changes()[name]
    before = ran(step, "numpy")
    ran(step, "numpy")
    change(monkeypatch)
    after = ran(step, "numpy")
    assert after != before
    np.testing.assert_allclose(after[0], ran(step, "loop")[0], rtol=1e-6)


def test_a_pattern_of_attributes_is_matched() -> None:
    box = Settings()

    def step(h: Any, x: Any) -> Any:
        match box:
            case object(other=2.0):
                return h * 0.5 + x, h
        return h * 0.5 - x, h

    np.testing.assert_allclose(ran(step, "numpy")[0], ran(step, "loop")[0], rtol=1e-6)


def test_a_list_that_grows_in_place_is_no_constant() -> None:
    calls: list[int] = []

    def step(h: Any, x: Any) -> Any:
        seen = calls
        seen += [1]
        return h * 0.5 + x * (len(seen) - len(seen) // 4), h

    ran(step, "numpy")
    assert len(calls) >= T  # it was run by the loop


ABSTRACT = ("Cell", "GatedCell", "StateSpaceCell")  # or made of what is given


@pytest.mark.parametrize("name", [n for n in nn.cells.__all__ if n not in ABSTRACT])
def test_cells_are_traced_once(name: str, traces: list[Any]) -> None:
    cell = getattr(nn.cells, name)(H, H)
    layer = nn.Recurrent(lambda *_, **__: cell, H, H)
    first, _ = layer(XS)
    count = len(traces)
    np.testing.assert_array_equal(layer(XS)[0].detach().numpy(), first.detach().numpy())
    assert len(traces) == count == 1


def test_a_cell_that_is_called_by_another_module_is_traced_once(traces: list[Any]) -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            self.cell = nn.RNNCell(H, H)

        def forward(self, h: Any, x: Any) -> Any:
            return self.cell(h, x)

    step = Two().forward
    for _ in range(3):
        tg.scan(step, tg.zeros(XS.shape[1], H), XS)
    assert len(traces) == 1
