"""The call of a loop of NumPy calls, written as one Python function for any number of steps.

Between two small arrays there is no time to look for places: that function takes the memory (of a
small loop one block, of a large one a block for each stack, as what is kept of one would keep all
of it), makes the views, and runs the loop.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .cut import Loop
from .layout import Place, fresh
from .numpy_engine import NumpyRunner, each_row, plan_calls
from .plan import Plan
from .pool import ALIGNMENT, pool

__all__ = ["CallRunner", "compile_loop"]

LARGEST = 1 << 20  # bytes of a block for everything

Call = Callable[[int, Sequence[Any], Sequence[Any]], tuple[list[Any], list[Any]]]


def compile_loop(loop: Loop, stacked_carries: bool) -> CallRunner:
    """A function that runs the loop; see `NumpyRunner`."""
    return CallRunner(plan_calls(loop, stacked_carries))


class CallRunner(NumpyRunner):
    """Runs a planned loop without a way from buffers to arrays."""

    def __init__(self, plan: Plan) -> None:
        super().__init__(plan)
        self.calls: dict[bool, Call] = {}

    def __call__(
        self,
        length: int,
        reverse: bool,
        inits: Sequence[Any],
        stacked: Sequence[Any],
        constants: Sequence[Any],
        breaks: Sequence[int] = (),
    ) -> tuple[list[Any], list[Any]]:
        if breaks:
            return super().__call__(length, reverse, inits, stacked, constants, breaks)
        if reverse not in self.calls:
            self.calls[reverse] = _Writer(self, reverse).written()
        return self.calls[reverse](length, inits, [*constants, *stacked])


class _Writer:
    """Writes the function for one direction."""

    def __init__(self, runner: CallRunner, reverse: bool) -> None:
        self.runner, self.plan, self.reverse = runner, runner.plan, reverse
        self.inputs = len(self.plan.loop.constant) + len(self.plan.loop.stacked)
        self.space: dict[str, Any] = {
            "ndarray": np.ndarray, "copyto": np.copyto, "contiguous": np.ascontiguousarray,
            "block": pool.block, "given_to": runner.given, "loop": runner.loop, "single": each_row,
        }  # fmt: skip
        self.stacks: list[int] = []
        self.where: dict[int, tuple[str, str]] = {}  # memory and offset of each buffer
        self.fixed = 0  # bytes of what has one row
        for number, buffer in enumerate(self.plan.buffers):
            if number < self.inputs:
                self.where[number] = f"g{number}", "0"
            elif self.plan.shared.get(number, number) == number:
                if buffer.rows in ("stack", "carry"):
                    self.stacks.append(number)
                    self.where[number] = f"m{number}", f"o{number}"
                else:
                    self.where[number] = "m", f"o + {self.fixed}"
                    self.fixed += -(-buffer.bytes // ALIGNMENT) * ALIGNMENT
        for number, other in self.plan.shared.items():
            self.where[number] = self.where[other]

    def written(self) -> Call:
        """`call(length, carries to begin with, inputs)`: the last carries and the exports."""
        plan = self.plan
        lines = [self.given(n) for n in range(self.inputs)]
        lines += self.memory()
        for i, place in enumerate(plan.carries):
            lines.append(f"copyto({self.end(place, not self.reverse)}, inits[{i}])")
        each = ", ".join(self.steps(p) for p in self.runner.each)
        fixed = "".join(f"{self.row(p)}, " for p in self.runner.fixed)
        lines.append(f"loop({f'zip({each})' if each else 'range(length)'}, ({fixed}))")
        finals = ", ".join(self.end(p, self.reverse) for p in plan.carries)
        exports = ", ".join(self.seen(p) for p in plan.exports)
        body = "".join(f"    {line}\n" for line in lines)
        head = "def call(length, inits, given):\n"
        exec(f"{head}{body}    return [{finals}], [{exports}]\n", self.space)
        call: Call = self.space["call"]
        return call

    def given(self, number: int) -> str:
        """The line that has an input as the loop needs it."""
        if number in self.runner.aligned:
            return f"g{number} = given_to({number}, given[{number}])"
        return f"g{number} = contiguous(given[{number}])"

    def memory(self) -> list[str]:
        """The lines that take memory."""
        lines, total, apart, together = [], f"total = {self.fixed}", [], []
        for number in self.stacks:
            buffer, size = self.plan.buffers[number], f"b{number}"
            rows = "length" if buffer.rows == "stack" else "(length + 1)"
            lines.append(f"{size} = {buffer.bytes} * {rows} + {ALIGNMENT - 1} & -{ALIGNMENT}")
            together.append(f"    m{number} = m; o{number} = o + total; total += {size}")
            apart.append(f"    m{number}, o{number}, _ = block({size})")
        sizes = "".join(f" + b{n}" for n in self.stacks)
        return [
            *lines,
            f"total = {self.fixed}{sizes}",
            f"if total <= {LARGEST}:",
            "    m, o, _ = block(total)",
            f"    {total}",
            *together,
            "else:",
            f"    m, o, _ = block({self.fixed})",
            *apart,
        ]

    def view(self, place: Place, shape: str, strides: str, shift: int | str = 0) -> str:
        """An array at a place."""
        memory, offset = self.where[place.buffer.number]
        dtype = f"type_{np.dtype(place.dtype).name}"
        self.space[dtype] = np.dtype(place.dtype)
        return f"ndarray({shape}, {dtype}, {memory}, {offset} + {place.offset} + {shift}{strides})"

    def row(self, place: Place) -> str:
        """A view that is the same in every step."""
        whole = place == fresh(place.buffer)
        if whole and place.shape and place.buffer.rows == "constant":  # a number came as (1,)
            return self.where[place.buffer.number][0]
        return self.view(place, repr(place.shape), "" if whole else f", {place.strides}")

    def seen(self, place: Place) -> str:
        """All steps of a place, in the order of time."""
        buffer, memory = place.buffer, self.where[place.buffer.number][0]
        ahead = buffer.rows == "carry" and place.ahead != self.reverse
        whole = place._replace(ahead=False) == fresh(buffer)
        if whole and buffer.number < self.inputs:
            return memory
        shape = f"(length, {''.join(f'{n}, ' for n in place.shape)})"
        strides = "" if whole else f", {(buffer.bytes, *place.strides)}"
        return self.view(place, shape, strides, buffer.bytes if ahead else 0)

    def steps(self, place: Place) -> str:
        """What gives a view of each step; rows of one number would not be arrays."""
        ordered = f"{self.seen(place)}{'[::-1]' if self.reverse else ''}"
        return ordered if place.shape else f"single({ordered})"

    def end(self, place: Place, first: bool) -> str:
        """The carry at one end: the row with the lowest time if `first`, else with the highest."""
        buffer = place.buffer
        last = buffer.rows == "carry" and not first
        shift = f"{buffer.bytes} * length" if last else 0
        return self.view(fresh(buffer), repr(buffer.shape), "", shift)
