"""The equations of a step and of its backpropagation through time, as a textbook has them.

They are those of the step as it was written: what leaves the loop, what products are joined and
which engine runs it make no difference. Each value with a name has a line; so has what is read more
than once, and what a function like tanh is applied to.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from functools import partial
from typing import Any, NamedTuple

from ..graph import primitives
from .backward import Derivative, derivative
from .cut import Loop, cut
from .labels import Labels, Watched, numbered
from .names import Name
from .notation import Notation
from .passes import clean
from .program import Value, ancestors
from .signs import gate
from .step import Step

__all__ = ["Book", "Equations", "written"]

_PERMUTE = primitives["permute"]
VIEWS = frozenset(("slice", "permute", "reshape", "expand", "cast", "detach"))
SQUASHING = frozenset(("sigmoid", "tanh", "relu", "softplus", "exp", "erf", "sin", "cos"))
LEGEND = {
    "⊙": "⊙: element by element; a b, side by side: the matrix product, which comes first",
    "Σ_j": "Σ_j: along the last axis",
    "Σ_b": "Σ_b: along the first axis, over the rows of the batch",
    "Σ_t": "Σ_t: over the steps",
    "; ": "[a; b]: one below the other",
    "where(": "where(c, a, b): a where c holds, else b",
    "detach(": "detach(a): a, through which no gradient goes",
    "⁽": "a⁽1⁾, a⁽2⁾: one after the other under one name",
    "↑": "a↑[k]: a added at the places k of zeros",
    "∂L/∂": "∂L/∂h_t: what the loss says of an output h_t itself; ∂L/∂w: of a parameter, in all",
    "δ⁺": "δ⁺: what has come from step t + 1, and what goes to step t − 1",
    "δ": "δa: the derivative of the loss by a, through all that comes after it",
}


class Equations(NamedTuple):
    """Lines of the forward and of the backward pass, and what the signs mean."""

    forward: list[str]
    backward: list[str]
    legend: list[str]


def written(traced: Watched) -> Book:
    """The equations of a step."""
    inputs = [v for v in traced.values if v.op is None]
    parts = cut(clean(Step(inputs, traced.carries, traced.outputs)), lambda _: False, False)
    whole, kinds = parts.whole, [k for k in parts.kinds if k != "captured"]
    wanted = [v.dtype.kind == "f" for v in _inputs(whole)]
    back = derivative(whole, wanted, (True,) * len(whole.exports))
    return Book(whole, back, traced.labels, kinds)


def _inputs(whole: Loop) -> list[Value]:
    return [*(b for b, _ in whole.carries), *whole.stacked, *whole.constant]


class Book:
    """All names, and the lines in which they stand.

    Attributes:
        known: the names of forward values, and `names` with those of backward ones as well.
        outputs: the names of the outputs.
        same: names for what has another name as well: outputs that are inputs, and such.
    """

    def __init__(self, whole: Loop, back: Derivative, labels: Labels, kinds: Sequence[str]) -> None:
        self.whole, self.back, self.labels = whole, back, labels
        self.ends = {f"{name}_t" for name in labels.carries}
        self.known: dict[Value, Name] = {}
        self.same: list[tuple[Name, Value]] = []
        self.notes: list[str] = []
        self.further: set[str] = set()  # names of values that backward alone reads
        self.name_inputs(kinds)
        self.outputs = self.name_ends()
        self.name_body()
        self.names = self.name_deltas()

    # ---------------------------------------------------------------------------- forward
    def name_inputs(self, kinds: Sequence[str]) -> None:
        """The names of what a step is given."""
        carries, inputs = self.labels.carries, iter(self.labels.inputs)
        for (before, _), name in zip(self.whole.carries, carries, strict=True):
            self.known[before] = Name(name, "t−1")
        for value, kind in zip(self.whole.stacked, kinds, strict=True):
            if kind == "x":
                self.known[value] = Name(next(inputs), "t")
                continue
            self.known[value] = Name(self.free("r"), "t")
            method = kind.split()[-1]
            note = f"{self.known[value].text()}: random numbers ({method}), drawn anew in each step"
            self.notes.append(note)
        for value in self.whole.constant:
            self.known[value] = Name(value.label or self.free("k"))
        made = [self.known[v].text() for v in self.whole.constant if not v.label]
        if made:
            self.notes.append(f"{', '.join(made)}: from outside of the step, without a name there")

    def name_ends(self) -> list[Name]:
        """The names of the next carry and of the outputs; those of the latter."""
        for (_, after), name in zip(self.whole.carries, self.labels.carries, strict=True):
            self.known[after] = Name(name, "t")
        outputs: list[Name] = []
        for value, name in zip(self.whole.exports, self.labels.outputs, strict=True):
            found = self.known.get(value)
            label = Name(self.label(value)) if found is None and self.label(value) else None
            base = self.free(name) if {name, f"{name}_t"} & self.bases() else name
            if found is None:
                found = self.known[value] = label or Name(base, "t")
            elif value.op is None or found in outputs:
                found = Name(base, "t")
                self.same.append((found, value))
            outputs.append(found)
        return outputs

    def name_body(self) -> None:
        """The names of all else: the user's, and those of what needs one."""
        for value in self.whole.body:
            if self.label(value) and value not in self.known:
                self.known[value] = Name(value.label)
        uses = _uses(self.whole.body)
        read = _uses(_read(self.back.ends, {}))
        squashed = {v.args[0] for v in self.whole.body if v.name in SQUASHING}
        needing = [
            value for value in self.whole.body
            if value not in self.known and value.name not in VIEWS and (
                uses.get(value, 0) > 1
                or (value in squashed and read.get(self.back.deltas.get(value), 0) > 1)
                or (read.get(value, 0) > 1 and not self.is_short(value))
            )
        ]  # fmt: skip
        taken = self.bases()
        for value in needing:
            alone = len(needing) == 1 and "a" not in taken
            self.known[value] = Name("a" if alone else self.free("a"))

    def label(self, value: Value) -> str:
        """The user's name for a value that is not the next carry."""
        return "" if value.label in self.ends else value.label

    def is_short(self, value: Value) -> bool:
        """Whether it is as easily read as a name would be: tanh(c)."""
        return all(a in self.known for a in value.inputs) and len(value.args) == 1

    def bases(self) -> set[str]:
        """The names that are taken."""
        named = {v.label for v in self.whole.body} | {n.base for n in self.known.values()}
        return named | self.further | {*self.labels.carries, *self.labels.inputs}

    def free(self, letter: str) -> str:
        """A name that is not taken: a1, a2, … or y⁽1⁾, y⁽2⁾, …"""
        taken, number = {Name(base).text(latex=True) for base in self.bases()}, 1
        name = f"{letter}{{}}".format if letter not in self.bases() else partial(numbered, letter)
        while Name(name(number)).text(latex=True) in taken:
            number += 1
        return name(number)

    # --------------------------------------------------------------------------- backward
    def name_deltas(self) -> dict[Value, Name]:
        """The names of all values, with those of backward: δ of what has a name."""
        names = dict(self.known)
        for coming, name in zip(self.back.cotangents, self.labels.carries, strict=True):
            if coming is not None:
                names[coming] = Name(name, "t", "δ⁺")
        for arriving, output in zip(self.back.outside, self.outputs, strict=True):
            if arriving is not None:
                names[arriving] = output._replace(mark="∂L/∂")
        inputs = set(_inputs(self.whole))
        for value in [*self.whole.body[::-1], *self.whole.stacked]:
            delta = self.back.deltas.get(value)
            there = value in self.known and (value not in inputs or value in self.whole.stacked)
            if there and delta is not None and delta not in names:
                names[delta] = self.known[value]._replace(mark="δ")
        for going, name in zip(self.back.back, self.labels.carries, strict=True):
            if going is not None and going not in names:
                names[going] = Name(name, "t−1", "δ⁺")
        alive = _read(self.back.ends, self.known)
        uses = _uses(v for v in alive if v not in self.known)
        for value in sorted(alive, key=lambda v: v.index):
            again = uses.get(value, 0) > 1 and value.op is not None and value.name not in VIEWS
            if again and value not in names and not _is_plain(value, names):
                names[value] = Name(self.free("e"))
                self.further.add(names[value].base)
        return names

    # ------------------------------------------------------------------------------ lines
    def equations(self, latex: bool = False) -> Equations:
        """All lines, in plain text or in LaTeX."""
        n, whole, back = Notation(self.known, latex), self.whole, self.back
        alive = ancestors([*(a for _, a in whole.carries), *whole.exports])
        forward = [n.line(self.known[v], v) for v in whole.body if v in alive and v in self.known]
        forward += [n.line(name, value) for name, value in self.same]
        n = Notation(self.names, latex)
        ends = _read(back.ends, self.known)
        made = [v for v in ends if v in self.names and v.op is not None and v not in self.known]
        lines = [n.line(self.names[v], v) for v in sorted(made, key=lambda v: v.index)]
        for going, carry in zip(back.back, self.labels.carries, strict=True):
            name = Name(carry, "t−1", "δ⁺")
            if going is None:
                lines.append(f"{name.text(latex)} {'&' if latex else ''}= 0")
            elif self.names[going] != name:
                lines.append(n.line(name, going))
        for value, delta in zip(whole.stacked, back.of_stacked, strict=True):
            name = self.known[value]._replace(mark="δ")
            if delta is not None and self.names[delta] != name:
                lines.append(n.line(name, delta))
        pairs = [p for p in zip(whole.constant, back.of_constant, strict=True) if p[1] is not None]
        first = {a: v.index for v in whole.body[::-1] for a in v.inputs}
        for value, delta in sorted(pairs, key=lambda p: first.get(p[0], 0)):
            assert delta is not None
            lines.append(self.of_constant(n, value, delta))
        return Equations(forward, lines, self.legend([*forward, *lines]))

    def of_constant(self, n: Notation, value: Value, delta: Value) -> str:
        """The gradient of a parameter; of one that is used transposed, its own."""
        name = self.known[value]._replace(mark="∂L/∂")
        turned = name.base.endswith("ᵀ")
        if turned:
            name = name._replace(base=name.base.removesuffix("ᵀ"))
            delta = delta.graph.record(_PERMUTE, (delta,), {"dims": (1, 0)})
        return n.line(name, delta, sums=True)

    def legend(self, lines: Iterable[str]) -> list[str]:
        """What the signs in these lines mean."""
        text = "\n".join(lines)
        return [words for sign, words in LEGEND.items() if sign in text] + self.notes


def _is_plain(value: Value, names: dict[Value, Name]) -> bool:
    """Whether it is a function of something with a name."""
    return len(value.inputs) == 1 and value.inputs[0] in names and len(value.args) == 1


def _operands(value: Value) -> Sequence[Value]:
    """What stands in the expression of a value."""
    return gate(value) or value.inputs


def _read(values: Iterable[Value], known: Container[Value]) -> set[Value]:
    """The values and all that stands in their expressions, down to what is known."""
    seen: set[Value] = set()
    waiting = list(values)
    while waiting:
        value = waiting.pop()
        if value not in seen:
            seen.add(value)
            waiting.extend(() if value in known else _operands(value))
    return seen


def _uses(values: Iterable[Value]) -> dict[Any, int]:
    """How often each value stands in the expressions of these."""
    count: dict[Any, int] = {}
    for value in values:
        for arg in dict.fromkeys(_operands(value)):
            count[arg] = count.get(arg, 0) + 1
    return count
