"""Training: the loop, its metrics, its checkpoints, and two kinds of run ready to use."""

from __future__ import annotations

from .checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from .forecasting import Forecaster, SeriesRun, Table, forecasts, load_forecaster, series_run
from .language import (
    CharLM,
    TextRun,
    bits_per_char,
    language_loss,
    load_char_lm,
    sampled_language_loss,
    text_run,
)
from .loop import BEST, LAST, Trainer, read_about
from .metrics import History, MovingAverage, bits, perplexity
from .pretraining import pretrain_autoencoders, pretrain_rbms
from .progress import Progress, clock
from .settings import RunSettings, SeriesSettings, TextSettings
from .window_language import TDNNLM

__all__ = [
    "BEST",
    "CharLM",
    "Checkpoint",
    "Forecaster",
    "History",
    "LAST",
    "MovingAverage",
    "Progress",
    "RunSettings",
    "SeriesRun",
    "SeriesSettings",
    "TDNNLM",
    "Table",
    "TextRun",
    "TextSettings",
    "Trainer",
    "bits",
    "bits_per_char",
    "clock",
    "forecasts",
    "language_loss",
    "load_char_lm",
    "load_checkpoint",
    "load_forecaster",
    "perplexity",
    "pretrain_autoencoders",
    "pretrain_rbms",
    "read_about",
    "sampled_language_loss",
    "save_checkpoint",
    "series_run",
    "text_run",
]
