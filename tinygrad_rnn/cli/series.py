"""``train series`` and ``forecast``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ..data import split_in_time
from ..draw import plot_losses
from ..errors import ArgumentError
from ..train import (
    BEST,
    LAST,
    Progress,
    SeriesRun,
    SeriesSettings,
    Table,
    Trainer,
    clock,
    load_forecaster,
    series_run,
)
from .console import optional_picture, show_files, show_pairs
from .judging import Contest, judge
from .runs import begin, made_folder, resume, train_to_the_end

__all__ = ["forecast", "train"]


def train(arguments: argparse.Namespace) -> None:
    """Train a forecaster on a column of a table, or continue such a run."""
    if arguments.resume is None and not (arguments.file and arguments.target):
        absent = "--target COLUMN" if arguments.file else "FILE.csv"
        raise ArgumentError("train series", f"{absent} in the command", "none")
    settings, folder = begin(arguments, "series", SeriesSettings, lambda s: s.file)
    run = series_run(settings)
    resume(run.trainer, arguments.resume, settings)
    introduce(run, folder)
    progress = Progress(
        settings.steps,
        count=lambda batch: int(batch.lengths.sum()),
        unit="value",
        show=lambda loss: f"loss {loss:.5f}",
    )
    train_to_the_end(
        run.trainer, settings, folder, "series", progress, validation_log(settings, progress)
    )
    conclude(run, folder)


def introduce(run: SeriesRun, folder: Path) -> None:
    """Print what will be done, with every setting."""
    settings = run.settings.to_dict()
    settings["inputs"] = ", ".join(settings["inputs"]) or "none but the target itself"
    settings["delimiter"] = repr(settings["delimiter"])
    show_pairs("settings", settings)
    sizes = [part.stop - part.start for part in run.parts]
    parameters = sum(parameter.numel() for parameter in run.model.parameters())
    about = {
        "rows": "{:,} train · {:,} validate · {:,} test".format(*sizes),
        "model": f"{name_of(run.settings)}, {parameters:,} parameters",
        "training": f"{run.trainer.step:,} of {run.settings.steps:,} steps done",
        "written to": folder,
    }
    show_pairs("run", about)


def name_of(settings: SeriesSettings) -> str:
    """What the model is called beside the baselines."""
    layers = f"{settings.layers} × " if settings.layers > 1 else ""
    return f"{settings.cell.upper()} {layers}{settings.hidden}"


def validation_log(settings: SeriesSettings, progress: Progress) -> Any:
    """A row for each validation."""
    ahead = "one step" if settings.horizon == 1 else f"{settings.horizon} steps"
    progress.print(f"       trained  held out: NMSE {ahead} ahead")
    progress.print("  step     loss       NMSE   values/s  time left")

    def log(trainer: Trainer) -> None:
        step, value = trainer.history.validations[-1]
        best = " best" if trainer.history.best == (step, value) else ""
        rate, left = progress.rate, clock(progress.left(step))
        row = f"{step:6,}  {progress.loss.value:7.3g}  {value:9.3g}  {rate:9,.0f}  {left:>9}{best}"
        progress.print(row)

    return log


def conclude(run: SeriesRun, folder: Path) -> None:
    """Judge the best model on the test part, draw the losses, say what is where."""
    history = run.trainer.history
    with optional_picture():
        plot_losses(
            folder / "loss.png",
            history.losses,
            history.validations,
            smoothed=history.smoothed(0.9),
            ylabel="squared error / variance",
            title=f"{name_of(run.settings)} on {run.settings.target}",
            logarithmic=True,
        )
    best = folder / (BEST if (folder / BEST).exists() else LAST)
    step, value = history.best or (run.trainer.step, float("nan"))
    print()
    files = {
        best.name: f"the model of step {step:,}, the best in validation (NMSE {value:.3g})",
        LAST: f"the whole run at step {run.trainer.step:,}, to go on from",
        "loss.png": "how the loss went down",
    }
    show_files(f"in {folder}, after {clock(run.trainer.seconds)} of training", folder, files)
    part = run.parts.test
    contest = Contest(
        name_of(run.settings), run.model, run.settings.window, run.table, run.baseline, part
    )
    judge(contest, run.settings.target, min(50, part.stop - part.start), folder)


def forecast(arguments: argparse.Namespace) -> None:
    """Forecast the test part of the training file, or the whole of another, and judge it."""
    if arguments.steps < 1:
        raise ArgumentError("forecast", "--steps >= 1", arguments.steps)
    model, settings, scales, baseline = load_forecaster(arguments.checkpoint, arguments.device)
    table = Table.read(arguments.file or settings.file, settings, scales)
    if arguments.file is None:
        part = split_in_time(len(table.series)).test
    else:
        part = slice(max(settings.window, baseline.order), len(table.series))
        if table.was_trained_on():
            print("note: the model was trained on the first rows of this table and has seen them;")
            print("      without naming the file, only the test part is judged\n")
    folder = made_folder(arguments.out or Path(arguments.checkpoint).parent)
    contest = Contest(name_of(settings), model, settings.window, table, baseline, part)
    judge(contest, settings.target, arguments.steps, folder)
