"""einsum, composed of matrix products, sums and permutations."""

from __future__ import annotations

from typing import Any

from ..backend import backend_of
from ..errors import ArgumentError, DTypeError, ShapeError
from ..ops.indexing import take_at
from ..ops.linalg import matmul
from ..ops.shape import expand, permute, reshape
from ..tensor import Tensor

__all__ = ["einsum"]


def einsum(equation: str, *operands: Any) -> Any:
    """Sum of products over named axes, composed of products, sums and permutations.

    Repeated letters in one operand take its diagonal; `...` stands for axes that broadcast.

    Raises:
        ArgumentError: an equation that cannot be read. ShapeError: sizes that disagree.

    >>> import tinygrad_rnn as tg
    >>> einsum("ij,kj->ik", tg.ones(2, 3), tg.ones(4, 3)).shape
    (2, 4)
    """
    terms, output = _parse(equation, operands)
    sizes: dict[str, int] = {}
    prepared = []
    for term, operand in zip(terms, operands, strict=True):
        value, names = _diagonal(operand, term)
        for name, size in zip(names, value.shape, strict=True):
            if sizes.get(name, 1) != 1 and size not in (1, sizes[name]):
                raise ShapeError("einsum", f"one size for axis {name}", f"{sizes[name]} and {size}")
            sizes[name] = size if sizes.get(name, 1) == 1 else sizes[name]
        prepared.append((value, names))
    value, names = prepared.pop(0)
    while prepared:
        later = set(output).union(*(set(n) for _, n in prepared[1:]))
        value, names = _contract(value, names, *prepared.pop(0), later, sizes)
    value, names = _sum_out(value, names, set(output))
    ordered = permute(value, [names.index(name) for name in output]) if output else value
    return ordered


def _parse(equation: str, operands: Any) -> tuple[list[str], str]:
    if not isinstance(equation, str):
        raise DTypeError("einsum", "an equation, then operands", type(equation).__name__)
    text = equation.replace(" ", "")
    left, arrow, right = text.partition("->")
    terms = left.split(",")
    if len(terms) != len(operands):
        raise ArgumentError("einsum", f"{len(terms)} operands for {equation!r}", len(operands))
    free = iter(chr(code) for code in range(0x3B1, 0x3B1 + 24))  # axes that ... stands for
    spare = [next(free) for _ in range(16)]
    widths = []
    for i, (term, operand) in enumerate(zip(terms, operands, strict=True)):
        letters = term.replace("...", "")
        width = operand.ndim - len(letters)
        if (not letters.isalpha() and letters) or width < 0 or (width and "..." not in term):
            raise ArgumentError("einsum", f"a term that fits shape {operand.shape}", repr(term))
        widths.append(width)
        terms[i] = term.replace("...", "".join(spare[len(spare) - width :]))
    dots = "".join(spare[len(spare) - max(widths) :])
    joined = "".join(terms)
    if not arrow:
        right = dots + "".join(sorted(c for c in set(joined) - set(dots) if joined.count(c) == 1))
    right = right.replace("...", dots)
    if len(set(right)) != len(right) or not set(right) <= set(joined):
        raise ArgumentError("einsum", "an output of different axes of the inputs", repr(equation))
    return terms, right


def _diagonal(x: Any, names: str) -> tuple[Any, str]:
    for name in names:
        while names.count(name) > 1:
            i = names.index(name)
            j = names.index(name, i + 1)
            if x.shape[i] != x.shape[j]:
                raise ShapeError("einsum", f"one size for axis {name}", str(x.shape))
            rest = [d for d in range(x.ndim) if d not in (i, j)]
            x = _take_diagonal(permute(x, [i, j, *rest]))
            names = name + "".join(n for d, n in enumerate(names) if d not in (i, j))
    return x, names


def _take_diagonal(x: Any) -> Any:
    """x[i, i, …], of a raw array too."""
    along = (x.backend if isinstance(x, Tensor) else backend_of(x)).xp.arange(x.shape[0])
    return take_at(x, (Tensor(along), Tensor(along)))


def _sum_out(x: Any, names: str, wanted: set[str]) -> tuple[Any, str]:
    gone = tuple(i for i, name in enumerate(names) if name not in wanted)
    if not gone:
        return x, names
    return x.sum(gone), "".join(name for name in names if name in wanted)


def _contract(
    x: Any, xn: str, y: Any, yn: str, later: set[str], sizes: dict[str, int]
) -> tuple[Any, str]:
    """Two operands into one: a batched matrix product over the axes that nobody needs later."""
    x, xn = _sum_out(x, xn, later | set(yn))
    y, yn = _sum_out(y, yn, later | set(xn))
    batch = [n for n in xn if n in yn and n in later]
    inner = [n for n in xn if n in yn and n not in later]
    left, right = [n for n in xn if n not in yn], [n for n in yn if n not in xn]
    a = _arranged(x, xn, batch, left, inner, sizes)
    b = _arranged(y, yn, batch, inner, right, sizes)
    names = "".join([*batch, *left, *right])
    return reshape(matmul(a, b), tuple(sizes[n] for n in names)), names


def _arranged(
    x: Any, names: str, batch: list[str], rows: list[str], columns: list[str], sizes: dict[str, int]
) -> Any:
    order = [*batch, *rows, *columns]
    whole = expand(permute(x, [names.index(n) for n in order]), *(sizes[n] for n in order))

    def size(group: list[str]) -> int:
        total = 1
        for name in group:
            total *= sizes[name]
        return total

    return reshape(whole, (*(sizes[n] for n in batch), size(rows), size(columns)))
