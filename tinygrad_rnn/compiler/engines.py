"""The engines by name, and which one "auto" takes."""

from __future__ import annotations

import os
from collections import Counter
from typing import Any

from ..errors import ArgumentError, MissingDependencyError
from ..scan import ENGINES, Problem, asked_engine, register_engine
from .blas import kernels
from .core import Engine
from .layout import is_view
from .llvm_engine import compile_loop as compile_with_kernels
from .llvm_engine import sinks
from .llvm_jit import available, machine
from .native_engine import compile_loop as compile_whole
from .native_engine import keeps
from .native_ragged import compile_packed
from .numpy_block import compile_loop
from .program import Value
from .ragged_engine import compile_packed as in_numpy
from .run import fallbacks, run_compiled
from .workers import threads

__all__ = ["FEW", "NUMPY", "automatic", "choose", "engine_named", "show_config"]

FEW = 4  # steps, below which tracing costs more than it saves
IDLE = "OPENBLAS_THREAD_TIMEOUT"  # for how many ticks, 2 to this, a thread waits busily
LARGE = 4096  # elements from which a cheap operation is better done in the loop, while in cache


def _numpy_sinks(value: Value) -> bool:
    if is_view(value):
        return True
    return value.op is not None and value.op.form == "elementwise" and value.size >= LARGE


NUMPY = Engine("numpy", compile_loop, _numpy_sinks, False, packed=in_numpy, factors=True)
LLVM = Engine("llvm", compile_with_kernels, sinks, True, exact=True)
NATIVE = Engine("native", compile_whole, sinks, True, keeps, compile_packed, exact=True)


def _run_numpy(problem: Problem) -> tuple[Any, Any]:
    return run_compiled(problem, NUMPY)


def _run_llvm(problem: Problem) -> tuple[Any, Any]:
    return run_compiled(problem, _available(LLVM))


def _run_native(problem: Problem) -> tuple[Any, Any]:
    return run_compiled(problem, _available(NATIVE))


def _available(engine: Engine) -> Engine:
    if engine is not NUMPY and not available():
        raise MissingDependencyError(
            f'engine "{engine.name}"',
            "the package llvmlite",
            "none",
            'pip install "tinygrad-rnn[jit]"',
        )
    return engine


def choose(problem: Problem) -> str:
    """What "auto" takes; a few steps are over before a compiled loop has begun."""
    return "loop" if problem.length < FEW else _best()


def _best() -> str:
    return "native" if available() else "numpy"


register_engine("numpy", _run_numpy)
register_engine("llvm", _run_llvm)
register_engine("native", _run_native, choose)


def automatic() -> tuple[str, str]:
    """What "auto" takes for all but a few steps, and where that is said if it is not here.

    Raises:
        ArgumentError: the environment names an engine that there is not.
    """
    name, source = asked_engine()
    return (_best() if name == "auto" else name), source


def engine_named(name: str) -> Engine | None:
    """The engine of the compiler that has this name.

    Raises:
        MissingDependencyError: it needs what is not installed.
    """
    found = {e.name: e for e in (NUMPY, LLVM, NATIVE)}.get(name)
    return found and _available(found)


def show_config() -> str:
    """Engines, the one "auto" takes, the kernels of the BLAS, why the last 1000 fell back."""
    lines = [f"engines: {', '.join(sorted(ENGINES))}"]
    lines += [f"auto: {_active()}", f"BLAS kernels: {kernels()}"]
    if available() and machine().vector == 64 and kernels() in ("Haswell", "Zen"):
        lines.append(
            "hint: this processor has AVX-512 and OpenBLAS does not use it; start Python with "
            "OPENBLAS_CORETYPE=SkylakeX for products up to twice as fast"
        )
    if kernels() != "unknown" and threads() > 1 and IDLE not in os.environ:
        lines.append(
            "hint: OpenBLAS's idle threads stay busy for a while and take cores from compiled "
            f"loops; import tinygrad_rnn before numpy, or start Python with {IDLE}=18"
        )
    for reason, times in Counter(fallbacks).items():
        often = f" ({times} times)" if times > 1 else ""
        lines.append(f"fell back to the loop: {_on_one_line(reason)}{often}")
    return "\n".join(lines)


def _active() -> str:
    """What "auto" takes, or why it cannot take anything."""
    try:
        name, source = automatic()
        engine_named(name)
    except (ArgumentError, MissingDependencyError) as error:
        return f"nothing ({_on_one_line(str(error))})"
    return f"{name} ({source.split()[-1]})" if source else name


def _on_one_line(text: str) -> str:
    return "; ".join(text.splitlines())
