"""Cells that nobody wrote: random programs over the primitives, on every engine as on the loop."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scan_cells import difference

import tinygrad_rnn as tg
from tinygrad_rnn.compiler import fallbacks
from tinygrad_rnn.scan import ENGINES
from tinygrad_rnn.tree import flatten

NAMES = sorted(name for name in ENGINES if name != "loop")
B, N = 3, 4
UNARY = [
    "tanh", "sigmoid", "relu", "abs", "neg", "square", "sin", "softplus", "sign", "exp_small",
    "row_mean", "row_max", "row_normalised", "half_swap", "first_half_twice", "flip", "outer_shape",
    "transposed", "reshaped", "detached", "cumsum", "clipped", "cast_mask", "column_mean", "cos",
    "erf", "atan", "tan_small", "expm1_small", "hyperbolic", "logs", "cube", "root", "row_logsum",
    "mish", "gelu", "padded", "stacked", "outer_read", "matrix_square",
]  # fmt: skip
BINARY = [
    "add", "sub", "mul", "maximum", "minimum", "where", "cat_product", "gate", "divide",
    "logaddexp", "power",
]  # fmt: skip
WITH_WEIGHT = ["product", "scaled", "shifted", "product_of_slice", "left_product"]


def apply_unary(name: str, v: Any) -> Any:
    simple = {
        "exp_small": lambda v: (v * 0.3).clip(-3, 3).exp(),
        "row_mean": lambda v: v - v.mean(1, keepdim=True),
        "row_max": lambda v: v - v.amax(1, keepdim=True),
        "row_normalised": lambda v: v * ((v * v).mean(1, keepdim=True) + 0.1).rsqrt(),
        "half_swap": lambda v: tg.cat([v[:, N // 2 :], v[:, : N // 2]], 1),
        "first_half_twice": lambda v: tg.cat([v[:, : N // 2], v[:, : N // 2]], 1),
        "flip": lambda v: v.flip(1),
        "outer_shape": lambda v: (v.unsqueeze(2) * v.unsqueeze(1)).sum(2),
        "transposed": lambda v: (v.T * 0.5).T,
        "reshaped": lambda v: v.reshape(-1).tanh().reshape(B, N),
        "detached": lambda v: v.detach() * 0.5 + v,
        "cumsum": lambda v: v.cumsum(1) * 0.3,
        "clipped": lambda v: v.clip(-0.5, 0.7),
        "cast_mask": lambda v: v * (v > 0.1).to(v.dtype),
        "column_mean": lambda v: v - v.mean(0),
        "tan_small": lambda v: (v * 0.3).tanh().tan() + v.tanh().asin(),
        "expm1_small": lambda v: v.clip(-3, 1).expm1() + v.clip(-3, 1).exp2(),
        "hyperbolic": lambda v: v.clip(-2, 2).sinh() - v.clip(-2, 2).cosh(),
        "logs": lambda v: (v * v + 0.5).log() + (v * v).log1p() - (v * v + 2.0).log2(),
        "cube": lambda v: (v**3).clip(-3, 3),
        "root": lambda v: (v * v + 0.3) ** -1.5,
        "row_logsum": lambda v: v - v.logsumexp(1, keepdim=True),
        "mish": lambda v: v * v.softplus().tanh(),
        "padded": lambda v: tg.pad(v[:, 1:] * 0.7, (0, 1)) + tg.pad(v, (2, 0))[:, :N],
        "stacked": lambda v: tg.stack([v, v * v, v.sin()], 1).amax(1),
        "outer_read": lambda v: ((v[:, :, None] @ v[:, None]) @ v[:, :, None])[:, :, 0] * 0.2,
        "matrix_square": lambda v: (
            v - 0.3 * (v.reshape(B, 2, 2) @ v.reshape(B, 2, 2)).reshape(B, N)
        ),
        "gelu": lambda v: v * 0.5 * (1 + (v * math.sqrt(0.5)).erf()),
    }
    return simple[name](v) if name in simple else getattr(v, name)()


def apply_binary(name: str, a: Any, b: Any, w: Any) -> Any:
    if name == "where":
        return tg.where(a > b, a, b * 0.5)
    if name == "cat_product":
        return tg.cat([a, b], 1) @ tg.cat([w, w], 0)
    if name == "gate":
        return a.sigmoid() * b
    if name == "divide":
        return a / (b * b + 1.0)
    if name == "power":
        return (a * a + 0.5) ** b.tanh()
    return getattr(tg, name)(a, b)


def apply_weight(name: str, v: Any, w: Any) -> Any:
    if name == "scaled":
        return v * w[0]
    if name == "shifted":
        return v + w[1] * 0.5
    if name == "product_of_slice":
        return v[:, 1:] @ w[1:]
    if name == "left_product":
        return w[:B, :B] @ v
    return v @ w


programs = st.lists(
    st.tuples(st.sampled_from(UNARY + BINARY + WITH_WEIGHT), st.integers(0, 9), st.integers(0, 9)),
    min_size=1,
    max_size=9,
)
shapes_of_outputs = st.sampled_from(["tensor", "tuple", "dict", "nested"])


def outputs_as(form: str, values: list[Any]) -> Any:
    last, first = values[-1], values[0]
    return {
        "tensor": last,
        "tuple": (last, first),
        "dict": {"b": last, "a": values[len(values) // 2]},
        "nested": [last, (first.sum(1), {"c": last.amax(1)})],
    }[form]


def build(program: Any, carries: int, form: str, parameters: list[Any]) -> Any:
    """A step from a random program; every carry is read, and squashed so that nothing explodes."""

    def step(carry: Any, x: Any) -> Any:
        values = [*carry, x]
        for i, (name, j, k) in enumerate(program):
            a, b = values[j % len(values)], values[k % len(values)]
            w = parameters[i % len(parameters)]
            if name in UNARY:
                values.append(apply_unary(name, a))
            elif name in BINARY:
                values.append(apply_binary(name, a, b, w))
            else:
                values.append(apply_weight(name, a, w))
        new = [
            (values[-1 - i % len(program)] * 0.5 + carry[i] * 0.3).tanh() for i in range(carries)
        ]
        return tuple(new), outputs_as(form, values)

    return step


def outcome(program: Any, carries: int, form: str, engine: str, dtype: Any, options: Any) -> Any:
    rng = np.random.default_rng(7)

    def leaf(*shape: int) -> Any:
        return tg.tensor(rng.normal(size=shape) * 0.5, dtype=dtype, requires_grad=True)

    parameters = [leaf(N, N), leaf(N, N)]
    init, xs = tuple(leaf(B, N) for _ in range(carries)), leaf(options["steps"], B, N)
    rest = {k: v for k, v in options.items() if k != "steps"}
    step = build(program, carries, form, parameters)
    outputs = flatten(tg.scan(step, init, xs, engine=engine, **rest))[0]
    weights = [tg.tensor(rng.normal(size=o.shape), dtype=dtype) for o in outputs]
    loss = sum((o * w).sum() for o, w in zip(outputs, weights, strict=True))
    leaves = [*init, xs, *parameters]
    found: list[Any] = [None] * len(leaves)  # the loop may know that nothing has a gradient
    if loss.requires_grad:
        found = tg.gradients(loss, leaves, allow_unused=True)
    return [o.detach().numpy() for o in outputs] + [None if g is None else g.numpy() for g in found]


options_of_scan = st.fixed_dictionaries(
    {"steps": st.sampled_from([1, 2, 5])},
    optional={
        "reverse": st.booleans(),
        "truncate": st.sampled_from([1, 2]),
        "checkpoint_every": st.sampled_from([2, 3]),
    },
)


@pytest.mark.parametrize("engine", NAMES)
@settings(max_examples=max(1, settings.default.max_examples))
@given(programs, st.integers(1, 3), shapes_of_outputs, options_of_scan)
def test_float64_is_exact(engine: str, program: Any, carries: int, form: str, options: Any) -> None:
    fallbacks.clear()
    found = outcome(program, carries, form, engine, tg.float64, options)
    assert not fallbacks
    expected = outcome(program, carries, form, "loop", tg.float64, options)
    assert difference(found, expected) < 1e-12


@pytest.mark.parametrize("engine", NAMES)
@settings(max_examples=max(1, settings.default.max_examples // 3))
@given(programs, st.integers(1, 2), shapes_of_outputs)
def test_float32_errs_no_more_than_the_loop(
    engine: str, program: Any, carries: int, form: str
) -> None:
    """At most eight times the loop's own rounding error, which float64 measures, plus one ulp."""
    options = {"steps": 4}
    exact = outcome(program, carries, form, "loop", tg.float64, options)
    loop = outcome(program, carries, form, "loop", tg.float32, options)
    found = outcome(program, carries, form, engine, tg.float32, options)
    for a, b, c in zip(found, loop, exact, strict=True):
        if c is None:
            continue
        size = np.abs(c).max()
        ours, theirs = (0.0 if v is None else float(np.abs(v - c).max()) for v in (a, b))
        assert ours <= 8 * theirs + 4e-7 * max(size, 1.0)
