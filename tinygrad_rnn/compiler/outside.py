"""A pass over a sequence as one function: what comes before the loop, the loop, what comes after.

Each is written once for a choice of gradients, and then called with arrays.

Legend: T time steps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from .backward import Backward
from .cut import Cut, Loop
from .layout import is_view
from .lookups import is_lookup
from .program import Refused, Value
from .script import Script, names
from .sums import Finish, Sums

__all__ = ["backward_pass", "forward_pass", "step_on_rows"]


def forward_pass(
    parts: Cut, loop: Loop, runner: Any, saved: Sequence[Value], exact: bool
) -> Callable[..., Any]:
    """What comes before the loop, the loop, and what comes after it.

    Called with (arrays of all inputs, length, extent, reverse) it gives the final carries and the
    outputs of all steps, and the values in `saved`.
    """
    whole, script = parts.whole, Script(exact, arrays=True)
    script.space["loop"] = runner
    starts = [script.variable() for _ in whole.carries]
    inputs = script.given((*whole.stacked, *whole.constant), parts.fixed)
    script.lines.append(f"[{', '.join(starts)}, *{inputs}] = inputs")
    for value in parts.before:
        script.array(value)
    finals = _loop(script, loop, starts, "extent, reverse")
    outputs = _outputs(script, whole)
    kept = names([script.array(v) for v in saved])
    result = names([*(f"{final}.copy()" for final in finals), *outputs])
    return script.function("inputs, length, extent, reverse", f"{result}, {kept}")


def _outputs(script: Script, whole: Loop) -> list[str]:
    """The outputs of all steps, each in memory of its own: what gets changed in place is one."""
    carried, taken, found = dict(whole.carries), set(), []
    for value in whole.exports:
        name, source = script.all_steps(value), value
        while is_view(source):
            source = source.inputs[0]
        source = carried.get(source, source)  # they are rows of the same memory
        alone = source.op is not None and source not in taken
        taken.add(source)
        found.append(f"contiguous({name})" if alone else f"{name}.copy()")
    return found


def backward_pass(
    parts: Cut, way: Backward, runner: Any, saved: Sequence[Value], wanted: Sequence[bool],
    columns: Sequence[bool] | None, exact: bool, spans: bool,
) -> tuple[Callable[..., Any], Finish | None]:  # fmt: skip
    """The same backward.

    Called with (cotangents of final carries and outputs, saved, length, extent, reverse, breaks)
    it gives the cotangent of each input. `columns` says which constants are kept by columns.

    If `spans` are to come one after the other it is called with sums as well, and gives only the
    cotangents of carries and stacked inputs: those of constants are then made of the sums.
    """
    script, loop = Script(exact, arrays=True), way.loop
    script.space["loop"] = runner
    carried = [script.variable() for _ in way.carried]
    arrived = script.given(way.arriving, ())
    script.lines.append(f"[{', '.join(carried)}, *{arrived}] = cotangents")
    script.lines.append(f"{script.given(saved, parts.fixed)} = saved")
    for value in way.arriving:
        if value is not None:
            name = script.known[value]
            script.lines.append(f"{name} = contiguous({name})")
    starts = [
        f"0.0 if {c} is None else {c}"
        for c, n in zip(carried, way.carried, strict=True)
        if n is not None
    ]
    finals = _loop(script, loop, starts, "extent, not reverse", ", breaks")
    found = ["None" if n is None else f"{finals[n]}.copy()" for n in way.carried]
    found += ["None" if v is None else script.all_steps(v) for v in way.of_stacked]
    found = [f if w else "None" for f, w in zip(found, wanted, strict=False)]
    script.lines.append("turn = 1 if reverse else -1")
    sums, turned = Sums(script, exact, spans), columns or [False] * len(way.of_constant)
    totals = [
        "None" if v is None or not w else sums.total(v, turn)
        for v, turn, w in zip(way.of_constant, turned, wanted[len(found) :], strict=True)
    ]
    head = "cotangents, saved, length, extent, reverse, breaks"
    finish = sums.written(totals)
    if spans:
        return script.function(f"{head}, sums", names(found)), finish
    return script.function(head, names([*found, *totals])), None


def _loop(
    script: Script, loop: Loop, starts: Sequence[str], where: str, further: str = ""
) -> list[str]:
    """The line that runs the loop; the variables of its last carries."""
    script.space["inside"] = _check_inside
    stacked = names([script.all_steps(v) for v in loop.stacked])
    constants = names([script.array(v) for v in loop.constant])
    given = f"{where}, {names(starts)}, {stacked}, {constants}{further}"
    known = {*loop.stacked, *loop.constant}
    for value in filter(is_lookup, loop.body):
        number, rows = value.args[1], value.args[0].shape[0]
        source = number
        while source not in known and is_view(source):
            source = source.inputs[0]
        if source in known:
            script.lines.append(f"inside({script.array(number)}, {rows})")
    finals = [script.variable() for _ in loop.carries]
    script.lines.append(f"{names(finals)}, {script.given(loop.exports, ())} = loop({given})")
    return finals


def _check_inside(number: Any, rows: int) -> None:
    """Compiled code takes for granted that a number is one of a row."""
    if number.size and not (-rows <= number.min() and number.max() < rows):
        raise Refused("an index out of range")  # the loop says which


def step_on_rows(loop: Loop, fixed: set[Value]) -> Callable[..., Any]:
    """One step of rows side by side: (inputs, number of rows) -> (carries, outputs)."""
    script = Script()
    inputs = (*(before for before, _ in loop.carries), *loop.stacked, *loop.constant)
    script.lines.append(f"{script.given(inputs, fixed)} = inputs")
    carries = names([script.array(after) for _, after in loop.carries])
    outputs = names([script.array(v) for v in loop.exports])
    return script.function("inputs, length", f"{carries}, {outputs}")
