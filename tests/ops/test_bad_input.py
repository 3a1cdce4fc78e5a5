"""Bad input to creation and to operations: one clear error each, nothing changed.

The numbers are those of the project's list of bad inputs.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn.errors import (
    ArgumentError,
    AutodiffError,
    DTypeError,
    IndexRangeError,
    InPlaceError,
    ShapeError,
    TinygradRNNError,
)
from tinygrad_rnn.ops.linalg import linear

A = tg.tensor(np.arange(12.0).reshape(3, 4), requires_grad=True)
C = tg.tensor(np.arange(24.0).reshape(2, 3, 4), requires_grad=True)
V = tg.tensor(np.arange(4.0), requires_grad=True)
ZERO = tg.tensor(np.array(0.5), requires_grad=True)
NOTHING = tg.zeros(0, 3, dtype=tg.float64)
INTEGERS = tg.tensor([[1, 2], [3, 4]])
BITS = tg.tensor([True, False, True])
SMALL = tg.tensor([1, 2], dtype=tg.int8)
STRUCTURED = np.zeros(2, dtype=[("a", float)])

CREATION: dict[str, tuple[Any, type[Exception], str]] = {
    "1 ragged list": (lambda: tg.tensor([[1, 2], [3]]), ShapeError, "ragged"),
    "2 objects": (lambda: tg.tensor([object()]), DTypeError, "object"),
    "2 text": (lambda: tg.tensor("one"), DTypeError, "'one'"),
    "2 list of text": (lambda: tg.tensor(["a", "b"]), DTypeError, "<U1"),
    "2 integers beyond": (lambda: tg.tensor([1, 300], dtype="i1"), DTypeError, r"int8.*\[1, 300\]"),
    "2 negative": (lambda: tg.tensor(-1, dtype=tg.uint8), DTypeError, "uint8.*-1"),
    "2 dict": (lambda: tg.tensor({"a": 1}), DTypeError, "{'a': 1}"),
    "2 object array": (lambda: tg.tensor(np.array([1, None])), DTypeError, "object"),
    "2 dates": (lambda: tg.tensor(np.array(["2020"], "M8[Y]")), DTypeError, "datetime64"),
    "2 dtype": (lambda: tg.tensor([1.0], dtype="floaty"), DTypeError, "'floaty'"),
    "2 dtype object": (lambda: tg.zeros(2, dtype=object), DTypeError, "object"),
    "3 integer": (lambda: tg.tensor([1, 2], requires_grad=True), DTypeError, "int64"),
    "3 bool": (lambda: tg.tensor([True], requires_grad=True), DTypeError, "bool"),
    "3 zeros": (lambda: tg.zeros(2, dtype=tg.int32, requires_grad=True), DTypeError, "int32"),
    "4 none": (lambda: tg.tensor(None), DTypeError, "None"),
    "4 nones": (lambda: tg.tensor([1.0, None]), DTypeError, "object"),
    "5 masked": (lambda: tg.tensor(np.ma.masked_array([1.0], [True])), DTypeError, "MaskedArray"),
    "5 structured": (lambda: tg.tensor(STRUCTURED), DTypeError, "'a'"),
    "5 from_numpy": (lambda: tg.from_numpy([1.0]), DTypeError, "list"),
    "9 complex": (lambda: tg.tensor([1j]), DTypeError, "complex128"),
    "9 complex array": (lambda: tg.tensor(np.ones(2, "c8")), DTypeError, r"complex64.*\n.*imag"),
    "9 complex dtype": (lambda: tg.ones(2, dtype=np.complex128), DTypeError, "complex128"),
    "10 negative": (lambda: tg.zeros(2, -1), ShapeError, r"\(2, -1\)"),
    "10 negative identity": (lambda: tg.eye(-1), ShapeError, r"\(-1, -1\)"),
    "10 negative list": (lambda: tg.rand([-3]), ShapeError, r"\(-3,\)"),
    "10 float": (lambda: tg.ones(2.5), DTypeError, "2.5"),
    "10 bool": (lambda: tg.ones(True), DTypeError, "True"),
    "10 text": (lambda: tg.zeros("2"), DTypeError, "'2'"),
    "11 huge": (lambda: tg.zeros(2**40, 2**40), ShapeError, "1099511627776"),
    "12 len": (lambda: len(ZERO), TypeError, "0-d"),
    "12 iter": (lambda: iter(ZERO), TypeError, "0-d"),
    "13 bool": (lambda: bool(V), ValueError, r"\(4,\).*\n.*any"),
    "13 bool empty": (lambda: bool(NOTHING), ValueError, r"\(0, 3\)"),
    "14 float": (lambda: float(V), ValueError, r"\(4,\)"),
    "14 item": (lambda: V.item(), ValueError, r"\(4,\)"),
    "14 index": (lambda: [1, 2][ZERO], TypeError, "float64"),
    "15 device": (lambda: tg.ones(2, device="tpu"), ArgumentError, "'tpu'"),
    "16 numpy": (lambda: np.asarray(A), AutodiffError, "detach"),
    "16 numpy()": (lambda: A.numpy(), AutodiffError, "detach"),
    "list of leaves": (lambda: tg.tensor([V, V]), DTypeError, "stack"),
    "too big": (lambda: tg.tensor([2**70]), DTypeError, "object"),
    "seed": (lambda: tg.manual_seed(-1), ArgumentError, "-1"),
    "seed float": (lambda: tg.manual_seed(1.5), ArgumentError, "1.5"),
    "state": (lambda: tg.set_rng_state({"a": 1}), ArgumentError, "get_rng_state"),
    "arange step": (lambda: tg.arange(0, 5, 0), ArgumentError, "0"),
    "linspace": (lambda: tg.linspace(0, 1, -1), ArgumentError, "-1"),
    "randint": (lambda: tg.randint(3, 3, (2,)), ArgumentError, "3 and 3"),
    "randperm": (lambda: tg.randperm(-1), ShapeError, "-1"),
    "default dtype": (lambda: tg.set_default_dtype(tg.int64), DTypeError, "int64"),
    "dlpack": (lambda: tg.from_dlpack([1.0]), DTypeError, "list"),
}

OPERATIONS: dict[str, tuple[Any, type[Exception], str]] = {
    "17 add": (lambda: A + tg.ones(3, dtype=tg.float64), ShapeError, r"\(3, 4\).*\(3,\)"),
    "17 where": (lambda: tg.where(BITS, A, 0.0), ShapeError, r"\(3,\).*\(3, 4\)"),
    "17 array": (lambda: A * np.ones(3), ShapeError, r"\(3,\)"),
    "17 mul text": (lambda: A * "two", DTypeError, "str"),
    "17 none": (lambda: tg.add(A, None), DTypeError, "NoneType"),
    "17 list": (lambda: tg.mul(A, [1.0]), DTypeError, "list"),
    "18 inner": (lambda: A @ A, ShapeError, r"\(3, 4\).*\(3, 4\)"),
    "18 vector": (lambda: A @ tg.ones(3, dtype=tg.float64), ShapeError, r"\(3,\)"),
    "18 0-d": (lambda: A @ ZERO, ShapeError, r"\(\)"),
    "18 number": (lambda: A @ 2.0, ShapeError, "number"),
    "18 batches": (lambda: C @ tg.ones(3, 4, 2, dtype=tg.float64), ShapeError, r"\(3, 4, 2\)"),
    "18 dtypes": (lambda: A @ tg.ones(4, 2), DTypeError, "float64 and float32"),
    "18 linear": (lambda: linear(A, tg.ones(2, 3, dtype=tg.float64)), ShapeError, r"\(2, 3\)"),
    "18 bias": (
        lambda: linear(A, tg.ones(2, 4, dtype=tg.float64), V), ShapeError, r"\(2,\).*\(4,\)"
    ),
    "18 outer": (lambda: tg.outer(A, V), ShapeError, r"\(3, 4\)"),
    "18 dot": (lambda: tg.dot(V, tg.ones(3, dtype=tg.float64)), ShapeError, r"\(3,\)"),
    "19 sum": (lambda: A.sum(2), ShapeError, "dim=2"),
    "19 max": (lambda: A.max(-3), ShapeError, "dim=-3"),
    "19 cumsum": (lambda: A.cumsum(5), ShapeError, "dim=5"),
    "19 cat": (lambda: tg.cat([A, A], 2), ShapeError, "dim=2"),
    "19 0-d": (lambda: ZERO.sum(1), ShapeError, "dim=1"),
    "19 0-d negative": (lambda: ZERO.sum(-2), ShapeError, "dim=-2"),
    "19 vector": (lambda: V.sum(-2), ShapeError, "dim=-2"),
    "20 twice": (lambda: A.sum((0, -2)), ShapeError, r"\(0, -2\)"),
    "20 flip twice": (lambda: A.flip(1, 1), ShapeError, "different axes"),
    "21 float": (lambda: A.sum(1.0), DTypeError, "1.0"),
    "21 bool": (lambda: A.mean(True), DTypeError, "True"),
    "21 text": (lambda: A.amax("rows"), DTypeError, "'rows'"),
    "22 two -1": (lambda: A.reshape(-1, -1), ShapeError, r"\(-1, -1\)"),
    "22 indivisible": (lambda: A.reshape(5, -1), ShapeError, r"\(3, 4\)"),
    "22 other": (lambda: A.reshape(3, 5), ShapeError, "15|5"),
    "22 -1 and 0": (lambda: NOTHING.reshape(0, -1), ShapeError, r"\(0, -1\)"),
    "22 -2": (lambda: A.reshape(-2, 6), ShapeError, "-2"),
    "22 float": (lambda: A.reshape(2.0, 6), DTypeError, "float"),
    "22 half": (lambda: A.reshape(1.5), DTypeError, "reshape: .*'float'"),
    "22 none": (lambda: A.reshape(None), DTypeError, "reshape: .*None"),
    "22 expand half": (lambda: V.expand(1.5), DTypeError, r"expand: .*1\.5"),
    "22 permute half": (lambda: A.permute(0.5), DTypeError, r"permute: .*0\.5"),
    "22 flip half": (lambda: A.flip(0.5), DTypeError, r"flip: .*0\.5"),
    "22 flatten": (lambda: C.flatten(2, 1), ShapeError, "2 and 1"),
    "23 permute": (lambda: A.permute(0, 0), ShapeError, r"\(0, 0\)"),
    "23 too few": (lambda: C.permute(0, 1), ShapeError, r"\(0, 1\)"),
    "23 transpose": (lambda: A.transpose(0, 2), ShapeError, "dim=2"),
    "23 mT": (lambda: V.mT, ShapeError, r"\(4,\)"),
    "24 cat nothing": (lambda: tg.cat([]), ShapeError, "empty"),
    "24 cat ranks": (lambda: tg.cat([A, V]), ShapeError, r"\(3, 4\), \(4,\)"),
    "24 cat sizes": (lambda: tg.cat([A, A.T]), ShapeError, r"\(4, 3\)"),
    "24 cat 0-d": (lambda: tg.cat([ZERO, ZERO]), ShapeError, r"\(\)"),
    "24 cat tensor": (lambda: tg.cat(A), DTypeError, "Tensor"),
    "24 cat text": (lambda: tg.cat([A, "b"]), DTypeError, "'b'"),
    "25 stack": (lambda: tg.stack([A, V]), ShapeError, r"\(3, 4\), \(4,\)"),
    "25 stack dim": (lambda: tg.stack([A, A], 3), ShapeError, "dim=3"),
    "26 split": (lambda: A.split([1, 1]), ShapeError, r"3.*\[1, 1\]"),
    "26 negative": (lambda: A.split([4, -1]), ArgumentError, "-1"),
    "26 zero": (lambda: A.split(0), ArgumentError, "0"),
    "26 float": (lambda: A.split(1.5), DTypeError, "1.5"),
    "26 0-d": (lambda: ZERO.split(1), ShapeError, "0-d"),
    "26 chunk 0-d": (lambda: ZERO.chunk(1), ShapeError, "0-d"),
    "26 unbind 0-d": (lambda: ZERO.unbind(), ShapeError, "0-d"),
    "26 chunk": (lambda: A.chunk(0), ArgumentError, "0"),
    "26 chunk float": (lambda: A.chunk(1.5), DTypeError, "1.5"),
    "27 negative": (lambda: tg.pad(A, (1, -1)), ArgumentError, r"\(1, -1\)"),
    "27 odd": (lambda: tg.pad(A, (1, 1, 1)), ShapeError, r"\(1, 1, 1\)"),
    "27 too many": (lambda: tg.pad(V, (1, 1, 1, 1)), ShapeError, "at most 2"),
    "27 float": (lambda: tg.pad(A, (1.5, 1)), DTypeError, "1.5"),
    "27 number": (lambda: tg.pad(A, 1), DTypeError, "1"),
    "28 beyond": (lambda: A[3], IndexRangeError, r"3.*axis 0|\(3, 4\).*3"),
    "28 axis": (lambda: A[:, -5], IndexRangeError, "axis 1"),
    "28 array": (lambda: A[tg.tensor([0, 7])], IndexRangeError, "7.*axis 0"),
    "28 many": (lambda: A[0, 0, 0], IndexRangeError, "too many"),
    "28 two ellipses": (lambda: A[..., ...], IndexRangeError, "ellips"),
    "29 float": (lambda: A[1.0], DTypeError, "float"),
    "29 float tensor": (lambda: A[tg.tensor([1.0])], DTypeError, "float32"),
    "29 text": (lambda: A["a"], DTypeError, "str"),
    "29 bool": (lambda: A[True], DTypeError, "True"),
    "29 none list": (lambda: A[[None]], DTypeError, "object"),
    "30 mask": (lambda: A[tg.tensor([True, False])], IndexRangeError, r"mask.*\(3,\).*\(2,\)"),
    "30 mask after": (lambda: C[..., BITS], IndexRangeError, r"\(4,\).*\(3,\)"),
    "30 mask list": (lambda: A[[True, False]], IndexRangeError, r"\(3,\).*\(2,\)"),
    "30 mask rank": (lambda: V[A > 3], IndexRangeError, r"\(4,\).*\(3, 4\)"),
    "31 gather rank": (lambda: A.gather(1, tg.tensor([0])), ShapeError, r"2 axes.*\(1,\)"),
    "31 gather size": (lambda: A.gather(0, tg.tensor([[0] * 5])), ShapeError, r"\(1, 5\)"),
    "31 gather range": (lambda: A.gather(1, tg.tensor([[4]])), IndexRangeError, "0 … 3.*4"),
    "31 gather negative": (lambda: A.gather(1, tg.tensor([[-1]])), IndexRangeError, "-1"),
    "31 gather float": (lambda: A.gather(1, tg.tensor([[1.0]])), DTypeError, "float32"),
    "31 select": (lambda: A.index_select(0, tg.tensor([3])), IndexRangeError, "3"),
    "31 select matrix": (lambda: A.index_select(0, INTEGERS), ShapeError, r"\(2, 2\)"),
    "32 scatter src": (
        lambda: A.scatter_add(0, tg.tensor([[0, 1]]), tg.ones(1, 1, dtype=tg.float64)),
        ShapeError, r"\(1, 2\).*\(1, 1\)",
    ),
    "32 scatter range": (
        lambda: A.scatter_add(0, tg.tensor([[3]]), tg.ones(1, 1, dtype=tg.float64)),
        IndexRangeError, "3",
    ),
    "32 scatter size": (
        lambda: A.scatter_add(0, tg.tensor([[0] * 5]), tg.ones(1, 5, dtype=tg.float64)),
        ShapeError, r"\(1, 5\)",
    ),
    "34 one_hot floats": (lambda: tg.one_hot(V, 4), DTypeError, "float64"),
    "34 one_hot range": (lambda: tg.one_hot(INTEGERS, 4), IndexRangeError, "4"),
    "34 one_hot negative": (lambda: tg.one_hot(tg.tensor([-1]), 4), IndexRangeError, "-1"),
    "34 one_hot dtype": (lambda: tg.one_hot(INTEGERS, 5, "x"), DTypeError, "one_hot: .*'x'"),
    "34 one_hot classes": (lambda: tg.one_hot(tg.tensor([], dtype=int), -1), ArgumentError, "-1"),
    "35 max": (lambda: NOTHING.max(0), ShapeError, r"\(0, 3\)"),
    "35 amin": (lambda: NOTHING.amin(), ShapeError, r"\(0, 3\)"),
    "35 argmax": (lambda: NOTHING.argmax(), ShapeError, r"\(0, 3\)"),
    "36 mean": (lambda: NOTHING.mean(), ShapeError, r"\(0, 3\)"),
    "37 var": (lambda: tg.ones(1).var(), ArgumentError, "1.*\n.*correction"),
    "37 var correction": (lambda: V.var(correction=4), ArgumentError, "4"),
    "38 clip": (lambda: V.clip(1, 0), ArgumentError, "min=1, max=0"),
    "38 clip list": (lambda: V.clip([0.0], 1.0), DTypeError, r"clip: .*\[0\.0\]"),
    "38 clip nothing": (lambda: V.clip(), ArgumentError, "neither"),
    "39 where": (lambda: tg.where(INTEGERS, 1.0, 0.0), DTypeError, "int64"),
    "39 where Python bool": (lambda: tg.where(True, 1.0, 2.0), DTypeError, "array .*'bool'"),
    "39 where list": (lambda: tg.where([True], V, V), DTypeError, "list"),
    "44 einsum arrow": (lambda: tg.einsum("ij->ik", A), ArgumentError, "ij->ik"),
    "44 einsum twice": (lambda: tg.einsum("ij->ii", A), ArgumentError, "ij->ii"),
    "44 einsum count": (lambda: tg.einsum("ij,jk", A), ArgumentError, "ij,jk"),
    "44 einsum rank": (lambda: tg.einsum("ijk->i", A), ArgumentError, r"'ijk'"),
    "44 einsum size": (lambda: tg.einsum("ij,jk->ik", A, A), ShapeError, "axis j.*4 and 3"),
    "44 einsum diagonal": (lambda: tg.einsum("ii", A), ShapeError, "axis i"),
    "44 einsum signs": (lambda: tg.einsum("i1->i", A), ArgumentError, "i1"),
    "44 einsum nothing": (lambda: tg.einsum("->"), ArgumentError, "operands|->"),
    "44 einsum text": (lambda: tg.einsum(A, "ij"), DTypeError, "Tensor"),
    "45 kernel": (lambda: tg.conv1d(C, tg.ones(2, 3, 5, dtype=tg.float64)), ShapeError, "5"),
    "45 stride": (
        lambda: tg.conv1d(C, tg.ones(2, 3, 2, dtype=tg.float64), stride=0), ArgumentError, "stride"
    ),
    "45 groups": (
        lambda: tg.conv1d(C, tg.ones(2, 3, 2, dtype=tg.float64), groups=2), ShapeError, "groups=2"
    ),
    "45 channels": (
        lambda: tg.conv1d(C, tg.ones(2, 4, 2, dtype=tg.float64)), ShapeError, r"\(2, 4, 2\)"
    ),
    "45 rank": (lambda: tg.conv1d(A, A), ShapeError, r"\(3, 4\)"),
    "45 bias": (
        lambda: tg.conv1d(C, tg.ones(2, 3, 2, dtype=tg.float64), V), ShapeError, r"\(4,\)"
    ),
    "45 padding": (
        lambda: tg.conv1d(C, tg.ones(2, 3, 2, dtype=tg.float64), padding="wide"), ArgumentError,
        "'wide'",
    ),
    "47 empty axis": (lambda: NOTHING.logsumexp(0), ShapeError, r"\(0, 3\)"),
    "48 nan": (lambda: V.norm(float("nan")), ArgumentError, "nan"),
    "48 negative": (lambda: V.norm(-1), ArgumentError, "-1"),
    "48 text": (lambda: V.norm("fro"), ArgumentError, "fro"),
    "squeeze": (lambda: A.squeeze(2), ShapeError, "dim=2"),
    "unsqueeze": (lambda: A.unsqueeze(3), ShapeError, "dim=3"),
    "expand": (lambda: A.expand(3, 5), ShapeError, r"\(3, 4\)"),
    "expand fewer": (lambda: A.expand(4), ShapeError, r"\(3, 4\)"),
    "expand -1": (lambda: V.expand(-1, 4), ShapeError, "-1"),
    "topk": (lambda: A.topk(5), ArgumentError, "k=5"),
    "topk float": (lambda: A.topk(1.5), DTypeError, "1.5"),
    "topk 0-d": (lambda: ZERO.topk(1), ShapeError, "0-d"),
    "topk negative": (lambda: A.topk(-1), ArgumentError, "-1"),
    "movedim": (lambda: A.movedim(0, 2), ShapeError, "dim=2"),
    "to device": (lambda: A.to("gpu"), TinygradRNNError, "'gpu'"),
    "to dtype": (lambda: A.to(dtype=np.complex64), DTypeError, "complex64"),
    "sigmoid text": (lambda: tg.sigmoid("x"), DTypeError, "str|'x'"),
    "sub bool": (lambda: -BITS, DTypeError, "bool"),
    "in place": (lambda: A.add_(1.0), InPlaceError, "no_grad"),
    "in place range": (lambda: SMALL.add_(300), DTypeError, "add_: .*int8.*300"),
    "in place range of one": (lambda: SMALL.__setitem__(0, -129), DTypeError, "int8.*-129"),
    "in place NaN": (lambda: SMALL.fill_(float("nan")), DTypeError, "fill_: .*int8.*nan"),
    "in place huge": (lambda: INTEGERS.float().mul_(10**400), DTypeError, "mul_: .*float32"),
    "repeats": (lambda: tg.repeat_interleave(V, INTEGERS[0]), DTypeError, r"one integer.*\[1, 2\]"),
    "linear vector": (lambda: tg.linear(A, V, ZERO), ShapeError, r"linear: .*\(4,\)"),
}  # fmt: skip
CASES = {**CREATION, **OPERATIONS}


@pytest.mark.parametrize("name", CASES)
def test_bad_input(name: str) -> None:
    call, error, words = CASES[name]
    operands = (A, C, V, ZERO, NOTHING, INTEGERS, BITS, SMALL)
    before = [copy.copy(t.detach().tolist()) for t in operands]
    state = tg.get_rng_state()
    with pytest.raises(error, match=words) as caught:
        call()
    assert isinstance(caught.value, TinygradRNNError)
    assert ": " in str(caught.value) and " expected, got " in str(caught.value)
    assert [t.detach().tolist() for t in operands] == before
    assert all(t.grad is None for t in operands)
    assert tg.get_rng_state() == state and tg.get_default_dtype() == tg.float32


# ---------------------------------------------------------------- what is accepted, and how
def test_6_foreign_byte_order_is_converted() -> None:
    foreign = np.array([1.0, 2.5]).astype(">f8")
    for made in (tg.tensor(foreign), tg.as_tensor(foreign), tg.from_numpy(foreign)):
        assert made.tolist() == [1.0, 2.5] and made.dtype.isnative
    assert (tg.ones(2) * foreign).tolist() == [1.0, 2.5]


def test_7_read_only_memory_can_be_read() -> None:
    array = np.arange(3.0)
    array.flags.writeable = False
    shared = tg.from_numpy(array)
    assert (shared * 2).tolist() == [0.0, 2.0, 4.0]
    with pytest.raises(InPlaceError, match="read-only"):
        shared.zero_()
    tg.tensor(array).zero_()  # a copy


def test_8_stride_0_is_not_written() -> None:
    shared = tg.from_numpy(np.lib.stride_tricks.as_strided(np.zeros(1), (3,), (0,)))
    with pytest.raises(InPlaceError, match="expanded"):
        shared.add_(1)


def test_41_integer_division_gives_floats() -> None:
    with np.errstate(divide="ignore"):
        made = tg.tensor([1, -1]) / 0
    assert made.tolist() == [float("inf"), float("-inf")] and made.dtype == tg.float32


def test_42_functions_of_integers_are_floats() -> None:
    for function in (tg.log, tg.exp, tg.sqrt, tg.sigmoid, tg.tanh, tg.softplus, tg.erf):
        made = function(tg.tensor([1, 2]))
        assert made.dtype == tg.float32
        np.testing.assert_allclose(
            made.numpy(), function(tg.tensor([1.0, 2.0])).numpy(), rtol=1e-6
        )


def test_47_row_of_minus_infinity() -> None:
    x = tg.tensor([[-np.inf, -np.inf], [0.0, -np.inf]], dtype=tg.float64, requires_grad=True)
    y = x.logsumexp(1)
    assert y.tolist() == [-np.inf, 0.0]
    y.sum().backward()
    assert x.grad.tolist() == [[0.0, 0.0], [1.0, 0.0]]


def test_errors_are_also_those_that_python_programmers_catch() -> None:
    with pytest.raises(ValueError, match="broadcast"):
        A + tg.ones(5)
    with pytest.raises(IndexError, match="9"):
        A[9]
    with pytest.raises(TypeError, match="'a'"):
        tg.tensor("a")
