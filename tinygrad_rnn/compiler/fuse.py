"""Fusion: the elementwise operations between two matrix products become one kernel.

A step alternates between kernels (even phases) and calls (odd phases: products and what kernels
cannot do). Everything fusable is placed in the last phase that its readers allow, so that little
has to be stored. Within a phase, values that somebody else reads are *made*; the rest exist in
registers. Those made together over one shape are a `Nest`: a loop over its elements. A reduction is
made by the nest over what it reduces: of rows in registers, of other axes in memory. What has to
be read again when a row has been reduced is stored, unless it is cheaper to compute it again.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from ..ops.parts import tiles
from .cut import Loop
from .index_maps import Map, identity, operand_map, through_view
from .layout import is_view
from .plan import joined_keys
from .program import Value, ancestors
from .row_sums import is_row_reduction

__all__ = ["FUSABLE", "Fusion", "Nest", "fuse", "is_plain_join", "is_reduction"]

FUSABLE = frozenset((
    "add", "sub", "mul", "div", "neg", "square", "reciprocal", "sqrt", "rsqrt", "exp", "tanh",
    "sigmoid", "relu", "abs", "sign", "maximum", "minimum", "where", "clip", "floor", "ceil",
    "round", "trunc", "expm1", "exp2", "log", "log1p", "log2", "log10", "sin", "cos", "tan", "asin",
    "acos", "atan", "sinh", "cosh", "erf", "softplus", "logaddexp", "pow", "floor_divide",
    "remainder", "fmod", "eq", "ne", "lt", "le", "gt", "ge", "logical_and", "logical_or",
    "logical_not", "isnan", "isinf", "isfinite", "cast", "clone",
))  # fmt: skip
COSTS = {
    "exp": 12, "tanh": 16, "sigmoid": 14, "div": 4, "reciprocal": 4, "sqrt": 6, "rsqrt": 8,
    "expm1": 14, "exp2": 12, "log": 20, "log1p": 24, "log2": 20, "log10": 20, "sin": 28, "cos": 28,
    "tan": 32, "asin": 40, "acos": 40, "atan": 30, "sinh": 18, "cosh": 16, "erf": 40,
    "softplus": 28, "logaddexp": 30, "pow": 60, "floor_divide": 80, "remainder": 70, "fmod": 60,
}  # fmt: skip
MANY = 8  # readers of an element for which it is stored
DEAR = 4  # operations on an element that cost more than to store it and to load it again


@dataclass
class Nest:
    """A loop over `shape` that makes `values`.

    Of these, `reduced` are reductions over the last axes `dims`, `columns` sums over other axes.

    `terms` are (operation, arguments) in order: ("load", (value, map)), ("number", (x, dtype)), or
    the operation of a value with the numbers of its terms. `results` says which term is which.
    """

    shape: tuple[int, ...]
    values: list[Value] = field(default_factory=list)
    terms: list[tuple[Any, ...]] = field(default_factory=list)
    results: dict[Value, int] = field(default_factory=dict)
    copies: list[tuple[Value, Value, Any]] = field(default_factory=list)  # (part, whole, key)
    memo: dict[tuple[Value, Map], int] = field(default_factory=dict)
    dims: tuple[int, ...] | None = None
    reduced: set[Value] = field(default_factory=set)
    columns: set[Value] = field(default_factory=set)

    def loads(self) -> list[tuple[Value, Map]]:
        """What is read, and where."""
        return [term[1] for term in self.terms if term[0] == "load"]


@dataclass
class Fusion:
    """For each phase its nests, or its calls; and all values that are given a place, in order."""

    phases: list[list[Any]]
    made: list[Value]


class _Fuser:
    """Works out phases, what is made, and the nests."""

    def __init__(self, loop: Loop, forced: Iterable[Value]) -> None:
        self.loop = loop
        self.body = loop.body
        self.inside = set(loop.body)
        self.forced = set(forced)
        self.kind = {v: self.kind_of(v) for v in self.body}
        self.ends = {after for _, after in loop.carries} | set(loop.exports)
        self.users: dict[Value, list[Value]] = {}
        for value in self.body:
            for arg in dict.fromkeys(value.inputs):
                self.users.setdefault(arg, []).append(value)
        self.phase = self.phases()
        self.made = self.materialised()
        self.keep()

    def kind_of(self, value: Value) -> str:
        """What becomes of a value: "view", "join", "fused", "reduce", "columns" or "call"."""
        if is_view(value):
            return "call" if value in self.forced else "view"
        known = all(a.dtype.kind in "fb" and a.dtype.itemsize in (1, 4, 8) for a in value.inputs)
        if not known or value.dtype.kind not in "fb" or value.dtype.itemsize == 2:
            return "call"
        if value.name in FUSABLE:
            return "fused"
        if joined_keys(value) is not None:
            return "join" if is_plain_join(value) else "call"
        if _is_column_sum(value):
            return "columns"
        return "reduce" if is_row_reduction(value) else "call"

    # ---------------------------------------------------------------------------- phases
    def phases(self) -> dict[Value, int]:
        """As late as the readers allow; the first pass finds the earliest."""
        early: dict[Value, int] = {}
        for value in self.body:
            phase = max((early.get(a, 0) for a in value.inputs), default=0)
            odd = self.kind[value] == "call"
            early[value] = phase if self.kind[value] == "view" else phase + (phase % 2 != odd)
        last = max((p for v, p in early.items() if self.kind[v] not in ("call", "view")), default=0)
        late = dict(early)
        for value in reversed(self.body):
            if self.kind[value] == "call":
                continue
            limits = [last] if value in self.ends else []
            limits += [late[u] - (self.kind[u] == "call") for u in self.users.get(value, [])]
            if self.kind[value] == "view":
                late[value] = max(early[value], min(limits, default=last))
            else:
                late[value] = max(early[value], min(limits, default=last) // 2 * 2)
        for value in self.body:
            if self.kind[value] == "columns":  # added up while what it sums is at hand
                phase = late.get(value.inputs[0], 0)
                late[value] = min(late[value], max(early[value], phase + phase % 2))
        return late

    # ------------------------------------------------------------------ what gets a place
    def materialised(self) -> set[Value]:
        """The values that are stored: read by a call, in another phase, or after the step."""
        made = {v for v in self.body if self.kind[v] in ("call", "reduce", "columns", "join")}
        made |= {self.source(v) for v in self.ends} & self.inside
        made |= {v for v in self.body if self.kind[v] == "fused" and self.is_spread(v)}
        for value in self.body:
            for arg in value.inputs:
                source = self.source(arg)
                apart = self.kind[value] in ("call", "join") or (
                    source in self.inside and self.phase[source] != self.phase[value]
                )
                if self.kind[value] != "view" and apart:
                    made.add(source)
            opaque = self.kind[value] == "view" and not self.inlines(value)
            if opaque:
                made.add(self.source(value.inputs[0]))
        return {v for v in made if v in self.inside and self.kind[v] != "view"}

    def is_spread(self, value: Value) -> bool:
        """Whether a value is read for many elements each: then it is computed once, and stored."""
        waiting = list(self.users.get(value, []))
        while waiting:
            user = waiting.pop()
            if self.kind[user] == "view":
                waiting += self.users.get(user, [])
            elif user.size >= MANY * value.size and self.phase[user] == self.phase[value]:
                return self.kind[user] != "call"
        return False

    def keep(self) -> None:
        """Store what is reduced, and read again after that, and dear."""
        for value in [v for v in self.body if self.kind[v] == "reduce"]:
            root = value.inputs[0]
            behind = self.behind(value)
            again = self.tree(behind) & self.tree({root}) - behind
            for part in sorted(again, key=lambda v: v.index):
                alike = self.kind[part] == "fused" and part.shape == root.shape
                if alike and not again.issuperset(self.users[part]) and self.cost(part) >= DEAR:
                    self.made.add(part)

    def tree(self, values: set[Value]) -> set[Value]:
        """All that has to be computed, in the same phase, to have these values."""
        phases = {self.phase[v] for v in values if v in self.inside}

        def stays(value: Value) -> bool:
            if value not in self.inside or self.phase[value] not in phases:
                return True
            return value in self.made and value not in values

        return {v for v in ancestors(values, stays) if not stays(v)}

    def behind(self, value: Value) -> set[Value]:
        """Everything in the phase of a value that depends on it."""
        found = {value}
        for other in self.body:
            if self.phase[other] == self.phase[value] and any(a in found for a in other.inputs):
                found.add(other)
        return found - {value}

    def cost(self, value: Value) -> int:
        """The operations on all elements that computing a value again would take."""
        again = [v for v in self.tree({value}) if v.shape == value.shape]
        return sum(COSTS.get(v.name, 1) for v in again if self.kind[v] == "fused")

    def source(self, value: Value) -> Value:
        """What a view looks at."""
        while value in self.inside and self.kind[value] == "view":
            value = value.inputs[0]
        return value

    def inlines(self, value: Value) -> bool:
        """Whether a view is only another way to count indices."""
        return through_view(value, identity(value.shape)) is not None

    # -------------------------------------------------------------------------- nests
    def run(self) -> Fusion:
        """All phases."""
        count = max((self.phase[v] for v in self.made), default=-1) + 1
        phases: list[list[Any]] = []
        for phase in range(count):
            values = [v for v in self.body if v in self.made and self.phase[v] == phase]
            calls = [v for v in values if self.kind[v] == "call"]
            phases.append(calls if phase % 2 else self.nests(values))
        return Fusion(phases, [v for v in self.body if v in self.made])

    def nests(self, values: list[Value]) -> list[Nest]:
        """The loops that make the values of one phase."""
        nests: list[Nest] = []
        at: dict[Value, int] = {}
        apart = [v for v in values if self.kind[v] == "columns" and self.is_apart(v)]
        for value in [*(v for v in values if v not in apart), *apart]:
            if self.kind[value] == "join":
                self.join(value, nests, at)
                continue
            reduces, columns = self.kind[value] == "reduce", self.kind[value] == "columns"
            root = value.inputs[0] if reduces or columns else value
            dims = value.params["dims"] if reduces else None
            first = self.earliest(root, at)
            if value in apart:
                kept = [n for n in range(first, len(nests)) if not nests[n].dims]
                first = next((n for n in kept if nests[n].shape == root.shape), len(nests))
            number = self.find(nests, root.shape, dims, first)
            nest = nests[number]
            nest.values.append(value)
            if columns:
                nest.columns.add(value)
            if reduces:
                nest.reduced.add(value)
            at[value] = number
            nest.results[value] = self.term(nest, root, identity(root.shape), at, number)
        return nests

    def is_apart(self, value: Value) -> bool:
        """Whether a sum over rows is put where no row is reduced, so that totals stay in registers.

        That is so where all it sums is stored, or cheap to compute again, and nobody waits for it.
        """
        users = self.users.get(value, [])
        waits = any(self.phase[u] == self.phase[value] and self.kind[u] != "call" for u in users)
        root = value.inputs[0]
        cheap = root in self.made or self.cost(root) < DEAR
        return 0 in value.params["dims"] and not waits and cheap

    def find(
        self, nests: list[Nest], shape: tuple[int, ...], dims: tuple[int, ...] | None, first: int
    ) -> int:
        """The number of a nest of this shape from `first` on, made if there is none."""
        for number in range(first, len(nests)):
            nest = nests[number]
            if nest.shape == shape and (dims is None or nest.dims in (None, dims)):
                break
        else:
            nests.append(Nest(shape))
            number = len(nests) - 1
        nests[number].dims = nests[number].dims or dims
        return number

    def earliest(self, root: Value, at: dict[Value, int]) -> int:
        """The first nest in which everything that the nest over `root` reads is there."""
        first = 0
        shape = root.shape
        stack = [(root, identity(shape))]
        seen = set()
        while stack:
            item, index = stack.pop()
            if (item, index) in seen:
                continue
            seen.add((item, index))
            if item in at:
                together = index == identity(shape) and self.kind[item] == "fused"
                first = max(first, at[item] + (0 if together else 1))
            elif item in self.inside and not (item in self.made and item is not root):
                stack += self.reads(item, index)
        return first

    def reads(self, value: Value, index: Map) -> list[tuple[Value, Map]]:
        """The arguments of a value that is computed where it is needed, and at which index."""
        if self.kind[value] == "view":
            inner = through_view(value, index)
            if inner is None:  # its source is stored: all of it has to be there
                return [(self.source(value.inputs[0]), ((None, -1, 0),))]
            return [(value.inputs[0], inner)]
        return [(a, operand_map(a, value, index)) for a in value.inputs]

    def join(self, value: Value, nests: list[Nest], at: dict[Value, int]) -> None:
        """A concatenation: its parts are in place already, or copied there."""
        keys = joined_keys(value)
        assert keys is not None
        done = 0
        for part, key in zip(value.inputs, keys, strict=True):
            first = max(self.earliest_of(part, at), 0)
            number = self.find(nests, part.shape, None, first)
            nest = nests[number]
            nest.copies.append((part, value, key))
            self.term(nest, part, identity(part.shape), at, number)
            done = max(done, number)
        at[value] = done

    def earliest_of(self, part: Value, at: dict[Value, int]) -> int:
        """As `earliest`, for a part that is read as it is."""
        source = self.source(part)
        if source in at:
            plain = source is part and self.kind[part] == "fused"
            return at[source] + (0 if plain else 1)
        return 0

    def term(self, nest: Nest, value: Value, index: Map, at: dict[Value, int], number: int) -> int:
        """The number of the term for `value` at `index`, added if it is new."""
        memo = nest.memo
        if (value, index) not in memo:
            memo[value, index] = self.new_term(nest, value, index, at, number)
        found: int = memo[value, index]
        return found

    def new_term(
        self, nest: Nest, value: Value, index: Map, at: dict[Value, int], number: int
    ) -> int:
        kind = self.kind.get(value, "input")
        if kind == "view":
            inner = through_view(value, index)
            if inner is not None:
                return self.term(nest, value.inputs[0], inner, at, number)
        here = value not in self.made or (at.get(value) == number and index == identity(nest.shape))
        if kind != "fused" or not here:
            nest.terms.append(("load", (value, index)))
            return len(nest.terms) - 1
        args = []
        dtype = next((a.dtype for a in value.inputs if a.dtype.kind == "f"), value.dtype)
        for arg in value.args:
            if type(arg) is Value:
                args.append(self.term(nest, arg, operand_map(arg, value, index), at, number))
            else:
                nest.terms.append(("number", (float(arg), dtype)))
                args.append(len(nest.terms) - 1)
        nest.terms.append((value.name, tuple(args), value))
        return len(nest.terms) - 1


def is_plain_join(value: Value) -> bool:
    """Whether a value is parts side by side that are all there is."""
    keys = joined_keys(value)
    if keys is None:
        return False
    for key in keys:
        items = key if type(key) is tuple else (key,)
        if not all(type(k) is slice and k.step in (None, 1) for k in items):
            return False
    return value.name == "cat" or tiles(keys, value.shape)


def is_reduction(value: Value) -> bool:
    """Whether a value is a reduction that a kernel can do."""
    return is_row_reduction(value) or _is_column_sum(value)


def _is_column_sum(value: Value) -> bool:
    """A sum over any but the last axis of those that are longer than 1."""
    if value.name != "sum" or value.dtype.kind != "f" or value.dtype != value.inputs[0].dtype:
        return False
    dims = value.params["dims"]
    last = max((d for d, n in enumerate(value.inputs[0].shape) if n > 1), default=-1)
    return bool(dims) and max(dims) < last


def fuse(loop: Loop, forced: Iterable[Value] = ()) -> Fusion:
    """The kernels and calls of a step; views in `forced` are made by calls."""
    return _Fuser(loop, forced).run()
