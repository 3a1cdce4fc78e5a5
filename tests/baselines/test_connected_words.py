"""Words in a loop of hidden Markov models: what is said is what is decoded."""

from __future__ import annotations

import numpy as np
import pytest

from tinygrad_rnn.baselines import ConnectedWords
from tinygrad_rnn.errors import ArgumentError, DataError, ShapeError

WORDS = np.array([[[0.0, 3], [3, 0]], [[3, 0], [0, 3]], [[0, 3], [-3, 0]]])  # two states each
PAUSE = np.array([6.0, 6.0])


def spoken(word: int, rng: np.random.Generator, spread: float = 0.3) -> np.ndarray:
    """A take: each of the two sounds for 2 to 6 frames."""
    frames = np.repeat(WORDS[word], rng.integers(2, 7, 2), axis=0)
    return frames + spread * rng.standard_normal(frames.shape)


def silent(rng: np.random.Generator, frames: int) -> np.ndarray:
    return PAUSE + 0.3 * rng.standard_normal((frames, 2))


def fitted(**options: float) -> ConnectedWords:
    rng = np.random.default_rng(0)
    takes = [[spoken(word, rng) for _ in range(30)] for word in range(3)]
    return ConnectedWords.fit(takes, silent(rng, 100), states=2, **options)  # type: ignore[arg-type]


def test_strings_are_decoded_with_and_without_pauses() -> None:
    model, rng = fitted(), np.random.default_rng(1)
    strings = [rng.integers(0, 3, rng.integers(1, 6)).tolist() for _ in range(30)]
    said = [
        np.concatenate([np.concatenate([silent(rng, rng.integers(0, 5)), spoken(w, rng)])
                        for w in string] + [silent(rng, 3)])
        for string in strings
    ]  # fmt: skip
    lengths = np.array([len(x) for x in said])
    padded = np.zeros((lengths.max(), 30, 2))
    for column, x in enumerate(said):
        padded[: len(x), column] = x
    assert model.decode(padded, lengths) == [tuple(string) for string in strings]


def test_a_word_said_twice_is_two_words() -> None:
    rng = np.random.default_rng(2)
    twice = np.concatenate([spoken(1, rng), spoken(1, rng)])
    assert fitted().decode(twice[:, None]) == [(1, 1)]


def test_a_pause_alone_is_no_word() -> None:
    assert fitted().decode(silent(np.random.default_rng(3), 20)[:, None]) == [()]


def test_the_loop_is_a_chain_of_distributions_that_never_goes_back() -> None:
    network = fitted(penalty=5.0).network
    np.testing.assert_allclose(network.transition.sum(axis=1), 1)
    np.testing.assert_allclose(network.start.sum(), 1)
    assert (network.transition >= 0).all()
    for word in range(3):
        first, last = 2 * word, 2 * word + 1
        np.testing.assert_array_equal(network.transition[first, np.arange(7) < first], 0)
        assert network.transition[last, first] > 0 and network.transition[first, -1] == 0


def test_a_penalty_makes_words_rarer() -> None:
    rng = np.random.default_rng(4)
    noise = np.concatenate([spoken(w, rng, spread=2.0) for w in (0, 1, 2, 1, 0)])[:, None]
    counts = [len(fitted(penalty=p).decode(noise)[0]) for p in (0.0, 10.0, 1000.0)]
    assert counts[0] > counts[1] > counts[2] == 0


def test_takes_may_be_shorter_than_the_chain() -> None:
    takes = [[np.ones((1, 2))], [np.zeros((5, 2)), np.zeros((2, 2))]]
    model = ConnectedWords.fit(takes, np.full((4, 2), 9.0), states=3)
    assert np.isfinite(model.network.transition).all()


def test_mistakes_are_named() -> None:
    take, pause = np.zeros((5, 2)), np.zeros((4, 2))
    with pytest.raises(ArgumentError, match="states"):
        ConnectedWords.fit([[take]], pause, states=1)
    with pytest.raises(ArgumentError, match="penalty >= 0"):
        ConnectedWords.fit([[take]], pause, penalty=-1.0)
    with pytest.raises(DataError, match="a take each"):
        ConnectedWords.fit([[take], []], pause)
    with pytest.raises(DataError, match="finite"):
        ConnectedWords.fit([[take]], [[np.nan, 0.0]])
    with pytest.raises(ShapeError, match=r"\(T, B, 2\)"):
        fitted().decode(np.zeros((5, 1, 3)))
