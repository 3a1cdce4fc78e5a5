"""How far decoded sequences are from the true ones."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np

from ..arguments import several
from ..errors import DataError, ShapeError

__all__ = ["edit_distance", "label_error_rate"]


def edit_distance(a: Sequence[Hashable], b: Sequence[Hashable]) -> int:
    """The fewest insertions, deletions and substitutions that make `b` of `a` (Levenshtein 1966).

    >>> edit_distance("kitten", "sitting")
    3
    """
    numbers: dict[Hashable, int] = {}
    a, b = (v if hasattr(v, "__len__") else several("edit_distance", "labels", v) for v in (a, b))
    codes = [np.array([numbers.setdefault(s, len(numbers)) for s in text]) for text in (a, b)]
    places = np.arange(len(b) + 1)
    row = places
    for i, symbol in enumerate(codes[0], 1):
        here = np.minimum(row[1:] + 1, row[:-1] + (codes[1] != symbol))
        best = np.concatenate([[i], here])
        row = np.minimum.accumulate(best - places) + places  # insertions, any number of them
    return int(row[-1])


def label_error_rate(
    decoded: Sequence[Sequence[Hashable]], truth: Sequence[Sequence[Hashable]]
) -> float:
    """Σ edit distance / Σ length of the truth; of words it is the word error rate.

    It can be above 1, where too much was decoded.

    Raises:
        ShapeError: not as many decoded as true ones. DataError: no true label at all.

    >>> label_error_rate([[1, 2], [3]], [[1, 2, 2], [3]])
    0.25
    """
    decoded = several("label_error_rate", "decoded", decoded)
    truth = several("label_error_rate", "truth", truth)
    if len(decoded) != len(truth):
        got = f"{len(decoded)} and {len(truth)}"
        raise ShapeError("label_error_rate", "as many decoded as true sequences", got)
    labels = sum(len(text) for text in truth)
    if not labels:
        raise DataError("label_error_rate", "at least one true label", "none")
    return sum(edit_distance(a, b) for a, b in zip(decoded, truth, strict=True)) / labels
