"""Equations of a program in the notation of a textbook, as plain text or as LaTeX.

Values with a name stand on a line of their own, the others inside the expressions that use them.
⊙ is the product element by element, σ the logistic function, δa the derivative of the loss by a.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from typing import Any

from .program import Value, ancestors

__all__ = ["Notation", "equations", "named_values"]

SUM, PRODUCT, UNARY, ATOM = 1, 2, 3, 4
_SYMBOLS = {
    "δ⁺": r"\delta^{+} ",
    "δ": r"\delta ",
    "∂": r"\partial ",
    "ᵀ": r"^{\top}",
    "−": "-",
    "·": r" \cdot ",
}
_SUBSCRIPTS = r"((?:_[A-Za-z0-9]+(?:-[0-9]+)?)+)"  # h_t−1, weight_hh, new_c_t
_WORD = r"(?<![A-Za-z_\\{])[A-Za-z]{2,}"  # names of several letters stand upright
FUNCTIONS = {"sigmoid": "σ"}
LATEX = {"sigmoid": r"\sigma", "tanh": r"\tanh", "exp": r"\exp", "log": r"\log", "amax": r"\max"}


class Notation:
    """Writes expressions; `names` says what values are called."""

    def __init__(self, names: dict[Value, str], latex: bool = False) -> None:
        self.names, self.latex = names, latex
        self.odot = r" \odot " if latex else " ⊙ "
        self.minus = "-" if latex else "−"

    def name(self, value: Value) -> str:
        """The name of a value, with its subscript."""
        name = self.names[value]
        if not self.latex:
            return name
        for plain, latex in _SYMBOLS.items():
            name = name.replace(plain, latex)
        upright = re.sub(_WORD, r"\\mathrm{\g<0>}", name)
        return re.sub(_SUBSCRIPTS, lambda m: f"_{{{m[1][1:].replace('_', ',')}}}", upright)

    def line(self, value: Value) -> str:
        """name = expression."""
        return f"{self.name(value)} {'&' if self.latex else ''}= {self.expression(value)[0]}"

    def term(self, value: Any, level: int) -> str:
        """An operand, in brackets if it binds less than `level`."""
        if type(value) is not Value:
            return f"{value:g}" if isinstance(value, (int, float)) else str(value)
        text, binds = (self.name(value), ATOM) if value in self.names else self.expression(value)
        return text if binds >= level else f"({text})"

    def expression(self, value: Value) -> tuple[str, int]:
        """How a value is computed, and how tightly the outermost operation binds."""
        pretty = self.derivative_of_gate(value)
        if pretty is not None:
            return pretty, PRODUCT
        rule = _RULES.get(value.name)
        if value.op is None:
            return value.kind, ATOM
        if rule is not None:
            found: tuple[str, int] = rule(self, value, *value.args)
            return found
        return self.call(value.name, *value.args), ATOM

    def call(self, name: str, *args: Any) -> str:
        """name(arguments)."""
        latex = LATEX.get(name, rf"\mathrm{{{name}}}")
        name = latex if self.latex else FUNCTIONS.get(name, name)
        return f"{name}({', '.join(self.term(a, SUM) for a in args)})"

    def derivative_of_gate(self, value: Value) -> str | None:
        """δ − δ⊙y⊙y as δ ⊙ (1 − y²), and y − y⊙y as y ⊙ (1 − y): the way it is written by hand."""
        square = "^2" if self.latex else "²"
        if value.name != "sub" or type(value.args[1]) is not Value:
            return None
        left, right = value.args
        if right.name == "mul" and right.args == (left, left):
            y = self.term(left, UNARY)
            return f"{y}{self.odot}(1 {self.minus} {y})"
        inner = right.args[0] if right.name == "mul" else None
        if type(inner) is Value and inner.name == "mul" and inner.args == (left, right.args[1]):
            y, g = self.term(right.args[1], UNARY), self.term(left, PRODUCT)
            return f"{g}{self.odot}(1 {self.minus} {y}{square})"
        return None

    def key(self, key: Any) -> str:
        """An index as it is written in Python."""
        items = key if type(key) is tuple else (key,)
        return ", ".join(_item(item) for item in items)


def _item(item: Any) -> str:
    if type(item) is slice:
        return ":".join("" if v is None else str(v) for v in (item.start, item.stop))
    return "…" if item is Ellipsis else str(item)


# ------------------------------------------------------------------------------------ the rules
def _sum_of(sign: str) -> Any:
    def rule(n: Notation, v: Value, a: Any, b: Any) -> tuple[str, int]:
        mark = n.minus if sign == "-" else sign
        return f"{n.term(a, SUM)} {mark} {n.term(b, PRODUCT if sign == '-' else SUM)}", SUM

    return rule


def _product(n: Notation, v: Value, a: Any, b: Any) -> tuple[str, int]:
    if type(a) is Value and type(b) is Value:
        return f"{n.term(a, PRODUCT)}{n.odot}{n.term(b, PRODUCT)}", PRODUCT
    number, value = (b, a) if type(a) is Value else (a, b)
    return f"{n.term(number, UNARY)} {n.term(value, PRODUCT)}", PRODUCT


def _quotient(n: Notation, v: Value, a: Any, b: Any) -> tuple[str, int]:
    if n.latex:
        return rf"\frac{{{n.term(a, SUM)}}}{{{n.term(b, SUM)}}}", ATOM
    return f"{n.term(a, PRODUCT)} / {n.term(b, UNARY)}", PRODUCT


def _matmul(n: Notation, v: Value, a: Any, b: Any) -> tuple[str, int]:
    return f"{n.term(a, UNARY)} {n.term(b, UNARY)}", PRODUCT


def _permute(n: Notation, v: Value, a: Value) -> tuple[str, int]:
    text, mark = n.term(a, ATOM), r"^{\top}" if n.latex else "ᵀ"
    return text.removesuffix(mark) if text.endswith(mark) else text + mark, ATOM


def _power(n: Notation, v: Value, a: Value) -> tuple[str, int]:
    return n.term(a, ATOM) + ("^{2}" if n.latex else "²"), UNARY


def _negative(n: Notation, v: Value, a: Value) -> tuple[str, int]:
    return n.minus + n.term(a, PRODUCT), PRODUCT


def _slice(n: Notation, v: Value, a: Value) -> tuple[str, int]:
    return f"{n.term(a, ATOM)}[{n.key(v.params['key'])}]", ATOM


def _joined(n: Notation, v: Value, *parts: Value) -> tuple[str, int]:
    keys = [k for k in v.params.get("keys", ()) if type(k) is tuple and type(k[-1]) is slice]
    if len(keys) == len(parts):  # gradients arrive last first; they are written in order
        order = sorted(range(len(parts)), key=lambda i: keys[i][-1].start or 0)
        parts = tuple(parts[i] for i in order)
    return "[" + ", ".join(n.term(p, SUM) for p in parts) + "]", ATOM


def _same(n: Notation, v: Value, a: Value) -> tuple[str, int]:
    return (n.name(a), ATOM) if a in n.names else n.expression(a)


def _sum(n: Notation, v: Value, a: Value) -> tuple[str, int]:
    last = len(a.shape) - 1
    axes = ["b" if d == 0 and last else "j" if d == last else str(d) for d in v.params["dims"]]
    sign = rf"\sum_{{{','.join(axes)}}}" if n.latex else f"Σ_{','.join(axes)}"
    return f"{sign} {n.term(a, PRODUCT)}", PRODUCT


_RULES = {
    "add": _sum_of("+"), "sub": _sum_of("-"), "mul": _product, "div": _quotient,
    "matmul": _matmul, "permute": _permute, "square": _power, "neg": _negative, "slice": _slice,
    "cat": _joined, "assemble": _joined, "clone": _same, "reshape": _same, "expand": _same,
    "alias": _same, "sum": _sum,
}  # fmt: skip


# ---------------------------------------------------------------------------------- equations
def named_values(values: Iterable[Value], names: dict[Value, str], prefix: str) -> None:
    """Names for the values that are read more than once and have none."""
    values = list(values)
    uses: dict[Value, int] = {}
    for value in values:
        for arg in value.inputs:
            uses[arg] = uses.get(arg, 0) + 1
    count = 0
    for value in values:
        trivial = value.op is None or value.name in ("slice", "permute", "reshape", "expand")
        if value not in names and not trivial and uses.get(value, 0) > 1:
            count += 1
            names[value] = f"{prefix}{count}"


def equations(
    ends: Iterable[Value], names: dict[Value, str], latex: bool, given: Collection[Value] = ()
) -> list[str]:
    """One line for each named value that `ends` are made of, in order; `given` ones are known."""
    notation = Notation(names, latex)
    alive = sorted(ancestors(ends, lambda v: v in given), key=lambda v: v.index)
    return [notation.line(v) for v in alive if v in names and v.op is not None and v not in given]
