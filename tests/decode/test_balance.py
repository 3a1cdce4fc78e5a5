"""Labels that are known to be equally frequent."""

from __future__ import annotations

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn import errors
from tinygrad_rnn.decode import ctc_best_path, even_labels


def log_probs(rng: np.random.Generator, shape: tuple[int, int, int]) -> np.ndarray:
    return np.asarray(tg.log_softmax(tg.tensor(3 * rng.normal(size=shape), tg.float64)).numpy())


@pytest.mark.parametrize("blank", [0, 2, None])
def test_expected_counts_are_equal(rng: np.random.Generator, blank: int | None) -> None:
    scores, lengths = log_probs(rng, (30, 4, 5)), np.array([30, 7, 1, 20])
    bias = even_labels(scores, lengths, blank)
    shares = np.exp(log_probs_with(scores, bias))
    there = np.arange(30)[:, None] < lengths
    counts = shares[there].sum(axis=0)
    labels = [k for k in range(5) if k != blank]
    np.testing.assert_allclose(counts[labels], counts[labels].mean(), rtol=1e-6)
    assert blank is None or bias[blank] == 0


def log_probs_with(scores: np.ndarray, bias: np.ndarray) -> np.ndarray:
    return np.asarray(tg.log_softmax(tg.tensor(scores + bias, tg.float64)).numpy())


def test_a_label_that_another_hides_is_heard() -> None:
    # whoever says 2 sounds much like 1 to this model
    said = np.array([1, 2] * 10)
    model = {1: [0.01, 0.9, 0.09], 2: [0.01, 0.6, 0.39]}
    scores = np.log(np.array([[model[k]] for k in said]))
    assert set(ctc_best_path(scores)[0].symbols) == {1}
    evened = log_probs_with(scores, even_labels(scores))
    assert np.exp(evened)[:, 0].argmax(axis=1).tolist() == said.tolist()


def test_steps_that_nothing_explains_do_not_count() -> None:
    scores = np.log([[[0.5, 0.4, 0.1]]])
    padded = np.concatenate([scores, np.full((1, 1, 3), -np.inf)])
    np.testing.assert_array_equal(even_labels(padded), even_labels(scores))


@pytest.mark.parametrize(
    ("scores", "options", "error"),
    [
        (np.zeros((3, 2)), {}, errors.ShapeError),
        (np.zeros((3, 0, 2)), {}, errors.ShapeError),
        (np.zeros((3, 1, 1)), {}, errors.ShapeError),
        (np.full((3, 1, 2), np.nan), {}, errors.DataError),
        (np.ones((3, 1, 2)), {}, errors.DataError),
        (np.zeros((3, 1, 2)), {"blank": 2}, errors.IndexRangeError),
        (np.zeros((3, 1, 2)), {"lengths": [4]}, errors.ArgumentError),
        (np.zeros((3, 1, 2)), {"lengths": [0]}, errors.ShapeError),
    ],
)
def test_what_cannot_be_is_refused(
    scores: np.ndarray, options: dict[str, object], error: type[Exception]
) -> None:
    with pytest.raises(error, match="even_labels"):
        even_labels(scores, **options)
