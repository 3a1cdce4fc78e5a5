"""What is done with all parameters at once: clip, join, split, replace."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from ..backend import quiet
from ..errors import ArgumentError, ShapeError, StateDictError
from ..graph import no_grad
from ..ops.shape import cat, reshape
from ..tensor import Tensor
from .module import Module

__all__ = [
    "clip_grad_norm_", "clip_grad_value_", "functional_call", "parameters_to_vector",
    "vector_to_parameters",
]  # fmt: skip


def _gradients(parameters: Any) -> list[Tensor]:
    given = [parameters] if isinstance(parameters, Tensor) else list(parameters)
    return [p.grad.detach() for p in given if p.grad is not None]


def clip_grad_norm_(
    parameters: Any, max_norm: float, norm_type: float = 2.0, error_if_nonfinite: bool = False
) -> float:
    """Scale all gradients together so that their global norm is at most `max_norm`.

    g ← g · min(1, max_norm/‖g‖), ‖g‖ over all parameters as one vector (Pascanu et al. 2013). A
    norm that is not finite changes nothing: look at what is returned.

    Returns:
        The norm before clipping.

    Raises:
        ArgumentError: max_norm or norm_type not positive; with `error_if_nonfinite`, a norm that
        is not finite.
    """
    for name, value in (("max_norm", max_norm), ("norm_type", norm_type)):
        if not value > 0:
            raise ArgumentError("clip_grad_norm_", f"{name} > 0", value)
    grads = _gradients(parameters)
    norm = _norm([_norm_of(grad, norm_type) for grad in grads], norm_type)
    if error_if_nonfinite and not math.isfinite(norm):
        raise ArgumentError("clip_grad_norm_", "gradients with a finite norm", norm)
    if max_norm < norm < math.inf:
        for grad in grads:
            grad.mul_(max_norm / norm)
    return norm


def _norm_of(grad: Tensor, p: float) -> float:
    """‖grad‖ₚ; what overflows in its own dtype is computed again in float64."""
    flat = grad.array.ravel()
    norm = grad.backend.xp.linalg.norm
    with quiet():
        found = float(norm(flat, p))
        if math.isfinite(found) or flat.dtype == "float64":
            return found
        return float(norm(flat.astype("float64"), p))


def _norm(norms: list[float], p: float) -> float:
    if not norms or any(math.isnan(norm) for norm in norms):
        return math.nan if norms else 0.0
    if p == math.inf or max(norms) in (0, math.inf):
        return max(norms)
    return max(norms) * sum((norm / max(norms)) ** p for norm in norms) ** (1 / p)


def clip_grad_value_(parameters: Any, clip_value: float) -> None:
    """Limit every element of every gradient to [−clip_value, clip_value].

    Raises:
        ArgumentError: clip_value not positive.
    """
    if not clip_value > 0:
        raise ArgumentError("clip_grad_value_", "clip_value > 0", clip_value)
    for grad in _gradients(parameters):
        grad.copy_(grad.clip(-clip_value, clip_value))


def parameters_to_vector(parameters: Iterable[Tensor]) -> Tensor:
    """All parameters as one vector, in order; gradients flow through it."""
    flat = [reshape(parameter, -1) for parameter in parameters]
    if not flat:
        raise ShapeError("parameters_to_vector", "at least one parameter", "none")
    joined: Tensor = cat(flat)
    return joined


def vector_to_parameters(vector: Tensor, parameters: Iterable[Tensor]) -> None:
    """Copy the parts of a vector into the parameters, in order.

    Raises:
        ShapeError: the vector has not as many elements as the parameters together.
    """
    held = list(parameters)
    total = sum(parameter.numel() for parameter in held)
    if vector.shape != (total,):
        raise ShapeError("vector_to_parameters", f"a vector of shape ({total},)", vector.shape)
    values, start = vector.detach(), 0
    with no_grad():
        for parameter in held:
            stop = start + parameter.numel()
            parameter.copy_(reshape(values[start:stop], parameter.shape))
            start = stop


def functional_call(
    module: Module, parameters: Mapping[str, Any], args: Any = (), kwargs: Any = None
) -> Any:
    """module(*args, **kwargs) with other tensors in the place of some parameters and buffers.

    It makes a function of the parameters for `tg.grad`, `tg.jvp`, `tg.hvp`; the module is as before
    when it returns. A shared parameter is replaced wherever it is.

    Raises:
        StateDictError: names that the module does not have. ShapeError: another shape.

    >>> import tinygrad_rnn as tg
    >>> layer = tg.nn.Linear(2, 1, bias=False)
    >>> functional_call(layer, {"weight": tg.ones(1, 2)}, tg.ones(3, 2)).tolist()
    [[2.0], [2.0], [2.0]]
    """
    places = list(module.places())
    replaced = _replacements(places, parameters)
    arguments = args if isinstance(args, tuple) else (args,)
    touched = [place for place in places if id(place.tensor) in replaced]
    try:
        for place in touched:
            vars(place.owner)[place.attribute] = replaced[id(place.tensor)]
        return module(*arguments, **(kwargs or {}))
    finally:
        for place in touched:
            vars(place.owner)[place.attribute] = place.tensor


def _replacements(places: list[Any], parameters: Mapping[str, Any]) -> dict[int, Any]:
    named = {place.name: place.tensor for place in places}
    unknown = [name for name in parameters if name not in named]
    if unknown:
        raise StateDictError(
            "functional_call", f"names among {', '.join(named)}", ", ".join(map(str, unknown))
        )
    for name, value in parameters.items():
        if tuple(value.shape) != named[name].shape:
            raise ShapeError(
                "functional_call", f"{name} of shape {named[name].shape}", str(value.shape)
            )
    return {id(named[name]): value for name, value in parameters.items()}
