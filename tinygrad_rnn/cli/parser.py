"""The commands and their options; a run's options are the fields of its settings."""

from __future__ import annotations

import argparse
from dataclasses import Field, fields
from typing import Any

from .._version import __version__
from ..train import RunSettings, SeriesSettings, TextSettings
from . import cells, demo, inform, series, text

__all__ = ["build_parser"]

TYPES = {"int": int, "float": float, "str": str}
EXIT_CODES = """\
exit codes: 0 done, 1 a file or setting that cannot be used (the message says which),
2 a command that is not understood, 130 stopped by Ctrl-C (a training run saves itself first)."""


def build_parser() -> argparse.ArgumentParser:
    """The parser; what it returns has the function to call as ``run``."""
    parser = argparse.ArgumentParser(
        prog="tinygrad-rnn",
        description="Train recurrent networks on text and on series, and use them.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"tinygrad-rnn {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_demo(commands)
    train = commands.add_parser("train", help="train on your own files")
    kinds = train.add_subparsers(title="kinds of data", metavar="KIND", required=True)
    _add_train_text(kinds)
    _add_train_series(kinds)
    _add_sample(commands)
    _add_forecast(commands)
    _add_explain(commands)
    config = _add(commands, "config", inform.config, "show what is installed and used")
    config.set_defaults(run=inform.config)
    return parser


def _add(commands: Any, name: str, run: Any, summary: str, more: str = "") -> Any:
    description = f"{summary[0].upper()}{summary[1:]}. {more}".strip()
    parser = commands.add_parser(name, help=summary, description=description)
    parser.set_defaults(run=run)
    return parser


def _add_demo(commands: Any) -> None:
    more = "It needs no file: the text is the help that every Python carries."
    summary = "train a character LSTM in about a minute and judge it"
    parser = _add(commands, "demo", demo.demo, summary, more)
    _out(parser, "runs/demo, which is replaced")
    parser.add_argument("--quick", action="store_true", help="a run of seconds, to try it out")


def _add_explain(commands: Any) -> None:
    more = "Programs before and after each pass, derived equations, kernels, operations and bytes."
    summary = "show what a cell is compiled to, and its BPTT equations"
    parser = _add(commands, "explain", cells.explain, summary, more)
    built_in = ", ".join(cells.CELLS)
    what = (
        f"{built_in}, or FILE.py:CELL, where CELL(input_size, hidden_size) makes a cell or a "
        "step function, or is itself a function step(carry, x) -> (carry, y)"
    )
    parser.add_argument("cell", metavar="CELL", help=what)
    sizes = (("inputs", 32, "of x"), ("hidden", 32, "of the carry"), ("batch", 16, "of the batch"))
    for name, default, whose in sizes:
        words = f"size {whose} (default: {default})"
        parser.add_argument(f"--{name}", type=_size, default=default, metavar="N", help=words)
    words = "auto, or an engine that `config` lists (default: auto)"
    parser.add_argument("--engine", default="auto", metavar="NAME", help=words)
    parser.add_argument("--only", choices=cells.PARTS, help="print this part alone")


def _size(text: str) -> int:
    try:
        size = int(text)
    except ValueError:
        size = 0
    if size < 1:
        raise argparse.ArgumentTypeError(f"a whole number above 0 expected, got {text!r}")
    return size


def _add_train_text(kinds: Any) -> None:
    more = "A text's last parts are held out: one to validate, one to judge by at the end."
    parser = _add(kinds, "text", text.train, "a character-level language model", more)
    parser.add_argument("files", nargs="*", metavar="FILE", help="UTF-8 text files, read as one")
    _run_options(parser, TextSettings, "runs/<name of the first file>")


def _add_train_series(kinds: Any) -> None:
    more = "Rows follow each other in time: the first 70 % train, 15 % validate, 15 % judge."
    parser = _add(kinds, "series", series.train, "a forecaster of a column of a table", more)
    parser.add_argument("file", nargs="?", metavar="FILE.csv", help="a table with a header")
    parser.add_argument("--target", metavar="COLUMN", help="the column to forecast")
    inputs = "columns to forecast from, beside the target; taken as known in advance"
    parser.add_argument("--inputs", nargs="+", metavar="COLUMN", help=inputs)
    _run_options(parser, SeriesSettings, "runs/<name of the file>")


def _run_options(parser: Any, settings: type[RunSettings], folder: str) -> None:
    parser.add_argument("--resume", metavar="CKPT", help="continue this run, bit for bit")
    _out(parser, f"{folder}, or that of --resume")
    for each in fields(settings):
        if each.metadata:
            _option(parser, each)


def _option(parser: Any, each: Field[Any]) -> None:
    choices = each.metadata.get("choices")
    # No default here: a resumed run must know which options were given.
    parser.add_argument(
        f"--{each.name.replace('_', '-')}",
        type=TYPES[str(each.type)],
        choices=choices,
        metavar=None if choices else {"int": "N", "float": "X"}.get(str(each.type), "TEXT"),
        help=f"{each.metadata['help']} (default: {each.default})".replace("%", "%%"),
    )


def _out(parser: Any, default: str) -> None:
    parser.add_argument("--out", metavar="DIR", help=f"where to write (default: {default})")


def _device(parser: Any) -> None:
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="(default: cpu)")


def _add_sample(commands: Any) -> None:
    parser = _add(commands, "sample", text.sample, "write text with a trained model")
    parser.add_argument("checkpoint", metavar="CKPT", help="a checkpoint of `train text` or demo")
    parser.add_argument("--prompt", default="", metavar="TEXT", help="the beginning of the text")
    options = (
        ("--length", int, 500, "N", "characters to write"),
        ("--temperature", float, 0.7, "X", "below 1: safer; above: wilder; 0: the likeliest only"),
        ("--top-k", int, None, "K", "choose among the K likeliest characters"),
        ("--top-p", float, None, "P", "choose among the likeliest that together reach P"),
        ("--seed", int, None, "N", "the same text every time"),
    )
    for name, kind, default, metavar, words in options:
        words += "" if default is None else f" (default: {default})"
        parser.add_argument(name, type=kind, default=default, metavar=metavar, help=words)
    _device(parser)


def _add_forecast(commands: Any) -> None:
    more = (
        "One step ahead and running freely, beside persistence and a linear autoregression; "
        "with a table and a picture."
    )
    parser = _add(commands, "forecast", series.forecast, "forecast with a trained model", more)
    parser.add_argument("checkpoint", metavar="CKPT", help="a checkpoint of `train series`")
    parser.add_argument(
        "file", nargs="?", metavar="FILE.csv", help="default: the test part of the training file"
    )
    parser.add_argument(
        "--steps", type=int, default=50, metavar="N", help="steps to run freely (default: 50)"
    )
    _out(parser, "the checkpoint's folder")
    _device(parser)
