"""CTC: against all paths written out, its own definition as a scan, differences and PyTorch."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad_rnn as tg
from tinygrad_rnn.backend import get_backend
from tinygrad_rnn.errors import ArgumentError, DTypeError, IndexRangeError, ShapeError
from tinygrad_rnn.losses import ctc_loss, ctc_loss_by_scan
from tinygrad_rnn.losses.ctc_lattice import _Sums, build_lattice, log_probability, occupancy
from tinygrad_rnn.testing import check_grads

Array = np.ndarray


def merged(path: tuple[int, ...], blank: int) -> tuple[int, ...]:
    """What a path spells: repeats merge, then blanks go."""
    return tuple(k for k, _ in itertools.groupby(path) if k != blank)


def by_enumeration(log_probs: Array, target: list[int], blank: int) -> tuple[float, Array]:
    """p(l|x) and ∂ log p / ∂ log_probs of one row (T, C), from all C^T paths."""
    steps, classes = log_probs.shape
    total, share = 0.0, np.zeros_like(log_probs)
    for path in itertools.product(range(classes), repeat=steps):
        if merged(path, blank) == tuple(target):
            p = math.exp(sum(log_probs[t, k] for t, k in enumerate(path)))
            total += p
            share[range(steps), path] += p
    return total, share / total if total else share


def log_softmax(x: Array) -> Array:
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


def loss_and_gradient(log_probs: Array, *args: Any, **options: Any) -> tuple[Array, Array]:
    x = tg.tensor(log_probs, requires_grad=True)
    loss = ctc_loss(x, *args, **options)
    return loss.detach().numpy(), tg.gradients(loss.sum(), x).numpy()


# ----------------------------------------------------------------------------- all paths
@st.composite
def batches(draw: Any) -> tuple[Array, list[list[int]], list[int], int]:
    """Some rows: log-probabilities (T, N, C), targets, lengths; blanks in any place."""
    steps, classes = draw(st.integers(0, 5)), draw(st.integers(1, 3))
    blank = draw(st.integers(0, classes - 1))
    labels = [k for k in range(classes) if k != blank]
    label, longest = st.sampled_from(labels or [0]), 3 if labels else 0
    rows = draw(
        st.lists(
            st.tuples(st.lists(label, max_size=longest), st.integers(0, steps)),
            min_size=1,
            max_size=4,
        )
    )
    seed = draw(st.integers(0, 2**31))
    x = np.random.default_rng(seed).standard_normal((steps, len(rows), classes)) * 2
    return log_softmax(x), [r[0] for r in rows], [r[1] for r in rows], blank


@settings(max_examples=settings.default.max_examples * 3)
@given(batches())
def test_loss_and_gradient_against_all_paths(batch: Any) -> None:
    log_probs, targets, lengths, blank = batch
    flat = [k for target in targets for k in target]
    args = (flat, lengths, [len(t) for t in targets], blank, "none")
    loss, gradient = loss_and_gradient(log_probs, *args)
    zeroed, zeroed_gradient = loss_and_gradient(log_probs, *args, zero_infinity=True)
    for row, (target, length) in enumerate(zip(targets, lengths, strict=True)):
        p, share = by_enumeration(log_probs[:length, row], target, blank)
        expected = -math.log(p) if p else math.inf
        np.testing.assert_allclose(loss[row], expected, rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(-gradient[:length, row], share, rtol=1e-12, atol=1e-12)
        assert not gradient[length:, row].any()
        assert zeroed[row] == (loss[row] if p else 0)
    np.testing.assert_array_equal(zeroed_gradient, gradient)


@pytest.mark.parametrize(
    ("target", "length"), [([1, 1], 2), ([1, 2], 1), ([1], 0), ([2, 2, 2], 4)]
)  # each is one step short
def test_a_row_that_is_too_short_is_infinite_or_nothing(target: list[int], length: int) -> None:
    log_probs = log_softmax(np.random.default_rng(1).standard_normal((6, 2, 3)))
    targets, lengths = [*target, 1], [length, 6]
    args = (targets, lengths, [len(target), 1])
    loss, gradient = loss_and_gradient(log_probs, *args, reduction="none")
    assert loss[0] == math.inf and np.isfinite(loss[1])
    assert not gradient[:, 0].any()  # certainly not the softmax
    np.testing.assert_allclose(gradient[:, 1].sum(-1), -1)
    assert float(ctc_loss(tg.tensor(log_probs), *args)) == math.inf
    total, _ = loss_and_gradient(log_probs, *args, reduction="sum", zero_infinity=True)
    assert total == loss[1]
    with pytest.raises(ArgumentError, match=rf"least {length + 1} steps in row 0.* got {length}"):
        ctc_loss(tg.tensor(log_probs), *args, strict=True)
    lengths[0] += 1
    assert np.isfinite(loss_and_gradient(log_probs, *args, strict=True)[0])


def test_probability_zero_is_infinite_with_gradient_zero() -> None:
    log_probs = np.full((2, 1, 3), math.log(0.5))
    log_probs[..., 2] = -math.inf
    loss, gradient = loss_and_gradient(log_probs, [2], [2], [1], reduction="none")
    assert loss[0] == math.inf
    np.testing.assert_array_equal(gradient, np.zeros_like(gradient))
    loss, gradient = loss_and_gradient(log_probs, [1], [2], [1], reduction="none")
    np.testing.assert_allclose(np.exp(-loss), 0.75)
    np.testing.assert_allclose(-gradient[0, 0], [1 / 3, 2 / 3, 0])


# -------------------------------------------------------------------------- the recursions
def test_alpha_times_beta_is_the_probability_at_every_step() -> None:
    rng = np.random.default_rng(2)
    log_probs = log_softmax(rng.standard_normal((37, 3, 4)))
    targets = rng.integers(1, 4, (3, 8))
    lengths, counts = np.array([37, 30, 24]), np.array([8, 5, 0])
    lattice = build_lattice(targets, lengths, counts, 0, get_backend("cpu"), np.float64)
    with np.errstate(all="ignore"):
        sums = _Sums(np, log_probs, lattice)
        alpha, shifts = sums.alphas()
        betas = _unshifted_betas(sums, lattice)
    loss = ctc_loss(tg.tensor(log_probs), targets, lengths, counts, reduction="none").numpy()
    for row, length in enumerate(lengths):
        for t in range(length):
            both = alpha[t + 1, 2:, row] + shifts[t + 1, row] + betas[t][:, row]
            assert math.log(np.exp(both).sum()) == pytest.approx(-loss[row], rel=1e-13)


def test_what_backward_knows_is_of_the_same_log_probabilities() -> None:
    rng = np.random.default_rng(0)
    targets, lengths, counts = np.array([[1, 2], [2, 2]]), np.array([19, 7]), np.array([2, 2])

    def lattice() -> Any:
        return build_lattice(targets, lengths, counts, 0, get_backend("cpu"), np.float64)

    here, there = np.log(rng.dirichlet(np.ones(3), (2, 19, 2)))
    used = lattice()
    log_probability(np, here, used)
    for array in (here, there, here.copy(), here):
        np.testing.assert_array_equal(occupancy(np, array, used), occupancy(np, array, lattice()))


def _unshifted_betas(sums: _Sums, lattice: Any) -> list[Array]:
    """β as its definition says, state by state."""
    steps, states, rows = sums.emissions.shape
    betas = [np.full((states, rows), -np.inf) for _ in range(steps)]
    for row in range(rows):
        last = lattice.lengths[row] - 1
        betas[last][:, row] = lattice.ends[2:, row]
        for t in range(last - 1, -1, -1):
            ahead = betas[t + 1][:, row] + sums.emissions[t + 1, :, row]
            for s in range(states):
                reach = 3 if s + 2 < states and lattice.skip[s + 2, row] == 0 else 2
                betas[t][s, row] = np.logaddexp.reduce(ahead[s : s + reach])
    return betas


def test_hundreds_of_steps_lose_nothing() -> None:
    rng = np.random.default_rng(3)
    log_probs = log_softmax(rng.standard_normal((400, 4, 20)) * 3)
    targets = rng.integers(1, 20, (4, 30))
    args = (targets, [400, 399, 200, 31], [30, 30, 20, 3], 0, "none")
    exact, gradient = loss_and_gradient(log_probs, *args)
    assert exact.max() > 750  # p is below the smallest float64
    single, rough = loss_and_gradient(log_probs.astype(np.float32), *args)
    assert single.dtype == rough.dtype == np.float32
    np.testing.assert_allclose(single, exact, rtol=3e-7)
    np.testing.assert_allclose(rough, gradient, atol=3e-5)  # unshifted it is 1e-4
    np.testing.assert_allclose(-gradient.sum((0, 2)), args[1], rtol=1e-12)


# ------------------------------------------------------------------------- derivatives
MIXED = ([[1, 1, 9], [1, 2, 9], [2, 9, 9], [9, 9, 9]], [5, 3, 4, 0], [2, 2, 1, 0])


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_equals_its_definition(reduction: str) -> None:
    x = tg.tensor(np.random.default_rng(4).standard_normal((5, 4, 3)), requires_grad=True)
    ours = ctc_loss(x, *MIXED, reduction=reduction)
    slow = ctc_loss_by_scan(x, *MIXED, reduction=reduction)
    np.testing.assert_allclose(ours.detach().numpy(), slow.detach().numpy(), rtol=1e-14)
    fast, wanted = (tg.gradients(y.sum(), x).numpy() for y in (ours, slow))
    np.testing.assert_allclose(fast, wanted, rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("loss", [ctc_loss, ctc_loss_by_scan])
def test_derivatives_of_both_orders_and_modes(loss: Any) -> None:
    x = np.random.default_rng(5).standard_normal((5, 4, 3))
    check_grads(lambda v: loss(v, *MIXED, reduction="none"), (x,), directions=2)


def test_third_derivative() -> None:
    x = np.random.default_rng(6).standard_normal((3, 2, 2))
    check_grads(lambda v: ctc_loss(v, [1, 1], [3, 2], [1, 1]), (x,), 3, directions=1)


def test_second_derivative_of_an_infinite_row_is_zero() -> None:
    x = tg.tensor(np.random.default_rng(7).standard_normal((2, 2, 3)), requires_grad=True)
    loss = ctc_loss(x, [1, 1, 2], [2, 2], [2, 1], reduction="none", zero_infinity=True)
    first = tg.gradients(loss.sum(), x, create_graph=True)
    second = tg.gradients((first * first).sum(), x).numpy()
    assert not first.detach().numpy()[:, 0].any() and not second[:, 0].any()
    assert second[:, 1].any() and np.isfinite(second).all()


def test_trains_a_row_to_its_labels() -> None:
    x = tg.zeros(8, 1, 4, requires_grad=True)
    for _ in range(150):
        x.grad = None
        loss = ctc_loss(tg.functional.log_softmax(x), [[1, 1, 3]], [8], [3], strict=True)
        loss.backward()
        with tg.no_grad():
            x.sub_(x.grad, alpha=5.0)
    assert float(loss) < 0.05
    assert merged(tuple(np.argmax(x.detach().numpy()[:, 0], -1)), 0) == (1, 1, 3)


# ------------------------------------------------------------------------- forms of the call
def test_padded_concatenated_and_single_rows_agree() -> None:
    x = tg.tensor(log_softmax(np.random.default_rng(8).standard_normal((6, 2, 3))))
    lengths, counts = tg.tensor([6, 5]), np.array([2, 1])
    padded = ctc_loss(x, [[1, 2], [2, -7]], lengths, counts, reduction="none").tolist()
    assert ctc_loss(x, tg.tensor([1, 2, 2]), lengths, counts, reduction="none").tolist() == padded
    single = ctc_loss(x[:, 0], [1, 2], 6, 2, reduction="none")
    assert single.shape == () and float(single) == padded[0]
    mean = float(ctc_loss(x, [1, 2, 2], lengths, counts))
    assert mean == pytest.approx((padded[0] / 2 + padded[1] / 1) / 2)


def test_as_a_module() -> None:
    x = tg.tensor(log_softmax(np.random.default_rng(8).standard_normal((6, 2, 3))))
    module = tg.nn.CTCLoss(blank=2, reduction="none", zero_infinity=True)
    args = ([[0, 0], [1, 9]], [2, 5], [2, 1])
    wanted = ctc_loss(x, *args, blank=2, reduction="none", zero_infinity=True)
    assert module(x, *args).tolist() == wanted.tolist()
    assert repr(module) == "CTCLoss(blank=2, reduction='none', zero_infinity=True, strict=False)"


def test_no_rows_have_a_sum_but_no_mean() -> None:
    x = tg.zeros(4, 0, 3)
    assert float(ctc_loss(x, [], [], [], reduction="sum")) == 0
    with pytest.raises(ShapeError, match="at least one row"):
        ctc_loss(x, [], [], [])


def test_float16_is_summed_in_float32() -> None:
    x = log_softmax(np.random.default_rng(9).standard_normal((200, 1, 3))).astype(np.float16)
    loss, gradient = loss_and_gradient(x, [1], [200], [1])
    wanted, wanted_gradient = loss_and_gradient(x.astype(np.float64), [1], [200], [1])
    assert loss.dtype == gradient.dtype == np.float16
    np.testing.assert_allclose(loss, wanted, rtol=1e-3)
    np.testing.assert_allclose(gradient, wanted_gradient, atol=1e-3)


X = np.zeros((4, 2, 3), np.float32)
BAD = [
    ("contains the blank", (X, [[1, 0], [1, 2]], [4, 4], [2, 2]), ArgumentError,
     "without the blank 0 expected, got it in row 0 at position 1"),
    ("class too large", (X, [[1, 2], [1, 3]], [4, 4], [2, 2]), IndexRangeError,
     r"0 … 2 expected, got 3 in row 1 at position 1"),
    ("negative class", (X, [1, 2, -1], [4, 4], [2, 1]), IndexRangeError, "got -1 in row 1"),
    ("negative input length", (X, [1, 2], [4, -1], [1, 1]), ArgumentError, "got -1 in row 1"),
    ("negative target length", (X, [[1], [2]], [4, 4], [-1, 1]), ArgumentError, "got -1 in row 0"),
    ("input longer than log_probs", (X, [1, 2], [4, 5], [1, 1]), ArgumentError,
     "input_lengths in 0 … 4 expected, got 5 in row 1"),
    ("target longer than its row", (X, [[1], [2]], [4, 4], [1, 2]), ArgumentError, "got 2 in row"),
    ("sum of target lengths", (X, [1, 2, 1], [4, 4], [1, 1]), ShapeError, "2 targets .* got \\(3,"),
    ("rows of targets", (X, [[1], [2], [1]], [4, 4], [1, 1]), ShapeError, r"\(2, L\)"),
    ("number of lengths", (X, [1, 2], [4], [1, 1]), ShapeError, r"input_lengths of shape \(2,\)"),
    ("blank out of range", (X, [1, 2], [4, 4], [1, 1], 3), IndexRangeError, "0 … 2 .*got 3"),
    ("negative blank", (X, [1, 2], [4, 4], [1, 1], -1), IndexRangeError, "got -1"),
    ("blank no integer", (X, [1, 2], [4, 4], [1, 1], 0.0), DTypeError, "blank as an integer"),
    ("reduction", (X, [1, 2], [4, 4], [1, 1], 0, "max"), ArgumentError, "'max'"),
    ("float targets", (X, [1.0, 2.0], [4, 4], [1, 1]), DTypeError, "integer targets"),
    ("float lengths", (X, [1, 2], [4.0, 4.0], [1, 1]), DTypeError, "integer input_lengths"),
    ("integer log_probs", (X.astype(int), [1, 2], [4, 4], [1, 1]), DTypeError, "floating-point"),
    ("rank of log_probs", (X[0, 0], [1], [4], [1]), ShapeError, r"\(T, N, C\)"),
]  # fmt: skip


@pytest.mark.parametrize(("args", "error", "match"), [b[1:] for b in BAD], ids=[b[0] for b in BAD])
@pytest.mark.parametrize("loss", [ctc_loss, ctc_loss_by_scan])
def test_bad_input_is_named(loss: Any, args: Any, error: Any, match: str) -> None:
    with pytest.raises(error, match=match) as raised:
        loss(*args)
    assert str(raised.value).startswith(loss.__name__ + ":")


# --------------------------------------------------------------------------------- PyTorch
@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize("zero_infinity", [False, True])
def test_against_torch(reduction: str, zero_infinity: bool) -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(10)
    x = rng.standard_normal((30, 6, 5))
    targets = rng.choice([0, 1, 2, 4], (6, 12))
    lengths = np.array([30, 29, 25, 30, 12, 3])
    counts = np.array([12, 5, 8, 0, 1, 2])
    theirs_x = torch.tensor(x, requires_grad=True)
    theirs = torch.nn.functional.ctc_loss(
        theirs_x.log_softmax(-1), torch.tensor(targets), torch.tensor(lengths),
        torch.tensor(counts), 3, reduction, zero_infinity,
    )  # fmt: skip
    theirs.sum().backward()
    ours_x = tg.tensor(x, requires_grad=True)
    log_probs = tg.functional.log_softmax(ours_x)
    ours = ctc_loss(log_probs, targets, lengths, counts, 3, reduction, zero_infinity)
    ours.sum().backward()
    np.testing.assert_allclose(ours.detach().numpy(), theirs.detach().numpy(), rtol=1e-12)
    np.testing.assert_allclose(ours_x.grad.numpy(), theirs_x.grad.numpy(), rtol=1e-9, atol=1e-13)
