"""Beam search against all sequences written out, and the example of the lecture."""

from __future__ import annotations

import itertools
import math
import string
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_rnn as tg
from tinygrad_rnn.decode import Hypothesis, as_step, beam_search
from tinygrad_rnn.errors import ArgumentError, DataError, DTypeError, ShapeError

V = 3
END = 2


def random_table(seed: int) -> np.ndarray:
    """log p(symbol | the two before it), (V, V, V)."""
    x = np.random.default_rng(seed).standard_normal((V, V, V)) * 2
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


def table_step(table: np.ndarray) -> Any:
    """A model whose state is the symbol before the last."""

    def step(state: Any, symbols: np.ndarray) -> Any:
        return {"before": symbols}, table[state["before"], symbols]

    return step


def everything(table: np.ndarray, first: int, longest: int, alpha: float) -> list[Hypothesis]:
    """All that ends within `longest` symbols, then all that does not, each from the best down."""
    found = []
    for length in range(1, longest + 1):
        for text in itertools.product(range(V), repeat=length):
            ended = text[-1] == END
            if END in text[:-1] or (not ended and length < longest):
                continue
            history = [0, first, *text]
            total = sum(table[tuple(history[i : i + 3])] for i in range(length))
            score = total / ((5 + length) / 6) ** alpha
            found.append(Hypothesis(text[:-1] if ended else text, total, score, ended))
    return sorted(found, key=lambda h: (not h.finished, -h.score))


def assert_same(found: list[Hypothesis], wanted: list[Hypothesis]) -> None:
    """The same numbers in the same order; sequences of equal score may change places."""
    by_symbols = {(h.symbols, h.finished): h for h in wanted}
    for h, ranked in zip(found, wanted, strict=False):
        own = by_symbols[h.symbols, h.finished]
        assert (h.log_prob, h.score) == pytest.approx((own.log_prob, own.score), rel=1e-12)
        assert (h.finished, h.score) == (ranked.finished, pytest.approx(ranked.score, rel=1e-12))
    assert len({h.symbols for h in found}) == len(found)


@given(st.integers(0, 10**6), st.integers(1, 4), st.sampled_from([0.0, 0.6, 2.0]))
def test_a_beam_that_holds_everything_finds_everything(
    seed: int, longest: int, alpha: float
) -> None:
    tables = [random_table(seed), random_table(seed + 1)]
    first = [0, 1]

    def step(state: Any, symbols: np.ndarray) -> Any:  # two sequences, two models
        rows = np.stack([tables[w][b, s] for w, b, s in zip(*state, symbols, strict=True)])
        return (state[0], symbols), rows

    found = beam_search(
        step, (np.array([0, 1]), np.zeros(2, int)), first,
        beam_width=200, max_length=longest, end=END, length_penalty=alpha, n_best=100,
    )  # fmt: skip
    for table, start, hypotheses in zip(tables, first, found, strict=True):
        wanted = everything(table, start, longest, alpha)
        assert_same(hypotheses, wanted)
        assert len(hypotheses) == min(100, len(wanted))


@given(st.integers(0, 10**6), st.sampled_from([0.0, 1.0]))
def test_stopping_early_changes_nothing(seed: int, alpha: float) -> None:
    """With n_best=1 the search ends as soon as nothing can overtake; the answer is the best."""
    table = random_table(seed)
    [[found]] = beam_search(
        table_step(table), {"before": np.zeros(1, int)}, [1],
        beam_width=200, max_length=4, end=END, length_penalty=alpha,
    )  # fmt: skip
    assert_same([found], everything(table, 1, 4, alpha))


def test_width_one_is_greedy() -> None:
    table = random_table(3)
    [[found]] = beam_search(
        table_step(table), {"before": np.zeros(1, int)}, [1], beam_width=1, max_length=6
    )
    history = [0, 1]
    for _ in range(6):
        history.append(int(table[history[-2], history[-1]].argmax()))
    assert found.symbols == tuple(history[2:])
    assert found.finished


def lecture_step(state: None, symbols: np.ndarray) -> Any:
    """The network of "The quick br…": after br a .3 or o .4, after bra c .3, after bro w .6."""
    letters = string.ascii_lowercase
    given = {
        "r": {"a": 0.3, "b": 0.01, "c": 0.01, "o": 0.4},
        "a": {"a": 0.01, "b": 0.1, "c": 0.3},
        "o": {"a": 0.2, "b": 0.01, "w": 0.6},
    }
    rows = np.full((len(symbols), 26), 1e-9)
    for row, symbol in zip(rows, symbols, strict=True):
        for letter, p in given[letters[symbol]].items():
            row[letters.index(letter)] = p
    return state, np.log(rows)


def test_the_quick_brow() -> None:
    letters = string.ascii_lowercase
    [found] = beam_search(
        lecture_step, None, [letters.index("r")], beam_width=2, max_length=2, n_best=2
    )
    words = ["br" + "".join(letters[i] for i in h.symbols) for h in found]
    assert words == ["brow", "brac"]
    assert [math.exp(h.log_prob) for h in found] == pytest.approx([0.4 * 0.6, 0.3 * 0.3])


def test_a_wider_beam_finds_what_greed_misses() -> None:
    chances = {0: [0.6, 0.4, 0.0], 1: [0.34, 0.33, 0.33], 2: [0.0, 1.0, 0.0]}
    with np.errstate(divide="ignore"):
        table = {k: np.log(p) for k, p in chances.items()}
    start = {9: np.log([0.1, 0.5, 0.4])}

    def step(state: Any, symbols: np.ndarray) -> Any:
        return state, np.stack([(start | table)[s] for s in symbols.tolist()])

    greedy, beam = (beam_search(step, None, [9], beam_width=k, max_length=2)[0][0] for k in (1, 2))
    assert greedy.symbols == (1, 0) and math.exp(greedy.log_prob) == pytest.approx(0.17)
    assert beam.symbols == (2, 1) and math.exp(beam.log_prob) == pytest.approx(0.4)


def chain(*chances: Any) -> Any:
    """A model whose chances depend on the number of symbols read."""

    def step(state: np.ndarray, symbols: np.ndarray) -> Any:
        with np.errstate(divide="ignore"):
            return state + 1, np.log([chances[n] for n in state])

    return step


def test_the_search_goes_on_while_the_penalty_may_turn_the_order() -> None:
    """The first to end leads by probability, .55 to .45, but loses by score at length 4."""
    step = chain([0.45, 0.55], [1, 0], [1, 0], [0, 1])
    options: Any = {"beam_width": 1, "max_length": 4, "end": 1}
    [[short]] = beam_search(step, np.zeros(1, int), [0], **options)
    assert short.symbols == () and short.log_prob == pytest.approx(math.log(0.55))
    options["beam_width"] = 2
    [[long]] = beam_search(step, np.zeros(1, int), [0], length_penalty=2.0, **options)
    assert long.symbols == (0, 0, 0)
    assert long.score == pytest.approx(math.log(0.45) / (9 / 6) ** 2)


def test_what_ends_takes_no_place_from_what_goes_on() -> None:
    step = chain([0.5, 0.5, 0], [0.4, 0, 0.6], [0, 0, 1])
    [[found]] = beam_search(
        step, np.zeros(1, int), [0], beam_width=2, max_length=3, end=2, length_penalty=3.0
    )
    assert found.symbols in {(0, 0), (1, 0)}  # though (0,) and (1,) fill the beam of 2
    assert found.log_prob == pytest.approx(math.log(0.5 * 0.4))


def test_states_follow_their_beams_in_any_axis_and_kind() -> None:
    """The state holds all that was read, so each row can check that it is its own."""

    def step(state: Any, symbols: np.ndarray) -> Any:
        read, count = state  # tensor (1, R, 8), array (1, R)
        seen = read.numpy().copy()
        seen[0, range(len(symbols)), count[0]] = symbols
        for row, n in zip(seen[0], count[0], strict=True):
            assert all(b == (a * 2 + 1) % 5 or b == (a + 2) % 5
                       for a, b in itertools.pairwise(row[: n + 1].astype(int)))  # fmt: skip
        rows = np.full((len(symbols), 5), -np.inf)
        for row, symbol in zip(rows, symbols, strict=True):
            row[(symbol * 2 + 1) % 5] = math.log(0.6)
            row[(symbol + 2) % 5] = math.log(0.4)
        return (tg.tensor(seen), count + 1), rows

    state = (tg.zeros(1, 2, 8), np.zeros((1, 2), int))
    found = beam_search(step, state, [0, 3], beam_width=4, max_length=5, batch_dim=1, n_best=4)
    assert [len(hypotheses) for hypotheses in found] == [4, 4]


def test_a_recurrent_layer_as_a_step() -> None:
    tg.manual_seed(3)
    lstm, out = tg.nn.LSTM(5, 7, num_layers=2), tg.nn.Linear(7, 5)

    def model(symbols: Any, state: Any) -> Any:
        ys, state = lstm(tg.one_hot(symbols, 5).float(), state)
        return out(ys) * 4.0, state

    found = beam_search(
        as_step(model), None, [0, 4], beam_width=3, max_length=6, n_best=3, batch_dim=1
    )
    for first, hypotheses in zip([0, 4], found, strict=True):
        assert len(hypotheses) == 3
        for h in hypotheses:
            logits, _ = model(tg.tensor([[first], *([s] for s in h.symbols[:-1])]), None)
            log_probs = tg.functional.log_softmax(logits).detach().numpy()[:, 0]
            total = log_probs[range(6), h.symbols].sum()
            assert h.log_prob == pytest.approx(total, rel=1e-5)


def test_a_model_that_cannot_go_on_gives_nothing() -> None:
    def step(state: Any, symbols: np.ndarray) -> Any:
        return state, np.full((len(symbols), 2), -np.inf)

    assert beam_search(step, None, [0, 0], beam_width=2, max_length=3) == [[], []]


def uniform(state: Any, symbols: np.ndarray) -> Any:
    return state, np.full((len(symbols), 2), math.log(0.5))


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"beam_width": 0}, "beam_width.* got 0"),
        ({"beam_width": 2.0}, "beam_width.* got 2.0"),
        ({"max_length": 0}, "max_length.* got 0"),
        ({"n_best": 0}, "n_best.* got 0"),
        ({"n_best": 3}, "n_best <= beam_width 2 expected, got 3"),
        ({"length_penalty": -1.0}, "length_penalty, a number >= 0 and finite, expected, got -1.0"),
        ({"length_penalty": math.nan}, "got nan"),
        ({"end": 2}, "end in 0 … 1 expected, got 2"),
        ({"end": -1}, "end, a whole number >= 0, expected, got -1"),
        ({"end": 0.5}, "end, a whole number >= 0, expected, got 0.5"),
        ({"end": "."}, "end, a whole number"),
        ({"batch_dim": "rows"}, "batch_dim, a whole number"),
    ],
)
def test_options_out_of_range(options: Any, match: str) -> None:
    with pytest.raises(ArgumentError, match=match):
        beam_search(uniform, None, [0], **({"beam_width": 2, "max_length": 3} | options))


def test_wrong_models_and_first_symbols() -> None:
    def search(step: Any = uniform, first: Any = (0,)) -> Any:
        return beam_search(step, None, first, beam_width=2, max_length=3)

    with pytest.raises(ShapeError, match=r"shape \(1, V\).* got \(2,\)"):
        search(lambda state, symbols: (state, np.zeros(2)))
    with pytest.raises(DataError, match="NaN"):
        search(lambda state, symbols: (state, np.full((len(symbols), 2), np.nan)))
    with pytest.raises(ShapeError, match="first symbols"):
        search(first=[])
    with pytest.raises(DTypeError, match="integer first"):
        search(first=[0.5])


@pytest.mark.parametrize("kind", [np.array, tg.tensor])
def test_states_whose_rows_are_on_another_axis_are_refused(kind: Any) -> None:
    """Layers first, as recurrent layers have them: rows picked on that axis would be layers."""

    def step(state: Any, symbols: np.ndarray) -> Any:
        assert state.shape == (2, len(symbols), 4)
        return uniform(state, symbols)

    def search(batch_dim: int) -> Any:
        state = kind(np.zeros((2, 1, 4)))
        return beam_search(step, state, [0], beam_width=2, max_length=3, batch_dim=batch_dim)

    assert len(search(1)) == 1
    for wrong in (0, 2, 3):
        with pytest.raises(ShapeError, match=rf"states with 1 rows on axis {wrong}") as caught:
            search(wrong)
        assert "batch_dim=1" in str(caught.value)
