"""The task generators: their definitions on every example, their distributions over many."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy as np
import pytest

from tinygrad_rnn.data.tasks import (
    Adding,
    EmbeddedReber,
    HochreiterAdding,
    Memorization,
    Multiplication,
    RandomPermutation,
    TemporalOrder,
    Xor,
    copying,
    five_bit,
    mackey_glass,
    solved,
    twenty_bit,
)
from tinygrad_rnn.data.tasks.reber import REBER, SYMBOLS
from tinygrad_rnn.errors import ArgumentError, DataError, ShapeError

MANY = 4000
TASKS = [
    TemporalOrder(30), TemporalOrder(30, symbols=3), Adding(20), Multiplication(20), Xor(20),
    HochreiterAdding(30), five_bit(7), twenty_bit(7), copying(7), RandomPermutation(100),
    EmbeddedReber(),
]  # fmt: skip


def is_uniform(found: Any, low: int, high: int) -> None:
    """Whole numbers low … high − 1 with equal chance: χ² of the counts, at six deviations."""
    counts = Counter(np.ravel(found).tolist())
    assert set(counts) == set(range(low, high))
    expected = sum(counts.values()) / (high - low)
    chi = sum((n - expected) ** 2 / expected for n in counts.values())
    freedom = high - low - 1
    assert chi < freedom + 6 * math.sqrt(2 * freedom) + 6


def answers(task: Any, batch: Any) -> Any:
    """Outputs that say the targets."""
    if task.output_size == 1 or isinstance(task, EmbeddedReber):
        return batch.targets.astype(float)
    return np.eye(task.output_size)[batch.targets]


# ----------------------------------------------------------------------------- what all have
@pytest.mark.parametrize("task", TASKS, ids=repr)
def test_streams_are_seeded_infinite_and_resumable(task: Any) -> None:
    one, same, other = task.stream(4), task.stream(4), task.stream(4, seed=1)
    for _ in range(3):
        a, b, c = next(one), next(same), next(other)
        assert a.inputs.tobytes() == b.inputs.tobytes()
        assert a.targets.tobytes() == b.targets.tobytes()
        assert a.inputs.tobytes() != c.inputs.tobytes()
    state = one.state_dict()
    following = next(one)
    resumed = task.stream(4)
    resumed.load_state_dict(state)
    assert next(resumed).inputs.tobytes() == following.inputs.tobytes()
    assert following.inputs.tobytes() != a.inputs.tobytes()
    with pytest.raises(DataError, match="seed"):
        other.load_state_dict(state)


@pytest.mark.parametrize("task", TASKS, ids=repr)
def test_sizes_and_judges(task: Any) -> None:
    batch = next(task.stream(50))
    assert batch.inputs.shape[1:] == (50, task.input_size)
    assert batch.inputs.dtype == np.float32
    right = answers(task, batch)
    assert not task.wrong(right, batch).any()
    assert solved(task.wrong(right, batch))
    spoilt = np.full_like(right, np.nan) if task.output_size == 1 else -right
    assert task.wrong(spoilt, batch).all()
    with pytest.raises(ShapeError, match="outputs of shape"):
        task.wrong(right[..., None], batch)


def test_solved_is_less_than_one_percent_wrong() -> None:
    wrong = np.zeros(10_000, dtype=bool)
    wrong[:99] = True
    assert solved(wrong)
    wrong[99] = True
    assert not solved(wrong)
    with pytest.raises(ShapeError, match="at least one"):
        solved([])


# ------------------------------------------------------------------------------ temporal order
@pytest.mark.parametrize("symbols", [2, 3])
def test_temporal_order(symbols: int) -> None:
    length = 60
    batch = next(TemporalOrder(length, symbols).stream(MANY))
    assert (batch.inputs.sum(axis=2) == 1).all()
    said = batch.inputs.argmax(axis=2)
    special = said < 2
    assert (special.sum(axis=0) == symbols).all()
    places = np.stack([np.flatnonzero(column) for column in special.T])
    for k, start in enumerate({2: (6, 30), 3: (6, 18, 36)}[symbols]):
        is_uniform(places[:, k], start, start + 6)
    values = said.T[special.T].reshape(MANY, symbols)
    np.testing.assert_array_equal(batch.targets, values @ (1 << np.arange(symbols)))
    is_uniform(batch.targets, 0, 1 << symbols)
    is_uniform(said[~special], 2, 6)


# ---------------------------------------------------------------------------------- arithmetic
@pytest.mark.parametrize(
    ("kind", "target"),
    [
        (Adding, lambda a, b: (a + b) / 2),
        (Multiplication, lambda a, b: a * b),
        (Xor, lambda a, b: np.logical_xor(a, b)),
    ],
)
def test_two_marked_numbers(kind: Any, target: Any) -> None:
    lengths = []
    for batch in (next(stream) for stream in [kind(50).stream(100, seed=3)] for _ in range(60)):
        length = len(batch.inputs)
        lengths.append(length)
        values, marks = batch.inputs[..., 0], batch.inputs[..., 1]
        first, second = (
            np.array([np.flatnonzero(column)[k] for column in marks.T]) for k in (0, 1)
        )
        assert (marks.sum(axis=0) == 2).all()
        assert set(np.unique(marks)) == {0.0, 1.0}
        assert (first < 0.1 * length).all()
        assert ((second >= 0.1 * length) & (second < 0.5 * length)).all()
        columns = np.arange(100)
        expected = target(values[first, columns], values[second, columns])
        np.testing.assert_allclose(batch.targets, expected, rtol=1e-6)
    assert set(lengths) == set(range(50, 56))  # l ~ U[T, 1.1T]
    if kind is not Xor:
        assert values.min() >= 0 and values.max() < 1
        assert values.mean() == pytest.approx(0.5, abs=0.02)


def test_marks_are_uniform() -> None:
    batch = next(Adding(50).stream(MANY, seed=2))
    length = len(batch.inputs)
    places = np.stack([np.flatnonzero(column) for column in batch.inputs[..., 1].T])
    is_uniform(places[:, 0], 0, math.ceil(length / 10))
    is_uniform(places[:, 1], math.ceil(length / 10), math.ceil(length / 2))


def test_the_two_criteria() -> None:
    strict, mild = Adding(20), Adding(20, criterion="pascanu")
    batch = next(strict.stream(4))
    off = batch.targets.astype(float) + np.array([0.039, 0.041, 0.199, 0.201])
    assert strict.wrong(off, batch).tolist() == [False, True, True, True]
    assert mild.wrong(off, batch).tolist() == [False, False, False, True]


def test_guessing_the_mean_of_two_costs_a_twentyfourth() -> None:
    batch = next(Adding(50).stream(20_000))
    assert np.mean((batch.targets - 0.5) ** 2) == pytest.approx(1 / 24, rel=0.03)


def test_hochreiters_adding() -> None:
    task, seen = HochreiterAdding(40), Counter()
    for batch in (next(stream) for stream in [task.stream(200)] for _ in range(20)):
        v, m = batch.inputs[..., 0], batch.inputs[..., 1]
        assert 40 <= len(v) <= 44
        assert -1 <= v.min() < -0.9 and 0.9 < v.max() <= 1
        assert (m[-1] == -1).all()
        assert ((m == 1).sum(axis=0) == 2).all()
        marked_first = m[0] == 1
        assert (m[0][~marked_first] == -1).all()
        assert (np.abs(m[1:-1]).sum(axis=0) + marked_first == 2).all()
        counted = np.where(m == 1, v, 0)
        counted[0] = 0
        np.testing.assert_allclose(batch.targets, 0.5 + counted.sum(axis=0) / 4, atol=1e-6)
        seen.update(np.argwhere(m == 1)[:, 0].tolist())
    assert max(seen) == 19  # the last of the first 40/2 − 1 unmarked, beside one that is marked
    assert min(seen[p] for p in range(10)) > 2 * max(seen[p] for p in range(10, 20))


# ------------------------------------------------------------------------------------- symbols
@pytest.mark.parametrize(
    ("task", "positions", "values", "blanks"),
    [(five_bit(30), 5, 2, 30), (twenty_bit(12), 10, 5, 12), (copying(30), 10, 8, 29)],
)
def test_memorisation_and_copying(task: Any, positions: int, values: int, blanks: int) -> None:
    batch = next(task.stream(500))
    said = batch.inputs.argmax(axis=2)
    assert len(said) == 2 * positions + blanks + 1
    is_uniform(said[:positions], 0, values)
    assert (said[positions : positions + blanks] == values).all()
    assert (said[positions + blanks] == values + 1).all()
    assert (said[positions + blanks + 1 :] == values).all()
    assert (batch.targets[: positions + blanks + 1] == values).all()
    np.testing.assert_array_equal(batch.targets[-positions:], said[:positions])
    answer = np.eye(task.output_size)[batch.targets]
    answer[-1, 0] = np.roll(answer[-1, 0], 1)  # one symbol is enough to be wrong
    answer[0, 1] = np.roll(answer[0, 1], 1)  # what is said before the cue is not asked
    assert np.flatnonzero(task.wrong(answer, batch)).tolist() == [0]


def test_copying_has_arjovskys_length_and_baseline() -> None:
    task = copying(100)
    assert (task.length, task.input_size, task.output_size) == (120, 10, 9)
    assert task.memoryless_loss == pytest.approx(10 * math.log(8) / 120)


@pytest.mark.parametrize("length", [3, 50, 100, 250])
def test_random_permutation(length: int) -> None:
    batch = next(RandomPermutation(length).stream(300))
    said = batch.inputs.argmax(axis=2)
    assert said.shape == (length - 1, 300)
    np.testing.assert_array_equal(said[0], batch.targets)
    assert 100 < batch.targets.sum() < 200
    for column in said[1:].T:
        for start in range(0, len(column), 98):
            part = column[start : start + 98]
            assert len(set(part.tolist())) == len(part)
            assert part.min() >= 2
    if length == 100:
        assert (np.sort(said[1:], axis=0) == np.arange(2, 100)[:, None]).all()
        is_uniform(said[1:31], 2, 100)


# --------------------------------------------------------------------------------------- Reber
def follow(string: str) -> int | None:
    state: int | None = 0
    for symbol in string:
        state = REBER.get(state, {}).get(symbol) if state is not None else None
    return state


def test_reber_strings_are_strings_of_the_grammar() -> None:
    strings = EmbeddedReber().strings(np.random.default_rng(0), MANY)
    for string in strings:
        assert string[0] == "B" and string[-1] == "E"
        assert string[1] == string[-2] and string[1] in "TP"
        assert follow(string[2:-2]) == 6
    inner = Counter(string[2:-2] for string in strings)
    assert min(map(len, inner)) == 5
    # ways of equal chance: B T S^0 X S E has (½)³, and so has B P V V E
    for word in ("BTXSE", "BPVVE"):
        assert inner[word] / MANY == pytest.approx(1 / 8, abs=0.02)


def test_reber_targets_are_what_may_follow() -> None:
    batch = next(EmbeddedReber().stream(50))
    assert batch.lengths is not None
    for b, length in enumerate(batch.lengths):
        string = "".join(SYMBOLS[i] for i in batch.inputs[:length, b].argmax(axis=1))
        legal = [{SYMBOLS[i] for i in np.flatnonzero(row)} for row in batch.targets[:length, b]]
        assert all(symbol in may for symbol, may in zip(string[1:] + "E", legal, strict=True))
        assert legal[0] == {"T", "P"} and legal[-1] == {"E"}
        assert legal[-2] == {string[1]}  # the long-term dependency
        assert (batch.inputs[length:, b] == 0).all() and (batch.targets[length:, b] == 0).all()


# -------------------------------------------------------------------------------- Mackey–Glass
def test_mackey_glass_converges_as_its_order_promises() -> None:
    # The same equation by an Euler method of 500 steps a unit. Between two values the past is a
    # straight line, also before 0, where it climbs from 0 to 1.2 within one step of 0.1.
    delay, fine = 17, 500
    x = np.zeros((delay + 30) * fine + 1)
    x[delay * fine - fine // 10 : delay * fine + 1] = np.linspace(0, 1.2, fine // 10 + 1)
    for i in range(delay * fine, len(x) - 1):
        old = x[i - delay * fine]
        x[i + 1] = x[i] + (0.2 * old / (1 + old**10) - 0.1 * x[i]) / fine
    found = mackey_glass(31, discard=0)
    np.testing.assert_allclose(found, x[delay * fine :: fine], atol=1e-3)
    assert found[0] == 1.2
    # until the delayed values arrive it only decays
    np.testing.assert_allclose(found[:17], 1.2 * np.exp(-0.1 * np.arange(17)), rtol=1e-8)


def test_mackey_glass_has_the_moments_of_its_attractor() -> None:
    x = mackey_glass(3000)
    assert x.mean() == pytest.approx(0.930, abs=0.005)
    assert x.var() == pytest.approx(0.0512, abs=0.002)
    np.testing.assert_array_equal(mackey_glass(5, discard=1010), x[10:15])


# ------------------------------------------------------------------------------------ bad input
@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: TemporalOrder(9), "length >= 10"),
        (lambda: TemporalOrder(50, symbols=4), "2 or 3"),
        (lambda: Adding(5), "length >= 10"),
        (lambda: Adding(20, criterion="strict"), "hochreiter, pascanu"),
        (lambda: HochreiterAdding(20), "length >= 24"),
        (lambda: Memorization(5, 1, 3), "values"),
        (lambda: copying(0), "blanks"),
        (lambda: RandomPermutation(2), "length >= 3"),
        (lambda: Adding(20).stream(0), "batch_size"),
        (lambda: Adding(20).stream(1, seed=-1), "seed"),
        (lambda: mackey_glass(5, tau=0.05), "multiple of 0.1"),
        (lambda: mackey_glass(5, tau=-17), "multiple of 0.1"),
        (lambda: mackey_glass(5, start=math.nan), "finite start"),
        (lambda: mackey_glass(-1), "count"),
    ],
)
def test_bad_input(make: Any, words: str) -> None:
    with pytest.raises(ArgumentError, match=words):
        make()
