"""The engine that is always there: NumPy calls into planned buffers, in a generated Python loop.

For each action of a plan one line is written; views of the buffers, one for each step where the
storage has a row for each step, are made before the loop starts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .blas import SMALL, rows_at_once
from .blocks import Blocks, is_logistic
from .cut import Loop
from .layout import FEW, Place, fresh, is_view
from .plan import Action, NoView, Plan, make_plan
from .pool import is_aligned, pool
from .program import Value
from .ufuncs import BY_NAME, CHAINS, UFUNCS, operation

__all__ = ["NumpyRunner", "each_row", "plan_calls"]


TOGETHER = 1 << 16  # equal numbers that an array is compared with, at most


# ------------------------------------------------------------------------------- the loop
def plan_calls(loop: Loop, stacked_carries: bool, in_blocks: bool = True) -> Plan:
    """A plan in which each operation is a call; `in_blocks` allows what `Blocks` does."""
    forced: set[Value] = set()
    while True:
        made, blocks = [v for v in loop.body if v in forced or not is_view(v)], Blocks()

        def arrange(plan: Plan, made: list[Value] = made, blocks: Blocks = blocks) -> None:
            if in_blocks:
                blocks.arrange(plan, made)

        def act(plan: Plan, made: list[Value] = made, blocks: Blocks = blocks) -> None:
            for value in made:
                if blocks.act(plan, value) and is_logistic(value):
                    action = plan.actions[-1]
                    operands = (*action.operands, _scratch_like(plan, action.target))
                    plan.actions[-1] = action._replace(operands=operands)

        def may_overwrite(after: Value, before: Value, made: list[Value] = made) -> bool:
            return _may_overwrite(after, before, loop.body, made)

        try:
            return make_plan(loop, stacked_carries, made, act, may_overwrite, arrange)
        except NoView as found:  # of that layout, this view has to be made after all
            forced.add(found.value)


def _scratch_like(plan: Plan, place: Place | None) -> Place:
    """Memory for as much as is at a place, in the same order."""
    assert place is not None
    order = sorted(range(len(place.shape)), key=lambda d: -place.strides[d])
    whole = fresh(plan.memory("scratch", tuple([place.shape[d] for d in order]), place.dtype))
    strides = [whole.strides[order.index(d)] for d in range(len(order))]
    return whole._replace(shape=place.shape, strides=tuple(strides))


def _may_overwrite(
    after: Value, before: Value, body: Sequence[Value], made: Sequence[Value]
) -> bool:
    """Whether all that read the carry at the beginning have done so when `after` is made."""
    views = {before}
    for value in body:
        if is_view(value) and value.inputs[0] in views:
            views.add(value)
    for other in made[made.index(after) + 1 :]:
        if any(a in views for a in other.inputs):
            return False
    reads = [a for a in after.inputs if a in views]
    plain = after.op is not None and after.op.form == "elementwise"
    return not reads or (plain and all(a is before for a in reads))


class NumpyRunner:
    """Runs a planned loop.

    `runner(length, reverse, inits, stacked, constants, breaks)` gives the final carries and the
    stacked exports. After as many steps as each of `breaks` says, the carries are set to zero: the
    backward pass of truncated BPTT.
    """

    knows_rows = True  # whether products are calls on arrays of a shape that is known

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.names: dict[Place, str] = {}
        self.each: list[Place] = []
        self.fixed: list[Place] = []
        self.counters: list[str] = []  # further names that change with the step
        self.tables: dict[str, Any] = {}  # further names that do not
        shared, extra = plan.shared, {"stack": 0, "carry": 1}
        self.wanted = [
            (
                shared[n] if shared.get(n, n) != n else None,
                extra.get(b.rows, -1),
                (FEW, *b.shape) if b.rows == "few" else b.shape,
                b.dtype,
            )
            for n, b in enumerate(plan.buffers)
        ]
        self.borrowed = [
            (n, other) for n, (other, *_) in enumerate(self.wanted) if other is not None
        ]
        self.whole = [  # the numbers of the stacks that are exports as they are
            p.buffer.number if p == fresh(p.buffer) and p.buffer.rows == "stack" else -1
            for p in plan.exports
        ]
        pairs = [(p, a) for a in plan.actions for p in a.operands]
        few = self.knows_rows
        self.aligned = {p.buffer.number for p, a in pairs if _is_read_in_place(p, a, few)}
        self.space: dict[str, Any] = {"copyto": np.copyto}
        self.source = self.write()
        exec(self.source, self.space)
        self.loop = self.space["loop"]

    # -------------------------------------------------------------------------- writing
    def write(self) -> str:
        """The source of the loop."""
        lines = [self.line(i, action) for i, action in enumerate(self.plan.actions)]
        each = [*(self.names[p] for p in self.each), *self.counters]
        fixed = [*(self.names[p] for p in self.fixed), *self.tables]
        body = "".join(f"        {line}\n" for line in lines) or "        pass\n"
        target = "(" + " ".join(f"{name}," for name in each) + ")"
        return (
            f"def loop(steps, fixed):\n    ({' '.join(f'{n},' for n in fixed)}) = fixed\n"
            f"    for {target if each else '_'} in steps:\n{body}"
        )

    def line(self, number: int, action: Action) -> str:
        """One action as a line of Python."""
        words = [self.word(o) for o in self.as_arrays(action)]
        assert action.target is not None
        target = self.word(action.target)
        if action.kind == "copy":
            return f"copyto({target}, {words[0]})"
        value = action.values[0]
        if action.kind == "exponential":
            return self.exponential(number, words, action.target)
        if action.kind == "quotient":
            return self.call(f"div_{number}", np.true_divide, words, target)
        name = f"{value.name}_{number}"
        if is_logistic(value) and len(words) == 2:  # only this engine's plans give it scratch
            return self.logistic(number, words, action.target)
        if value.name in CHAINS and value.dtype.kind == "f":
            return self.chain(number, CHAINS[value.name], words[0], action.target)
        if not _is_plain_product(action):
            return self.call(name, operation(value), words, target)
        few = _rows_at_once(action) if self.knows_rows else 0
        if few:
            sides = action.operands[0], action.target
            left, out = [self.word(_in_parts(place, few)) for place in sides]
            return self.call(name, np.matmul, [left, words[1]], out)
        return self.call(name, np.dot, words, target)

    def call(self, name: str, call: Any, words: Sequence[str], target: str) -> str:
        """A call with its result; a ufunc takes that faster by place than by name."""
        self.space[name] = call
        by_place = call is np.dot or (isinstance(call, np.ufunc) and call not in BY_NAME)
        return f"{name}({', '.join(words)}, {'' if by_place else 'out='}{target})"

    def logistic(self, number: int, words: Sequence[str], place: Place) -> str:
        """eˣ/(1 + eˣ); `words` are x and scratch."""
        target = self.word(place)
        quotient = self.call(f"div_{number}", np.true_divide, [target, words[1]], target)
        return f"{self.exponential(number, words, place)}; {quotient}"

    def exponential(self, number: int, words: Sequence[str], place: Place) -> str:
        """eˣ and 1 + eˣ, with the largest x of which there is an eˣ; `words` are x and the sum."""
        (source, further), target = words, self.word(place)
        largest = self.word(self.number(int(np.log(np.finfo(place.dtype).max)), place, np.minimum))
        one = self.word(np.array(1.0, place.dtype))
        return "; ".join([
            self.call(f"minimum_{number}", np.minimum, [source, largest], target),
            self.call(f"exp_{number}", np.exp, [target], target),
            self.call(f"add_{number}", np.add, [target, one], further),
        ])  # fmt: skip

    def chain(self, number: int, chain: Any, first: str, place: Place) -> str:
        """Several calls, of which all but the first work in place."""
        calls, source, target = [], first, self.word(place)
        for part, operand in chain:
            words, call = [source], UFUNCS[part]
            if operand is not None:
                words.append(self.word(self.number(operand, place, call)))
            calls.append(self.call(f"{part}_{number}", call, words, target))
            source = target
        return "; ".join(calls)

    def as_arrays(self, action: Action) -> list[Any]:
        """Operands with numbers as arrays, which ufuncs take at once."""
        places = [o for o in action.operands if type(o) is Place]
        floats = bool(places) and all(p.dtype.kind == "f" for p in places)
        call, target = UFUNCS.get(action.values[0].name), action.target
        if not floats or not isinstance(call, np.ufunc) or target is None:
            return list(action.operands)
        like = target._replace(dtype=places[0].dtype)
        return [o if type(o) is Place else self.number(o, like, call) for o in action.operands]

    def number(self, number: float, place: Place, call: Any) -> Any:
        """A number as an array: of no axis, or for a maximum of as many last axes as may be.

        NumPy compares arrays by vectors, but with one number it goes element by element.
        """
        shape = place.shape if self.knows_rows and call in BY_NAME else ()
        while math.prod(shape) > TOGETHER:
            shape = shape[1:]
        return np.full(shape, number, place.dtype)

    def word(self, operand: Any) -> str:
        """A number, or the name of the view at a place."""
        if type(operand) is not Place:
            name = f"number_{len(self.space)}"
            self.space[name] = operand
            return name
        if operand not in self.names:
            shared = operand.buffer.rows in ("stack", "carry")
            self.names[operand] = f"{'s' if shared else 'a'}{len(self.names)}"
            (self.each if shared else self.fixed).append(operand)
        return self.names[operand]

    # -------------------------------------------------------------------------- running
    def __call__(
        self,
        length: int,
        reverse: bool,
        inits: Sequence[Any],
        stacked: Sequence[Any],
        constants: Sequence[Any],
        breaks: Sequence[int] = (),
    ) -> tuple[list[Any], list[Any]]:
        plan = self.plan
        arrays, addresses = self.memory(length, [*constants, *stacked])
        each = [_rows(seen(p, arrays, length, reverse), reverse) for p in self.each]
        exports = [
            seen(p, arrays, length, reverse) if number < 0 else arrays[number]
            for p, number in zip(plan.exports, self.whole, strict=True)
        ]
        fixed = [self.row(p, arrays) for p in self.fixed]
        kept = self.further(each, fixed, arrays, addresses, length, reverse)
        for place, init in zip(plan.carries, inits, strict=True):
            np.copyto(end_row(place, arrays, length, not reverse), init)
        self.run(length, each, fixed, arrays, breaks)
        del kept
        finals = [end_row(p, arrays, length, reverse) for p in plan.carries]
        return finals, exports

    def further(
        self,
        each: list[Any],
        fixed: list[Any],
        arrays: Sequence[Any],
        addresses: list[int],
        length: int,
        reverse: bool,
    ) -> Any:
        """Add what `counters` and `tables` name; the result is kept alive while the loop runs."""
        return None

    def memory(self, length: int, given: Sequence[Any]) -> tuple[list[Any], list[int]]:
        """The array of each buffer, those given first, the rest from the pool; and addresses."""
        arrays = [self.given(number, array) for number, array in enumerate(given)]
        addresses = [0] * len(given)
        for other, rows, shape, dtype in self.wanted[len(given) :]:
            full = shape if rows < 0 else (length + rows, *shape)
            array, address = (None, -1) if other is not None else pool.taken(full, dtype)
            arrays.append(array)
            addresses.append(address)
        for number, other in self.borrowed:
            arrays[number], addresses[number] = arrays[other], addresses[other]
        return arrays, addresses

    def given(self, number: int, array: Any) -> Any:
        """An input as the loop needs it."""
        if number not in self.aligned or (array.flags.c_contiguous and is_aligned(array)):
            return np.ascontiguousarray(array)
        found = pool.array(array.shape, array.dtype)
        np.copyto(found, array)
        return found

    def row(self, place: Place, arrays: Sequence[Any]) -> Any:
        """The view at a place that is the same in every step."""
        memory = arrays[place.buffer.number]
        return np.ndarray(place.shape, place.dtype, memory, place.offset, place.strides)

    def run(
        self,
        length: int,
        each: list[Any],
        fixed: list[Any],
        arrays: list[Any],
        breaks: Sequence[int],
    ) -> None:
        """All steps, with the carries cut where they have to be."""
        start = 0
        for stop in (*breaks, length):
            part = [v[start:stop] for v in each] if breaks else each
            self.loop(zip(*part, strict=True) if part else range(stop - start), fixed)
            if stop < length:
                for place in self.plan.carries:
                    arrays[place.buffer.number].fill(0)
            start = stop


def _is_plain_product(action: Action) -> bool:
    """Whether BLAS can do it with less ado than matmul."""
    places = (*action.operands, action.target)
    return (
        action.values[0].name == "matmul"
        and action.target is not None
        and action.target.contiguous
        and all(len(p.shape) == 2 and p.strides[1] == p.dtype.itemsize for p in places)
        and len({p.dtype for p in places}) == 1
        and action.target.dtype.char in "fd"
    )


def _is_read_in_place(operand: Any, action: Action, few: bool) -> bool:
    """Whether it is a matrix of all steps that BLAS reads without a copy, perhaps by a few rows."""
    if type(operand) is not Place or operand.buffer.rows != "constant":
        return False
    if action.kind != "op" or not _is_plain_product(action):
        return False
    small = action.values[0].size * operand.shape[0] <= SMALL
    return small or (few and _rows_at_once(action) > 0)


def _rows_at_once(action: Action) -> int:
    """How many of a product's rows are multiplied at a time; 0 for all."""
    if action.operands[1].buffer.rows != "constant":
        return 0
    left, right = (x.shape for x in action.values[0].inputs)
    return rows_at_once(left[0], right[0], right[1], action.values[0].dtype.itemsize)


def _in_parts(place: Place, rows: int) -> Place:
    """The same matrix, some rows after the other."""
    (height, width), (across, item) = place.shape, place.strides
    shape, strides = (height // rows, rows, width), (rows * across, across, item)
    return place._replace(shape=shape, strides=strides)


def _rows(view: Any, reverse: bool) -> Any:
    """What gives a view of each step when iterated; rows of one number would not be arrays."""
    ordered = view[::-1] if reverse else view
    return ordered if ordered.ndim > 1 else each_row(ordered)


def each_row(view: Any) -> list[Any]:
    """The elements of a row, each as an array."""
    return [view[t, ...] for t in range(len(view))]


def seen(place: Place, arrays: Sequence[Any], length: int, reverse: bool) -> Any:
    """All steps of a place, in the order of time."""
    buffer = place.buffer
    shift = buffer.bytes if buffer.rows == "carry" and place.ahead != reverse else 0
    shape, strides = (length, *place.shape), (buffer.bytes, *place.strides)
    memory = arrays[buffer.number]
    return np.ndarray(shape, place.dtype, memory, place.offset + shift, strides)


def end_row(place: Place, arrays: Sequence[Any], length: int, first: bool) -> Any:
    """The carry at one end: the row with the lowest time if `first`, else with the highest."""
    memory = arrays[place.buffer.number]
    if place.buffer.rows == "cell":
        return memory
    return memory[0 if first else length, ...]
