"""A character-level language model: what it is, how it is trained, how well it predicts.

Legend: T time steps, B streams side by side, V symbols, N symbols of a text.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..arguments import symbol_vector
from ..create import manual_seed
from ..data import CharVocabulary, ContinuousBatches, builtin_text, read_text
from ..errors import ArgumentError, DataError
from ..graph import no_grad
from ..losses import Sampler, cross_entropy, draw_candidates, sampled_loss
from ..nn import Dropout, Embedding, Linear, Module
from ..tensor import Tensor, as_tensor
from .checkpoint import load_checkpoint
from .loop import Trainer, read_about
from .metrics import bits
from .packing import unpack
from .recipe import CELLS, adam_with_schedule
from .settings import TextSettings

__all__ = [
    "CharLM", "TextRun", "bits_per_char", "language_loss", "load_char_lm", "sampled_language_loss",
    "text_run",
]  # fmt: skip

IntArray = NDArray[np.int64]
IGNORED = -100


class CharLM(Module):
    """Scores the next symbol: embedding, recurrent layers, linear output (Mikolov et al. 2010).

    e_t = P w_t, P being the columns that a one-hot w_t picks;  h_t = cell(e_t, h_{t−1});
    p(w_{t+1} | w_1 … w_t) = softmax(U h_t + c). A symbol may be a character or a word.

    ``model(symbols (T, B), state) -> (logits (T, B, V), state)``; state None is the start.

    >>> import tinygrad_rnn as tg
    >>> model = CharLM(vocabulary_size=10, hidden_size=8)
    >>> logits, (h, c) = model(tg.tensor([[1], [2], [3]]))
    >>> logits.shape, h.shape
    ((3, 1, 10), (1, 1, 8))
    """

    def __init__(
        self,
        vocabulary_size: int,
        hidden_size: int,
        num_layers: int = 1,
        *,
        cell: str = "lstm",
        embedding_size: int = 64,
        dropout: float = 0.0,
    ) -> None:
        if cell not in CELLS:
            raise ArgumentError("CharLM", f"a cell among {', '.join(CELLS)}", repr(cell))
        between = dropout if num_layers != 1 else 0.0
        self.embedding = Embedding(vocabulary_size, embedding_size)
        self.recurrent = CELLS[cell](embedding_size, hidden_size, num_layers, dropout=between)
        self.dropout = Dropout(dropout)
        self.output = Linear(hidden_size, vocabulary_size)

    def forward(self, symbols: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """Logits of what follows each symbol, and the state to go on from."""
        hidden, state = self.hidden(symbols, state)
        return self.output(hidden), state

    def hidden(self, symbols: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """What the output layer sees, (T, B, H), and the state to go on from."""
        hidden, state = self.recurrent(self.embedding(symbols), state)
        return self.dropout(hidden), state


def language_loss(model: Module, device: str = "cpu") -> Any:
    """``loss(batch, carry) -> (loss, carry)`` for a Trainer: mean cross-entropy in nats."""

    def loss(batch: tuple[IntArray, IntArray], carry: Any) -> tuple[Tensor, Any]:
        inputs, targets = (as_tensor(part, device=device) for part in batch)
        logits, carry = model(inputs, carry)
        return cross_entropy(logits, targets), carry

    return loss


def sampled_language_loss(
    model: CharLM, sampler: Sampler, count: int, method: str = "nce", *, shared: bool = True
) -> Any:
    """As `language_loss`, with an output layer that looks at a few of many symbols.

    What `sampled_loss` and `draw_candidates` make of the last four. Trained so, a model is judged
    by the softmax as any other.
    """

    def loss(batch: tuple[IntArray, IntArray], carry: Any) -> tuple[Tensor, Any]:
        weight, bias = model.output.weight, model.output.bias
        hidden, carry = model.hidden(as_tensor(batch[0], device=weight.device), carry)
        used = draw_candidates(sampler, batch[1].ravel(), count, shared=shared)
        rows = hidden.reshape(-1, hidden.shape[-1])
        return sampled_loss(rows, weight, bias, used, method), carry

    return loss


def bits_per_char(
    model: Module, symbols: ArrayLike, context: ArrayLike, *, streams: int = 32, warmup: int = 128
) -> float:
    """Mean -log2 p of ``symbols``, shape ``(N,)``, each predicted once, after ``context``.

    The text is read in up to ``streams`` parts side by side. Each part starts ``warmup``
    symbols early, with those not counted, so that a part begins with a state, as one long
    reading would.

    Raises:
        DataError: no symbols, or no context.
    """
    called, every = "bits_per_char", np.iinfo(np.int64).max
    text, before = (symbol_vector(called, part, every) for part in (symbols, context))
    if len(text) == 0 or len(before) == 0:
        got = f"{len(text)} and {len(before)}"
        raise DataError(called, "at least one symbol, and one before it,", got)
    inputs, targets = _side_by_side(text, before[-warmup:], max(1, min(streams, len(text) // 256)))
    device = next(iter(model.parameters())).device
    total, state = 0.0, None
    with no_grad():
        for start in range(0, len(inputs), 128):
            part = slice(start, start + 128)
            logits, state = model(as_tensor(inputs[part], device=device), state)
            goal = as_tensor(targets[part], device=device)
            loss = cross_entropy(logits, goal, ignore_index=IGNORED, reduction="sum")
            total += loss.item()
    return bits(total / len(text))


def _side_by_side(text: IntArray, before: IntArray, streams: int) -> tuple[IntArray, IntArray]:
    """Inputs and targets (T, streams); targets of the warm-up and behind the end are ignored."""
    whole = np.concatenate([before, text])
    length, warmup = math.ceil(len(text) / streams), len(before)
    places = np.arange(warmup + length - 1)[:, None] + length * np.arange(streams)
    targets = np.where(places + 1 < len(whole), whole.take(places + 1, mode="clip"), IGNORED)
    targets[: warmup - 1] = IGNORED
    return whole.take(places, mode="clip"), targets


@dataclass
class TextRun:
    """A run on one text: its parts, which follow each other, and what trains on them."""

    settings: TextSettings
    vocabulary: CharVocabulary
    train: IntArray
    validation: IntArray
    test: IntArray
    model: CharLM
    trainer: Trainer

    def test_bits(self) -> float:
        """Bits per character on the test part, which no step and no choice has seen."""
        self.model.eval()
        return bits_per_char(self.model, self.test, np.concatenate([self.train, self.validation]))


def text_run(settings: TextSettings) -> TextRun:
    """Read the text, split it, build model and trainer; nothing is trained yet.

    Raises:
        DataError: files that are no text, or a text too short for the settings.
        DeviceError, MissingDependencyError: the device is not there.
    """
    text = read_text(settings.files) if settings.files else builtin_text()
    vocabulary = CharVocabulary.from_text(text)
    symbols = vocabulary.encode(text)
    held = round(len(symbols) * settings.held_out)
    least = settings.batch * settings.window + 1
    if held < 1 or len(symbols) - 2 * held < least:
        got = f"{len(symbols):,} characters, {held:,} of them for validation and as many to test"
        hint = "lower --batch or --window, or give more text"
        raise DataError("train text", f"at least {least:,} characters to train on", got, hint)
    train, validation, test = np.split(symbols, [len(symbols) - 2 * held, len(symbols) - held])
    manual_seed(settings.seed)
    model = _build(settings, vocabulary).to(settings.device)
    optimizer, schedule = adam_with_schedule(model, settings)
    batches = ContinuousBatches(train, batch_size=settings.batch, steps=settings.window)
    trainer = Trainer(
        model,
        optimizer,
        batches,
        language_loss(model, settings.device),
        validate=lambda: bits_per_char(model, validation, train),
        schedule=schedule,
        max_norm=settings.clip or None,
        about={"kind": "text", "settings": settings.to_dict(), "vocabulary": vocabulary.to_dict()},
    )
    return TextRun(settings, vocabulary, train, validation, test, model, trainer)


def _build(settings: TextSettings, vocabulary: CharVocabulary) -> CharLM:
    return CharLM(
        len(vocabulary),
        settings.hidden,
        settings.layers,
        cell=settings.cell,
        embedding_size=settings.embedding,
        dropout=settings.dropout,
    )


def load_char_lm(
    path: str | os.PathLike[str], device: str = "cpu"
) -> tuple[CharLM, CharVocabulary]:
    """The model of a checkpoint, in eval mode, and its vocabulary.

    Raises:
        CheckpointError: the file is not a whole checkpoint of a character model.
        DeviceError, MissingDependencyError: the device is not there.
    """
    checkpoint = load_checkpoint(path)
    about = read_about(path, checkpoint, "text", ("settings", "vocabulary"))
    vocabulary = CharVocabulary.from_dict(about["vocabulary"])
    model = _build(TextSettings.from_dict(about["settings"]), vocabulary)
    model.load_state_dict(unpack(checkpoint.tensors, checkpoint.state["model"]))
    return model.to(device).eval(), vocabulary
