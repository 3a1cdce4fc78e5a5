"""Do gradients vanish or explode? What arrives at each step, and what one step does to them.

Legend: T time steps, h the carry (any tree), n the numbers in it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..arguments import finite_array, function, numeric_array
from ..create import zeros
from ..errors import ArgumentError, ShapeError
from ..ops.shape import cat
from ..scan import scan
from ..tensor import Tensor, as_tensor
from ..transforms import grad, jacobian
from ..tree import flatten, tree_map, unflatten

__all__ = ["gradient_norms", "log_slope", "spectral_radius", "step_jacobian", "with_disturbances"]

FloatArray = NDArray[np.float64]
Step = Callable[[Any, Any], tuple[Any, Any]]


def with_disturbances(step: Step) -> Step:
    """The step on (x, e), where e is added to the carry first.

    At e = 0 it is the same step, and ∂L/∂e[t] is ∂L/∂h[t] without the recurrence being opened.
    """

    def disturbed(carry: Any, pair: Any) -> tuple[Any, Any]:
        x, e = pair
        return step(tree_map(lambda c, d: c + d, carry, e), x)

    return disturbed


def gradient_norms(step: Step, loss: Callable[[Any, Any], Any], init: Any, xs: Any) -> FloatArray:
    """‖∂L/∂hₜ‖ for t = 0 … T, hₜ the carry after t steps (Pascanu, Mikolov, Bengio 2013).

    Args:
        loss: (final carry, ys) → a number.

    >>> from tinygrad_rnn import tensor, zeros
    >>> halve = lambda h, x: (0.5 * h + x, h)
    >>> gradient_norms(halve, lambda h, ys: h, tensor(0.0), zeros(3)).tolist()
    [0.125, 0.25, 0.5, 1.0]
    """
    for name, given in (("step", step), ("loss", loss)):
        function("gradient_norms", name, given)
    init, xs = tree_map(as_tensor, init), tree_map(as_tensor, xs)
    if any(not leaf.ndim for leaf in flatten(xs)[0]) or not flatten(init)[0]:
        expected = "a carry, and xs with a time axis first"
        raise ShapeError("gradient_norms", expected, "no carry, or a single number")
    length = flatten(xs)[0][0].shape[0]
    none = tree_map(lambda c: zeros(length + 1, *c.shape, dtype=c.dtype, device=c.device), init)

    def disturbed(e: Any) -> Any:
        before = tree_map(lambda d: d[:length], e)
        final, ys = scan(with_disturbances(step), init, (xs, before))
        return loss(tree_map(lambda c, d: c + d[length], final, e), ys)

    found = [g.detach().to("cpu").numpy() for g in flatten(grad(disturbed)(none))[0]]
    squares = [(g.astype(np.float64) ** 2).reshape(length + 1, -1).sum(axis=1) for g in found]
    norms: FloatArray = np.sqrt(np.sum(squares, axis=0))
    return norms


def step_jacobian(step: Step, carry: Any, x: Any) -> FloatArray:
    """∂hₜ₊₁/∂hₜ (n, n) at one carry and input, all parts of the carry in one vector.

    >>> from tinygrad_rnn import tensor
    >>> step_jacobian(lambda h, x: (h * h + x, h), tensor([1.0, 3.0]), tensor(0.0)).tolist()
    [[2.0, 0.0], [0.0, 6.0]]
    """
    function("step_jacobian", "step", step)
    leaves, structure = flatten(tree_map(as_tensor, carry))

    def following(vector: Any) -> Any:
        parts, start = [], 0
        for leaf in leaves:
            parts.append(vector[start : start + leaf.numel()].reshape(leaf.shape))
            start += leaf.numel()
        return cat(
            [leaf.reshape(-1) for leaf in flatten(step(unflatten(structure, parts), x)[0])[0]]
        )

    whole: Tensor = cat([leaf.detach().reshape(-1) for leaf in leaves])
    matrix: FloatArray = jacobian(following)(whole).to("cpu").detach().numpy().astype(np.float64)
    return matrix


def spectral_radius(matrix: Any) -> float:
    """The largest |eigenvalue| of a square matrix: the rate at which its powers grow.

    >>> spectral_radius([[0.0, 2.0], [0.5, 0.0]])
    1.0
    """
    values = matrix.detach().to("cpu").numpy() if isinstance(matrix, Tensor) else matrix
    found = finite_array("spectral_radius", "a matrix", values)
    if found.ndim != 2 or found.shape[0] != found.shape[1]:
        raise ShapeError("spectral_radius", "a square matrix", str(found.shape))
    return float(np.abs(np.linalg.eigvals(found)).max(initial=0.0))


def log_slope(norms: FloatArray) -> float:
    """How much log ‖∂L/∂hₜ‖ grows for each step back; a linear network's tends to log ρ(W).

    Raises:
        ArgumentError: fewer than two norms that are finite and not 0.
    """
    norms = numeric_array("log_slope", "norms", norms).astype(np.float64)
    logs = np.log(norms, where=norms > 0, out=np.full(len(norms), -np.inf))
    usable = np.isfinite(logs)
    if usable.sum() < 2:
        raise ArgumentError("log_slope", "two norms or more, finite and above 0", norms.tolist())
    return float(-np.polyfit(np.arange(len(norms))[usable], logs[usable], 1)[0])
