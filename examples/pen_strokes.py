"""Online handwriting: where does the pen go next? A network that has learnt it writes by itself.

An LSTM reads how a pen moves, is told which letter is meant, and gives a mixture of Gaussians for
the next movement (Graves 2013). Letters are made up; --data takes the digits of UCI "pendigits".

python examples/pen_strokes.py
"""

import argparse
from pathlib import Path

import numpy as np

import tinygrad_rnn as tg
from tinygrad_rnn import nn
from tinygrad_rnn.data import PEN_LETTERS, pad_sequence, pen_letters, read_pendigits
from tinygrad_rnn.decode import sample_pen
from tinygrad_rnn.draw import plot_strokes
from tinygrad_rnn.losses import mixture_density_loss
from tinygrad_rnn.optim import Adam, CosineAnnealingLR, clip_grad_norm_


class Hand(nn.Module):
    """LSTM over (movement, one-hot letter), then the 6M + 1 numbers of a mixture."""

    def __init__(self, letters, hidden, components=10):
        self.recurrent = nn.LSTM(3 + letters, hidden)
        self.output = nn.Linear(hidden, 6 * components + 1)

    def forward(self, inputs, state=None):
        hidden, state = self.recurrent(inputs, state)
        return self.output(hidden), state


def nats(model, examples, letters):
    """The loss of a movement, each predicted from those before it; padding is left out."""
    targets = pad_sequence([moves for moves, _ in examples])
    lengths = np.array([len(moves) for moves, _ in examples])
    named = np.eye(letters, dtype=np.float32)[[place for _, place in examples]]
    before = np.concatenate([np.zeros_like(targets[:1]), targets[:-1]])
    inputs = np.concatenate([before, np.tile(named, (len(targets), 1, 1))], -1)
    each = mixture_density_loss(model(tg.tensor(inputs))[0], tg.tensor(targets), "none")
    return each[tg.tensor(np.arange(len(targets))[:, None] < lengths)].mean()


def one_gaussian(train, test):
    """What to beat: one Gaussian for every movement, and one chance of lifting."""
    seen, x = (np.concatenate([moves for moves, _ in part]) for part in (train, test))
    (*mean, lift), spread = seen.mean(0), seen.std(0)
    outputs = [0, *mean, *np.log(spread[:2]), 0, np.log(lift / (1 - lift))]
    return float(mixture_density_loss(np.tile(outputs, (len(x), 1)), x.astype(float)))


def write(model, places, lifts, rng, bias):
    """One writing for each letter asked for, until its last stroke ends, or for 60 movements."""
    letter, state, moves = np.eye(len(lifts))[places], None, [np.zeros((len(places), 3))]
    with tg.no_grad():
        while len(moves) <= 60:
            outputs, state = model(tg.tensor([np.concatenate([moves[-1], letter], -1)]), state)
            moves.append(sample_pen(outputs[0], rng, bias))
    whole = np.stack(moves[1:])
    before = np.cumsum(whole[..., 2], axis=0) - whole[..., 2]  # strokes that have ended
    return [whole[before[:, i] < lifts[p], i] for i, p in enumerate(places)]


def main(data, steps, hidden):
    tg.manual_seed(0)
    rng = np.random.default_rng(0)
    examples = read_pendigits(data) if data else pen_letters(rng, 2200)
    rng.shuffle(examples)
    letters, held = 10 if data else len(PEN_LETTERS), len(examples) // 10
    test, train, model = examples[:held], examples[held:], Hand(letters, hidden)
    optimizer = Adam(model.parameters(), lr=5e-3)
    schedule = CosineAnnealingLR(optimizer, steps)
    for step in range(1, steps + 1):
        optimizer.zero_grad()
        loss = nats(model, [train[i] for i in rng.integers(len(train), size=64)], letters)
        loss.backward()
        clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % (steps // 5) == 0:
            print(f"step {step:5}   {loss.item():6.2f} nats a movement")
    print(f"\nnats of an unseen movement: one Gaussian {one_gaussian(train, test):.2f},")
    print(f"mixtures by an LSTM {nats(model, test, letters).item():.2f}")
    rows = {"given": [m for p in range(letters) for m in [m for m, k in test if k == p][:2]]}
    lifts = [int(moves[:, 2].sum()) for moves in rows["given"][::2]]
    places, hands = np.arange(letters).repeat(2), {"sampled": 0.0, "neater": 1.0}
    rows |= {name: write(model, places, lifts, rng, bias) for name, bias in hands.items()}
    Path("runs").mkdir(exist_ok=True)
    plot_strokes("runs/pen_strokes.png", rows, title="Given, and written by the network")
    print("picture: runs/pen_strokes.png")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a run of seconds, to try it out")
    parser.add_argument("--data", metavar="FILE", help="pendigits.tra or pendigits.tes of the UCI")
    options = parser.parse_args()
    main(options.data, 10 if options.quick else 1200, 16 if options.quick else 96)
