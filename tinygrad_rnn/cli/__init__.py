"""The command line: ``tinygrad-rnn``, or ``python -m tinygrad_rnn``."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from ..errors import TinygradRNNError
from .console import any_console, explain
from .parser import build_parser

__all__ = ["main"]

FAILED, INTERRUPTED = 1, 130  # argparse itself exits with 2 where a command is wrong


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; see ``tinygrad-rnn --help``."""
    if argv is None:
        any_console()
    arguments = build_parser().parse_args(argv)
    arguments.own_process = argv is None
    try:
        arguments.run(arguments)
        sys.stdout.flush()
    except TinygradRNNError as error:
        explain(error)
        return FAILED
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # `tinygrad-rnn sample … | head` has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0
