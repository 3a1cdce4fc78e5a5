"""A run that was interrupted ends bit for bit where an uninterrupted one does."""

from __future__ import annotations

import copy
import json
import pickle
from typing import Any

import numpy as np
import pytest
from optim_reference import (
    CASE_NAMES,
    CASES,
    SHAPES,
    give,
    gradients,
    grouped,
    host,
    start,
    tensors,
)

import tinygrad_rnn as tg
from tinygrad_rnn import optim
from tinygrad_rnn.errors import ArgumentError, StateDictError


def through_a_file(state: Any) -> Any:
    """What a checkpoint keeps: numbers and strings by JSON, so keys become strings; arrays."""
    arrays: list[Any] = []

    def default(tensor: tg.Tensor) -> dict[str, int]:
        arrays.append(host(tensor).copy())
        return {"array": len(arrays) - 1}

    def back(found: dict[str, Any]) -> Any:
        return arrays[found["array"]] if "array" in found else found

    return json.loads(json.dumps(state, default=default, allow_nan=False), object_hook=back)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("name", "options"), CASES, ids=CASE_NAMES)
def test_a_resumed_run_equals_an_uninterrupted_one(
    name: str, options: dict[str, Any], dtype: str, device: str, rng: np.random.Generator
) -> None:
    first, steps = start(rng, dtype), list(gradients(rng, dtype, 11, missing=True))
    whole = tensors(first, device)
    optimizer = getattr(optim, name)(grouped(whole), **options)
    schedule = optim.CosineAnnealingLR(optimizer, T_max=11)
    resumed: list[tg.Tensor] = []
    again: list[Any] = []
    for number, found in enumerate(steps):
        if number == 5:  # everything anew, with other options, then loaded
            resumed = tensors([host(p) for p in whole], device)
            fresh = getattr(optim, name)(grouped(resumed), lr=9.0)
            other = optim.CosineAnnealingLR(fresh, T_max=11)
            fresh.load_state_dict(through_a_file(optimizer.state_dict()))
            other.load_state_dict(through_a_file(schedule.state_dict()))
            again = [fresh, other]
        for params, parts in ((whole, [optimizer, schedule]), (resumed, again)):
            if parts:
                give(params, found)
                for part in parts:
                    part.step()
    for param, expected in zip(resumed, whole, strict=True):
        np.testing.assert_array_equal(host(param), host(expected))
    assert again[0].param_groups[1]["lr"] == optimizer.param_groups[1]["lr"]


def trained(names: tuple[str, ...] = ("w", "b")) -> tuple[list[tg.Tensor], optim.Adam]:
    params = [tg.ones(2, 3, requires_grad=True), tg.zeros(3, requires_grad=True)]
    optimizer = optim.Adam(list(zip(names, params, strict=True)), lr=0.5)
    give(params, [np.ones((2, 3), np.float32), None])
    optimizer.step()
    return params, optimizer


def test_the_form_of_a_state() -> None:
    _, optimizer = trained()
    state = optimizer.state_dict()
    assert state["param_groups"] == [
        {
            "lr": 0.5,
            "betas": (0.9, 0.999),
            "eps": 1e-8,
            "weight_decay": 0.0,
            "amsgrad": False,
            "maximize": False,
            "params": [0, 1],
            "param_names": ["w", "b"],
        }
    ]
    assert list(state["state"]) == [0]  # the other has not been updated yet
    entry = state["state"][0]
    assert sorted(entry) == ["exp_avg", "exp_avg_sq", "step"]
    assert entry["step"] == 1 and entry["exp_avg"].shape == (2, 3)
    np.testing.assert_allclose(host(entry["exp_avg"]), 0.1, rtol=1e-6)


def test_a_state_is_a_copy_and_the_property_a_view() -> None:
    params, optimizer = trained()
    state = optimizer.state_dict()
    before = copy.deepcopy(host(state["state"][0]["exp_avg"]))
    view = optimizer.state[params[0]]["exp_avg"]
    optimizer.step()
    optimizer.param_groups[0]["lr"] = 0.25
    np.testing.assert_array_equal(host(state["state"][0]["exp_avg"]), before)
    assert state["param_groups"][0]["lr"] == 0.5
    np.testing.assert_allclose(host(view), 0.19, rtol=1e-6)
    assert list(optimizer.state) == [params[0]]


def test_loading_copies_what_it_is_given() -> None:
    _, optimizer = trained()
    _, other = trained()
    state = optimizer.state_dict()
    other.load_state_dict(state)
    optimizer.load_state_dict(state)
    optimizer.step()
    kept = other.state_dict()["state"][0]
    np.testing.assert_array_equal(host(kept["exp_avg"]), host(state["state"][0]["exp_avg"]))
    assert kept["step"] == 1


def test_loading_an_empty_state_begins_anew() -> None:
    params, optimizer = trained()
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": {}, "param_groups": groups})
    assert optimizer.state == {}
    give(params, [np.ones((2, 3), np.float32), None])
    optimizer.step()
    assert optimizer.state[params[0]]["step"] == 1
    np.testing.assert_allclose(host(params[0]), 0.0, atol=1e-6)  # a first step moves by lr


def test_an_initial_accumulator_is_there_for_parameters_without_entry() -> None:
    x, y = tg.zeros(1, requires_grad=True), tg.zeros(1, requires_grad=True)
    optimizer = optim.Adagrad([x, y], lr=1.0, initial_accumulator_value=3.0)
    give([x, y], [np.ones(1, np.float32), None])
    optimizer.step()
    optimizer.load_state_dict(optimizer.state_dict())
    give([x, y], [None, np.ones(1, np.float32)])
    optimizer.step()
    assert x.tolist() == y.tolist() == [-0.5]


def test_a_momentum_without_a_count_has_begun() -> None:
    x = tg.zeros(1, requires_grad=True)
    optimizer = optim.SGD([x], lr=1.0, momentum=0.5, dampening=0.5)
    state = {**optimizer.state_dict(), "state": {0: {"momentum_buffer": np.array([4.0])}}}
    optimizer.load_state_dict(state)
    x.grad = tg.tensor([2.0])
    optimizer.step()
    assert x.tolist() == [-3.0]  # ½·4 + ½·2, where a first step would take 2


def test_groups_of_two_dtypes_keep_their_numbers() -> None:
    params = [
        tg.ones(2, dtype=kind, requires_grad=True)
        for kind in (tg.float64, tg.float32, tg.float64, tg.float32)
    ]
    optimizer = optim.SGD(params, lr=0.1, momentum=0.9)
    give(params, [np.full(2, i, p.dtype) for i, p in enumerate(params)])
    optimizer.step()
    state = optimizer.state_dict()
    assert state["param_groups"][0]["params"] == [0, 1, 2, 3]
    buffers = [host(state["state"][i]["momentum_buffer"]) for i in range(4)]
    assert [(b.dtype, b[0]) for b in buffers] == [(p.dtype, i) for i, p in enumerate(params)]
    optimizer.load_state_dict(state)
    assert [host(optimizer.state[p]["momentum_buffer"])[0] for p in params] == [0, 1, 2, 3]


def test_pickling_keeps_a_run(rng: np.random.Generator) -> None:
    first, steps = start(rng, "float32"), list(gradients(rng, "float32", 6, missing=True))
    optimizer: Any = optim.RMSprop(tensors(first, "cpu"), momentum=0.9)
    kept: Any = optim.RMSprop(tensors(first, "cpu"), momentum=0.9)
    for found in steps:
        optimizer = pickle.loads(pickle.dumps(optimizer))
        for each in (optimizer, kept):
            give(each.param_groups[0]["params"], found)
            each.step()
    pairs = zip(optimizer.param_groups[0]["params"], kept.param_groups[0]["params"], strict=True)
    for param, expected in pairs:
        np.testing.assert_array_equal(host(param), host(expected))


# -------------------------------------------------------------------------- what does not fit
def entry(shape: tuple[int, ...] = (2, 3), **changes: Any) -> dict[str, Any]:
    arrays = {"exp_avg": np.zeros(shape), "exp_avg_sq": np.zeros(shape)}
    return {"step": 1, **arrays, **changes}


NOT_STATES: list[tuple[Any, str]] = [
    (lambda s: 3, "got 3"),
    (lambda s: {}, "got {}"),
    (lambda s: {**s, "state": [1]}, "param_groups"),
    (lambda s: {**s, "state": {0: 1.0}}, "param_groups"),
    (lambda s: {**s, "param_groups": [{}]}, "param_groups"),
    (lambda s: {**s, "param_groups": [3]}, "param_groups"),
    (lambda s: {**s, "param_groups": None}, "param_groups"),
    (lambda s: {**s, "param_groups": s["param_groups"] * 2}, r"groups of \[2\] parameters"),
    (lambda s: {**s, "param_groups": [{"params": [0]}]}, r"got groups of \[1\]"),
    (lambda s: {**s, "param_groups": [{"lr": 1.0, "params": [0, 1]}]}, "'betas' is missing"),
    (
        lambda s: {**s, "param_groups": [{**s["param_groups"][0], "param_names": ["w", "c"]}]},
        "'c' where 'b' is needed",
    ),
    (lambda s: {**s, "state": {7: entry()}}, "'7', which is in no group"),
    (lambda s: {**s, "state": {0: entry((3, 2))}}, r"\(3, 2\) where float32 \(2, 3\) is"),
    (lambda s: {**s, "state": {0: entry(exp_avg=np.full((2, 3), "x"))}}, r"'exp_avg' of .* is <U1"),
    (lambda s: {**s, "state": {0: entry(exp_avg=0.5)}}, r"float64 \(\) where"),
    (lambda s: {**s, "state": {0: {"step": 1}}}, "'w' has no 'exp_avg'; .* no 'exp_avg_sq'"),
    (lambda s: {**s, "state": {0: entry(sum=np.zeros((2, 3)))}}, "'sum', which this optimiser"),
    *((lambda s, n=n: {**s, "state": {0: entry(step=n)}}, "steps") for n in (-1, 0.5, "x", np.nan)),
]


@pytest.mark.parametrize(("change", "words"), NOT_STATES)
def test_a_state_that_does_not_fit_changes_nothing(change: Any, words: str) -> None:
    params, optimizer = trained()
    before = optimizer.state_dict()
    with pytest.raises(StateDictError, match=words):
        optimizer.load_state_dict(change(before))
    after = optimizer.state_dict()
    assert after["param_groups"] == before["param_groups"]
    assert after["state"].keys() == before["state"].keys()
    for name in ("exp_avg", "exp_avg_sq"):
        np.testing.assert_array_equal(*(host(s["state"][0][name]) for s in (before, after)))
    assert params[0].shape == (2, 3)


def test_options_out_of_range_are_refused_when_loaded() -> None:
    _, optimizer = trained()
    state = optimizer.state_dict()
    state["param_groups"][0]["betas"] = [0.9, 1.5]
    with pytest.raises(ArgumentError, match="betas"):
        optimizer.load_state_dict(state)
    assert optimizer.param_groups[0]["betas"] == (0.9, 0.999)


def test_the_state_of_another_optimiser_is_refused() -> None:
    params, optimizer = trained()
    with pytest.raises(StateDictError, match="'betas' is missing"):
        optimizer.load_state_dict(optim.SGD(params).state_dict())


def test_all_differences_are_listed_at_once() -> None:
    _, optimizer = trained()
    state = optimizer.state_dict()
    state["state"] = {0: entry((1,)), 1: entry((2,))}
    with pytest.raises(StateDictError) as caught:
        optimizer.load_state_dict(state)
    assert str(caught.value).count("is needed") == 4


def test_the_reference_has_a_parameter_without_elements() -> None:
    assert (2, 0) in SHAPES
