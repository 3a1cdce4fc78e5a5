"""Sums over the rows of all steps: those of a pass at once, as one Python function; or in spans.

The sizes of a sum are known when a pass is compiled, all but the number of steps. What is to be
called, in which order memory is and where the first row is that is taken is settled when the
function is written, so that a sum costs little more than its loop.

Legend: T time steps; R rows of a step; M columns of a, N columns of b.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np

from .llvm_engine import address_of
from .long_products import Sum, sum_kernels

__all__ = ["InSpans", "RowSum", "written_sums"]


@dataclass
class RowSum:
    """Σ aᵀ·b over all rows of a (T, R, M) and b (T, R, N), for each b; or Σ b, of each b.

    Attributes:
        rows: R.
        height: M, which is how wide the results are if they are `turned`; None for Σ b.
        shapes: those of the results.
        turned: whether they are (Σ aᵀ·b)ᵀ.
    """

    dtype: Any
    rows: int
    height: int | None = None
    turned: bool = False
    shapes: list[tuple[int, ...]] = field(default_factory=list)

    @property
    def widths(self) -> list[int]:
        """N of each b."""
        if self.height is None:
            return [prod(shape) for shape in self.shapes]
        return [shape[0 if self.turned else 1] for shape in self.shapes]

    @property
    def columns(self) -> list[int]:
        """Those of each array that is given."""
        return self.widths if self.height is None else [self.height, *self.widths]


def written_sums(sums: Sequence[RowSum], turn: int) -> Callable[..., list[Any]]:
    """The results of these sums, made of all arrays of the first, then all of the second, …

    With `turn` −1 the last row comes first.
    """
    space: dict[str, Any] = {"contiguous": np.ascontiguousarray, "at": address_of}
    space |= {"zeros": np.zeros, "empty": np.empty}
    given: list[str] = []
    lines: list[str] = []
    results: list[str] = []
    for i, each in enumerate(sums):
        product, widths = each.height is not None, tuple(each.widths)
        kernels = sum_kernels(each.dtype, each.height or 1, widths, turn, product)
        space |= {f"run{i}": kernels.run, f"dtype{i}": each.dtype}
        arrays = [f"g{len(given) + k}" for k in range(len(each.columns))]
        totals = [f"s{len(results) + k}" for k in range(len(each.shapes))]
        lines += [f"{name} = contiguous({name})" for name in arrays]
        lines.append(f"rows = len({arrays[0]}) * {each.rows}")
        order = "F" if each.turned else "C"
        for name, shape in zip(totals, each.shapes, strict=True):
            lines.append(f"{name} = (empty if rows else zeros)({shape}, dtype{i}, {order!r})")
        strides = [n * each.dtype.itemsize for n in each.columns]
        last = [f" + (rows - 1) * {stride}" if turn < 0 else "" for stride in strides]
        places = [f"at({name}){beyond}" for name, beyond in zip(arrays, last, strict=True)]
        places += [f"at({name}{'.T' * each.turned})" for name in totals]
        lines.append(f"run{i}(False, ({', '.join(places)}), rows)")
        given, results = [*given, *arrays], [*results, *totals]
    body = "".join(f"    {line}\n" for line in lines)
    exec(f"def run({', '.join(given)}):\n{body}    return [{', '.join(results)}]\n", space)
    run: Callable[..., list[Any]] = space["run"]
    return run


class InSpans:
    """The same sums, to which each span of steps is added: they have the same bits."""

    def __init__(self, sums: RowSum) -> None:
        self.sums, self.sum = sums, Sum()

    def add(self, *arrays_and_turn: Any) -> None:
        """All arrays of the steps of a span, and the turn."""
        *arrays, turn = arrays_and_turn
        columns = zip(arrays, self.sums.columns, strict=True)
        rows = [array.reshape(-1, count) for array, count in columns]
        a, bs = (None, rows) if self.sums.height is None else (rows[0], rows[1:])
        self.sum.add(a, bs, turn)

    def results(self) -> list[Any]:
        """The sums over all spans."""
        totals = self.sum.results()
        if self.sums.turned:
            return [total.T for total in totals]
        return [t.reshape(shape) for t, shape in zip(totals, self.sums.shapes, strict=True)]
