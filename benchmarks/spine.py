"""The tape: an LSTM cell in a Python loop, what an operation and a node cost, memory, import.

Each part yields measures; `PARTS` names them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import repeat
from typing import Any

import numpy as np

import tinygrad_rnn as tg

from . import cells, peers
from .measure import Measure, absolute, faster, longer
from .probes import peak_memory
from .processes import fresh
from .timing import Contender, Spread, alternate, compare, spread_of
from .work import Settings, Work

__all__ = ["Measures", "PARTS", "Targets", "against_torch", "race"]

Measures = Iterator[Measure]
Targets = Mapping[tuple[str, str], Mapping[int, float]]  # of two contenders, by hidden size
TAPE_TARGETS: Targets = {
    (cells.OURS, "PyTorch loop"): {32: 1.3, 128: 1.0},
    (cells.OURS, "autograd"): {32: 6.0},
    (cells.OURS, "MyGrad"): {32: 6.0},
}
RECORD_LIMIT, BACKWARD_LIMIT = 1.5, 2.0  # microseconds
IMPORT_LIMIT = 0.15  # seconds


def race(
    part: str, what: str, work: Work, ours: Sequence[Contender], others: Sequence[Contender],
    settings: Settings, targets: Targets,
) -> Measures:  # fmt: skip
    """Each of ours against each of the others: first equal, then timed in turns.

    `targets` holds, by the names of two contenders, how many times faster ours is to be.
    """
    compare([*ours, *others])
    times = alternate([*ours, *others], settings.effort)
    for mine in ours:
        label = what if mine.name == cells.OURS else f"{what}, {mine.name}"
        if not others:
            yield absolute(part, label, str(work.size), times[mine.name])
        for other in others:
            target = targets.get((mine.name, other.name), {}).get(work.size.H)
            yield faster(
                part, label, str(work.size), times[mine.name], other.name, times[other.name], target
            )


# ------------------------------------------------------------------------------------- the loop
def tape(settings: Settings) -> Measures:
    """The same LSTM-cell Python loop on our tape and on the peers'."""
    for size in settings.sizes(0, 2):
        work = Work.draw(size)
        ours = [cells.tape(work), cells.scanned(work, name="as scan", engine="loop")]
        others = peers.build(peers.LOOPS, work, settings)
        title = "LSTM cell in a Python loop"
        yield from race("tape", title, work, ours, others, settings, TAPE_TARGETS)


# --------------------------------------------------------------------------- single operations
def operations(settings: Settings) -> Measures:
    """Microseconds that recording an operation adds to NumPy's own work, on 16 elements."""
    rng = np.random.default_rng(0)
    x, y, w = (rng.standard_normal(shape).astype("f") for shape in ((4, 4), (4, 4), (4, 4)))
    b = w[0].copy()
    everything: dict[str, tuple[Callable[..., Any], Callable[..., Any], Sequence[Any]]] = {
        "add": (np.add, tg.add, (x, y)),
        "mul": (np.multiply, tg.mul, (x, y)),
        "tanh": (np.tanh, tg.tanh, (x,)),
        "exp": (np.exp, tg.exp, (x,)),
        "matmul": (np.matmul, tg.matmul, (x, w)),
        "linear": (lambda x, w, b: np.matmul(x, w.T) + b, tg.linear, (x, w, b)),
        "sum": (np.sum, tg.sum, (x,)),
        "reshape": (lambda x: x.reshape(2, 8), lambda x: x.reshape(2, 8), (x,)),
        "index": (lambda x: x[1], lambda x: x[1], (x,)),
    }
    for name, (numpys, ours, arrays) in everything.items():
        yield _overhead(name, numpys, ours, arrays, settings)


def _overhead(
    name: str, numpys: Callable[..., Any], ours: Callable[..., Any], arrays: Any, settings: Settings
) -> Measure:
    tensors = [tg.tensor(a, requires_grad=True) for a in arrays]
    count = 10 if settings.quick else 2000
    field = [
        Contender("NumPy", _many(numpys, arrays, count), lambda result: {}),
        Contender("ours", _many(ours, tensors, count), lambda result: {}),
    ]
    compare([_once(ours, tensors), _once(numpys, arrays)])
    times = alternate(field, settings.effort_of(0.25))
    theirs, mine = (Spread(*(1e6 * t / count for t in times[c.name])) for c in field)
    extra = Spread(mine.low - theirs.low, mine.median - theirs.median)
    measure = absolute("operations", f"{name}: beyond NumPy", "", extra, "µs", RECORD_LIMIT)
    return measure._replace(ours=mine, against="NumPy", theirs=theirs)


def _many(function: Callable[..., Any], arguments: Sequence[Any], count: int) -> Callable[[], None]:
    def run() -> None:
        for _ in repeat(None, count):
            function(*arguments)

    return run


def _once(function: Callable[..., Any], arguments: Sequence[Any]) -> Contender:
    return Contender(
        function.__name__, lambda: function(*arguments), lambda y: {"y": getattr(y, "array", y)}
    )


def nodes(settings: Settings) -> Measures:
    """Microseconds that backward takes for a node, along chains of one operation on 16 elements."""
    start = np.ones((4, 4), "f")
    length = 10 if settings.quick else 1000
    chains: dict[str, Callable[[Any, Any], Any]] = {
        "add": lambda y, x: y + x,
        "mul": lambda y, x: y * x,
        "tanh": lambda y, x: y.tanh(),
        "matmul": lambda y, x: y @ x,
    }
    for name, link in chains.items():
        libraries = {"ours": lambda: tg.tensor(start * 0.25, requires_grad=True)}
        libraries |= _torch_leaf(start * 0.25, settings)
        times = _backward_times(link, libraries, length, settings)
        measure = absolute(
            "nodes", f"backward of {name}", f"{length} nodes", times["ours"], "µs", BACKWARD_LIMIT
        )
        if "PyTorch" in times:
            measure = measure._replace(against="PyTorch", theirs=times["PyTorch"])
        yield measure


def _torch_leaf(array: Any, settings: Settings) -> dict[str, Callable[[], Any]]:
    try:
        torch = peers.torch_at(settings) if settings.peers else None
    except ImportError:
        return {}
    return {"PyTorch": lambda: torch.tensor(array, requires_grad=True)} if torch else {}


def _backward_times(
    link: Callable[[Any, Any], Any], leaves: Any, length: int, settings: Settings
) -> dict[str, Spread]:
    """Microseconds a node, the libraries in turns; recording is not counted."""
    times: dict[str, list[float]] = {name: [] for name in leaves}
    gradients = []
    for _ in range(2 if settings.quick else 100):
        for name, leaf in leaves.items():
            x = leaf()
            y = x
            for _ in range(length):
                y = link(y, x)
            total = y.sum()
            begin = time.perf_counter()
            total.backward()
            times[name].append(1e6 * (time.perf_counter() - begin) / length)
            gradients.append({"x": x.grad.numpy()})
    compare([Contender("any", lambda g=g: g, lambda g: g) for g in gradients])
    return {name: spread_of(values) for name, values in times.items()}


def chain(settings: Settings) -> Measures:
    """A chain of a million nodes: recorded, differentiated and freed."""
    longest = 1000 if settings.quick else 1_000_000
    libraries = {"ours": lambda: tg.tensor(0.5, requires_grad=True)}
    libraries |= _torch_leaf(np.float32(0.5), settings)
    seconds = {}
    for length in (longest // 10, longest):
        for name, leaf in libraries.items():
            seconds[name, length] = spread_of(
                [_chain_seconds(leaf, length) for _ in range(1 if length == longest else 3)]
            )
        size, mine = f"{length} nodes", seconds["ours", length]
        if ("PyTorch", length) in seconds:
            theirs = seconds["PyTorch", length]
            yield faster("chain", "add, and free", size, mine, "PyTorch", theirs)
        else:
            yield absolute("chain", "add, and free", size, mine)
    yield longer(
        "chain", "ten times the nodes", f"{longest} nodes", seconds["ours", longest],
        "a tenth", seconds["ours", longest // 10], 13.0,
    )  # fmt: skip


def _chain_seconds(leaf: Callable[[], Any], length: int) -> float:
    x = leaf()
    begin = time.perf_counter()
    y = x
    for _ in range(length):
        y = y + x
    y.backward()
    del y
    seconds = time.perf_counter() - begin
    if float(x.grad) != length + 1:
        raise AssertionError(f"the gradient of a chain of {length} additions is {float(x.grad)}")
    return seconds


# ---------------------------------------------------------------------------- memory and import
def memory(settings: Settings) -> Measures:
    """Peak memory of the Python loop, forward and backward."""
    yield from against_torch("memory", "peak of the loop on the tape", "tape", 2, settings)


def against_torch(part: str, what: str, case: str, number: int, settings: Settings) -> Measures:
    """Peak memory of a case beside PyTorch's, each in processes of its own."""
    (size,) = settings.sizes(number)
    mine = peak_memory(case, size, settings)
    if not settings.peers or not _torch_leaf(np.ones(1), settings):
        yield absolute(part, what, str(size), mine, "MB")
        return
    name = {"tape": "PyTorch loop", "layer": "nn.LSTM"}[case]
    yield longer(part, what, str(size), mine, name, peak_memory(name, size, settings), 1.0, "MB")


def imports(settings: Settings) -> Measures:
    """Seconds of `import tinygrad_rnn` in a fresh process, NumPy's own import included."""
    names = ("tinygrad_rnn", "numpy")
    times: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(1 if settings.quick else 15):
        for name in names:
            code = "import time; s = time.perf_counter(); import {}; print(time.perf_counter() - s)"
            times[name].append(fresh(["-c", code.format(name)], {}))
    measure = absolute(
        "imports", "import, NumPy's own included", "", spread_of(times["tinygrad_rnn"]), "s",
        IMPORT_LIMIT,
    )  # fmt: skip
    yield measure._replace(against="NumPy alone", theirs=spread_of(times["numpy"]))


PARTS: dict[str, Callable[[Settings], Measures]] = {
    part.__name__: part for part in (tape, operations, nodes, chain, memory, imports)
}
