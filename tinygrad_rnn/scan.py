"""scan: a recurrence, defined by a Python loop.

Unrolled on the tape, the loop *is* backpropagation through time. Compilers register engines that
give the same values and derivatives, faster; what they cannot do falls back to the loop.

Legend: T time steps, B batch.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from .checkpointing import checkpoint
from .create import owned
from .errors import ArgumentError, CarryError, DTypeError, ShapeError
from .graph import INTERPRETERS, is_grad_enabled
from .ops.elementwise import where
from .ops.shape import clone, reshape, stack
from .tensor import Tensor, as_tensor
from .tree import LEAF_MARK, flatten, paths, tree_map, unflatten

__all__ = ["ENGINES", "Problem", "announce_engines", "register_engine", "scan"]

Step = Callable[[Any, Any], tuple[Any, Any]]


@dataclass(frozen=True)
class Problem:
    """A checked call of `scan`: what an engine is given."""

    step: Step
    init: Any
    xs: Any
    length: int
    lengths: Tensor | None
    reverse: bool
    truncate: int | None
    checkpoint_every: int | None

    @cached_property
    def carries(self) -> tuple[list[Any], Any]:
        """The leaves of `init`, and its structure."""
        return flatten(self.init)

    @cached_property
    def inputs(self) -> tuple[list[Any], Any]:
        """The leaves of `xs`, and its structure."""
        return flatten(self.xs)


Engine = Callable[[Problem], tuple[Any, Any]]
ENGINES: dict[str, Engine] = {}
_automatic: list[Callable[[Problem], str]] = [lambda problem: "loop"]


_announced: list[Callable[[], object]] = []


def announce_engines(load: Callable[[], object]) -> None:
    """Have `load()` register engines when the first scan wants one: importing them takes time."""
    _announced.append(load)


def register_engine(
    name: str, engine: Engine, choose: Callable[[Problem], str] | None = None
) -> None:
    """Add an engine; `choose(problem)`, if given, names the one that "auto" takes from now on."""
    ENGINES[name] = engine
    if choose is not None:
        _automatic[0] = choose


def asked_engine(engine: str = "auto") -> tuple[str, str]:
    """The engine that is asked for, by name, and where that is said if it is not in the call.

    Raises:
        ArgumentError: there is no such engine.
    """
    while _announced:
        _announced.pop()()
    given = os.environ.get("TINYGRAD_RNN_ENGINE") if engine == "auto" else None
    name, source = (given, " from TINYGRAD_RNN_ENGINE") if given else (engine, "")
    if name != "auto" and name not in [*ENGINES]:
        raise ArgumentError("scan", f"engine auto or one of {sorted(ENGINES)}", repr(name) + source)
    return name, source


def scan(
    step: Step,
    init: Any,
    xs: Any,
    *,
    lengths: Any = None,
    reverse: bool = False,
    truncate: int | None = None,
    checkpoint_every: int | None = None,
    engine: str = "auto",
) -> tuple[Any, Any]:
    """Run `step(carry, x) -> (carry, y)` along the first axis of `xs`; give (final carry, ys).

    It means, with `xs` and each `y` a tree of tensors (T, …) and the carry any tree:

        for x in xs: carry, y = step(carry, x); ys.append(y)

    What it gives has memory of its own, also where a step hands on what it was given.

    Args:
        xs: inputs, or an int T for a recurrence without input (then x is the step number).
        lengths: (B,) integers in 1 … T; beyond its length a row (axis 0 of the carry, axis 1 of
            xs) keeps its carry and its outputs are zero. With `reverse` it starts at its own end.
        reverse: from the last step to the first; ys keep the order of xs.
        truncate: detach the carry every `truncate` steps: truncated BPTT.
        checkpoint_every: keep states only every that many steps and recompute the rest. A
            tensor that the step reads and that was changed in place by then is refused, as in
            `checkpoint`; a Python number that has changed is not noticed.
        engine: "auto", "loop", or one that a compiler has registered.

    Raises:
        CarryError: the carry changes structure, shape or dtype. ShapeError, ArgumentError.

    >>> from tinygrad_rnn import tensor
    >>> final, ys = scan(lambda c, x: (c + x, c * x), tensor(0.0), tensor([1.0, 2.0, 3.0]))
    >>> float(final), ys.tolist()
    (6.0, [0.0, 2.0, 9.0])
    """
    problem = checked(step, init, xs, lengths, reverse, truncate, checkpoint_every)
    name = asked_engine(engine)[0]
    return ENGINES[_automatic[0](problem) if name == "auto" else name](problem)


# ------------------------------------------------------------------------------------- checks
def checked(
    step: Step, init: Any, xs: Any, lengths: Any, reverse: bool, truncate: Any, every: Any
) -> Problem:
    """The problem that a call of `scan` is; its errors are those of `scan`."""
    for name, value in (("truncate", truncate), ("checkpoint_every", every)):
        if value is not None and (type(value) is not int or value < 1):
            raise ArgumentError("scan", f"{name} >= 1 or None", repr(value))
    if not callable(step):
        raise DTypeError("scan", "a step(carry, x) to call", type(step).__name__)
    if isinstance(xs, bool):
        raise DTypeError("scan", "inputs or a number of steps", repr(xs))
    init, carries = _as_tensors(init)
    xs, inputs = _as_tensors(_step_numbers(xs, carries[0]) if isinstance(xs, int) else xs)
    length, sizes = _length(xs, inputs[0]), None
    if lengths is not None:
        sizes = _check_lengths(lengths, length, carries[0], inputs[0], (init, xs))
    problem = Problem(step, init, xs, length, sizes, reverse, truncate, every)
    vars(problem).update(carries=carries, inputs=inputs)  # they have just been taken apart
    return problem


def _as_tensors(tree: Any) -> tuple[Any, tuple[list[Tensor], Any]]:
    """A tree of tensors; its leaves, and its structure."""
    leaves, structure = flatten(tree)
    if any(type(leaf) is not Tensor for leaf in leaves):
        leaves = [owned(leaf) for leaf in leaves]
        tree = unflatten(structure, leaves)
    return tree, (leaves, structure)


def _length(xs: Any, leaves: list[Tensor]) -> int:
    if not leaves:
        raise ShapeError("scan", "at least one input, or the number of steps", "an empty tree")
    for i, leaf in enumerate(leaves):
        if not leaf.ndim:
            raise ShapeError("scan", f"{paths(xs, 'xs')[i]} with a time axis first", "a 0-d tensor")
        if leaf.shape[0] != leaves[0].shape[0]:
            first, name = paths(xs, "xs")[0], paths(xs, "xs")[i]
            wanted = f"as many steps in {name} as in {first}, {leaves[0].shape[0]}"
            raise ShapeError("scan", wanted, leaf.shape)
    return int(leaves[0].shape[0])


def _step_numbers(count: int, carries: list[Tensor]) -> Tensor:
    if count < 0:
        raise ArgumentError("scan", "a number of steps >= 0", count)
    beside = carries[0] if carries else as_tensor(0)
    return Tensor(beside.backend.xp.arange(count))


def _check_lengths(
    lengths: Any, length: int, carries: list[Tensor], inputs: list[Tensor], trees: tuple[Any, Any]
) -> Tensor:
    """The lengths as a tensor beside the others; `trees` have carries and inputs by name."""
    given = owned(lengths)
    if given.dtype.kind not in "iu":
        raise DTypeError("scan", "integer lengths", given.dtype.name)
    if given.ndim != 1:
        raise ShapeError("scan", "lengths of shape (B,)", str(given.shape))
    batch = given.shape[0]
    rows = [(t, 0) for t in carries] + [(t, 1) for t in inputs if t.ndim > 1]
    for number, (row, axis) in enumerate(rows):
        if row.shape[axis : axis + 1] != (batch,):
            further = zip(inputs, paths(trees[1], "xs"), strict=True)
            names = [*paths(trees[0], "carry"), *(name for t, name in further if t.ndim > 1)]
            wanted = f"a length for each row of {names[number]}, axis {axis} of {row.shape},"
            raise ShapeError("scan", wanted, f"{batch} lengths")
    numbers = given.tolist()
    low, high = min(numbers, default=1), max(numbers, default=length)
    if low < 1 or high > length:
        raise ArgumentError("scan", f"lengths in 1 … {length}", low if low < 1 else high)
    beside = rows[0][0] if rows else given
    return given if type(given.array) is type(beside.array) else given.to(beside.device)


def without_padding(xs: Any, lengths: Tensor) -> Any:
    """Zeros beyond the lengths: a NaN there would reach the gradients, since 0·NaN is NaN."""

    def cleaned(x: Tensor) -> Any:
        if x.ndim < 2 or x.dtype.kind != "f":
            return x
        times = Tensor(x.backend.xp.arange(x.shape[0])[:, None])
        active = reshape(lengths > times, (*x.shape[:2], *(1,) * (x.ndim - 2)))
        return where(active, x, 0.0)

    return tree_map(cleaned, xs)


def check_carry(before: Any, after: Any, step: int) -> None:
    """The carry must keep its structure, and each component its shape and dtype."""
    (old, old_structure), (new, new_structure) = flatten(before), flatten(after)
    if old_structure != new_structure:
        like, got = _outline(before), _outline(after)
        got += " of another class" * (got == like) + f" after step {step}"
        hint = "step returns (carry, output)"
        raise CarryError("scan", f"a carry structured like init, {like},", got, hint)
    wrong = [
        f"{name} was {a.dtype}{list(a.shape)} and became {b.dtype}{list(b.shape)}"
        for name, a, b in zip(paths(before, "carry"), old, new, strict=True)
        if a.shape != b.shape or a.dtype != b.dtype
    ]
    if wrong:
        raise CarryError(
            "scan", "a carry that keeps its shapes and dtypes",
            f"after step {step}: " + "; ".join(wrong), "make init like what step returns",
        )  # fmt: skip


def _outline(tree: Any) -> str:
    """Its containers as Python writes them, with their keys or names: a list [tensor, tensor]."""
    kinds: dict[type, str] = {list: "list ", tuple: "tuple ", dict: "dict ", Tensor: ""}
    shown = repr(tree_map(lambda leaf: LEAF_MARK, tree)).replace(repr(LEAF_MARK), "tensor")
    return f"a {kinds.get(type(tree), '')}{shown}"


# ---------------------------------------------------------------------------- the loop engine
def run_loop(problem: Problem) -> tuple[Any, Any]:
    """The definition, on the tape."""
    order = range(problem.length)[:: -1 if problem.reverse else 1]
    every = problem.checkpoint_every
    if not problem.length:
        return tree_map(_copied, problem.init), _no_outputs(problem)
    if problem.lengths is not None:
        problem = replace(problem, xs=without_padding(problem.xs, problem.lengths))
    alone = not is_grad_enabled()  # then `h += x` would change a leaf that the user gave
    carry = tree_map(lambda t: t.detach() if alone and t.node else t, problem.init)
    ys: dict[int, Any] = {}
    span = problem.length if every is None else every
    run = _segment if every is None else lambda *args: checkpoint(_segment, *args)
    for start in range(0, problem.length, span):
        times = list(order[start : start + span])
        carry, out = run(problem, carry, start, times)
        ys.update(zip(times, out, strict=True))
    return tree_map(_copied, carry), _stacked([ys[t] for t in range(problem.length)])


def _copied(leaf: Tensor) -> Any:
    """A last carry in memory of its own: a step may hand on what is the user's."""
    if type(leaf.array) in INTERPRETERS or (leaf.node is not None and leaf.is_leaf):
        return clone(leaf)
    return Tensor(leaf.array.copy(), leaf.node)


def _segment(problem: Problem, carry: Any, start: int, times: list[int]) -> tuple[Any, list[Any]]:
    outputs = []
    for i, t in enumerate(times, start):
        if problem.truncate is not None and i and i % problem.truncate == 0:
            carry = tree_map(lambda c: c.detach(), carry)
        x = tree_map(lambda leaf: leaf[t], problem.xs)  # noqa: B023 (used at once)
        carry, y = _one_step(problem, carry, x, t)
        outputs.append(y)
    return carry, outputs


def _one_step(problem: Problem, carry: Any, x: Any, t: int) -> tuple[Any, Any]:
    result = problem.step(carry, x)
    if not isinstance(result, tuple) or len(result) != 2:
        raise CarryError("scan", "step to return (carry, output)", type(result).__name__)
    after, y = (tree_map(as_tensor, part) for part in result)
    check_carry(carry, after, t)
    if problem.lengths is None:
        return after, y
    active = problem.lengths > t
    kept = tree_map(lambda new, old: where(rows_like(active, new), new, old), after, carry)
    return kept, tree_map(lambda leaf: ended(active, leaf), y)


def ended(active: Tensor, leaf: Tensor) -> Any:
    """Zeros of the dtype of `leaf` in rows that have ended."""
    return where(rows_like(active, leaf), leaf, False if leaf.dtype.kind == "b" else 0)


def rows_like(active: Tensor, leaf: Tensor) -> Any:
    """The row mask with an axis of size 1 for each further axis of `leaf`."""
    if not leaf.ndim or leaf.shape[0] != active.shape[0]:
        raise ShapeError("scan", f"carry and outputs with {active.shape[0]} rows", leaf.shape)
    return reshape(active, (-1,) + (1,) * (leaf.ndim - 1))


def _stacked(ys: list[Any]) -> Any:
    first, structure = flatten(ys[0])
    columns = [flatten(y)[0] for y in ys]
    if any(flatten(y)[1] != structure for y in ys):
        raise CarryError("scan", "outputs of one structure", "a step that changes it")
    for column, name in zip(zip(*columns, strict=True), paths(ys[0], "outputs"), strict=True):
        other = [y for y in column if y.shape != column[0].shape]
        if other:
            raise ShapeError("scan", f"{name} of one shape, {column[0].shape}", other[0].shape)
    return unflatten(structure, [stack([c[i] for c in columns]) for i in range(len(first))])


def _no_outputs(problem: Problem) -> Any:
    """What T = 0 gives: the shapes are learnt from one step on zeros, and nothing is kept."""
    x = tree_map(
        lambda leaf: Tensor(leaf.backend.xp.zeros(leaf.shape[1:], dtype=leaf.dtype)), problem.xs
    )
    _, y = problem.step(tree_map(lambda c: c.detach(), problem.init), x)
    return tree_map(
        lambda leaf: Tensor(leaf.backend.xp.zeros((0, *leaf.shape), dtype=leaf.dtype)),
        tree_map(as_tensor, y),
    )


register_engine("loop", run_loop)
