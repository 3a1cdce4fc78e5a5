"""backward: what it collects, keeps, frees and refuses."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn.errors import (
    ArgumentError,
    AutodiffError,
    DTypeError,
    GraphFreedError,
    InPlaceError,
    ShapeError,
)


def leaf(values: Any, dtype: Any = tg.float64) -> tg.Tensor:
    return tg.tensor(values, dtype=dtype, requires_grad=True)


# -------------------------------------------------------------------------------- accumulation
def test_gradients_accumulate_over_calls_and_uses() -> None:
    x = leaf([1.0, 2.0])
    (x * x + x).sum().backward()
    assert x.grad.tolist() == [3.0, 5.0]
    (x * 2).sum().backward()
    assert x.grad.tolist() == [5.0, 7.0]
    x.grad = None
    x.sum().backward()
    assert x.grad.tolist() == [1.0, 1.0]


def test_a_gradient_that_cannot_be_written_to_is_replaced() -> None:
    x, y = leaf([1.0, 2.0]), leaf([3.0, 4.0])
    given = tg.ones(1, dtype=tg.float64).expand(2)
    x.grad = given
    (x * y).sum().backward()
    assert x.grad.tolist() == [4.0, 5.0] and y.grad.tolist() == [1.0, 2.0]
    assert given.tolist() == [1.0, 1.0]


def test_backward_of_a_leaf_itself() -> None:
    x = leaf(3.0)
    x.backward()
    assert float(x.grad) == 1.0
    x.backward(tg.tensor(2.0, dtype=tg.float64))
    assert float(x.grad) == 3.0


def test_gradient_has_shape_dtype_and_memory_of_its_own() -> None:
    x, y = leaf(np.ones((2, 3)), tg.float32), leaf(np.ones((2, 3)), tg.float32)
    g = tg.ones(2, 3)
    (x + y).backward(g)
    for t in (x, y):
        assert t.grad.shape == (2, 3) and t.grad.dtype == np.float32 and not t.grad.requires_grad
    arrays = [x.grad.numpy(), y.grad.numpy(), g.numpy()]
    assert not any(
        np.shares_memory(a, b) for i, a in enumerate(arrays) for b in arrays[i + 1 :]
    )
    x.grad.zero_()
    assert y.grad.tolist() == g.tolist() == [[1.0] * 3] * 2


def test_gradient_of_an_expanded_leaf_can_be_written() -> None:
    x = leaf(np.ones((2, 3)))
    x.sum().backward()
    x.grad.mul_(2)
    assert x.grad.tolist() == [[2.0] * 3] * 2


def test_cotangent_is_not_written_to_by_accumulation() -> None:
    x = leaf([1.0, 2.0])
    g = tg.tensor([1.0, 1.0], dtype=tg.float64)
    y = x * 1
    (y + y + y).backward(g)
    assert g.tolist() == [1.0, 1.0] and x.grad.tolist() == [3.0, 3.0]


def test_retain_grad_and_its_memory() -> None:
    x = leaf([1.0, 2.0])
    y = x + 0
    y.retain_grad()
    z = y + 1
    z.retain_grad()
    z.sum().backward()
    assert y.grad.tolist() == z.grad.tolist() == x.grad.tolist() == [1.0, 1.0]
    y.grad.zero_()
    assert z.grad.tolist() == x.grad.tolist() == [1.0, 1.0]


def test_create_graph_makes_gradients_differentiable() -> None:
    x = leaf(2.0)
    (x**3).backward(create_graph=True)
    first = x.grad
    assert first.requires_grad
    x.grad = None
    first.backward()
    assert float(first) == 12.0 and float(x.grad) == 12.0


def test_constant_inputs_get_none() -> None:
    x, c = leaf(2.0), tg.tensor(3.0, dtype=tg.float64)
    (x * c).backward()
    assert c.grad is None and float(x.grad) == 3.0


def test_setting_grad_is_checked() -> None:
    x = leaf([1.0, 2.0])
    x.grad = tg.tensor([5.0, 6.0], dtype=tg.float64)
    x.sum().backward()
    assert x.grad.tolist() == [6.0, 7.0]
    with pytest.raises(ShapeError, match=r"\(2,\).*\(3,\)"):
        x.grad = tg.zeros(3, dtype=tg.float64)
    with pytest.raises(AutodiffError, match="requires_grad"):
        tg.ones(2).grad = tg.ones(2)
    with pytest.raises(DTypeError, match="a tensor or None expected, got ndarray"):
        x.grad = np.ones(2)
    assert x.grad.tolist() == [6.0, 7.0]


# ------------------------------------------------------------------------------ bad input 49–55
def test_49_backward_of_several_numbers_needs_a_gradient() -> None:
    x = leaf([1.0, 2.0])
    with pytest.raises(AutodiffError, match=r"single number.*\(2,\).*\n.*sum"):
        (x * 2).backward()
    assert x.grad is None


@pytest.mark.parametrize(
    ("gradient", "error", "words"),
    [
        (tg.ones(3, dtype=tg.float64), ShapeError, r"\(2,\).*\(3,\)"),
        (tg.ones(2, 1, dtype=tg.float64), ShapeError, r"\(2,\).*\(2, 1\)"),
        (tg.ones(2), DTypeError, "float64.*float32"),
        ("ones", DTypeError, "ones"),
    ],
)
def test_50_wrong_gradient(gradient: Any, error: type[Exception], words: str) -> None:
    x = leaf([1.0, 2.0])
    y = x * 2
    with pytest.raises(error, match=words):
        y.backward(gradient)
    assert x.grad is None
    y.sum().backward()  # nothing was freed
    assert x.grad.tolist() == [2.0, 2.0]


def test_51_backward_without_a_graph() -> None:
    with pytest.raises(AutodiffError, match=r"constant.*\n.*requires_grad=True"):
        tg.tensor(1.0).backward()
    x = leaf(1.0)
    with tg.no_grad():
        y = x * 2
    with pytest.raises(AutodiffError, match=r"no_grad\(\)"):
        y.backward()


def test_52_second_backward_names_retain_graph() -> None:
    x = leaf(2.0)
    y = x * x
    y.backward()
    with pytest.raises(GraphFreedError, match="retain_graph=True"):
        y.backward()
    assert float(x.grad) == 4.0
    y = x * x
    y.backward(retain_graph=True)
    y.backward()
    assert float(x.grad) == 12.0


def test_52_a_freed_part_below_a_live_one() -> None:
    x = leaf(2.0)
    shared = x * x
    (shared * 2).backward()
    with pytest.raises(GraphFreedError):
        (shared * 3).backward()
    assert float(x.grad) == 8.0


def test_52_a_gradient_that_would_pass_a_freed_part_is_no_part_of_one() -> None:
    x = leaf([1.0, 2.0])
    freed = x * x
    freed.sum().backward()
    for y in ((freed * 3 + x).sum(), (freed * 3).sum()):
        with pytest.raises(GraphFreedError, match="retain_graph=True"):
            tg.gradients(y, x, allow_unused=True)
    later = leaf([3.0, 4.0])
    assert tg.gradients((freed * later).sum(), later).tolist() == [1.0, 4.0]


def test_52_a_gradient_that_depends_on_a_freed_part_is_no_constant() -> None:
    x = leaf(2.0)
    freed = x * x
    freed.backward()
    slope = tg.grad(lambda v: v * freed)(tg.tensor(1.0, dtype=tg.float64))
    with pytest.raises(GraphFreedError):
        (slope + x).backward()


def test_52_a_checkpoint_that_reads_a_freed_part_is_left_there() -> None:
    x = leaf(2.0)
    freed = x * x
    freed.backward()
    later = leaf(3.0)
    y = tg.checkpoint(lambda v: v * freed * x, later)
    assert tg.gradients(y, later).item() == 8.0


@pytest.mark.parametrize("name", ["add_", "sub_", "mul_", "div_", "copy_", "fill_"])
def test_53_leaf_changed_in_place(name: str) -> None:
    x = leaf([1.0, 2.0])
    with pytest.raises(InPlaceError, match=rf"{name}: .*\n.*no_grad"):
        getattr(x, name)(2.0)
    assert x.tolist() == [1.0, 2.0]
    with tg.no_grad():
        getattr(x, name)(2.0)
    assert x.requires_grad and x.is_leaf


def test_53_assignment_into_a_leaf_or_a_result() -> None:
    x = leaf([1.0, 2.0])
    with pytest.raises(InPlaceError, match="where"):
        x[0] = 5.0
    y = x * 2
    with tg.no_grad(), pytest.raises(InPlaceError):
        y[0] = 5.0
    with pytest.raises(InPlaceError, match="value without gradient"):
        tg.zeros(2, dtype=tg.float64)[0] = x[0]
    assert x.tolist() == [1.0, 2.0] and y.tolist() == [2.0, 4.0]


@pytest.mark.parametrize(
    "change",
    [
        lambda x: x.add_(1), lambda x: x.__setitem__(0, 9.0), lambda x: x.detach().mul_(2),
        lambda x: x.detach()[:1].fill_(7), lambda x: x.detach().reshape(2, 1).zero_(),
        lambda x: tg.from_numpy(x.detach().numpy()).fill_(3),
    ],
)  # fmt: skip
def test_54_saved_value_changed(change: Any) -> None:
    x = leaf([1.0, 2.0])
    y = (x * x).sum()
    with tg.no_grad():
        change(x)
    with pytest.raises(InPlaceError, match=r"backward of mul: .*\(2,\)"):
        y.backward()
    assert x.grad is None


def test_54_changes_that_backward_does_not_need() -> None:
    x, w = leaf([1.0, 2.0]), leaf([3.0, 4.0])
    y = (x + w).sum() + tg.exp(x.detach() * 1).sum()
    with tg.no_grad():
        x.add_(1)
    y.backward()
    assert x.grad.tolist() == w.grad.tolist() == [1.0, 1.0]


def test_54_a_failed_change_is_none() -> None:
    x = leaf([1.0, 2.0])
    y = (x * x).sum()
    with tg.no_grad():
        for bad in (lambda: x.copy_(tg.ones(3)), lambda: x.add_(tg.ones(3, 1))):
            with pytest.raises(ShapeError):
                bad()
        with pytest.raises(IndexError, match="5"):
            x[5] = 1.0
    y.backward()
    assert x.grad.tolist() == [2.0, 4.0]


def test_55_the_array_a_tensor_was_made_of() -> None:
    """tensor() copies, so a later change of the array cannot give a wrong gradient."""
    array = np.array([1.0, 2.0])
    x = leaf(array)
    c = tg.tensor(array)
    y = (x * c).sum()
    array[...] = 100
    y.backward()
    assert x.grad.tolist() == [1.0, 2.0] and x.tolist() == [1.0, 2.0]


def test_in_place_changes_compute_what_they_say() -> None:
    x = tg.tensor([1.0, 2.0])
    memory = x.numpy()
    other = tg.tensor([10.0, 20.0])
    assert x.add_(other).tolist() == [11.0, 22.0] and x.add_(1, alpha=2).tolist() == [13.0, 24.0]
    assert x.sub_(other, alpha=0.5).tolist() == [8.0, 14.0] and x.sub_(1).tolist() == [7.0, 13.0]
    assert x.mul_(other).tolist() == [70.0, 260.0] and x.div_(10.0).tolist() == [7.0, 26.0]
    assert x.copy_(other).tolist() == [10.0, 20.0] and x.copy_([3.0]).tolist() == [3.0, 3.0]
    assert x.fill_(2.5).tolist() == [2.5, 2.5] and x.zero_().tolist() == [0.0, 0.0]
    x[tg.tensor([True, False])] = 4.0
    x[tg.tensor([1])] = tg.tensor([5])
    x[...] = x * 2
    assert x.tolist() == memory.tolist() == [8.0, 10.0]
    x[0], x[-1:] = 1, np.array([2.0])
    assert memory.tolist() == [1.0, 2.0] and x.dtype == tg.float32
    counts = tg.arange(2)
    counts.add_(True)
    counts[1] = 7
    assert counts.tolist() == [1, 7] and counts.dtype == tg.int64


def test_in_place_refusals_name_what_is_wrong() -> None:
    frozen = np.ones(3)
    frozen.flags.writeable = False
    with pytest.raises(InPlaceError, match="read-only"):
        tg.from_numpy(frozen).add_(1)
    with pytest.raises(InPlaceError, match=r"expanded.*\n.*clone"):
        tg.ones(1).expand(3).add_(1)
    with pytest.raises(DTypeError, match="int64"):
        tg.arange(3).add_(0.5)
    integers = tg.arange(3)
    with pytest.raises(DTypeError, match="__setitem__"):
        integers[0] = 0.5
    assert integers.tolist() == [0, 1, 2]


# ------------------------------------------------------------------- 66 and what may be a leaf
def test_66_copies_and_pickles_of_leaves_and_results() -> None:
    x = leaf([1.0, 2.0])
    for made in (copy.deepcopy(x), pickle.loads(pickle.dumps(x)), copy.copy(x)):
        assert made.tolist() == [1.0, 2.0] and made.requires_grad and made.is_leaf
    twin = copy.deepcopy(x)
    (twin * 2).sum().backward()
    assert x.grad is None and twin.grad.tolist() == [2.0, 2.0]
    for copied in (copy.deepcopy, pickle.dumps):
        with pytest.raises(AutodiffError, match="detach"):
            copied(x * 2)
    assert pickle.loads(pickle.dumps((x * 2).detach())).tolist() == [2.0, 4.0]


def test_a_leaf_at_rest_meanwhile_gets_the_gradient_of_what_was_recorded_before() -> None:
    x = leaf([1.0, 2.0])
    x.sum().backward()
    y = (x * x).sum()
    x.requires_grad_(False)
    assert x.grad is None and not (x * 2).requires_grad
    x.requires_grad_(True)
    assert x.grad is None
    y.backward()
    assert x.grad is not None and x.grad.tolist() == [2.0, 4.0]


def test_requires_grad_only_of_floats_and_leaves() -> None:
    for t in (tg.tensor([1, 2]), tg.tensor([True])):
        with pytest.raises(DTypeError, match=t.dtype.name):
            t.requires_grad_()
    with pytest.raises(DTypeError, match="int64"):
        tg.tensor([1, 2], requires_grad=True)
    x = leaf(1.0)
    with pytest.raises(AutodiffError, match=r"detach\(\)"):
        (x * 2).requires_grad = False
    x.requires_grad = False
    assert not (x * 2).requires_grad


# ------------------------------------------------------------------- out of the graph, by request
def test_detach_shares_memory_and_stops_gradients() -> None:
    x = leaf([1.0, 2.0])
    d = x.detach()
    assert np.shares_memory(d.numpy(), x.detach().numpy()) and not d.requires_grad
    (x * d).sum().backward()
    assert x.grad.tolist() == [1.0, 2.0]
    assert x.data.tolist() == [1.0, 2.0] and not x.data.requires_grad


def test_16_numpy_is_refused_where_a_gradient_would_be_lost() -> None:
    x = leaf([1.0, 2.0])
    for convert in (np.asarray, np.array, lambda t: t.numpy(), lambda t: np.add(t, np.ones(2))):
        with pytest.raises((AutodiffError, TypeError)):
            convert(x)
    assert np.asarray(x.detach()).tolist() == [1.0, 2.0]
    for total in (np.ones(2) + x, np.add(np.ones(2), x)):
        assert isinstance(total, tg.Tensor) and total.requires_grad


# ------------------------------------------------------------------------------ primitives
def test_primitive_names_are_taken_once() -> None:
    from tinygrad_rnn.graph import Primitive, primitives

    with pytest.raises(AutodiffError, match="'tanh'"):
        Primitive("tanh", "general", lambda xp, x: x, (), lambda *a: None, lambda *a: (), ())
    assert primitives["tanh"].form == "elementwise"


def test_clip_refuses_what_cannot_be() -> None:
    with pytest.raises(ArgumentError, match=r"min=2, max=1"):
        tg.clip(tg.ones(2), 2, 1)
