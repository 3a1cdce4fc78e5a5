"""``explain``: what a cell is compiled to, and the equations of its BPTT."""

from __future__ import annotations

import argparse
import re
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from .. import create
from ..compiler import explain as explained
from ..errors import ArgumentError, DataError, TinygradRNNError
from ..graph import no_grad
from ..nn import GRUCell, LSTMCell, Module, RNNCell
from ..scan import scan

__all__ = ["CELLS", "PARTS", "explain"]

Step = Callable[[Any, Any], Any]
CELLS: dict[str, Callable[..., Any]] = {"lstm": LSTMCell, "gru": GRUCell, "rnn": RNNCell}
STEPS = 4  # of the sequence that is traced; the compiled step is the same for any number
PARTS = {  # what the titles of each begin and end with
    "equations": r"(equations.*(?<!\(LaTeX\))|signs)",
    "latex": r"equations.*\(LaTeX\)",
    "program": r"(after|what leaves the loop|the loop).*",
    "costs": r"costs.*",
}


class Sizes(NamedTuple):
    """The sizes asked for."""

    batch: int
    inputs: int
    hidden: int


def explain(arguments: argparse.Namespace) -> None:
    """Print what `tg.explain` says of a cell with the sizes asked for."""
    sizes = Sizes(arguments.batch, arguments.inputs, arguments.hidden)
    step, start = _cell(arguments.cell, sizes)
    xs = create.zeros(STEPS, sizes.batch, sizes.inputs)
    told = explained(step, start, xs, engine=arguments.engine)
    print(told if arguments.only is None else part(told, arguments.only), end="")


def part(told: str, name: str) -> str:
    """The sections of that part; all of the text if it has none, since it then says why."""
    title = re.compile(f"--- {PARTS[name]}")
    sections = re.split(r"\n+(?=--- )", told.rstrip())
    chosen = [each for each in sections if title.fullmatch(each.partition("\n")[0])]
    if name == "latex":  # titles are comments there, so that it can be copied as it is
        chosen = ["%" + each.removeprefix("---") for each in chosen]
    return "\n\n".join(chosen) + "\n" if chosen else told


# ---------------------------------------------------------------------------------- the cell
def _cell(name: str, sizes: Sizes) -> tuple[Step, Any]:
    """The step of the named cell, or of NAME in FILE.py, and the carry that it starts from."""
    if name.lower() in CELLS:
        cell = CELLS[name.lower()](sizes.inputs, sizes.hidden)
        return cell.forward, cell.initial_state(sizes.batch)
    path, colon, called = name.rpartition(":")
    if not colon or not path.endswith(".py"):
        raise ArgumentError("explain", f"{', '.join(CELLS)} or FILE.py:CELL", repr(name))
    cell, hint = _made(_found(Path(path), called), called, sizes)
    step = getattr(cell, "forward", cell)
    if not hasattr(cell, "initial_state"):
        return step, _start(step, called, sizes, hint)
    try:
        return step, cell.initial_state(sizes.batch)
    except Exception as error:
        expected = f"initial_state(batch) of {called} to give a carry"
        raise DataError("explain", expected, *_in_words(error)) from error


def _found(path: Path, called: str) -> Any:
    if not path.is_file():
        raise DataError("explain", "a file that exists", str(path))
    try:
        names = runpy.run_path(str(path), run_name="explained")
    except Exception as error:
        raise DataError("explain", f"{path} to run", *_in_words(error)) from error
    if not callable(names.get(called)):
        own = (n for n, v in names.items() if getattr(v, "__module__", "") == "explained")
        offered = ", ".join(sorted(n for n in own if callable(names[n]) and n[0] != "_"))
        expected = f"a class or function {called} in {path}"
        raise DataError("explain", expected, offered or "a file without any")
    return names[called]


def _made(found: Any, called: str, sizes: Sizes) -> tuple[Any, str]:
    """What a class or function makes of two sizes; a step is itself, and why no cell was made."""
    if isinstance(found, Module):
        return found, "it has the sizes that it was made with: --inputs, --hidden"
    made, tried = None, f"{called}({sizes.inputs}, {sizes.hidden})"
    try:
        made = found(sizes.inputs, sizes.hidden)
        what, hint = f"{tried} of type {type(made).__name__}", None
    except Exception as error:
        what, hint = _in_words(error)
        what = f"{tried}: {what}"
    if callable(made) or hasattr(made, "forward"):
        return made, "sizes are set by --inputs, --hidden and --batch"
    if isinstance(found, type):
        expected = f"{called}(input_size, hidden_size) to make a cell"
        raise DataError("explain", expected, what, hint)
    return found, f"as a function (input_size, hidden_size) that makes a cell it gave {what}"


def _start(step: Step, called: str, sizes: Sizes, hint: str) -> Any:
    """The carry that a step works with: zeros (batch, hidden), or two of them."""
    h, c, x = (create.zeros(sizes.batch, n) for n in (sizes.hidden, sizes.hidden, sizes.inputs))
    failures = []
    for carry in (h, (h, c)):
        try:
            with no_grad():
                scan(step, carry, x[None], engine="loop")
            return carry
        except Exception as error:
            failures.append(error)
    unpacks = "unpack" in str(failures[0])
    what, of_error = _in_words(failures[unpacks])
    given = f"{'(h, c), each' if unpacks else 'carry'} {h.shape}, x {x.shape}"
    raise DataError(
        "explain", f"{called} to take a step(carry, x) -> (carry, y)", f"{what} ({given})",
        f"{of_error}; {hint}" if of_error else hint,
    ) from failures[unpacks]  # fmt: skip


def _in_words(error: Exception) -> tuple[str, str | None]:
    """What an error says, in one line, and its hint."""
    hint = error.hint if isinstance(error, TinygradRNNError) else None
    said = str(error).removesuffix(f"\nhint: {hint}")
    return f"{type(error).__name__}: {' '.join(said.split())}", hint
