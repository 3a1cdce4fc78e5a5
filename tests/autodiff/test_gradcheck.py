"""The gradient checks themselves: they pass what is right and catch every planted fault."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn import autodiff
from tinygrad_rnn.errors import ArgumentError, DTypeError, GradientCheckError, ShapeError
from tinygrad_rnn.graph import Node, primitives
from tinygrad_rnn.testing import check_full, check_grads, check_jvp, check_vjp

# ------------------------------------------------------------------------- programs to damage
X = np.linspace(0.3, 2.1, 6).reshape(2, 3)
ROW = np.array([0.7, 1.3, 1.9])
PROGRAMS: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
    "tanh": (tg.tanh, (X,)),
    "exp": (tg.exp, (X,)),
    "log": (tg.log, (X,)),
    "mul": (tg.mul, (X, ROW)),
    "div": (tg.div, (X, ROW)),
    "add": (lambda x, y: tg.add(x, y) * x, (X, ROW)),
    "pow": (tg.pow, (X, ROW)),
    "matmul": (lambda x, y: tg.matmul(x, y), (np.ones((2, 2, 3)) * X, X.T[:, :2])),
    "sum": (lambda x: tg.sum(x * x, 1), (X,)),
    "cumsum": (lambda x: tg.cumsum(x * x, 1), (X,)),
    "amax": (lambda x: tg.amax(x * x, 1), (X,)),
    "logsumexp": (lambda x: tg.logsumexp(x, 1), (X,)),
}


# ------------------------------------------------------------------------------------- faults
def _array(g: Any) -> Any:
    return g.array if isinstance(g, tg.Tensor) else g


def _float32(g: Any) -> Any:
    return g.astype("float32") if isinstance(g, np.ndarray) else g.to("float32")


def _one_element(g: Any) -> Any:
    change = np.ones(g.shape)
    change.flat[-1] = 1.01
    return g * change


def _rolled(g: Any) -> Any:
    if isinstance(g, np.ndarray):
        return np.roll(g, 1)
    return tg.reshape(tg.reshape(g, -1).flip(0), g.shape)


def _nan(g: Any) -> Any:
    change = np.zeros(g.shape)
    change.flat[0] = np.nan
    return g + change


AFTER: dict[str, Callable[[Any], Any]] = {  # what a wrong rule does to its result
    "zero": lambda g: g * 0,
    "sign": lambda g: -g,
    "scale 1e-5": lambda g: g * (1 + 1e-5),
    "scale 2": lambda g: g * 2,
    "one element": _one_element,
    "rolled": _rolled,
    "NaN": _nan,
    "mean": lambda g: g * 0 + g.sum() / max(1, int(np.prod(g.shape))),
    "magnitude": lambda g: tg.abs(g),
    "rounded": lambda g: tg.round(g * 1e4) * 1e-4,
    "float32": _float32,
}


def _extra_axis(g: Any) -> Any:
    return tg.reshape(g, (1, *g.shape))


def _settled(g: Any) -> Any:
    """A promised product as the array it stands for."""
    return g.left.T @ g.right if type(g).__name__ == "Product" else g


def _after(change: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def damage(rule: Any) -> Any:
        return lambda g, *rest: change(_settled(rule(g, *rest)))

    return damage


def _ignores_cotangent(rule: Any) -> Any:
    return lambda g, *rest: rule(g * 0 + 1, *rest)


def _writes_to_cotangent(rule: Any) -> Any:
    def wrong(g: Any, *rest: Any) -> Any:
        _array(g)[...] *= 1.5
        return rule(g, *rest)

    return wrong


def _writes_to_saved(rule: Any) -> Any:
    def wrong(g: Any, saved: Any, *rest: Any) -> Any:
        found = _settled(rule(g, saved, *rest))
        for value in saved:
            if hasattr(value, "shape") and value.shape:
                _array(value)[...] += 1.0
        return found

    return wrong


def _forgets_second_order(rule: Any) -> Any:
    def wrong(g: Any, *rest: Any) -> Any:
        found = rule(g, *rest)
        return found.detach() if isinstance(found, tg.Tensor) else found

    return wrong


def _not_linear(rule: Any) -> Any:
    return lambda g, *rest: rule(g * g, *rest)


@contextmanager
def damaged(name: str, damage: Callable[[Any], Any], position: int = 0) -> Iterator[None]:
    """The vjp rule of one input of a primitive, made wrong for a while."""
    primitive = primitives[name]
    kept = primitive.rules
    rules = list(kept)
    rules[position] = damage(rules[position])
    primitive.rules = tuple(rules)
    try:
        yield
    finally:
        primitive.rules = kept


BEFORE: dict[str, Callable[[Any], Any]] = {
    "ignores the cotangent": _ignores_cotangent,
    "not linear": _not_linear,
    "writes to the cotangent": _writes_to_cotangent,
}
WRONG = {**{fault: _after(change) for fault, change in AFTER.items()}, **BEFORE}
REVERSE_FAULTS = [(name, fault) for name in PROGRAMS for fault in WRONG]


@pytest.mark.parametrize("name", PROGRAMS)
def test_right_derivatives_pass(name: str) -> None:
    fn, args = PROGRAMS[name]
    check_grads(fn, args)
    check_full(fn, args)


@pytest.mark.parametrize(("name", "fault"), REVERSE_FAULTS)
def test_fault_in_reverse_mode_is_caught(name: str, fault: str) -> None:
    fn, args = PROGRAMS[name]
    with damaged(name, WRONG[fault]), pytest.raises(GradientCheckError):
        check_vjp(fn, args)


@pytest.mark.parametrize(("name", "fault"), [(n, f) for n in ("tanh", "mul") for f in WRONG])
def test_fault_is_caught_in_full_and_by_the_complex_step(name: str, fault: str) -> None:
    fn, args = PROGRAMS[name]
    with damaged(name, WRONG[fault]):
        with pytest.raises(GradientCheckError):
            check_full(fn, args, ("reverse",))
        with pytest.raises(GradientCheckError):
            check_vjp(fn, args, method="complex")


@pytest.mark.parametrize("name", ["mul", "div", "pow"])
@pytest.mark.parametrize("fault", ["zero", "sign", "scale 1e-5", "one element"])
def test_fault_in_the_second_input_is_caught(name: str, fault: str) -> None:
    fn, args = PROGRAMS[name]
    with damaged(name, WRONG[fault], position=1), pytest.raises(GradientCheckError):
        check_vjp(fn, args)


@pytest.mark.parametrize("name", ["tanh", "exp", "log", "logsumexp"])
@pytest.mark.parametrize("damage", [_after(_extra_axis), _writes_to_saved])
def test_fault_of_shape_or_memory_is_caught(name: str, damage: Any) -> None:
    fn, args = PROGRAMS[name]
    with damaged(name, damage), pytest.raises((GradientCheckError, ShapeError)):
        check_vjp(fn, args)


@pytest.mark.parametrize("name", ["add", "sub", "mul", "div"])
def test_missing_unbroadcast_is_caught(name: str) -> None:
    def rule(g: Any, saved: Any, node: Node) -> Any:
        return g * 1

    with damaged(name, lambda _: rule, position=1), pytest.raises(ShapeError):
        check_vjp(getattr(tg, name), (X, ROW))


@pytest.mark.parametrize("shared", ["with the cotangent", "with each other"])
def test_shared_memory_is_caught(shared: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(autodiff, "_unshared", lambda found, given: list(found.items()))
    monkeypatch.setattr(primitives["neg"], "rules", (lambda g, saved, node: g,))
    fn, args = (lambda x, y: tg.neg(x + y), (X, X.copy()))
    if shared == "with the cotangent":
        fn, args = (lambda x: tg.add(x, 1.0), (X,))
    with pytest.raises(GradientCheckError, match="memory of its own"):
        check_vjp(fn, args)


@pytest.mark.parametrize("name", ["tanh", "exp", "log", "mul", "pow", "logsumexp"])
def test_forgotten_second_order_is_caught(name: str) -> None:
    fn, args = PROGRAMS[name]
    with damaged(name, _forgets_second_order):
        check_vjp(fn, args)
        with pytest.raises(GradientCheckError):
            check_grads(fn, args, 2, ("reverse",))


@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.parametrize("fault", AFTER)
def test_fault_in_forward_mode_is_caught(
    name: str, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fn, args = PROGRAMS[name]
    right = primitives[name].jvp
    wrong = lambda ts, *rest: AFTER[fault](right(ts, *rest))  # noqa: E731
    monkeypatch.setattr(primitives[name], "jvp", wrong)
    with pytest.raises(GradientCheckError):
        check_jvp(fn, args)


@pytest.mark.parametrize("name", ["mul", "div", "pow", "matmul"])
@pytest.mark.parametrize("dropped", [0, 1])
def test_dropped_tangent_is_caught(
    name: str, dropped: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    fn, args = PROGRAMS[name]
    right = primitives[name].jvp

    def wrong(tangents: Any, *rest: Any) -> Any:
        return right([None if i == dropped else t for i, t in enumerate(tangents)], *rest)

    monkeypatch.setattr(primitives[name], "jvp", wrong)
    with pytest.raises(GradientCheckError):
        check_jvp(fn, args)


@pytest.mark.parametrize("fault", ["zero", "sign", "scale 1e-5", "one element", "mean"])
@pytest.mark.parametrize("size", [1_000, 100_000])
def test_size_hides_nothing(fault: str, size: int) -> None:
    """PyTorch's fast check takes a gradient of zeros for tanh at this size, by its tolerance."""
    x = np.random.default_rng(0).uniform(-2, 2, size)
    check_vjp(tg.tanh, (x,), directions=2)
    with damaged("tanh", WRONG[fault]), pytest.raises(GradientCheckError):
        check_vjp(tg.tanh, (x,))


def test_at_least_sixty_faults() -> None:
    assert len(REVERSE_FAULTS) + len(PROGRAMS) * len(AFTER) >= 60


# --------------------------------------------------------------------- what a check is told
def test_kink_is_named() -> None:
    with pytest.raises(GradientCheckError, match="kink"):
        check_vjp(tg.relu, (np.array([1e-4, 1.0]),))


def test_nan_is_not_equal_to_nan() -> None:
    with pytest.raises(GradientCheckError):
        check_grads(lambda x: x * np.nan, (X,))


def test_random_numbers_are_the_same_in_every_call() -> None:
    check_grads(lambda x: x * tg.rand(3, dtype=tg.float64), (X,))


def test_trees_integers_and_outputs_that_are_not_floats() -> None:
    def fn(tree: Any, index: Any) -> Any:
        return {"y": tg.tanh(tree["a"])[index], "n": index + 1, "z": (tree["b"][0] * 2,)}

    check_grads(fn, ({"a": X, "b": [ROW]}, np.array([1, 0, 1])))


def test_float32_arguments_are_checked_in_float64() -> None:
    check_grads(lambda x, w: tg.matmul(x, w), (tg.randn(3, 2), tg.randn(2, 3)))
    with pytest.raises(DTypeError, match="float32"):
        check_grads(lambda x: x.to(tg.float32), (X,))


def test_empty_arguments_pass() -> None:
    check_grads(lambda x: x * x, (np.zeros((0, 3)),))
    check_full(lambda x: x.sum(), (np.zeros((0, 3)),))


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"order": 0}, "order"), ({"order": 4}, "order"), ({"modes": ("sideways",)}, "modes"),
        ({"modes": ()}, "modes"), ({"method": "guess"}, "method"), ({"rtol": 0}, "rtol"),
        ({"step": -1.0}, "step"), ({"directions": 0}, "directions"),
    ],
)  # fmt: skip
def test_bad_options_are_refused(options: dict[str, Any], word: str) -> None:
    with pytest.raises(ArgumentError, match=word):
        check_grads(tg.tanh, (X,), **options)


def test_nothing_to_differentiate_is_refused() -> None:
    with pytest.raises(ArgumentError, match="floating-point argument"):
        check_grads(lambda i: i, (np.array([1, 2]),))


def test_complex_step_refuses_what_is_not_analytic() -> None:
    with pytest.raises(ArgumentError, match="analytic"):
        check_vjp(_real_part, (X,), method="complex")


def _real_part(x: Any) -> Any:
    return tg.tanh(x.real if isinstance(x, np.ndarray) else x)


def test_no_jacobian_of_a_big_input() -> None:
    with pytest.raises(ArgumentError, match="at most 1000000 elements expected, got 4000000"):
        check_full(tg.tanh, (np.ones(2000),))
