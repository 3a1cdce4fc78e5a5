"""The elementary functions in kernels: as exact as promised, and special values as in NumPy."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tinygrad_rnn import special
from tinygrad_rnn.compiler import llvm_jit
from tinygrad_rnn.compiler.fuse import COSTS, FUSABLE
from tinygrad_rnn.compiler.program import Graph
from tinygrad_rnn.graph import primitives

ELEMENTWISE = {n for n, op in primitives.items() if op.form == "elementwise"}  # tests add more
pytestmark = pytest.mark.skipif(not llvm_jit.available(), reason="llvmlite is not installed")
DTYPES = [np.float32, np.float64]
NAMES = [
    "exp", "expm1", "exp2", "log", "log1p", "log2", "log10", "sin", "cos", "tan", "asin", "acos",
    "atan", "sinh", "cosh", "tanh", "sigmoid", "erf", "softplus", "trunc",
]  # fmt: skip
PAIRS = ["logaddexp", "pow", "fmod", "remainder", "floor_divide"]
SPECIAL = [
    0.0, -0.0, math.inf, -math.inf, math.nan, 1.0, -1.0, 2.0, -2.0, 0.5, -0.5, 3.0, -3.0, 7.25,
    1e30, -1e30, 1e22, 1e-30, 1e-42, -1e-42,
]  # fmt: skip


def forward(name: str, *arrays: Any) -> Any:
    """What NumPy has."""
    with np.errstate(all="ignore"):
        return primitives[name].forward(np, *arrays)


def in_kernel(name: str, *arrays: Any, exponent: float | None = None) -> Any:
    """The same by a kernel over one axis."""
    from tinygrad_rnn.compiler.llvm_kernels import build
    from tinygrad_rnn.compiler.lowering import Address, Block

    dtype, size = arrays[0].dtype, arrays[0].size
    out = np.empty(size, dtype)
    graph = Graph()
    args: list[Any] = [graph.input("carry", (size,), dtype) for _ in arrays]
    places = [Address(i, 0, (dtype.itemsize,), dtype, 0) for i in range(len(arrays) + 1)]
    terms: list[Any] = [("load", place) for place in places[:-1]]
    if exponent is not None:
        args.append(exponent)
        terms.append(("number", (exponent, dtype)))
    value = graph.record(primitives[name], args, {})
    terms.append((name, tuple(range(len(terms))), value))
    block = Block((size,), terms, [(len(terms) - 1, places[-1])], [], 1)
    table = np.array([a.ctypes.data for a in (*arrays, out)], np.int64)
    llvm_jit.compiled(build([block], len(places)))(0, table.ctypes.data)
    return out


def samples(dtype: Any, count: int = 300) -> Any:
    """Numbers of all magnitudes, near 0 and near 1, in the domain of everything and outside."""
    rng = np.random.default_rng(1)
    limits = np.finfo(dtype)
    exponents = rng.uniform(np.log2(limits.tiny) - limits.nmant, np.log2(limits.max), count)
    found = [
        2.0**exponents * rng.choice([-1, 1], count),
        rng.standard_normal(count) * 10.0 ** rng.integers(-3, 3, count),
        1 + rng.standard_normal(count) * 10.0 ** rng.integers(-6, 0, count),
        rng.uniform(-1.0, 1.0, count),
        rng.uniform(-1.03, 1.03, count) * np.log(limits.max),
        np.arange(-40, 40) * np.pi / 2,
    ]
    return np.concatenate(found).astype(dtype)


def exact(name: str) -> Callable[[Any], Any]:
    """A function of numbers of any precision."""
    mpmath = pytest.importorskip("mpmath")
    functions = {
        "exp2": lambda x: mpmath.mpf(2) ** x, "log2": lambda x: mpmath.log(x, 2),
        "sigmoid": lambda x: 1 / (1 + mpmath.exp(-x)), "trunc": lambda x: mpmath.mpf(int(x)),
        "softplus": lambda x: mpmath.log1p(mpmath.exp(x)),
    }  # fmt: skip
    return functions[name] if name in functions else getattr(mpmath, name)  # type: ignore[no-any-return]


def error(name: str, x: Any, found: Any) -> float:
    """The largest error in units of the last place of the exact value."""
    import mpmath

    function, limits, worst = exact(name), np.finfo(x.dtype), 0.0
    with mpmath.workprec(160):
        for number, mine in zip(x.tolist(), found.tolist(), strict=True):
            try:
                right = function(mpmath.mpf(number))
            except ValueError:  # a pole
                continue
            real = isinstance(right, mpmath.mpf) and abs(right) <= limits.max
            if real:
                last = max(np.spacing(x.dtype.type(abs(float(right)))), limits.smallest_subnormal)
                worst = max(worst, abs(float((mpmath.mpf(mine) - right) / mpmath.mpf(float(last)))))
    return worst


def same(mine: Any, right: Any, ulps: float) -> Any:
    """Where two are the same: in kind and sign, and in value but for so many last places."""
    with np.errstate(all="ignore"):
        near = np.abs(mine - right) <= ulps * np.spacing(np.abs(right))
        alike = (mine == right) | (near & np.isfinite(right) & (right != 0))
    return (np.isnan(mine) & np.isnan(right)) | (alike & (np.signbit(mine) == np.signbit(right)))


def test_every_elementwise_primitive_is_fused() -> None:
    from tinygrad_rnn.compiler.llvm_functions import OPERATIONS
    from tinygrad_rnn.compiler.llvm_math import ARITHMETIC

    assert ELEMENTWISE <= FUSABLE
    assert {"cast", "clip", "pow"} | set(OPERATIONS) == FUSABLE
    assert set(COSTS) <= FUSABLE
    approximated = OPERATIONS.keys() - ARITHMETIC.keys()
    assert approximated <= {*NAMES, *PAIRS}  # whose exactness is looked at below


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NAMES)
def test_functions_are_exact_to_a_few_last_places(name: str, dtype: Any) -> None:
    x = samples(dtype)
    assert error(name, x, in_kernel(name, x)) < (2.5 if dtype is np.float32 else 3)


@pytest.mark.parametrize("size", [1, 2, 13, 64])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NAMES)
def test_special_values_are_those_of_numpy(name: str, dtype: Any, size: int) -> None:
    limits = np.finfo(dtype)
    ends = [limits.tiny, limits.smallest_subnormal, limits.max, 1 - limits.epsneg, 1 + limits.eps]
    numbers = [*SPECIAL, *ends, *(-end for end in ends)]
    x = np.resize(np.array(numbers, dtype), size * -(-len(numbers) // size))
    found = np.concatenate([in_kernel(name, part) for part in x.reshape(-1, size)])
    agree = same(found, forward(name, x), 4)
    assert agree.all(), (x[~agree], found[~agree], forward(name, x)[~agree])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", PAIRS)
def test_functions_of_two_are_those_of_numpy(name: str, dtype: Any) -> None:
    rng = np.random.default_rng(2)
    numbers = [*SPECIAL, *(rng.standard_normal(20) * 10.0 ** rng.integers(-3, 3, 20))]
    x, y = (v.reshape(-1).copy() for v in np.meshgrid(*[np.array(numbers, dtype)] * 2))
    found, right = in_kernel(name, x, y), forward(name, x, y)
    agree = same(found, right, 2)
    if name == "logaddexp":  # where it is near 0, the terms are not
        with np.errstate(all="ignore"):
            agree |= np.abs(found - right) <= 2 * np.spacing(np.maximum(np.abs(x), np.abs(y)))
    assert agree.all(), (x[~agree], y[~agree], found[~agree], right[~agree])


@pytest.mark.parametrize("exponent", [-4, -3, -2, -1.5, -1, 0, 1, 1.5, 2, 3, 4, 5, 6, 7, 20])
@pytest.mark.parametrize("dtype", DTYPES)
def test_powers_of_a_known_exponent(dtype: Any, exponent: float) -> None:
    x = np.concatenate([np.array(SPECIAL, dtype), samples(dtype)])
    found, right = in_kernel("pow", x, exponent=exponent), forward("pow", x, dtype(exponent))
    with np.errstate(all="ignore"):
        agree = same(found, right, 4) | (
            np.abs(found - right) <= 2 * np.finfo(dtype).smallest_subnormal
        )
    assert agree.all(), (x[~agree], found[~agree], right[~agree])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["sin", "cos", "tan"])
def test_one_huge_argument_changes_nothing_for_the_others(name: str, dtype: Any) -> None:
    x = np.linspace(-20, 20, 37).astype(dtype)
    x[11] = 1e22
    found = in_kernel(name, x)
    assert same(found, forward(name, x), 4).all()


def test_the_short_error_function_is_the_long_one() -> None:
    x = np.linspace(-6, 6, 4001)
    found = in_kernel("erf", x.astype(np.float32))
    np.testing.assert_allclose(found, special.erf(x.astype(np.float32)), rtol=3e-7)
