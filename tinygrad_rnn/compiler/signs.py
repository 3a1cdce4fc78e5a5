"""How each operation is written in the equations of a textbook.

A rule gives a text, and how tightly it holds together: what holds together less than is asked for
stands in brackets.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from .names import upright
from .program import Value

__all__ = [
    "ATOM", "OPEN", "PRODUCT", "RULES", "SAME", "SUM", "UNARY", "gate", "is_hidden", "key_text",
    "other", "raised",
]  # fmt: skip

OPEN, SUM, PRODUCT, UNARY, ATOM = range(5)
DIGITS = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")
SAME = frozenset(("clone", "alias", "expand"))  # which are not written
REDUCED = frozenset(("sum", "amax", "amin", "logsumexp"))
RELATIONS = {"eq": "=", "ne": "≠", "lt": "<", "le": "≤", "gt": ">", "ge": "≥"}
LOGIC = {"logical_and": "∧", "logical_or": "∨"}
SHORTER = {"sigmoid": "σ", "maximum": "max", "minimum": "min", "amax": "max", "amin": "min"}
LATEX = {
    "σ": r"\sigma", "tanh": r"\tanh", "exp": r"\exp", "log": r"\log", "max": r"\max",
    "min": r"\min", "sin": r"\sin", "cos": r"\cos", "≠": r"\neq", "≤": r"\leq", "≥": r"\geq",
    "∧": r"\wedge", "∨": r"\vee",
}  # fmt: skip


class Writes(Protocol):
    """What a rule writes with: see `Notation`."""

    latex: bool
    minus: str
    odot: str

    def name(self, value: Value) -> str:
        """The name of a value."""

    def is_named(self, value: Value) -> bool:
        """Whether a value is written by its name."""

    def number(self, value: Any) -> str:
        """A number."""

    def term(self, value: Any, level: int) -> str:
        """An operand."""

    def expression(self, value: Value) -> tuple[str, int]:
        """How a value is computed."""

    def sum(self, value: Value) -> tuple[str, int]:
        """A sum of terms."""

    def product(self, value: Value) -> tuple[str, int]:
        """A product of factors."""


Rule = Callable[[Any, Value], tuple[str, int]]


# --------------------------------------------------------------------------------- what helps
def key_text(key: Any) -> str:
    """An index as it is written in Python."""
    items = key if type(key) is tuple else (key,)
    return ", ".join(_item(item) for item in items)


def _item(item: Any) -> str:
    if type(item) is slice:
        text = ":".join("" if v is None else str(v) for v in (item.start, item.stop))
        return text if item.step in (None, 1) else f"{text}:{item.step}"
    return "…" if item is Ellipsis else str(item)


def gate(value: Value) -> tuple[Value, Value] | None:
    """(δ, y) of δ − δ⊙y⊙y, and (y, y) of y − y⊙y, which are written as products by hand."""
    if value.name != "sub" or len(value.inputs) < 2 or value.args[1].name != "mul":
        return None
    left, right = value.args
    if right.args == (left, left):
        return left, left
    inner, y = right.args
    if type(inner) is Value and inner.name == "mul" and inner.args == (left, y):
        return left, y
    return None


def sign(n: Writes, name: str) -> str:
    """The name of a function or a sign."""
    name = SHORTER.get(name, name)
    if not n.latex:
        return name
    return LATEX.get(name) or (upright(name) if name.isidentifier() else name)


def call(n: Writes, name: str, args: Sequence[Any], more: Sequence[str] = ()) -> str:
    """name(arguments)."""
    return f"{sign(n, name)}({', '.join([*(n.term(a, OPEN) for a in args), *more])})"


def turned(n: Writes, text: str) -> str:
    """The transposed of what a text says."""
    mark = r"^{\top}" if n.latex else "ᵀ"
    return text.removesuffix(mark) if text.endswith(mark) else braced(n, text) + mark


def braced(n: Writes, text: str) -> str:
    """A text that may be raised in LaTeX, which takes one exponent at a time."""
    return f"{{{text}}}" if n.latex and re.search(r"\^\{[^{}]*\}$", text) else text


def axes(n: Writes, dims: Sequence[int], rank: int) -> str:
    """Axes as one says them: b for the batch, j for the last one."""
    found = ["j" if d == rank - 1 else "b" if d == 0 else str(d) for d in dims]
    return f"_{{{','.join(found)}}}" if n.latex else f"_{','.join(found)}"


def other(n: Writes, value: Value) -> tuple[str, int]:
    """What has no rule, with the parameters that say something."""
    plain = {k: v for k, v in value.params.items() if isinstance(v, (int, float, tuple, str))}
    more = [f"{k}={v}" for k, v in plain.items() if k not in ("source", "dtype")]
    return call(n, value.name, value.args, more), ATOM


# ---------------------------------------------------------------------------------- the rules
def _add(n: Writes, v: Value) -> tuple[str, int]:
    return n.sum(v)


def _product(n: Writes, v: Value) -> tuple[str, int]:
    return n.product(v)


def _quotient(n: Writes, v: Value) -> tuple[str, int]:
    a, b = v.args
    if type(b) is not Value:
        return n.product(v)
    if n.latex:
        return rf"\frac{{{n.term(a, OPEN)}}}{{{n.term(b, OPEN)}}}", UNARY
    return f"{n.term(a, PRODUCT)} / {n.term(b, UNARY)}", PRODUCT


def _reciprocal(n: Writes, v: Value) -> tuple[str, int]:
    if n.latex:
        return rf"\frac{{1}}{{{n.term(v.args[0], OPEN)}}}", UNARY
    return f"1 / {n.term(v.args[0], UNARY)}", PRODUCT


def _root(n: Writes, v: Value) -> tuple[str, int]:
    text = n.term(v.args[0], OPEN)
    root = rf"\sqrt{{{text}}}" if n.latex else f"√({text})"
    if v.name == "sqrt":
        return root, ATOM
    return (rf"\frac{{1}}{{{root}}}", UNARY) if n.latex else (f"1 / {root}", PRODUCT)


def _matmul(n: Writes, v: Value) -> tuple[str, int]:
    a, b = v.args
    return f"{n.term(a, UNARY)} {n.term(b, UNARY)}", PRODUCT


def _permute(n: Writes, v: Value) -> tuple[str, int]:
    a, rank = v.args[0], len(v.shape)
    dims = [d % rank for d in v.params["dims"]]
    if dims != [*range(rank - 2), rank - 1, rank - 2]:
        return call(n, "permute", v.args, [str(tuple(dims))]), ATOM
    if a.name == "matmul" and not n.is_named(a) and rank == 2:
        left, right = (turned(n, n.term(x, ATOM)) for x in a.args)
        return f"{right} {left}", PRODUCT
    return turned(n, n.term(a, ATOM)), ATOM


def raised(n: Writes, a: Any, power: Any) -> tuple[str, int]:
    """A power."""
    base = braced(n, n.term(a, ATOM))
    if n.latex:
        return f"{base}^{{{n.term(power, OPEN)}}}", UNARY
    if isinstance(power, (int, float)) and power == int(power):
        return base + str(int(power)).translate(DIGITS), UNARY
    return f"{base}^{n.term(power, ATOM)}", UNARY


def _slice(n: Writes, v: Value) -> tuple[str, int]:
    return f"{n.term(v.args[0], ATOM)}[{key_text(v.params['key'])}]", ATOM


def _index(n: Writes, v: Value) -> tuple[str, int]:
    given = iter(v.args[1:])
    words = [
        n.term(next(given), OPEN) if i == "array" and type(i) is str else _item(i)
        for i in v.params["template"]
    ]
    whole = n.term(v.args[0], ATOM)
    return f"{whole}{'' if v.name == 'index' else _up(n)}[{', '.join(words)}]", ATOM


def _up(n: Writes) -> str:
    return r"{\uparrow}" if n.latex else "↑"


def _cat(n: Writes, v: Value) -> tuple[str, int]:
    return _beside(n, v.args, v.params["dim"], len(v.shape))


def _beside(n: Writes, parts: Sequence[Value], axis: int, rank: int) -> tuple[str, int]:
    """Parts beside each other, or one below the other."""
    words = [n.term(p, OPEN) for p in parts]
    if axis % rank < rank - 2:
        return f"{sign(n, 'cat')}({', '.join(words)}, dim={axis})", ATOM
    return f"[{(', ' if axis % rank == rank - 1 else '; ').join(words)}]", ATOM


def _assemble(n: Writes, v: Value) -> tuple[str, int]:
    """What slices have sent back: side by side if they cover the whole once, else a sum."""
    order = _tiling(v.params["keys"], v.shape)
    if order is not None:
        axis, numbers = order
        return _beside(n, [v.args[i] for i in numbers], axis, len(v.shape))
    terms = zip(v.args, v.params["keys"], strict=True)
    words = [f"{n.term(a, ATOM)}{_up(n)}[{key_text(key)}]" for a, key in terms]
    return " + ".join(words), SUM if len(words) > 1 else ATOM


def _tiling(keys: Sequence[Any], shape: tuple[int, ...]) -> tuple[int, list[int]] | None:
    """The axis along which slices cover a whole once, and their order; None if they do not."""
    for axis, size in enumerate(shape):
        spans = []
        for i, key in enumerate(keys):
            items = list(key) if type(key) is tuple else [key]
            if any(item is None for item in items):
                return None
            if any(item is Ellipsis for item in items):
                at = next(k for k, item in enumerate(items) if item is Ellipsis)
                items[at : at + 1] = [slice(None)] * (len(shape) - len(items) + 1)
            items += [slice(None)] * (len(shape) - len(items))
            whole = [
                type(k) is slice and k.indices(n) == (0, n, 1)
                for d, (k, n) in enumerate(zip(items, shape, strict=True)) if d != axis
            ]  # fmt: skip
            if not all(whole) or type(items[axis]) is not slice:
                break
            start, stop, step = items[axis].indices(size)
            if step != 1 and stop - start > 1:
                break
            spans.append((start, stop, i))
        else:
            spans.sort()
            ends = [0, *(stop for _, stop, _ in spans)]
            if [start for start, _, _ in spans] == ends[:-1] and ends[-1] == size:
                return axis, [i for _, _, i in spans]
    return None


def _same(n: Writes, v: Value) -> tuple[str, int]:
    a = v.args[0]
    return (n.name(a), ATOM) if n.is_named(a) else n.expression(a)


def _cast(n: Writes, v: Value) -> tuple[str, int]:
    a = v.args[0]
    return (f"[{n.term(a, OPEN)}]", ATOM) if a.dtype.kind == "b" else _same(n, v)


def _reshape(n: Writes, v: Value) -> tuple[str, int]:
    """Not written where axes of one element come or go in front, or a sum keeps its axis."""
    a = v.args[0]
    if a.name in REDUCED and _kept(a) == v.shape and not n.is_named(a):
        return _over(n, a)
    if is_hidden(v):
        return _same(n, v)
    key = _ones(a.shape, v.shape)
    if key is None:
        return call(n, "reshape", v.args, [f"shape={tuple(v.shape)}"]), ATOM
    return f"{n.term(a, ATOM)}[{', '.join(key)}]", ATOM


def is_hidden(v: Value) -> bool:
    """Whether axes of one element, in front, are all that a reshape changes."""
    return _behind(v.args[0].shape) == _behind(v.shape)


def _behind(shape: tuple[int, ...]) -> tuple[int, ...]:
    """A shape without the ones in front."""
    while shape[:1] == (1,):
        shape = shape[1:]
    return shape


def _ones(here: tuple[int, ...], there: tuple[int, ...]) -> list[str] | None:
    """The index by which axes of one element come and go; None if that is not all."""
    if [n for n in here if n != 1] != [n for n in there if n != 1]:
        return None
    key, left = [], list(here)
    for size in there:
        while left and left[0] == 1 and size != 1:
            key.append("0")
            left.pop(0)
        key.append(":" if left and left[0] == size else "None")
        if key[-1] == ":":
            left.pop(0)
    return key + ["0"] * len(left)


def _dims(v: Value) -> set[int]:
    """The axes that a sum or an extreme is over."""
    rank = len(v.args[0].shape)
    dims = v.params.get("dims", v.params.get("dim"))
    given = range(rank) if dims is None else dims if isinstance(dims, tuple) else (dims,)
    return {d % rank for d in given}


def _kept(v: Value) -> tuple[int, ...]:
    """The shape of a sum if it kept its axes."""
    gone = _dims(v)
    return tuple([1 if d in gone else size for d, size in enumerate(v.args[0].shape)])


def _reduced(n: Writes, v: Value) -> tuple[str, int]:
    text, level = _over(n, v)
    if _behind(_kept(v)) == _behind(v.shape):
        return text, level
    gone = _dims(v)
    key = ["0" if d in gone else ":" for d in range(len(v.args[0].shape))]
    return f"{text if level == ATOM else f'({text})'}[{', '.join(key)}]", ATOM


def _over(n: Writes, v: Value) -> tuple[str, int]:
    """A sum or an extreme whose axes stay, with one element."""
    a, along = v.args[0], axes(n, sorted(_dims(v)), len(v.args[0].shape))
    if v.name != "sum":
        return f"{sign(n, v.name)}{along}({n.term(a, OPEN)})", ATOM
    nested = not n.is_named(a) and a.name == "sum"
    mark = r"\sum" if n.latex else "Σ"
    return f"{mark}{along} {n.term(a, OPEN if nested else PRODUCT)}", OPEN


def _running(n: Writes, v: Value) -> tuple[str, int]:
    axis = axes(n, (v.params["dim"] % len(v.shape),), len(v.shape))
    return f"{sign(n, 'cumsum')}{axis}({n.term(v.args[0], OPEN)})", ATOM


def _relation(n: Writes, v: Value) -> tuple[str, int]:
    a, b = v.args
    return f"{n.term(a, SUM)} {sign(n, RELATIONS[v.name])} {n.term(b, SUM)}", OPEN


def _logic(n: Writes, v: Value) -> tuple[str, int]:
    a, b = v.args
    return f"{n.term(a, UNARY)} {sign(n, LOGIC[v.name])} {n.term(b, UNARY)}", OPEN


def _not(n: Writes, v: Value) -> tuple[str, int]:
    return (r"\neg " if n.latex else "¬") + n.term(v.args[0], ATOM), UNARY


def _absolute(n: Writes, v: Value) -> tuple[str, int]:
    return f"|{n.term(v.args[0], OPEN)}|", ATOM


def _clip(n: Writes, v: Value) -> tuple[str, int]:
    bounds = [(k, v.params[k]) for k in ("min", "max") if v.params[k] is not None]
    return call(n, "clip", v.args, [f"{k}={n.number(b)}" for k, b in bounds]), ATOM


RULES: dict[str, Rule] = {
    "add": _add, "sub": _add, "mul": _product, "div": _quotient, "neg": _product,
    "reciprocal": _reciprocal, "sqrt": _root, "rsqrt": _root, "matmul": _matmul,
    "permute": _permute, "square": lambda n, v: raised(n, v.args[0], 2),
    "pow": lambda n, v: raised(n, *v.args), "slice": _slice, "index": _index, "scatter": _index,
    "cat": _cat, "assemble": _assemble, "reshape": _reshape, "cast": _cast,
    "cumsum": _running, "abs": _absolute, "clip": _clip, "logical_not": _not,
    **dict.fromkeys(SAME, _same), **dict.fromkeys(REDUCED, _reduced),
    **dict.fromkeys(RELATIONS, _relation), **dict.fromkeys(LOGIC, _logic),
}  # fmt: skip
