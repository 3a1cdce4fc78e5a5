"""``train text`` and ``sample``."""

from __future__ import annotations

import argparse
import sys
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..baselines import NGram
from ..data import CharVocabulary
from ..decode import Sampler, generate
from ..draw import plot_losses
from ..errors import ArgumentError, DataError
from ..train import (
    BEST,
    LAST,
    Progress,
    TextRun,
    TextSettings,
    Trainer,
    bits,
    clock,
    load_char_lm,
    text_run,
)
from .console import command, optional_picture, quote, show_files, show_pairs, show_table
from .runs import begin, resume, train_to_the_end

__all__ = ["run_text", "sample", "train"]

IntArray = NDArray[np.int64]
ORDERS = range(1, 6)
MOST_FOR_NGRAMS = 20_000_000  # characters; counting more would need too much memory
SAMPLER = Sampler(temperature=0.7)


def train(arguments: argparse.Namespace) -> None:
    """Train a character model on files, or continue such a run."""
    settings, folder = begin(arguments, "text", TextSettings, lambda s: (s.files or ("text",))[0])
    if not settings.files and arguments.resume is None:
        hint = f"for a text that needs no file: {command('demo')}"
        raise ArgumentError("train text", "at least one FILE", "none", hint)
    run_text(settings, folder, arguments.resume)


def run_text(settings: TextSettings, folder: Path, checkpoint: str | None = None) -> None:
    """Train, show how it goes, and judge the result beside n-grams."""
    run = text_run(settings)
    resume(run.trainer, checkpoint, settings)
    introduce(run, folder)
    progress = Progress(
        settings.steps,
        count=lambda batch: batch[0].size,
        unit="char",
        show=lambda loss: f"loss {loss:.3f} · {bits(loss):.3f} bits/char",
    )
    log = ValidationLog(run, progress)
    train_to_the_end(run.trainer, settings, folder, "text", progress, log)
    conclude(run, folder)


def introduce(run: TextRun, folder: Path) -> None:
    """Print what will be done, with every setting."""
    settings = run.settings.to_dict()
    settings["files"] = ", ".join(settings["files"]) or "the help topics that every Python carries"
    parts = f"{len(run.train):,} train · {len(run.validation):,} validate · {len(run.test):,} test"
    parameters = sum(parameter.numel() for parameter in run.model.parameters())
    show_pairs("settings", settings)
    about = {
        "text": f"{parts}, {len(run.vocabulary)} different characters",
        "model": f"{name_of(run)}, {parameters:,} parameters",
        "training": f"{run.trainer.step:,} of {run.settings.steps:,} steps done",
        "written to": folder,
    }
    show_pairs("run", about)


def name_of(run: TextRun) -> str:
    """What the model is called beside the baselines."""
    layers = f"{run.settings.layers} × " if run.settings.layers > 1 else ""
    return f"{run.settings.cell.upper()} {layers}{run.settings.hidden}"


class ValidationLog:
    """The lines between: a row for each validation, and samples, ever rarer."""

    def __init__(self, run: TextRun, progress: Progress) -> None:
        self.run, self.progress = run, progress
        progress.print("       bits per character")
        progress.print("  step  trained  held out    char/s  time left")

    def __call__(self, trainer: Trainer) -> None:
        """One row, and perhaps a sample."""
        count = len(trainer.history.validations)
        step, value = trainer.history.validations[-1]
        best = " best" if trainer.history.best == (step, value) else ""
        rate, left = self.progress.rate, clock(self.progress.left(step))
        average = bits(self.progress.loss.value)
        trained, held_out = (f"{v:.3f}" if v < 1e3 else f"{v:.1e}" for v in (average, value))
        row = f"{step:6,}  {trained:>7}  {held_out:>8}  {rate:8,.0f}  {left:>9}{best}"
        self.progress.print(row)
        if count & (count - 1) == 0:  # the 1st, 2nd, 4th, 8th, …
            self.progress.print(quote(" ".join(written(self.run, 400, step).split())[:170]))


def written(run: TextRun, length: int, number: int) -> str:
    """What the model writes now, beginning as a line does; ``number`` tells samples apart."""
    symbols = generate(
        run.model.eval(),
        line_start(run.vocabulary),
        SAMPLER,
        np.random.default_rng([run.settings.seed, number]),
        run.settings.device,
    )
    try:
        return run.vocabulary.decode(list(islice(symbols, length)))
    except DataError as error:  # of a model that explodes; the run itself will notice
        return f"(no sample: {error.got} among the scores)"


def line_start(vocabulary: CharVocabulary) -> IntArray:
    """What to begin with where nothing is given: the end of a line, if the text has lines."""
    return vocabulary.encode("\n" if "\n" in vocabulary else vocabulary.symbols[0])


def conclude(run: TextRun, folder: Path) -> None:
    """Judge the best model on the test part beside n-grams, draw the losses, say what is where."""
    own = run.test_bits()
    rivals = ngram_bits(run)
    rows = [[name_of(run), f"{own:.3f}", ""]]
    rows += [
        [name, f"{value:.3f}", "beaten" if own < value else "not beaten"]
        for name, value in rivals.items()
    ]
    print()
    show_table(
        f"Held-out test text, {len(run.test):,} characters that nothing was trained or chosen on",
        ["", "bits per character", ""],
        rows,
    )
    print(verdict(name_of(run), own, rivals), end="\n\n")
    print("A sample, temperature 0.7:")
    print(quote(written(run, 600, 0).strip()))
    with optional_picture():
        picture(run, folder, {name_of(run): own, **rivals})
    finish(run, folder)


def ngram_bits(run: TextRun) -> dict[str, float]:
    """The test part's bits per character under n-grams of the same training text."""
    if len(run.train) > MOST_FOR_NGRAMS:
        return {}
    before = np.concatenate([run.train, run.validation])
    found = {}
    for order in ORDERS:
        model = NGram.fit(run.train, order, len(run.vocabulary))
        found[f"{order}-gram"] = model.bits_per_char(run.test, before)
    return found


def verdict(name: str, own: float, rivals: dict[str, float]) -> str:
    """Say plainly which baselines the model beats."""
    beaten = [rival for rival, value in rivals.items() if own < value]
    others = [rival for rival in rivals if rival not in beaten]
    if not rivals:
        return "The text is too long to count its n-grams here, so there is nothing to compare."
    won = f"beats the {listed(beaten)}" if beaten else "beats none of them"
    verb = "is" if len(others) == 1 else "are"
    return f"The {name} {won}" + (f"; the {listed(others)} {verb} better." if others else ".")


def listed(names: list[str]) -> str:
    """Words in a row as a sentence has them: "a, b and c"."""
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def picture(run: TextRun, folder: Path, levels: dict[str, float]) -> None:
    """Draw the losses in bits per character beside the test results."""
    history = run.trainer.history
    plot_losses(
        folder / "loss.png",
        [bits(loss) for loss in history.losses],
        history.validations,
        smoothed=[bits(loss) for loss in history.smoothed(0.95)],
        levels={f"{name} {value:.2f}": value for name, value in levels.items()},
        ylabel="bits per character",
        title=f"{name_of(run)}: training, and test results at the right",
    )


def finish(run: TextRun, folder: Path) -> None:
    """Say what lies where, and what to do with it."""
    best = folder / (BEST if (folder / BEST).exists() else LAST)
    step, value = run.trainer.history.best or (run.trainer.step, float("nan"))
    print()
    files = {
        BEST: f"the model of step {step:,}, the best in validation ({value:.3f})",
        LAST: f"the whole run at step {run.trainer.step:,}, to go on from",
        "loss.png": "how the loss went down",
    }
    show_files(f"in {folder}, after {clock(run.trainer.seconds)} of training", folder, files)
    print("Let it write:  " + command("sample", best, "--prompt", "The ", "--temperature", 0.7))


def sample(arguments: argparse.Namespace) -> None:
    """Write the prompt and what the model makes of it to standard output, as it comes."""
    for name in ("length", "seed"):
        if (getattr(arguments, name) or 0) < 0:
            raise ArgumentError("sample", f"--{name} >= 0", getattr(arguments, name))
    sampler = Sampler(arguments.temperature, arguments.top_k, arguments.top_p)
    model, vocabulary = load_char_lm(arguments.checkpoint, arguments.device)
    prompt = vocabulary.encode(arguments.prompt) if arguments.prompt else line_start(vocabulary)
    generator = np.random.default_rng(arguments.seed)
    sys.stdout.write(arguments.prompt)
    symbols = generate(model, prompt, sampler, generator, arguments.device)
    for symbol in islice(symbols, arguments.length):
        sys.stdout.write(vocabulary.decode(symbol))
        sys.stdout.flush()
    print()
