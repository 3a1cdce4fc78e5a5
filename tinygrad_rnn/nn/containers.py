"""Modules that hold modules: in a row, in a list, under names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ..arguments import several
from ..errors import ArgumentError, DTypeError, IndexRangeError
from .module import Module

__all__ = ["ModuleDict", "ModuleList", "Sequential"]


def _module(value: Any, called: str) -> Module:
    if not isinstance(value, Module):
        raise DTypeError(called, "modules", type(value).__name__)
    return value


class _Holder(Module):
    """Keeps its modules apart from its attributes, so that any name will do."""

    _modules: dict[str, Module]

    def _members(self) -> Iterable[tuple[str, Any]]:
        yield from super()._members()
        yield from self._modules.items()

    def __len__(self) -> int:
        return len(self._modules)

    def __bool__(self) -> bool:
        return True  # an empty container is a module like any other


class _Row(_Holder):
    def __iter__(self) -> Iterator[Module]:
        return iter(self._modules.values())

    def _key(self, index: int) -> str:
        if not -len(self) <= index < len(self):
            raise IndexRangeError(type(self).__name__, f"an index below {len(self)}", index)
        return str(index % len(self))

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return _row_of(type(self), list(self)[index])
        return self._modules[self._key(index)]

    def __setitem__(self, index: int, module: Module) -> None:
        self._modules[self._key(index)] = _module(module, type(self).__name__)

    def append(self, module: Module) -> _Row:
        """Add a module at the end, under its number."""
        name, called = str(len(self)), type(self).__name__
        if name in self._modules:
            raise ArgumentError(f"{called}.append", "numbers or other names", f"{name!r} is taken")
        self._modules[name] = _module(module, called)
        return self


def _row_of(kind: type[_Row], modules: Iterable[Module]) -> _Row:
    row = kind()
    for module in modules:
        row.append(module)
    return row


class Sequential(_Row):
    """The modules one after the other: each is called with what the one before it gave.

    >>> import tinygrad_rnn as tg
    >>> from tinygrad_rnn.nn import Linear, Tanh
    >>> Sequential(Linear(3, 4), Tanh(), Linear(4, 1))(tg.ones(2, 3)).shape
    (2, 1)
    """

    def __init__(self, *modules: Any) -> None:
        named = modules[0] if len(modules) == 1 and isinstance(modules[0], Mapping) else None
        pairs = named.items() if named is not None else ((str(i), m) for i, m in enumerate(modules))
        self._modules = {name: _module(module, "Sequential") for name, module in pairs}

    def _key(self, index: int) -> str:
        super()._key(index)
        return list(self._modules)[index]

    def forward(self, x: Any) -> Any:
        """Through all modules in order."""
        for module in self._modules.values():
            x = module(x)
        return x


class ModuleList(_Row):
    """A list of modules that are found by the module that holds it."""

    def __init__(self, modules: Iterable[Module] = ()) -> None:
        self._modules = {
            str(i): _module(m, "ModuleList")
            for i, m in enumerate(several("ModuleList", "modules", modules))
        }

    def extend(self, modules: Iterable[Module]) -> ModuleList:
        """Add modules at the end."""
        for module in modules:
            self.append(module)
        return self


class ModuleDict(_Holder):
    """Modules under names, found by the module that holds it."""

    def __init__(self, modules: Mapping[str, Module] | None = None) -> None:
        self._modules = {}
        if not isinstance(modules, Mapping | None):
            raise DTypeError("ModuleDict", "a dict of modules", type(modules).__name__)
        for name, module in (modules or {}).items():
            self[name] = module

    def __getitem__(self, name: str) -> Module:
        return self._modules[name]

    def __setitem__(self, name: str, module: Module) -> None:
        if not isinstance(name, str) or not name or "." in name:
            raise ArgumentError("ModuleDict", "a name without dots", repr(name))
        self._modules[name] = _module(module, "ModuleDict")

    def __delitem__(self, name: str) -> None:
        del self._modules[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._modules)

    def __contains__(self, name: object) -> bool:
        return name in self._modules

    def keys(self) -> Iterable[str]:
        """The names."""
        return self._modules.keys()

    def values(self) -> Iterable[Module]:
        """The modules."""
        return self._modules.values()

    def items(self) -> Iterable[tuple[str, Module]]:
        """Names and modules."""
        return self._modules.items()
