"""Expressions of a program in the notation of a textbook, as plain text or as LaTeX.

Values with a name are written by it, the others are expressions inside the ones that use them.
⊙ is the product element by element, σ the logistic function, Σ_b a sum over the batch, Σ_j one
along the last axis. What is put at some places of zeros is written a↑[places].
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .names import Name
from .program import Value
from .signs import ATOM, OPEN, PRODUCT, RULES, SAME, SUM, UNARY, gate, is_hidden, other, raised

__all__ = ["Notation"]


class Notation:
    """Writes expressions; `names` says what values are called."""

    def __init__(self, names: dict[Value, Name], latex: bool = False) -> None:
        self.names, self.latex = names, latex
        self.odot = r" \odot " if latex else " ⊙ "
        self.minus = "-" if latex else "−"
        self.defined: Value | None = None  # what the line is for

    def is_named(self, value: Value) -> bool:
        """Whether a value is written by its name: not on its own line."""
        return value in self.names and value is not self.defined

    def name(self, value: Value) -> str:
        """The name of a value."""
        return self.names[value].text(self.latex)

    def line(self, name: Name, value: Value, sums: bool = False) -> str:
        """name = expression, or = Σ_t expression; the name of the value, if it has another one."""
        known = value in self.names and self.names[value] != name
        level = SUM + 1 if sums else OPEN
        self.defined = None if known else value
        text, binds = (self.name(value), ATOM) if known else self.expression(value)
        self.defined = None
        text = f"[{text}]" if value.dtype.kind == "b" and not known else text
        text = text if binds >= level or text.startswith(("Σ", r"\sum")) else f"({text})"
        sign = (r"\sum_t " if self.latex else "Σ_t ") if sums else ""
        return f"{name.text(self.latex)} {'&' if self.latex else ''}= {sign}{text}"

    def number(self, value: Any) -> str:
        """A number, with twelve digits at most."""
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return str(value)
        text = f"{value:.12g}".replace("-", self.minus)
        if self.latex and "e" in text:
            digits, _, power = text.partition("e")
            times = "" if digits == "1" else rf"{digits} \cdot "
            return f"{times}10^{{{int(power.replace(self.minus, '-'))}}}"
        digits, e, power = text.partition("e")
        text = f"{digits}e{power[0]}{power[1:].lstrip('0')}" if e else text
        return text.replace("inf", r"\infty" if self.latex else "∞")

    def term(self, value: Any, level: int) -> str:
        """An operand, in brackets if it holds together less than `level`."""
        if type(value) is not Value:
            text = self.number(value)
            return f"({text})" if text.startswith(self.minus) and level > SUM else text
        text, binds = (self.name(value), ATOM) if self.is_named(value) else self.expression(value)
        return text if binds >= level else f"({text})"

    def expression(self, value: Value) -> tuple[str, int]:
        """How a value is computed, and how tightly the outermost operation holds together."""
        pretty = self.derivative_of_gate(value)
        if pretty is not None:
            return pretty, PRODUCT
        if value.op is None:
            return value.kind, ATOM
        return RULES.get(value.name, other)(self, value)

    def derivative_of_gate(self, value: Value) -> str | None:
        """δ ⊙ (1 − y²) or y ⊙ (1 − y), where that is what a value is."""
        found = gate(value)
        if found is None:
            return None
        factor, y = found
        square = self.term(y, UNARY) if factor is y else raised(self, y, 2)[0]
        level = UNARY if factor is y else PRODUCT
        return f"{self.term(factor, level)}{self.odot}(1 {self.minus} {square})"

    def factors(self, value: Value) -> tuple[float, float, list[Value]]:
        """A product taken apart: a number, one by which it is divided, and what is multiplied."""
        if self.is_named(value) or gate(value) is not None:
            return 1, 1, [value]
        if value.name == "neg":
            number, under, found = self.factors(value.args[0])
            return -number, under, found
        if value.name in ("mul", "div"):
            a, b = value.args
            if type(b) is not Value or (value.name == "mul" and type(a) is not Value):
                factor, inner = (b, a) if type(a) is Value else (a, b)
                number, under, found = self.factors(inner)
                if value.name == "div":
                    return number, under * factor, found
                return number * factor, under, found
            if value.name == "mul":
                left, right = self.factors(a), self.factors(b)
                return left[0] * right[0], left[1] * right[1], left[2] + right[2]
        if value.name in SAME or (value.name == "reshape" and is_hidden(value)):
            return self.factors(value.args[0])
        if value.name == "add" and value.args[0] is value.args[1]:
            number, under, found = self.factors(value.args[0])
            return 2 * number, under, found
        if value.name == "sum" and not self.is_named(value.args[0]) and value.args[0].name == "neg":
            return -1, 1, [value.graph.again(value, (value.args[0].args[0],))]
        return 1, 1, [value]

    def terms(self, value: Any, sign: int = 1) -> list[tuple[int, Any]]:
        """A sum taken apart: what is added (1) or taken away (−1)."""
        if type(value) is Value and not self.is_named(value) and gate(value) is None:
            if value.name in ("add", "sub"):
                other = sign if value.name == "add" else -sign
                return self.terms(value.args[0], sign) + self.terms(value.args[1], other)
            if value.name in SAME:
                return self.terms(value.args[0], sign)
            if value.name == "neg":
                return self.terms(value.args[0], -sign)
        return [(sign, value)]

    def signed(self, value: Any) -> tuple[bool, str]:
        """Whether there is a minus before a term of a sum, and what comes after it."""
        if type(value) is not Value:
            return value < 0, self.number(abs(value))
        number, under, found = self.factors(value)
        return number < 0, self.times(abs(number), under, found)

    def sum(self, value: Value) -> tuple[str, int]:
        """All terms of a sum, alike ones together."""
        count: dict[Any, int] = {}
        for sign, term in self.terms(value):
            count[term] = count.get(term, 0) + sign
        found = [(times, *self.signed(term)) for term, times in count.items() if times]
        words = []
        for times, less, text in sorted(found, key=lambda t: (t[0] < 0) != t[1] and len(found) > 1):
            dot = (r" \cdot " if self.latex else " · ") if text[0].isdigit() else " "
            text = text if abs(times) == 1 else f"{abs(times)}{dot}{text}"
            words.append((self.minus if (times < 0) != less else "+", text))
        if not words:
            return "0", ATOM
        first = f"{self.minus if words[0][0] == self.minus else ''}{words[0][1]}"
        return first + "".join(f" {sign} {text}" for sign, text in words[1:]), SUM

    def product(self, value: Value) -> tuple[str, int]:
        """All factors of a product, alike ones as a power."""
        number, under, found = self.factors(value)
        text = self.times(abs(number), under, found)
        return (self.minus + text, SUM) if number < 0 else (text, PRODUCT)

    def times(self, number: Any, under: Any, found: Sequence[Value]) -> str:
        """A number and what it multiplies, or is divided by one."""
        count: dict[Value, int] = {}
        for factor in found:
            count[factor] = count.get(factor, 0) + 1
        words = [
            self.term(f, PRODUCT) if n == 1 else raised(self, f, n)[0] for f, n in count.items()
        ]
        text = self.odot.join(words)
        if number == 1 and under != 1:
            if self.latex:
                return rf"\frac{{{text}}}{{{self.number(under)}}}"
            return f"{text} / {self.number(under)}"
        if number == under:
            return text
        dot = (r" \cdot " if self.latex else " · ") if text[0].isdigit() else " "
        return f"{self.number(number / under)}{dot}{text}"
