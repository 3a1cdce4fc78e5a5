"""Gradient clipping: exploding gradients made short before a step, by norm or by value."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import inf, isfinite
from typing import Any

import numpy as np

from .arguments import positive
from .backend import backend_of, quiet
from .errors import ArgumentError, DTypeError, TrainingError
from .graph import touch
from .tensor import Tensor, tensor

__all__ = ["clip_grad_norm_", "clip_grad_value_"]

Array = Any
SAFE = (1e-12, 1e12)  # norms whose squares neither overflow nor vanish in float32


def clip_grad_norm_(
    parameters: Any, max_norm: float, norm_type: float = 2.0, error_if_nonfinite: bool = False
) -> Tensor:
    """Scale all gradients together, in place, so that their joint norm is at most `max_norm`.

    g ← g·min(1, θ/‖g‖) with ‖g‖ over all elements of all gradients (Pascanu, Mikolov and Bengio,
    2013). The direction stays; gradients of norm up to θ are not touched. Norms that would
    overflow in the gradients' dtype are computed all the same.

    Args:
        max_norm: θ; `math.inf` only measures. norm_type: p of the p-norm, or `math.inf`.
        error_if_nonfinite: raise, before any change, if the norm is NaN or infinite.

    Returns:
        The norm before, a 0-d tensor; 0 where nothing has a gradient.

    Raises:
        ArgumentError: no parameters, θ or p not positive. TrainingError: see above.

    >>> x = tensor([3.0, 4.0], requires_grad=True)
    >>> x.backward(tensor([3.0, 4.0]))
    >>> clip_grad_norm_([x], 1.0).item(), [round(g, 6) for g in x.grad.tolist()]
    (5.0, [0.6, 0.8])
    """
    called = "clip_grad_norm_"
    if max_norm != inf:
        positive(called, "max_norm", max_norm)
    if norm_type != inf:
        positive(called, "norm_type", norm_type)
    params, gradients = _gradients(called, parameters)
    with quiet():
        norm = _norm([g.array for g in gradients if g.numel()], norm_type)
        if error_if_nonfinite:
            _refuse_nonfinite(called, params)
        if not norm <= max_norm:
            for gradient in gradients:
                _write(gradient, gradient.backend.xp.multiply, max_norm / norm)
        like = gradients[0] if gradients else params[0]
        return tensor(np.asarray(norm), dtype=like.dtype, device=like.device)


def clip_grad_value_(parameters: Any, clip_value: float, error_if_nonfinite: bool = False) -> None:
    """Clamp every element of every gradient, in place, to [−clip_value, clip_value].

    Raises:
        ArgumentError: no parameters, a value that is not positive. TrainingError: with
        `error_if_nonfinite`, a gradient with NaN or infinity; otherwise NaN stays.

    >>> x = tensor([3.0, 4.0], requires_grad=True)
    >>> x.backward(tensor([-3.0, 0.5]))
    >>> clip_grad_value_([x], 1.0)
    >>> x.grad.tolist()
    [-1.0, 0.5]
    """
    called = "clip_grad_value_"
    bound = positive(called, "clip_value", clip_value)
    params, gradients = _gradients(called, parameters)
    if error_if_nonfinite:
        _refuse_nonfinite(called, params)
    for gradient in gradients:
        _write(gradient, gradient.backend.xp.clip, -bound, bound)


def _gradients(called: str, parameters: Any) -> tuple[list[Tensor], list[Tensor]]:
    """The parameters, and the gradients there are, each once."""
    listed = [parameters] if isinstance(parameters, Tensor) else parameters
    params = list(listed) if isinstance(listed, Iterable) else [listed]
    if not params:
        raise ArgumentError(called, "at least one parameter", "none", "was a generator used up?")
    for param in params:
        if not isinstance(param, Tensor):
            hint = "pass model.parameters()"
            raise DTypeError(called, "tensors whose gradients to clip", type(param).__name__, hint)
    found = {id(p.grad): p.grad for p in params if p.grad is not None}
    return params, list(found.values())


def _refuse_nonfinite(called: str, params: Sequence[Tensor]) -> None:
    for position, param in enumerate(params):
        g = param.grad
        if g is not None and not bool(g.backend.xp.isfinite(g.array).all()):
            raise TrainingError(
                called, "finite gradients", f"NaN or infinity in parameter {position}"
            )


def _write(gradient: Tensor, function: Any, *numbers: float) -> None:
    """Put function(gradient, *numbers) in its place; in its memory if that is its own."""
    array = gradient.array
    flags = array.flags
    if (flags.c_contiguous or flags.f_contiguous) and getattr(flags, "writeable", True):
        touch(array)
        function(array, *numbers, out=array)
    else:  # an expanded or read-only array that somebody assigned
        gradient.array = function(array, *numbers)


# ------------------------------------------------------------------------------------- norms
def _norm(arrays: Sequence[Array], p: float) -> float:
    """The p-norm of all elements together; scaled first where powers would not be accurate."""
    if p != inf:
        norm: float = float(_host([_power_sum(a, p) for a in arrays]).sum()) ** (1 / p)
        if SAFE[0] < norm < SAFE[1] and p <= 2:
            return norm
    largest = float(_host([backend_of(a).xp.abs(a).max() for a in arrays]).max(initial=0.0))
    if p == inf or largest == 0 or not isfinite(largest):
        return largest
    sums = _host([_power_sum(_wide(a) / largest, p) for a in arrays])
    scaled: float = float(sums.sum()) ** (1 / p)
    return largest * scaled


def _host(scalars: Sequence[Array]) -> np.ndarray[Any, Any]:
    """0-d arrays as one float64 array on the host: one transfer where they share a device."""
    if all(isinstance(scalar, np.generic) for scalar in scalars):
        return np.array(scalars, np.float64)
    groups: dict[Any, list[Array]] = {}
    for scalar in scalars:
        groups.setdefault((backend_of(scalar).name, scalar.dtype), []).append(scalar)
    parts = [backend_of(g[0]).to_numpy(backend_of(g[0]).xp.stack(g)) for g in groups.values()]
    return np.concatenate([np.zeros(0), *parts]).astype(np.float64)


def _wide(array: Array) -> Array:
    """float16 has too few digits to add up in."""
    return array.astype(np.float32) if array.dtype == np.float16 else array


def _power_sum(array: Array, p: float) -> Array:
    """Σ|x|ᵖ, in any order of the elements."""
    flat = _wide(array).ravel(order="A")
    if p == 2:
        return flat.dot(flat)
    return (backend_of(array).xp.abs(flat) ** p).sum()
