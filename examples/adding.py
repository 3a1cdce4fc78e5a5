"""The adding problem: two numbers of a long sequence are marked, and their sum is asked at the end.

Whoever always says 1 is off by 1/6 in the mean square, and a network that forgets does no better.
LSTM and GRU begin with gates that keep for up to T steps, the IRNN with the identity. The
plain network is there to compare. The picture goes to runs/adding.png.

python examples/adding.py
"""

import argparse
import time
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import tinygrad_rnn as tg
from tinygrad_rnn import nn
from tinygrad_rnn.data.tasks import Adding
from tinygrad_rnn.losses import mse_loss
from tinygrad_rnn.nn.init import eye_, normal_
from tinygrad_rnn.optim import Adam, clip_grad_norm_

HIDDEN, BATCH, GUESSING = 50, 32, 1 / 6
RATES = {"LSTM": 1e-2, "GRU": 3e-3, "IRNN": 1e-3, "plain": 1e-3}


def layer_of(kind, length):
    """A recurrent layer that begins by remembering, but for the plain one."""
    if kind in ("IRNN", "plain"):
        layer = nn.RNN(2, HIDDEN, nonlinearity="relu" if kind == "IRNN" else "tanh")
        if kind == "IRNN":  # Le, Jaitly, Hinton 2015
            eye_(layer.weight_hh_l0)
            normal_(layer.weight_ih_l0, std=0.1)
            with tg.no_grad():
                layer.bias_ih_l0[:] = layer.bias_hh_l0[:] = 0.0
        return layer
    layer = {"LSTM": nn.LSTM, "GRU": nn.GRU}[kind](2, HIDDEN)
    keep = tg.log(1 + (length - 2) * tg.rand(HIDDEN))  # Tallec, Ollivier 2018
    with tg.no_grad():
        layer.bias_ih_l0[HIDDEN : 2 * HIDDEN] = keep
        if kind == "LSTM":
            layer.bias_ih_l0[:HIDDEN] = -keep
    return layer


class Adder(nn.Module):
    """The last state, through a linear layer to one number."""

    def __init__(self, kind, length):
        self.recurrent, self.output = layer_of(kind, length), nn.Linear(HIDDEN, 1)

    def forward(self, xs):
        final = self.recurrent(xs)[1]
        return self.output(final[0][0] if isinstance(final, tuple) else final[0])[:, 0]


def train(kind, task, steps):
    """The error of the sum at each step, until it is small, and that on new sequences."""
    tg.manual_seed(0)
    model, errors, started = Adder(kind, task.length), [], time.perf_counter()
    optimizer = Adam(model.parameters(), lr=RATES[kind])
    for _, batch in zip(range(steps), task.stream(BATCH, seed=0)):
        optimizer.zero_grad()
        loss = mse_loss(model(tg.tensor(batch.inputs)), tg.tensor(batch.targets))
        loss.backward()
        clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        errors.append(4 * loss.item())  # the task asks for half the sum
        if np.mean(errors[-100:]) < 0.003:
            break
    test = next(task.stream(2000, seed=10**6))
    with tg.no_grad():
        error = 4 * mse_loss(model(tg.tensor(test.inputs)), tg.tensor(test.targets)).item()
    spent = time.perf_counter() - started
    print(f"{kind:8}{len(errors):6}{error:12.4f}{spent:8.0f} s", flush=True)
    return errors


def main(length, steps):
    print(f"adding, T = {length}; guessing costs {GUESSING:.4f}\n\n{'':9}steps       error    time")
    figure = Figure(figsize=(8.5, 4.8), dpi=120, layout="constrained")
    axes = figure.subplots()
    for kind in RATES:
        errors = np.convolve(train(kind, Adding(length), steps), np.ones(20) / 20, mode="valid")
        axes.plot(np.arange(len(errors)) + 20, errors, label=kind, linewidth=1.4)
    axes.axhline(GUESSING, color="grey", linestyle="--", label="guessing: 1/6")
    axes.set(title=f"Adding problem, T = {length}", xlabel="step", yscale="log")
    axes.set_ylabel("squared error of the sum, mean of 20 steps")
    axes.legend()
    Path("runs").mkdir(exist_ok=True)
    figure.savefig("runs/adding.png")
    print("\npicture: runs/adding.png")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a run of seconds, to try it out")
    quick = parser.parse_args().quick
    main(20 if quick else 100, 30 if quick else 2000)
