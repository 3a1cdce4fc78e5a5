"""How a call of a primitive becomes a value, and where an input has a node, a node.

Everything comes through `bind`, but for what `fast` and a few structural operations shorten.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..backend import backend_of, is_array
from ..checks import get_default_dtype
from ..errors import DeviceError, DTypeError, IndexRangeError, ShapeError, TinygradRNNError
from ..graph import ANOMALY, INTERPRETERS, Node, Primitive, grad_mode, interpreter_for, watch_nan
from ..inplace import AGAIN, check_read
from ..tensor import Tensor, as_tensor, tensor

__all__ = ["HINT", "NO_PARAMS", "SCALARS", "agree", "bind", "call", "execute", "explain"]

NO_PARAMS: dict[str, Any] = {}
SCALARS = frozenset((float, int, bool))
HINT = "tg.tensor(…) makes a tensor of numbers and lists"


# ------------------------------------------------------------------------------ every call
def bind(primitive: Primitive, args: Sequence[Any], params: dict[str, Any] = NO_PARAMS) -> Any:
    """Run a primitive on tensors, arrays and numbers: the way of every call but the fast ones.

    Raw arrays alone give raw arrays and record nothing; with any Tensor the result is a Tensor.
    """
    interpreter = interpreter_for(args)
    if interpreter is not None:
        return interpreter(primitive, tuple(args), params)
    if not any(type(arg) is Tensor for arg in args):
        arrays = [arg for arg in args if is_array(arg)]
        if arrays:
            try:
                return primitive.forward(backend_of(arrays[0]).xp, *args, **params)
            except (ValueError, TypeError, IndexError, OverflowError) as error:
                raise explain(primitive, args, error) from None
        args = [as_tensor(_operand(primitive, arg)) for arg in args]
    return execute(primitive, agree(primitive, args), params)


def execute(primitive: Primitive, args: Sequence[Any], params: dict[str, Any]) -> Tensor:
    """Compute and, where an input has a node, record."""
    arrays = [arg.array if type(arg) is Tensor else arg for arg in args]
    backend = backend_of(next(a for a, t in zip(arrays, args, strict=True) if type(t) is Tensor))
    try:
        out = primitive.forward(backend.xp, *arrays, **params)
    except (ValueError, TypeError, IndexError, OverflowError) as error:
        raise explain(primitive, arrays, error) from None
    if type(out) is not backend.array_type:
        out = backend.xp.asarray(out)
    if AGAIN:
        check_read(arrays)
    mode = grad_mode()
    parents = tuple(arg.node if type(arg) is Tensor else None for arg in args) if mode else ()
    needed = [p is not None and primitive.rule(i) is not None for i, p in enumerate(parents)]
    if not any(needed):
        return Tensor(out)
    kept = tuple(p if need else None for p, need in zip(parents, needed, strict=True))
    node = Node(primitive, kept, primitive.saver(needed, out, arrays), params, out.shape)
    if mode == ANOMALY:
        watch_nan(node, out, arrays)
    return Tensor(out, node)


def explain(primitive: Primitive, arrays: Sequence[Any], error: Exception) -> TinygradRNNError:
    """What NumPy refused, as one of our errors."""
    if isinstance(error, TinygradRNNError):
        return error
    got = ", ".join(_describe(array) for array in arrays)
    if isinstance(error, IndexError):
        return IndexRangeError(primitive.name, "an index inside every axis", f"{error} ({got})")
    if isinstance(error, (TypeError, OverflowError)) or "Integers to negative" in str(error):
        return DTypeError(primitive.name, "operands of fitting types", f"{got} ({error})")
    if primitive.form == "elementwise":
        return ShapeError(primitive.name, "shapes that broadcast", got)
    return ShapeError(primitive.name, "fitting shapes", f"{got} ({error})")


def _describe(value: Any) -> str:
    return f"{tuple(value.shape)} {value.dtype}" if hasattr(value, "dtype") else repr(value)


# ----------------------------------------------------------- devices and dtypes must agree
def agree(primitive: Primitive, args: Sequence[Any]) -> Sequence[Any]:
    """The arguments as tensors (or weak Python numbers) of one device and, where asked, one dtype.

    Python numbers and NumPy scalars take the dtype of the tensors; between tensors the larger type
    of the higher kind wins, 0-d tensors giving way, as in PyTorch.
    """
    checked = [_operand(primitive, arg) for arg in args]
    tensors = [arg for arg in checked if type(arg) is Tensor]
    backend = tensors[0].backend
    for other in tensors[1:]:
        if other.backend is not backend:
            raise DeviceError(
                primitive.name, "tensors on one device", f"{backend.name!r} and {other.device!r}",
                f'move one with .to("{backend.name}")',
            )  # fmt: skip
    if primitive.promote is None:
        return checked
    skip = int(primitive.extra.get("condition", False))
    if not any(type(arg) is Tensor for arg in checked[skip:]):
        checked[skip:] = [as_tensor(arg, device=backend) for arg in checked[skip:]]
    dtype = _common_dtype(checked[skip:], primitive.promote)
    return [as_tensor(arg, device=backend) for arg in checked[:skip]] + [
        arg.to(dtype) if type(arg) is Tensor and arg.dtype != dtype else arg
        for arg in checked[skip:]
    ]


def _operand(primitive: Primitive, arg: Any) -> Any:
    """The argument as a tensor or number; an array is copied, its owner may write to it."""
    if type(arg) is Tensor or type(arg) in SCALARS:
        return arg
    if isinstance(arg, np.generic):
        return arg.item()
    if is_array(arg):
        return tensor(arg)
    got = type(arg).__name__
    raise DTypeError(primitive.name, "a tensor, an array or a number", got, HINT)


_KINDS = {"b": 0, "u": 1, "i": 1, "f": 2}


def _common_dtype(args: Sequence[Any], promote: str) -> np.dtype[Any]:
    tensors = [arg for arg in args if type(arg) is Tensor]
    top = max(_KINDS[t.dtype.kind] for t in tensors)
    strong = [t for t in tensors if _KINDS[t.dtype.kind] == top]
    shaped = [t.dtype for t in strong if t.ndim] or [t.dtype for t in strong]
    dtype = np.result_type(*shaped)
    wants_float = promote == "float" or any(isinstance(arg, float) for arg in args)
    return dtype if dtype.kind == "f" or not wants_float else get_default_dtype()


def call(primitive: Primitive, x: Any, params: dict[str, Any]) -> Any:
    """`bind` for the many linear maps of one tensor, without the detours."""
    if type(x) is not Tensor or type(x.array) in INTERPRETERS:
        return bind(primitive, (x,), params)
    array = x.array
    backend = backend_of(array)
    try:
        out = primitive.forward(backend.xp, array, **params)
    except (ValueError, TypeError, IndexError) as error:
        raise explain(primitive, (array,), error) from None
    if type(out) is not backend.array_type:
        out = backend.xp.asarray(out)
    if AGAIN:
        check_read((array,))
    parent, mode = x.node, grad_mode()
    if parent is None or not mode:
        return Tensor(out)
    node = Node(primitive, (parent,), (), params, out.shape)
    if mode == ANOMALY:
        watch_nan(node, out, (array,))
    return Tensor(out, node)
