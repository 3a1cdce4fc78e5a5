"""Parameters are views of one array: what that must not change, and what it must survive."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
from optim_reference import SHAPES, give, gradients, host, start, tensors

import tinygrad_rnn as tg
from tinygrad_rnn import optim
from tinygrad_rnn.errors import DeviceError, DTypeError, InPlaceError, ShapeError, TrainingError
from tinygrad_rnn.optim import flat as flat_module
from tinygrad_rnn.optim.flat import FlatBuffer


def flats(optimizer: optim.Optimizer) -> list[FlatBuffer]:
    return [flat for flats in optimizer._flats for flat in flats]


def test_parameters_share_one_array_and_keep_their_values(
    device: str, rng: np.random.Generator
) -> None:
    first = start(rng, "float32")
    params = tensors(first, device)
    nodes = [p.node for p in params]
    (flat,) = flats(optim.SGD(params, lr=0.5))
    assert flat.values.shape == (sum(v.size for v in first),)
    whole = np.concatenate([v.ravel() for v in first])
    np.testing.assert_array_equal(host(tg.Tensor(flat.values)), whole)
    for param, value, node in zip(params, first, nodes, strict=True):
        assert param.array.base is flat.values
        assert param.shape == value.shape and param.node is node
        np.testing.assert_array_equal(host(param), value)
    flat.values[...] = 7
    assert all((host(p) == 7).all() for p in params)


def test_one_buffer_for_each_group_and_dtype(device: str) -> None:
    kinds = [tg.float32, tg.float64, tg.float32, tg.float64]
    params = [tg.zeros(2, dtype=kind, device=device, requires_grad=True) for kind in kinds]
    optimizer = optim.Adam([{"params": params[:3]}, {"params": params[3]}])
    assert [(f.values.dtype, f.numbers) for f in flats(optimizer)] == [
        (tg.float32, [0, 2]),
        (tg.float64, [1]),
        (tg.float64, [3]),
    ]
    give(params, [np.ones(2, kind) for kind in kinds])
    optimizer.step()
    assert [p.dtype for p in params] == kinds
    for param in params:
        np.testing.assert_allclose(host(param), -1e-3, rtol=1e-6)
    assert sorted(optimizer.state_dict()["state"]) == [0, 1, 2, 3]


def test_a_step_is_one_run_however_many_parameters(device: str) -> None:
    params = [tg.zeros(3, device=device, requires_grad=True) for _ in range(10)]
    (flat,) = flats(optim.Adam(params))
    given = [p.array for p in params]
    spans = [(run.step, run.span) for run in flat.runs(given, flat.begin(given, count=True))]
    assert spans == [(1, slice(0, 30))]


def test_runs_are_cut_where_a_gradient_is_missing_or_a_count_differs() -> None:
    params = [tg.zeros(2, requires_grad=True) for _ in range(6)]
    (flat,) = flats(optim.Adam(params))
    flat.steps = [4, 4, 4, 2, 2, 2]
    given = [params[i].array if i not in (1, 5) else None for i in range(6)]
    runs = flat.runs(given, flat.begin(given, count=True))
    found = [(run.step, run.span.start, run.span.stop) for run in runs]
    assert found == [(5, 0, 2), (5, 4, 6), (3, 6, 10)]
    assert flat.steps == [5, 4, 5, 3, 3, 2]


@pytest.mark.parametrize("name", ["SGD", "Adagrad", "RMSprop", "Adadelta", "Adam", "AdamW"])
def test_parameters_together_equal_each_alone_bit_for_bit(
    name: str, device: str, rng: np.random.Generator
) -> None:
    first = start(rng, "float32")
    options = {"momentum": 0.9, "dampening": 0.1} if name == "SGD" else {}
    together, alone = tensors(first, device), tensors(first, device)
    make = getattr(optim, name)
    joint, single = make(together, lr=0.1, **options), [make([p], lr=0.1, **options) for p in alone]
    for found in gradients(rng, "float32", 12, missing=True):
        give(together, found)
        give(alone, found)
        for optimizer in [joint, *single]:
            optimizer.step()
    for param, expected in zip(together, alone, strict=True):
        np.testing.assert_array_equal(host(param), host(expected))


@pytest.mark.parametrize("size", [1, 5, 16])
@pytest.mark.parametrize("name", ["SGD", "Adagrad", "RMSprop", "Adadelta", "Adam", "AdamW"])
def test_blocks_that_stay_in_the_cache_change_no_bit(
    name: str, size: int, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = start(rng, "float32")
    whole, cut = tensors(first, "cpu"), tensors(first, "cpu")
    options: dict[str, Any] = {"momentum": 0.9} if name == "SGD" else {}
    make = getattr(optim, name)
    at_once = make(whole, lr=0.1, maximize=True, **options)
    monkeypatch.setattr(flat_module, "BLOCK", size * 4)
    in_blocks = make(cut, lr=0.1, maximize=True, **options)
    assert max(flat.gradients.size for flat in flats(in_blocks)) == size
    for found in gradients(rng, "float32", 12, missing=True):
        give(whole, found)
        give(cut, found)
        for param in cut:
            if param.grad is not None:  # in another order in memory
                param.grad.array = np.copy(param.grad.array, order="F")
        at_once.step()
        in_blocks.step()
    for param, expected in zip(cut, whole, strict=True):
        np.testing.assert_array_equal(host(param), host(expected))


def test_blocks_are_full_whatever_the_sizes_of_the_parameters(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(flat_module, "BLOCK", 4 * 4)
    params = [tg.zeros(n, requires_grad=True) for n in (3, 0, 6, 3, 2)]
    (flat,) = flats(optim.Adam(params))
    given = [None if i == 3 else np.full(p.shape, i, np.float32) for i, p in enumerate(params)]
    runs = flat.runs(given, flat.begin(given, count=True))
    found = [(run.span.start, run.span.stop, run.grad.tolist()) for run in runs]
    assert found == [(0, 4, [0, 0, 0, 2]), (4, 8, [2] * 4), (8, 9, [2]), (12, 14, [4, 4])]


def test_a_gradient_in_the_memory_of_another_parameter_is_read_before_it_changes(
    device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flat_module, "BLOCK", 4)
    x, y = tensors([np.array([1.0, 2.0]), np.array([3.0, 4.0])], device)
    optimizer = optim.SGD([x, y], lr=0.5)
    x.grad, y.grad = y.detach(), x.detach()
    optimizer.step()
    assert x.tolist() == [-0.5, 0.0] and y.tolist() == [2.5, 3.0]


def test_a_parameter_without_a_gradient_keeps_value_and_state(device: str) -> None:
    x, y = (tg.tensor([1.0, 2.0], device=device, requires_grad=True) for _ in range(2))
    optimizer = optim.AdamW([x, y], weight_decay=0.5)
    give([x, y], [np.ones(2, np.float32)] * 2)
    optimizer.step()
    value = host(y).copy()
    before = copy.deepcopy(optimizer.state_dict()["state"][1])
    y.grad = None
    optimizer.step()
    after = optimizer.state_dict()["state"]
    np.testing.assert_array_equal(host(y), value)
    assert (after[0]["step"], after[1]["step"]) == (2, 1)
    np.testing.assert_array_equal(host(after[1]["exp_avg"]), host(before["exp_avg"]))


# ------------------------------------------------------------- what users do to parameters
def test_an_array_assigned_later_brings_its_values(device: str) -> None:
    x, y = (tg.tensor([1.0, 2.0], device=device, requires_grad=True) for _ in range(2))
    optimizer = optim.SGD([x, y], lr=1.0)
    y.array = tg.tensor([10.0, 20.0], device=device).array
    give([x, y], [np.ones(2, np.float32)] * 2)
    optimizer.step()
    assert x.tolist() == [0.0, 1.0] and y.tolist() == [9.0, 19.0]
    assert x.array.base is y.array.base


def test_parameters_that_swap_their_arrays(device: str) -> None:
    x, y = tensors([np.array([1.0]), np.array([2.0])], device)
    optimizer = optim.SGD([x, y], lr=1.0)
    x.array, y.array = y.array, x.array
    optimizer.step()
    assert x.tolist() == [2.0] and y.tolist() == [1.0]


def test_changes_in_place_are_seen(device: str) -> None:
    x = tg.tensor([1.0, 2.0], device=device, requires_grad=True)
    optimizer = optim.SGD([x], lr=1.0)
    with tg.no_grad():
        x.copy_(tg.tensor([5.0, 6.0], device=device))
    x.grad = tg.tensor([1.0, 1.0], device=device)
    optimizer.step()
    assert x.tolist() == [4.0, 5.0]


def test_two_optimisers_can_take_turns(device: str) -> None:
    x = tg.tensor([1.0], device=device, requires_grad=True)
    first, second = optim.SGD([x], lr=0.5), optim.SGD([x], lr=0.25)
    for optimizer in (first, second, first):
        x.grad = tg.tensor([1.0], device=device)
        optimizer.step()
    assert x.tolist() == [-0.25]


def test_a_copy_of_an_optimiser_optimises_the_copies() -> None:
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    optimizer = optim.SGD([x], lr=0.5, momentum=0.9)
    x.grad = tg.tensor([1.0, 1.0])
    optimizer.step()
    twin = copy.deepcopy(optimizer)
    (y,) = twin.param_groups[0]["params"]
    for param, each in ((x, optimizer), (y, twin)):
        param.grad = tg.tensor([1.0, 2.0])
        each.step()
    assert y is not x and y.tolist() == x.tolist()
    twin.step()
    assert y.tolist() != x.tolist()


REPLACED: list[tuple[Any, Any]] = [
    (lambda p: p.array[:2], ShapeError),
    (lambda p: p.array.reshape(3, 1), ShapeError),
    (lambda p: p.array.astype("float64"), DTypeError),
    (lambda p: [1.0, 2.0, 3.0], DeviceError),
]


@pytest.mark.parametrize(("replace", "error"), REPLACED)
def test_a_parameter_of_another_form_is_refused_before_any_change(
    replace: Any, error: type[Exception], device: str
) -> None:
    x, y = (tg.tensor([1.0, 2.0, 3.0], device=device, requires_grad=True) for _ in range(2))
    optimizer = optim.Adam([("x", x), ("y", y)])
    give([x, y], [np.ones(3, np.float32)] * 2)
    y.array = replace(y)
    with pytest.raises(error) as caught:
        optimizer.step()
    assert "'y'" in str(caught.value) or error is DeviceError
    assert x.tolist() == [1.0, 2.0, 3.0]
    assert optimizer.state_dict()["state"] == {}


def test_a_gradient_of_another_form_is_refused(device: str) -> None:
    x = tg.tensor([1.0, 2.0], device=device, requires_grad=True)
    optimizer = optim.Adam([x])
    x.grad = tg.tensor([1.0, 1.0], device=device)
    x.grad.array = x.grad.array[:1]
    with pytest.raises(ShapeError, match="the gradient of parameter 0"):
        optimizer.step()


def test_a_value_saved_before_a_step_is_known_to_have_changed() -> None:
    x = tg.tensor([2.0], requires_grad=True)
    optimizer = optim.SGD([x], lr=0.1)
    y = (x * x).sum()
    x.grad = tg.tensor([1.0])
    optimizer.step()
    with pytest.raises(InPlaceError):
        y.backward()


def test_a_graph_from_before_the_optimiser_keeps_the_old_values() -> None:
    x = tg.tensor([2.0], requires_grad=True)
    y = (x * x).sum()
    optimizer = optim.SGD([x], lr=0.5)
    x.grad = tg.tensor([1.0])
    optimizer.step()
    x.grad = None
    y.backward()
    assert x.grad is not None
    assert x.grad.tolist() == [4.0]


# ---------------------------------------------------------------------- gradients not finite
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_gradients_that_are_not_finite_can_be_refused(bad: float, device: str) -> None:
    x, y, z = (tg.tensor([1.0, 2.0], device=device, requires_grad=True) for _ in range(3))
    optimizer = optim.Adam([("x", x), ("y", y), ("z", z)], error_if_nonfinite=True)
    give([x, y, z], [np.ones(2, np.float32), np.array([1, bad], np.float32), None])
    with pytest.raises(TrainingError, match="NaN or infinity in parameter 'y'"):
        optimizer.step()
    assert x.tolist() == [1.0, 2.0]
    assert optimizer.state_dict()["state"] == {}
    y.grad = tg.tensor([1.0, 1.0], device=device)
    optimizer.step()
    assert x.tolist() != [1.0, 2.0] and z.tolist() == [1.0, 2.0]


def test_what_a_missing_gradient_left_behind_is_not_looked_at() -> None:
    x, y = (tg.tensor([1.0], requires_grad=True) for _ in range(2))
    optimizer = optim.SGD([x, y], lr=0.5, error_if_nonfinite=True)
    give([x, y], [np.ones(1, np.float32), np.array([np.inf], np.float32)])
    with pytest.raises(TrainingError):
        optimizer.step()
    y.grad = None
    optimizer.step()
    assert x.tolist() == [0.5] and y.tolist() == [1.0]


def test_nan_goes_through_where_it_is_not_refused() -> None:
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    x.grad = tg.tensor([float("nan"), 0.0])
    optim.Adam([x]).step()
    assert np.isnan(host(x)).tolist() == [True, False]


def test_shapes_of_the_reference_hold_a_number_and_an_empty_array() -> None:
    assert () in SHAPES and any(0 in shape for shape in SHAPES)


def test_a_gradient_may_be_a_parameter_of_another_group(device: str) -> None:
    p, q = (tg.ones(4, device=device, requires_grad=True) for _ in range(2))
    optimizer = optim.SGD([{"params": [p]}, {"params": [q]}], lr=0.5)
    p.grad, q.grad = tg.ones(4, device=device), p.detach()
    optimizer.step()
    assert (host(p) == 0.5).all()
    assert (host(q) == 0.5).all()  # by p as it was before the step
