"""Every argument of every constructor in `nn`, given what it cannot be: a refusal, or a module."""

from __future__ import annotations

import inspect
from contextlib import suppress
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn import nn
from tinygrad_rnn.errors import ArgumentError, DTypeError, ShapeError, TinygradRNNError

# the least that each parameter without a default may be; those of one class under its name
SOUND: dict[str, Any] = {
    "cell": nn.LSTMCell, "contexts": [(0, 1)], "dilations": [1, 2], "embedding_dim": 3,
    "embedding_size": 3, "F": nn.Linear(7, 4), "hidden": 3, "hidden_size": 4, "in_channels": 2,
    "in_features": 3, "input_size": 3, "kernel_size": 3, "layers": [nn.RNN(3, 4)],
    "memory_size": 3, "network": nn.RNN(1, 1), "normalized_shape": 3, "num_embeddings": 5,
    "out_channels": 2, "out_features": 2, "output_lags": 1, "output_size": 2, "residual": 3,
    "sizes": [2, 3, 2], "source_symbols": 4, "taps": 2, "target_symbols": 4, "threshold": 1.0,
    "visible": 3, "weights": [1, 1],
    "DMLP": {"hidden": [3]}, "NARX": {"hidden": [3]}, "TDNN": {"sizes": [2, 3]},
}  # fmt: skip
NO_CONSTRUCTORS = {"Cell", "Frames", "Module", "Parameter", "WaveNetCache"}
CLASSES = [
    name
    for name in nn.__all__
    if inspect.isclass(getattr(nn, name)) and name not in NO_CONSTRUCTORS
]
WRONG = [
    0, -1, 2.5, float("nan"), None, "x", "tanh", True, [1, 2], (1, 2), {}, np.int64(3), print,
    tg.ones(2, 2), nn.LSTMCell, nn.Linear(2, 2), nn.GRUCell(3, 4),
]  # fmt: skip


def arguments(name: str) -> tuple[list[str], dict[str, Any]]:
    """The parameters of a constructor, and sound values of those that it needs."""
    every = inspect.signature(getattr(nn, name)).parameters.values()
    named = [p for p in every if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)]
    needed = [p.name for p in named if p.default is p.empty]
    own = {**SOUND, **SOUND.get(name, {})}
    return [p.name for p in named], {key: own[key] for key in needed}


@pytest.mark.parametrize("name", CLASSES)
def test_no_argument_breaks_in_other_words(name: str) -> None:
    make = getattr(nn, name)
    names, sound = arguments(name)
    assert isinstance(make(**sound), nn.Module)
    for argument in names:
        for value in WRONG:
            with suppress(TinygradRNNError):
                assert isinstance(make(**{**sound, argument: value}), nn.Module)


FLAGS = {
    "attention", "batch_first", "bias", "bidirectional", "coupled_gates", "elementwise_affine",
    "forget_gate", "layer_norm", "output_tanh", "peephole", "reset_after", "strict",
    "zero_infinity",
}  # fmt: skip


@pytest.mark.parametrize("name", CLASSES)
def test_what_stands_in_the_place_of_a_flag_is_no_flag(name: str) -> None:
    names, sound = arguments(name)
    for argument in FLAGS & set(names):
        for value in (0.5, "tanh", None, 1):
            with pytest.raises(ArgumentError, match=f"{argument}, True or False, expected"):
                getattr(nn, name)(**{**sound, argument: value})


class Own(nn.Module):
    """A cell of a user's own."""


F = nn.Linear(8, 5)
REFUSED: dict[str, tuple[Any, type[TinygradRNNError], str]] = {
    "no cell": (lambda: nn.Recurrent(3, 2, 4), DTypeError, "Recurrent: cell, a function.*int 3"),
    "a name": (lambda: nn.Recurrent("lstm", 3, 5), DTypeError, "cell, a function.*str"),
    "a made cell": (
        lambda: nn.Recurrent(nn.GRUCell(3, 5), 3, 5), DTypeError,
        r"a module\nhint: nn.GRUCell without parentheses",
    ),
    "a made cell of ones own": (
        lambda: nn.Recurrent(Own(), 3, 5), DTypeError, r"\nhint: Own without parentheses"
    ),
    "no option of a GRU": (
        lambda: nn.GRU(3, 4, proj_size=2), ArgumentError,
        "GRU: options out of num_layers, bias, .*, reset_after expected, got 'proj_size'",
    ),
    "no option of an RNN": (
        lambda: nn.RNN(3, 4, tanh=True), ArgumentError, "RNN: .*num_layers, nonlinearity.*'tanh'"
    ),
    "the layer's own": (
        lambda: nn.LSTM(3, 4, num_layer=2), ArgumentError,
        "out of num_layers, bias, batch_first, dropout, bidirectional, .*peephole.*'num_layer'$",
    ),
    "of the call": (
        lambda: nn.LSTM(3, 4, engine="loop"), ArgumentError, r"\nhint: it.*layer\(xs, engine=…\)"
    ),
    "of the call, too": (
        lambda: nn.GRU(3, 4, lengths=[1]), ArgumentError, r"\nhint: .*layer\(xs, lengths=…\)"
    ),
    "a layer": (lambda: nn.Recurrent(nn.LSTM, 3, 5), DTypeError, r"got LSTM\n.*nn.LSTMCell"),
    "a step": (
        lambda: nn.Recurrent(lambda h, x: ((x + h @ F.weight,) * 2), 3, 4), DTypeError,
        r"a class or a function \(input_size.*<lambda>\(3, 4\), which raises.*\n.*tg.scan",
    ),
    "a step on numbers": (
        lambda: nn.Recurrent(lambda h, x: (h + x, h), 3, 4), DTypeError, r"got tuple\n.*tg.scan"
    ),
    "a factory's error": (
        lambda: nn.Recurrent(lambda i, h: nn.LSTMCell(i, h, proj_size=h), 3, 4), ArgumentError,
        "LSTMCell: 0 <= proj_size",
    ),
    "no step": (lambda: nn.Recurrent(nn.Linear, 3, 5), DTypeError, r"forward\(carry, x\)"),
    "unknown": (lambda: nn.LSTM(3, 5, droput=0.1), ArgumentError, "LSTM: .*peephole.*'droput'"),
    "of another": (
        lambda: nn.Recurrent(nn.GRUCell, 3, 5, peephole=True), ArgumentError, "reset_after.*'peep"
    ),
    "dropout": (lambda: nn.LSTM(3, 5, 2, True, False, True), ArgumentError, "probability.*True"),
    "zoneout": (lambda: nn.LSTM(3, 5, zoneout=(0.1, 0.2, 0.3)), ArgumentError, "one number or two"),
    "one way": (lambda: nn.BRNN(3, 5, 2, nn.LSTMCell), ArgumentError, "BRNN.*'bidirectional'"),
    "side by side": (
        lambda: nn.ParallelRecurrent([nn.Linear(3, 4)]), DTypeError, r"forward\(xs, hx\).*Linear"
    ),
    "loss option": (lambda: nn.CrossEntropyLoss(weights=1), ArgumentError, "out of weight,.*'weig"),
    "reduction": (lambda: nn.MSELoss(reduction="avg"), ArgumentError, "MSELoss: reduction.*'avg'"),
    "offsets": (lambda: nn.TDNN([(0.5, 1)], [3, 2]), ArgumentError, "whole numbers"),
    "no weights": (lambda: nn.McCullochPitts([], 1), ArgumentError, "weights.*0"),
    "F": (
        lambda: nn.StateSpaceCell(3, 5, F=nn.Linear(8, 4)), ShapeError,
        r"F \(B, 8\) -> \(B, 5\) expected, got one to \(1, 4\)",
    ),
    "G": (
        lambda: nn.StateSpaceCell(3, 5, F=F, G=nn.Linear(5, 2), outputs=3), ShapeError, r"\(B, 3\)"
    ),
    "no G": (lambda: nn.StateSpaceCell(3, 5, F=F, outputs=3), ArgumentError, "outputs 5 without G"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refused_in_words_that_help(case: str) -> None:
    make, error, words = REFUSED[case]
    with pytest.raises(error, match=words):
        make()


def test_sizes_may_be_numpys() -> None:
    classes = np.array([0, 3, 1]).max() + 1
    assert nn.Linear(2, classes)(tg.ones(1, 2)).shape == (1, 4)
    assert nn.LSTM(2, classes)(tg.ones(5, 1, 2))[0].shape == (5, 1, 4)


def test_outputs_of_a_state_space_model_are_those_of_g() -> None:
    cell = nn.StateSpaceCell(3, 5, F=F, G=nn.Linear(5, 2))
    assert cell.output_size == 2
    assert cell(tg.zeros(4, 5), tg.ones(4, 3))[1].shape == (4, 2)
