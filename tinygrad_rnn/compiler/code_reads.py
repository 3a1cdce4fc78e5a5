"""What a code reads, as far as the code itself says so, and which functions need no look inside."""

from __future__ import annotations

import builtins
import dis
import functools
import math
from types import CodeType, FunctionType
from typing import Any

__all__ = [
    "Counting",
    "IDENTITY",
    "IN_PLACE",
    "NotEnumerable",
    "code_of",
    "is_call_of_module",
    "is_operation",
    "is_pure",
    "known_by",
    "names_in",
]

HOUSE = __name__.partition(".")[0]
FLOORS = frozenset((
    "arguments", "checks", "create", "derived", "functional", "ops", "scan", "tensor", "tree",
))  # fmt: skip
STATEFUL = frozenset(("generator", "get_rng_state", "manual_seed", "scan", "set_rng_state"))
PURE = frozenset((
    "abs", "all", "any", "callable", "divmod", "isinstance", "issubclass", "iter", "len", "max",
    "min", "next", "pow", "repr", "round", "sorted", "sum", "vars",
))  # fmt: skip
CHANGING = frozenset((
    "STORE_ATTR", "DELETE_ATTR", "STORE_GLOBAL", "DELETE_GLOBAL", "STORE_SUBSCR", "DELETE_SUBSCR",
    "IMPORT_NAME", "PUSH_EXC_INFO", "LOAD_BUILD_CLASS", "BEFORE_WITH", "SETUP_FINALLY",
    "MATCH_CLASS",  # asks for attributes that it does not name
))  # fmt: skip
IDENTITY = "is"  # stand among the attributes for a code that asks which objects are one,
IN_PLACE = "+="  # and for one that may change what it has found


class NotEnumerable(Exception):
    """Not everything that a step reads can be listed."""


class Counting(NotEnumerable):
    """A step changes what it reads: what it gives depends on how often it has been called."""


def code_of(step: Any) -> CodeType | None:
    """The code by which a step is known, None for what is neither function nor method."""
    function = step.func if type(step) is functools.partial else step
    function = getattr(function, "__func__", function)
    return function.__code__ if type(function) is FunctionType else None


def known_by(step: Any) -> Any:
    """Its code, with that of the step that it was put around: several have one wrapper."""
    code, inner = code_of(step), getattr(step, "__wrapped__", None)
    return code if code is None or inner is None else (code, code_of(inner) or type(inner))


@functools.lru_cache(1024)
def counter_in(code: CodeType) -> str | None:
    """What a code both changes and reads, so that each call begins where the last one ended.

    That is an attribute or a global by one name, a variable of the function around it, or an
    element by `+=` and its like.
    """
    changed: set[tuple[str, Any]] = set()
    read: set[tuple[str, Any]] = set()
    codes = [code]
    for part in codes:
        codes += [inner for inner in part.co_consts if type(inner) is CodeType]
        before = ""
        for line in dis.get_instructions(part):
            action, _, kind = line.opname.partition("_")
            name = (kind.replace("METHOD", "ATTR"), line.argval)
            outside = kind in ("ATTR", "GLOBAL", "METHOD") or line.argval in code.co_freevars
            if action in ("LOAD", "STORE") and outside:
                (changed if action == "STORE" else read).add(name)
            if line.opname == "STORE_SUBSCR" and before.endswith("="):
                return f"an element by {before}"
            if line.opname not in ("SWAP", "CACHE"):
                before = line.argrepr if line.opname == "BINARY_OP" else ""
    both = sorted(str(name) for _, name in changed & read)
    return both[0] if both else None


@functools.lru_cache(1024)
def names_in(code: CodeType) -> tuple[frozenset[str], frozenset[str]]:
    """The globals and the attributes that a code names, with those of the functions inside it."""
    counter = counter_in(code)
    if counter is not None:
        what = "a step whose result depends on how often it was called"
        raise Counting(f"{what}: {code.co_name} changes and reads {counter}")
    found: tuple[set[str], set[str]] = (set(), set())
    for line in dis.get_instructions(code):
        outer = line.opname == "STORE_DEREF" and line.argval in code.co_freevars
        if outer or line.opname in CHANGING:
            raise NotEnumerable(f"{code.co_name} does {line.opname}")
        if line.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
            found[0].add(line.argval)
        elif line.opname in ("LOAD_ATTR", "LOAD_METHOD", "LOAD_SUPER_ATTR"):
            found[1].add(line.argval)
        elif line.opname in ("IS_OP", "CONTAINS_OP"):
            found[1].add(IDENTITY)
        elif line.opname == "BINARY_OP" and line.argrepr.endswith("="):
            found[1].add(IN_PLACE)
    for inner in code.co_consts:
        if type(inner) is CodeType:
            for mine, more in zip(found, names_in(inner), strict=True):
                mine.update(more)
    return frozenset(found[0]), frozenset(found[1])


def is_operation(value: Any) -> bool:
    """Whether a function is one of the library's own, without state."""
    while type(value) is FunctionType and value.__name__ not in STATEFUL:
        house, _, path = str(value.__globals__.get("__name__")).partition(".")
        if house != HOUSE or path.split(".")[0] not in FLOORS:
            return False
        if not hasattr(value, "__wrapped__"):
            return True
        value = value.__wrapped__
    return False


def is_call_of_module(value: Any) -> bool:
    """Whether a function is what the library's modules do when called: they call `forward`."""
    name, house = value.__name__, str(value.__module__).startswith(f"{HOUSE}.nn.")
    return house and name == "__call__"


def is_pure(value: Any) -> bool:
    """Whether a function in C depends on its arguments alone and changes nothing."""
    if value in vars(math).values():
        return True
    return value.__name__ in PURE and value in vars(builtins).values()
