"""The engines by name, and which one "auto" takes."""

from __future__ import annotations

from typing import Any

from ..errors import MissingDependencyError
from ..scan import ENGINES, Problem, register_engine
from .core import Engine
from .layout import is_view
from .llvm_engine import compile_loop as compile_with_kernels
from .llvm_engine import sinks
from .llvm_kernels import available
from .numpy_engine import compile_loop
from .program import Value
from .run import fallbacks, run_compiled

__all__ = ["NUMPY", "choose", "engine_named", "show_config"]

LARGE = 4096  # elements from which a cheap operation is better done in the loop, while in cache


def _numpy_sinks(value: Value) -> bool:
    if is_view(value):
        return True
    return value.op is not None and value.op.form == "elementwise" and value.size >= LARGE


NUMPY = Engine("numpy", compile_loop, _numpy_sinks, False)
LLVM = Engine("llvm", compile_with_kernels, sinks, True)


def _run_numpy(problem: Problem) -> tuple[Any, Any]:
    return run_compiled(problem, NUMPY)


def _run_llvm(problem: Problem) -> tuple[Any, Any]:
    if not available():
        raise MissingDependencyError(
            'engine "llvm"', "the package llvmlite", "none", 'pip install "tinygrad-rnn[jit]"'
        )
    return run_compiled(problem, LLVM)


def choose(problem: Problem) -> str:
    """What "auto" takes."""
    return "llvm" if available() else "numpy"


register_engine("numpy", _run_numpy)
register_engine("llvm", _run_llvm, choose)


def engine_named(name: str, problem: Problem) -> Engine:
    """The engine of a name, or the one "auto" takes."""
    return {"numpy": NUMPY, "llvm": LLVM}.get(choose(problem) if name == "auto" else name, NUMPY)


def show_config() -> str:
    """Which engines there are, which one "auto" takes, and why the last calls fell back."""
    lines = [
        f"engines: {', '.join(sorted(ENGINES))}",
        f"auto: {'llvm' if available() else 'numpy'}",
    ]
    lines += [f"fell back to the loop: {reason}" for reason in fallbacks]
    return "\n".join(lines)
