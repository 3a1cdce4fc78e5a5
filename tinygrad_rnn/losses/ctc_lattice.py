"""The lattice of CTC: which paths spell a target, and the sums over them in the log domain.

A target l of L labels becomes S = 2L + 1 states, a blank around and between all labels. A path
starts in one of the first two states, ends in one of the last two, and at each step stays, goes on
by one, or by two over a blank between labels that differ. With e_t(s) the log-probability of the
label of state s at step t,

    α_t(s) = e_t(s) + log Σ exp α_{t−1}(s'),  s' ∈ {s, s − 1, s − 2 if allowed}
    β_t(s) = log Σ exp(e_{t+1}(s') + β_{t+1}(s')),  s' ∈ {s, s + 1, s + 2 if allowed}

and Σ_s exp(α_t(s) + β_t(s)) = p(l|x) for every t. (β leaves out the step t, so nothing is divided.)

Two states are put before the first: a virtual one, where every path is at step −1, and one that
is never reached. So start, empty targets and empty inputs need no case of their own, and the states
an axis before the batch make all shifts contiguous. Every few steps the largest α and β are moved
to 0: at −800, where they would be after 200 steps, float32 is no finer than 6e-5.

Legend: T steps, N rows, C classes, S states of the longest target.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..backend import Backend, backend_of, quiet

__all__ = ["INF", "Lattice", "build_lattice", "log_probability", "occupancy"]

INF = float("inf")
BEFORE = 2  # states put before the first
SPAN = 8  # steps from one shift to the next
Array = Any


@dataclass(frozen=True)
class Lattice:
    """The paths that spell the targets of a batch, on the device of the log-probabilities.

    Attributes:
        classes: (S, N) the label of each state; beyond a row's own states, blanks.
        skip: (S, N) 0 where a path may come from two states before, else −inf.
        ends: (S + 2, N) 0 at the states in which a path may end, else −inf.
        lengths: (N,) the number of steps of each row.
        ending: the rows that end at a step, by that step.
        known: the log-probabilities whose α were found last, and those α; backward needs them.
    """

    classes: Array
    skip: Array
    ends: Array
    lengths: Array
    ending: dict[int, Array]
    known: list[Array] = field(default_factory=list)


def build_lattice(
    targets: NDArray[np.int64],
    input_lengths: NDArray[np.int64],
    target_lengths: NDArray[np.int64],
    blank: int,
    backend: Backend,
    dtype: Any,
) -> Lattice:
    """The lattice of checked targets (N, L), of which what lies beyond the lengths is ignored."""
    rows, longest = targets.shape
    inside = np.arange(longest)[:, None] < target_lengths
    classes = np.full((2 * longest + 1, rows), blank)
    classes[1::2] = np.where(inside, targets.T, blank)
    skip = np.full(classes.shape, -INF, dtype)
    allowed = (classes[BEFORE:] != blank) & (classes[BEFORE:] != classes[:-BEFORE])
    skip[BEFORE:][allowed] = 0
    skip[1:2] = 0  # from the virtual state to the first label
    ends = np.full((len(classes) + BEFORE, rows), -INF, dtype)
    last = 2 * target_lengths + BEFORE
    ends[last, np.arange(rows)] = ends[last - 1, np.arange(rows)] = 0
    moved = backend.from_numpy
    by_end = {n: np.flatnonzero(input_lengths == n) for n in set(input_lengths.tolist())}
    ending = {n - 1: moved(which) for n, which in by_end.items()}
    return Lattice(moved(classes), moved(skip), moved(ends), moved(input_lengths), ending)


class _Sums:
    """Room for the sums over paths of one batch, and the arithmetic in it."""

    def __init__(self, xp: Any, log_probs: Array, lattice: Lattice) -> None:
        """Read off the log-probability of each state's label at each step."""
        self.xp, self.lattice = xp, lattice
        steps, rows, classes = log_probs.shape
        self.states, self.dtype = len(lattice.classes), lattice.skip.dtype
        self.flat = (lattice.classes + xp.arange(rows) * classes).reshape(-1)
        of_states = log_probs.reshape(steps, rows * classes).take(self.flat, axis=1)
        self.emissions = of_states.reshape(steps, self.states, rows).astype(self.dtype, copy=False)
        self.from_two, self.work = self.room(), self.room()
        self.lowest = self.room(float(np.finfo(self.dtype).min))

    def room(self, value: float = 0.0, more: int = 0) -> Array:
        """An array for all states, and `more`."""
        shape = (self.states + more, self.emissions.shape[2])
        return self.xp.full(shape, value, dtype=self.dtype)

    def add(self, stay: Array, one: Array, two: Array, skip: Array, out: Array) -> None:
        """out = log(exp stay + exp one + exp(two + skip)), −inf where all three are."""
        xp, total, work = self.xp, self.from_two, self.work
        xp.add(two, skip, out=total)
        xp.maximum(stay, one, out=out)
        xp.maximum(out, total, out=out)
        xp.maximum(out, self.lowest, out=out)
        xp.exp(xp.subtract(total, out, out=total), out=total)
        for term in (stay, one):
            xp.exp(xp.subtract(term, out, out=work), out=work)
            xp.add(total, work, out=total)
        xp.add(out, xp.log(total, out=total), out=out)

    def shift(self, values: Array) -> Array:
        """Move the largest of each row to 0; by how much it was moved."""
        top = self.xp.maximum(values.max(axis=0), self.lowest[0])
        values -= top
        return top

    def alphas(self) -> tuple[Array, Array]:
        """α (1 + T, S + 2, N) from step −1 on, and (1 + T, N) what is to be added to it."""
        xp, skip = self.xp, self.lattice.skip
        steps, _, rows = self.emissions.shape
        shifts = xp.zeros((steps + 1, rows), dtype=np.float64)
        alpha = xp.full((steps + 1, self.states + BEFORE, rows), -INF, dtype=self.dtype)
        alpha[0, 1] = 0
        for t in range(steps):
            before, after = alpha[t], alpha[t + 1, BEFORE:]
            self.add(before[2:], before[1:-1], before[:-2], skip, after)
            xp.add(after, self.emissions[t], out=after)
            if t % SPAN == SPAN - 1:
                shifts[t + 1] = self.shift(after)
        return alpha, xp.cumsum(shifts, axis=0)

    def shares(self, alpha: Array) -> Iterator[tuple[slice, Array]]:
        """(steps, exp(α + β) / p) of SPAN steps, the last ones first, in memory that is reused."""
        xp, ends = self.xp, self.lattice.ends[BEFORE:]
        ahead = self.room(-INF, more=2)  # e + β of the step after, two states beyond the last
        skip, room = self.room(-INF), xp.empty((SPAN, *ends.shape), dtype=self.dtype)
        skip[:-2] = self.lattice.skip[2:]
        for end in range(len(self.emissions), 0, -SPAN):
            start = max(0, end - SPAN)
            betas = room[: end - start]
            for t in range(end - 1, start - 1, -1):
                beta = betas[t - start]
                self.add(ahead[:-2], ahead[1:-1], ahead[2:], skip, beta)
                if t in self.lattice.ending:
                    rows = self.lattice.ending[t]
                    beta[:, rows] = ends[:, rows]
                if t == start:
                    self.shift(beta)
                xp.add(beta, self.emissions[t], out=ahead[:-2])
            yield slice(start, end), self.normalised(betas, alpha[start + 1 : end + 1, BEFORE:])

    def normalised(self, betas: Array, alphas: Array) -> Array:
        """exp(α + β) over its sum at each step, written over β."""
        xp = self.xp
        xp.add(betas, alphas, out=betas)
        betas -= xp.maximum(betas.max(axis=1, keepdims=True), self.lowest[:1])
        xp.exp(betas, out=betas)
        total = betas.sum(axis=1, keepdims=True)
        total[total == 0] = 1  # no path at all, or none of so many steps
        betas /= total
        return betas


def log_probability(xp: Any, log_probs: Array, lattice: Lattice) -> Array:
    """log p(l|x): (N,) in float64, what has arrived at the ends by the last step of each row."""
    with quiet():
        alpha, shifts = _Sums(xp, log_probs, lattice).alphas()
        lattice.known[:] = log_probs, alpha
        rows = xp.arange(alpha.shape[2])
        last = alpha[lattice.lengths, :, rows].T + lattice.ends
        top = xp.maximum(last.max(axis=0), float(np.finfo(last.dtype).min))
        inside = top + xp.log(xp.exp(last - top).sum(axis=0))
        return inside + shifts[lattice.lengths, rows]


def occupancy(xp: Any, log_probs: Array, lattice: Lattice) -> Array:
    """∂ log p / ∂ log_probs: (T, N, C), the posterior probability of each label at each step.

    It is 0 beyond a row's length, and all 0 where p is 0: no small change makes it positive.
    """
    steps, rows, classes = log_probs.shape
    add_at = backend_of(log_probs).add_at
    found = xp.zeros((steps, rows * classes), dtype=lattice.skip.dtype)
    with quiet():
        sums = _Sums(xp, log_probs, lattice)
        same = lattice.known and lattice.known[0] is log_probs
        alpha = lattice.known[1] if same else sums.alphas()[0]
        places = xp.arange(SPAN)[:, None] * (rows * classes) + sums.flat
        for some, share in sums.shares(alpha):
            where = places[: len(share)].reshape(-1)
            add_at(found[some].reshape(-1), where, share.reshape(-1))
    return found.reshape(log_probs.shape).astype(log_probs.dtype, copy=False)
