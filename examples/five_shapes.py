"""The five shapes of a sequence problem, each on the smallest task that needs it.

one to one             exclusive or of two bits              a multilayer perceptron
one to many            count down from a number to nought    an RNN that lives on its first state
many to one            were at least half of the bits ones?  an LSTM, read at its end
many to many, delayed  say a sequence backwards              encoder and decoder with attention
many to many, in step  how many ones so far, modulo three?   a GRU, read at every step

python examples/five_shapes.py
"""

import argparse

import numpy as np

import tinygrad_rnn as tg
from tinygrad_rnn import nn
from tinygrad_rnn.losses import cross_entropy
from tinygrad_rnn.optim import Adam, clip_grad_norm_

T, B = 8, 64  # steps in a sequence, sequences in a batch


class Reader(nn.Module):
    """A recurrent layer and what is read off it."""

    def __init__(self, layer, classes):
        self.layer, self.output = layer, nn.Linear(layer.hidden_size, classes)

    def forward(self, xs, start=None):
        return self.output(self.layer(xs, start)[0])


def signs(bits):
    """0 and 1 as the inputs −1 and 1."""
    return tg.tensor(2.0 * bits - 1, dtype=tg.float32)


# Each gives a model, and a function that draws a batch: (scores of the model, right answers).
def one_to_one(rng):
    model, drawn = nn.MLP([2, 8, 2]), lambda: rng.integers(0, 2, (B, 2))
    return model, lambda: (model(signs(bits := drawn())), bits.sum(1) % 2)


def one_to_many(rng):
    model = Reader(nn.RNN(1, 32), T)
    model.start = nn.Embedding(T, 32)

    def batch():
        number = rng.integers(0, T, B)
        left = np.maximum(number - np.arange(T)[:, None], 0)
        return model(tg.zeros(T, B, 1), model.start(number)[None]), left  # only zeros come in

    return model, batch


def many_to_one(rng):
    model, drawn = Reader(nn.LSTM(1, 24), 2), lambda: rng.integers(0, 2, (T, B, 1))
    return model, lambda: (model(signs(bits := drawn()))[-1], 1 * (bits[..., 0].mean(0) >= 0.5))


def delayed(rng):
    model = nn.EncoderDecoder(11, 11, embedding_size=16, hidden_size=48)

    def batch():
        source = rng.integers(1, 11, (T, B))
        said = np.concatenate([np.zeros((1, B), int), source[:0:-1]])  # 0 begins
        return model(tg.tensor(source), tg.tensor(said)), source[::-1]

    return model, batch


def in_step(rng):
    model, drawn = Reader(nn.GRU(1, 32), 3), lambda: rng.integers(0, 2, (T, B, 1))
    return model, lambda: (model(signs(bits := drawn())), bits[..., 0].cumsum(0) % 3)


def main(steps):
    for name, make in (
        ("one to one", one_to_one), ("one to many", one_to_many), ("many to one", many_to_one),
        ("many to many, delayed", delayed), ("many to many, in step", in_step),
    ):  # fmt: skip
        tg.manual_seed(0)
        model, batch = make(np.random.default_rng(0))
        optimizer = Adam(model.parameters(), lr=1e-2)
        for _ in range(steps):
            scores, answer = batch()
            optimizer.zero_grad()
            cross_entropy(scores, tg.tensor(answer.copy())).backward()
            clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
        scores, answer = batch()
        right = (scores.argmax(-1).numpy() == answer).mean()
        print(f"{name:22} {right:7.1%} right (guessing: {1 / scores.shape[-1]:.1%})")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a run of seconds, to try it out")
    main(10 if parser.parse_args().quick else 300)
