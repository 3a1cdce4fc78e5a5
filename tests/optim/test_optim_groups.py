"""What may be handed to an optimiser, and what is refused with one clear error."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn import optim
from tinygrad_rnn.errors import ArgumentError, AutodiffError, DTypeError, TinygradRNNError

ALL = [optim.SGD, optim.Adagrad, optim.RMSprop, optim.Adadelta, optim.Adam, optim.AdamW]


def leaf(*values: float) -> tg.Tensor:
    return tg.tensor(list(values) or [1.0, 2.0], requires_grad=True)


# ------------------------------------------------------------------------------- what is taken
def test_tensors_names_groups_and_generators() -> None:
    x, y = leaf(), leaf()
    assert optim.SGD(p for p in (x, y)).param_groups[0]["params"] == [x, y]
    named = optim.SGD([("x", x), ("y", y)])
    assert named.param_groups[0]["param_names"] == ["x", "y"]
    grouped = optim.SGD([{"params": x, "lr": 0.5}, {"params": iter([("y", y)])}], lr=0.25)
    assert [group["lr"] for group in grouped.param_groups] == [0.5, 0.25]
    assert grouped.param_groups[1]["param_names"] == ["y"]


def test_a_group_can_be_added(device: str) -> None:
    x, y = (tg.tensor([1.0], device=device, requires_grad=True) for _ in range(2))
    optimizer = optim.SGD([x], lr=0.5)
    optimizer.add_param_group({"params": y, "lr": 0.25})
    x.grad = y.grad = tg.tensor([1.0], device=device)
    optimizer.step()
    assert x.tolist() == [0.5] and y.tolist() == [0.75]


def test_a_leaf_without_gradient_may_get_one_later() -> None:
    x = tg.tensor([1.0])
    optimizer = optim.SGD([x], lr=0.5)
    optimizer.step()
    x.requires_grad_()
    x.grad = tg.tensor([1.0])
    optimizer.step()
    assert x.tolist() == [0.5]


def test_numbers_of_numpy_become_pythons() -> None:
    optimizer = optim.Adam([leaf()], lr=np.float32(0.5), betas=[np.float64(0.5), 0.25])
    group = optimizer.param_groups[0]
    assert (type(group["lr"]), group["betas"]) == (float, (0.5, 0.25))
    assert type(group["betas"][0]) is float


# ----------------------------------------------------------------------------- what is refused
NOT_PARAMETERS: list[tuple[Any, type[TinygradRNNError], str]] = [
    (list, ArgumentError, "at least one parameter"),
    (lambda: iter([]), ArgumentError, "used up"),
    (lambda: [{"params": []}], ArgumentError, "at least one parameter"),
    (leaf, DTypeError, r"\[tensor\]"),
    (lambda: {"w": leaf()}, DTypeError, "ordered iterable"),
    (lambda: {leaf(), leaf()}, DTypeError, "ordered iterable"),
    (lambda: "weights", DTypeError, "ordered iterable"),
    (lambda: 3, DTypeError, "ordered iterable"),
    (lambda: [np.ones(3)], DTypeError, "parameter 0 as a tensor expected, got ndarray"),
    (lambda: [leaf(), None], DTypeError, "parameter 1 as a tensor expected, got NoneType"),
    (lambda: [("w", leaf()), ("b", 3)], DTypeError, "parameter 'b' as a tensor"),
    (lambda: [("w", leaf()), leaf()], ArgumentError, "names for all"),
    (lambda: [{"params": [leaf()]}, leaf()], ArgumentError, "groups as dicts"),
    (lambda: [{"parameters": [leaf()]}], ArgumentError, "groups as dicts"),
    (lambda: [{"params": [leaf()], "weightdecay": 1}], ArgumentError, "'weightdecay'"),
    (lambda: [leaf() * 2], AutodiffError, "parameter 0 as a leaf"),
    (lambda: [("w", leaf() * 2)], AutodiffError, "parameter 'w' as a leaf"),
    (lambda: [tg.tensor([1, 2])], DTypeError, "got int64"),
    (lambda: [leaf()] * 2, ArgumentError, "number 1 of the group again"),
]


@pytest.mark.parametrize(("make", "error", "words"), NOT_PARAMETERS)
@pytest.mark.parametrize("kind", ALL)
def test_what_is_not_a_list_of_parameters(
    kind: Any, make: Any, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        kind(make())


def test_a_parameter_in_two_groups_is_refused_and_nothing_has_moved() -> None:
    x, y = leaf(), leaf()
    arrays = x.array, y.array
    with pytest.raises(ArgumentError, match="each parameter in one group"):
        optim.SGD([{"params": [x, y]}, {"params": [y]}])
    assert x.array is arrays[0] and y.array is arrays[1]
    optimizer = optim.SGD([x])
    with pytest.raises(ArgumentError, match="each parameter in one group"):
        optimizer.add_param_group({"params": [y, x]})
    assert y.array is arrays[1] and len(optimizer.param_groups) == 1


def test_parameters_that_share_memory_are_refused() -> None:
    whole = np.zeros(4, np.float32)
    x, y, z = (tg.from_numpy(whole[part]) for part in (slice(0, 3), slice(2, 4), slice(3, 4)))
    with pytest.raises(ArgumentError, match="memory of their own"):
        optim.SGD([x, y])
    optim.SGD([x, z])


def test_an_optimiser_can_follow_another() -> None:
    params = [leaf() for _ in range(5)]
    optim.SGD(params)
    optim.Adam(reversed(params))  # neighbours in one array now, but apart


WRONG: list[tuple[Any, dict[str, Any]]] = [
    *(
        (kind, {"lr": bad})
        for kind in ALL
        for bad in (0, -1.0, math.nan, math.inf, "0.1", None, True)
    ),
    *((kind, {"weight_decay": -0.1}) for kind in ALL),
    *((kind, {"maximize": 1}) for kind in ALL),
    *((kind, {"eps": bad}) for kind in ALL[1:] for bad in (-1e-8, math.nan)),
    (optim.SGD, {"momentum": -0.1}),
    (optim.SGD, {"momentum": math.nan}),
    (optim.SGD, {"dampening": math.inf}),
    (optim.SGD, {"nesterov": True}),
    (optim.SGD, {"nesterov": True, "momentum": 0.9, "dampening": 0.1}),
    (optim.SGD, {"nesterov": "yes"}),
    (optim.Adagrad, {"lr_decay": -1}),
    (optim.Adagrad, {"initial_accumulator_value": -1}),
    (optim.RMSprop, {"alpha": 1.0}),
    (optim.RMSprop, {"momentum": -1}),
    (optim.RMSprop, {"centered": None}),
    (optim.Adadelta, {"rho": 1.0}),
    (optim.Adadelta, {"rho": -0.1}),
    *((kind, {"betas": b}) for kind in ALL[4:] for b in ((1.0, 0.9), (0.9, 1.0), (-0.1, 0.9))),
    *((kind, {"betas": b}) for kind in ALL[4:] for b in ((0.9,), 0.9, ("a", 0.9), (0.9, math.nan))),
    (optim.Adam, {"amsgrad": 0}),
]


@pytest.mark.parametrize(("kind", "options"), WRONG)
def test_options_out_of_their_range(kind: Any, options: dict[str, Any]) -> None:
    x = leaf()
    array = x.array
    name = next(iter(options))
    with pytest.raises(ArgumentError, match=name) as caught:
        kind([x], **options)
    assert caught.value.called == kind.__name__
    assert x.array is array
    with pytest.raises(ArgumentError, match=name):
        kind([{"params": [x], **options}])
    assert x.array is array


@pytest.mark.parametrize("bad", [-0.1, math.nan, "fast", None])
def test_a_rate_spoiled_later_is_noticed_at_the_step(bad: Any) -> None:
    x = leaf()
    optimizer = optim.Adam([x])
    optimizer.param_groups[0]["lr"] = bad
    x.grad = tg.tensor([1.0, 1.0])
    with pytest.raises(ArgumentError, match=r"Adam\.step: lr"):
        optimizer.step()
    assert x.tolist() == [1.0, 2.0]


def test_a_rate_of_zero_is_allowed_to_a_schedule() -> None:
    x = leaf()
    optimizer = optim.SGD([x])
    optimizer.param_groups[0]["lr"] = 0
    x.grad = tg.tensor([1.0, 1.0])
    optimizer.step()
    assert x.tolist() == [1.0, 2.0]


# ------------------------------------------------------------- groups that were changed by hand
def swap(optimizer: optim.Optimizer) -> None:
    optimizer.param_groups[0]["params"][0] = leaf()


@pytest.mark.parametrize(
    "change",
    [
        lambda o: o.param_groups[0]["params"].append(leaf()),
        lambda o: o.param_groups[0]["params"].pop(),
        lambda o: o.param_groups[0]["params"].reverse(),
        lambda o: o.param_groups[0].update(params=[leaf(), leaf()]),
        lambda o: o.param_groups.append({**o.param_groups[0], "params": [leaf()]}),
        lambda o: o.param_groups.pop(),
        swap,
    ],
)
@pytest.mark.parametrize("make", [optim.SGD, optim.Adam, optim.EKF])
def test_parameters_put_into_a_group_by_hand_are_not_passed_over(make: Any, change: Any) -> None:
    """They would never be changed, and those that were taken out would be."""
    x, y = leaf(), leaf()
    optimizer = make([x, y], lr=0.5)
    x.grad = y.grad = tg.tensor([1.0, 1.0])
    change(optimizer)
    with pytest.raises(ArgumentError, match="the parameters it was given") as caught:
        optimizer.step(*([lambda p: p[0], [0.0, 0.0]] if make is optim.EKF else []))
    assert "add_param_group" in str(caught.value)
    with pytest.raises(ArgumentError, match="the parameters it was given"):
        optimizer.state_dict()
    assert x.tolist() == y.tolist() == [1.0, 2.0]
