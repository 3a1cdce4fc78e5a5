"""How the command line speaks: aligned tables, quoted samples, errors in plain words."""

from __future__ import annotations

import io
import os
import shlex
import sys
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from ..errors import MissingDependencyError, TinygradRNNError

__all__ = [
    "any_console", "command", "explain", "optional_picture", "quote", "show_files", "show_pairs",
    "show_table",
]  # fmt: skip

PACKAGE = "tinygrad_rnn"
Row = Sequence[object]


def any_console() -> None:
    r"""From now on a character that standard output cannot take is written as \u03b4.

    Standard error does so by itself.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def show_pairs(title: str, pairs: Mapping[str, object]) -> None:
    """Print names and values below a title, in two columns."""
    width = max(map(len, pairs))
    print(title)
    for name, value in pairs.items():
        print(f"  {name:<{width}}  {value}")
    print(flush=True)


def show_files(title: str, folder: Path, files: Mapping[str, str]) -> None:
    """Print what each file of the folder is; one that was not written is left out."""
    show_pairs(title, {name: what for name, what in files.items() if (folder / name).exists()})


def show_table(title: str, header: Row, rows: Iterable[Row]) -> None:
    """Print a table below a title: the first column to the left, the others to the right."""
    cells = [[str(cell) for cell in row] for row in [header, *rows]]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    print(title)
    for row in cells:
        first, *others = (
            f"{cell:{'>' if place else '<'}{width}}"
            for place, (cell, width) in enumerate(zip(row, widths))
        )
        print("  " + "   ".join([first, *others]).rstrip())
    print(flush=True)


def quote(text: str, width: int = 88) -> str:
    """A text set apart by a bar at its left, long lines broken."""
    lines = [part for line in text.split("\n") for part in textwrap.wrap(line, width) or [""]]
    return "\n".join(f"    │ {line}".rstrip() for line in lines)


def explain(error: TinygradRNNError) -> None:
    """Print an error in plain words: no traceback, since the user's input is its cause."""
    print(f"tinygrad-rnn: error: {error}", file=sys.stderr, flush=True)


@contextmanager
def optional_picture() -> Iterator[None]:
    """Without matplotlib there is no picture, and all else goes on."""
    try:
        yield
    except MissingDependencyError as error:
        print(f"\nNo picture was drawn: {error.expected} is needed. {error.hint}")


def command(*words: object) -> str:
    """The line that a user types to run ``tinygrad-rnn words``, however this one was started."""
    return " ".join([_program(), *(shlex.quote(str(word)) for word in words)])


def _program() -> str:
    if Path(sys.argv[0]).parts[-2:] != (PACKAGE, "__main__.py"):
        return "tinygrad-rnn"
    python = os.path.relpath(sys.executable)  # not resolved: a venv's python is a link
    return f"{'python' if python.startswith('..') else shlex.quote(python)} -m {PACKAGE}"
