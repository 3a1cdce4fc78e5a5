"""CTC decoders against all paths written out."""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_rnn as tg
from tinygrad_rnn.decode import ctc_beam_search, ctc_best_path, ctc_merge, ctc_prefix_search
from tinygrad_rnn.errors import (
    ArgumentError,
    DataError,
    DTypeError,
    IndexRangeError,
    ShapeError,
)
from tinygrad_rnn.losses import ctc_loss

Array = np.ndarray
TWO_FRAMES = np.log([[[0.6, 0.4]], [[0.6, 0.4]]])


def labellings(x: Array, blank: int) -> dict[tuple[int, ...], float]:
    """p of every labelling of (T, C), from all paths."""
    found: dict[tuple[int, ...], float] = defaultdict(float)
    for path in itertools.product(range(x.shape[1]), repeat=len(x)):
        found[ctc_merge(path, blank)] += math.exp(sum(x[t, k] for t, k in enumerate(path)))
    return found


@st.composite
def inputs(draw: Any) -> tuple[Array, list[int], int]:
    steps, classes, rows = draw(st.integers(1, 5)), draw(st.integers(1, 3)), draw(st.integers(1, 3))
    lengths = draw(st.lists(st.integers(0, steps), min_size=rows, max_size=rows))
    blank = draw(st.integers(0, classes - 1))
    x = np.random.default_rng(draw(st.integers(0, 10**6))).standard_normal((steps, rows, classes))
    x = x * draw(st.sampled_from([0.3, 3.0]))
    return x - np.log(np.exp(x).sum(-1, keepdims=True)), lengths, blank


# ------------------------------------------------------------------------------- examples
def test_the_lectures_merge_table() -> None:
    table = np.array([
        [0.1, 0.15, 0.4, 0.55, 0.45, 0.2, 0.15],  # a
        [0.5, 0.6, 0.3, 0.05, 0.1, 0.05, 0.15],  # b
        [0.1, 0.05, 0.2, 0.05, 0.3, 0.3, 0.25],  # d
        [0.1, 0.10, 0.05, 0.1, 0.05, 0.2, 0.15],  # e
        [0.1, 0.05, 0.05, 0.2, 0.05, 0.1, 0.2],  # i
        [0.1, 0.05, 0.05, 0.05, 0.05, 0.05, 0.2],  # f
    ])  # fmt: skip
    [found] = ctc_best_path(np.log(table.T[:, None]), blank=None)
    assert "".join("abdeif"[k] for k in found.symbols) == "bad"
    assert ctc_merge([1, 1, 0, 0, 0, 2, 2], blank=None) == (1, 0, 2)


def test_the_best_path_is_not_the_best_labelling() -> None:
    [path] = ctc_best_path(TWO_FRAMES)
    assert path.symbols == () and math.exp(path.log_prob) == pytest.approx(0.36)
    [searched] = ctc_prefix_search(TWO_FRAMES)
    [[beam]] = ctc_beam_search(TWO_FRAMES)
    for best in (searched, beam):
        assert best.symbols == (1,) and math.exp(best.log_prob) == pytest.approx(0.64)


def test_merging() -> None:
    assert ctc_merge([]) == ()
    assert ctc_merge([0, 0]) == ()
    assert ctc_merge([1, 0, 1, 1, 2, 2, 0, 2]) == (1, 1, 2, 2)
    assert ctc_merge(np.array([1, 0, 1]), blank=1) == (0,)


# ---------------------------------------------------------------------------- enumeration
@given(inputs())
def test_best_path(given_input: Any) -> None:
    x, lengths, blank = given_input
    for row, found in enumerate(ctc_best_path(x, lengths, blank)):
        part = x[: lengths[row], row]
        assert found.symbols == ctc_merge(part.argmax(1), blank)
        assert found.log_prob == pytest.approx(part.max(1).sum())


@given(inputs())
def test_prefix_search_finds_the_best_labelling(given_input: Any) -> None:
    x, lengths, blank = given_input
    for row, found in enumerate(ctc_prefix_search(x, lengths, blank)):
        exact = labellings(x[: lengths[row], row], blank)
        assert found.log_prob == pytest.approx(math.log(max(exact.values())), abs=1e-12)
        assert exact[found.symbols] == pytest.approx(max(exact.values()))


@given(inputs())
def test_a_beam_that_holds_everything_finds_everything(given_input: Any) -> None:
    x, lengths, blank = given_input
    beams = ctc_beam_search(x, lengths, blank, beam_width=1000, n_best=1000)
    for row, found in enumerate(beams):
        exact = labellings(x[: lengths[row], row], blank)
        assert {h.symbols for h in found} == set(exact)
        for h in found:
            assert math.exp(h.log_prob) == pytest.approx(exact[h.symbols], rel=1e-10)
        assert [h.score for h in found] == sorted((h.score for h in found), reverse=True)


def bigrams(seed: int, classes: int) -> Array:
    x = np.random.default_rng(seed).standard_normal((classes + 1, classes))
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


@given(inputs(), st.integers(0, 100), st.floats(0, 2), st.floats(-1, 1))
def test_language_model_in_the_beam(
    given_input: Any, seed: int, weight: float, bonus: float
) -> None:
    x, lengths, blank = given_input
    table = bigrams(seed, x.shape[2])

    def model(state: Any, label: int | None) -> Any:
        read = (*(state or ()), *(() if label is None else (label,)))
        return read, tg.tensor(table[read[-1] if read else -1])  # the state is all that was read

    beams = ctc_beam_search(
        x, lengths, blank, beam_width=1000, n_best=1000,
        language_model=model, weight=weight, bonus=bonus,
    )  # fmt: skip
    for row, found in enumerate(beams):
        exact = labellings(x[: lengths[row], row], blank)
        assert {h.symbols for h in found} == set(exact)
        for h in found:
            spoken = sum(table[pair] for pair in itertools.pairwise((-1, *h.symbols)))
            wanted = math.log(exact[h.symbols]) + weight * spoken + bonus * len(h.symbols)
            assert h.score == pytest.approx(wanted, rel=1e-9, abs=1e-9)
            assert math.exp(h.log_prob) == pytest.approx(exact[h.symbols], rel=1e-9)


# -------------------------------------------------------------------------------- longer inputs
def spoken(rng: np.random.Generator, labels: list[int], classes: int, sharp: float) -> Array:
    """(T, 1, C) of labels that last for three steps each, with blanks between them."""
    path = [k for label in labels for k in (0, 0, label, label, label)] + [0]
    x = rng.standard_normal((len(path), classes))
    x[range(len(path)), path] += sharp
    return (x - np.log(np.exp(x).sum(-1, keepdims=True)))[:, None]


def log_p(x: Array, symbols: tuple[int, ...]) -> float:
    """log p(l|x) of one row (T, 1, C)."""
    return -float(ctc_loss(tg.tensor(x), symbols, [len(x)], [len(symbols)], reduction="sum"))


def test_log_probabilities_are_those_of_the_loss(rng: np.random.Generator) -> None:
    x = spoken(rng, [3, 3, 1, 4, 2], 6, 4.0)
    [searched] = ctc_prefix_search(x)
    assert searched.symbols == (3, 3, 1, 4, 2)
    assert searched.log_prob == pytest.approx(log_p(x, searched.symbols), rel=1e-12)
    gaps = []
    for width in (8, 64, 512):
        [found] = ctc_beam_search(x, beam_width=width, n_best=3)
        assert found[0].symbols == searched.symbols
        gaps.append([log_p(x, h.symbols) - h.log_prob for h in found])
    assert np.min(gaps) >= -1e-12  # what fell out of the beam is missing
    assert np.max(gaps[2]) < np.max(gaps[1]) < np.max(gaps[0]) and gaps[2][0] < 0.01


def test_sections_change_nothing_where_blanks_are_sure(rng: np.random.Generator) -> None:
    x = spoken(rng, [3, 3, 1, 4, 2, 2, 5], 6, 14.0)
    [whole] = ctc_prefix_search(x)
    [cut] = ctc_prefix_search(x, threshold=0.99)
    assert cut.symbols == whole.symbols == (3, 3, 1, 4, 2, 2, 5)
    assert cut.log_prob == pytest.approx(whole.log_prob, abs=1e-3)


def test_a_wide_beam_is_no_worse_than_the_best_path(rng: np.random.Generator) -> None:
    worse = 0
    for _ in range(12):
        x = spoken(rng, [1, 2, 1], 4, 2.0)
        path, [beam] = ctc_best_path(x)[0], ctc_beam_search(x, beam_width=1000)[0]
        assert log_p(x, beam.symbols) >= log_p(x, path.symbols) - 1e-12
        worse += path.symbols != beam.symbols
    assert worse  # the comparison was one


# ----------------------------------------------------------------------------- corner cases
DECODERS = [ctc_best_path, ctc_prefix_search, ctc_beam_search]


@pytest.mark.parametrize("decode", DECODERS)
def test_no_steps_and_no_rows(decode: Any) -> None:
    assert decode(np.zeros((3, 0, 2))) == []
    [found] = decode(np.zeros((0, 1, 2)))
    hypothesis = found[0] if isinstance(found, list) else found
    assert hypothesis.symbols == () and hypothesis.log_prob == 0


def test_impossible_steps() -> None:
    x = np.full((2, 1, 3), -np.inf)
    assert ctc_beam_search(x) == [[]]
    assert ctc_best_path(x)[0].log_prob == -np.inf
    x[:, :, 2] = 0  # one path alone
    assert ctc_beam_search(x)[0][0].symbols == ctc_prefix_search(x)[0].symbols == (2,)


@pytest.mark.parametrize("decode", DECODERS)
def test_tensors_are_taken(decode: Any) -> None:
    x = tg.tensor(TWO_FRAMES, requires_grad=True)
    assert str(decode(x, tg.tensor([2]))) == str(decode(TWO_FRAMES, [2]))


@pytest.mark.parametrize("decode", DECODERS)
@pytest.mark.parametrize(
    ("args", "error", "match"),
    [
        ((TWO_FRAMES[0],), ShapeError, r"\(T, N, C\)"),
        ((TWO_FRAMES.astype(int),), DTypeError, "floating"),
        ((TWO_FRAMES * np.nan,), DataError, "NaN"),
        ((TWO_FRAMES, [3]), ArgumentError, "lengths in 0 … 2 expected, got 3 in row 0"),
        ((TWO_FRAMES, [-1]), ArgumentError, "got -1 in row 0"),
        ((TWO_FRAMES, [1, 2]), ShapeError, r"lengths of shape \(1,\)"),
        ((TWO_FRAMES, [1.0]), DTypeError, "integer lengths"),
        ((TWO_FRAMES, None, 2), IndexRangeError, "blank in 0 … 1 expected, got 2"),
    ],
)
def test_bad_input(decode: Any, args: Any, error: Any, match: str) -> None:
    with pytest.raises(error, match=match):
        decode(*args)


def test_bad_options() -> None:
    for options in ({"beam_width": 0}, {"n_best": 0}, {"n_best": 17}, {"beam_width": 1.5}):
        with pytest.raises(ArgumentError, match=next(iter(options))):
            ctc_beam_search(TWO_FRAMES, **options)
    with pytest.raises(ShapeError, match=r"shape \(2,\) from language_model"):
        ctc_beam_search(TWO_FRAMES, language_model=lambda state, label: (None, np.zeros(3)))
    for threshold in (0.0, 1.0, math.nan):
        with pytest.raises(ArgumentError, match="threshold"):
            ctc_prefix_search(TWO_FRAMES, threshold=threshold)
    with pytest.raises(ArgumentError, match="limit, a whole number >= 1"):
        ctc_prefix_search(TWO_FRAMES, limit=0)


def test_prefix_search_gives_up_in_words() -> None:
    x = np.full((60, 1, 5), -math.log(5))
    with pytest.raises(ArgumentError, match=r"an answer from 20 prefixes.*\n.*ctc_beam_search"):
        ctc_prefix_search(x, limit=20)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_language_model_that_breaks_is_not_taken_for_silence(value: float) -> None:
    """NaN is not above −inf: each prefix that goes on would be dropped, without a word."""

    def model(state: Any, label: int | None) -> Any:
        return None, np.array([0.0, value])

    found = ctc_beam_search(TWO_FRAMES, language_model=lambda s, k: (s, np.array([value, 0.0])))
    assert found == ctc_beam_search(TWO_FRAMES)  # the entry of the blank is not used
    with pytest.raises(DataError, match="language_model without NaN and \\+inf"):
        ctc_beam_search(TWO_FRAMES, language_model=model)


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"weight": math.nan}, ArgumentError, "weight"),
        ({"weight": -1.0}, ArgumentError, "weight"),
        ({"bonus": math.nan}, ArgumentError, "bonus"),
        ({"bonus": "1"}, ArgumentError, "bonus"),
        ({"language_model": 3}, DTypeError, "language_model, a function"),
        ({"language_model": lambda state, label: np.zeros(2)}, DTypeError, r"\(state, log-prob"),
    ],
)
def test_what_adds_nothing_to_a_score_is_refused(options: Any, error: Any, match: str) -> None:
    with pytest.raises(error, match=match):
        ctc_beam_search(TWO_FRAMES, **options)
