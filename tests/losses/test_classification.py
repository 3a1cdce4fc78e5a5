"""Losses of classes: closed forms, derivatives, infinite logits, and every way to misuse them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn.errors import ArgumentError, DTypeError, IndexRangeError, ShapeError
from tinygrad_rnn.losses import (
    binary_cross_entropy_with_logits,
    cross_entropy,
    kl_div,
    nll_loss,
)
from tinygrad_rnn.testing import check_grads

INF, NAN = float("inf"), float("nan")
N, C = 5, 4
TARGET = [0, 3, 1, 1, 2]
IGNORING = [0, -100, 1, -100, 2]
WEIGHT = [0.5, 2.0, 0.0, 1.0]


def random(*shape: int) -> tg.Tensor:
    return tg.randn(*shape, dtype=tg.float64)


def by_hand(
    logits: np.ndarray, goal: np.ndarray, weight: Any = None, smoothing: float = 0.0
) -> np.ndarray:
    """Σ_c w_c q_c (−log p_c) of each row, q the smoothed target, all in the open."""
    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    q = goal * (1 - smoothing) + smoothing / logits.shape[-1]
    w = np.ones(logits.shape[-1]) if weight is None else np.array(weight)
    return (-np.log(p) * q * w).sum(-1)


# -------------------------------------------------------------------------------- cross-entropy
@pytest.mark.parametrize("weight", [None, WEIGHT])
@pytest.mark.parametrize("smoothing", [0.0, 0.3])
@pytest.mark.parametrize("target", [TARGET, IGNORING])
def test_cross_entropy_by_hand(weight: Any, smoothing: float, target: list[int]) -> None:
    x = random(N, C)
    kept = np.array([t >= 0 for t in target])
    goal = np.eye(C)[[max(t, 0) for t in target]]
    each = by_hand(x.numpy(), goal, weight, smoothing) * kept
    shares = (goal @ (np.ones(C) if weight is None else np.array(weight))) * kept
    options: Any = {"weight": weight, "label_smoothing": smoothing}
    for reduction, expected in (
        ("none", each), ("sum", each.sum()), ("mean", each.sum() / shares.sum()),
    ):  # fmt: skip
        loss = cross_entropy(x, target, **options, reduction=reduction)
        np.testing.assert_allclose(loss.numpy(), expected, rtol=1e-12)
    check_grads(lambda v: cross_entropy(v, target, **options), (x,), directions=3)


@pytest.mark.parametrize("weight", [None, WEIGHT])
@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_targets_may_be_probabilities(weight: Any, smoothing: float) -> None:
    x, goal = random(N, C), tg.rand(N, C, dtype=tg.float64)
    each = by_hand(x.numpy(), goal.numpy(), weight, smoothing)
    options: Any = {"weight": weight, "label_smoothing": smoothing}
    for reduction, expected in (("none", each), ("sum", each.sum()), ("mean", each.mean())):
        loss = cross_entropy(x, goal, **options, reduction=reduction)
        np.testing.assert_allclose(loss.numpy(), expected, rtol=1e-12)
    check_grads(lambda v, q: cross_entropy(v, q, **options), (x, goal), directions=3)


def test_classes_are_last_unless_told() -> None:
    x, target = random(3, 2, C), tg.tensor([[0, 1], [2, 3], [3, 0]])
    flat = cross_entropy(x.reshape(-1, C), target.reshape(-1), reduction="none")
    assert cross_entropy(x, target, reduction="none").tolist() == flat.reshape(3, 2).tolist()
    second = x.permute(0, 2, 1)  # PyTorch's (N, C, d)
    assert cross_entropy(second, target, dim=1).item() == cross_entropy(x, target).item()
    q = tg.rand(3, 2, C, dtype=tg.float64)
    assert cross_entropy(second, q.permute(0, 2, 1), dim=1).item() == pytest.approx(
        cross_entropy(x, q).item(), rel=1e-14
    )
    with pytest.raises(ShapeError, match=r"dim=1 says that the 4 classes are on axis 1"):
        cross_entropy(second, target)


def test_one_row_needs_no_batch() -> None:
    x = random(C)
    assert cross_entropy(x, 2).item() == pytest.approx(by_hand(x.numpy(), np.eye(C)[2]).item())


def test_uniform_logits_cost_log_c_and_pull_evenly() -> None:
    x = tg.zeros(2, C, requires_grad=True)
    loss = cross_entropy(x, [0, 1])
    assert loss.item() == pytest.approx(math.log(C), rel=1e-6)
    loss.backward()
    assert x.grad is not None
    np.testing.assert_allclose(x.grad.numpy(), (0.25 - np.eye(C)[:2]) / 2, rtol=1e-6)


# ------------------------------------------------------------------------------- at the extremes
@pytest.mark.parametrize(
    ("row", "losses"),
    [
        ([1e4, 1e4 - 1], [math.log1p(math.exp(-1)), 1 + math.log1p(math.exp(-1))]),
        ([1e38, -1e38], [0.0, 2e38]),
        ([0.0, -INF], [0.0, INF]),
        ([INF, 0.0], [0.0, INF]),
        ([INF, INF], [math.log(2)] * 2),
        ([INF, -INF], [0.0, INF]),
        ([-INF, -INF], [INF, INF]),
    ],
)
def test_extreme_logits(row: list[float], losses: list[float]) -> None:
    x = tg.tensor([row, row, [0.0, 0.0]], requires_grad=True)
    loss = cross_entropy(x, [0, 1, 0], reduction="none")
    np.testing.assert_allclose(loss.detach().numpy()[:2], losses, rtol=1e-6)
    loss.sum().backward()
    assert x.grad is not None and np.isfinite(x.grad.numpy()).all()
    assert x.grad.numpy()[2].tolist() == [-0.5, 0.5]
    one_hot = tg.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    soft = cross_entropy(x.detach(), one_hot, reduction="none")
    np.testing.assert_allclose(soft.numpy()[:2], losses, rtol=1e-6)


def test_nan_logits_are_not_hidden() -> None:
    losses = cross_entropy(tg.tensor([[NAN, 0.0], [0.0, 0.0]]), [1, 1], reduction="none")
    assert math.isnan(losses[0]) and losses[1].item() == pytest.approx(math.log(2))


def test_ignored_rows_may_be_anything_and_get_no_gradient() -> None:
    x = tg.tensor([[0.0, 0.0], [INF, -INF], [-INF, -INF]], requires_grad=True)
    loss = cross_entropy(x, [1, -1, -1], ignore_index=-1)
    assert loss.item() == pytest.approx(math.log(2))
    loss.backward()
    assert x.grad is not None and x.grad.tolist() == [[0.5, -0.5], [0.0, 0.0], [0.0, 0.0]]


@pytest.mark.parametrize("function", [cross_entropy, nll_loss])
@pytest.mark.parametrize("ignored", [0, C - 1])
def test_a_class_may_be_ignored(function: Any, ignored: int) -> None:
    x, target = random(6, C), np.array([0, 1, C - 1, 1, 0, C - 1])
    kept = np.flatnonzero(target != ignored)
    found = function(x, target, ignore_index=ignored)
    assert found.item() == pytest.approx(function(x[kept], target[kept]).item(), rel=1e-6)
    others = [1, 2, 1, 2, 1, 2]
    assert function(x, others, ignore_index=ignored).item() == function(x, others).item()


@pytest.mark.parametrize("wrong", [-1, C])
@pytest.mark.parametrize("engine", ["loop", "numpy", "auto"])
def test_no_class_is_counted_from_the_end_in_a_scan(wrong: int, engine: str) -> None:
    def step(carry: Any, x: Any) -> Any:
        return carry, cross_entropy(*x)

    targets = np.ones((5, 3), int)
    xs = random(5, 3, C), tg.tensor(targets)
    losses = tg.scan(step, tg.zeros(1), xs, engine=engine)[1]
    assert losses[0].item() == pytest.approx(cross_entropy(xs[0][0], [1, 1, 1]).item())
    targets[2, 1] = wrong
    with pytest.raises(IndexRangeError):
        tg.scan(step, tg.zeros(1), (xs[0], tg.tensor(targets)), engine=engine)


def test_class_of_weight_zero_may_be_impossible() -> None:
    x = tg.tensor([[0.0, 0.0, -INF]])
    loss = cross_entropy(x, [0], weight=[1.0, 1.0, 0.0], label_smoothing=0.3)
    assert loss.item() == pytest.approx((0.7 + 0.2) * math.log(2), rel=1e-6)


# --------------------------------------------------------------------------------------- refusals
def test_classes_out_of_range() -> None:
    x = random(3, 2, C)
    for bad in (C, -1, 2**40):
        with pytest.raises(
            IndexRangeError, match=rf"0 … 3, or .* −?-100 expected, got {bad} in row 4"
        ):
            cross_entropy(x, [[0, 1], [-100, 3], [bad, 0]])
    with pytest.raises(IndexRangeError, match="nll_loss"):
        nll_loss(x, [[0, 1], [4, 3], [4, 0]])


@pytest.mark.parametrize("function", [cross_entropy, nll_loss])
def test_nothing_that_counts(function: Any) -> None:
    x = random(2, C)
    with pytest.raises(ArgumentError, match=r"all ignored.*\n.*sum"):
        function(x, [-100, -100])
    with pytest.raises(ArgumentError, match="weight 0"):
        function(x, [2, 2], weight=WEIGHT)
    with pytest.raises(ArgumentError, match="no rows"):
        function(random(0, C), tg.zeros(0, dtype=tg.int64))
    assert function(x, [-100, -100], reduction="sum").item() == 0.0
    assert function(x, [-100, -100], reduction="none").tolist() == [0.0, 0.0]


@pytest.mark.parametrize("function", [cross_entropy, nll_loss])
def test_weights_of_the_classes(function: Any) -> None:
    x = random(N, C)
    with pytest.raises(ShapeError, match=r"\(4,\), one per class"):
        function(x, TARGET, weight=[1.0, 2.0])
    with pytest.raises(ArgumentError, match="weights >= 0"):
        function(x, TARGET, weight=[1.0, 1.0, -1.0, 1.0])


@pytest.mark.parametrize(
    ("error", "args", "kwargs"),
    [
        (ShapeError, (tg.zeros(2, C), [0, 1, 2]), {}),
        (ShapeError, (tg.zeros(2, C), tg.zeros(2, 3)), {}),
        (ShapeError, (tg.tensor(0.0), 0), {}),
        (ShapeError, (tg.zeros(2, 0), [0, 0]), {}),
        (ShapeError, (tg.zeros(2, C), [0, 1]), {"dim": 2}),
        (DTypeError, (tg.zeros(2, C, dtype=tg.int64), [0, 1]), {}),
        (DTypeError, (tg.zeros(2, C), [True, False]), {}),
        (ArgumentError, (tg.zeros(2, C), [0, 1]), {"reduction": "average"}),
        (ArgumentError, (tg.zeros(2, C), [0, 1]), {"label_smoothing": 1.5}),
        (DTypeError, (tg.zeros(2, C), [0, 1]), {"ignore_index": None}),
        (DTypeError, (tg.zeros(2, C), [0, 1]), {"ignore_index": 1.5}),
        (DTypeError, (tg.zeros(2, C), [0, 1]), {"ignore_index": np.array([1, 1])}),
    ],
    ids=range(12),
)
def test_cross_entropy_refuses(error: Any, args: Any, kwargs: Any) -> None:
    with pytest.raises(error, match="cross_entropy"):
        cross_entropy(*args, **kwargs)


# ------------------------------------------------------------------------------------ nll, kl_div
@pytest.mark.parametrize("weight", [None, WEIGHT])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_nll_of_log_softmax_is_cross_entropy(weight: Any, reduction: str) -> None:
    x = random(N, C)
    logs = tg.functional.log_softmax(x)
    a = nll_loss(logs, IGNORING, weight, reduction=reduction)
    b = cross_entropy(x, IGNORING, weight, reduction=reduction)
    np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-12)
    check_grads(lambda v: nll_loss(v, IGNORING, weight, reduction=reduction), (x,), directions=2)
    with pytest.raises(DTypeError, match="kl_div"):
        nll_loss(x, random(N, C))


def test_kl_divergence() -> None:
    p, q = (tg.functional.softmax(random(N, C)) for _ in range(2))
    each = p.numpy() * np.log(p.numpy() / q.numpy())
    for reduction, expected in (
        ("none", each), ("sum", each.sum()), ("mean", each.mean()), ("batchmean", each.sum() / N),
    ):  # fmt: skip
        np.testing.assert_allclose(kl_div(q.log(), p, reduction).numpy(), expected, rtol=1e-10)
        found = kl_div(q.log(), p.log(), reduction, log_target=True)
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-10)
    assert kl_div(p.log(), p, "sum").item() == pytest.approx(0.0, abs=1e-15)
    check_grads(lambda a, b: kl_div(a, b, "batchmean"), (q.log(), p), directions=2)
    check_grads(lambda a, b: kl_div(a, b, log_target=True), (q.log(), p.log()), directions=2)


def test_kl_divergence_where_a_probability_is_zero() -> None:
    x = tg.tensor([[0.0, -INF], [-INF, 0.0]], requires_grad=True)
    p = tg.tensor([[1.0, 0.0], [1.0, 0.0]])
    assert kl_div(x, p, "none").tolist() == [[0.0, 0.0], [INF, 0.0]]
    assert kl_div(x, tg.tensor([[0.0, -INF]] * 2), "none", True).tolist() == [[0, 0], [INF, 0]]
    kl_div(x, p, "sum").backward()
    assert x.grad is not None and x.grad.tolist() == [[-1.0, 0.0], [-1.0, 0.0]]
    for reduction in ("batchmean", "mean"):
        with pytest.raises(ShapeError, match="kl_div"):
            kl_div(tg.zeros(0, 2), tg.zeros(0, 2), reduction)


# ------------------------------------------------------------------------------------ two classes
def test_binary_cross_entropy_by_hand() -> None:
    x, y, w, positive = random(3, 2), tg.rand(3, 2, dtype=tg.float64), random(2), random(2).exp()
    s = 1 / (1 + np.exp(-x.numpy()))
    each = -(positive.numpy() * y.numpy() * np.log(s) + (1 - y.numpy()) * np.log(1 - s)) * w.numpy()
    found = binary_cross_entropy_with_logits(x, y, w, "none", positive)
    np.testing.assert_allclose(found.numpy(), each, rtol=1e-12)
    plain = binary_cross_entropy_with_logits(x, y)
    expected = -(y.numpy() * np.log(s) + (1 - y.numpy()) * np.log(1 - s)).mean()
    assert plain.item() == pytest.approx(expected, rel=1e-12)
    check_grads(binary_cross_entropy_with_logits, (x, y), directions=3)


@pytest.mark.parametrize(
    ("x", "y", "loss", "slope"),
    [
        (1e4, 1.0, 0.0, 0.0),
        (1e4, 0.0, 1e4, 1.0),
        (-1e4, 1.0, 1e4, -1.0),
        (INF, 1.0, 0.0, 0.0),
        (-INF, 0.0, 0.0, 0.0),
        (INF, 0.0, INF, 1.0),
        (-INF, 1.0, INF, -1.0),
        (0.0, 0.5, math.log(2), 0.0),
    ],
)
def test_binary_cross_entropy_at_the_extremes(
    x: float, y: float, loss: float, slope: float
) -> None:
    logit = tg.tensor(x, requires_grad=True)
    found = binary_cross_entropy_with_logits(logit, tg.tensor(y))
    assert found.item() == pytest.approx(loss, rel=1e-6)
    found.backward()
    assert logit.grad is not None and logit.grad.item() == pytest.approx(slope, abs=1e-30)


def test_binary_targets_may_be_integers_but_not_of_another_shape() -> None:
    assert binary_cross_entropy_with_logits(tg.zeros(2), tg.tensor([0, 1])).item() > 0
    with pytest.raises(ShapeError, match=r"\(2, 1\) and \(2,\)\nhint: reshape"):
        binary_cross_entropy_with_logits(tg.zeros(2, 1), tg.zeros(2))


@pytest.mark.parametrize("weight", [None, [0.5, 2.0]])
@pytest.mark.parametrize("ignored", [0, 3])
def test_the_mean_of_many_halves_is_that_of_a_few(weight: Any, ignored: int) -> None:
    """Counts, weights and losses of 70,000 rows are beyond what float16 can add up."""
    few = tg.tensor([[0.0, 1.0], [4.0, -4.0]], dtype=tg.float16)
    goal = np.array([0, 1])
    many = tg.tensor(np.tile(few.numpy(), (35_000, 1)), requires_grad=True)
    goals = np.tile(goal, 35_000)
    goals[:ignored] = -100
    found = cross_entropy(many, tg.tensor(goals), weight)
    assert found.dtype == np.float16
    assert found.item() == pytest.approx(cross_entropy(few, tg.tensor(goal), weight).item(), 1e-3)
    found.backward()
    assert bool((many.grad[ignored:] != 0).all())


@pytest.mark.parametrize("name", ["weight", "pos_weight"])
def test_factors_that_would_enlarge_the_loss_are_refused(name: str) -> None:
    """One factor for each row, (N,), beside a column of logits (N, 1) would give (N, N) losses."""
    x, y = tg.zeros(N, 1), tg.zeros(N, 1)
    with pytest.raises(ShapeError, match=rf"{name} that broadcasts to \(5, 1\).* got \(5,\)"):
        binary_cross_entropy_with_logits(x, y, **{name: tg.ones(N)})
    assert binary_cross_entropy_with_logits(x, y, **{name: tg.ones(N, 1)}).shape == ()


def test_numbers_of_numpy_are_numbers() -> None:
    scores, goal = random(N, C), tg.tensor(TARGET)
    found = cross_entropy(scores, goal, label_smoothing=np.float32(0.25))
    assert found.item() == cross_entropy(scores, goal, label_smoothing=0.25).item()
