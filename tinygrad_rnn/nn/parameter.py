"""Parameter: a Tensor that a module owns and an optimiser may change."""

from __future__ import annotations

from typing import Any

from ..errors import DTypeError
from ..tensor import Tensor, tensor

__all__ = ["Parameter", "is_parameter"]


def is_parameter(value: object) -> bool:
    """Whether `value` is a Tensor that was made by `Parameter`."""
    return type(value) is Tensor and getattr(value, "_is_parameter", False)


class _Flagged(type):
    """`isinstance(t, Parameter)` asks for the flag: every tensor has exactly the type Tensor."""

    def __instancecheck__(cls, value: object) -> bool:
        return is_parameter(value)


class Parameter(metaclass=_Flagged):
    """A leaf that modules find, save and hand to optimisers; shares the memory of a tensor given.

    Raises:
        DTypeError: integers, which have no gradient.

    >>> weight = Parameter([1.0, 2.0])
    >>> isinstance(weight, Parameter), isinstance(weight * 1, Parameter), weight.requires_grad
    (True, False, True)
    """

    def __new__(cls, data: Any, requires_grad: bool = True) -> Tensor:  # type: ignore[misc]
        """The flagged tensor."""
        made = data.detach() if isinstance(data, Tensor) else tensor(data)
        if made.dtype.kind != "f":
            raise DTypeError("Parameter", "a floating-point tensor", made.dtype.name)
        made._is_parameter = True  # type: ignore[attr-defined]
        return made.requires_grad_(requires_grad)
