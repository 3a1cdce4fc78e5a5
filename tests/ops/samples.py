"""What every registered primitive is tried on.

An elementwise primitive needs a formula in `sampling.SCALAR`; its samples are drawn from the domain
that it declares, away from the kinks that it declares. Any other primitive needs an entry in
`SAMPLES`, or a line in `ELSEWHERE` that names the test in which it is differentiated.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from sampling import (
    EMPTY,
    I1,
    I2,
    INF,
    SCALAR_0D,
    A,
    Array,
    B,
    C,
    Sample,
    V,
    W,
    elementwise_samples,
    numbers,
    sums,
)

import tinygrad_rnn as tg
from tinygrad_rnn.compiler.packing import pack, ragged, sort_rows, unpack
from tinygrad_rnn.graph import primitives
from tinygrad_rnn.losses.ctc import ctc_loss


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


PACKED = ragged(np.array([1, 2, 2]), 2, False)


def _rows_of(x: Array) -> Array:
    return np.array([x[t, b] for t, b in ((0, 1), (0, 2), (0, 0), (1, 1), (1, 2))])


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


def _bitwise(name: str) -> list[Sample]:
    ours, numpys = getattr(tg, name), getattr(np, name)
    pairs = {"integers": (I2, I1), "bits": (BITS, ~BITS), "both": (BITS, I1[:2])}
    return [_tells(k, ours, v, numpys) for k, v in pairs.items()]


def _ctc(log_probs: Array, target: tuple[int, ...]) -> float:
    """The definition: the probability of every path that spells the target."""
    total = 0.0
    for path in itertools.product(range(log_probs.shape[1]), repeat=len(log_probs)):
        merged = [symbol for symbol, _ in itertools.groupby(path)]
        if tuple(s for s in merged if s) == target:
            total += math.exp(sum(row[s] for row, s in zip(log_probs, path, strict=True)))
    return -math.log(total)


def _ctc_samples() -> list[Sample]:
    rows, ends = [(1, 2), (2, 2), (1,)], [4, 4, 3]
    padded = np.array([[1, 2], [2, 2], [1, 0]])
    return [
        Sample(
            "rows", lambda x: ctc_loss(x, padded, ends, [2, 2, 1], reduction="none"),
            (_log_probabilities(4, 3, 3),),
            lambda x: np.array([_ctc(x[:n, i], rows[i]) for i, n in enumerate(ends)]),
            analytic=False, raw=False,
        )
    ]  # fmt: skip


def _log_probabilities(*shape: int) -> Array:
    x = numbers(*shape)
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


SAMPLES: dict[str, list[Sample]] = {
    "ctc": _ctc_samples(),
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
        Sample("rows", lambda x, y: tg.cat([x, y]), (A, B[:1]),
               lambda x, y: np.concatenate([x, y])),
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
        Sample("two", lambda x: tg.pad(x, (0, 1, 2, 0)), (A,),
               lambda x: np.pad(x, ((2, 0), (0, 1)))),
        Sample("value", lambda x: tg.pad(x, (1, 1), 2.5), (V,),
               lambda x: np.pad(x, 1, constant_values=2.5)),
    ],
    "pack_rows": [
        Sample("unequal", lambda x: pack(x, PACKED), (C,), lambda x: _rows_of(x)[:, None]),
    ],
    "unpack_rows": [
        Sample("unequal", lambda x: unpack(x, PACKED), (_rows_of(C)[:, None],),
               lambda x: np.array([[x[2, 0], x[0, 0], x[1, 0]], [0 * x[0, 0], x[3, 0], x[4, 0]]])),
    ],
    "sort_rows": [
        Sample("longest first", lambda x: sort_rows(x, PACKED), (A,), lambda x: x[[1, 2, 0]]),
        Sample("back", lambda x: sort_rows(x, PACKED, back=True), (A,), lambda x: x[[2, 0, 1]]),
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
        Sample("rows", tg.ops.linalg.linear, (A, numbers(2, 4), V[:2]),
               lambda x, w, b: x @ w.T + b),
        Sample("batch", tg.ops.linalg.linear, (C, numbers(2, 4), V[:2]),
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
        Sample("the same row twice", lambda x: x[0] * 2 + x[0:1] * x[-3], (A,),
               lambda x: x[0] * 2 + x[0:1] * x[-3]),
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
    "sum": [*sums("sum", "sum"),
            Sample("empty", lambda x: tg.sum(x, 0), (EMPTY,), lambda x: x.sum(0)),
            Sample("no axes", lambda x: tg.sum(x, ()), (A,), lambda x: x.sum(axis=()))],
    "cumsum": [
        Sample("first", lambda x: tg.cumsum(x, 0), (A,), lambda x: np.cumsum(x, 0)),
        Sample("last", lambda x: tg.cumsum(x, -1), (C,), lambda x: np.cumsum(x, -1)),
        Sample("empty", lambda x: tg.cumsum(x, 0), (EMPTY,), lambda x: x),
    ],
    "amax": sums("max", "amax", analytic=False),
    "amin": sums("min", "amin", analytic=False),
    "logsumexp": [
        Sample(s.name, s.fn, s.args, r, step=5e-4)
        for s, r in zip(
            sums("sum", "logsumexp"),
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
        _tells("floats", lambda x: tg.any(x, 1, keepdim=True), (A,),
               lambda x: (x != 0).any(1)[:, None]),
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
    "bitwise_and": _bitwise("bitwise_and"),
    "bitwise_or": _bitwise("bitwise_or"),
    "bitwise_xor": _bitwise("bitwise_xor"),
    "bitwise_not": [
        _tells("integers", tg.bitwise_not, (I2,), np.invert),
        _tells("bits", tg.bitwise_not, (BITS,), np.invert),
    ],
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
    "loop": "a compiled loop: tests/compiler",
    "derivative of loop": "the gradient of one, to be differentiated: tests/compiler",
    "scatter": "made by the loop compiler: tests/compiler/test_lookups.py",
    "move": "between devices: tests/test_devices.py",
}


def samples_of(name: str) -> list[Sample]:
    """The samples of a registered primitive; KeyError if none are declared."""
    primitive = primitives[name]
    if primitive.form == "elementwise":
        return list(elementwise_samples(primitive))
    return [] if name in ELSEWHERE else SAMPLES[name]
