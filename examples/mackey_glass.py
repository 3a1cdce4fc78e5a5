"""A chaotic series, run freely for 84 steps: a NARX network trained by L-BFGS.

ŷ(t+1) = y(t) + c·tanh(A [y(t−19) … y(t)] + b) + d is taught one step at a time with the true past,
then through its own outputs, fed back. NRMSE84: the error of the 84th free step over the deviation
of the series. The picture goes to runs/mackey_glass.png.

python examples/mackey_glass.py
"""

import argparse
import time
from pathlib import Path

import numpy as np

import tinygrad_rnn as tg
from tinygrad_rnn.baselines import LinearAR, nrmse84, persistence
from tinygrad_rnn.data import Standardizer
from tinygrad_rnn.data.tasks import mackey_glass
from tinygrad_rnn.draw import plot_forecast
from tinygrad_rnn.losses import mse_loss
from tinygrad_rnn.nn.init import normal_
from tinygrad_rnn.optim import LBFGS

TAPS, HIDDEN, AHEAD = 20, 50, 84


class Narx:
    """The network, its parameters in float64: errors are to fall below what float32 resolves."""

    def __init__(self):
        shapes = [(TAPS, HIDDEN), (HIDDEN,), (HIDDEN, 1), (1,)]
        self.parameters = [tg.zeros(*s, dtype=tg.float64, requires_grad=True) for s in shapes]
        for tensor, std in zip(self.parameters, (TAPS**-0.5, 0.5, 0.1 * HIDDEN**-0.5, 0.0)):
            normal_(tensor, std=std)

    def step(self, past, _):
        """The next value, and the past (B, TAPS) with it in place of the oldest."""
        a, b, c, d = self.parameters
        value = past[:, -1:] + tg.tanh(past @ a + b) @ c + d
        return tg.cat([past[:, 1:], value], dim=1), value[:, 0]

    def run(self, z, origins, steps):
        """Free runs (steps, B) from the true past of every origin."""
        past = tg.tensor(z[origins[:, None] + np.arange(-TAPS, 0)], dtype=tg.float64)
        return tg.scan(self.step, past, steps)[1]


def train(model, z, steps, spacing, iterations):
    """Fit runs of so many steps, their origins so far apart; the loss at the end."""
    origins = np.arange(TAPS, len(z) - steps + 1, spacing)
    targets = tg.tensor(z[origins + np.arange(steps)[:, None]], dtype=tg.float64)
    options = {"history_size": 50, "tolerance_grad": 0.0, "tolerance_change": 0.0}
    optimizer = LBFGS(model.parameters, 1.0, iterations, 2 * iterations, **options)

    def closure():
        optimizer.zero_grad()
        loss = mse_loss(model.run(z, origins, steps), targets)
        loss.backward()
        return loss

    optimizer.step(closure)
    return closure().item()


def main(count, iterations, free_iterations):
    series = mackey_glass(count + 2000)
    scale = Standardizer.fit(series[:count])
    z, deviation = scale.transform(series), series.std() / scale.scale
    origins = np.arange(count, count + 2000 - AHEAD, 19)
    goal = z[origins + np.arange(AHEAD)[:, None]]
    past = z[origins + np.arange(-TAPS, 0)[:, None]]
    baselines = {f"AR({TAPS})": LinearAR.fit(z[:count], TAPS), "persistence": persistence()}
    runs = {name: each.forecast(past, AHEAD) for name, each in baselines.items()}
    for name, run in runs.items():
        print(f"{name:28} NRMSE84 {nrmse84(goal, run, deviation):.2e}")

    tg.manual_seed(0)
    model, started = Narx(), time.perf_counter()
    for steps, spacing, tries in ((1, 1, iterations), (AHEAD, 12, free_iterations)):
        loss = train(model, z[:count], steps, spacing, tries)
        with tg.no_grad():
            runs["NARX"] = model.run(z, origins, AHEAD).numpy()
        found = nrmse84(goal, runs["NARX"], deviation)
        words, spent = f"NARX, taught {steps} ahead", time.perf_counter() - started
        print(f"{words:28} NRMSE84 {found:.2e}   training error {loss:.1e}   {spent:.0f} s")

    shown = {"truth": goal, **runs}
    curves = [(n, np.arange(AHEAD), scale.inverse(y[:, 0])) for n, y in shown.items()]
    path = Path("runs/mackey_glass.png")
    path.parent.mkdir(exist_ok=True)
    plot_forecast(path, {f"Mackey–Glass 17, free run of {AHEAD} steps": curves})
    print(f"picture: {path}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a run of seconds, to try it out")
    quick = parser.parse_args().quick
    main(500, 10, 2) if quick else main(3000, 2500, 2000)
