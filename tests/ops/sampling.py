"""Samples of elementwise primitives: a formula each, and points from the domain it declares."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

import tinygrad_rnn as tg
from tinygrad_rnn.graph import Primitive
from tinygrad_rnn.ops.call import bind

Array = np.ndarray[Any, Any]
INF = math.inf


@dataclass(frozen=True)
class Sample:
    """A call of library functions on arrays, and the same in plain NumPy."""

    name: str
    fn: Callable[..., Any]
    args: tuple[Any, ...]
    reference: Callable[..., Any]
    analytic: bool = True
    differentiable: bool = True
    step: float = 1e-3
    raw: bool = True  # whether raw arrays give raw arrays


# ------------------------------------------------------------------------------- elementwise
def _sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x > 0 else math.exp(x) / (1 + math.exp(x))


def _sign(x: float) -> float:
    return math.nan if math.isnan(x) else float((x > 0) - (x < 0))


SCALAR: dict[str, Callable[..., float]] = {
    "abs": math.fabs,
    "acos": math.acos,
    "add": lambda x, y: x + y,
    "asin": math.asin,
    "atan": math.atan,
    "ceil": math.ceil,
    "clip": lambda x: min(max(x, -0.55), 0.85),
    "cos": math.cos,
    "cosh": math.cosh,
    "div": lambda x, y: x / y,
    "erf": math.erf,
    "exp": math.exp,
    "exp2": lambda x: 2.0**x,
    "expm1": math.expm1,
    "floor": math.floor,
    "floor_divide": lambda x, y: x // y,
    "fmod": math.fmod,
    "log": math.log,
    "log10": math.log10,
    "log1p": math.log1p,
    "log2": math.log2,
    "logaddexp": lambda x, y: max(x, y) + math.log1p(math.exp(-math.fabs(x - y))),
    "maximum": max,
    "minimum": min,
    "mul": lambda x, y: x * y,
    "neg": lambda x: -x,
    "pow": math.pow,
    "reciprocal": lambda x: 1 / x,
    "relu": lambda x: max(x, 0.0),
    "remainder": lambda x, y: x % y,
    "round": round,
    "rsqrt": lambda x: 1 / math.sqrt(x),
    "sigmoid": _sigmoid,
    "sign": _sign,
    "sin": math.sin,
    "sinh": math.sinh,
    "softplus": lambda x: max(x, 0.0) + math.log1p(math.exp(-math.fabs(x))),
    "sqrt": math.sqrt,
    "square": lambda x: x * x,
    "sub": lambda x, y: x - y,
    "tan": math.tan,
    "tanh": math.tanh,
    "trunc": math.trunc,
    "where": lambda c, x, y: x if c else y,
}
PARAMS: dict[str, dict[str, Any]] = {"clip": {"min": -0.55, "max": 0.85}}
# max(z, 0), |z| and comparisons have no complex derivative; erf has no complex version in NumPy
NOT_ANALYTIC = {
    "abs", "clip", "erf", "fmod", "logaddexp", "maximum", "minimum", "relu", "remainder", "softplus"
}  # fmt: skip

SHAPES: dict[int, dict[str, tuple[tuple[int, ...], ...]]] = {
    1: {"matrix": ((3, 4),), "0-d": ((),), "empty": ((0, 3),)},
    2: {
        "equal": ((3, 4), (3, 4)), "row": ((3, 4), (4,)), "column": ((3, 1), (3, 4)),
        "both": ((2, 1, 3), (4, 1)), "0-d": ((), (3,)), "0-d both": ((), ()),
        "empty": ((0, 3), (1, 3)), "one": ((1, 1), (2, 3)),
    },
    3: {
        "equal": ((2, 3), (2, 3), (2, 3)), "broadcast": ((3,), (2, 3), (2, 1)),
        "0-d": ((), (2,), ()),
    },
}  # fmt: skip


def call_of(primitive: Primitive) -> Callable[..., Any]:
    """The primitive as a function of its inputs, by its public name if it has one."""
    params = PARAMS.get(primitive.name, {})
    public = getattr(tg, primitive.name, None)
    if params or public is None:
        return lambda *args: bind(primitive, args, params)
    return lambda *args: public(*args)


def domains_of(primitive: Primitive) -> list[tuple[float, float]]:
    """The interval of each input."""
    domain, count = primitive.extra["domain"], len(primitive.extra["inputs"])
    return list(domain) if isinstance(domain[0], tuple) else [domain] * count


def draw(primitive: Primitive, rng: np.random.Generator, shapes: Any) -> tuple[Array, ...]:
    """Points well inside the domain, different in every input and away from every kink.

    They lie on a grid of 1/16 shifted by input, so inputs are never equal, nor near an integer.
    """
    drawn: list[Array] = []
    kinks = primitive.extra["kinks"]
    for i, (shape, (low, high)) in enumerate(zip(shapes, domains_of(primitive), strict=True)):
        if primitive.extra.get("condition") and i == 0:
            drawn.append(rng.uniform(size=shape) < 0.5)
            continue
        first, last = max(low + 0.4, -2.0), min(high - 0.3, 2.0)
        grid = np.arange(math.ceil(first * 16), math.floor(last * 16)) / 16 + 0.011 + 0.02 * i
        if kinks != "equal":
            grid = grid[[all(abs(x - kink) > 0.03 for kink in kinks) for x in grid]]
        drawn.append(rng.choice(grid, shape))
    return tuple(drawn)


def by_scalars(function: Callable[..., float]) -> Callable[..., Array]:
    """A function of numbers, applied element by element."""

    def reference(*arrays: Any) -> Array:
        whole = np.broadcast_arrays(*arrays)
        found = [function(*row) for row in zip(*(a.ravel().tolist() for a in whole), strict=True)]
        return np.array(found, dtype=np.float64).reshape(whole[0].shape)

    return reference


def elementwise_samples(primitive: Primitive) -> Iterator[Sample]:
    """A sample for each class of shapes."""
    rng = np.random.default_rng(sum(map(ord, primitive.name)))
    for name, shapes in SHAPES[len(primitive.extra["inputs"])].items():
        yield Sample(
            name, call_of(primitive), draw(primitive, rng, shapes),
            by_scalars(SCALAR[primitive.name]), primitive.name not in NOT_ANALYTIC,
            any(rule is not None for rule in primitive.rules), 5e-4,
        )  # fmt: skip


# --------------------------------------------------------------------- arrays for the others
def numbers(*shape: int, seed: int = 0) -> Array:
    """Different numbers of both signs, at least 0.02 apart, none near 0."""
    size = math.prod(shape)
    order = np.random.default_rng(seed + size).permutation(size)
    return (((order - size // 2) + 0.37) * (4 / max(size, 8))).reshape(shape)


A, B, C = numbers(3, 4), numbers(3, 4, seed=1), numbers(2, 3, 4)
V, W = numbers(4, seed=2), numbers(5, seed=3)
EMPTY, SCALAR_0D = np.zeros((0, 3)), np.array(0.7)
I1 = np.array([2, 0, 2, 1])
I2 = np.array([[0, 2, 2, 1], [1, 1, 0, 0]])


def sums(function: str, name: str, **more: Any) -> list[Sample]:
    """A reduction over all axes, one, several, with keepdim, of a number."""
    ours, theirs = getattr(tg, name), getattr(np, function)
    made = [
        Sample("all", ours, (C,), theirs, **more),
        Sample("number", ours, (SCALAR_0D,), theirs, **more),
    ]
    for dim in (1, -1, (0, 2), (-1, 0)):
        for keep in (False, True):
            made.append(Sample(
                f"dim {dim} keep {keep}",
                lambda x, d=dim, k=keep: ours(x, d, keepdim=k),
                (C,),
                lambda x, d=dim, k=keep: theirs(x, axis=d, keepdims=k),
                **more,
            ))  # fmt: skip
    return made
