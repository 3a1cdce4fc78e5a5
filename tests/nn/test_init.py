"""Starting values: their distributions, their properties as matrices, and their seed."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn.errors import ArgumentError, ShapeError
from tinygrad_rnn.nn import init

ROWS, COLUMNS = 300, 200


def filled(
    function: Any, *args: Any, shape: tuple[int, ...] = (ROWS, COLUMNS), **kwargs: Any
) -> Any:
    tensor = tg.zeros(*shape, dtype=tg.float64, requires_grad=True)
    assert function(tensor, *args, **kwargs) is tensor and tensor.requires_grad
    return tensor.detach().numpy()


def close_to_uniform(values: np.ndarray, low: float, high: float) -> None:
    """Kolmogorov's distance to U(low, high) is below 2/√n, which chance exceeds once in 3,000."""
    assert low <= values.min() and values.max() < high
    ranks = np.sort((values.ravel() - low) / (high - low))
    assert np.abs(ranks - np.linspace(0, 1, ranks.size)).max() < 2 / math.sqrt(ranks.size)


def close_to_normal(values: np.ndarray, std: float) -> None:
    n = values.size
    assert abs(values.mean()) < 4 * std / math.sqrt(n)
    assert abs(values.std() / std - 1) < 4 / math.sqrt(2 * n)
    assert abs((values**4).mean() / std**4 - 3) < 4 * math.sqrt(96 / n)


def test_constants() -> None:
    assert filled(init.zeros_).any() == np.False_
    assert (filled(init.ones_) == 1).all() and (filled(init.constant_, 0.3) == 0.3).all()
    np.testing.assert_array_equal(filled(init.eye_, shape=(3, 2)), np.eye(3, 2))
    assert init.identity_ is init.eye_


@pytest.mark.parametrize(
    ("function", "args", "bound"),
    [
        (init.uniform_, (-0.5, 0.5), 0.5),
        (init.xavier_uniform_, (2.0,), 2 * math.sqrt(6 / (ROWS + COLUMNS))),
        (init.kaiming_uniform_, (), math.sqrt(2) * math.sqrt(3 / COLUMNS)),
        (init.kaiming_uniform_, (0.0, "fan_out", "linear"), math.sqrt(3 / ROWS)),
    ],
)
def test_uniform(function: Any, args: Any, bound: float) -> None:
    close_to_uniform(filled(function, *args), -bound, bound)


@pytest.mark.parametrize(
    ("function", "args", "std"),
    [
        (init.normal_, (0.0, 0.3), 0.3),
        (init.xavier_normal_, (), math.sqrt(2 / (ROWS + COLUMNS))),
        (init.kaiming_normal_, (), math.sqrt(2 / COLUMNS)),
        (init.kaiming_normal_, (0.5,), math.sqrt(2 / 1.25 / COLUMNS)),
        (init.kaiming_normal_, (0, "fan_out", "tanh"), 5 / 3 / math.sqrt(ROWS)),
    ],
)
def test_normal(function: Any, args: Any, std: float) -> None:
    close_to_normal(filled(function, *args), std)


def test_fans_count_the_receptive_field() -> None:
    values = filled(init.kaiming_uniform_, 0.0, "fan_in", "linear", shape=(500, 4, 25))
    close_to_uniform(values, -math.sqrt(0.03), math.sqrt(0.03))


@pytest.mark.parametrize("shape", [(5, 5), (7, 3), (3, 7), (4, 2, 3)])
def test_orthogonal(shape: tuple[int, ...]) -> None:
    q = filled(init.orthogonal_, 2.0, shape=shape).reshape(shape[0], -1) / 2
    gram = q @ q.T if q.shape[0] <= q.shape[1] else q.T @ q
    np.testing.assert_allclose(gram, np.eye(min(q.shape)), atol=1e-14)


def test_orthogonal_is_uniform_on_the_group() -> None:
    """Without the choice of signs the first diagonal element would always have one sign."""
    signs = [filled(init.orthogonal_, shape=(2, 2))[0, 0] > 0 for _ in range(60)]
    assert 15 < sum(signs) < 45


def test_sparse() -> None:
    rows = filled(init.sparse_, fan_in=15, std=1.0)
    assert ((rows != 0).sum(1) == 15).all()
    assert ((rows != 0).sum(0) > 0).all()  # not all at one place
    close_to_normal(rows[rows != 0], 1.0)
    columns = filled(init.sparse_, 0.9)
    assert ((columns == 0).sum(0) == 270).all()
    assert not filled(init.sparse_, 1.0).any()


def test_spectral_radius() -> None:
    tensor = tg.randn(20, 20, dtype=tg.float64)
    before = tensor.numpy().copy()
    init.spectral_radius_(tensor, 0.95)
    after = tensor.numpy()
    assert np.abs(np.linalg.eigvals(after)).max() == pytest.approx(0.95, rel=1e-12)
    ratio = after / before
    np.testing.assert_allclose(ratio, ratio[0, 0], rtol=1e-12)
    with pytest.raises(ArgumentError, match="spectral_radius_"):
        init.spectral_radius_(tg.tensor([[0.0, 1.0], [0.0, 0.0]]))


def test_seed_decides() -> None:
    drawn = []
    for _ in range(2):
        tg.manual_seed(11)
        drawn.append(filled(init.normal_).tolist() + filled(init.sparse_, fan_in=3).tolist())
    assert drawn[0] == drawn[1]


def test_gains() -> None:
    assert init.calculate_gain("leaky_relu", 1.0) == 1.0
    assert init.calculate_gain("relu") == math.sqrt(2)
    with pytest.raises(ArgumentError, match="leaky_relu"):
        init.calculate_gain("softmax")


@pytest.mark.parametrize(
    ("function", "args"),
    [(f, ()) for f in (init.eye_, init.xavier_normal_, init.xavier_uniform_, init.orthogonal_)]
    + [(init.sparse_, (0.5,)), (init.kaiming_normal_, ()), (init.spectral_radius_, ())],
)
def test_vectors_are_no_matrices(function: Any, args: Any) -> None:
    with pytest.raises(ShapeError, match=function.__name__):
        function(tg.zeros(3), *args)


@pytest.mark.parametrize(
    ("function", "kwargs"),
    [
        (init.uniform_, {"low": 1.0, "high": 0.0}),
        (init.normal_, {"std": -1.0}),
        (init.kaiming_uniform_, {"mode": "fan"}),
        (init.sparse_, {}),
        (init.sparse_, {"sparsity": 0.5, "fan_in": 2}),
        (init.sparse_, {"sparsity": 1.5}),
        (init.sparse_, {"fan_in": 4}),
    ],
)
def test_options_out_of_range(function: Any, kwargs: Any) -> None:
    tensor = tg.ones(3, 3)
    with pytest.raises(ArgumentError, match=function.__name__):
        function(tensor, **kwargs)
    assert tensor.tolist() == [[1.0] * 3] * 3
