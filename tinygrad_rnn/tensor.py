"""Tensor: an array and the node that made it. No mathematics: `ops` attaches the operations.

A Tensor *is* its two slots. `array` is a NumPy or CuPy array (or the payload of an interpreter);
`node` is None for a constant, a leaf node where gradients are collected, and the recorded operation
for everything computed from those.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from .backend import Backend, backend_of, get_backend, is_array
from .checks import DTYPES, check_callable, check_dim, check_dtype, get_default_dtype, require_float
from .errors import AutodiffError, DeviceError, DTypeError, ShapeError
from .graph import INTERPRETERS, LEAF, HookHandle, Node, Watch

if TYPE_CHECKING:
    from ._methods import TensorMethods
else:
    TensorMethods = object

__all__ = ["Tensor", "as_tensor", "from_dlpack", "from_numpy", "method", "tensor"]


_PYTHON = frozenset((float, int, list, tuple))


class Tensor(TensorMethods):
    """A multi-dimensional array that remembers how it was made.

    Build one with `tensor`, `zeros`, `randn` …; `Tensor(array, node)` itself wraps what is there.

    >>> x = tensor([1.0, 2.0], requires_grad=True)
    >>> x * 3
    tensor([3., 6.], dtype=float32, device='cpu', grad_fn=<mul>)
    """

    __slots__ = ("__weakref__", "_is_parameter", "_resting", "array", "node")
    __array_ufunc__ = None  # ndarray + tensor must reach __radd__; see derived/numpy_calls.py
    __array_priority__ = 1000
    array: Any
    node: Node | None

    def __init__(self, array: Any, node: Node | None = None) -> None:
        if type(array) in _PYTHON:
            raise DTypeError("Tensor", "an array", type(array).__name__, "tg.tensor takes numbers")
        self.array = array
        self.node = node

    # ------------------------------------------------------------------------- what it is
    @property
    def shape(self) -> tuple[int, ...]:
        """The sizes of the axes."""
        return tuple(self.array.shape)

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.array.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The NumPy dtype of the elements."""
        found: np.dtype[Any] = self.array.dtype
        return found

    @property
    def backend(self) -> Backend:
        """The backend of the array."""
        payload = self.array
        while type(payload) in INTERPRETERS:
            payload = payload.primal.array
        return backend_of(payload)

    @property
    def device(self) -> str:
        """The name of the device: "cpu" or "cuda"."""
        return self.backend.name

    def size(self, dim: int | None = None) -> Any:
        """The shape, or the size of one axis."""
        return self.shape if dim is None else self.shape[check_dim(dim, self.ndim, "size")]

    def dim(self) -> int:
        """The number of axes."""
        return self.ndim

    def numel(self) -> int:
        """The number of elements."""
        count = 1
        for size in self.shape:
            count *= size
        return count

    def is_floating_point(self) -> bool:
        """Whether the dtype is a float."""
        return bool(self.dtype.kind == "f")

    # ---------------------------------------------------------------------- gradient state
    @property
    def requires_grad(self) -> bool:
        """Whether operations on this tensor are recorded."""
        if self.node is None and type(self.array) in INTERPRETERS:
            return bool(self.array.primal.requires_grad)
        return self.node is not None

    @requires_grad.setter
    def requires_grad(self, flag: bool) -> None:
        self.requires_grad_(flag)

    def requires_grad_(self, flag: bool = True) -> Tensor:
        """Make a leaf collect gradients (or stop it, which forgets what it has collected).

        Asked again it collects at the same node, where graphs recorded before arrive.
        """
        if not self.is_leaf:
            raise AutodiffError("requires_grad_", "a leaf", repr(self.node), "call detach() first")
        if not flag and self.node is not None:
            self._resting, self.node = self.node, None
        elif flag and self.node is None:
            require_float("requires_grad", self.dtype)
            self.node = getattr(self, "_resting", None) or leaf_node(self.shape)
            self.grad = None
        return self

    @property
    def is_leaf(self) -> bool:
        """Whether no recorded operation made this tensor."""
        return self.node is None or self.node.primitive is LEAF

    @property
    def grad(self) -> Tensor | None:
        """The gradient that `backward` has accumulated here, if any."""
        watch = None if self.node is None else self.node.watch
        return None if watch is None else watch.grad

    @grad.setter
    def grad(self, value: Tensor | None) -> None:
        if value is None and (self.node is None or self.node.watch is None):
            return
        if self.node is None:
            raise AutodiffError("grad", "a tensor with requires_grad=True", "a constant")
        if value is not None and type(value) is not Tensor:
            raise DTypeError("grad", "a tensor or None", type(value).__name__)
        if value is not None and (value.shape != self.shape or value.dtype != self.dtype):
            wanted = f"a gradient like the tensor, {self.shape} {self.dtype}"
            raise ShapeError("grad", wanted, f"{value.shape} {value.dtype}")
        watch_of(self.node).grad = value

    def retain_grad(self) -> None:
        """Keep the gradient of this tensor even though it is not a leaf."""
        self._watched("retain_grad").keep = True

    def register_hook(self, hook: Callable[[Tensor], Tensor | None]) -> HookHandle:
        """Call `hook(gradient)` during backward; what it returns, if not None, replaces it.

        The handle's `remove()` takes the hook off.
        """
        check_callable(hook, "register_hook")
        hooks, key = self._watched("register_hook").hooks, object()
        hooks[key] = hook
        return HookHandle(lambda: hooks.pop(key, None))

    def _watched(self, called: str) -> Watch:
        if self.node is None:
            raise AutodiffError(called, "a tensor that requires a gradient", "a constant")
        return watch_of(self.node)

    def detach(self) -> Tensor:
        """The same values outside the graph; the memory is shared."""
        if type(self.array) in INTERPRETERS:
            detached: Tensor = self.array.primal.detach()
            return detached
        return Tensor(self.array)

    @property
    def data(self) -> Tensor:
        """The same values outside the graph, as PyTorch calls it; set, they are overwritten."""
        return self.detach()

    @data.setter
    def data(self, values: Any) -> None:
        self.detach().copy_(as_tensor(values).detach())

    # -------------------------------------------------------------------- out to the world
    def numpy(self) -> np.ndarray[Any, Any]:
        """The values as a NumPy array, sharing memory.

        Raises:
            AutodiffError: a gradient would be lost; call `detach()` first.
            DeviceError: the values are on another device; call `cpu()` first.
        """
        if type(self.array) in INTERPRETERS or self.requires_grad:
            getattr(self.array, "numpy", None)  # a tensor of a trace says what it lacks
            hint = "t.detach().numpy()"
            raise AutodiffError("numpy", "a tensor without gradient", "one that requires it", hint)
        if self.device != "cpu":
            raise DeviceError("numpy", "a tensor on the cpu", self.device, "t.cpu().numpy()")
        array: np.ndarray[Any, Any] = self.array
        return array

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        if copy is None:
            return np.asarray(self.numpy(), dtype)
        return np.array(self.numpy(), dtype, copy=copy)

    def __dlpack__(self, **options: Any) -> Any:
        if self.requires_grad:
            raise AutodiffError("__dlpack__", "a tensor without gradient", "one that requires it")
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self) -> Any:
        return self.array.__dlpack_device__()

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        if self.device == "cpu" or self.requires_grad:
            raise AttributeError("__cuda_array_interface__")
        interface: dict[str, Any] = self.array.__cuda_array_interface__
        return interface

    def item(self) -> Any:
        """The one element as a Python number."""
        if self.numel() != 1:
            raise ShapeError("item", "exactly one element", f"shape {self.shape}")
        return self.detach().array.item()

    def tolist(self) -> Any:
        """The values as nested Python lists."""
        return self.detach().array.tolist()

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if spec else str(self)

    def __bool__(self) -> bool:
        if self.numel() != 1:
            got = f"shape {self.shape}"
            raise ShapeError("bool", "exactly one element", got, "use .any() or .all()")
        return bool(self.item())

    def __index__(self) -> int:
        if self.dtype.kind not in "iub":
            raise DTypeError("index", "an integer tensor", self.dtype.name)
        return int(self.item())

    def __len__(self) -> int:
        if not self.ndim:
            raise DTypeError("len", "a tensor with at least one axis", "a 0-d tensor")
        return self.shape[0]

    __hash__ = object.__hash__

    def __repr__(self) -> str:
        if type(self.array) in INTERPRETERS:
            return f"tensor({self.array!r})"
        values = self.backend.to_numpy(self.array)
        body = np.array2string(values, separator=", ", prefix="tensor(", threshold=1000)
        state = "" if self.node is None else ", requires_grad=True"
        if not self.is_leaf and self.node is not None:
            state = f", grad_fn=<{self.node.primitive.name}>"
        return f"tensor({body}, dtype={self.dtype.name}, device={self.device!r}{state})"

    def __reduce__(self) -> Any:
        if not self.is_leaf or type(self.array) in INTERPRETERS:
            hint = "t.detach() can be pickled"
            raise AutodiffError("pickle", "a leaf", "a tensor inside a graph", hint)
        flag = getattr(self, "_is_parameter", False)
        return _rebuild, (self.backend.to_numpy(self.array), self.device, self.requires_grad, flag)


def leaf_node(shape: tuple[int, ...]) -> Node:
    """A new node at which gradients collect."""
    node = Node(LEAF, (), (), None, shape)
    node.watch = Watch(keep=True)
    return node


def watch_of(node: Node) -> Watch:
    """The watch of a node, made when first wanted."""
    if node.watch is None:
        node.watch = Watch(keep=False)
    return node.watch


def _rebuild(array: Any, device: str, requires_grad: bool, flag: bool = False) -> Tensor:
    made: Any = Tensor(get_backend(device).from_numpy(array)).requires_grad_(requires_grad)
    made._is_parameter = flag
    return made  # type: ignore[no-any-return]


F = TypeVar("F", bound=Callable[..., Any])


def method(*names: str) -> Callable[[F], F]:
    """Decorator for the floors above: the function is a method of Tensor under these names."""

    def attach(function: F) -> F:
        for name in names:
            setattr(Tensor, name, function)
        return function

    return attach


# --------------------------------------------------------------------------------- from data
def tensor(data: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """A new tensor with a copy of `data`: numbers, nested lists, an array or a tensor.

    Python floats become the default dtype (float32); arrays keep theirs.

    Raises:
        ShapeError: a ragged list. DTypeError: elements that are not numbers, an integer tensor
        asked for gradients. DeviceError, ArgumentError: a device that is not there.

    >>> tensor([[1, 2], [3, 4]]).shape
    (2, 2)
    """
    backend = _device_for(data, device)
    source = data.detach().array if isinstance(data, Tensor) else data
    if not is_array(source):
        source = _from_python(source, dtype)
    wanted = check_dtype(source.dtype if dtype is None else dtype, "tensor")
    if is_array(source) and backend_of(source) is not backend:
        source = backend.from_numpy(backend_of(source).to_numpy(source))
    made = Tensor(backend.xp.array(source, dtype=wanted, copy=True))
    return made.requires_grad_() if requires_grad else made


def _device_for(data: Any, device: Any) -> Backend:
    if device is not None:
        return get_backend(device)
    array = data.array if isinstance(data, Tensor) else data
    return backend_of(array) if is_array(array) else get_backend("cpu")


def _from_python(data: Any, dtype: Any) -> np.ndarray[Any, Any]:
    """Numbers and nested lists as an array; refuses what NumPy would make objects of."""
    if isinstance(data, np.ndarray):
        raise DTypeError("tensor", "a plain ndarray", type(data).__name__, "np.asarray(…) first")
    if data is None or isinstance(data, (str, bytes, dict, set)):
        raise DTypeError("tensor", "numbers, nested lists, an array or a tensor", repr(data)[:60])
    try:
        array = np.array(data)
    except AutodiffError:
        raise DTypeError("tensor", "numbers", "tensors with gradients", "use tg.stack") from None
    except (ValueError, TypeError) as error:
        raise ShapeError("tensor", "lists of equal lengths", f"a ragged list ({error})") from None
    except OverflowError as error:
        raise DTypeError("tensor", "numbers that fit a dtype", str(error)) from None
    if array.dtype.kind not in "fiub":
        raise DTypeError("tensor", "real numbers", f"elements of dtype {array.dtype}")
    whole = dtype is not None and array.dtype.kind + check_dtype(dtype, "tensor").kind
    if whole in ("ii", "iu", "ui", "uu") and (array.astype(dtype) != array).any():
        raise DTypeError("tensor", f"numbers that fit {np.dtype(dtype)}", repr(data)[:60])
    if dtype is None and array.dtype.kind == "f":
        return array.astype(get_default_dtype())
    return array


def as_tensor(data: Any, dtype: Any = None, device: Any = None) -> Tensor:
    """`data` as a tensor: itself if it is one that fits, else shared memory, else a copy."""
    if isinstance(data, Tensor):
        fits = dtype is None or data.dtype == check_dtype(dtype, "as_tensor")
        same = device is None or data.backend is get_backend(device)
        return data if fits and same else data.to(device=device, dtype=dtype)
    if is_array(data) and dtype is None and device is None and not isinstance(data, np.generic):
        return Tensor(data) if data.dtype in DTYPES and data.dtype.isnative else tensor(data)
    return tensor(data, dtype, device)


def from_numpy(array: np.ndarray[Any, Any]) -> Tensor:
    """A tensor that shares the memory of a NumPy array: changing one changes the other."""
    if not isinstance(array, np.ndarray):
        raise DTypeError("from_numpy", "a numpy.ndarray", type(array).__name__, "use tg.tensor")
    check_dtype(array.dtype, "from_numpy")
    return Tensor(array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("=")))


def from_dlpack(source: Any) -> Tensor:
    """A tensor that shares memory with any array that speaks DLPack."""
    if not hasattr(source, "__dlpack__"):
        raise DTypeError("from_dlpack", "an object with __dlpack__", type(source).__name__)
    on_host = source.__dlpack_device__()[0] in (1, 3)
    xp = get_backend("cpu" if on_host else "cuda").xp
    return Tensor(xp.from_dlpack(source))
