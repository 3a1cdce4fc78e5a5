"""Derived operations: what has no derivative, operators, changes in place, and what is refused.

Values and derivatives of the differentiable ones stand with the primitives.
"""

from __future__ import annotations

import inspect
import operator
import pickle
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn import Tensor, derived
from tinygrad_rnn.errors import ArgumentError, DTypeError, ShapeError

X = np.array([[7.5, -7.5, 0.0], [1.0, -0.5, 3.0]])
Y = np.array([2.0, -3.0, 0.75])
K, J = np.array([[7, -7, 0], [5, 12, -1]]), np.array([3, -2, 6])
M, N = np.array([[True, False], [True, True]]), np.array([False, True])


# -------------------------------------------------------------------------------------- operators
@pytest.mark.parametrize("op", [operator.floordiv, operator.mod])
@pytest.mark.parametrize(("x", "y"), [(X, Y), (K, J), (X, 2.5), (K, 3), (K, 2.0)])
def test_division_with_remainder_is_that_of_python(op: Any, x: Any, y: Any) -> None:
    ours = op(tg.tensor(x), tg.tensor(y) if isinstance(y, np.ndarray) else y)
    wanted = op(x, y)
    np.testing.assert_array_equal(ours.numpy(), wanted)
    assert (ours.dtype.kind) == wanted.dtype.kind


def test_division_with_remainder_of_numbers_by_tensors() -> None:
    assert (7 // tg.tensor([2, -2])).tolist() == [3, -4]
    assert (7 % tg.tensor([4, -4])).tolist() == [3, -1]
    assert (tg.tensor([-7.0]).fmod(4.0)).tolist() == [-3.0]


@pytest.mark.parametrize("op", [operator.and_, operator.or_, operator.xor])
@pytest.mark.parametrize(("x", "y"), [(K, J), (M, N), (K, 6), (M, True), (J, N[:1])])
def test_operators_of_bits(op: Any, x: Any, y: Any) -> None:
    ours = op(tg.tensor(x), tg.tensor(y) if isinstance(y, np.ndarray) else y)
    np.testing.assert_array_equal(ours.numpy(), op(x, y))
    assert ours.dtype == op(x, y).dtype
    if not isinstance(y, np.ndarray):
        np.testing.assert_array_equal(op(y, tg.tensor(x)).numpy(), op(y, x))


def test_inversion_of_bits() -> None:
    np.testing.assert_array_equal((~tg.tensor(K)).numpy(), ~K)
    np.testing.assert_array_equal((~tg.tensor(M)).numpy(), ~M)
    np.testing.assert_array_equal(tg.logical_xor(tg.tensor(X), tg.tensor(Y) > 1).numpy(),
                                  np.logical_xor(X, Y > 1))  # fmt: skip


# ------------------------------------------------------------------------- agreement and choosing
def test_close_and_equal() -> None:
    inf, nan = float("inf"), float("nan")
    x = tg.tensor([1.0, inf, inf, nan, 1.0])
    y = tg.tensor([1.0 + 1e-6, inf, -inf, nan, 1.1])
    assert tg.isclose(x, y).tolist() == [True, True, False, False, False]
    assert tg.isclose(x, y, equal_nan=True).tolist() == [True, True, False, True, False]
    assert x[:2].allclose(y[:2]) and not tg.allclose(x[4:], y[4:])
    assert tg.allclose(x[4:], y[4:], atol=0.2) and tg.allclose(x[4:], y[4:], rtol=0.2)
    assert tg.equal(x[:2], x[:2].clone()) and not tg.equal(x[:2], y[:2])
    assert not tg.equal(tg.ones(2), tg.ones(3)) and not tg.equal(x, x)
    assert tg.is_tensor(x) and not tg.is_tensor([1.0]) and tg.numel(tg.ones(2, 3)) == 6


def test_where_the_elements_are() -> None:
    x = tg.tensor(K)
    np.testing.assert_array_equal(tg.nonzero(x).numpy(), np.argwhere(K))
    for ours, wanted in zip(x.nonzero(as_tuple=True), np.nonzero(K), strict=True):
        np.testing.assert_array_equal(ours.numpy(), wanted)
    assert tg.nonzero(tg.tensor(5)).shape == (1, 0) and tg.nonzero(tg.tensor(0)).shape == (0, 0)
    assert tg.count_nonzero(x).item() == 5 and tg.count_nonzero(x, 0).tolist() == [2, 2, 1]
    assert tg.unique(tg.tensor([3, 1, 3, 2, 1])).tolist() == [1, 2, 3]


def test_random_choices_follow_the_seed_and_the_weights() -> None:
    weights = tg.tensor([[0.0, 1.0, 0.0, 3.0], [1.0, 0.0, 0.0, 0.0]])
    tg.manual_seed(3)
    drawn = tg.multinomial(weights, 4000, replacement=True)
    assert drawn.shape == (2, 4000) and drawn.dtype == tg.int64
    assert abs((drawn[0] == 3).double().mean().item() - 0.75) < 0.03
    assert set(drawn[0].tolist()) == {1, 3} and set(drawn[1].tolist()) == {0}
    tg.manual_seed(3)
    assert tg.equal(tg.multinomial(weights, 4000, replacement=True), drawn)
    assert sorted(tg.multinomial(tg.tensor([1.0, 2.0, 3.0]), 3).tolist()) == [0, 1, 2]
    coins = tg.bernoulli(tg.full((5000,), 0.2))
    assert set(coins.tolist()) == {0.0, 1.0} and abs(coins.mean().item() - 0.2) < 0.03


# --------------------------------------------------------------------------- new and changed ones
def test_new_tensors_like_a_given_one() -> None:
    x = tg.ones(2, 3, dtype=tg.float64)
    for made in (x.new_zeros(4), x.new_ones(4, 1), x.new_full((2,), 7), tg.empty_like(x)):
        assert made.dtype == tg.float64
    assert x.new_zeros((2, 2)).tolist() == [[0.0, 0.0]] * 2 and x.new_ones(1).tolist() == [1.0]
    assert x.new_full((2,), 7).tolist() == [7.0, 7.0] and x.new_zeros(1, dtype=int).tolist() == [0]
    assert tg.randn_like(x).shape == x.shape and tg.randn_like(x).dtype == tg.float64
    assert tg.randint(5, (1000,)).numpy().max() == 4 and tg.randint(5, (9,)).shape == (9,)
    assert x.view_as(tg.ones(6)).shape == (6,) and x[0].expand_as(x).shape == (2, 3)


def test_changes_in_place() -> None:
    x = tg.tensor([-3.0, 0.5, 9.0])
    assert x.clamp_(-1, 2) is x and x.tolist() == [-1.0, 0.5, 2.0]
    assert x.masked_fill_(x > 0, 7.0) is x and x.tolist() == [-1.0, 7.0, 7.0]
    many = tg.zeros(4000)
    many.uniform_(2, 4)
    assert many.numpy().min() >= 2 and abs(many.mean().item() - 3) < 0.1
    many.normal_(5, 2)
    assert abs(many.mean().item() - 5) < 0.2 and abs(many.std().item() - 2) < 0.2
    leaf = tg.zeros(2, requires_grad=True)
    with pytest.raises(tg.errors.InPlaceError):
        leaf.clamp_(0, 1)
    with tg.no_grad():
        leaf.uniform_(1, 2)
    assert leaf.is_leaf and leaf.detach().numpy().min() >= 1


def test_options_that_pytorch_has() -> None:
    x = tg.tensor([[1, 2], [3, 5]])
    assert x.sum(dtype=tg.float64).dtype == tg.float64 and x.sum(0, dtype=tg.int32).dtype == "int64"
    assert x.mean(dtype=tg.float64).item() == 2.75
    y = x.float()
    np.testing.assert_allclose(y.var(unbiased=False).item(), np.var([1, 2, 3, 5]), rtol=1e-6)
    np.testing.assert_allclose(y.std(0, unbiased=True).numpy(), np.std(y.numpy(), 0, ddof=1))
    assert tg.one_hot(tg.tensor([0, 2])).tolist() == [[1, 0, 0], [0, 0, 1]]
    assert y.max(keepdim=True).shape == (1, 1)
    assert tg.ones(2, 3).repeat(2, 1).shape == (4, 3) and tg.clamp(y, max=2.5).numpy().max() == 2.5


def test_median_is_the_lower_middle_element() -> None:
    for x in (X, Y, X[:, :2]):
        lower = np.sort(x.ravel())[(x.size - 1) // 2]
        assert tg.median(tg.tensor(x)).item() == lower
    values, indices = tg.tensor(X).median(1, keepdim=True)
    assert values.tolist() == [[0.0], [1.0]] and indices.tolist() == [[2], [0]]
    assert tg.tensor(X).median(0).values.shape == (3,) and tg.median(tg.tensor(3.0)).item() == 3.0
    x = tg.tensor(Y, requires_grad=True)
    x.median().backward()
    assert x.grad is not None and x.grad.tolist() == [0.0, 0.0, 1.0]


def test_median_of_nan_is_nan() -> None:
    x = tg.tensor([[1.0, float("nan"), 3.0], [1.0, 2.0, 3.0]])
    values, indices = x.median(1)
    assert np.isnan(values.numpy()).tolist() == [True, False] and indices.tolist() == [1, 1]
    assert np.isnan(x.median().item()) and tg.median(tg.tensor([1, 3, 2])).item() == 2


def test_numbers_are_written_in_the_format_asked_for() -> None:
    loss = tg.tensor(0.51234, requires_grad=True) * 2
    assert f"{loss:.3f}" == "1.025" and f"{tg.tensor([7])[0]:>4}" == "   7"
    assert f"{tg.ones(2)}" == str(tg.ones(2))
    with pytest.raises(ShapeError, match=r"\(2,\)"):
        f"{tg.ones(2):.3f}"


def test_data_can_be_set() -> None:
    w = tg.tensor([1.0, 2.0], requires_grad=True)
    (w * w).sum().backward()
    w.data -= 0.5 * w.grad
    assert w.tolist() == [0.0, 0.0] and w.requires_grad and w.is_leaf
    w.data = w + tg.tensor([3.0, 4.0])
    assert w.tolist() == [3.0, 4.0] and w.is_leaf
    y = (w * w).sum()
    w.data = [5.0, 6.0]
    with pytest.raises(tg.errors.InPlaceError):
        y.backward()
    with pytest.raises(ShapeError):
        w.data = tg.ones(3)


def test_names_that_are_elsewhere() -> None:
    for name, words in {
        "save": "save_checkpoint",
        "device": "cpu",
        "autograd": "gradients",
    }.items():
        with pytest.raises(AttributeError, match=f"{name}.*{words}"):
            getattr(tg, name)
    assert divmod(tg.tensor(7), 2)[1].item() == 1 and tg.ones(2, 3).ravel().nelement() == 6


# -------------------------------------------------------------------------------- what is refused
REFUSED: dict[str, tuple[Any, type[Exception], str]] = {
    "floats have no bits": (lambda: tg.tensor(X) & tg.tensor(Y), DTypeError, "bitwise_and"),
    "no bits of a number": (lambda: ~tg.tensor(X), DTypeError, "bitwise_not"),
    "integers by 0": (lambda: tg.tensor(K) // 0, ArgumentError, "floor_divide.*zeros"),
    "remainder of 0": (lambda: tg.tensor(K) % tg.tensor([1, 0, 2]), ArgumentError, "remainder"),
    "mm": (lambda: tg.mm(tg.ones(2), tg.ones(2)), ShapeError, r"mm: two matrices.*\(2,\)"),
    "bmm": (lambda: tg.bmm(tg.ones(2, 3), tg.ones(3, 2)), ShapeError, "bmm"),
    "bmm batches": (lambda: tg.bmm(tg.ones(1, 2, 3), tg.ones(4, 3, 2)), ShapeError, "1 and 4"),
    "mv": (lambda: tg.mv(tg.ones(2, 3), tg.ones(3, 1)), ShapeError, "mv"),
    "t": (lambda: tg.ones(2, 3, 4).t(), ShapeError, r"\(2, 3, 4\)"),
    "tril": (lambda: tg.tril(tg.ones(3)), ShapeError, r"tril.*\(3,\)"),
    "tril of what": (lambda: tg.tril(tg.ones(3, 3), 0.5), DTypeError, "0.5"),
    "diag": (lambda: tg.diag(tg.ones(1, 1, 1)), ShapeError, r"\(1, 1, 1\)"),
    "diagonal": (lambda: tg.diagonal(tg.ones(3, 3), 0, 1, -1), ShapeError, "1 and -1"),
    "diagonal of a vector": (lambda: tg.ones(3).diagonal(), ShapeError, r"\(3,\)"),
    "trace": (lambda: tg.trace(tg.ones(3)), ShapeError, r"\(3,\)"),
    "mask": (lambda: tg.masked_fill(tg.tensor(X), tg.tensor(K), 0), DTypeError, "bool.*int64"),
    "mask list": (lambda: tg.tensor(X).masked_fill([True], 0), DTypeError, "bool.*list"),
    "mask shape": (
        lambda: tg.masked_fill(tg.ones(3), tg.tensor(M), 0),
        ShapeError,
        r"\(3,\).*\(2, 2\)",
    ),
    "select shape": (lambda: tg.masked_select(tg.ones(3), tg.tensor(N)), ShapeError, r"\(2,\)"),
    "repeat": (lambda: tg.ones(2, 3).repeat(2), ShapeError, "2 axes"),
    "repeat negative": (lambda: tg.ones(2).repeat(-1), ShapeError, "-1"),
    "interleave": (lambda: tg.repeat_interleave(tg.ones(2), 1.5), DTypeError, "1.5"),
    "roll": (lambda: tg.roll(tg.ones(2, 2), (1, 2), 0), ArgumentError, r"\(1, 2\) and 0"),
    "roll by": (lambda: tg.roll(tg.ones(2, 2), 0.5, 0), DTypeError, "0.5"),
    "hstack": (lambda: tg.hstack(tg.ones(2)), DTypeError, "list"),
    "chances": (lambda: tg.bernoulli(tg.tensor([0.5, 1.5])), ArgumentError, "probabilities"),
    "weights": (lambda: tg.multinomial(tg.tensor([1.0, -1.0]), 1), ArgumentError, "weights"),
    "too many": (lambda: tg.multinomial(tg.tensor([1.0, 0.0]), 2), ArgumentError, "replacement"),
    "draws": (lambda: tg.multinomial(tg.tensor([1.0, 0.0]), 0), ArgumentError, "num_samples"),
    "weights 3-d": (lambda: tg.multinomial(tg.ones(1, 1, 1), 1), ShapeError, r"\(1, 1, 1\)"),
    "median": (lambda: tg.median(tg.ones(0)), ShapeError, r"median.*\(0,\)"),
    "the class": (lambda: Tensor([1.0]), DTypeError, r"list\n.*tg\.tensor"),
    "its sizes": (lambda: Tensor(2, 3), DTypeError, r"int\n.*tg\.tensor"),
    "uniform_": (lambda: tg.ones(2).uniform_(2, 1), ArgumentError, "2 and 1"),
    "normal_": (lambda: tg.ones(2).normal_(0, -1), ArgumentError, "-1"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    call, error, words = REFUSED[name]
    with pytest.raises(error, match=words):
        call()


# --------------------------------------------------------------- lists are no tensors, anywhere
T = tg.ones(2, 2)
LISTS: dict[str, Any] = {
    "sum": lambda: tg.sum([1, 2]), "prod": lambda: tg.prod([1, 2]), "mean": lambda: tg.mean([1]),
    "argmax": lambda: tg.argmax([1, 2]), "sort": lambda: tg.sort([1, 2]),
    "max": lambda: tg.max([1, 2]), "permute": lambda: tg.permute([1, 2], 0),
    "einsum": lambda: tg.einsum("i->", [1, 2]), "conv1d": lambda: tg.conv1d([1], T),
    "linear": lambda: tg.linear([1, 2], T), "reshape": lambda: tg.reshape([1, 2], 2),
    "exp": lambda: tg.exp([1.0]), "matmul": lambda: T @ [1, 2],
    "outer": lambda: tg.outer(T[0], [1]),
    "softmax": lambda: tg.softmax([1.0, 2.0]), "norm": lambda: tg.norm([1.0]),
    "tril": lambda: tg.tril([[1]]), "clip": lambda: tg.clip([1.0], 0, 1),
    "ones_like": lambda: tg.ones_like([1.0]), "unbind": lambda: tg.unbind([1.0]),
    "nonzero": lambda: tg.nonzero([1.0]), "isclose": lambda: tg.isclose([1.0], T),
    "flip": lambda: tg.flip([1.0], 0), "gather": lambda: tg.gather([1.0], 0, tg.tensor([0])),
    "a number": lambda: tg.sum(3.0), "nothing": lambda: tg.cumsum(None, 0),
    "roll": lambda: tg.roll([1.0], 1), "mm": lambda: tg.mm(T, [1.0]), "text": lambda: tg.mean("a"),
    "std": lambda: tg.std([1.0, 2.0]), "logsumexp": lambda: tg.logsumexp([1.0]),
}  # fmt: skip


@pytest.mark.parametrize("name", LISTS)
def test_what_is_no_tensor_is_refused_by_name(name: str) -> None:
    with pytest.raises(DTypeError, match=r"(list|float|NoneType|str)\n.*tg\.tensor") as caught:
        LISTS[name]()
    called = {"a number": "sum", "nothing": "cumsum", "text": "mean"}.get(name, name)
    assert caught.value.called in (called, "abs", "eq", "sub")


def test_other_errors_come_through_as_they_are() -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'axis'"):
        tg.sum(T, axis=0)
    with pytest.raises(TypeError, match="missing 1 required"):
        tg.flatten()
    with pytest.raises(ShapeError, match="sum: "):
        tg.sum(T, 5)


def test_functions_of_the_package_are_pickled_by_name() -> None:
    for name in ("sum", "roll", "tanh", "floor_divide", "softmax"):
        assert pickle.loads(pickle.dumps(getattr(tg, name))) is getattr(tg, name), name
    assert list(inspect.signature(tg.sum).parameters) == ["x", "dim", "keepdim", "dtype"]


@pytest.mark.parametrize("name", [n for n in ("sort", "topk", "max", "min", "argmax", "median")
                                  if hasattr(tg, n)])  # fmt: skip
def test_an_error_names_what_was_called(name: str) -> None:
    options = {"k": 1} if name == "topk" else {}
    with pytest.raises(ShapeError) as caught:
        getattr(tg, name)(T, dim=7, **options)
    assert caught.value.called == name


def test_functions_are_methods_where_they_take_a_tensor_first() -> None:
    without = {"bernoulli", "clamp", "concat", "einsum", "empty_like", "hstack", "is_tensor",
               "multinomial", "randn_like", "vstack", "numel"}  # fmt: skip
    missing = {name for name in derived.__all__ if not hasattr(Tensor, name)}
    assert missing <= without
