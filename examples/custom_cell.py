"""A recurrent cell of one's own in a few lines, as a full layer, against the well-known ones.

The cell is the minimal gated unit (Zhou et al. 2016): a GRU whose one gate forgets and resets.
The task is adding: of fifty random numbers, two are marked; say their mean at the end.

python examples/custom_cell.py
"""

import argparse
import math

import tinygrad_rnn as tg
from tinygrad_rnn import nn
from tinygrad_rnn.optim import Adam, clip_grad_norm_


class MinimalGatedCell(nn.Cell):
    """f = σ(W_f [x, h]);  n = tanh(W_n [x, f ⊙ h]);  h' = (1 − f) ⊙ h + f ⊙ n;  y = h'."""

    def __init__(self, input_size, hidden_size):
        self.input_size, self.hidden_size = input_size, hidden_size
        self.gate = nn.Linear(input_size + hidden_size, hidden_size)
        self.new = nn.Linear(input_size + hidden_size, hidden_size)

    def forward(self, h, x):
        f = tg.sigmoid(self.gate(tg.cat([x, h], dim=-1)))
        n = tg.tanh(self.new(tg.cat([x, f * h], dim=-1)))
        h = (1 - f) * h + f * n
        return h, h


class Reader(nn.Module):
    """Reads a whole sequence with a recurrent layer; its last output becomes one number."""

    def __init__(self, recurrent):
        self.recurrent, self.output = recurrent, nn.Linear(32, 1)

    def forward(self, xs):
        ys, _ = self.recurrent(xs)
        return self.output(ys[-1])[:, 0]


def adding_problem(length, batch):
    """xs (T, B, 2): numbers in [0, 1] and marks, one in each half; targets (B,) their mean."""
    numbers, marks = tg.rand(length, batch), tg.zeros(length, batch)
    columns = tg.arange(batch, dtype=tg.int64)
    for start in (0, length // 2):
        marks[tg.randint(start, start + length // 2, (batch,)), columns] = 1.0
    return tg.stack([numbers, marks], dim=-1), (numbers * marks).sum(0) / 2


def train(name, recurrent, length, steps):
    tg.manual_seed(1)
    model = Reader(recurrent)
    optimizer = Adam(model.parameters(), lr=5e-3)
    for _ in range(steps):
        xs, targets = adding_problem(length, 64)
        optimizer.zero_grad()
        loss = (model(xs) - targets).square().mean()
        loss.backward()
        clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    with tg.no_grad():
        xs, targets = adding_problem(length, 1000)
        error = math.sqrt((model(xs) - targets).square().mean().item())
    size = sum(p.numel() for p in model.parameters())
    print(f"{name:<24}{size:>8}{error:>10.3f}")


def without_the_layer():
    """nn.Recurrent is tg.scan over the cell, and tg.scan is a Python loop."""
    layer = nn.Recurrent(MinimalGatedCell, 2, 32)
    (cell,) = layer.children()
    xs, _ = adding_problem(20, 5)
    _, ys = tg.scan(cell, cell.initial_state(5), xs)
    h = cell.initial_state(5)
    for x in xs:
        h, _ = cell(h, x)
    apart = [(other - h).abs().max().item() for other in (ys[-1], layer(xs)[0][-1])]
    print(f"scan and the layer differ from a loop over the cell by {max(apart):.0e}\n")


def main(length, steps):
    tg.manual_seed(0)
    without_the_layer()
    print(f"adding problem, {length} numbers, {steps} steps of 64 sequences\n")
    print(f"{'cell':<24}{'weights':>8}{'error':>10}")
    train("minimal gated unit", nn.Recurrent(MinimalGatedCell, 2, 32), length, steps)
    train("GRU", nn.GRU(2, 32), length, steps)
    train("LSTM", nn.LSTM(2, 32), length, steps)
    train("simple RNN (tanh)", nn.RNN(2, 32), length, steps)
    print(f"{'always ½':<24}{'':>8}{math.sqrt(1 / 24):>10.3f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a run of seconds, to try it out")
    quick = parser.parse_args().quick
    main(length=10 if quick else 50, steps=20 if quick else 1000)
