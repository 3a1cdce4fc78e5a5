"""Many to one: say from a whole sequence which process made it.

The logistic map x ← 4x(1 − x) is deterministic and looks like noise: its values are uncorrelated at
every lag. Three processes share its values: the map forwards, the map backwards in time, and its
values shuffled. They share one distribution and zero autocorrelation, so only a reader
that keeps the order in mind can tell them apart. The sequences are of different lengths.

python examples/classify.py
"""

import argparse

import numpy as np

import tinygrad_rnn as tg
from tinygrad_rnn import nn
from tinygrad_rnn.data import pad_sequence
from tinygrad_rnn.losses import cross_entropy
from tinygrad_rnn.optim import Adam, clip_grad_norm_

PROCESSES = ("forwards", "backwards", "shuffled")


def sequences(count, rng):
    """`count` sequences of 5 to 30 values as (T, B, 1), their lengths (B,) and classes (B,)."""
    x = rng.uniform(0.01, 0.99, count)
    values = np.empty((30, count))
    for t in range(-20, 30):  # the first twenty steps are forgotten
        x = 4 * x * (1 - x)
        values[max(t, 0)] = x
    lengths, classes = rng.integers(5, 31, count), rng.integers(0, 3, count)
    made = []
    for column, length, kind in zip(values.T, lengths, classes, strict=True):
        part = 2 * column[:length, None] - 1
        made.append((part, part[::-1], rng.permutation(part))[kind])
    return pad_sequence(made).astype(np.float32), lengths, classes


class Classifier(nn.Module):
    """A GRU reads; the state in which it stops is looked at by a linear layer."""

    def __init__(self, hidden_size):
        self.recurrent = nn.GRU(1, hidden_size)
        self.output = nn.Linear(hidden_size, len(PROCESSES))

    def forward(self, xs, lengths):
        _, final = self.recurrent(xs, lengths=lengths)  # (1, B, H): each row at its own end
        return self.output(final[0])


def by_statistics(train, test):
    """The nearest class in mean, spread and autocorrelations: what a statistician tries first."""

    def describe(xs, lengths):
        rows = [xs[:n, b, 0] for b, n in enumerate(lengths)]
        products = [[np.mean(r[k:] * r[: len(r) - k]) for k in range(5)] for r in rows]
        return np.column_stack([[r.mean() for r in rows], products])

    features, classes = describe(*train[:2]), train[2]
    centres = np.stack([features[classes == c].mean(0) for c in range(3)])
    apart = (describe(*test[:2])[:, None] - centres) / features.std(0)
    return np.mean(np.argmin((apart**2).sum(-1), axis=1) == test[2])


def main(steps):
    rng = np.random.default_rng(0)
    tg.manual_seed(0)
    model = Classifier(hidden_size=32)
    optimizer = Adam(model.parameters(), lr=1e-2)
    for step in range(1, steps + 1):
        xs, lengths, classes = sequences(64, rng)
        optimizer.zero_grad()
        loss = cross_entropy(model(xs, lengths), classes)
        loss.backward()
        clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if step % (steps // 5) == 0:
            print(f"step {step:4}   loss {loss.item():.3f}")

    test = sequences(3000, rng)
    with tg.no_grad():
        found = model(*test[:2]).argmax(-1).numpy()
    print("\nright, of 3,000 new sequences")
    print(f"  guessing       {1 / 3:6.1%}")
    print(f"  statistics     {by_statistics(sequences(3000, rng), test):6.1%}")
    print(f"  GRU            {np.mean(found == test[2]):6.1%}")
    for low, high in ((5, 8), (9, 15), (16, 30)):
        chosen = (test[1] >= low) & (test[1] <= high)
        print(f"    {low:2} to {high:2} values{np.mean((found == test[2])[chosen]):7.1%}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a run of seconds, to try it out")
    main(steps=20 if parser.parse_args().quick else 1000)
