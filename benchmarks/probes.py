"""What can only be measured in a fresh process: memory, growth with T, and the first call.

    python -m benchmarks.probes memory tape 64 32 128

prints JSON. Peak memory is the high-water mark of the resident set above what is resident just
before the first step, at which point libraries, parameters and inputs are there and a run of eight
time steps has loaded what loads late (compilers among them, which leave a few steps alone). Every
larger block of the C allocator is mapped and returned by itself, the same for all contenders, so
that nothing freed hides under the mark. Growth counts NumPy's own allocations, by tracemalloc,
beyond inputs and outputs.
"""

from __future__ import annotations

import gc
import json
import sys
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

from .processes import fresh
from .timing import Contender, Spread, spread_of
from .work import Settings, Size, Work

__all__ = ["MODES", "first_calls", "growth_of_memory", "peak_memory"]

ALLOCATOR = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
WARM_UP = 8  # steps
MODES = ("inference", "training", "checkpointing")


# ---------------------------------------------------------------------- asked for from elsewhere
def peak_memory(case: str, size: Size, settings: Settings) -> Spread:
    """MB of a training step of "tape", "layer", "PyTorch loop" or "nn.LSTM"."""
    times = 1 if settings.quick else 3
    return spread_of([_probe("memory", case, *size, variables=ALLOCATOR) for _ in range(times)])


def growth_of_memory(mode: str, B: int, H: int, lengths: list[int]) -> list[float]:
    """MB of peak memory of the LSTM cell in scan, at each number of steps."""
    return _probe("growth", mode, B, H, *lengths)


def first_calls(kind: str, size: Size, settings: Settings) -> Spread:
    """Seconds of the first forward and backward of a layer beyond those of a later one."""
    return spread_of([_probe("first", kind, *size) for _ in range(1 if settings.quick else 3)])


def _probe(name: str, *arguments: Any, variables: dict[str, str] | None = None) -> Any:
    return fresh(["-m", "benchmarks.probes", name, *map(str, arguments)], variables or {})


# -------------------------------------------------------------------------- in the fresh process
def _case(name: str, work: Work) -> Contender:
    from . import cells, peers

    makers: dict[str, Callable[[], Contender]] = {
        "tape": lambda: cells.tape(work),
        "layer": lambda: cells.layer(work),
        "PyTorch loop": lambda: peers.torch_loop(work, Settings()),
        "nn.LSTM": lambda: peers.torch_layer(work, Settings()),
    }
    return makers[name]()


def _memory(case: str, *numbers: str) -> float:
    T, B, H = map(int, numbers)
    work = Work.draw(Size(T, B, H))
    few = min(WARM_UP, T)
    short = work._replace(
        size=Size(few, B, H), xs=work.xs[:few].copy(), cotangent=work.cotangent[:few].copy()
    )
    _case(case, short).run()
    measured = _case(case, work)
    gc.collect()
    _trim()
    before = _resident("VmRSS")
    for _ in range(3):
        measured.run()
    return (_resident("VmHWM") - before) / 1e6


def _trim() -> None:
    """Hand free memory back and put the high-water mark down to what is resident (Linux)."""
    import ctypes

    ctypes.CDLL(None).malloc_trim(0)
    with open("/proc/self/clear_refs", "w", encoding="ascii") as file:
        file.write("5")


def _resident(name: str) -> int:
    with open("/proc/self/status", encoding="ascii") as file:
        line = next(line for line in file if line.startswith(name + ":"))
    return 1024 * int(line.split()[1])


def _growth(mode: str, *numbers: str) -> list[float]:
    B, H, *lengths = map(int, numbers)
    _growth_at(mode, Work.draw(Size(WARM_UP, B, H)))
    tracemalloc.start()
    return [_growth_at(mode, Work.draw(Size(T, B, H))) / 1e6 for T in lengths]


def _growth_at(mode: str, work: Work) -> int:
    import tinygrad_rnn as tg

    from . import cells

    every = {"checkpoint_every": max(1, round(work.size.T**0.5))} if mode == MODES[2] else {}
    _, forward = cells.scan_forward(work, **every)
    cotangent = tg.tensor(work.cotangent)
    before = tracemalloc.get_traced_memory()[0]
    if tracemalloc.is_tracing():
        tracemalloc.reset_peak()
    if mode == MODES[0]:
        with tg.no_grad():
            forward()
    else:
        forward().backward(cotangent)
    return tracemalloc.get_traced_memory()[1] - before - work.xs.nbytes  # ys, as large as xs


def _first(kind: str, *numbers: str) -> float:
    from . import cells

    T, B, H = map(int, numbers)
    run = cells.layer(Work.draw(Size(T, B, H), kind), kind).run
    times = []
    for _ in range(4):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return times[0] - min(times[1:])


PROBES: dict[str, Callable[..., Any]] = {"first": _first, "growth": _growth, "memory": _memory}

if __name__ == "__main__":
    print(json.dumps(PROBES[sys.argv[1]](*sys.argv[2:])))
