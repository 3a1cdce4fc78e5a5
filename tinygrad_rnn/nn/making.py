"""What a recurrent layer is made of: the cells, and what is given in the place of one."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import Any

from ..arguments import function, refuse_unknown, takes
from ..errors import DTypeError
from .module import Module

__all__ = ["OF_SCAN", "check_cell", "made_cell", "maker", "refuse_options"]

OF_SCAN = {"truncate", "checkpoint_every", "engine"}  # options that a layer hands on to scan
FOR_STEPS = "tg.scan runs a plain step(carry, x)"


def maker(called: str, name: str, value: Any) -> Any:
    """A class or function that makes modules; a module is none, though it can be called."""
    if isinstance(value, Module):
        made = type(value)
        house = made.__module__.startswith(__package__)
        hint = f"{'nn.' * house}{made.__name__} without parentheses?"
        raise DTypeError(called, f"{name}, a class or a function,", "a module", hint)
    example = "nn.Recurrent(nn.LSTMCell, input_size, hidden_size)" if name == "cell" else None
    return function(called, name, value, example)


def refuse_options(layer: type, called: str, cell: Any, options: Iterable[str]) -> None:
    """Name an option that neither a class of layers nor the cell has."""
    own = inspect.signature(layer).parameters.values()
    beside = [p.name for p in own if p.default is not p.empty]
    of_call = inspect.signature(layer.forward).parameters  # type: ignore[attr-defined]

    def hint(name: str) -> str | None:
        belongs = name in OF_SCAN or name in of_call
        return f"it belongs in the call: layer(xs, {name}=…)" if belongs else None

    refuse_unknown(called, cell, options, beside=beside, hint=hint)


def made_cell(called: str, cell: Callable[..., Any], *sizes: int, **options: Any) -> Any:
    """The cell of these sizes; a step(carry, x) given in the place of what makes one is refused."""
    try:
        return cell(*sizes, **options)
    except (AttributeError, TypeError, ValueError) as error:
        if isinstance(cell, type) or _constructs(error):
            raise
        name = getattr(cell, "__name__", type(cell).__name__)
        given = ", ".join(map(str, sizes))
        got = f"{name}({given}), which raises {type(error).__name__}: {error}"
        expected = "cell, a class or a function (input_size, hidden_size) that makes one,"
        raise DTypeError(called, expected, got.partition("\n")[0], FOR_STEPS) from error


def _constructs(error: Exception) -> bool:
    """Whether the error is of something that was being made, so that no step was called."""
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_name == "__init__":
            return True
        trace = trace.tb_next
    return "__init__()" in str(error)


def check_cell(called: str, cell: Any, layer: type) -> None:
    """It must be a module that takes a step, and no `layer`."""
    if not isinstance(cell, Module):
        raise DTypeError(called, "a cell that is a Module", type(cell).__name__, FOR_STEPS)
    if isinstance(cell, layer) or not takes(cell.forward, 2):
        hint = "nn.LSTMCell, not nn.LSTM, if it is that"
        raise DTypeError(called, "a cell with forward(carry, x)", type(cell).__name__, hint)
