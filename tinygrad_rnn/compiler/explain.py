"""explain: everything the compiler does with a step, to be read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..tensor import as_tensor
from ..tree import tree_map
from .backward import Backward
from .core import Core, Engine
from .cut import Cut
from .engines import engine_named
from .labels import Watched, watched
from .program import Refused
from .rowwise import one_row
from .step import CARRY, Step, classes
from .structures import compile_step
from .textbook import written

__all__ = ["explain"]


def explain(step: Callable[..., Any], init: Any, xs: Any, engine: str = "auto") -> str:
    """What `scan(step, init, xs)` is compiled to, as text.

    The program before and after each pass; what leaves the loop; the equations of the forward and
    the backward pass, in plain text and in LaTeX; kernels; floating-point operations and bytes. If
    the loop runs the step instead, the reason.

    >>> import tinygrad_rnn as tg
    >>> w = tg.eye(3)
    >>> text = explain(lambda h, x: ((h @ w + x).tanh(),) * 2, tg.zeros(2, 3), tg.zeros(5, 2, 3))
    >>> "δ" in text
    True
    """
    init, xs = tree_map(as_tensor, init), tree_map(as_tensor, xs)
    chosen = engine_named(engine)
    try:
        traced = watched(step, init, xs)
        inputs = [v for v in traced.values if v.op is None]
        compiled = compile_step(Step(inputs, traced.carries, traced.outputs), chosen)
    except Refused as refusal:
        return f"run by the loop: {refusal.reason}\n"
    except Exception as error:
        return f"run by the loop: {type(error).__name__} while tracing: {error}\n"
    parts = [f"engine: {chosen.name}"]
    before = ""
    for name, program in compiled.history:
        text = str(program)
        parts.append(f"--- after {name}\n{'  unchanged' if text == before else text}")
        before = text
    parts += _hoisted(compiled.core.cut)
    parts.append(_options(compiled.history[0][1], chosen))
    try:
        parts += _equations(traced)
        parts += _passes(compiled.core)
    except Refused as refusal:
        parts.append(f"where gradients are wanted it is run by the loop: {refusal.reason}")
    return "\n\n".join(parts) + "\n"


# --------------------------------------------------------------------------------------- sections
def _options(step: Step, engine: Engine) -> str:
    """What becomes of calls that ask for more."""
    try:
        one_row(step)
        rows = "packed" if engine.packed is not None else "masked, as this engine does always"
    except Refused as refusal:
        rows = f"masked ({refusal.reason})"
    return f"--- with options\n  lengths: rows are {rows}\n  forward mode (jvp): run by the loop"


def _hoisted(cut: Cut) -> list[str]:
    lines = ["--- what leaves the loop"]
    for title, values in (("before", cut.before), ("after", cut.after)):
        lines += [f"  {title}: {v!r} = {v.name} {v.label}".rstrip() for v in values]
    whole = cut.whole
    found = classes([*(b for b, _ in whole.carries), *whole.stacked, *whole.constant, *whole.body])
    free = [v for v in cut.loop.body if v.name == "matmul" and not found[v] & CARRY]
    lines += [f"  stays, being quicker there: {v!r} = {v.name} {v.label}".rstrip() for v in free]
    lines += [f"  {len(cut.loop.body)} operations stay"]
    lines += ["  backward: the gradients of what is the same in every step, as sums over the steps"]
    return ["\n".join(lines)]


def _everything(core: Core) -> tuple[tuple[bool, ...], tuple[bool, ...]]:
    """The flags of all gradients, and of all that may have a cotangent."""
    whole = core.cut.whole
    inputs = [*(b for b, _ in whole.carries), *whole.stacked, *whole.constant]
    return tuple([v.dtype.kind == "f" for v in inputs]), (True,) * len(whole.exports)


def _passes(core: Core) -> list[str]:
    wanted, arriving = _everything(core)
    way = core.way(wanted)
    assert way.full is not None
    back = core.backward(wanted, arriving).runner
    parts = [f"--- the loop forward\n{way.forward.runner.source}"]
    parts.append(f"--- the loop backward\n{back.source}")
    for title, runner in (("forward", way.forward.runner), ("backward", back)):
        kernels = getattr(runner, "listings", [])
        parts += [f"--- kernel {title}\n{text}" for text in kernels]
    return [*parts, _costs(core, way.full)]


def _equations(traced: Watched) -> list[str]:
    book, parts = written(traced), []
    plain, latex = book.equations(), book.equations(latex=True)
    for title in ("forward", "backward"):
        for lines, more in ((plain, False), (latex, True)):
            parts.append(f"--- equations, {title}{_set(getattr(lines, title), more)}")
    return [*parts, "--- signs\n" + "\n".join(f"  {line}" for line in plain.legend)]


def _set(lines: list[str], latex: bool) -> str:
    if not latex:
        return "\n" + "\n".join(f"  {line}" for line in lines)
    body = " \\\\\n".join(f"  {line}" for line in lines)
    return f" (LaTeX)\n\\begin{{align}}\n{body}\n\\end{{align}}"


# ------------------------------------------------------------------------------------------ costs
def _costs(core: Core, back: Backward) -> str:
    lines = ["--- costs of a step"]
    for title, values in (("forward", core.cut.loop.body), ("backward", back.loop.body)):
        products = sum(2 * v.size * v.args[0].shape[-1] for v in values if v.name == "matmul")
        other = sum(v.size for v in values if v.name != "matmul")
        lines.append(f"  {title}: {products} flop in products, {other} elements in the rest")
    kept = sum(v.size * v.dtype.itemsize for v in back.saved)
    lines.append(f"  kept for backward: {kept} bytes in {len(back.saved)} arrays")
    return "\n".join(lines)
