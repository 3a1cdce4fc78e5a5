"""Sequential digits: images of 8×8 read one pixel after another, and named at the end.

The digits are drawn from glyphs, shifted, of uneven ink and noisy. With --data FILE they are those
of a CSV file (gzipped or not) of 64 pixels 0 … 16 and a label in each line; a fifth is held back.
With --rows a step is a row of eight pixels. The picture goes to runs/sequential_digits.png.

python examples/sequential_digits.py
"""

import argparse
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import tinygrad_rnn as tg
from tinygrad_rnn import nn
from tinygrad_rnn.functional import softmax
from tinygrad_rnn.losses import cross_entropy
from tinygrad_rnn.optim import Adam, clip_grad_norm_

# Ten glyphs of 4×6, a line of each is a hexadecimal digit: its bits are the ink.
GLYPHS = "699996 262227 69124F E16196 99F111 F8E196 698E96 F12244 696996 699716".split()


def drawn(count, rng):
    """Images (N, 8, 8) of ink from 0 to 1 and their labels."""
    rows = np.array([[int(line, 16) for line in glyph] for glyph in GLYPHS])
    ink = (rows[:, :, None] >> np.arange(3, -1, -1)) & 1
    labels = rng.integers(0, 10, count)
    images = rng.uniform(0, 0.25, (count, 8, 8))
    for image, label, y, x in zip(images, labels, *rng.integers(0, [[3], [5]], (2, count))):
        image[y : y + 6, x : x + 4] += ink[label] * rng.uniform(0.45, 0.75, (6, 4))
    return images.astype(np.float32), labels


class Reader(nn.Module):
    """A GRU whose gates begin by keeping reads (B, 8, 8); its word after each step (T, B, 10)."""

    def __init__(self, width, hidden):
        self.recurrent, self.output = nn.GRU(width, hidden), nn.Linear(hidden, 10)
        with tg.no_grad():
            self.recurrent.bias_ih_l0[hidden : 2 * hidden] = tg.log(1 + 62 * tg.rand(hidden))

    def forward(self, images):
        steps = images.reshape(len(images), -1, self.recurrent.input_size).swapaxes(0, 1)
        return self.output(self.recurrent(tg.tensor(steps))[0])


def train(model, images, labels, steps, rng):
    optimizer = Adam(model.parameters(), lr=3e-3)
    for step in range(1, steps + 1):
        optimizer.param_groups[0]["lr"] = 3e-3 * min(1, 2 - 2 * step / steps + 0.02)
        some = rng.integers(0, len(images), 64)
        optimizer.zero_grad()
        loss = cross_entropy(model(images[some])[-1], tg.tensor(labels[some]))
        loss.backward()
        clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if step % (steps // 5) == 0:
            print(f"step {step:5}   loss {loss.item():.3f}", flush=True)


def draw(images, chances):
    figure = Figure(figsize=(11, 4.2), dpi=120, layout="constrained")
    for column, (above, below) in enumerate(figure.subplots(2, len(images), sharey="row").T):
        above.imshow(images[column], cmap="Greys", vmin=0, vmax=1)
        above.set_axis_off()
        below.imshow(chances[:, column].T, aspect="auto", cmap="Blues", vmin=0, vmax=1)
        below.set(xlabel="step", yticks=range(10))
    figure.suptitle("Read from the upper left; below, how probable each digit is after each step")
    figure.savefig("runs/sequential_digits.png")


def main(data, width, steps):
    rng = np.random.default_rng(0)
    images, labels = drawn(5000, rng)
    if data:
        table = np.loadtxt(data, delimiter=",", dtype=np.float32)
        images, labels = table[:, :64].reshape(-1, 8, 8) / 16, table[:, 64].astype(int)
    fifth = len(images) // 5
    model = Reader(width, hidden=64)
    train(model, images[:-fifth], labels[:-fifth], steps, rng)
    with tg.no_grad():
        logits = model(images[-fifth:])
    right = np.mean(logits[-1].numpy().argmax(1) == labels[-fifth:])
    print(f"\n{fifth} unseen digits in {64 // width} steps: {right:.1%} right; guessing 10.0%")
    Path("runs").mkdir(exist_ok=True)
    draw(images[-fifth:][:8], softmax(logits[:, :8], -1).numpy())
    print("picture: runs/sequential_digits.png")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a run of seconds, to try it out")
    parser.add_argument("--data", type=Path, metavar="FILE", help="digits of a CSV file")
    parser.add_argument("--rows", action="store_true", help="a row at a time, not a pixel")
    given = parser.parse_args()
    tg.manual_seed(0)
    main(given.data, 8 if given.rows else 1, 20 if given.quick else 1500)
