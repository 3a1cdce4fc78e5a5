"""Read a date as people write it, write it as machines do: an encoder, a decoder, attention.

"thursday, 7 march 2019" becomes "2019-03-07". The decoder writes one character at a time and looks
back at every character that the encoder has read. Judged on dates that were not trained on.

python examples/translate_dates.py
"""

import argparse

import numpy as np

import tinygrad_rnn as tg
from tinygrad_rnn import nn
from tinygrad_rnn.data.tasks import DateTranslation
from tinygrad_rnn.losses import cross_entropy
from tinygrad_rnn.optim import Adam, CosineAnnealingLR, clip_grad_norm_

START = 0  # begins every output


def exact(model, task, batch):
    """The share of dates that are right to the last character, and what was read."""
    source = tg.tensor(batch.inputs)
    found = model.greedy(source, first=START, steps=10, lengths=batch.lengths).numpy()
    return 1 - task.wrong(found, batch).mean(), task.read(found)


def main(steps, hidden, attention):
    tg.manual_seed(0)
    task, unseen = DateTranslation(), DateTranslation(unseen=True)
    test = unseen.draw(np.random.default_rng(0), 2000)
    few = unseen.draw(np.random.default_rng(1), 200)
    model = nn.EncoderDecoder(
        task.input_size, task.output_size, embedding_size=32, hidden_size=hidden,
        attention=attention,
    )  # fmt: skip
    optimizer = Adam(model.parameters(), lr=4e-3)
    schedule = CosineAnnealingLR(optimizer, steps)
    for step, batch in zip(range(1, steps + 1), task.stream(64), strict=False):
        source, target = tg.tensor(batch.inputs), tg.tensor(batch.targets)
        seen = tg.cat([target[:1] * 0 + START, target[:-1]])  # teacher forcing
        optimizer.zero_grad()
        loss = cross_entropy(model(source, seen, batch.lengths), target)
        loss.backward()
        clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % max(1, steps // 5) == 0:
            share, _ = exact(model, unseen, few)
            print(f"step {step:5}   loss {loss.item():.4f}   exact {share:.1%} of 200")
    share, read = exact(model, unseen, test)
    words = "with" if attention else "without"
    print(f"\n{words} attention: {share:.2%} of 2,000 unseen dates exact")
    for text, found in zip(unseen.sources(test)[:3], read[:3], strict=True):
        print(f"  {text:>30}  ->  {found}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a run of seconds, to try it out")
    parser.add_argument("--no-attention", action="store_true", help="the last state alone")
    options = parser.parse_args()
    main(20 if options.quick else 600, 24 if options.quick else 96, not options.no_attention)
