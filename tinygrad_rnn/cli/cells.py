"""``explain``: what a cell is compiled to, and the equations of its BPTT."""

from __future__ import annotations

import argparse
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .. import create
from ..compiler import explain as explained
from ..errors import ArgumentError, DataError, TinygradRNNError
from ..nn import GRUCell, LSTMCell, Module, RNNCell

__all__ = ["explain"]

CELLS: dict[str, Callable[..., Any]] = {"lstm": LSTMCell, "gru": GRUCell, "rnn": RNNCell}
STEPS = 4  # of the sequence that is traced; the compiled step is the same for any number


def explain(arguments: argparse.Namespace) -> None:
    """Print what `tg.explain` says of a cell with the sizes asked for."""
    cell = _built(arguments.cell, arguments.inputs, arguments.hidden)
    xs = create.zeros(STEPS, arguments.batch, arguments.inputs)
    print(explained(cell.forward, _start(cell, arguments), xs, engine=arguments.engine), end="")


def _built(name: str, inputs: int, hidden: int) -> Any:
    """The named cell, or CLASS of FILE.py called as CLASS(input_size, hidden_size)."""
    if name in CELLS:
        return CELLS[name](inputs, hidden)
    path, colon, called = name.rpartition(":")
    if not colon or not path.endswith(".py"):
        raise ArgumentError("explain", f"{', '.join(CELLS)} or FILE.py:CELL", repr(name))
    cell = _made(_found(Path(path), called), called, inputs, hidden)
    if not isinstance(cell, Module) or not callable(getattr(cell, "forward", None)):
        raise ArgumentError(
            "explain", f"{called}(input_size, hidden_size) to give a module", type(cell).__name__
        )
    return cell


def _made(factory: Callable[..., Any], called: str, inputs: int, hidden: int) -> Any:
    try:
        return factory(inputs, hidden)
    except Exception as error:
        what, hint = _in_words(error)
        expected = f"{called}(input_size, hidden_size) to make a cell"
        got = f"{called}({inputs}, {hidden}): {what}"
        raise DataError("explain", expected, got, hint) from error


def _in_words(error: Exception) -> tuple[str, str | None]:
    """What an error says, in one line, and its hint."""
    hint = error.hint if isinstance(error, TinygradRNNError) else None
    said = str(error).removesuffix(f"\nhint: {hint}")
    return f"{type(error).__name__}: {' '.join(said.split())}", hint


def _found(path: Path, called: str) -> Callable[..., Any]:
    if not path.is_file():
        raise DataError("explain", "a file that exists", str(path))
    try:
        names = runpy.run_path(str(path), run_name="explained")
    except Exception as error:
        raise DataError("explain", f"{path} to run", *_in_words(error)) from error
    if not callable(names.get(called)):
        offered = sorted(n for n, v in names.items() if isinstance(v, type) and n[0] != "_")
        raise DataError("explain", f"a class or function {called} in {path}", ", ".join(offered))
    found: Callable[..., Any] = names[called]
    return found


def _start(cell: Any, arguments: argparse.Namespace) -> Any:
    initial = getattr(cell, "initial_state", None)
    if initial is not None:
        return initial(arguments.batch)
    return create.zeros(arguments.batch, arguments.hidden)
