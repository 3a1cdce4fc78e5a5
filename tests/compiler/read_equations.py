"""Reads what `explain` prints, and computes with it: sums, products, slices, as a reader would.

The grammar is that of `compiler.notation`: Σ, = and ∧ hold together least, then sums, products (⊙
and /), terms side by side (a number times something, else a matrix product), and what stands behind
a term: ᵀ, ², [:, 1:], ↑[:, 1:].
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinygrad_rnn import special

__all__ = ["Reader", "evaluated"]

SMALL = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-")
RELATIONS: dict[str, Callable[[Any, Any], Any]] = {
    "=": np.equal, "≠": np.not_equal, "<": np.less, "≤": np.less_equal, ">": np.greater,
    "≥": np.greater_equal,
}  # fmt: skip
FUNCTIONS: dict[str, Callable[..., Any]] = {
    "σ": special.sigmoid if hasattr(special, "sigmoid") else lambda a: 1 / (1 + np.exp(-a)),
    "tanh": np.tanh, "exp": np.exp, "log": np.log, "relu": lambda a: np.maximum(a, 0),
    "softplus": lambda a: np.logaddexp(0, a), "max": np.maximum, "min": np.minimum,
    "where": np.where, "sign": np.sign, "detach": lambda a: a, "log1p": np.log1p,
}  # fmt: skip


def logsumexp(x: Any, axis: Any, keepdims: bool) -> Any:
    """log Σ eˣ."""
    return np.log(np.exp(x).sum(axis, keepdims=keepdims))


class Put:
    """A sum of arrays, and of such that stand at some places of zeros."""

    def __init__(self, parts: Sequence[tuple[Any, Any, int]]) -> None:
        self.parts = list(parts)

    def array(self, shape: tuple[int, ...]) -> np.ndarray:
        """The sum, now that the size of the whole is known."""
        whole = np.zeros(shape)
        for value, key, sign in self.parts:
            place = whole if key is None else whole[key]
            part = value.array(place.shape) if isinstance(value, Put) else value
            place += sign * (np.reshape(part, place.shape) if np.size(part) == place.size else part)
        return whole


def parts(value: Any, sign: int) -> list[tuple[Any, Any, int]]:
    """The parts of a sum."""
    if isinstance(value, Put):
        return [(v, key, sign * s) for v, key, s in value.parts]
    return [(value, None, sign)]


class Reader:
    """Reads one expression from left to right."""

    def __init__(self, text: str, known: dict[str, Any]) -> None:
        self.rest, self.known = text.strip(), known
        self.names = sorted(known, key=len, reverse=True)

    def took(self, *words: str) -> str:
        """The first of these that comes next, or nothing."""
        for word in words:
            if self.rest.startswith(word):
                self.rest = self.rest[len(word) :].lstrip()
                return word
        return ""

    def must(self, word: str) -> None:
        """What has to come next."""
        assert self.took(word), f"{word} expected at {self.rest!r}"

    def open(self) -> Any:
        """A sum over an axis, a relation, or anything that binds more."""
        found = re.match(r"Σ_([a-z0-9,]+) ", self.rest)
        if found:
            self.rest = self.rest[found.end() :]
            inner = self.open() if self.rest.startswith("Σ") else self.product()
            return self.over(np.sum, found[1], inner)
        left = self.sum()
        relation = self.took(*RELATIONS)
        if relation:
            return RELATIONS[relation](left, self.sum())
        logic = self.took("∧", "∨")
        if logic:
            return (np.logical_and if logic == "∧" else np.logical_or)(left, self.unary())
        return left

    def over(self, function: Any, axes: str, inner: Any) -> Any:
        """A function over axes, which stay as axes of one element."""
        rank = np.ndim(inner)
        dims = tuple(
            {"b": 0, "j": rank - 1}.get(a, -1) if a.isalpha() else int(a) for a in axes.split(",")
        )
        return function(inner, axis=dims, keepdims=True)

    def sum(self) -> Any:
        """Terms that are added."""
        total = self.product() if not self.took("−") else self.less(self.product())
        while sign := self.took("+ ", "− "):
            term = self.product()
            if isinstance(total, Put) or isinstance(term, Put):
                total = Put(parts(total, 1) + parts(term, 1 if sign == "+ " else -1))
            else:
                total = total + term if sign == "+ " else total - term
        return total

    def less(self, value: Any) -> Any:
        return Put(parts(value, -1)) if isinstance(value, Put) else -value

    def product(self) -> Any:
        """Factors, element by element."""
        total = self.beside()
        while sign := self.took("⊙ ", "/ "):
            factor = self.beside()
            total = total * factor if sign == "⊙ " else total / factor
        return total

    def beside(self) -> Any:
        """Terms side by side."""
        total = self.unary()
        while self.rest and not self.rest.startswith(
            ("⊙", "/", "+", "− ", ")", "]", ",", ";", "|", "∧", "∨", *RELATIONS)
        ):
            self.took("· ")
            factor = self.unary()
            plain = np.ndim(total) == 0 or np.ndim(factor) == 0
            total = total * factor if plain else total @ factor
        return total

    def unary(self) -> Any:
        """A term and what stands behind it."""
        if self.took("¬"):
            return np.logical_not(self.unary())
        value = self.atom()
        while True:
            power = re.match(r"[⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+", self.rest)
            if self.took("ᵀ"):
                value = np.swapaxes(value, -1, -2)
            elif power:
                self.rest = self.rest[power.end() :].lstrip()
                value = value ** float(power[0].translate(SMALL))
            elif self.took("^"):
                value = value ** self.atom()
            elif self.rest.startswith("["):
                value = value[self.key()]
            elif self.rest.startswith("↑["):
                self.must("↑")
                value = Put([(value, self.key(), 1)])
            else:
                return value

    def key(self) -> Any:
        """[an index]."""
        self.must("[")
        text, _, rest = self.rest.partition("]")
        self.rest = rest.lstrip() if rest[:1] != " [" else rest
        if re.fullmatch(r"[\d:,…. -]*|[None0:, ]*", text):
            return eval(f"slicing[{text.replace('…', '...')}]", {"slicing": np.index_exp})
        return Reader(text, self.known).open().astype(int)

    def atom(self) -> Any:
        """A name, a number, a function, or something in brackets."""
        if self.took("("):
            value = self.open()
            self.must(")")
            return value
        if self.took("|"):
            value = self.open()
            self.must("|")
            return np.abs(value)
        if self.took("["):
            return self.listed()
        if self.took("√("):
            value = self.open()
            self.must(")")
            return np.sqrt(value)
        reduced = re.match(r"(max|min|cumsum|logsumexp)_([a-z0-9,]+)(?=\()", self.rest)
        if reduced and reduced[0] not in self.known:
            self.rest = self.rest[reduced.end() :].lstrip()
            function = {"max": np.max, "min": np.min, "logsumexp": logsumexp}.get(reduced[1])
            inner = self.atom()
            if function is None:
                return np.cumsum(inner, axis=-1 if reduced[2] == "j" else 0)
            return self.over(function, reduced[2], inner)
        called = re.match(r"([a-z0-9_]+|σ)\(", self.rest)
        if called:
            self.rest = self.rest[called.end() :].lstrip()
            return self.called(called[1])
        number = re.match(r"\d[\d.]*(e[+−]?\d+)?|∞", self.rest)
        if number and not any(self.rest.startswith(n) for n in self.names):
            self.rest = self.rest[number.end() :].lstrip()
            return float(number[0].replace("−", "-").replace("∞", "inf"))
        name = next((n for n in self.names if self.whole(n)), None)
        assert name is not None, f"a name that is known, at {self.rest!r}"
        self.rest = self.rest[len(name) :]
        behind = self.rest[:1] in ("[", "ᵀ", "↑", "^") or self.rest[:1].isnumeric()
        self.rest = self.rest if behind else self.rest.lstrip()
        return self.known[name]

    def whole(self, name: str) -> bool:
        """Whether a name comes next, and not a longer word."""
        after = self.rest[len(name) : len(name) + 1]
        return (
            self.rest.startswith(name)
            and not (after.isalpha() and after != "ᵀ")
            and after not in ("_", "⁽", ".")
        )

    def listed(self) -> Any:
        """Arrays side by side (,) or one below the other (;); a relation as 1 or 0."""
        found, axis = [self.open()], None
        while mark := self.took(", ", "; "):
            axis = -1 if mark == ", " else -2
            found.append(self.open())
        self.must("]")
        return np.asarray(found[0], float) if axis is None else np.concatenate(found, axis)

    def called(self, name: str) -> Any:
        """A function of some arguments and options."""
        arguments, options = [], {}
        while not self.took(")"):
            option = re.match(r"(\w+)=(−?[\d.]+|\([\d, ]*\))", self.rest)
            if option:
                self.rest = self.rest[option.end() :].lstrip()
                options[option[1]] = eval(option[2].replace("−", "-"))
            else:
                arguments.append(self.open())
            self.took(", ")
        if name == "clip":
            return np.clip(*arguments, options.get("min"), options.get("max"))
        if name == "reshape":
            return np.reshape(*arguments, options["shape"])
        if name == "flip":
            return np.flip(*arguments, options["dims"])
        return FUNCTIONS[name](*arguments)


def evaluated(line: str, known: dict[str, Any]) -> tuple[str, Any]:
    """The name on the left of a line, and what is on the right; after Σ_t, of one step."""
    name, _, text = line.partition(" = ")
    return name, Reader(text.removeprefix("Σ_t "), known).open()
