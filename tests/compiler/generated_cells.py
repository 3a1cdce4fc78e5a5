"""Programs that nobody wrote: what hypothesis makes cells of."""

from __future__ import annotations

import math
from typing import Any

from hypothesis import strategies as st

import tinygrad_rnn as tg

__all__ = ["B", "N", "build", "programs", "shapes_of_outputs"]

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
