"""Tensors: made, shown, converted, shared and read."""

from __future__ import annotations

import enum
import math
import os
import warnings
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn.errors import AutodiffError
from tinygrad_rnn.tensor import Tensor

DTYPES = "float16 float32 float64 int8 int16 int32 int64 uint8 bool".split()


# ----------------------------------------------------------------------------------- construction
class Number(enum.IntEnum):
    FIVE = 5


@pytest.mark.parametrize(
    ("value", "dtype", "expected", "kind"),
    [
        (Number.FIVE, None, 5, "int64"), (True, None, True, "bool"),
        (np.float64(2), None, 2.0, "float32"), (np.float32(2), None, 2.0, "float32"),
        (np.int8(3), None, 3, "int8"), (2**70, "?", True, "bool"),
        (2**70, "f4", 2.0**70, "float32"), (np.float16(100), "i4", 100, "int32"),
        (-(2**63), "i8", -(2**63), "int64"),
        (2**64 - 1, "u8", 2**64 - 1, "uint64"), (65519.0, "f2", 65504.0, "float16"),
        (3.4028235e38, None, float(np.finfo("f4").max), "float32"),
        (2**128 - 2**104, "f4", float(np.finfo("f4").max), "float32"),
        (-math.inf, "f2", -math.inf, "float16"),
    ],
)  # fmt: skip
def test_full_holds_what_its_dtype_can(value: Any, dtype: Any, expected: Any, kind: str) -> None:
    made = tg.full((2,), value, dtype)
    assert made.dtype == kind and made.tolist() == [expected] * 2


def test_python_numbers_and_lists() -> None:
    assert tg.tensor(1.5).dtype == tg.float32 and tg.tensor(1.5).shape == ()
    assert tg.tensor([1, 2]).dtype == tg.int64 and tg.tensor([True]).dtype == tg.bool_
    assert tg.tensor([[1, 2.5], [3, 4]]).tolist() == [[1.0, 2.5], [3.0, 4.0]]
    assert tg.tensor([]).shape == (0,) and tg.tensor([]).dtype == tg.float32
    assert tg.tensor([np.float32(1), 2]).shape == (2,)
    assert tg.tensor(((1, 2), (3, 4))).shape == (2, 2)
    assert tg.tensor(range(3)).tolist() == [0, 1, 2]


@pytest.mark.parametrize("dtype", DTYPES)
def test_arrays_keep_their_dtype_and_are_copied(dtype: str) -> None:
    array = np.array([[1, 0], [1, 1]]).astype(dtype)
    made = tg.tensor(array)
    assert made.dtype == dtype and not np.shares_memory(made.numpy(), array)
    assert tg.tensor(made).dtype == dtype and tg.tensor(array, dtype=tg.float64).dtype == tg.float64
    assert np.shares_memory(tg.from_numpy(array).numpy(), array)
    assert np.shares_memory(tg.as_tensor(array).numpy(), array)


def test_default_dtype() -> None:
    tg.set_default_dtype(tg.float64)
    try:
        made = [tg.tensor(1.5), tg.zeros(2), tg.ones(2), tg.rand(2), tg.randn(2), tg.eye(2),
                tg.linspace(0, 1, 3), tg.full((2,), 0.5), tg.tensor([1, 2]) / 2]  # fmt: skip
        assert [t.dtype for t in made] == [tg.float64] * len(made)
    finally:
        tg.set_default_dtype(tg.float32)
    assert tg.zeros(2).dtype == tg.float32


def test_makers() -> None:
    assert tg.zeros(2, 3).tolist() == tg.zeros((2, 3)).tolist() == [[0.0] * 3] * 2
    assert tg.ones([2]).tolist() == [1.0, 1.0] and tg.zeros().shape == ()
    assert tg.full((2,), 7).dtype == tg.int64 and tg.full((), 2.5).item() == 2.5
    assert tg.full(2, True).tolist() == [True, True]
    assert tg.arange(3).tolist() == [0, 1, 2] and tg.arange(3).dtype == tg.int64
    assert tg.arange(1, 2, 0.25).tolist() == [1.0, 1.25, 1.5, 1.75]
    assert tg.arange(3.0).dtype == tg.float32 and tg.arange(5, 0, -2).tolist() == [5, 3, 1]
    assert tg.linspace(0, 1, 3).tolist() == [0.0, 0.5, 1.0] and tg.linspace(0, 1, 0).shape == (0,)
    assert tg.eye(2, 3).tolist() == [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]
    like = tg.ones(2, 2, dtype=tg.float64)
    made_alike = tg.zeros_like(like), tg.ones_like(like), tg.full_like(like, 3), tg.rand_like(like)
    for made in made_alike:
        assert made.shape == (2, 2) and made.dtype == tg.float64
    assert tg.zeros_like(like, tg.int32).dtype == tg.int32
    assert tg.one_hot(tg.tensor([[0, 2]]), 3).tolist() == [[[1, 0, 0], [0, 0, 1]]]


def test_random_numbers_follow_the_seed_and_the_state() -> None:
    def draw() -> list[Any]:
        return [t.tolist() for t in (tg.rand(3), tg.randn(2, 2), tg.randint(0, 9, (4,)),
                                     tg.randperm(5), tg.rand(2, dtype=tg.float16))]  # fmt: skip

    tg.manual_seed(7)
    state, first = tg.get_rng_state(), draw()
    second = draw()
    tg.manual_seed(7)
    assert draw() == first
    assert draw() == second != first
    tg.set_rng_state(state)
    assert draw() == first
    uniform, normal = tg.rand(10000), tg.randn(10000)
    assert uniform.min().item() >= 0 and uniform.max().item() < 1
    assert abs(uniform.mean().item() - 0.5) < 0.02
    assert abs(normal.mean().item()) < 0.05 and abs(normal.std().item() - 1) < 0.05
    assert tg.randperm(0).shape == (0,) and tg.randint(4, 5, (2,)).tolist() == [4, 4]
    tg.manual_seed(0)
    assert sorted(tg.randperm(20).tolist()) == list(range(20))
    assert set(tg.randint(-1, 2, (200,)).tolist()) == {-1, 0, 1}


# ------------------------------------------------------------------------------------ what it shows
def test_repr_shows_data_dtype_device_and_gradient_state() -> None:
    x = tg.tensor([1.0, 2.5], requires_grad=True)
    assert repr(x.detach()) == "tensor([1. , 2.5], dtype=float32, device='cpu')"
    assert "requires_grad=True" in repr(x)
    assert "grad_fn=<mul>" in repr(x * 2) and "int64" in repr(tg.tensor([1]))
    assert repr(tg.zeros(())).startswith("tensor(0.,") and "[]" in repr(tg.zeros(0))
    assert len(repr(tg.zeros(100_000))) < 500
    assert "primitive tanh" in repr(tg.tanh.primitive) and "mul" in repr((x * 2).node)


def test_properties_of_shape() -> None:
    x = tg.zeros(2, 3, 4)
    assert x.shape == x.size() == (2, 3, 4) and x.size(-1) == 4 and x.ndim == x.dim() == 3
    assert x.numel() == 24 and len(x) == 2 and x.is_floating_point() and x.device == "cpu"
    assert not tg.arange(2).is_floating_point() and x.T.shape == (4, 3, 2)
    assert x.mT.shape == (2, 4, 3) and [row.shape for row in x] == [(3, 4)] * 2


def test_python_numbers_out() -> None:
    assert float(tg.tensor([2.5])) == 2.5 and int(tg.tensor(3.9)) == 3
    assert bool(tg.tensor([0.0])) is False and bool(tg.tensor(True)) is True
    assert [10, 20, 30][tg.tensor(1)] == 20 and list(range(5))[tg.tensor(3) :] == [3, 4]
    assert type(tg.tensor(2).item()) is int and type(tg.tensor(2.0).item()) is float
    x = tg.tensor(2.0, requires_grad=True)
    assert (x * 2).item() == 4.0 and (x * 2).tolist() == 4.0
    assert f"{float(x):.1f}" == "2.0"


def test_tensors_are_hashed_by_identity_and_compared_by_element() -> None:
    x, y = tg.ones(2), tg.ones(2)
    assert (x == y).tolist() == [True, True] and (x != y).tolist() == [False, False]
    assert len({x, y}) == 2 and {x: 1}[x] == 1


# ----------------------------------------------------------------------------------- conversions
def test_dtypes_are_converted_and_gradients_come_back() -> None:
    x = tg.tensor([1.5, -2.5], requires_grad=True)
    for name, dtype in (("double", tg.float64), ("half", tg.float16), ("float", tg.float32)):
        y = getattr(x, name)()
        assert y.dtype == dtype
        x.grad = None
        (y * 2).sum().backward()
        assert x.grad.dtype == tg.float32 and x.grad.tolist() == [2.0, 2.0]
    assert x.long().tolist() == [1, -2] and not x.int().requires_grad
    assert x.bool().tolist() == [True, True] and x.to(tg.float32) is x
    assert x.to(tg.zeros(1, dtype=tg.float64)).dtype == x.type_as(y.double()).dtype == tg.float64
    assert x.to("cpu") is x and x.cpu() is x and x.to("cpu", dtype=tg.float64).dtype == tg.float64


def test_numpy_shares_memory_both_ways() -> None:
    x = tg.zeros(3)
    x.numpy()[1] = 5
    assert x.tolist() == [0.0, 5.0, 0.0]
    assert np.asarray(x).sum() == 5 and np.array(x, dtype=np.float64).dtype == np.float64
    assert not np.shares_memory(np.array(x), x.numpy())
    np.testing.assert_array_equal(np.stack([x, x]), [[0, 5, 0]] * 2)


def test_arrays_on_the_left_reach_the_tensor() -> None:
    x = tg.tensor([1.0, 2.0], dtype=tg.float64, requires_grad=True)
    a = np.array([3.0, 5.0])
    for out in (a + x, a - x, a * x, a / x, a**x, np.float64(2) * x, np.float32(2) - x):
        assert type(out) is Tensor and out.requires_grad and out.dtype == tg.float64
    assert (a @ x).item() == 13.0 and (np.eye(2) @ x).tolist() == [1.0, 2.0]
    assert (a > x).tolist() == [True, True]
    with pytest.raises(TypeError):
        a += x


def test_dlpack_shares_memory() -> None:
    array = np.arange(3.0)
    shared = tg.from_dlpack(array)
    assert np.shares_memory(shared.numpy(), array)
    assert np.shares_memory(np.from_dlpack(tg.from_numpy(array)), array)
    with pytest.raises(AutodiffError, match="without gradient"):
        np.from_dlpack(tg.ones(2, requires_grad=True))


def test_dlpack_with_pytorch() -> None:
    torch = pytest.importorskip("torch")
    theirs = torch.arange(3.0)
    ours = tg.from_dlpack(theirs)
    ours.add_(1)
    assert theirs.tolist() == [1.0, 2.0, 3.0]
    assert torch.from_dlpack(ours).tolist() == [1.0, 2.0, 3.0]


def test_one_element_is_a_view_as_a_row_is(device: Any) -> None:
    x = tg.zeros(2, 3, device=device)
    x[1, 2].fill_(5.0)
    x[0].unbind()[1].add_(2.0)
    assert x.tolist() == [[0.0, 2.0, 0.0], [0.0, 0.0, 5.0]]
    element, weight = x[1][2], tg.tensor(3.0, device=device, requires_grad=True)
    product = element * weight
    x.zero_()
    with pytest.raises(tg.errors.InPlaceError, match="backward of mul"):
        product.backward()


def test_what_is_flipped_has_memory_of_its_own(device: Any) -> None:
    x = tg.arange(3.0, device=device)
    x.flip(0).add_(1.0)
    assert x.tolist() == [0.0, 1.0, 2.0]


def test_cuda_is_refused_with_advice_where_there_is_none() -> None:
    if tg.cuda_is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(tg.errors.TinygradRNNError, match=r'device "cuda".*\n.*"cpu"'):
        tg.zeros(2, device="cuda")
    assert not hasattr(tg.zeros(2), "__cuda_array_interface__")


# ---------------------------------------------------------------------------- functions = methods
def test_functions_are_methods_too() -> None:
    without = "where cat stack einsum one_hot safe_log safe_sqrt cast".split()
    modules = (tg.ops.elementwise, tg.ops.reduce, tg.ops.shape, tg.ops.indexing)
    names = {n for m in modules for n in m.__all__ if n[0].islower() and callable(getattr(m, n))}
    assert sorted(n for n in names.difference(without) if not hasattr(Tensor, n)) == []


def test_attribute_that_is_not_there() -> None:
    with pytest.raises(AttributeError, match="tanhh"):
        tg.ones(2).tanhh()


# ------------------------------------------------------------------------------------- 67: fork
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_67_a_graph_made_before_a_fork_works_in_both() -> None:
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    y = (x * x).sum()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # threads of the test runner
        child = os.fork()
    if child == 0:
        y.backward()
        os._exit(0 if x.grad.tolist() == [2.0, 4.0] else 1)
    _, status = os.waitpid(child, 0)
    assert status == 0 and x.grad is None
    y.backward()
    assert x.grad.tolist() == [2.0, 4.0]
