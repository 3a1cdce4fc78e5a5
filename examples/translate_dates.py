"""Read a date as people write it, write it as machines do: an encoder, a decoder, attention.

"Thursday, 7 March 2019" becomes "2019-03-07". The decoder writes one character at a time and looks
back at every character that the encoder has read. Judged on dates that were not trained on.

python examples/translate_dates.py
"""

import argparse
import datetime

import numpy as np

import tinygrad_rnn as tg
from tinygrad_rnn import nn
from tinygrad_rnn.losses import cross_entropy
from tinygrad_rnn.optim import Adam, CosineAnnealingLR, clip_grad_norm_

MONTHS = ("January February March April May June July August September October November "
          "December").split()  # fmt: skip
DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
FORMS = (
    "{day} {month} {year}", "{month} {day}, {year}", "{weekday}, {day} {month} {year}",
    "{day} {short} {year}", "{short} {day}, {year}", "{day:02}/{number:02}/{year}",
    "{day}.{number}.{year}", "{weekday} {month} {day} {year}",
)  # fmt: skip
START = 0  # begins every output; 0 also pads
TO_NUMBER = {c: i for i, c in enumerate("0123456789-", 1)}
SYMBOLS = sorted(set("".join([*MONTHS, *DAYS, "0123456789 ,./"]).lower()))
FROM_NUMBER = {c: i for i, c in enumerate(SYMBOLS, 1)}


def written(date, form):
    month = MONTHS[date.month - 1]
    return form.format(
        day=date.day, month=month, short=month[:3], number=date.month, year=date.year,
        weekday=DAYS[date.weekday()],
    ).lower()  # fmt: skip


def batch(rng, dates, count):
    """Sources (S, B) padded with 0, their lengths, targets (10, B), and the sources as text."""
    chosen = [dates[k] for k in rng.integers(len(dates), size=count)]
    texts = [written(date, FORMS[rng.integers(len(FORMS))]) for date in chosen]
    lengths = [len(text) for text in texts]
    source = np.zeros((max(lengths), count), dtype=np.int64)
    for row, text in enumerate(texts):
        source[: len(text), row] = [FROM_NUMBER[c] for c in text]
    target = np.array([[TO_NUMBER[c] for c in date.isoformat()] for date in chosen]).T
    return tg.tensor(source), lengths, tg.tensor(target), texts


def exact(model, rng, dates, count):
    """The share of dates that are right to the last character, and three of them to look at."""
    source, lengths, target, texts = batch(rng, dates, count)
    found = model.greedy(source, first=START, steps=10, lengths=lengths).numpy()
    names = {i: c for c, i in TO_NUMBER.items()}
    read = ["".join(names.get(s, "?") for s in column) for column in found.T.tolist()]
    return (found == target.numpy()).all(0).mean(), list(zip(texts, read, strict=True))[:3]


def main(steps, hidden, attention):
    tg.manual_seed(0)
    rng = np.random.default_rng(0)
    first = datetime.date(1950, 1, 1)
    days = rng.permutation(36525)  # a hundred years
    dates = [first + datetime.timedelta(days=int(day)) for day in days]
    train, test = dates[:-2000], dates[-2000:]
    model = nn.EncoderDecoder(
        len(FROM_NUMBER) + 1, len(TO_NUMBER) + 1, embedding_size=32, hidden_size=hidden,
        attention=attention,
    )  # fmt: skip
    optimizer = Adam(model.parameters(), lr=4e-3)
    schedule = CosineAnnealingLR(optimizer, steps)
    for step in range(1, steps + 1):
        source, lengths, target, _ = batch(rng, train, 64)
        seen = tg.cat([target[:1] * 0 + START, target[:-1]])  # teacher forcing
        optimizer.zero_grad()
        loss = cross_entropy(model(source, seen, lengths), target)
        loss.backward()
        clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % max(1, steps // 5) == 0:
            share, _ = exact(model, rng, test, 200)
            print(f"step {step:5}   loss {loss.item():.4f}   exact {share:.1%} of 200")
    share, shown = exact(model, rng, test, 2000)
    words = "with" if attention else "without"
    print(f"\n{words} attention: {share:.2%} of 2,000 unseen dates exact")
    for text, read in shown:
        print(f"  {text:>30}  ->  {read}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a run of seconds, to try it out")
    parser.add_argument("--no-attention", action="store_true", help="the last state alone")
    options = parser.parse_args()
    main(20 if options.quick else 600, 24 if options.quick else 96, not options.no_attention)
