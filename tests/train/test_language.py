"""The character model: what it computes, how it is judged, how it comes back from a file."""

from __future__ import annotations

import math
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from runs_in_tests import TEXT, small_text_settings, write_series, write_text

import tinygrad_rnn as tg
from tinygrad_rnn.data import ContinuousBatches
from tinygrad_rnn.decode import Sampler, generate
from tinygrad_rnn.errors import ArgumentError, CheckpointError, DataError
from tinygrad_rnn.losses import UniformSampler
from tinygrad_rnn.optim import Adam
from tinygrad_rnn.train import (
    LAST,
    CharLM,
    SeriesSettings,
    TextSettings,
    Trainer,
    bits_per_char,
    language_loss,
    load_char_lm,
    sampled_language_loss,
    series_run,
    text_run,
)


@pytest.fixture
def model() -> CharLM:
    return CharLM(11, 6, 2, embedding_size=4).eval()


def one_long_reading(model: CharLM, symbols: Any, context: Any) -> float:
    """Bits per character symbol by symbol, with one state from the first to the last."""
    whole = [*context, *symbols]
    total, state = 0.0, None
    with tg.no_grad():
        for place in range(1, len(whole)):
            logits, state = model(tg.tensor([[whole[place - 1]]]), state)
            scores = logits.numpy()[0, 0].astype(np.float64)
            if place >= len(context):
                total += np.log(np.exp(scores).sum()) - scores[whole[place]]
    return total / len(symbols) / math.log(2)


@pytest.mark.parametrize("context", [1, 2, 9])
@pytest.mark.parametrize("length", [1, 5, 300])
def test_one_stream_is_one_long_reading(
    context: int, length: int, model: CharLM, rng: np.random.Generator
) -> None:
    text = rng.integers(0, 11, context + length)
    before, symbols = text[:context], text[context:]
    found = bits_per_char(model, symbols, before, streams=1)
    assert found == pytest.approx(one_long_reading(model, symbols, before), rel=1e-5)


class Memoryless:
    """A model without state whose probability of every symbol is known."""

    def __init__(self) -> None:
        self.logits = tg.tensor(np.log(np.arange(1, 8) / 28.0).astype(np.float32))

    def parameters(self) -> Any:
        return iter([self.logits])

    def __call__(self, symbols: tg.Tensor, state: Any) -> Any:
        return self.logits.expand(*symbols.shape, 7), None


@given(
    length=st.integers(1, 1100),
    context=st.integers(1, 40),
    streams=st.integers(1, 9),
    warmup=st.integers(1, 30),
)
@settings(max_examples=settings.default.max_examples // 2)
def test_every_symbol_is_counted_exactly_once(
    length: int, context: int, streams: int, warmup: int
) -> None:
    text = np.random.default_rng(length).integers(0, 7, context + length)
    symbols = text[context:]
    found = bits_per_char(
        Memoryless(),
        symbols,
        text[:context],
        streams=streams,
        warmup=warmup,  # type: ignore[arg-type]
    )
    assert found == pytest.approx(-np.log2((symbols + 1) / 28).mean(), rel=1e-4)


def test_several_streams_start_with_a_state(model: CharLM, rng: np.random.Generator) -> None:
    text = rng.integers(0, 11, 1200)
    warm = bits_per_char(model, text[100:], text[:100], streams=4, warmup=100)
    assert warm == pytest.approx(one_long_reading(model, text[100:], text[:100]), rel=1e-4)


@pytest.mark.parametrize(("symbols", "context"), [([], [1]), ([1], [])])
def test_there_must_be_something_to_predict_and_to_predict_from(
    symbols: list[int], context: list[int], model: CharLM
) -> None:
    with pytest.raises(DataError, match="at least one symbol, and one before it"):
        bits_per_char(model, symbols, context)


def test_a_sampled_loss_of_all_symbols_is_the_loss_and_a_few_train_as_well(model: CharLM) -> None:
    batch = np.arange(24).reshape(6, 4) % 11, np.arange(1, 25).reshape(6, 4) % 11
    with tg.no_grad():
        carry = model(tg.tensor(batch[0]))[1]  # not the state of the start
    every = UniformSampler(11, replacement=False)
    found = sampled_language_loss(model, every, 11, "softmax")(batch, carry)
    expected = language_loss(model)(batch, carry)
    assert found[0].item() == pytest.approx(expected[0].item(), rel=1e-5)
    np.testing.assert_array_equal(found[1][0].tolist(), expected[1][0].tolist())
    loss = sampled_language_loss(model, UniformSampler(11), 4, "softmax", shared=False)
    optimizer = Adam(model.parameters(), lr=0.03)
    for _ in range(100):
        optimizer.zero_grad()
        loss(batch, carry)[0].backward()
        optimizer.step()
    assert language_loss(model)(batch, carry)[0].item() < 0.2 * expected[0].item()


def test_a_run_learns_its_text(tmp_path: Path) -> None:
    settings = small_text_settings(
        write_text(tmp_path), dropout=0.0, layers=1, hidden=24, steps=150, lr=0.02
    )
    run = text_run(settings)
    before = run.test_bits()
    run.trainer.run(150, validate_every=75)
    assert run.test_bits() < 0.5 * before  # the text repeats one line


def test_the_parts_are_the_text_in_order(tmp_path: Path) -> None:
    run = text_run(small_text_settings(write_text(tmp_path)))
    whole = np.concatenate([run.train, run.validation, run.test])
    assert run.vocabulary.decode(whole) == TEXT
    assert len(run.validation) == len(run.test) == 95


def test_the_seed_decides(tmp_path: Path) -> None:
    path = write_text(tmp_path)
    weights = [
        text_run(small_text_settings(path, seed=seed)).model.output.weight.tolist()
        for seed in (1, 1, 2)
    ]
    assert weights[0] == weights[1] != weights[2]


def test_a_loaded_model_says_the_same(tmp_path: Path) -> None:
    run = text_run(small_text_settings(write_text(tmp_path)))
    run.trainer.run(3, folder=tmp_path)
    model, vocabulary = load_char_lm(tmp_path / LAST)
    assert vocabulary == run.vocabulary
    assert not model.training
    context = np.concatenate([run.train, run.validation])
    run.model.train()  # the judgement is without dropout all the same
    assert bits_per_char(model, run.test, context) == run.test_bits()


def test_a_forecaster_is_no_language_model(tmp_path: Path) -> None:
    options: dict[str, Any] = {"hidden": 4, "window": 10, "steps": 2}
    file = str(write_series(tmp_path))
    series_run(SeriesSettings(file=file, target="y", **options)).trainer.run(2, folder=tmp_path)
    with pytest.raises(CheckpointError, match="a run of kind 'text' expected"):
        load_char_lm(tmp_path / LAST)


def test_a_text_too_short_is_refused_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="lower --batch or --window"):
        text_run(small_text_settings(write_text(tmp_path), batch=64))


@pytest.mark.parametrize(
    ("name", "value"),
    [("hidden", 0), ("cell", "transformer"), ("dropout", 1.0), ("lr", math.nan), ("steps", -1)],
)
def test_settings_outside_their_range_are_named(name: str, value: Any) -> None:
    with pytest.raises(ArgumentError, match=f"settings: {name}"):
        TextSettings(**{name: value})


def test_a_resumed_run_may_only_change_what_leaves_it_the_same_run() -> None:
    settings = TextSettings(steps=10)
    assert settings.changed({"steps": 20, "hidden": 256}).steps == 20
    with pytest.raises(ArgumentError, match="hidden = 256, as in the checkpoint"):
        settings.changed({"hidden": 128})


def test_settings_of_another_version_are_refused() -> None:
    stored = {**TextSettings().to_dict(), "colour": "blue"}
    with pytest.raises(CheckpointError, match="colour"):
        TextSettings.from_dict(stored)


def test_everything_stays_on_the_device(device: str, tmp_path: Path) -> None:
    """Train, judge, save, resume, sample: a copy to the host that nobody asked for would raise."""
    text = np.tile(np.arange(9), 30)
    folder = tmp_path / "run"

    def fresh() -> Trainer:
        tg.manual_seed(3)
        model = CharLM(9, 5, 2, embedding_size=4, dropout=0.1).to(device)
        return Trainer(
            model,
            Adam(model.parameters(), lr=0.01),
            ContinuousBatches(text, batch_size=2, steps=8),
            language_loss(model, device),
            validate=lambda: bits_per_char(model, text[:50], text[:9]),
            max_norm=1.0,
        )

    whole = fresh()
    whole.run(6, validate_every=3)
    first = fresh()
    first.run(3, folder=folder, validate_every=3)
    second = fresh()
    second.load(folder / LAST)
    second.run(6, validate_every=3)
    assert second.model.output.weight.device == device
    assert second.history == whole.history
    model = second.model.eval()
    symbols = generate(model, [1, 2], Sampler(), np.random.default_rng(0), device)
    assert len(list(islice(symbols, 5))) == 5
