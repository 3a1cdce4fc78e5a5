"""Time a training step of an LSTM on host and GPU: forward, backward, Adam; float32.

Legend: T time steps, B batch, H hidden size, which is the input size too.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np

import tinygrad_rnn as tg
from tinygrad_rnn.errors import TinygradRNNError

SIZES = ((32, 16, 32), (64, 32, 128), (64, 64, 256), (100, 64, 512), (100, 256, 1024))


def main(arguments: list[str] | None = None) -> int:
    """Say what is there, or print a table of milliseconds; 1 if a device is missing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--devices", default="cpu,cuda", help="names with commas between")
    parser.add_argument("--sizes", type=int, default=len(SIZES), help="how many, from the smallest")
    parser.add_argument("--repeats", type=int, default=5, help="steps, of which the best counts")
    parser.add_argument("--say-what-is-there", action="store_true", help="the GPU, and no times")
    options = parser.parse_args(arguments)
    devices = options.devices.split(",")
    try:
        for device in devices:
            tg.zeros(1, device=device)
    except TinygradRNNError as error:
        print(error)
        return 1
    if options.say_what_is_there:
        print(description())
        return 0
    print(f"{'T, B, H':>15}" + "".join(f"{device + ' ms':>12}" for device in devices))
    for size in SIZES[: options.sizes]:
        times = [best(training_step(*size, device), options.repeats) for device in devices]
        row = ", ".join(map(str, size))
        print(f"{row:>15}" + "".join(f"{1e3 * seconds:12.2f}" for seconds in times), flush=True)
    return 0


def description() -> str:
    """The GPU and the versions, in CuPy's words."""
    import cupy

    properties = cupy.cuda.runtime.getDeviceProperties(0)
    runtime, driver = cupy.cuda.runtime.runtimeGetVersion(), cupy.cuda.runtime.driverGetVersion()
    name = properties["name"].decode()
    return f"{name}; CuPy {cupy.__version__}, CUDA runtime {runtime}, driver {driver}"


def training_step(T: int, B: int, H: int, device: str) -> Callable[[], float]:
    """One step; that it returns the loss makes the host wait for the device."""
    tg.manual_seed(0)
    layer = tg.nn.LSTM(H, H, device=device)
    optimizer = tg.optim.Adam(layer.parameters())
    xs = tg.tensor(np.random.default_rng(0).normal(size=(T, B, H)).astype("float32"), device=device)

    def step() -> float:
        optimizer.zero_grad()
        output, _ = layer(xs)
        loss = (output * output).mean()
        loss.backward()
        optimizer.step()
        found: float = loss.item()
        return found

    return step


def best(step: Callable[[], float], repeats: int) -> float:
    """The shortest of some steps after one that warms up, in seconds."""
    step()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
    return min(times)


if __name__ == "__main__":
    raise SystemExit(main())
