"""RNN, LSTM and GRU against PyTorch's with the same weights: outputs, states and all gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn import nn

torch = pytest.importorskip("torch")

T, B, I, H = 6, 3, 4, 5  # noqa: E741

KINDS: list[tuple[str, dict[str, Any]]] = [
    ("RNN", {}),
    ("RNN", {"nonlinearity": "relu"}),
    ("LSTM", {}),
    ("LSTM", {"proj_size": 2}),
    ("GRU", {}),
]
SHAPES: list[dict[str, Any]] = [
    {},
    {"num_layers": 2, "bidirectional": True},
    {"num_layers": 3, "bias": False},
    {"num_layers": 2, "batch_first": True},
]


def kind_id(value: Any) -> str:
    return "-".join(map(str, value.values())) if isinstance(value, dict) else str(value)


def pair(kind: str, **options: Any) -> tuple[Any, Any]:
    """The layer and PyTorch's, with the weights of the latter."""
    torch.manual_seed(1)
    theirs = getattr(torch.nn, kind)(I, H, **options).double()
    ours = getattr(nn, kind)(I, H, **options).double()
    ours.load_state_dict({name: value.numpy() for name, value in theirs.state_dict().items()})
    return ours, theirs


def parts(state: Any) -> list[Any]:
    return list(state) if isinstance(state, tuple) else [state]


def numbers(values: list[Any]) -> list[np.ndarray]:
    return [np.asarray(value.detach()) for value in values]


def start(rng: np.random.Generator, layer: Any, single: bool = False) -> list[np.ndarray]:
    """A random initial state for each part of the carry."""
    _, final = layer(tg.zeros(*((1, I) if single else (1, 1, I)), dtype=tg.float64))
    shapes = [p.shape if single else (p.shape[0], B, p.shape[2]) for p in parts(final)]
    return [rng.standard_normal(shape) for shape in shapes]


def packed(parts: list[Any]) -> Any:
    return tuple(parts) if len(parts) > 1 else parts[0]


def compare(ours: list[Any], theirs: list[Any]) -> None:
    for a, b in zip(numbers(ours), numbers(theirs), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-12)


def compare_gradients(ours: Any, theirs: Any, inputs: list[Any], their_inputs: list[Any]) -> None:
    named = dict(theirs.named_parameters())
    assert list(dict(ours.named_parameters())) == list(named)
    compare([p.grad for _, p in ours.named_parameters()], [p.grad for p in named.values()])
    compare([x.grad for x in inputs], [x.grad for x in their_inputs])


def weighted_sum(values: list[Any], weights: list[np.ndarray], tensor: Any) -> Any:
    return sum((value * tensor(w)).sum() for value, w in zip(values, weights, strict=True))


@pytest.mark.parametrize("options", SHAPES, ids=kind_id)
@pytest.mark.parametrize(("kind", "extra"), KINDS, ids=kind_id)
def test_values_states_and_gradients(
    kind: str, extra: dict[str, Any], options: dict[str, Any], rng: np.random.Generator
) -> None:
    ours, theirs = pair(kind, **extra, **options)
    xs = rng.standard_normal((B, T, I) if options.get("batch_first") else (T, B, I))
    first = start(rng, ours)
    mine = [tg.tensor(a, requires_grad=True) for a in (xs, *first)]
    yours = [torch.tensor(a, requires_grad=True) for a in (xs, *first)]
    y, final = ours(mine[0], packed(mine[1:]))
    z, last = theirs(yours[0], packed(yours[1:]))
    out, expected = [y, *parts(final)], [z, *parts(last)]
    compare(out, expected)
    weights = [rng.standard_normal(value.shape) for value in out]
    weighted_sum(out, weights, tg.tensor).backward()
    weighted_sum(expected, weights, torch.tensor).backward()
    compare_gradients(ours, theirs, mine, yours)


@pytest.mark.parametrize(("kind", "extra"), KINDS, ids=kind_id)
def test_lengths_do_what_packing_does(
    kind: str, extra: dict[str, Any], rng: np.random.Generator
) -> None:
    ours, theirs = pair(kind, num_layers=2, bidirectional=True, **extra)
    lengths = [2, 6, 1]
    xs = rng.standard_normal((T, B, I))
    mine, yours = tg.tensor(xs, requires_grad=True), torch.tensor(xs, requires_grad=True)
    y, final = ours(mine, lengths=lengths)
    pack, unpack = torch.nn.utils.rnn.pack_padded_sequence, torch.nn.utils.rnn.pad_packed_sequence
    z, last = theirs(pack(yours, lengths, enforce_sorted=False))
    out, expected = [y, *parts(final)], [unpack(z, total_length=T)[0], *parts(last)]
    compare(out, expected)
    weights = [rng.standard_normal(value.shape) for value in out]
    weighted_sum(out, weights, tg.tensor).backward()
    weighted_sum(expected, weights, torch.tensor).backward()
    compare_gradients(ours, theirs, [mine], [yours])
    assert mine.grad is not None and not mine.grad.numpy()[2:, 0].any()  # padding is not seen


@pytest.mark.parametrize(("kind", "extra"), KINDS, ids=kind_id)
@pytest.mark.parametrize("batch_first", [False, True])
def test_one_sequence_without_batch(
    kind: str, extra: dict[str, Any], batch_first: bool, rng: np.random.Generator
) -> None:
    ours, theirs = pair(kind, bidirectional=True, num_layers=2, batch_first=batch_first, **extra)
    xs, first = rng.standard_normal((T, I)), start(rng, ours, single=True)
    y, final = ours(tg.tensor(xs), packed([tg.tensor(a) for a in first]))
    z, last = theirs(torch.tensor(xs), packed([torch.tensor(a) for a in first]))
    compare([y, *parts(final)], [z, *parts(last)])


@pytest.mark.parametrize(("kind", "extra"), [("RNN", {}), ("LSTM", {}), ("GRU", {})], ids=kind_id)
def test_cells_take_pytorchs_weights(
    kind: str, extra: dict[str, Any], rng: np.random.Generator
) -> None:
    theirs = getattr(torch.nn, f"{kind}Cell")(I, H).double()
    cell = getattr(nn, f"{kind}Cell")(I, H).double()
    cell.load_state_dict(theirs.state_dict())
    x, h, c = (rng.standard_normal((B, n)) for n in (I, H, H))
    carry = (h, c) if kind == "LSTM" else h
    after, y = cell(tg.tree.tree_map(tg.tensor, carry), tg.tensor(x))
    expected = theirs(torch.tensor(x), tg.tree.tree_map(torch.tensor, carry))
    compare(parts(after), parts(expected))
    compare([y], parts(expected)[:1])
