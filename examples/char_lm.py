"""A character-level LSTM language model on the text that every Python carries, and how it writes.

Writing is drawing one symbol after another, or looking for what is likely as a whole (beam search).

python examples/char_lm.py            (about a minute; `make run` is the same with all around it)
"""

import argparse
import itertools

import numpy as np

import tinygrad_rnn as tg
from tinygrad_rnn.baselines import NGram
from tinygrad_rnn.data import (
    CharVocabulary,
    ContinuousBatches,
    builtin_text,
    train_validation_split,
)
from tinygrad_rnn.decode import Sampler, as_step, beam_search, generate
from tinygrad_rnn.optim import Adam
from tinygrad_rnn.train import CharLM, Trainer, bits_per_char, language_loss


def main(steps, hidden_size):
    text = builtin_text()
    vocabulary = CharVocabulary.from_text(text)
    train, held_out = train_validation_split(vocabulary.encode(text), 0.05)
    print(f"{len(train):,} characters to train on, {len(held_out):,} held out; V={len(vocabulary)}")

    tg.manual_seed(0)
    model = CharLM(len(vocabulary), hidden_size)  # embedding, LSTM, linear output
    trainer = Trainer(
        model,
        Adam(model.parameters(), lr=3e-3),
        ContinuousBatches(train, batch_size=32, steps=64),  # truncated BPTT with carried state
        language_loss(model),
        validate=lambda: bits_per_char(model, held_out[:5000], train),
        max_norm=1.0,
    )

    def report(trainer):
        step, bits = trainer.history.validations[-1]
        print(f"step {step:5}   {bits:.3f} bits per character")

    trainer.run(steps, validate_every=max(1, steps // 5), on_validation=report)

    print("\nbits per held-out character, the lower the better")
    for order in (1, 3, 5):
        ngram = NGram.fit(train, order, len(vocabulary))
        print(f"  {order}-gram  {ngram.bits_per_char(held_out, train):.3f}")
    print(f"  LSTM    {bits_per_char(model.eval(), held_out, train):.3f}")

    prompt = 'The "'
    symbols = generate(model, vocabulary.encode(prompt), Sampler(0.7), np.random.default_rng(0))
    print("\ndrawn: " + prompt + vocabulary.decode(list(itertools.islice(symbols, 300))))
    complete(model, vocabulary, "The value of the ")


def complete(model, vocabulary, prompt):
    """The rest of a sentence: the likeliest that a beam of 1 and one of 8 find."""
    symbols = vocabulary.encode(prompt)
    with tg.no_grad():
        _, state = model(tg.tensor(symbols[:-1, None]))  # (L, 1, H): rows are axis 1
    print("\nlog p   how the beam would end: " + prompt)
    for width, penalty in ((1, 0.0), (8, 0.0), (8, 1.0)):
        [found] = beam_search(
            as_step(model), state, symbols[-1:], beam_width=width, max_length=40, batch_dim=1,
            end=vocabulary.encode(".")[0], length_penalty=penalty, n_best=min(width, 3),
        )  # fmt: skip
        print(f"beam of {width}, length penalty {penalty:g}")
        for best in found:
            text = vocabulary.decode(best.symbols) + "." * best.finished
            print(f"{best.log_prob:6.2f}  …{text!r}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a run of seconds, to try it out")
    quick = parser.parse_args().quick
    main(steps=20 if quick else 1000, hidden_size=32 if quick else 128)
