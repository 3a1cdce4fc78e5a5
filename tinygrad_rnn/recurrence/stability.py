"""What σ, tanh and ReLU become when they are applied over and over.

Legend: N starts, H units; a run is h ← f(W h + b) from each start.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..arguments import finite_array
from ..errors import ArgumentError, ShapeError

__all__ = ["FATES", "Stability", "recursion", "stability"]

FloatArray = NDArray[np.float64]


def _sigmoid(a: FloatArray) -> FloatArray:
    return 0.5 * (1 + np.tanh(0.5 * a))


Functions = dict[str, tuple[Callable[[FloatArray], FloatArray], Callable[[FloatArray], FloatArray]]]
# Each function, and its slope in terms of its value.
FUNCTIONS: Functions = {
    "sigmoid": (_sigmoid, lambda y: y * (1 - y)),
    "tanh": (np.tanh, lambda y: 1 - y * y),
    "relu": (lambda a: np.maximum(a, 0), lambda y: (y > 0).astype(np.float64)),
}
FATES = ("fixed point", "cycle of two", "explosion", "no rest")
LARGE = 1e12


class Stability(NamedTuple):
    """Where N runs end.

    `final` (N, H); `fate` (N,) numbers into FATES; `saturated` (N,) the share of units whose slope
    is below 5 % of the function's steepest; `growth` (N,) the mean log factor by which one more
    step stretches a small disturbance (Lyapunov's exponent): below 0 gradients vanish.
    """

    final: FloatArray
    fate: NDArray[np.int64]
    saturated: FloatArray
    growth: FloatArray


def recursion(
    function: str, weight: ArrayLike, starts: ArrayLike, steps: int, bias: ArrayLike = 0.0
) -> FloatArray:
    """The runs h ← f(W h + b): (steps + 1, N, H) from `starts` (N, H); above 10¹² they stand still.

    Raises:
        ArgumentError: an unknown function, steps below 1. ShapeError: sizes that do not fit.

    >>> recursion("relu", [[2.0]], [[1.0], [-1.0]], 3)[:, :, 0].T.tolist()
    [[1.0, 2.0, 4.0, 8.0], [-1.0, 0.0, 0.0, 0.0]]
    """
    if function not in FUNCTIONS:
        known = ", ".join(FUNCTIONS)
        raise ArgumentError("recursion", f"a function among {known}", repr(function))
    if type(steps) is not int or steps < 1:
        raise ArgumentError("recursion", "steps >= 1", repr(steps))
    matrix = finite_array("recursion", "a weight", weight)
    h = finite_array("recursion", "starts", starts)
    if h.ndim != 2 or matrix.shape != (h.shape[1], h.shape[1]):
        expected = "starts (N, H) and a weight (H, H)"
        raise ShapeError("recursion", expected, f"{h.shape} and {matrix.shape}")
    apply, runs = FUNCTIONS[function][0], [h]
    for _ in range(steps):
        runs.append(np.clip(apply(runs[-1] @ matrix.T + np.asarray(bias)), -LARGE, LARGE))
    return np.stack(runs)


def stability(
    function: str,
    weight: ArrayLike,
    starts: ArrayLike,
    steps: int = 1000,
    bias: ArrayLike = 0.0,
    tolerance: float = 1e-6,
) -> Stability:
    """Follow each start for many steps and say what becomes of it.

    >>> for name in ("sigmoid", "tanh", "relu"):
    ...     found = stability(name, [[1.5]], [[0.1]])
    ...     print(name, FATES[found.fate[0]], round(float(found.growth[0]), 2))
    sigmoid fixed point -1.29
    tanh fixed point -0.93
    relu explosion 0.41
    """
    runs = recursion(function, weight, starts, steps, bias)
    slope = FUNCTIONS[function][1]
    last, before, earlier = runs[-1], runs[-2], runs[-3] if steps > 1 else runs[-2]
    large = np.abs(last).max(axis=1) >= LARGE
    still = np.abs(last - before).max(axis=1) <= tolerance
    twofold = np.abs(last - earlier).max(axis=1) <= tolerance
    fate = np.select([large, still, twofold], [2, 0, 1], default=3)
    steepest = 0.25 if function == "sigmoid" else 1.0
    saturated = (slope(last) < 0.05 * steepest).mean(axis=1)
    return Stability(last, fate, saturated, _growth(runs, np.asarray(weight, float), slope))


def _growth(
    runs: FloatArray, matrix: FloatArray, slope: Callable[[FloatArray], FloatArray]
) -> FloatArray:
    """Lyapunov's exponent over the second half: a disturbance is carried along and kept at 1."""
    half = len(runs) // 2
    v = np.full(runs.shape[1:], 1 / np.sqrt(runs.shape[2]))
    total = np.zeros(len(v))
    for h in runs[half + 1 :]:
        v = slope(h) * (v @ matrix.T)
        norm = np.linalg.norm(v, axis=1)
        total += np.log(norm, where=norm > 0, out=np.full(len(v), -np.inf))
        v = v / np.where(norm > 0, norm, 1.0)[:, None]
    result: FloatArray = total / max(len(runs) - half - 1, 1)
    return result
