"""The optimisers once more: one parameter at a time, in float64, each line one line of its paper.

Nothing here is flat, in place or shared, so that it can disagree with `tinygrad_rnn.optim`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

import tinygrad_rnn as tg
from tinygrad_rnn import optim

Array = NDArray[Any]
SHAPES = [(3, 4), (4,), (), (2, 0), (2, 3, 2), (5,)]  # a number and an empty array among them
GROUPS = [slice(0, 4), slice(4, 6)]

CASES: list[tuple[str, dict[str, Any]]] = [
    ("SGD", {"lr": 0.1}),
    ("SGD", {"lr": 0.1, "weight_decay": 0.05, "maximize": True}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.05}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.05}),
    ("Adagrad", {"lr": 0.1}),
    ("Adagrad", {"lr": 0.1, "lr_decay": 0.2, "weight_decay": 0.05, "eps": 1e-3}),
    ("Adagrad", {"lr": 0.1, "initial_accumulator_value": 0.5, "maximize": True}),
    ("RMSprop", {"lr": 0.05}),
    ("RMSprop", {"lr": 0.05, "alpha": 0.8, "momentum": 0.9, "weight_decay": 0.05}),
    ("RMSprop", {"lr": 0.05, "alpha": 0.8, "centered": True, "eps": 1e-3, "maximize": True}),
    ("RMSprop", {"lr": 0.05, "momentum": 0.5, "centered": True, "eps": 1e-3}),
    ("Adadelta", {"lr": 1.0}),
    ("Adadelta", {"lr": 0.7, "rho": 0.8, "eps": 1e-3, "weight_decay": 0.05, "maximize": True}),
    ("Adam", {"lr": 0.05}),
    ("Adam", {"lr": 0.05, "betas": (0.5, 0.8), "eps": 1e-3, "weight_decay": 0.05}),
    ("Adam", {"lr": 0.05, "betas": (0.5, 0.6), "amsgrad": True, "maximize": True}),
    ("AdamW", {"lr": 0.05}),
    ("AdamW", {"lr": 0.05, "weight_decay": 0.3, "amsgrad": True, "betas": (0.5, 0.6)}),
]
CASE_NAMES = [f"{name}-{'-'.join(options)}" for name, options in CASES]


class Reference:
    """One parameter and its state."""

    def __init__(self, name: str, value: Array, options: dict[str, Any]) -> None:
        self.theta = value.astype(np.float64)
        defaults = getattr(optim, name)([tg.tensor([0.0])]).defaults
        self.o = {**defaults, **options}
        self.name, self.t, self.s = name, 0, dict[str, Any]()

    def step(self, gradient: Array) -> None:
        self.t += 1
        g = gradient.astype(np.float64) * (-1 if self.o["maximize"] else 1)
        if self.name == "AdamW":
            self.theta = self.theta - self.o["lr"] * self.o["weight_decay"] * self.theta
        else:
            g = g + self.o["weight_decay"] * self.theta
        rule = self.adam if self.name == "AdamW" else getattr(self, self.name.lower())
        self.theta = self.theta - self.o["lr"] * rule(g, **self.o)

    def average(self, name: str, value: Array, keep: float) -> Array:
        self.s[name] = keep * self.s.get(name, 0 * value) + (1 - keep) * value
        return self.s[name]

    def sgd(self, g: Array, momentum: float, dampening: float, nesterov: bool, **_: Any) -> Array:
        if momentum == 0:
            return g
        b = momentum * self.s["b"] + (1 - dampening) * g if "b" in self.s else g
        self.s["b"] = b
        return g + momentum * b if nesterov else b

    def adagrad(
        self, g: Array, lr_decay: float, initial_accumulator_value: float, eps: float, **_: Any
    ) -> Array:
        self.s["sum"] = self.s.get("sum", initial_accumulator_value) + g**2
        return g / (np.sqrt(self.s["sum"]) + eps) / (1 + (self.t - 1) * lr_decay)

    def rmsprop(
        self, g: Array, alpha: float, eps: float, momentum: float, centered: bool, **_: Any
    ) -> Array:
        v = self.average("v", g**2, alpha)
        if centered:
            v = v - self.average("m", g, alpha) ** 2
        self.s["b"] = momentum * self.s.get("b", 0) + g / (np.sqrt(v) + eps)
        return np.asarray(self.s["b"])

    def adadelta(self, g: Array, rho: float, eps: float, **_: Any) -> Array:
        v = self.average("v", g**2, rho)
        delta = np.sqrt(self.s.get("u", 0) + eps) / np.sqrt(v + eps) * g
        self.average("u", delta**2, rho)
        return np.asarray(delta)

    def adam(
        self, g: Array, betas: tuple[float, float], eps: float, amsgrad: bool, **_: Any
    ) -> Array:
        m = self.average("m", g, betas[0]) / (1 - betas[0] ** self.t)
        v = self.average("v", g**2, betas[1])
        if amsgrad:
            v = self.s["largest"] = np.maximum(v, self.s.get("largest", 0))
        return m / (np.sqrt(v / (1 - betas[1] ** self.t)) + eps)


def start(rng: np.random.Generator, dtype: Any) -> list[Array]:
    """The first values of parameters of many shapes."""
    return [np.asarray(rng.standard_normal(shape)).astype(dtype) for shape in SHAPES]


def gradients(
    rng: np.random.Generator, dtype: Any, steps: int, missing: bool
) -> Iterator[list[Array | None]]:
    """Gradients of each step; with `missing`, some parameters have none in some steps."""
    for step in range(steps):
        found: list[Array | None] = [*start(rng, dtype)]
        for i in range(len(found)):
            if missing and (step + 2 * i) % (3 + i) == 0:
                found[i] = None
        yield found


def grouped(params: Sequence[Any]) -> list[dict[str, Any]]:
    """Two groups, the second with a rate and a weight decay of its own."""
    first, second = ({"params": list(params[part])} for part in GROUPS)
    return [first, {**second, "lr": 0.02, "weight_decay": 0.2}]


def tensors(values: Sequence[Array], device: str) -> list[tg.Tensor]:
    return [tg.tensor(value, device=device, requires_grad=True) for value in values]


def give(params: Sequence[tg.Tensor], found: Sequence[Array | None]) -> None:
    """Set the gradients as backward would."""
    for param, g in zip(params, found, strict=True):
        param.grad = None if g is None else tg.tensor(g, device=param.device)


def host(tensor: tg.Tensor) -> Array:
    array: Array = tensor.detach().to("cpu").numpy()
    return array
