"""What every training command does around the training itself."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

from ..errors import ArgumentError
from ..train import BEST, LAST, Progress, RunSettings, Trainer, load_checkpoint, read_about
from .console import command

__all__ = ["begin", "made_folder", "resume", "train_to_the_end", "use_threads"]

S = TypeVar("S", bound=RunSettings)
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def given_settings(arguments: argparse.Namespace, kind: type[RunSettings]) -> dict[str, Any]:
    """The settings that stand in the command."""
    found = {each.name: getattr(arguments, each.name, None) for each in fields(kind)}
    lists = {name: tuple(v) if isinstance(v, list) else v for name, v in found.items()}
    return {name: value for name, value in lists.items() if value not in (None, ())}


def stored_settings(path: str, kind: str, settings: type[S]) -> S:
    """The settings of the run that a checkpoint belongs to.

    Raises:
        CheckpointError: it is none, or of a run of another kind.
    """
    return settings.from_dict(read_about(path, load_checkpoint(path), kind)["settings"])


def begin(
    arguments: argparse.Namespace, kind: str, settings: type[S], source: Callable[[S], str]
) -> tuple[S, Path]:
    """The settings of the run, new or resumed, and the folder it writes to."""
    given = given_settings(arguments, settings)
    if arguments.resume is None:
        chosen = settings(**given)
        folder = free_folder(arguments.out, Path("runs", Path(source(chosen)).stem or kind))
    else:
        chosen = stored_settings(arguments.resume, kind, settings).changed(given)
        folder = Path(arguments.out or Path(arguments.resume).parent)
    if arguments.own_process:
        use_threads(chosen.threads)
    return chosen, folder


def use_threads(count: int) -> None:
    """Let NumPy's matrix products use so many threads: start anew if they use another number.

    They read the number once, when NumPy is loaded. Left alone they take all cores, which for
    the small products of a recurrent network costs more than it gains, many times more where
    other programs run; and with another number of threads a sum may round differently.
    """
    wanted = dict.fromkeys(THREAD_VARIABLES, str(count))
    if any(os.environ.get(name) != value for name, value in wanted.items()):
        sys.stdout.flush()
        words = [sys.executable, *sys.orig_argv[1:]]
        os.execve(sys.executable, words, {**os.environ, **wanted})


def free_folder(out: str | None, default: Path) -> Path:
    """The folder to write to, which holds no run yet: the default one gets a number if it does.

    Raises:
        ArgumentError: the folder asked for holds a run.
    """
    if out is None:
        number, folder = 1, default
        while (folder / LAST).exists():
            number, folder = number + 1, default.with_name(f"{default.name}-{number + 1}")
        return folder
    if (Path(out) / LAST).exists():
        hint = f"continue it with --resume {Path(out) / LAST}, or choose another folder"
        raise ArgumentError("--out", "a folder without a run", f"the run in {out}", hint)
    return Path(out)


def made_folder(path: str | os.PathLike[str]) -> Path:
    """The folder, made if it is not there.

    Raises:
        ArgumentError: it cannot be made.
    """
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ArgumentError("--out", "a folder that can be made", error) from error
    return folder


def resume(trainer: Trainer, checkpoint: str | None, settings: RunSettings) -> None:
    """Go on where a checkpoint stands, if there is one.

    Raises:
        ArgumentError: it stands behind the last step. CheckpointError, DataError: it does not fit.
    """
    if checkpoint is None:
        return
    trainer.load(checkpoint)
    if trainer.step > settings.steps:
        expected = f"--steps >= {trainer.step}, which the checkpoint has behind it,"
        raise ArgumentError("resume", expected, settings.steps)


def train_to_the_end(
    trainer: Trainer,
    settings: RunSettings,
    folder: Path,
    kind: str,
    progress: Progress,
    on_validation: Callable[[Trainer], None],
) -> None:
    """Train with a progress bar; when stopped, say how to go on. The best model stays loaded."""
    try:
        with progress:
            trainer.run(
                settings.steps,
                folder=folder,
                validate_every=settings.validate_every,
                on_step=progress,
                on_validation=on_validation,
            )
    except KeyboardInterrupt:
        print(f"\nStopped after step {trainer.step:,} of {settings.steps:,}; all is saved.")
        print(f"Continue with:  {command('train', kind, '--resume', folder / LAST)}", flush=True)
        raise
    best = folder / BEST
    if best.exists():  # absent only if a resumed run went on in another folder
        trainer.load_model(best)
