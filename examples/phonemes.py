"""Which sound is heard just now? Frame-wise phonemes by windows of frames and by recurrence.

python examples/phonemes.py [--quick] draws to runs/phonemes.png.
A frame alone says less than those around it: a TDNN (Waibel et al. 1989) that sees 23 frames, an
LSTM, which sees the past, and a bidirectional one (Graves, Schmidhuber 2005), which sees all.
"""

import argparse
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import tinygrad_rnn as tg
from tinygrad_rnn import nn
from tinygrad_rnn.data.audio import PHONES
from tinygrad_rnn.data.tasks import SpokenPhonemes
from tinygrad_rnn.losses import cross_entropy
from tinygrad_rnn.optim import Adam, clip_grad_norm_

TASK = SpokenPhonemes()
M, C = TASK.input_size, TASK.output_size


class Windows(nn.Module):
    """A TDNN of three layers, between zeros so that it has an answer for each frame."""

    def __init__(self, contexts, hidden):
        self.net = nn.TDNN(contexts, [M, hidden, hidden, C])
        self.reach = self.net.receptive_field // 2

    def forward(self, xs, lengths):
        return self.net(tg.pad(xs, (0, 0, 0, 0, self.reach, self.reach)))


class Memory(nn.Module):
    """An LSTM and what reads it."""

    def __init__(self, hidden, bidirectional):
        self.lstm = nn.LSTM(M, hidden, bidirectional=bidirectional)
        self.output = nn.Linear(hidden * (1 + bidirectional), C)

    def forward(self, xs, lengths):
        return self.output(self.lstm(xs, lengths=lengths)[0])


def train(model, steps):
    optimizer, stream = Adam(model.parameters(), lr=1e-2), TASK.stream(batch_size=8, seed=1)
    for _ in range(steps):
        xs, targets, lengths = next(stream)
        optimizer.zero_grad()
        scores = model(tg.tensor(xs), lengths)
        cross_entropy(scores, tg.tensor(targets), ignore_index=-100).backward()
        clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()


def picture(named, batch, path):
    """The frames of one utterance, what was said, and where each network is wrong."""
    steps = int(batch.lengths[0])
    truth = batch.targets[:steps, 0]
    figure = Figure(figsize=(11, 5), layout="constrained")
    above, below = figure.subplots(2, sharex=True)
    above.imshow(batch.inputs[:steps, 0].T, origin="lower", aspect="auto", cmap="magma")
    above.set(ylabel="mel band", title="Which sound is it? Wrong frames are dark")
    wrong = np.array([scores[:steps, 0].argmax(-1) != truth for scores in named.values()])
    below.imshow(wrong, aspect="auto", cmap="Greys", vmax=1.5, interpolation="none")
    below.set(yticks=range(len(named)), yticklabels=list(named), xlabel="frame, 10 ms")
    for start in np.flatnonzero(np.diff(truth, prepend=-1)):
        above.axvline(start - 0.5, color="white", lw=0.5)
        above.text(start, 36, PHONES[truth[start]], color="white")
    figure.savefig(path, dpi=120)


def main(steps, hidden):
    batch = TASK.draw(np.random.default_rng(0), 64)
    often = np.bincount(batch.targets[batch.targets >= 0]).max() / batch.lengths.sum()
    print(f"wrong frames of new voices; always the commonest sound: {1 - often:.1%}")
    named = {}
    tg.manual_seed(0)
    for name, model in {
        "a frame alone": Windows([[0], [0], [0]], 2 * hidden),
        "TDNN": Windows([range(-2, 3), (-3, 0, 3), (-6, 0, 6)], 2 * hidden),
        "LSTM": Memory(hidden, False),
        "BLSTM": Memory(hidden, True),
    }.items():
        train(model, steps)
        with tg.no_grad():
            named[name] = model(tg.tensor(batch.inputs), batch.lengths).numpy()
        print(f"  {name:14} {TASK.wrong(named[name], batch).mean():6.1%}")
    Path("runs").mkdir(exist_ok=True)
    picture(named, batch, "runs/phonemes.png")
    print("picture: runs/phonemes.png")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a run of seconds, to try it out")
    main(*((10, 16) if parser.parse_args().quick else (200, 64)))
