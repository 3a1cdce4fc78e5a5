"""Sunspots one year ahead: six networks beside autoregression and persistence.

The numbers are made by the process of Barnes, Sargent and Tryon (1980), or they are a column of a
CSV file. 70 % train, 15 % say when to stop, 15 % judge, by NMSE: 1 is what the mean would get.

python examples/sunspots.py [--csv sunspots.csv SUNACTIVITY]
"""

import argparse
from pathlib import Path

import numpy as np

import tinygrad_rnn as tg
from tinygrad_rnn import nn
from tinygrad_rnn.baselines import LinearAR, nmse, persistence
from tinygrad_rnn.data import Standardizer, read_csv, split_in_time
from tinygrad_rnn.draw import plot_forecast
from tinygrad_rnn.optim import LBFGS

TAPS, HIDDEN, DECAY = 12, 5, 0.02  # years in a window, hidden units, weight decay


class Gated(nn.Module):
    def __init__(self, layer):
        self.layer, self.output = layer, nn.Linear(HIDDEN, 1)

    def forward(self, xs):
        return self.output(self.layer(xs)[0])


FORECASTERS = {
    "DMLP": lambda: nn.DMLP(1, TAPS, [HIDDEN]),  # sees a window
    "Elman": lambda: nn.SimpleRNN(1, HIDDEN, 1),  # its own states of the year before
    "RMLP": lambda: nn.RMLP([1, HIDDEN, HIDDEN, 1]),  # those of two layers
    "NARX": lambda: nn.NARX(1, 1, [HIDDEN], output_lags=3, input_lags=TAPS - 1),  # its outputs
    "LSTM": lambda: Gated(nn.LSTM(1, HIDDEN)),
    "GRU": lambda: Gated(nn.GRU(1, HIDDEN)),
}


def barnes(years, seed=0):
    """s = z² + 0.03 (z² − z₋₁²)², z an ARMA(2, 2) whose first 300 values are left out."""
    a = np.random.default_rng(seed).normal(scale=0.4, size=years + 300)
    z = np.zeros(len(a))
    for t in range(2, len(a)):
        push = a[t] - 0.78512 * a[t - 1] + 0.40662 * a[t - 2]
        z[t] = 1.90693 * z[t - 1] - 0.98751 * z[t - 2] + push
    return (z[1:] ** 2 + 0.03 * np.diff(z**2) ** 2)[299:]


def train(model, z, parts, iterations):
    """Fit one step ahead by L-BFGS; the forecasts (N − 1,) when validation went best."""
    series, end = tg.tensor(z[:, None, None], dtype=tg.float64), parts.train.stop - 1
    xs, goal = series[:end], series[TAPS + 1 : end + 1]
    model.linear.fit(xs[TAPS:], goal)
    weights = [p for p in model.network.parameters() if p.ndim > 1]
    optimizer = LBFGS(model.parameters(), max_iter=2)

    def closure():
        optimizer.zero_grad()
        decay = DECAY / end * sum((w**2).sum() for w in weights)
        loss = ((model(xs)[TAPS:] - goal) ** 2).mean() + decay
        loss.backward()
        return loss

    tried, held = [], parts.validation
    for _ in range(iterations // 2):
        optimizer.step(closure)
        with tg.no_grad():
            now = model(series[:-1]).numpy()[:, 0, 0]
        tried.append((nmse(z[held], now[held.start - 1 : held.stop - 1]), now))
    return min(tried, key=lambda pair: pair[0])[1]


def main(series, iterations):
    parts = split_in_time(len(series))
    scale, start = Standardizer.fit(series[parts.train]), parts.test.start
    z = scale.transform(series)
    ar = LinearAR.select(z[parts.train], z[parts.validation])
    runs = {"persistence": persistence().one_step(z, start), "AR": ar.one_step(z, start)}
    for name, build in FORECASTERS.items():
        tg.manual_seed(0)
        runs[name] = train(nn.Direct(build(), 1, TAPS).double(), z, parts, iterations)[start - 1 :]
    errors = {name: nmse(z[start:], run) for name, run in runs.items()}
    order = sorted(errors, key=errors.get)
    print(f"NMSE of the last {len(z) - start} of {len(z)} years; picture: runs/sunspots.png")
    print("\n".join(f"{name:12} {errors[name]:.3f}" for name in order))
    shown = {"truth": z[start:], **{name: runs[name] for name in order[:2]}}
    curves = [(n, np.arange(start, len(z)), scale.inverse(y)) for n, y in shown.items()]
    Path("runs").mkdir(exist_ok=True)
    plot_forecast("runs/sunspots.png", {"Sunspots, one year ahead": curves})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--csv", nargs=2, metavar=("FILE", "COLUMN"), help="numbers of years")
    parser.add_argument("--quick", action="store_true", help="a run of seconds, to try it out")
    given = parser.parse_args()
    main(read_csv(*given.csv)[0] if given.csv else barnes(300), 4 if given.quick else 100)
