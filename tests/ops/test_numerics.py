"""Accuracy at the extremes, singular points, ties and NaN: where formulas go wrong."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn.graph import primitives
from tinygrad_rnn.ops import reduce

INF = math.inf


def leaf(values: Any, dtype: Any = tg.float64) -> tg.Tensor:
    return tg.tensor(values, dtype=dtype, requires_grad=True)


def gradient(fn: Any, values: Any) -> list[Any]:
    x = leaf(values)
    with np.errstate(all="ignore"):
        fn(x).sum().backward()
    found: list[Any] = x.grad.tolist()
    return found


# --------------------------------------------------------------------- against fifty digits
POINTS = sorted(
    s * m
    for s in (1.0, -1.0)
    for m in (
        0.0, 5e-324, 1e-310, 1e-300, 1e-20, 1e-9, 1e-5, 1e-3, 0.1, 0.3, 0.5, 1 - 2**-53, 1.0, 1.5,
        2.5, 7.0, 17.5, 20.0, 36.0, 37.5, 100.0, 500.0, 700.0, 709.7, 744.0, 746.0, 1e4, 1e100,
        1e308,
    )
)  # fmt: skip


def _exact(name: str) -> Any:
    mpmath = pytest.importorskip("mpmath")
    one = mpmath.mpf(1)
    return {
        "exp": mpmath.exp, "expm1": mpmath.expm1, "log": mpmath.log, "log1p": mpmath.log1p,
        "tanh": mpmath.tanh, "erf": mpmath.erf, "sqrt": mpmath.sqrt,
        "rsqrt": lambda x: one / mpmath.sqrt(x), "reciprocal": lambda x: one / x,
        "sigmoid": lambda x: one / (one + mpmath.exp(-x)),
        "softplus": lambda x: mpmath.log1p(mpmath.exp(x)),
        "sinh": mpmath.sinh, "cosh": mpmath.cosh, "atan": mpmath.atan,
    }[name]  # fmt: skip


DOMAINS = {"log": (0, INF), "log1p": (-1, INF), "sqrt": (0, INF), "rsqrt": (0, INF)}
ULPS = {"sigmoid": 4, "softplus": 4, "rsqrt": 3, "erf": 3, "sinh": 4, "cosh": 4, "tanh": 3}


@pytest.mark.parametrize(
    "name",
    ["exp", "expm1", "log", "log1p", "tanh", "erf", "sqrt", "rsqrt", "reciprocal", "sigmoid",
     "softplus", "sinh", "cosh", "atan"],
)  # fmt: skip
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_elementwise_functions_to_a_few_units(name: str, dtype: str) -> None:
    mpmath = pytest.importorskip("mpmath")
    low, high = DOMAINS.get(name, (-INF, INF))
    finest = float(np.finfo(dtype).tiny) if dtype == "float32" else 0.0
    largest = float(np.finfo(dtype).max)
    points = [x for x in POINTS if low < x < high and (x == 0 or finest <= abs(x) <= largest)]
    points = [float(np.array(x, dtype)) for x in points]
    if name == "reciprocal":  # of subnormal numbers it overflows
        points = [x for x in points if abs(x) > 1 / largest]
    function = _exact(name)
    with np.errstate(all="ignore"):
        got = getattr(tg, name)(tg.tensor(np.array(points, dtype))).numpy()
    with mpmath.workdps(50):
        for x, y in zip(points, got, strict=True):
            exact = function(mpmath.mpf(x))
            if abs(exact) > largest:
                assert np.isinf(y), x
                continue
            unit = float(np.spacing(np.array(abs(float(exact)), dtype)))
            assert abs(float(y) - float(exact)) <= (ULPS.get(name, 2) + 0.5) * unit, (x, y, exact)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_logsumexp_and_logaddexp_do_not_overflow(dtype: str) -> None:
    mpmath = pytest.importorskip("mpmath")
    big = 80.0 if dtype == "float32" else 700.0
    rows = [[big * 5, big * 5], [-big * 5, -big * 5 - 1], [0.0, 1e-5], [big, -big], [3.0, 3.0]]
    x = np.array(rows, dtype)
    got = tg.logsumexp(tg.tensor(x), 1).numpy()
    also = tg.logaddexp(tg.tensor(x[:, 0].copy()), tg.tensor(x[:, 1].copy())).numpy()
    with mpmath.workdps(50):
        for row, y, z in zip(x.tolist(), got, also, strict=True):
            exact = float(mpmath.log(sum(mpmath.exp(mpmath.mpf(v)) for v in row)))
            assert y == pytest.approx(exact, rel=4 * float(np.finfo(dtype).eps))
            assert z == pytest.approx(exact, rel=4 * float(np.finfo(dtype).eps))


@pytest.mark.parametrize("name", ["sigmoid", "softplus", "tanh", "logsumexp", "erf", "atan"])
def test_gradients_at_the_extremes_are_finite(name: str) -> None:
    fn = (lambda x: tg.logsumexp(x, 0)) if name == "logsumexp" else getattr(tg, name)
    for x in (-1e308, -800.0, -40.0, 40.0, 800.0, 1e308):
        (found,) = gradient(fn, [x])
        assert math.isfinite(found), x


def test_sigmoid_and_softplus_in_the_left_tail_keep_their_digits() -> None:
    """½ tanh(x/2) + ½ is 0 at −40; the true value is 4e-18."""
    assert tg.sigmoid(tg.tensor(-40.0, dtype=tg.float64)).item() == pytest.approx(math.exp(-40))
    assert gradient(tg.sigmoid, [-40.0])[0] == pytest.approx(math.exp(-40))
    assert gradient(tg.softplus, [-40.0])[0] == pytest.approx(math.exp(-40))
    assert gradient(tg.log1p, [1e-20])[0] == 1.0
    assert gradient(tg.expm1, [1e-20])[0] == 1.0


@pytest.mark.parametrize(
    "name", ["exp", "log", "tanh", "sigmoid", "softplus", "relu", "abs", "sqrt", "sin", "maximum"]
)
def test_nan_goes_through(name: str) -> None:
    x = tg.tensor([math.nan, 1.0], dtype=tg.float64)
    out = tg.maximum(x, x * 0) if name == "maximum" else getattr(tg, name)(x)
    assert math.isnan(out[0].item()) and not math.isnan(out[1].item())


def test_infinities_go_through() -> None:
    x = tg.tensor([INF, -INF], dtype=tg.float64)
    assert tg.sigmoid(x).tolist() == [1.0, 0.0]
    assert tg.softplus(x).tolist() == [INF, 0.0]
    assert tg.tanh(x).tolist() == [1.0, -1.0]
    assert tg.exp(x).tolist() == [INF, 0.0]
    assert tg.relu(x).tolist() == [INF, 0.0]
    assert tg.erf(x).tolist() == [1.0, -1.0]
    assert tg.logsumexp(x, 0).item() == INF
    assert tg.pad(x, (1, 1), 2.0).tolist() == [2.0, INF, -INF, 2.0]


def test_float16_is_stored_and_does_not_overflow_inside() -> None:
    x = tg.tensor([-60000.0, -10.0, 0.0, 10.0, 60000.0], dtype=tg.float16)
    assert tg.sigmoid(x).tolist()[::2] == [0.0, 0.5, 1.0]
    assert tg.softplus(x).tolist()[-1] == 60000.0
    many = tg.ones(70000, dtype=tg.float16)
    assert tg.logsumexp(many, 0).item() == pytest.approx(12.16, abs=0.01)
    assert many.mean().item() == 1.0 and many.mean().dtype == tg.float16


@pytest.mark.parametrize("kind", ["f2", "f4", "f8", "i4", "u1", "?"])
@pytest.mark.parametrize("name", ["amax", "amin"])
def test_extremes_of_rows_are_those_of_numpy(name: str, kind: str) -> None:
    values = np.random.default_rng(0).standard_normal((20, 8, 5)) * 9
    values[1, 2, 3], values[2, 1] = (np.nan, -np.inf) if kind[0] == "f" else (0, 1)
    with np.errstate(invalid="ignore"):
        array = values.astype(kind)
    forward = primitives[name].forward
    parts = array, array[0], array[0, 0], array[..., :1], array[:, ::2, ::-1], array.T, array[:0]
    for x in (*parts, np.ascontiguousarray(array.T), array[..., :1].copy()):
        for keepdim in (False, True):
            expected = getattr(x, name[1:])(axis=-1, keepdims=keepdim)
            found = forward(np, x, dims=(x.ndim - 1,), keepdim=keepdim)
            np.testing.assert_array_equal(found, expected, strict=True)
            found = getattr(tg, name)(tg.tensor(x), -1, keepdim=keepdim).numpy()
            np.testing.assert_array_equal(found, expected, strict=True)


def test_many_rows_are_reduced_as_segments() -> None:
    class Largest:
        calls = 0

        def reduceat(self, flat: Any, starts: Any) -> Any:
            self.calls += 1
            return np.maximum.reduceat(flat, starts)

    largest = Largest()
    forward = reduce._extreme_of("max", largest)
    for shape, calls in (((64, 3), 1), ((63, 3), 1), ((8, 8, 2), 2), ((100, 1), 2), ((64,), 2)):
        forward(np, np.zeros(shape), dims=(len(shape) - 1,), keepdim=False)
        forward(np, np.zeros(shape), dims=(), keepdim=False)
        assert largest.calls == calls


# --------------------------------------------------------------------------- singular points
def test_derivatives_at_kinks() -> None:
    assert gradient(tg.abs, [0.0, -0.0]) == [0.0, 0.0]
    assert gradient(tg.relu, [0.0]) == [0.0]
    assert gradient(lambda x: tg.clip(x, 0.0, 1.0), [0.0, 1.0, -0.1, 1.1]) == [1.0, 1.0, 0.0, 0.0]
    assert gradient(tg.sqrt, [0.0]) == [INF]
    assert gradient(tg.safe_sqrt, [0.0, -1.0, 4.0]) == [0.0, 0.0, 0.25]
    assert gradient(tg.safe_log, [0.0, 2.0]) == [0.0, 0.5]
    assert gradient(tg.norm, [0.0, 0.0]) == [0.0, 0.0]
    assert gradient(lambda x: tg.norm(x, 3.0), [0.0, 0.0]) == [0.0, 0.0]
    assert gradient(tg.std, [2.0, 2.0]) == [0.0, 0.0]


@pytest.mark.parametrize("p", [0.5, 1, 1.5, 2, 3.0, INF])
def test_2_the_norm_at_some_zeros_and_of_nan(p: float) -> None:
    first = gradient(lambda x: tg.norm(x, p), [0.0, 4.0])
    assert first == [0.0, pytest.approx(1.0, rel=1e-15)]
    second = tg.hessian(lambda x: tg.norm(x, p))(tg.tensor([0.0, 4.0], dtype=tg.float64))
    assert np.isfinite(second.numpy()).all()
    assert math.isnan(tg.norm(tg.tensor([math.nan, 1.0]), p).item())


def test_2_what_is_safe_at_zero_does_not_hide_nan() -> None:
    nan = tg.tensor([math.nan, 1.0])
    assert math.isnan(tg.safe_sqrt(nan)[0].item()) and math.isnan(tg.std(nan).item())
    assert math.isnan(tg.safe_log(nan)[0].item())


def test_bounds_that_are_tensors_or_of_numpy_give_a_tie_to_what_is_clipped() -> None:
    for low, high in ((0.0, 1.0), (np.float64(0), np.float64(1)), (tg.zeros(4), tg.ones(4))):
        found = gradient(lambda x, low=low, high=high: x.clip(low, high), [0.0, 1.0, -0.1, 1.1])
        assert found == [1.0, 1.0, 0.0, 0.0]
    low = leaf([0.0, 0.5])
    tg.clip(tg.tensor([0.0, 0.0], dtype=tg.float64), low, 1.0).sum().backward()
    assert low.grad.tolist() == [0.0, 1.0]
    assert math.isnan(tg.clip(tg.tensor(1.0), tg.tensor(math.nan)).item())


def test_powers_of_a_negative_number_have_no_gradient() -> None:
    assert all(math.isnan(g) for g in gradient(lambda y: (-2.0) ** y, [2.0, 3.0]))
    assert gradient(lambda y: 0.0**y, [2.0, 3.0]) == [0.0, 0.0]


def test_powers_at_zero() -> None:
    assert gradient(lambda x: x**0, [0.0]) == [0.0]
    assert gradient(lambda x: x**1, [0.0]) == [1.0]
    assert gradient(lambda x: x**2, [0.0]) == [0.0]
    assert gradient(lambda x: x**1.5, [0.0]) == [0.0]
    zero = leaf(0.0)
    y = leaf(2.0)
    (zero**y).backward()
    assert float(zero.grad) == 0.0 and float(y.grad) == 0.0
    exponents = tg.tensor([0.0, 1.0, 2.0], dtype=tg.float64)
    assert gradient(lambda x: x**exponents, [0.0, 0.0, 0.0]) == [0.0, 1.0, 0.0]


def test_powers_of_negative_numbers() -> None:
    assert gradient(lambda x: x**3, [-2.0]) == [12.0]
    assert gradient(lambda x: x**2.0, [-2.0]) == [-4.0]
    assert gradient(lambda x: x**-1, [-2.0]) == [-0.25]
    x = leaf([-2.0])
    second = tg.gradients(tg.gradients((x**3).sum(), x, create_graph=True).sum(), x)
    assert second.tolist() == [-12.0]


def test_3_ties_follow_one_rule() -> None:
    """Reductions and `maximum` share; along a dimension the first takes all, as in PyTorch."""
    assert gradient(lambda x: tg.maximum(x, tg.tensor([1.0], dtype=tg.float64)), [1.0]) == [0.5]
    assert gradient(tg.amax, [3.0, 1.0, 3.0]) == [0.5, 0.0, 0.5]
    assert gradient(lambda x: x.max(), [3.0, 3.0, 3.0]) == [1 / 3] * 3
    assert gradient(lambda x: x.max(0).values, [3.0, 1.0, 3.0]) == [1.0, 0.0, 0.0]
    assert gradient(lambda x: x.sort().values[:1], [1.0, 1.0]) == [1.0, 0.0]


def test_4_ties_are_counted_in_any_precision() -> None:
    x = tg.ones(70000, dtype=tg.float16, requires_grad=True)
    x.amax().backward(tg.tensor(1000.0, dtype=tg.float16))
    assert x.grad.dtype == tg.float16
    assert float(x.grad.float().sum()) == pytest.approx(1000.0, rel=1e-2)


@pytest.mark.parametrize("zeros", [0, 1, 2, 3])
def test_5_products_with_zeros_have_exact_second_derivatives(zeros: int) -> None:
    values = np.array([2.0, 3.0, 5.0])
    values[:zeros] = 0.0
    expected = np.zeros((3, 3))
    for i, j in ((0, 1), (0, 2), (1, 2)):
        expected[i, j] = expected[j, i] = np.prod(np.delete(values, [i, j]))
    assert tg.hessian(tg.prod)(tg.tensor(values)).tolist() == expected.tolist()


def test_1_the_branch_not_taken() -> None:
    """The derivative of `where` itself is clean; a bad argument must be replaced before."""
    x = [0.0, 4.0]
    unsafe = gradient(lambda x: tg.where(x > 0, tg.sqrt(x), 0.0), x)
    assert math.isnan(unsafe[0]) and unsafe[1] == 0.25
    safe = gradient(lambda x: tg.where(x > 0, tg.sqrt(tg.where(x > 0, x, 1.0)), 0.0), x)
    assert safe == [0.0, 0.25]
    assert gradient(lambda x: tg.where(x > 0, x * 2, math.nan), x) == [0.0, 2.0]


def test_6_repeated_indices_add_up() -> None:
    assert gradient(lambda x: x[[0, 0, 1, 0]], [1.0, 2.0, 3.0]) == [3.0, 1.0, 0.0]
    index = tg.tensor([[0, 0, 0]])
    assert gradient(lambda x: tg.gather(x.reshape(1, 3), 1, index), [1.0, 2.0, 3.0]) == [3, 0, 0]
    added = tg.scatter_add(tg.zeros(3), 0, tg.tensor([1, 1, 2]), tg.tensor([1.0, 2.0, 4.0]))
    assert added.tolist() == [0.0, 3.0, 4.0]


@pytest.mark.parametrize("columns", [1, 3, 60])
@pytest.mark.parametrize("rows", [1, 4, 9, 700])
def test_6_repeated_rows_add_up_however_many(rows: int, columns: int) -> None:
    """Few and many elements, rows used once, a few times and thousands of times."""
    rng = np.random.default_rng(0)
    places = np.minimum(rng.geometric(0.003, 5000), rows) - 1
    values = rng.integers(-8, 8, (5000, columns)).astype(np.float32)  # sums are exact
    x = tg.zeros(rows, columns, requires_grad=True)
    (x[tg.tensor(places)] * tg.tensor(values)).sum().backward()
    expected = np.zeros((rows, columns), np.float32)
    np.add.at(expected, places, values)
    np.testing.assert_array_equal(x.grad.numpy(), expected)


@pytest.mark.parametrize("rows", [(1 << 16) - 1, 1 << 16, (1 << 16) + 1])
def test_6_rows_beyond_what_sixteen_bits_number(rows: int) -> None:
    x = tg.zeros(rows, 2, requires_grad=True)
    x[tg.tensor([rows - 1, 0, -1, -1])].sum().backward()
    found = x.grad.numpy()
    assert found[0].tolist() == [1, 1] and found[-1].tolist() == [3, 3] and found.sum() == 8


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16"])
def test_6_rows_more_than_the_dtype_of_the_indices_counts(dtype: str) -> None:
    x = tg.zeros(40000, 2, requires_grad=True)
    x[tg.tensor(np.array([1, 100, 1], dtype))].sum().backward()
    found = x.grad.numpy()
    assert found[1].tolist() == [2, 2] and found[100].tolist() == [1, 1] and found.sum() == 6


def test_7_every_operand_is_unbroadcast() -> None:
    """autograd's where gives x of shape (10, 1, 10) a gradient of shape (10, 10, 10)."""
    c = tg.tensor(np.arange(1000).reshape(10, 10, 10) % 3 == 0)
    x = tg.ones(10, 1, 10, requires_grad=True)
    y = tg.ones(10, requires_grad=True)
    tg.where(c, x, y).sum().backward()
    assert x.grad.shape == (10, 1, 10) and y.grad.shape == (10,)
    assert float(x.grad.sum() + y.grad.sum()) == 1000


def test_8_permutation_by_negative_axes() -> None:
    """autograd's transpose gives a gradient of the wrong shape here."""
    x = tg.tensor(np.arange(24.0).reshape(1, 2, 3, 4), requires_grad=True)
    y = x.permute(0, -2, -1, 1)
    g = np.arange(24.0).reshape(y.shape)
    y.backward(tg.tensor(g))
    np.testing.assert_array_equal(x.grad.numpy(), np.transpose(g, (0, 3, 1, 2)))


OF_NOTHING = (
    tg.sum, tg.tanh, tg.prod, lambda x: x.cumsum(0), lambda x: tg.cat([x, x]),
    lambda x: x.flatten(), lambda x: x.T, lambda x: x[:0], lambda x: x * 2 + x,
)  # fmt: skip
OF_A_NUMBER = (
    tg.sum, tg.mean, tg.prod, tg.amax, lambda x: x.sum(-1), lambda x: x.sum(0),
    lambda x: tg.logsumexp(x, 0), lambda x: x.max(0).values, lambda x: x.cumsum(0),
    lambda x: x.sort().values, lambda x: x.flatten(), lambda x: x.permute(()),
    lambda x: x.reshape(1, 1), lambda x: x[None], lambda x: x[...], lambda x: x.T,
)  # fmt: skip


def test_11_sizes_of_zero_and_no_axes() -> None:
    for shape in ((0,), (0, 3), (2, 0, 3)):
        x = tg.zeros(*shape, dtype=tg.float64, requires_grad=True)
        for fn in OF_NOTHING:
            x.grad = None
            fn(x).sum().backward()
            assert x.grad.shape == shape
    s = leaf(2.0)
    for fn in OF_A_NUMBER:
        s.grad = None
        fn(s).sum().backward()
        assert s.grad.shape == () and float(s.grad) == 1.0


def test_10_a_part_and_a_whole_arrive_at_a_number() -> None:
    """The total of what arrived was a NumPy scalar, which cannot be written to."""
    x = leaf(2.0)
    y = x + x
    (y[None] + y).sum().backward()
    assert float(x.grad) == 4.0


def test_12_a_choice_between_numbers() -> None:
    condition = tg.tensor([True, False])
    for x, y, dtype in ((1.0, 0.0, tg.float32), (1, 0, tg.int64), (True, False, tg.bool_)):
        made = tg.where(condition, x, y)
        assert made.dtype == dtype and made.tolist() == [x, y]
    assert tg.where(condition, 1, 0.5).dtype == tg.float32


def test_12_numbers_do_not_change_the_dtype() -> None:
    for dtype in (tg.float16, tg.float32, tg.float64):
        x = tg.ones(3, dtype=dtype, requires_grad=True)
        y = (2 * x + 1 - 0.5) / 3 * np.float64(1.5) ** 2
        z = tg.where(x > 0, y, 0.0) + tg.clip(x, 0.0, 2.0) + tg.maximum(x, 1.0) + x**2.5 + 2.0**x
        assert z.dtype == dtype
        (z.mean() + z.var() + z.logsumexp(0) + tg.norm(z)).backward()
        assert x.grad.dtype == dtype


def test_12_forward_tangents_keep_the_dtype() -> None:
    x = tg.ones(3)
    functions = (
        lambda x: x * 2.5, lambda x: x**2, lambda x: x.mean(), lambda x: tg.where(x > 0, x, 0.0),
        lambda x: x.var(), tg.softplus, lambda x: tg.clip(x, 0, 1), lambda x: x.amax(),
    )  # fmt: skip
    for fn in functions:
        assert tg.jvp(fn, (x,), (x,))[1].dtype == tg.float32
