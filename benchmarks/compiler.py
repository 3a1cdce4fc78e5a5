"""The loop compiler: layers and cells in scan, beside the peers' fused and looped ones.

Each part yields measures; `PARTS` names them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

import tinygrad_rnn as tg
from tinygrad_rnn.compiler.engines import FEW

from . import cells, model, peers
from .measure import Measure, absolute, faster, longer
from .probes import MODES, first_calls, growth_of_memory
from .spine import Measures, Targets, against_torch, race
from .timing import Contender, Spread, alternate, compare, compare_rounding
from .work import SIZES, Settings, Size, Work

__all__ = ["PARTS"]

NUMPY = "numpy engine"
EVERYWHERE = {size.H: 1.0 for size in SIZES}
LAYER_TARGETS: Targets = {
    (cells.OURS, "nn.LSTM"): EVERYWHERE | {32: 1.5},
    (cells.OURS, "nn.GRU"): EVERYWHERE | {32: 5.0, 128: 1.4},
    (cells.OURS, "nn.RNN"): EVERYWHERE | {32: 4.0, 128: 1.5},
    (NUMPY, "nn.LSTM"): {size.H: 0.6 for size in SIZES},
}
CELL_TARGETS: Targets = {
    (cells.OURS, "PyTorch loop"): {32: 7.0, 128: 1.4},
    (cells.OURS, "torch.compile"): {32: 10.0, 128: 1.7},
    (cells.OURS, "JAX scan"): {32: 1.6, 128: 1.2},
}
OWN_LIMIT, VARIANT_LIMIT, PADDED_LIMIT = 1.03, 1.3, 1.1
PEAK_SHARE, MODEL_TARGET = 0.85, 1.2
FIRST_LIMIT, CALL_LIMIT = 0.3, 0.15  # s, ms


def _ours(make: Callable[..., Contender], settings: Settings, *engines: str) -> list[Contender]:
    """Ours as `auto` runs it, on further engines, and on the loop where nobody else is."""
    further = [engine for engine in engines if engine in cells.engines()]
    further += [] if settings.peers else ["loop"]
    return [make(), *(make(name=f"{engine} engine", engine=engine) for engine in further)]


# ------------------------------------------------------------------------------ against the peers
def layers(settings: Settings) -> Measures:
    """nn.LSTM, nn.GRU, nn.RNN against PyTorch's."""
    for kind in ("LSTM", "GRU", "RNN"):
        for size in settings.sizes():
            yield from _layer(kind, Work.draw(size, kind), settings)
    for size in settings.sizes(0, 2, 3):
        yield from _layer("LSTM", Work.draw(size), settings, xs_too=True)


def _layer(kind: str, work: Work, settings: Settings, xs_too: bool = False) -> Measures:
    ours = _ours(partial(cells.layer, work, kind, xs_too=xs_too), settings, "numpy")
    others = peers.build([partial(peers.torch_layer, kind=kind, xs_too=xs_too)], work, settings)
    title = f"{kind} with a gradient for its inputs" if xs_too else kind
    targets = {} if xs_too else LAYER_TARGETS
    yield from race("layers", title, work, ours, others, settings, targets)


def cell(settings: Settings) -> Measures:
    """A user's own LSTM cell in scan against the same cell looped or compiled elsewhere."""
    compiled = (peers.torch_loop, peers.torch_compiled, peers.jax_scan)
    for size in settings.sizes():
        work = Work.draw(size)
        makers = compiled if size.H > 256 else (*compiled, peers.autograd_loop, peers.mygrad_loop)
        ours = _ours(partial(cells.scanned, work), settings)
        others = peers.build(makers, work, settings)
        yield from race("cell", "own LSTM cell", work, ours, others, settings, CELL_TARGETS)


def character_model(settings: Settings) -> Measures:
    """A whole training step: embedding, 2×LSTM 256, output, loss, clip, Adam."""
    corpus = model.Corpus.draw(settings.quick)
    step, trained = model.ours(corpus)
    field, reads = {cells.OURS: step}, [model.repeated(cells.OURS, step, trained)]
    for build in [model.pytorch] if settings.peers else []:
        try:
            field["PyTorch"], other = build(corpus, settings)
        except ImportError:
            continue
        reads.append(model.repeated("PyTorch", field["PyTorch"], other))
    compare(reads, tolerance=1e-3)
    times = alternate([Contender(n, s, lambda _: {}) for n, s in field.items()], settings.effort)
    T, B = corpus.symbols[1:].shape
    line = ("character_model", "training step", f"{T}, {B}, {corpus.H}", times[cells.OURS])
    if "PyTorch" in times:
        yield faster(*line, "PyTorch", times["PyTorch"], MODEL_TARGET)
    else:
        yield absolute(*line)


# ------------------------------------------------------------------------------ ours against ours
def own(settings: Settings) -> Measures:
    """A user's LSTM cell in nn.Recurrent against nn.LSTM: they are the same path."""
    for size in settings.sizes(0, 1, 2, 3):
        work = Work.draw(size)
        field = [cells.own_layer(work), cells.layer(work)]
        compare(field)
        times = alternate(field, settings.effort)
        mine, builtin = (times[c.name] for c in field)
        yield longer("own", "own LSTM cell", str(size), mine, "our nn.LSTM", builtin, OWN_LIMIT)


def variants(settings: Settings) -> Measures:
    """Other cells against the plain LSTM; the error of each is first compared with the loop's."""
    for size in settings.sizes(0, 2, 3):
        work = Work.draw(size)
        for make in (*cells.CELLS.values(), cells.keeping_none):
            loop, exact = (
                cells.scanned(each, make, name, engine="loop")
                for each, name in ((work, "the loop"), (work.in_double(), "the loop in float64"))
            )
            compare_rounding(cells.scanned(work, make), loop, exact)
        makers = cells.CELLS | {"zoneout LSTM": cells.zoneout}
        field = [cells.scanned(work, make, name) for name, make in makers.items()]
        times = alternate(field, settings.effort)
        plain = times.pop("LSTM")
        for name, spread in times.items():
            yield longer("variants", name, str(size), spread, "plain LSTM", plain, VARIANT_LIMIT)


def lengths(settings: Settings) -> Measures:
    """Rows of unequal length against no lengths, compared with the loop engine first."""
    for size in settings.sizes(0, 2, 3):
        work, (T, B, _) = Work.draw(size), size
        cases = {
            "lengths, all T": (np.full(B, T), PADDED_LIMIT),
            "lengths 1 … T": (np.linspace(1, T, B).round().astype(int), PADDED_LIMIT),
            "lengths, all T/2": (np.full(B, max(1, T // 2)), 1.0),
        }
        field = [cells.scanned(work, name="none")]
        for name, (numbers, _limit) in cases.items():
            field.append(cells.scanned(work, name=name, lengths=numbers))
            compare([field[-1], cells.scanned(work, engine="loop", lengths=numbers)])
        times = alternate(field, settings.effort)
        for name, (_numbers, limit) in cases.items():
            yield longer("lengths", name, str(size), times[name], "none", times["none"], limit)


# ------------------------------------------------------------------------- against the machine
def peak(settings: Settings) -> Measures:
    """The share of the machine's matrix-product speed that an LSTM layer reaches."""
    width = 16 if settings.quick else 1536
    for size in settings.sizes(3, 4):
        work = Work.draw(size)
        field = [
            cells.layer(work),
            Contender("one product", _square(width), lambda _: {}),
            Contender("its products", _products(work), lambda _: {}),
        ]
        times = alternate(field, settings.effort)
        mine, one = times[cells.OURS], times["one product"]
        scale = _flops(size) / (2 * width**3)
        share = Spread(scale * one.low / mine.low, scale * one.median / mine.median)
        title = f"share of the speed of a {width}² product"
        yield absolute("peak", title, str(size), share, "", PEAK_SHARE, ">=")
        bare = times["its products"]
        yield longer("peak", "its products alone", str(size), mine, "bare np.matmul", bare)


def _square(width: int) -> Callable[[], Any]:
    """One large product, where a BLAS is at its best."""
    factor = np.ones((width, width), "f")
    return partial(np.matmul, factor, factor, out=np.empty_like(factor))


def _flops(size: Size) -> int:
    """Of the products: W_ih x and W_hh h forward, W_hhᵀ back, and two gradients of weights."""
    T, B, H = size
    return 5 * 2 * T * B * H * 4 * H


def _products(work: Work) -> Callable[[], None]:
    """The matrix products that an LSTM layer cannot do without, and nothing else."""
    T, B, H = work.size
    rows, gates = work.xs.reshape(-1, H), np.empty((T, B, 4 * H), "f")
    weight = work.parameters["weight_ih"]
    transposed, state = np.ascontiguousarray(weight.T), np.empty((B, H), "f")
    gradient = np.empty_like(weight)

    def run() -> None:
        flat = gates.reshape(-1, 4 * H)
        np.matmul(rows, transposed, out=flat)
        for t in range(T):
            np.matmul(work.xs[t], transposed, out=gates[t])
        for t in range(T):
            np.matmul(gates[t], weight, out=state)
        for _ in range(2):
            np.matmul(flat.T, rows, out=gradient)

    return run


def calls(settings: Settings) -> Measures:
    """The first call, and what a later one costs beside the steps of the loop."""
    for size in settings.sizes():
        for kind in ("LSTM", "GRU"):
            first = first_calls(kind, size, settings)
            yield absolute("calls", f"first call, {kind}", str(size), first, "s", FIRST_LIMIT)
    yield from _smallest_call(settings)
    for size in settings.sizes():
        yield _intercept(size, settings)


def _smallest_call(settings: Settings) -> Measures:
    """With B = H = 1 and the fewest steps that are compiled there is nothing but overhead."""
    size = Size(FEW, 1, 1)
    work = Work.draw(size)
    _, forward = cells.scan_forward(work)

    def inference() -> Any:
        with tg.no_grad():
            return forward()

    both = cells.layer(work, name="layer, forward and backward")
    field = [both, Contender("scan under no_grad", inference, lambda _: {})]
    for name, spread in alternate(field, settings.effort).items():
        yield absolute("calls", f"later call, {name}", str(size), _ms(spread), "ms", CALL_LIMIT)


def _intercept(size: Size, settings: Settings) -> Measure:
    """2 t(2) − t(4): a call without its steps, work on whole weights included."""
    _, B, H = size
    field = [cells.layer(Work.draw(Size(T, B, H)), name=str(T)) for T in (2, 4)]
    times = alternate(field, settings.effort_of(0.5))
    low, median = (2 * a - b for a, b in zip(times["2"], times["4"], strict=True))
    return absolute(
        "calls", "what does not grow with T", f"{B}, {H}",
        _ms(Spread(low, median)), "ms",
    )  # fmt: skip


def _ms(spread: Spread) -> Spread:
    return Spread(*(1e3 * seconds for seconds in spread))


# ------------------------------------------------------------------------------------- growth
def growth(settings: Settings) -> Measures:
    """Time and peak memory against T; the figure held to a target is the exponent of T."""
    B, H = (2, 4) if settings.quick else (4, 32)
    times = [4, 8, 16] if settings.quick else [100, 1000, 10_000, 100_000]
    field = [cells.layer(Work.draw(Size(T, B, H)), name=str(T)) for T in times]
    seconds = alternate(field, settings.effort)
    for T in times:
        micro = Spread(*(1e6 * s / T for s in seconds[str(T)]))
        yield absolute("growth", "time of a step", f"{T}, {B}, {H}", micro, "µs")
    slope = Spread(*(_exponent(times, [seconds[str(T)][k] for T in times]) for k in range(2)))
    yield absolute("growth", "time ∝ T^", f"B, H = {B}, {H}", slope, "", 1.1)
    for mode, limit in zip(MODES, (0.1, 1.1, 0.6), strict=True):
        yield from _memory_growth(mode, B, H, times, limit)


def _memory_growth(mode: str, B: int, H: int, times: list[int], limit: float) -> Measures:
    megabytes = growth_of_memory(mode, B, H, times)
    for T, peak_mb in zip(times, megabytes, strict=True):
        yield absolute(
            "growth", f"peak memory, {mode}", f"{T}, {B}, {H}", Spread(peak_mb, peak_mb), "MB"
        )
    slope = _exponent(times[1:], [max(m, 0.01) for m in megabytes[1:]])
    yield absolute(
        "growth", f"memory of {mode} ∝ T^", f"B, H = {B}, {H}", Spread(slope, slope), "", limit
    )


def _exponent(xs: list[int], ys: list[float]) -> float:
    """The slope of log y against log x."""
    return float(np.polyfit(np.log(xs), np.log(ys), 1)[0])


def footprint(settings: Settings) -> Measures:
    """Peak memory of a layer, forward and backward, against nn.LSTM."""
    for number in (2, 4):
        yield from against_torch("footprint", "LSTM layer", "layer", number, settings)


PARTS: dict[str, Callable[[Settings], Measures]] = {
    part.__name__: part
    for part in (
        layers, cell, character_model, own, variants, lengths, peak, calls, growth, footprint
    )
}  # fmt: skip
