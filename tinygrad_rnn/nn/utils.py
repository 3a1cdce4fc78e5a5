"""What is done with all parameters at once: clip, join, split, replace."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..arguments import several
from ..clipping import clip_grad_norm_, clip_grad_value_
from ..errors import DTypeError, ShapeError, StateDictError
from ..graph import no_grad
from ..ops.shape import cat, reshape
from ..tensor import Tensor
from .module import Module

__all__ = [
    "clip_grad_norm_", "clip_grad_value_", "functional_call", "parameters_to_vector",
    "vector_to_parameters",
]  # fmt: skip


def parameters_to_vector(parameters: Iterable[Tensor]) -> Tensor:
    """All parameters as one vector, in order; gradients flow through it."""
    held = several("parameters_to_vector", "parameters", parameters)
    flat = [reshape(parameter, -1) for parameter in held]
    if not flat:
        raise ShapeError("parameters_to_vector", "at least one parameter", "none")
    joined: Tensor = cat(flat)
    return joined


def vector_to_parameters(vector: Tensor, parameters: Iterable[Tensor]) -> None:
    """Copy the parts of a vector into the parameters, in order.

    Raises:
        ShapeError: the vector has not as many elements as the parameters together.
    """
    held = several("vector_to_parameters", "parameters", parameters)
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
    if not isinstance(module, Module):
        raise DTypeError("functional_call", "a module first", type(module).__name__)
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
