"""Steps in which no row of the batch looks at another, rewritten for another number of rows.

Axis 0 of the carry and of each input is the batch. Where every operation keeps rows apart, a step
over B rows is the same program as one over a single row, done B times; so it can be run on rows
that are packed in any way. What mixes rows (a mean over the batch) or has none is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .cut import Loop
from .program import Graph, Refused, Value, ancestors
from .step import Step

__all__ = ["SYMBOLIC", "keeps_rows", "one_row", "with_rows"]

SYMBOLIC = 8  # rows of a loop whose real number is known when it is run
Change = Callable[[Value, int], dict[str, Any]]
REFUSAL = "rows of the batch that depend on each other"


# ------------------------------------------------------------------- what operations keep apart
def _no_first(value: Value, rows: int) -> dict[str, Any]:
    if 0 in value.params["dims"]:
        raise Refused(REFUSAL)
    return value.params


def _other_dim(value: Value, rows: int) -> dict[str, Any]:
    if value.params["dim"] == 0:
        raise Refused(REFUSAL)
    return value.params


def _first_stays(value: Value, rows: int) -> dict[str, Any]:
    if value.params["dims"][0] != 0:
        raise Refused(REFUSAL)
    return value.params


def _same(value: Value, rows: int) -> dict[str, Any]:
    return value.params


def _shape(value: Value, rows: int) -> dict[str, Any]:
    source = value.inputs[0]
    if not value.shape or value.shape[0] != source.shape[0]:
        raise Refused(REFUSAL)
    if value.name == "expand" and len(value.shape) != len(source.shape):
        raise Refused(REFUSAL)
    return {**value.params, "shape": (rows, *value.shape[1:])}


def _whole(key: Any, size: int) -> Any:
    """The key, if it takes all rows."""
    items = key if type(key) is tuple else (key,)
    first = items[0] if items else slice(None)
    if first is Ellipsis:
        return key
    if type(first) is not slice or first.indices(size) != (0, size, 1):
        raise Refused(REFUSAL)
    return (slice(None), *items[1:])


def _slice(value: Value, rows: int) -> dict[str, Any]:
    source = value.inputs[0]
    key = value.params["key"]
    items = key if type(key) is tuple else (key,)
    if Ellipsis in items and len(items) > len(source.shape):
        raise Refused(REFUSAL)  # … stands for no axis: the next item is of the rows
    return {"key": _whole(key, source.shape[0]), "span": None}


def _assemble(value: Value, rows: int) -> dict[str, Any]:
    size = value.shape[0]
    keys = tuple([_whole(key, size) for key in value.params["keys"]])
    return {**value.params, "keys": keys, "shape": (rows, *value.params["shape"][1:])}


def _pad(value: Value, rows: int) -> dict[str, Any]:
    if value.params["widths"][0] != (0, 0):
        raise Refused(REFUSAL)
    return value.params


_RULES: dict[str, Change] = {
    **dict.fromkeys(("sum", "amax", "amin", "logsumexp", "flip", "any", "all"), _no_first),
    **dict.fromkeys(("cumsum", "cat", "stack"), _other_dim),
    **dict.fromkeys(("clone", "cast", "alias", "detach"), _same),
    **dict.fromkeys(("reshape", "expand"), _shape),
    "permute": _first_stays, "slice": _slice, "assemble": _assemble, "pad": _pad,
}  # fmt: skip


def _params(value: Value, rowed: set[Value], rows: int) -> dict[str, Any]:
    """The parameters of a value with rows, for this number of them; Refused if rows are mixed."""
    has = [a in rowed for a in value.inputs]
    rank = len(value.shape)
    if value.name == "matmul":
        left, right = (len(a.shape) for a in value.inputs)
        plain = has == [True, False] and left >= 2 and right == 2
        if not plain and not (has == [True, True] and left == right and left >= 3):
            raise Refused(REFUSAL)
        return value.params
    rule = _RULES.get(value.name)
    elementwise = value.op is not None and value.op.form == "elementwise"
    if rule is not None and not elementwise:
        if not all(has):
            raise Refused(REFUSAL)
        return rule(value, rows)
    if not elementwise and value.name not in COMPARISONS:
        raise Refused(f"{value.name}, which may depend on other rows")
    if any(h and len(a.shape) != rank for a, h in zip(value.inputs, has, strict=True)):
        raise Refused(REFUSAL)
    return value.params


COMPARISONS = frozenset((
    "eq", "ne", "lt", "le", "gt", "ge", "logical_and", "logical_or", "logical_not",
    "isnan", "isinf", "isfinite",
))  # fmt: skip


def keeps_rows(value: Value) -> bool:
    """Whether an operation on values with rows keeps them apart; those of lower rank have none."""
    elementwise = value.op is not None and value.op.form == "elementwise"
    rowed = {a for a in value.inputs if a.shape and not (elementwise and _lower(a, value))}
    if not rowed:
        return False
    try:
        _params(value, rowed, 1)
    except Refused:
        return False
    return True


def _lower(arg: Value, value: Value) -> bool:
    return len(arg.shape) < len(value.shape)


# --------------------------------------------------------------------------- a step for one row
def one_row(step: Step) -> Step:
    """The step for a single row; inputs that have one for each row are then of kind "x".

    Raises:
        Refused: rows depend on each other, or something has none.
    """
    rowed = {v for v in step.inputs if v.kind in ("carry", "x")}
    batch = next(iter(step.before[0].shape), 0)
    if batch < 2 or any(not v.shape or v.shape[0] != batch for v in rowed):
        raise Refused("inputs without rows")
    rowed |= _with_rows_too(step, rowed, batch)
    if any(v.kind.startswith("random") and v not in rowed for v in step.inputs):
        raise Refused("random numbers that are the same for all rows")
    return _rewritten(step, rowed)


def _with_rows_too(step: Step, given: set[Value], batch: int) -> set[Value]:
    """Captured tensors and random numbers that meet rows element by element."""
    lifted: set[Value] = set()
    while True:
        before = len(lifted)
        rowed = given | lifted
        for value in step.values:
            if any(a in rowed for a in value.inputs):
                rowed.add(value)
                for arg in value.inputs:
                    if arg not in rowed and _meets(arg, value, batch):
                        lifted |= _sources(arg)
        lifted |= {
            v for v in (*step.outputs, *step.carries)
            if v not in rowed and v.op is None and v.shape[:1] == (batch,)
        }  # fmt: skip
        if len(lifted) == before:
            return lifted


def _meets(arg: Value, value: Value, batch: int) -> bool:
    """Whether something must have rows, because it is combined with what has them."""
    if len(arg.shape) != len(value.shape) or arg.shape[0] != batch:
        return False
    return value.name != "matmul" or len(arg.shape) > 2


def _sources(value: Value) -> set[Value]:
    """The inputs of as many rows from which a value is made."""
    leaves = {v for v in ancestors([value]) if v.op is None}
    return {v for v in leaves if v.shape[:1] == value.shape[:1]}


def _rewritten(step: Step, rowed: set[Value]) -> Step:
    graph = Graph()
    new: dict[Value, Value] = {}
    for v in step.inputs:
        lifted = v in rowed and v.kind not in ("carry", "x")
        kind = f"x {v.kind.split()[0]}" if lifted else v.kind
        shape = (1, *v.shape[1:]) if v in rowed else v.shape
        new[v] = graph.input(kind, shape, v.dtype)
        new[v].label = v.label
    _rewrite_values([v for v in step.values if v.op is not None], graph, new, rowed, 1)
    if any(v not in rowed for v in (*step.carries, *step.outputs)):
        raise Refused("outputs without rows")
    ends = [[new[v] for v in values] for values in (step.inputs, step.carries, step.outputs)]
    return Step(*ends)


def _rewrite_values(
    values: list[Value], graph: Graph, new: dict[Value, Value], rowed: set[Value], rows: int
) -> None:
    """Make `values` again with so many rows, into `new`; `rowed` grows by those that have rows."""
    for value in values:
        assert value.op is not None
        args = tuple([new[a] if type(a) is Value else a for a in value.args])
        if not any(a in rowed for a in value.inputs):
            new[value] = graph.record(value.op, args, value.params)
            continue
        params = _params(value, rowed, rows)
        made = graph.copied(args[0]) if value.name == "clone" else graph.record(
            value.op, args, params
        )  # fmt: skip
        if made.shape != (rows, *value.shape[1:]) or made.dtype != value.dtype:
            raise Refused(REFUSAL)
        new[value] = made
        rowed.add(value)


# ------------------------------------------------------------------------ a loop for many rows
def with_rows(loop: Loop) -> Loop:
    """A loop over one row as a loop over `SYMBOLIC` rows; a carry that is exported is copied."""
    graph = Graph()
    rowed = {*(before for before, _ in loop.carries), *loop.stacked}
    new: dict[Value, Value] = {}
    kinds = [*((b, "carry") for b, _ in loop.carries), *((v, "stacked") for v in loop.stacked)]
    for value, kind in kinds:
        if value.shape[:1] != (1,):
            raise Refused("a stacked value without rows")
        new[value] = graph.input(kind, (SYMBOLIC, *value.shape[1:]), value.dtype)
    for value in loop.constant:
        new[value] = graph.input("constant", value.shape, value.dtype)
    _rewrite_values(loop.body, graph, new, rowed, SYMBOLIC)
    if any(v not in rowed for v in (*loop.body, *loop.exports)):
        raise Refused("a value of the loop without rows")
    body = [new[v] for v in loop.body]
    carries = []
    for before, after in loop.carries:
        end = new[after]
        if after in loop.exports:
            end = graph.copied(end)
            body.append(end)
        carries.append((new[before], end))
    return Loop(
        carries, [new[v] for v in loop.stacked], [new[v] for v in loop.constant],
        body, [new[v] for v in loop.exports],
    ).checked()  # fmt: skip
