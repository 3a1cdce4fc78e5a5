"""Strings of spoken digits, labelled without being told when each is spoken: an LSTM with CTC.

The voices are made up; with --data, a folder or archive of files digit_speaker_take.wav, one of the
speakers is not heard before. Beside it word models (HMM). The picture: runs/spoken_digits.png.

python examples/spoken_digits.py
"""

import argparse
from pathlib import Path

import numpy as np

import tinygrad_rnn as tg
from tinygrad_rnn import nn
from tinygrad_rnn.baselines import ConnectedWords
from tinygrad_rnn.data import audio, pad_sequence
from tinygrad_rnn.data.tasks import SpokenDigits, read_spoken_digits, recorded_speakers
from tinygrad_rnn.decode import ctc_beam_search, ctc_best_path, label_error_rate
from tinygrad_rnn.draw import plot_labelling
from tinygrad_rnn.functional import log_softmax
from tinygrad_rnn.losses import ctc_loss
from tinygrad_rnn.optim import Adam, clip_grad_norm_


class Listener(nn.Module):
    def __init__(self, input_size, hidden=64):
        self.recurrent = nn.LSTM(input_size, hidden, bidirectional=True)
        self.output = nn.Linear(2 * hidden, 11)

    def forward(self, xs, lengths):
        return log_softmax(self.output(self.recurrent(tg.tensor(xs), lengths=lengths)[0]))


def train(task, steps):
    model = Listener(task.input_size)
    optimizer = Adam(model.parameters(), lr=5e-3)
    for step, (xs, targets, lengths) in zip(range(1, steps + 1), task.stream(16)):
        optimizer.zero_grad()
        loss = ctc_loss(model(xs, lengths), targets, lengths, (targets > 0).sum(1))
        loss.backward()
        clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
        if step % (steps // 5) == 0:
            print(f"step {step:4}   loss {loss.item():6.3f}", flush=True)
    return model


def described(samples):  # for the hidden Markov models: cepstra and their slopes, (T, 26)
    cepstra = audio.cepstra(SpokenDigits().features(samples))
    return audio.normalize(np.hstack([cepstra, audio.deltas(cepstra)]))


def word_models(speakers, takes):
    """A chain of states for each digit, learned from digits of many speakers."""
    alone = SpokenDigits(1, 1, speakers, pauses=(0.15, 0.15), augment=True)
    pauses, words = [], [[]] * 10
    for n in range(takes):
        samples, [digit] = alone.utterance(np.random.default_rng(n))
        before, word, after = np.split(described(samples), [14, -14])  # 0.15 s are 15 frames
        words[digit] = [*words[digit], word]
        pauses += [before, after]
    return ConnectedWords.fit(words, np.concatenate(pauses), penalty=20.0)


def main(data, steps, count):
    training = test = SpokenDigits(2, 4, augment=True)  # noise, microphones, tempos
    if data:
        *known, last = sorted(read_spoken_digits(data).items())
        training = SpokenDigits(2, 4, recorded_speakers(dict(known)), augment=True)
        test = SpokenDigits(2, 4, recorded_speakers(dict([last])))
    tg.manual_seed(0)
    model = train(training, steps)
    said = [test.utterance(np.random.default_rng(n)) for n in range(count)]
    truth, heard = [d.tolist() for _, d in said], [test.steps_of(samples) for samples, _ in said]
    lengths = [len(x) for x in heard]
    with tg.no_grad():
        log_probs = model(pad_sequence(heard), lengths).numpy()
    beams = [best for [best] in ctc_beam_search(log_probs, lengths)]
    searches = {"best path": ctc_best_path(log_probs, lengths), "beam search": beams}
    found = {name: [[k - 1 for k in row.symbols] for row in searches[name]] for name in searches}
    words, frames = word_models(training.speakers, 100 + 4 * count), [described(x) for x, _ in said]
    found["word models (HMM)"] = words.decode(pad_sequence(frames), [len(x) for x in frames])
    print(f"\nlabel error on {count} strings of new voices; picture: runs/spoken_digits.png")
    for name, digits in found.items():
        print(f"  {name:18}{label_error_rate(digits, truth):7.1%}")
    Path("runs").mkdir(exist_ok=True)
    heard, likely = said[0][0], np.exp(log_probs[: lengths[0], 0])
    plot_labelling(
        "runs/spoken_digits.png", test.features(heard), likely, ["blank", *"0123456789"],
        seconds=len(heard) / 8000, title=f"said: {truth[0]}",
    )  # fmt: skip


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", help="recordings, in place of made-up voices")
    parser.add_argument("--quick", action="store_true", help="a run of seconds, to try it out")
    given = parser.parse_args()
    main(given.data, *((10, 8) if given.quick else (300, 100)))
