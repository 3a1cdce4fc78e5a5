"""Module: parameters, buffers and modules under names, kept as plain attributes.

A module is an ordinary object: its parameters, buffers and children are found by looking through
its attributes in the order in which they were set, so there is nothing to initialise first, no
`__getattr__` between a name and its value, and a misspelt name is an AttributeError.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar

from ..arguments import refused
from ..backend import is_device
from ..checks import check_dtype
from ..errors import ArgumentError, DTypeError
from ..tensor import Tensor
from .parameter import is_parameter
from .state import LoadResult, load_state

__all__ = ["Module", "Place"]

M = TypeVar("M", bound="Module")
PLAIN = (list, tuple, dict, set)


class Place(NamedTuple):
    """Where a parameter or buffer is kept: `getattr(owner, attribute)`, known as `name`."""

    name: str
    owner: Module
    attribute: str
    tensor: Tensor


class Module:
    """Base of everything that has parameters.

    Set parameters (`nn.Parameter`), modules and buffers as attributes and write `forward`; calling
    the module calls `forward`. Lists of modules belong in `nn.ModuleList`.

    >>> from tinygrad_rnn.nn import Parameter
    >>> class Scale(Module):
    ...     def __init__(self):
    ...         self.factor = Parameter([2.0])
    ...     def forward(self, x):
    ...         return x * self.factor
    >>> [name for name, _ in Scale().named_parameters()]
    ['factor']
    """

    training: bool = True
    _buffers: Mapping[str, bool] = MappingProxyType({})  # name -> whether a state dict holds it

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the module computes; every subclass writes its own."""
        raise NotImplementedError(f"{type(self).__name__}.forward is not written")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return self.forward(*args, **kwargs)
        except AttributeError as error:  # of a list or a file in place of a tensor
            refused(type(self).__name__, (*args, *kwargs.values()), error)
            raise

    def extra_repr(self) -> str:
        """What stands between the parentheses of the repr of a module without children."""
        return ""

    # ------------------------------------------------------------------------- what it holds
    def __setattr__(self, name: str, value: Any) -> None:
        if is_parameter(vars(self).get(name)) and not (value is None or is_parameter(value)):
            raise DTypeError(
                f"{type(self).__name__}.{name}", "a Parameter or None in place of a Parameter",
                "a Tensor" if type(value) is Tensor else type(value).__name__,
                "nn.Parameter(tensor), or copy_ into the old one under tg.no_grad()",
            )  # fmt: skip
        if name in self._buffers and not (value is None or type(value) is Tensor):
            got = f"{type(value).__name__} in place of a buffer"
            raise DTypeError(f"{type(self).__name__}.{name}", "a tensor or None", got)
        object.__setattr__(self, name, value)

    def register_buffer(self, name: str, value: Tensor | None, persistent: bool = True) -> None:
        """Keep a tensor that is state but no parameter: it moves with `to` and is saved."""
        if not name.isidentifier():
            raise ArgumentError("register_buffer", "a name usable as attribute", repr(name))
        if value is not None and type(value) is not Tensor:
            raise DTypeError("register_buffer", "a tensor or None", type(value).__name__)
        setattr(self, name, value)
        vars(self)["_buffers"] = {**self._buffers, name: persistent}

    def _members(self) -> Iterable[tuple[str, Any]]:
        """The named attributes among which parameters, buffers and modules are found."""
        for name, value in vars(self).items():
            if type(value) in PLAIN and name[0] != "_" and _hides(value):
                kind = type(value).__name__
                raise ArgumentError(
                    f"{type(self).__name__}.{name}", "modules and parameters as attributes",
                    f"some inside a {kind}", "nn.ModuleList or nn.ModuleDict",
                )  # fmt: skip
            yield name, value

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """The modules directly inside, by name."""
        for name, value in self._members():
            if isinstance(value, Module):
                yield name, value

    def places(self, prefix: str = "") -> Iterator[Place]:
        """Every parameter and buffer under every name it has, in the order of definition."""
        for name, value in self._members():
            if isinstance(value, Module):
                yield from value.places(f"{prefix}{name}.")
            elif type(value) is Tensor and (is_parameter(value) or name in self._buffers):
                yield Place(prefix + name, self, name, value)

    def named_parameters(self) -> Iterator[tuple[str, Tensor]]:
        """The parameters by name, in the order of definition; a shared one once."""
        return _each_once((p.name, p.tensor) for p in self.places() if is_parameter(p.tensor))

    def parameters(self) -> Iterator[Tensor]:
        """The parameters, each once."""
        return (tensor for _, tensor in self.named_parameters())

    def named_buffers(self) -> Iterator[tuple[str, Tensor]]:
        """The buffers by name; a shared one once."""
        return _each_once((p.name, p.tensor) for p in self.places() if not is_parameter(p.tensor))

    def buffers(self) -> Iterator[Tensor]:
        """The buffers, each once."""
        return (tensor for _, tensor in self.named_buffers())

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """This module (under the name "") and all inside it, each once."""
        return _each_once(self._named_modules(prefix))

    def _named_modules(self, prefix: str) -> Iterator[tuple[str, Module]]:
        yield prefix, self
        for name, child in self.named_children():
            yield from child._named_modules(f"{prefix}.{name}" if prefix else name)

    def modules(self) -> Iterator[Module]:
        """This module and all inside it, each once."""
        return (module for _, module in self.named_modules())

    def children(self) -> Iterator[Module]:
        """The modules directly inside."""
        return (child for _, child in self.named_children())

    # ------------------------------------------------------------------------------ its state
    def state_dict(self) -> dict[str, Tensor]:
        """Parameters and persistent buffers by name; the memory is shared, `clone` to keep it."""
        return {
            place.name: place.tensor.detach()
            for place in self.places()
            if place.owner._buffers.get(place.attribute, True)
        }

    def load_state_dict(self, state: Mapping[str, Any], strict: bool = True) -> LoadResult:
        """Copy values (tensors or arrays) by name into the parameters and buffers.

        Args:
            strict: names must match exactly, and dtypes too; else what fits is copied and cast.

        Returns:
            (missing_keys, unexpected_keys), both empty if strict.

        Raises:
            StateDictError: every name and shape that does not fit, before anything is changed.
        """
        named = {p.name: p.tensor for p in self.places() if p.owner._buffers.get(p.attribute, True)}
        return load_state(type(self).__name__, named, state, strict)

    def train(self: M, mode: bool = True) -> M:
        """Switch the module and all inside it to training (dropout on), or with False to use."""
        for module in self.modules():
            vars(module)["training"] = bool(mode)
        return self

    def eval(self: M) -> M:
        """Switch to use: dropout is off."""
        return self.train(False)

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for parameter in self.parameters():
            parameter.grad = None

    def requires_grad_(self: M, flag: bool = True) -> M:
        """Let every parameter collect gradients, or none."""
        for parameter in self.parameters():
            parameter.requires_grad_(flag)
        return self

    def apply(self: M, function: Callable[[Module], Any]) -> M:
        """Call `function` on every module inside, then on this one."""
        for child in self.children():
            child.apply(function)
        function(self)
        return self

    # ---------------------------------------------------------------------- where and what type
    def to(self: M, target: Any = None, *, device: Any = None, dtype: Any = None) -> M:
        """Move to a device, or to a floating-point dtype, in place: `to("cuda")`, `to(tg.float64)`.

        Raises:
            DTypeError: a dtype that is no float. ArgumentError, DeviceError: no such device.
        """
        if isinstance(target, Tensor):
            device, dtype = target.device, target.dtype
        elif isinstance(target, str) and is_device(target):
            device = target
        elif target is not None:
            dtype = target
        if dtype is not None and check_dtype(dtype, "Module.to").kind != "f":
            raise DTypeError("Module.to", "a floating-point dtype", str(dtype))
        held = list(_each_once((p.name, p.tensor) for p in self.places()))
        moved = [_converted(tensor, device, dtype) for _, tensor in held]
        for (_, tensor), (value, grad) in zip(held, moved, strict=True):
            tensor.array = value.array
            if grad is not None:
                tensor.grad = grad
        return self

    def double(self: M) -> M:
        """All floating-point values as float64."""
        return self.to("float64")

    def float(self: M) -> M:
        """All floating-point values as float32."""
        return self.to("float32")

    def half(self: M) -> M:
        """All floating-point values as float16."""
        return self.to("float16")

    def cpu(self: M) -> M:
        """Move to the host."""
        return self.to("cpu")

    def cuda(self: M) -> M:
        """Move to the GPU."""
        return self.to("cuda")

    # ------------------------------------------------------------------------------- in words
    def __repr__(self) -> str:
        lines = [f"({name}): {child!r}" for name, child in self.named_children()]
        if not lines:
            return f"{type(self).__name__}({self.extra_repr()})"
        body = "\n".join(lines).replace("\n", "\n  ")
        return f"{type(self).__name__}({self.extra_repr()}\n  {body}\n)"


T = TypeVar("T")


def _each_once(named: Iterable[tuple[str, T]]) -> Iterator[tuple[str, T]]:
    seen: set[int] = set()
    for name, value in named:
        if id(value) not in seen:
            seen.add(id(value))
            yield name, value


def _converted(tensor: Tensor, device: Any, dtype: Any) -> tuple[Tensor, Tensor | None]:
    wanted = dtype if tensor.dtype.kind == "f" else None
    grad = tensor.grad
    moved = None if grad is None else grad.detach().to(device=device, dtype=wanted)
    return tensor.detach().to(device=device, dtype=wanted), moved


def _hides(value: Any) -> bool:
    """Modules and parameters in a plain list would be trained by nobody, without a word."""
    if type(value) not in PLAIN:
        return isinstance(value, Module) or is_parameter(value)
    return any(map(_hides, value.values() if type(value) is dict else value))
