"""Losses that look at a few of many classes: what they estimate, touch and refuse."""

from __future__ import annotations

import itertools
import tracemalloc
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn import losses
from tinygrad_rnn.errors import ArgumentError, DTypeError, IndexRangeError, ShapeError
from tinygrad_rnn.losses.sampled import METHODS
from tinygrad_rnn.testing import check_grads

N, H, V, S = 5, 3, 24, 10
COUNTS = np.arange(1.0, V + 1)
SAMPLERS: dict[str, Any] = {
    "uniform": lambda: losses.UniformSampler(V),
    "distinct": lambda: losses.UniformSampler(V, replacement=False),
    "unigram": lambda: losses.UnigramSampler(COUNTS, 0.75),
    "log-uniform": lambda: losses.LogUniformSampler(V),
    "adaptive": lambda: losses.AdaptiveSampler(COUNTS),
}


def random(*shape: int) -> Any:
    return tg.randn(*shape, dtype=tg.float64)


def case() -> tuple[Any, Any, Any, Any]:
    return random(N, H), random(V, H), random(V), tg.tensor([2, 7, 7, 0, V - 1])


def close(a: Any, b: Any, tolerance: float = 1e-12) -> None:
    a, b = (v.detach().numpy() if isinstance(v, tg.Tensor) else v for v in (a, b))
    np.testing.assert_allclose(a, b, rtol=0, atol=tolerance)


def gradients(loss: Any, *inputs: Any) -> list[Any]:
    return [g.numpy() for g in tg.gradients(loss, list(inputs))]


def full(h: Any, w: Any, b: Any, t: Any) -> Any:
    return losses.cross_entropy(tg.linear(h, w, b), t)


# ------------------------------------------------------------------------------------ samplers
@pytest.mark.parametrize("make", SAMPLERS.values(), ids=SAMPLERS)
def test_samples_come_as_often_as_expected(make: Any) -> None:
    sampler, draws = make(), 4000
    counted = np.bincount(np.concatenate([sampler.sample(S) for _ in range(draws)]), minlength=V)
    expected = draws * np.exp(sampler.log_expected(np.arange(V), S))
    assert expected.sum() == pytest.approx(draws * S)
    assert (np.abs(counted - expected) < 5 * np.sqrt(expected)).all()


def test_log_uniform_is_zipfs_law() -> None:
    q = np.exp(losses.LogUniformSampler(V).log_expected(np.arange(V), 1))
    close(q, np.log((np.arange(V) + 2) / (np.arange(V) + 1)) / np.log(V + 1))


@pytest.mark.parametrize("bad", [0.0, -1.0, float("nan"), float("inf")])
def test_a_class_that_is_never_drawn_is_an_error(bad: float) -> None:
    for make in (losses.Sampler, losses.UnigramSampler, losses.AdaptiveSampler):
        with pytest.raises(ArgumentError, match=r"above 0, and finite expected, got .* class 1"):
            make([1.0, bad, 2.0])
    with pytest.raises(ArgumentError, match="no class at all"):
        losses.Sampler([])


# ------------------------------------------------------------------------------ what they compute
@pytest.mark.parametrize("shared", [True, False])
def test_values_by_hand(shared: bool) -> None:
    h, w, b, t = case()
    used = losses.draw_candidates(SAMPLERS["log-uniform"](), t, S, shared=shared)
    assert used.samples.shape == (S,) if shared else (N, S)
    scores = h.numpy() @ w.numpy().T + b.numpy()
    q = np.log((np.arange(V) + 2) / (np.arange(V) + 1)) / np.log(V + 1)
    drawn_by = np.broadcast_to(used.ids[used.samples], (N, S))
    shifted = scores - np.log(S * q)
    sigma = 1 / (1 + np.exp(-shifted))
    for row, target in enumerate(t.tolist()):
        drawn = drawn_by[row]
        others = [np.exp(shifted[row, k]) for k in drawn if k != target]
        own = scores[row, target]
        expected = {
            "softmax": np.log(np.exp(own) + sum(others)) - own,
            "importance": np.log(np.exp(shifted[row, drawn]).sum()) - own,
            "nce": -np.log(sigma[row, target]) - np.log(1 - sigma[row, drawn]).sum(),
        }
        for method in METHODS:
            found = losses.sampled_loss(h, w, b, used, method, reduction="none")
            close(found[row], expected[method])


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("method", METHODS)
def test_derivatives(method: str, shared: bool) -> None:
    h, w, b, t = case()
    used = losses.draw_candidates(SAMPLERS["unigram"](), t, S, shared=shared)
    check_grads(lambda *args: losses.sampled_loss(*args, used, method), (h, w, b), directions=2)


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("method", ["softmax", "importance"])
def test_all_classes_drawn_once_give_the_full_softmax(method: str, shared: bool) -> None:
    inputs = [p.requires_grad_() for p in case()[:3]]
    t = case()[3]
    used = losses.draw_candidates(SAMPLERS["distinct"](), t, V, shared=shared)
    loss = losses.sampled_loss(*inputs, used, method)
    close(loss, full(*inputs, t))
    for a, b in zip(gradients(loss, *inputs), gradients(full(*inputs, t), *inputs), strict=True):
        close(a, b)


@pytest.mark.parametrize("method", ["softmax", "importance"])
@pytest.mark.parametrize("name", ["uniform", "unigram", "log-uniform", "distinct"])
def test_bias_of_the_gradient_falls_with_the_samples(method: str, name: str) -> None:
    h, w, b, t = case()
    sampler, b = SAMPLERS[name](), b.requires_grad_()
    (exact,) = gradients(full(h, w, b, t), b)
    biases = []
    for count in (2, V - 2) if name == "distinct" else (2, 8 * V):
        mean = np.zeros(V)
        for _ in range(800):
            used = losses.draw_candidates(sampler, t, count)
            mean += gradients(losses.sampled_loss(h, w, b, used, method), b)[0] / 800
        biases.append(np.linalg.norm(mean - exact))
    assert biases[1] < 0.15 * biases[0]
    assert biases[1] < 0.05 * np.linalg.norm(exact)


def test_nce_is_at_rest_at_the_true_distribution_and_nowhere_else() -> None:
    p, q = np.array([0.5, 0.3, 0.15, 0.05]), losses.Sampler([1.0, 2.0, 3.0, 4.0])
    h, w, noise = np.zeros((1, 1)), np.zeros((4, 1)), np.exp(q.log_expected(np.arange(4), 1))

    def slope(scores: Any) -> Any:
        """The gradient in the scores, on average over targets from p and noise from Q."""
        total, b = np.zeros(4), tg.tensor(scores, dtype=tg.float64).requires_grad_()
        for target, sample in itertools.product(range(4), repeat=2):
            pair = [np.array([k]) for k in (target, sample)]
            logs = [q.log_expected(k, 1) for k in pair]
            used = losses.Candidates(np.arange(4), *pair, *logs)
            (g,) = gradients(losses.sampled_loss(h, w, b, used, "nce"), b)
            total += p[target] * noise[sample] * g
        return total

    assert np.abs(slope(np.log(p))).max() < 1e-15
    assert np.abs(slope(np.log(p) + 1)).max() > 0.01  # not normalised
    assert np.abs(slope(np.zeros(4))).max() > 0.01


def test_target_sampling_is_the_softmax_over_a_part_of_the_classes() -> None:
    h, w, b, t = case()
    part = np.array([0, 2, 5, 7, V - 1])
    scores = (h.numpy() @ w.numpy().T + b.numpy())[:, part]
    places = [part.tolist().index(k) for k in t.tolist()]
    expected = np.log(np.exp(scores).sum(1)) - scores[range(N), places]
    close(losses.target_loss(h, w, b, t, part, "none"), expected)
    close(losses.target_loss(h, w, b, t, range(V)), full(h, w, b, t))
    with pytest.raises(ArgumentError, match="within the vocabulary given expected, got 0 in row 3"):
        losses.target_loss(h, w, b, t, part[1:])


def test_partitions_cover_the_stream_and_hold_their_targets(rng: Any) -> None:
    stream = rng.integers(0, 50, 300)
    pieces = list(losses.target_partitions(stream, 8))
    assert [a.stop for a, _ in pieces[:-1]] == [b.start for b, _ in pieces[1:]]
    assert (pieces[0][0].start, pieces[-1][0].stop) == (0, 300)
    for piece, vocabulary in pieces:
        assert set(stream[piece]) == set(vocabulary) and len(vocabulary) <= 8
    assert all(len(vocabulary) == 8 for _, vocabulary in pieces[:-1])


def test_self_normalisation_by_hand_and_in_training() -> None:
    scores, t = random(N, V) + 2, case()[3]
    log_z = np.log(np.exp(scores.numpy()).sum(1))
    expected = log_z - scores.numpy()[range(N), t.tolist()] + 0.3 * log_z**2
    close(losses.self_normalized_cross_entropy(scores, t, 0.3, "none"), expected)
    for alpha, far in ((0.0, True), (0.5, False)):
        b = tg.full((V,), 2.0, dtype=tg.float64).requires_grad_()
        for _ in range(300):
            loss = losses.self_normalized_cross_entropy(b[None].expand(N, V), t, alpha)
            (g,) = gradients(loss, b)
            b = (b.detach() - 0.5 * tg.tensor(g, dtype=tg.float64)).requires_grad_()
        assert (abs(float(b.logsumexp(-1))) > 1) == far
    with pytest.raises(ArgumentError, match="alpha, a number >= 0"):
        losses.self_normalized_cross_entropy(scores, t, -0.1)


@pytest.mark.parametrize("shared", [True, False])
def test_an_adaptive_sampler_comes_to_draw_what_the_model_prefers(shared: bool) -> None:
    h, w, b = random(1, H).expand(2, H), random(V, H), 2 * random(V)
    sampler = losses.AdaptiveSampler(np.ones(V), rate=0.02)
    p = np.exp((h.numpy() @ w.numpy().T + b.numpy())[0])
    p /= p.sum()

    def distance() -> float:
        return float(np.abs(np.exp(sampler.log_expected(np.arange(V), 1)) - p).sum())

    before = distance()
    for _ in range(400):
        used = losses.draw_candidates(sampler, [0, 0], 50, shared=shared)
        share = losses.importance_weights(h, w, b, used)
        assert float(share.sum()) == pytest.approx(1)
        sampler.adapt(used.ids[used.samples], share)
    assert distance() < 0.25 * before
    assert (sampler.weights > 0).all() and sampler.weights.sum() == pytest.approx(1)


def test_rows_with_samples_of_their_own_draw_them_apart() -> None:
    target = np.zeros(2000, int)
    used = losses.draw_candidates(SAMPLERS["uniform"](), target, 2, shared=False)
    drawn = used.ids[used.samples]
    pairs = np.bincount(drawn[:, 0] * V + drawn[:, 1], minlength=V * V)
    assert (pairs > 0).mean() > 0.9 and pairs.max() < 20  # Poisson of mean 3.5
    used = losses.draw_candidates(SAMPLERS["distinct"](), target, V, shared=False)
    assert (np.sort(used.samples) == np.arange(V)).all()


# -------------------------------------------------------------------------------- what they touch
@pytest.mark.parametrize("method", METHODS)
def test_only_rows_in_use_get_a_gradient_and_rows_alone_get_the_same(method: str) -> None:
    h, w, b, t = case()
    w, b = w.requires_grad_(), b.requires_grad_()
    used = losses.draw_candidates(SAMPLERS["log-uniform"](), t, S)
    of_w, of_b = gradients(losses.sampled_loss(h, w, b, used, method), w, b)
    unused = np.setdiff1d(np.arange(V), used.ids)
    assert unused.size and not of_w[unused].any() and of_w[used.ids].all(1).all()
    rows, offsets = used.rows(w).requires_grad_(), used.rows(b).requires_grad_()
    loss = losses.sampled_loss(h, rows, offsets, used, method)
    of_rows, of_offsets = gradients(loss, rows, offsets)
    close(of_rows, of_w[used.ids])
    close(of_offsets, of_b[used.ids])
    before = w.detach().numpy().copy()
    used.write(w, rows.detach() - 0.1 * tg.tensor(of_rows, dtype=tg.float64))
    close(w, before - 0.1 * of_w)


def test_memory_is_that_of_the_rows_in_use() -> None:
    peaks = []
    for classes in (2_000, 200_000):
        w, h, t = tg.zeros(classes, 16), tg.randn(64, 16), tg.randint(0, classes, (64,))
        sampler = losses.UniformSampler(classes)
        tracemalloc.start()
        used = losses.draw_candidates(sampler, t, 25)
        rows = used.rows(w).requires_grad_()
        losses.sampled_loss(h, rows, None, used, "nce").backward()
        used.write(w, rows - rows.grad)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0]


def test_what_is_refused() -> None:
    h, w, b, t = case()
    sampler = SAMPLERS["uniform"]()
    used = losses.draw_candidates(sampler, t, S)
    with pytest.raises(IndexRangeError, match=f"classes in 0 … {V - 1} expected, got {V}"):
        losses.draw_candidates(sampler, [0, V], S)
    with pytest.raises(IndexRangeError, match=f"classes in 0 … {V - 1} expected, got -100"):
        losses.self_normalized_cross_entropy(tg.zeros(2, V), [0, -100])  # its log²Z would count
    with pytest.raises(DTypeError, match="integer classes"):
        losses.draw_candidates(sampler, [0.5], S)
    with pytest.raises(ArgumentError, match="samples, a whole number >= 1, expected, got 0"):
        losses.draw_candidates(sampler, t, 0)
    with pytest.raises(ArgumentError, match="1 … 24 distinct samples expected, got 25"):
        losses.draw_candidates(SAMPLERS["distinct"](), t, V + 1)
    with pytest.raises(ArgumentError, match="method out of"):
        losses.sampled_loss(h, w, b, used, "ncee")
    with pytest.raises(ShapeError, match=r"hidden \(5, H\) expected, got \(4, 3\)"):
        losses.sampled_loss(h[:4], w, b, used)
    with pytest.raises(ShapeError, match="or those of all classes"):
        losses.sampled_loss(h, w[:3], b, used)
    with pytest.raises(ArgumentError, match="0 < rate < 1"):
        losses.AdaptiveSampler(COUNTS, rate=1.0)
