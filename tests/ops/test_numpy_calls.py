"""NumPy's functions and operators, given tensors: what they compute, and what they refuse."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn.derived.numpy_calls import OUR_NAMES, OURS, REFLECTED
from tinygrad_rnn.errors import AutodiffError, DTypeError

ARRAY = np.array([[1.0, 2.0], [3.0, 5.0]], dtype=np.float32)
T = tg.tensor(ARRAY[::-1])
W = tg.tensor(ARRAY[::-1], requires_grad=True)
LEFT = [ARRAY, ARRAY[0], np.float32(2), np.float64(2), np.int64(2), np.array(2.0, dtype=np.float32)]
OPERATORS = "add eq floordiv ge gt le lt matmul mod mul ne pow sub truediv".split()
BITS = "and_ or_ xor".split()


@pytest.mark.parametrize("name", OPERATORS)
@pytest.mark.parametrize("left", LEFT)
def test_an_operator_with_an_array_at_its_left_is_the_tensors(name: str, left: Any) -> None:
    if name == "matmul" and not left.ndim:
        return
    operate = getattr(operator, name)
    result = operate(left, W)
    assert type(result) is tg.Tensor
    assert result.dtype in (np.float32, np.bool_)
    assert result.requires_grad == (name in "add matmul mod mul pow sub truediv".split())
    np.testing.assert_allclose(result.detach(), operate(left, ARRAY[::-1]), rtol=1e-6)


@pytest.mark.parametrize("name", BITS)
def test_an_operator_of_bits_is_the_tensors(name: str) -> None:
    operate, left = getattr(operator, name), np.array([5, 3])
    assert operate(left, tg.tensor([6, 1])).tolist() == operate(left, np.array([6, 1])).tolist()


def test_every_reflected_operator_is_tried() -> None:
    assert len(REFLECTED) == len(OPERATORS) + len(BITS)
    assert all(hasattr(tg.Tensor, name) for name in REFLECTED.values())


def test_an_array_is_not_changed_into_a_tensor_in_place() -> None:
    array = ARRAY.copy()
    with pytest.raises(DTypeError, match=r"np.add: NumPy arrays expected, got a tensor\n.*tg.add"):
        array += T
    assert np.array_equal(array, ARRAY)


REFUSED: dict[str, tuple[Any, type[Exception], str]] = {
    "ufunc": (lambda: np.tanh(T), DTypeError, r"np.tanh: .*got a tensor\nhint: tg.tanh$"),
    "of a parameter": (lambda: np.exp(W), DTypeError, r"np.exp: .*\nhint: tg.exp$"),
    "of a number": (lambda: np.add(1, W), DTypeError, "np.add: "),
    "other name": (lambda: np.multiply(T, 2), DTypeError, r"np.multiply: .*\nhint: tg.mul$"),
    "none of ours": (lambda: np.cbrt(T), DTypeError, r"np.cbrt: .*\nhint: t.detach\(\)"),
    "reduction": (lambda: np.add.reduce(T), DTypeError, "np.add.reduce: .*got a tensor"),
    "out": (lambda: np.add(ARRAY, T, out=ARRAY.copy()), DTypeError, "np.add: "),
    "sum": (lambda: np.sum(T), DTypeError, r"np.sum: .*\nhint: tg.sum$"),
    "joined": (
        lambda: np.concatenate([W, W]), AutodiffError,
        r"np.concatenate: NumPy arrays expected, got a tensor that requires.*\nhint: tg.cat$",
    ),
    "product": (lambda: np.dot(W, T), AutodiffError, r"np.dot: .*\nhint: tg.dot$"),
    "in a step": (
        lambda: tg.scan(lambda h, x: (np.tanh(h + x),) * 2, T[0], T), DTypeError, "hint: tg.tanh"
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_a_function_that_would_lose_the_graph_names_ours(case: str) -> None:
    call, error, words = REFUSED[case]
    with pytest.raises(error, match=words):
        call()


@pytest.mark.parametrize("tensor", [T, W])
def test_what_needs_no_graph_is_computed(tensor: tg.Tensor) -> None:
    assert np.shape(tensor) == (2, 2)
    assert np.ndim(tensor) == 2


def test_functions_of_constants_are_computed() -> None:
    assert np.array_equal(np.concatenate([T, ARRAY]), np.concatenate([ARRAY[::-1], ARRAY]))
    assert np.allclose(T, ARRAY[::-1]) and np.where(T > 2, 1, 0).tolist() == [[1, 1], [0, 0]]
    with pytest.raises(ValueError, match="cannot reshape array"):  # NumPy's own, as of an array
        np.reshape(T, (3,))


OF_ARRAYS: dict[str, Any] = {
    "operand": (np.array([1.0, 2.0]), lambda x, a: x * a, [1.0, 2.0]),
    "condition": (np.array([True, False]), lambda x, a: tg.where(a, x, 0.0), [1.0, 0.0]),
    "index": (np.array([1, 1]), lambda x, a: x[a], [0.0, 2.0]),
    "gather": (np.array([1, 1]), lambda x, a: x.gather(0, a), [0.0, 2.0]),
    "forward mode": (
        np.array([1.0, 2.0]),
        lambda x, a: tg.jvp(lambda v: v * a, (x,), (x,))[1],
        [1.0, 2.0],
    ),
}


@pytest.mark.parametrize("name", OF_ARRAYS)
def test_an_array_may_be_written_to_after_it_was_used(name: str) -> None:
    array, function, expected = OF_ARRAYS[name]
    array = array.copy()
    x = tg.tensor([3.0, 4.0], dtype=tg.float64, requires_grad=True)
    y = function(x, array)
    array[:] = 0
    y.sum().backward()
    assert x.grad is not None and x.grad.tolist() == expected


@pytest.mark.parametrize("engine", ["loop", "auto"])
def test_arrays_that_a_loop_was_given_may_be_written_to(engine: str) -> None:
    layer = tg.nn.GRU(2, 3, dtype=tg.float64)
    found = []
    for later in (False, True):
        xs, h, lengths = np.ones((5, 2, 2)), np.ones((1, 2, 3)), np.array([5, 3])
        layer.zero_grad()
        ys, _ = layer(xs, h, lengths=lengths, engine=engine)
        final, _ = tg.scan(lambda h, x: (h * x @ layer.weight_hh_l0.T[:, :3], h), h[0], np.ones(5))
        if later:
            for array in (xs, h, lengths):
                array[:] = 1 if array is lengths else 0
        (ys.sum() + final.sum()).backward()
        found.append([p.grad.numpy() for p in layer.parameters() if p.grad is not None])
    for a, b in zip(*found, strict=True):
        np.testing.assert_array_equal(a, b)


def test_an_array_that_a_transform_was_given_may_be_written_to() -> None:
    array, w = np.array([1.0, 2.0]), tg.tensor([3.0, 4.0], dtype=tg.float64, requires_grad=True)
    _, pullback = tg.vjp(lambda v: v * v, array)
    _, pushed = tg.jvp(lambda v: v * v * w, (array,), (array,))
    array[:] = 0
    assert pullback(tg.ones(2, dtype=tg.float64))[0].tolist() == [2.0, 4.0]
    assert tg.gradients(pushed.sum(), w).tolist() == [2.0, 8.0]


def test_a_condition_that_numpy_answered_has_a_gradient() -> None:
    x = tg.tensor([3.0, 4.0], requires_grad=True)
    for order in (1, 2):
        x.grad = None
        tg.where(ARRAY.any(), x * x, 0.0).sum().backward(create_graph=order == 2)
        assert x.grad is not None and x.grad.tolist() == [6.0, 8.0]
    x.grad = None


def test_every_name_of_ours_is_there() -> None:
    assert [name for name in OURS if hasattr(np, name) and not hasattr(tg, name)] == []
    assert [name for name in OUR_NAMES.values() if not hasattr(tg, name)] == []
    assert [name for name in OUR_NAMES.values() if name not in OURS] == []
    assert [name for name in OUR_NAMES if not hasattr(np, name)] == []


def test_another_kind_of_array_answers_for_itself() -> None:
    class Other:
        def __array_function__(self, function: Any, *_: Any) -> str:
            return function.__name__

    assert np.concatenate([T, Other()]) == "concatenate"  # type: ignore[list-item]


def test_the_instance_says_what_cupy_asks() -> None:
    assert T.__array_ufunc__ is None
