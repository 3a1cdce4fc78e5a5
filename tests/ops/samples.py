"""What every registered primitive is tried on: its values by plain Python, its shapes and strides.

An elementwise primitive needs a formula in `SCALAR`; its samples are drawn from the domain that it
declares, away from the kinks that it declares. Any other primitive needs an entry in `SAMPLES`, or
a line in `ELSEWHERE` that names the test in which it is differentiated.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import tinygrad_rnn as tg
from tinygrad_rnn.graph import Primitive, primitives
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
    options: dict[str, Any] = field(default_factory=dict)


# ------------------------------------------------------------------------------- elementwise
def _sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x > 0 else math.exp(x) / (1 + math.exp(x))


def _sign(x: float) -> float:
    return math.nan if math.isnan(x) else float((x > 0) - (x < 0))


SCALAR: dict[str, Callable[..., float]] = {
    "abs": math.fabs,
    "add": lambda x, y: x + y,
    "atan": math.atan,
    "ceil": math.ceil,
    "clip": lambda x: min(max(x, -0.55), 0.85),
    "cos": math.cos,
    "cosh": math.cosh,
    "div": lambda x, y: x / y,
    "erf": math.erf,
    "exp": math.exp,
    "expm1": math.expm1,
    "floor": math.floor,
    "log": math.log,
    "log1p": math.log1p,
    "logaddexp": lambda x, y: max(x, y) + math.log1p(math.exp(-math.fabs(x - y))),
    "maximum": max,
    "minimum": min,
    "mul": lambda x, y: x * y,
    "neg": lambda x: -x,
    "pow": math.pow,
    "reciprocal": lambda x: 1 / x,
    "relu": lambda x: max(x, 0.0),
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
    "where": lambda c, x, y: x if c else y,
}
PARAMS: dict[str, dict[str, Any]] = {"clip": {"min": -0.55, "max": 0.85}}
# max(z, 0), |z| and comparisons have no complex derivative; erf has no complex version in NumPy
NOT_ANALYTIC = {"abs", "clip", "erf", "logaddexp", "maximum", "minimum", "relu", "softplus"}

SHAPES: dict[int, dict[str, tuple[tuple[int, ...], ...]]] = {
    1: {"matrix": ((3, 4),), "0-d": ((),), "empty": ((0, 3),)},
    2: {
        "equal": ((3, 4), (3, 4)), "row": ((3, 4), (4,)), "column": ((3, 1), (3, 4)),
        "both": ((2, 1, 3), (4, 1)), "0-d": ((), (3,)), "0-d both": ((), ()),
        "empty": ((0, 3), (1, 3)), "one": ((1, 1), (2, 3)),
    },
    3: {"equal": ((2, 3), (2, 3), (2, 3)), "broadcast": ((3,), (2, 3), (2, 1)), "0-d": ((), (2,), ())},
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


# ------------------------------------------------------------------------------ all the others
def _numbers(*shape: int, seed: int = 0) -> Array:
    """Different numbers of both signs, at least 0.02 apart, none near 0."""
    size = math.prod(shape)
    order = np.random.default_rng(seed + size).permutation(size)
    return (((order - size // 2) + 0.37) * (4 / max(size, 8))).reshape(shape)


A, B, C = _numbers(3, 4), _numbers(3, 4, seed=1), _numbers(2, 3, 4)
V, W = _numbers(4, seed=2), _numbers(5, seed=3)
EMPTY, SCALAR_0D = np.zeros((0, 3)), np.array(0.7)
I1 = np.array([2, 0, 2, 1])
I2 = np.array([[0, 2, 2, 1], [1, 1, 0, 0]])


def _sums(function: str, name: str, **more: Any) -> list[Sample]:
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


def _logsumexp(x: Array, axis: Any = None, keepdims: bool = False) -> Any:
    return np.log(np.sum(np.exp(x), axis=axis, keepdims=keepdims))


def _scattered(index: Any, shape: tuple[int, ...]) -> Callable[[Array], Array]:
    def reference(values: Array) -> Array:
        whole = np.zeros(shape)
        for at, value in zip(zip(*(i.ravel() for i in np.broadcast_arrays(*index)), strict=True),
                             values.ravel(), strict=True):  # fmt: skip
            whole[at] += value
        return whole

    return reference


def _indexed(name: str, x: Array, index: Any, differentiable: bool = True) -> Sample:
    """x[index], which as a raw array is NumPy's own."""
    ours = index
    if isinstance(index, np.ndarray):
        ours = tg.tensor(index)
    elif isinstance(index, tuple):
        ours = tuple(tg.tensor(i) if isinstance(i, np.ndarray) else i for i in index)
    return Sample(
        name,
        lambda v: v[ours] if isinstance(v, tg.Tensor) else v[index],
        (x,),
        lambda v: v[index],
    )


def _tells(name: str, ours: Any, args: tuple[Any, ...], reference: Any) -> Sample:
    """A question: its answer has no derivative."""
    return Sample(name, ours, args, reference, differentiable=False)


SPECIAL = np.array([0.0, -0.0, 1.5, -2.0, INF, -INF, math.nan])
BITS = np.array([[True, False], [True, True]])


def _comparisons(name: str, function: Any) -> list[Sample]:
    ours = getattr(tg, name)
    pairs = {"row": (A, A[1]), "special": (SPECIAL, SPECIAL[:, None]), "empty": (EMPTY, EMPTY)}
    return [_tells(k, ours, v, function) for k, v in pairs.items()]


SAMPLES: dict[str, list[Sample]] = {
    "reshape": [
        Sample("plain", lambda x: tg.reshape(x, 2, -1), (A,), lambda x: x.reshape(2, 6)),
        Sample("to 0-d", lambda x: tg.reshape(x, ()), (A[:1, :1],), lambda x: x.reshape(())),
        Sample("empty", lambda x: tg.reshape(x, (3, 0)), (EMPTY,), lambda x: x.reshape(3, 0)),
        Sample("flatten", lambda x: tg.flatten(x, 1), (C,), lambda x: x.reshape(2, 12)),
        Sample("squeeze", lambda x: tg.squeeze(x), (C[:1, :, :1],), lambda x: x[0, :, 0]),
        Sample("squeeze 1", lambda x: tg.squeeze(x, 0), (C[:1, :, :1],), lambda x: x[0]),
        Sample("unsqueeze", lambda x: tg.unsqueeze(x, -2), (A,), lambda x: x[:, None]),
    ],
    "permute": [
        Sample("plain", lambda x: tg.permute(x, 2, 0, 1), (C,), lambda x: x.transpose(2, 0, 1)),
        Sample("negative", lambda x: tg.permute(x, (0, -2, -1)), (C,), lambda x: x),
        Sample("swap", lambda x: tg.transpose(x, -1, 0), (C,), lambda x: np.swapaxes(x, 0, 2)),
        Sample("movedim", lambda x: tg.movedim(x, 0, -1), (C,), lambda x: np.moveaxis(x, 0, -1)),
        Sample("0-d", lambda x: tg.permute(x, ()), (SCALAR_0D,), lambda x: x),
    ],
    "expand": [
        Sample("row", lambda x: tg.expand(x, 3, 4), (V,), lambda x: np.broadcast_to(x, (3, 4))),
        Sample("keep", lambda x: tg.expand(x, 2, -1, 4), (A[:, :1],),
               lambda x: np.broadcast_to(x, (2, 3, 4))),
        Sample("0-d", lambda x: tg.expand(x, 2, 3), (SCALAR_0D,), lambda x: np.full((2, 3), x)),
        Sample("empty", lambda x: tg.expand(x, 0, 4), (V,), lambda x: np.zeros((0, 4))),
    ],
    "flip": [
        Sample("one", lambda x: tg.flip(x, 1), (C,), lambda x: x[:, ::-1]),
        Sample("two", lambda x: tg.flip(x, (0, -1)), (C,), lambda x: x[::-1, :, ::-1]),
    ],
    "clone": [Sample("plain", lambda x: tg.clone(x), (A,), lambda x: x)],
    "cast": [
        Sample("same", lambda x: x.to(tg.float64) if isinstance(x, tg.Tensor) else x, (A,),
               lambda x: x),
    ],
    "cat": [
        Sample("rows", lambda x, y: tg.cat([x, y]), (A, B[:1]), lambda x, y: np.concatenate([x, y])),
        Sample("columns", lambda x, y: tg.cat([x, y, x], -1), (A, B),
               lambda x, y: np.concatenate([x, y, x], 1)),
        Sample("empty part", lambda x, y: tg.cat([x, y]), (A[:, :3], EMPTY), lambda x, y: x),
    ],
    "stack": [
        Sample("first", lambda x, y: tg.stack([x, y]), (A, B), lambda x, y: np.stack([x, y])),
        Sample("last", lambda x, y: tg.stack([x, y, x], -1), (A, B),
               lambda x, y: np.stack([x, y, x], -1)),
        Sample("0-d", lambda x: tg.stack([x, x]), (SCALAR_0D,), lambda x: np.array([x, x])),
    ],
    "pad": [
        Sample("last", lambda x: tg.pad(x, (1, 2)), (A,), lambda x: np.pad(x, ((0, 0), (1, 2)))),
        Sample("two", lambda x: tg.pad(x, (0, 1, 2, 0)), (A,), lambda x: np.pad(x, ((2, 0), (0, 1)))),
        Sample("value", lambda x: tg.pad(x, (1, 1), 2.5), (V,),
               lambda x: np.pad(x, 1, constant_values=2.5)),
    ],
    "matmul": [
        Sample("matrices", tg.matmul, (A, B.T), np.matmul),
        Sample("matrix vector", tg.matmul, (A, V), np.matmul),
        Sample("vector matrix", tg.matmul, (V, A.T), np.matmul),
        Sample("vectors", tg.matmul, (V, V[::-1].copy()), np.matmul),
        Sample("batch matrix", tg.matmul, (C, B.T), np.matmul),
        Sample("matrix batch", tg.matmul, (A[:, :3], C), np.matmul),
        Sample("batch vector", tg.matmul, (C, V), np.matmul),
        Sample("vector batch", tg.matmul, (V[:3], C), np.matmul),
        Sample("batches", tg.matmul, (C[:, None], C.swapaxes(1, 2)), np.matmul),
        Sample("one of a batch", tg.matmul, (C[:1], C.swapaxes(1, 2)), np.matmul),
        Sample("no rows", tg.matmul, (EMPTY, A), np.matmul),
        Sample("no inner", tg.matmul, (np.zeros((2, 0)), np.zeros((0, 3))), np.matmul),
        Sample("square of one", lambda x: tg.matmul(x, x), (A[:, :3],), lambda x: x @ x),
        Sample("twice", lambda x, y: tg.matmul(x, y) + tg.matmul(x * x, y), (A, B.T),
               lambda x, y: x @ y + (x * x) @ y),
    ],
    "linear": [
        Sample("rows", tg.ops.linalg.linear, (A, _numbers(2, 4), V[:2]),
               lambda x, w, b: x @ w.T + b),
        Sample("batch", tg.ops.linalg.linear, (C, _numbers(2, 4), V[:2]),
               lambda x, w, b: x @ w.T + b),
        Sample("vector", tg.ops.linalg.linear, (V, A, W[:3]), lambda x, w, b: x @ w.T + b),
        Sample("no bias", tg.ops.linalg.linear, (A, B), lambda x, w: x @ w.T),
        Sample("no rows", tg.ops.linalg.linear, (np.zeros((0, 4)), A, W[:3]),
               lambda x, w, b: x @ w.T + b),
        Sample("shared", lambda x, w, b: tg.ops.linalg.linear(tg.ops.linalg.linear(x, w, b), w, b),
               (A[:, :3], B[:, :3], W[:3]), lambda x, w, b: (x @ w.T + b) @ w.T + b),
    ],
    "slice": [
        _indexed("integer", A, 1),
        _indexed("negative", A, -1),
        _indexed("rows", A, slice(1, 3)),
        _indexed("steps", C, (slice(None, None, -1), slice(None), slice(0, 4, 2))),
        _indexed("ellipsis", C, (..., None, 0)),
        _indexed("empty", A, slice(2, 2)),
        _indexed("number", V, 2),
        Sample("overlapping", lambda x: x[:2] * x[1:] + x[0], (A,), lambda x: x[:2] * x[1:] + x[0]),
        Sample("cover", lambda x: x[:, :1] * 2 + x[:, 1:2] * 3 + x[:, 2:3] * x[:, 3:], (A,),
               lambda x: x[:, :1] * 2 + x[:, 1:2] * 3 + x[:, 2:3] * x[:, 3:]),
        Sample("cover and whole", lambda x: tg.cat([x[:2] * 2, x[2:] * 3]) * x, (A,),
               lambda x: np.concatenate([x[:2] * 2, x[2:] * 3]) * x),
        Sample("split", lambda x: tg.split(x, [1, 3], 1)[1] * tg.split(x, 1, 1)[0], (A,),
               lambda x: x[:, 1:] * x[:, :1]),
        Sample("chunk", lambda x: tg.chunk(x, 2, 1)[0] * tg.chunk(x, 2, 1)[1], (A,),
               lambda x: x[:, :2] * x[:, 2:]),
        Sample("unbind", lambda x: tg.unbind(x)[0] * tg.unbind(x)[2], (A,), lambda x: x[0] * x[2]),
    ],
    "index": [
        _indexed("repeated", A, I1[:3]),
        _indexed("matrix", A, I2),
        _indexed("pairs", A, (I1, I2)),
        _indexed("mixed", C, (slice(None), I1)),
        _indexed("mixed last", C, (0, slice(None), I1)),
        _indexed("apart", C, (np.array([0, 1]), slice(None), np.array([3, 3]))),
        _indexed("negative", A, np.array([-1, 0, -1])),
        _indexed("mask", A, A > 0),
        _indexed("row mask", A, np.array([True, False, True])),
        _indexed("mask beside", A, (slice(None), V > 0)),
        _indexed("none chosen", A, np.zeros((3, 4), dtype=bool)),
        _indexed("0 indices", A, np.zeros((0,), dtype=np.int64)),
        Sample("gather", lambda x: tg.gather(x, 1, I2[:, :3] % 4), (A,),
               lambda x: np.take_along_axis(x[:2], I2[:, :3] % 4, 1)),
        Sample("index_select", lambda x: tg.index_select(x, 1, I1), (A,), lambda x: x[:, I1]),
        Sample("take_along_dim", lambda x: tg.take_along_dim(x, I1[:3, None], 1), (A,),
               lambda x: np.take_along_axis(x, I1[:3, None], 1)),
    ],
    "assemble": [
        Sample("scatter_add", lambda x, s: tg.scatter_add(x, 0, I2, s), (A, B[:2]),
               lambda x, s: x + _scattered((I2, np.arange(4)), (3, 4))(s)),
        Sample("scatter_add last", lambda x, s: tg.scatter_add(x, 1, I2[:, :3], s), (A, B),
               lambda x, s: x + _scattered((np.arange(2)[:, None], I2[:, :3]), (3, 4))(s[:2, :3])),
    ],
    "sum": [*_sums("sum", "sum"),
            Sample("empty", lambda x: tg.sum(x, 0), (EMPTY,), lambda x: x.sum(0)),
            Sample("no axes", lambda x: tg.sum(x, ()), (A,), lambda x: x.sum(axis=()))],
    "cumsum": [
        Sample("first", lambda x: tg.cumsum(x, 0), (A,), lambda x: np.cumsum(x, 0)),
        Sample("last", lambda x: tg.cumsum(x, -1), (C,), lambda x: np.cumsum(x, -1)),
        Sample("empty", lambda x: tg.cumsum(x, 0), (EMPTY,), lambda x: x),
    ],
    "amax": _sums("max", "amax", analytic=False),
    "amin": _sums("min", "amin", analytic=False),
    "logsumexp": [
        Sample(s.name, s.fn, s.args, r, step=5e-4)
        for s, r in zip(
            _sums("sum", "logsumexp"),
            [_logsumexp, _logsumexp]
            + [
                lambda x, d=d, k=k: _logsumexp(x, d, k)
                for d in (1, -1, (0, 2), (-1, 0))
                for k in (False, True)
            ],
            strict=True,
        )
    ],
    "argsort": [
        _tells("last", tg.argsort, (A,), lambda x: np.argsort(x, -1)),
        _tells("first", lambda x: tg.argsort(x, 0), (A,), lambda x: np.argsort(x, 0)),
        _tells("ties", tg.argsort, (np.array([1.0, 0.0, 1.0, 0.0]),), lambda x: [1, 3, 0, 2]),
    ],
    "argmax": [
        _tells("all", tg.argmax, (A,), np.argmax),
        _tells("dim", lambda x: tg.argmax(x, 1), (A,), lambda x: np.argmax(x, 1)),
        _tells("keep", lambda x: tg.argmax(x, 0, keepdim=True), (A,),
               lambda x: np.argmax(x, 0, keepdims=True)),
        _tells("0-d", lambda x: tg.argmax(x, 0), (SCALAR_0D,), lambda x: 0),
    ],
    "argmin": [
        _tells("all", tg.argmin, (A,), np.argmin),
        _tells("dim", lambda x: tg.argmin(x, -1), (A,), lambda x: np.argmin(x, -1)),
    ],
    "any": [
        _tells("all", tg.any, (BITS,), np.any),
        _tells("dim", lambda x: tg.any(x, 0), (BITS,), lambda x: x.any(0)),
        _tells("floats", lambda x: tg.any(x, 1, keepdim=True), (A,), lambda x: (x != 0).any(1)[:, None]),
    ],
    "all": [
        _tells("all", tg.all, (BITS,), np.all),
        _tells("dim", lambda x: tg.all(x, 1), (BITS,), lambda x: x.all(1)),
    ],
    "eq": _comparisons("eq", np.equal),
    "ne": _comparisons("ne", np.not_equal),
    "lt": _comparisons("lt", np.less),
    "le": _comparisons("le", np.less_equal),
    "gt": _comparisons("gt", np.greater),
    "ge": _comparisons("ge", np.greater_equal),
    "logical_and": _comparisons("logical_and", np.logical_and),
    "logical_or": _comparisons("logical_or", np.logical_or),
    "isnan": [_tells("special", tg.isnan, (SPECIAL,), np.isnan)],
    "isinf": [_tells("special", tg.isinf, (SPECIAL,), np.isinf)],
    "isfinite": [_tells("special", tg.isfinite, (SPECIAL,), np.isfinite)],
    "logical_not": [_tells("bits", tg.logical_not, (BITS,), np.logical_not)],
}  # fmt: skip

# parts of the machine, which no user calls on numbers
ELSEWHERE = {
    "leaf": "where gradients collect: every test of backward",
    "begin": "marks where a checkpoint began: tests/autodiff/test_checkpointing.py",
    "checkpoint": "tests/autodiff/test_checkpointing.py",
    "item": "one output of several: tests/autodiff/test_checkpointing.py",
    "alias": "an input of a transform: tests/autodiff/test_transforms.py",
    "detach": "tests/autodiff/test_graph_rules.py",
    "move": "between devices: tests/test_devices.py",
}


# ---------------------------------------------------------------------------- compositions
def _extreme_values(x: Array, largest: bool, k: int, axis: int) -> Array:
    ordered = np.sort(x, axis)
    return np.take(np.flip(ordered, axis) if largest else ordered, np.arange(k), axis)


def _convolved(
    x: Array, w: Array, b: Any = 0.0, stride: int = 1, pad: tuple[int, int] = (0, 0),
    dilation: int = 1, groups: int = 1,
) -> Array:  # fmt: skip
    """The definition, one number at a time."""
    x = np.pad(x, ((0, 0), (0, 0), pad))
    count, (out, inner, kernel) = len(x), w.shape
    steps = (x.shape[2] - dilation * (kernel - 1) - 1) // stride + 1
    y = np.zeros((count, out, steps), dtype=np.result_type(x, w)) + np.reshape(b, (-1, 1))
    for n, o, u, c, k in np.ndindex(count, out, steps, inner, kernel):
        channel = (o // (out // groups)) * inner + c
        y[n, o, u] += w[o, c, k] * x[n, channel, u * stride + k * dilation]
    return y


XT, KERNEL = _numbers(2, 4, 7), _numbers(6, 2, 3, seed=4)


def _conv(name: str, options: dict[str, Any], **reference: Any) -> Sample:
    groups = options.get("groups", 1)
    kernel = _numbers(6, 4 // groups, 3, seed=4)
    return Sample(
        name, lambda x, w, b: tg.conv1d(x, w, b, **options), (XT, kernel, _numbers(6)),
        lambda x, w, b: _convolved(x, w, b, groups=groups, **reference),
    )  # fmt: skip


def _einsum(equation: str, *args: Array) -> Sample:
    return Sample(
        equation, lambda *xs: tg.einsum(equation, *xs), args, lambda *xs: np.einsum(equation, *xs)
    )


ZEROS = {f"{n} zeros": np.where(np.arange(4) < n, 0.0, V) for n in range(4)}
COMPOSED: dict[str, list[Sample]] = {
    "mean": _sums("mean", "mean"),
    "var": [
        Sample("unbiased", tg.var, (A,), lambda x: np.var(x, ddof=1)),
        Sample("dim", lambda x: tg.var(x, 1, 0, True), (A,), lambda x: np.var(x, 1, keepdims=True)),
    ],
    "std": [Sample("dim", lambda x: tg.std(x, 0), (A,), lambda x: np.std(x, 0, ddof=1))],
    "norm": [
        Sample("2", tg.norm, (A,), lambda x: np.sqrt((x * x).sum())),
        Sample("1", lambda x: tg.norm(x, 1, 0), (A,), lambda x: np.abs(x).sum(0), False),
        Sample("inf", lambda x: tg.norm(x, INF, 1), (A,), lambda x: np.abs(x).max(1), False),
        Sample("3", lambda x: tg.norm(x, 3.0, 1, True), (A,),
               lambda x: (np.abs(x) ** 3).sum(1, keepdims=True) ** (1 / 3), False),
    ],
    "prod": [
        *[Sample(n, tg.prod, (z,), np.prod) for n, z in ZEROS.items()],
        Sample("dim", lambda x: tg.prod(x, 1), (A,), lambda x: np.prod(x, 1)),
        Sample("dims", lambda x: tg.prod(x, (0, 2), True), (C[:, :2, :2],),
               lambda x: np.prod(x, (0, 2), keepdims=True)),
        Sample("empty", lambda x: tg.prod(x, 0), (EMPTY,), lambda x: np.ones(3)),
        Sample("0-d", tg.prod, (SCALAR_0D,), lambda x: x),
    ],
    "max, min": [
        Sample("max", lambda x: tg.max(x, 1).values, (A,), lambda x: x.max(1), False),
        Sample("min", lambda x: tg.min(x, 0, keepdim=True).values, (A,),
               lambda x: x.min(0, keepdims=True), False),
        Sample("max all", lambda x: tg.max(x), (A,), lambda x: x.max(), False),
    ],
    "sort": [
        Sample("up", lambda x: tg.sort(x, 0).values, (A,), lambda x: np.sort(x, 0), False),
        Sample("down", lambda x: tg.sort(x, descending=True).values, (A,),
               lambda x: -np.sort(-x, -1), False),
        Sample("topk", lambda x: tg.topk(x, 2).values, (A,),
               lambda x: _extreme_values(x, True, 2, 1), False),
        Sample("lowk", lambda x: tg.topk(x, 2, 0, largest=False).values, (A,),
               lambda x: _extreme_values(x, False, 2, 0), False),
    ],
    "outer, dot": [
        Sample("outer", tg.outer, (V, W), np.outer),
        Sample("dot", tg.dot, (V, V[::-1].copy()), np.dot),
    ],
    "einsum": [
        _einsum("ij,jk->ik", A, B.T), _einsum("ij,ij->", A, B), _einsum("i,j->ji", V, W),
        _einsum("bij,bjk->bik", C, C.swapaxes(1, 2)), _einsum("ii->i", A[:, :3]),
        _einsum("ii", A[:, :3]), _einsum("ijk->kj", C), _einsum("...ij,...j->...i", C, V),
        _einsum("ij,jk,kl->il", A, B.T, A), _einsum("bij,kj->bk", C, A), _einsum("ij->", A),
        _einsum("i,i,i->i", V, V, V), _einsum("...i->...", C), _einsum("ij,kl->", A, B),
    ],
    "conv1d": [
        _conv("plain", {}), _conv("stride", {"stride": 2}, stride=2),
        _conv("padding", {"padding": 2}, pad=(2, 2)),
        _conv("causal", {"padding": "causal", "dilation": 2}, pad=(4, 0), dilation=2),
        _conv("same", {"padding": "same"}, pad=(1, 1)),
        _conv("groups", {"groups": 2}), _conv("all", {"groups": 2, "stride": 2, "dilation": 2,
              "padding": 3}, stride=2, dilation=2, pad=(3, 3)),
    ],
    "pow": [
        Sample(f"power {p}", lambda x, p=p: tg.pow(x, p), (np.abs(A) + 0.3,), lambda x, p=p: x**p)
        for p in (0, 1, 2, 3, 0.5, -1, -2.5)
    ] + [Sample(f"negative base {p}", lambda x, p=p: tg.pow(x, p), (A * 2,), lambda x, p=p: x**p)
         for p in (2, 3, -1)]
      + [Sample("base", lambda y: tg.pow(2.0, y) if isinstance(y, tg.Tensor) else 2.0**y, (A,),
                lambda y: 2.0**y)],
    "clip": [
        Sample("low", lambda x: tg.clip(x, min=-0.5), (A,), lambda x: np.maximum(x, -0.5), False),
        Sample("tensors", lambda x, low: tg.clip(x, low, 0.9), (A, V * 0.3 - 1),
               lambda x, low: np.clip(x, low, 0.9), False),
    ],
    "safe": [
        Sample("sqrt", tg.safe_sqrt, (np.abs(A),), np.sqrt),
        Sample("log", tg.safe_log, (np.abs(A),), np.log),
    ],
}  # fmt: skip


def samples_of(name: str) -> list[Sample]:
    """The samples of a registered primitive; KeyError if none are declared."""
    primitive = primitives[name]
    if primitive.form == "elementwise":
        return list(elementwise_samples(primitive))
    return [] if name in ELSEWHERE else SAMPLES[name]
