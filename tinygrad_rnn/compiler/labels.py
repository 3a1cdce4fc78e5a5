"""The user's own names for the values of a step, found by watching it while it is traced.

A value is called what the local variable that held it was called, else what the attribute, the key
or the list that has it. Where two values would have one name, what a part of a module has is called
after that part, and what is still alike is numbered: a⁽1⁾, a⁽2⁾.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import FrameType, ModuleType
from typing import Any, NamedTuple

from ..graph import Node
from ..tensor import Tensor
from ..tree import flatten, paths, unflatten
from .code_reads import NotEnumerable, code_of, names_in
from .program import Value, ancestors
from .reads import enumerated, fields
from .signs import key_text
from .trace import Trace, trace_step

__all__ = ["Labels", "Watched", "numbered", "watched"]

BEFORE = ("_prev", "_previous", "_old", "_last", "_before", "_new", "_next", "_t")
AHEAD = ("prev_", "previous_", "old_", "last_", "new_", "next_")
VAGUE = frozenset(
    "state carry hidden hx prev old last new next out output outputs result after self".split()
)
DEPTH = 4  # of modules in modules, to which parts are looked for


class Labels(NamedTuple):
    """What the ends of a step are called: the parts of the carry, of x and of y."""

    carries: list[str]
    inputs: list[str]
    outputs: list[str]


class Watched(NamedTuple):
    """A trace: its values, what it captures, the next carry, the outputs, what they are called.

    All other values have their names as their labels.
    """

    values: list[Value]
    tensors: list[Tensor]
    carries: list[Value]
    outputs: list[Value]
    labels: Labels


def watched(step: Callable[..., Any], init: Any, xs: Any) -> Watched:
    """Trace a step and give its values the names of the variables that hold them."""
    frames: list[Frame] = []
    inner = getattr(step, "__code__", None) or getattr(type(step).__call__, "__code__", None)

    def watch(frame: FrameType, event: str, _: Any) -> None:
        if event == "return":
            code = frame.f_code
            if code is inner or not (_is_below(frame) or code.co_name[:1] == "<"):
                world = {n: frame.f_globals.get(n) for n in code.co_names}
                own = dict(frame.f_locals)
                frames.append(Frame(_owner(frame), world, own, code is inner))

    before = sys.getprofile()
    try:
        copy, trace = _copied(step, init, xs)
        sys.setprofile(watch)
        trace, carries, outputs, structure = trace_step(copy, init, xs, trace)
    except Exception:  # it cannot be copied: what it holds are numbers
        frames.clear()
        sys.setprofile(watch)
        trace, carries, outputs, structure = trace_step(step, init, xs)
    finally:
        sys.setprofile(before)
    alive = ancestors([*carries, *outputs])
    captured = [v for v in trace.values if v.kind == "captured"]
    tensors = [t for t, v in zip(trace.tensors, captured, strict=True) if v in alive]
    values = [v for v in trace.values if v.kind != "captured" or v in alive]
    found = _Names(frames, values, tensors)
    ends = paths(unflatten(structure, list(range(len(outputs)))), "")
    labels = Labels(
        found.of_carries(carries, paths(init, "")), found.of_inputs(paths(xs, "")),
        _ends(ends, "y"),
    )  # fmt: skip
    both = [f"{name}_in" if name in labels.carries else name for name in labels.inputs]
    labels = labels._replace(inputs=both)
    found.settle(carries, labels)
    return Watched(values, tensors, carries, outputs, labels)


def _copied(step: Callable[..., Any], init: Any, xs: Any) -> tuple[Any, Trace]:
    """The step with traced tensors in place of its own, as scan traces it, and their trace."""
    trace = Trace()
    code = code_of(step)
    if code is None:
        raise NotEnumerable("it is no function")
    names_in(code)  # before anything that it holds is found to be too much
    known = fields([flatten(init)[1], flatten(xs)[1]])
    return enumerated(step, known, trace)[0], trace


def numbered(name: str, number: int) -> str:
    """One of several values of a name."""
    return f"{name}⁽{number}⁾"


# ------------------------------------------------------------------------------- what is watched
class Frame(NamedTuple):
    """What a function had when it returned: the object it is a method of, globals, locals."""

    owner: Any
    world: dict[str, Any]
    own: dict[str, Any]
    is_step: bool = False


def _owner(frame: FrameType) -> Any:
    """The object whose method is running, if it is one."""
    code = frame.f_code
    if not code.co_argcount:
        return None
    owner = frame.f_locals.get(code.co_varnames[0])
    method = getattr(type(owner), code.co_name, None)
    return owner if getattr(method, "__code__", None) is code else None


def _is_below(frame: FrameType) -> bool:
    """Whether a function is of a library: of another one, or of this one and not of its layers."""
    name, house = str(frame.f_globals.get("__name__", "")), __name__.partition(".")[0]
    whose = name.partition(".")[0]
    if whose == house:
        return not name.startswith(f"{house}.nn.")
    return (whose in sys.stdlib_module_names and whose != "__main__") or whose == "numpy"


@dataclass
class _Names:
    """Names as they are found: the last one that a value is given is that of the outermost."""

    frames: Sequence[Frame]
    values: Sequence[Value]
    tensors: Sequence[Tensor]
    short: dict[Value, str] = field(default_factory=dict)
    long: dict[Value, str] = field(default_factory=dict)
    local: set[Value] = field(default_factory=set)  # those with the name of a local variable

    def __post_init__(self) -> None:
        captured = [v for v in self.values if v.kind == "captured"]
        self.places = {id(t): v for t, v in zip(self.tensors, captured, strict=True)}
        pairs = list(zip(self.tensors, captured, strict=True))
        self.views = {t.node: v for t, v in pairs if t.node is not None and t.node.parents}
        steps = [frame for frame in self.frames if frame.is_step] or self.frames
        root = steps[-1] if steps else Frame(None, {}, {})
        reached = list(_reached({**root.world, **_attributes(root.owner), **root.own}))
        for name, thing in reached:
            self.give(name, thing, "", "inside")
        for frame in self.frames:
            plain = frame.owner is None or frame.owner is root.owner
            part = "" if plain else _part(frame.owner, reached)
            world, own = dict(frame.world), dict(frame.own)
            things = {} if frame.owner is None else _attributes(frame.owner)
            for variables in (world, things, own):
                for name, leaf in _inside(variables):
                    self.give(name, leaf, part, "inside")
            for variables in (world, things, own):
                for name, held in variables.items():
                    self.give(name, held, part, "local" if variables is own else "")

    def give(self, name: str, held: Any, part: str, kind: str) -> None:
        """A name for a tensor that is a value of the program; of a `kind` "inside" the first."""
        if not isinstance(held, Tensor):
            return
        if type(held.array) is Value:
            self.set(name, held.array, part, kind)
            return
        value = self.places.get(id(held))
        if value is not None:
            self.set(name, value, part, kind)
        leaf = held.node is not None and not held.node.parents
        for node, other in self.views.items() if leaf else ():
            view = _view(node, held.node, name)
            if view is not None and view != name:
                self.set(view, other, part, "inside")

    def set(self, name: str, value: Value, part: str, kind: str) -> None:
        """A name for a value."""
        if (kind == "inside" and value in self.short) or not name.strip("_"):
            return
        self.short[value], self.long[value] = name, f"{part}.{name}" if part else name
        if kind == "local":
            self.local.add(value)

    def of_carries(self, carries: Sequence[Value], ends: Sequence[str]) -> list[str]:
        """A carry is called what it is behind the step, else before it, without "new" and such."""
        before = [v for v in self.values if v.kind == "carry"]
        found = []
        for old, new, end in zip(before, carries, _ends(ends, "h"), strict=True):
            names = [_plain(self.short[v]) for v in (new, old) if v in self.local and _own(v, old)]
            good = [n for n in names if n not in VAGUE]
            found.append((good or [end])[0])
        return found if len(set(found)) == len(found) else _ends(ends, "s")

    def of_inputs(self, ends: Sequence[str]) -> list[str]:
        """The names of the parts of x."""
        inputs = [v for v in self.values if v.kind == "x"]
        names = _ends(ends, "x")
        found = [
            _plain(self.short[v]) if v in self.local else name
            for v, name in zip(inputs, names, strict=True)
        ]
        return found if len(set(found)) == len(found) else names

    def settle(self, carries: Sequence[Value], labels: Labels) -> None:
        """Label each value with a name that no other one has."""
        ends = [*labels.carries, *labels.inputs]
        taken = {*ends, *(f"{name}_t" for name in ends)}
        after = {v for v in carries if v.op is not None}
        named = [v for v in self.values if v in self.short and v not in after]
        named = [v for v in named if v.op is not None or v.kind == "captured"]
        label = dict(self.short)
        for value in _alike(named, label, taken):
            label[value] = self.long[value]
        count: dict[str, int] = {}
        for value in _alike(named, label, taken):
            count[label[value]] = count.get(label[value], 0) + 1
            label[value] = numbered(label[value], count[label[value]])
        for value in named:
            value.label = label[value]
        before = [v for v in self.values if v.kind == "carry"]
        for old, new, name in zip(before, carries, labels.carries, strict=True):
            old.label = f"{name}_t−1"
            if new.op is not None:
                new.label = f"{name}_t"
        for value, name in zip(
            [v for v in self.values if v.kind == "x"], labels.inputs, strict=True
        ):
            value.label = f"{name}_t"


def _view(node: Node, source: Node | None, name: str) -> str | None:
    """What a view of a tensor with a name is called: w[0]ᵀ; None if it is none of that tensor."""
    if node is source:
        return name
    parent = node.parents[0] if len(node.parents) == 1 else None
    within = None if parent is None else _view(parent, source, name)
    if within is None:
        return None
    params = node.params or {}
    if node.primitive.name == "permute" and tuple(params["dims"]) == (1, 0):
        return f"{within}ᵀ"
    if node.primitive.name == "slice":
        return f"{within}[{key_text(params['key'])}]"
    return None


def _alike(values: Sequence[Value], label: Mapping[Value, str], taken: set[str]) -> list[Value]:
    """Those that have a name which another one has."""
    count: dict[str, int] = dict.fromkeys(taken, 1)
    for value in values:
        count[label[value]] = count.get(label[value], 0) + 1
    return [v for v in values if count[label[v]] > 1]


def _own(value: Value, old: Value) -> bool:
    """Whether a name is that of this carry: not of another one, or of an input, passed on."""
    return value.op is not None or value is old


def _plain(name: str) -> str:
    """A name without what says when it was made."""
    for end in BEFORE:
        name = name.removesuffix(end) or name
    for start in AHEAD:
        name = name.removeprefix(start) or name
    return name


def _ends(found: Sequence[str], name: str) -> list[str]:
    """What parts of a structure are called: by their keys or fields, else by numbers."""
    if len(found) == 1 and not found[0]:
        return [name]
    keys = [path.rpartition("[")[2].strip("]'\".") for path in found]
    clear = len(set(keys)) == len(keys) and all(key.isidentifier() for key in keys)
    return keys if clear else [f"{name}{path.replace(chr(39), '')}" for path in found]


# --------------------------------------------------------------------------------- what holds what
def _attributes(thing: Any) -> dict[str, Any]:
    found = getattr(thing, "__dict__", None)
    own = type(found) is dict and not isinstance(thing, (type, ModuleType))
    return dict(found or {}) if own else {}  # not what a class makes up


def _inside(variables: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """What is in the lists and dicts that variables hold, and its names."""
    for name, held in variables.items():
        if type(held) is dict:
            yield from ((key, v) for key, v in held.items() if isinstance(key, str))
        elif isinstance(held, (tuple, list)):
            yield from ((f"{name}[{i}]", v) for i, v in enumerate(held))


def _reached(variables: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """What variables hold, what that holds, and so on, each with the path to it: layers[0].norm."""
    waiting, seen = [("", dict(variables))], set()
    for _ in range(DEPTH):
        following = []
        for path, held in waiting:
            for name, thing in [*held.items(), *_inside(held)]:
                if name.startswith("__"):
                    continue
                yield f"{path}{name}", thing
                if not isinstance(thing, Tensor) and id(thing) not in seen:
                    seen.add(id(thing))
                    following.append((f"{path}{name}.", _attributes(thing)))
        waiting = following


def _part(owner: Any, reached: Sequence[tuple[str, Any]]) -> str:
    """Where in the outermost step or module an object is."""
    found = (path for path, thing in reached if thing is owner)
    return next(found, type(owner).__name__.lower())
