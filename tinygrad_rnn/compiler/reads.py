"""What a step reads, enumerated once, so that it need not be traced at every call.

A step is Python: beside its carry and its input it reads names. For many steps everything that it
can read can be listed: the code, what its closure holds, the globals and attributes that the code
names, and so on through every function and object that is reached. Of such a step two things are
made:

    read(step)  looks at all of it again; gives its tensors, or None if anything else has changed
    a copy      in which the tensors are traced ones: its trace is a program of all that it reads

So a step is traced again when anything has changed, and a tensor is always the one of this call. A
step that cannot be enumerated (it writes, catches errors, imports, holds an object of an unknown
kind) is simply traced each time. The library's own operations are not entered: replaced by name
where the step finds them, that is noticed.
"""

from __future__ import annotations

import builtins
import functools
from collections.abc import Callable, Iterator, Sequence
from operator import itemgetter
from types import BuiltinFunctionType, CellType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np

from ..tensor import Tensor
from .code_reads import (
    IDENTITY,
    IN_PLACE,
    NotEnumerable,
    is_call_of_module,
    is_operation,
    is_pure,
    names_in,
)
from .trace import Trace

__all__ = ["Reader", "enumerated", "fields"]

Reader = Callable[[Any], "tuple[Tensor, ...] | None"]

OF_TENSORS = frozenset(("T", "device", "dim", "dtype", "mT", "ndim", "numel", "shape", "size"))
MUTATORS = frozenset((
    IN_PLACE, "__iadd__", "__imul__", "__ior__", "__setitem__", "add", "append", "clear", "discard",
    "extend", "insert", "pop", "popitem", "remove", "reverse", "setdefault", "sort", "update",
))  # fmt: skip
CONTAINERS = (tuple, dict, list, str, int, float, np.dtype)
NUMBERS = frozenset((int, float, complex, str, bytes, *np.sctypeDict.values())) - {np.void}
FIXED = (bool, type(None), type(...), np.dtype)
IDLE = frozenset((  # special methods that no expression of a step calls
    "__class_getitem__", "__delattr__", "__getstate__", "__init__", "__init_subclass__", "__new__",
    "__reduce__", "__replace__", "__repr__", "__setattr__", "__setstate__",
))  # fmt: skip
GENERATED = frozenset((  # by dataclasses: they read all fields and nothing else
    "__eq__", "__ge__", "__gt__", "__hash__", "__le__", "__lt__",
))  # fmt: skip
OPERATORS = tuple(
    n for n, v in vars(Tensor).items() if n[:2] == "__" and isinstance(v, FunctionType)
)  # fmt: skip


def enumerated(step: Any, known: frozenset[str], trace: Trace) -> tuple[Any, Reader]:
    """The copy of a step with tensors of `trace` in place of its own, and what reads it again.

    Args:
        known: further attributes that it may ask for, of its carry and input.

    Raises:
        NotEnumerable: something is read that cannot be looked at again.
    """
    names: frozenset[str] = frozenset()
    while True:  # functions found by a name may name more
        trial = Trace()
        walk = Walk(trial, names)
        walk.visit("step", step)
        if walk.names <= names:
            break
        names |= walk.names
    walk = Walk(trace, names)
    copy = walk.visit("step", step)
    walk.check_names(known)
    return copy, walk.reader()


def fields(structures: Sequence[Any]) -> frozenset[str]:
    """The names of the parts of named tuples in these structures of trees."""
    found: set[str] = set()
    waiting = list(structures)
    while waiting:
        part = waiting.pop()
        if type(part) is tuple:
            found.update(getattr(part[0], "_fields", ()))
            waiting.extend(part[2])
    return frozenset(found)


def _same(a: Any, b: Any) -> bool:
    """Whether two numbers or texts are one: 1, 1.0 and True are three, 0.0 and −0.0 two."""
    return type(a) is type(b) and repr(a) == repr(b)


class Walk:
    """Goes through everything a step reads and writes down how to look at it again."""

    def __init__(self, trace: Trace, asked: frozenset[str]) -> None:
        self.trace, self.asked = trace, asked
        self.names: set[str] = set()  # attributes that the codes found name
        self.found: set[str] = set()  # those that something found has
        self.lines: list[str] = []
        self.space: dict[str, Any] = {"same": _same, "Tensor": Tensor, "vars": vars}
        self.seen: dict[tuple[int, bool], tuple[str, Any, Any]] = {}  # where it was, it, its copy
        self.tensors: list[str] = []
        self.copied = True  # whether what is found now is seen by the copy
        self.changeable = False
        get, table = itemgetter(*OPERATORS), vars(Tensor)
        operators = self.constant(get(table))
        self.require(f"{self.constant(get)}({self.constant(table)}) == {operators}")

    # -------------------------------------------------------------------------- what is written
    def constant(self, value: Any) -> str:
        """The name of a value in the reader."""
        name = f"k{len(self.space)}"
        self.space[name] = value
        return name

    def require(self, condition: str) -> None:
        """A line that gives up unless something holds."""
        self.lines.append(f"        if not ({condition}): return None")

    def bound(self, expression: str) -> str:
        """A variable with the value of an expression."""
        name = f"v{len(self.lines)}"
        self.lines.append(f"        {name} = {expression}")
        return name

    def reader(self) -> Reader:
        """What has been written, as a function."""
        if IDENTITY in self.names:  # what was two has not become one
            places = {identity: found[0] for (identity, _), found in self.seen.items()}.values()
            self.require(f"len({{{', '.join(f'id({p})' for p in places)}}}) == {len(places)}")
        body = "\n".join(self.lines)
        result = "".join(f"{name}, " for name in self.tensors)
        caught = "AttributeError, IndexError, KeyError, TypeError, ValueError"
        exec(
            f"def read(step):\n    try:\n{body}\n        return ({result})\n"
            f"    except ({caught}): return None\n",
            self.space,
        )
        read: Reader = self.space["read"]
        return read

    def check_names(self, known: frozenset[str]) -> None:
        """Every attribute that is asked for belongs to something that has been looked at."""
        if self.changeable and self.names & MUTATORS:
            raise NotEnumerable("a list or dict that may be changed")
        for name in sorted(
            self.names - {"__name__", IDENTITY, IN_PLACE}
        ):  # errors ask types for the first
            if hasattr(Tensor, name):
                self.of_tensors(name)
            elif name not in self.found | known and not any(hasattr(c, name) for c in CONTAINERS):
                raise NotEnumerable(f"an attribute {name} of something")

    def of_tensors(self, name: str) -> None:
        """An attribute that tensors have: an operation, or what a traced tensor has as well."""
        value = vars(Tensor).get(name)
        if name not in OF_TENSORS and not (is_operation(value) and not name.endswith("_")):
            raise NotEnumerable(f"Tensor.{name}")
        self.require(f"vars(Tensor).get({name!r}) is {self.constant(value)}")

    # ---------------------------------------------------------------------------- what is found
    def visit(self, place: str, value: Any) -> Any:
        """Write down how to look at a value again; its copy."""
        if (id(value), self.copied) in self.seen:
            where, _, copy = self.seen[id(value), self.copied]
            self.require(f"{place} is {where}")
            return copy
        kind = type(value)
        call = kind is FunctionType and is_call_of_module(value)
        builtin = kind is BuiltinFunctionType
        fixed = isinstance(value, FIXED) or (kind is np.ufunc and value in vars(np).values())
        if fixed or is_operation(value) or builtin or call:
            if builtin and not is_pure(value):
                raise NotEnumerable(f"{value.__name__}, which may do anything")
            self.names |= {"forward"} if call else set()
            self.require(f"{place} is {self.constant(value)}")
            return value
        if kind in NUMBERS:
            where, constant = self.bound(place), self.constant(value)
            self.require(f"{where} is {constant} or same({where}, {constant})")
            return value
        where = self.bound(place)
        if isinstance(value, (type, ModuleType)):
            self.require(f"{where} is {self.constant(value)}")
        else:
            self.require(f"type({where}) is {self.constant(kind)}")
        return _VISITS.get(kind, _instance)(self, where, value)

    def remember(self, where: str, value: Any, copy: Any) -> Any:
        """Found again, it is the same one."""
        self.seen[id(value), self.copied] = (where, value, copy)
        return copy

    def through(self, pairs: Iterator[tuple[str, Any]]) -> None:
        """Visit what the copy sees as it is: a tensor there would not be a traced one."""
        before, self.copied = self.copied, False
        for place, value in pairs:
            self.visit(place, value)
        self.copied = before


# --------------------------------------------------------------------------- kinds of things
def _tensor(walk: Walk, where: str, value: Tensor) -> Any:
    if not walk.copied or type(value.array) is not np.ndarray:
        raise NotEnumerable("a tensor that is found by way of a class or module")
    copy = Tensor(walk.trace.capture(value))
    if getattr(value, "_is_parameter", False):
        copy._is_parameter = True  # type: ignore[attr-defined]
    walk.tensors.append(where)
    return walk.remember(where, value, copy)


def _sequence(walk: Walk, where: str, value: Any) -> Any:
    walk.require(f"len({where}) == {len(value)}")
    walk.changeable |= type(value) is list
    if type(value) is list:
        copy = walk.remember(where, value, [])
        copy.extend(walk.visit(f"{where}[{i}]", part) for i, part in enumerate(value))
        return copy
    parts = [walk.visit(f"{where}[{i}]", part) for i, part in enumerate(value)]
    return walk.remember(where, value, tuple(parts))


def _dict(walk: Walk, where: str, value: dict[Any, Any]) -> Any:
    if not all(type(key) is str for key in value):
        raise NotEnumerable("a dict whose keys are no texts")
    walk.changeable = True
    copy = walk.remember(where, value, {})
    walk.require(f"tuple({where}) == {walk.constant(tuple(value))}")
    for key, part in value.items():
        copy[key] = walk.visit(f"{where}[{key!r}]", part)
    return copy


def _method(walk: Walk, where: str, value: MethodType) -> Any:
    owner = walk.visit(f"{where}.__self__", value.__self__)
    return MethodType(walk.visit(f"{where}.__func__", value.__func__), owner)


def _partial(walk: Walk, where: str, value: Any) -> Any:
    function = walk.visit(f"{where}.func", value.func)
    args = walk.visit(f"{where}.args", value.args)
    return functools.partial(function, *args, **walk.visit(f"{where}.keywords", value.keywords))


def _function(walk: Walk, where: str, value: FunctionType) -> Any:
    """Its code, what its closure holds, its defaults, and the globals that it names."""
    code, cells = value.__code__, value.__closure__ or ()
    outside, attributes = names_in(code)
    if vars(value).keys() - {"__wrapped__"}:
        raise NotEnumerable("a function with attributes")
    walk.names |= attributes
    walk.require(f"{where}.__code__ is {walk.constant(code)}")
    if "__name__" in walk.asked:
        walk.require(f"{where}.__name__ == {value.__name__!r}")
    world: dict[str, Any] = {"__builtins__": builtins, "__name__": value.__module__}
    held = tuple(CellType() for _ in cells)
    copy = walk.remember(where, value, FunctionType(code, world, value.__name__, None, held))
    for i, (name, cell) in enumerate(zip(code.co_freevars, cells, strict=True)):
        place, content = f"{where}.__closure__[{i}].cell_contents", _content(cell)
        if name == "__class__":  # of super(), which is looked through in any case
            walk.require(f"{place} is {walk.constant(content)}")
            held[i].cell_contents = content
        else:
            held[i].cell_contents = walk.visit(place, content)
    copy.__defaults__ = walk.visit(f"{where}.__defaults__", value.__defaults__)
    copy.__kwdefaults__ = walk.visit(f"{where}.__kwdefaults__", value.__kwdefaults__)
    names = walk.constant(value.__globals__)
    walk.require(f"{where}.__globals__ is {names}")
    for name in sorted(outside):
        if name in value.__globals__:
            world[name] = walk.visit(f"{names}[{name!r}]", value.__globals__[name])
        else:
            walk.require(f"{name!r} not in {names}")
            _builtin(walk, name)
    return copy


def _content(cell: CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        raise NotEnumerable("a closure that is not filled yet") from None


def _builtin(walk: Walk, name: str) -> None:
    if name not in vars(builtins):
        raise NotEnumerable(f"a name {name} that is not there")
    if name == "vars":
        walk.names.add("vars")
        walk.found.add("vars")
    walk.through(iter([(f"{walk.constant(vars(builtins))}[{name!r}]", vars(builtins)[name])]))


def _module(walk: Walk, where: str, value: ModuleType) -> Any:
    names = sorted(walk.asked & vars(value).keys())
    walk.found |= set(names)
    walk.remember(where, value, value)
    walk.through((f"{where}.{name}", getattr(value, name)) for name in names)
    return value


def _class(walk: Walk, where: str, value: type) -> Any:
    """A class that a step may call: one of Python's own, or a named tuple."""
    walk.remember(where, value, value)
    named = issubclass(value, tuple) and _fields(value)
    plain = value.__module__ in ("builtins", "functools")
    if not plain and not named and not issubclass(value, (Exception, Tensor)):
        raise NotEnumerable(f"the class {value.__name__}")
    walk.found |= set(_fields(value))
    return value


def _fields(kind: type) -> tuple[str, ...]:
    return getattr(kind, "_fields", ())


def _instance(walk: Walk, where: str, value: Any) -> Any:
    """An object of an ordinary class: attributes that are asked for, its own and of its classes."""
    kind = type(value)
    classes = [c for c in kind.__mro__ if c is not object]
    reading: Any = kind.__getattribute__
    plain = reading is object.__getattribute__ and not hasattr(kind, "__getattr__")
    if not plain or not hasattr(value, "__dict__") or type(kind) is not type or any(
        "__slots__" in vars(c) or not c.__flags__ & (1 << 9) for c in classes
    ):  # fmt: skip
        raise NotEnumerable(f"an object of type {kind.__name__}")
    copy = walk.remember(where, value, object.__new__(kind))
    own = walk.bound(f"{where}.__dict__")
    everything = "vars" in walk.asked or "__dict__" in walk.asked
    asked = walk.asked.union(*map(_compared, classes))
    names = vars(value).keys() if everything else asked & vars(value).keys()
    if everything:
        walk.require(f"tuple({own}) == {walk.constant(tuple(vars(value)))}")
    _of_classes(walk, where, classes, own, vars(value))
    walk.found |= set(names)
    for name in (n for n in vars(value) if n in names):
        vars(copy)[name] = walk.visit(f"{own}[{name!r}]", vars(value)[name])
    return copy


def _of_classes(walk: Walk, where: str, classes: list[type], own: str, held: Any) -> None:
    """What is asked for and found in the classes of an object, in each that has it."""
    kind = walk.constant(classes[0])
    found: dict[str, None] = {}
    for owner in classes:
        table = walk.constant(vars(owner))
        walk.require(f"len({table}) == {len(vars(owner))}")  # nothing new hides what was found
        names = [n for n in sorted(walk.asked & vars(owner).keys()) if n[:2] != "__"]
        for name in [*names, *_special(owner)]:
            found[name] = None
            walk.through(iter([_unwrapped(f"{table}[{name!r}]", vars(owner)[name])]))
    for name in found:
        held_too = name in held
        walk.require(f"{kind}.{name} is {walk.constant(getattr(classes[0], name))}")
        if not held_too:
            walk.require(f"{name!r} not in {own}")
    walk.found |= set(found)


def _special(owner: type) -> list[str]:
    """The special methods that an expression may call."""
    idle = IDLE | GENERATED if _compared(owner) else IDLE
    functions = [n for n, v in vars(owner).items() if type(v) is FunctionType]
    return [n for n in functions if n[:2] == "__" and n not in idle]


def _compared(kind: type) -> frozenset[str]:
    """The fields of a dataclass, which comparing two of them reads."""
    equal = vars(kind).get("__eq__")
    written = type(equal) is FunctionType and equal.__code__.co_filename != "<string>"
    return frozenset(() if written else getattr(kind, "__dataclass_fields__", ()))


def _unwrapped(place: str, value: Any) -> tuple[str, Any]:
    """The function in a property or a static method."""
    if type(value) is property:
        return f"{place}.fget", value.fget
    if type(value) is staticmethod:
        return f"{place}.__func__", value.__func__
    return place, value


_VISITS: dict[type, Callable[[Walk, str, Any], Any]] = {
    Tensor: _tensor, tuple: _sequence, list: _sequence, dict: _dict, FunctionType: _function,
    MethodType: _method, functools.partial: _partial, ModuleType: _module, type: _class,
}  # fmt: skip
