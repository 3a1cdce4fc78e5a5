"""Nested state, taken apart and put together."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn.errors import ArgumentError, CheckpointError
from tinygrad_rnn.train.packing import pack, unpack


@pytest.mark.parametrize(
    "tree",
    [
        None,
        {"state": {0: {"step": 3}, 1: {"step": 4}}, "groups": [{"betas": (0.9, 0.99)}]},
        {"array": "a dict with this key is not an array", "tuple": [1], "dict": {}},
        [(), [], {}, ((1, None), "x", True, 0.1)],
    ],
)
def test_plain_trees_come_back_as_they_were(tree: Any) -> None:
    arrays, rest = pack(tree, "tree")
    assert arrays == {}
    assert unpack({}, json.loads(json.dumps(rest))) == tree


def test_arrays_are_snapshots_by_path() -> None:
    weight, moment = tg.tensor([1.0, 2.0], requires_grad=True), np.arange(3)
    arrays, rest = pack({"w": weight, "state": [{7: moment}]}, "run")
    assert list(arrays) == ["run.w", "run.state.0.7"]
    moment[:] = 0
    with tg.no_grad():
        weight.zero_()
    back = unpack(arrays, json.loads(json.dumps(rest)))
    assert back["w"].tolist() == [1.0, 2.0]
    assert back["state"][0][7].tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    "tree",
    [
        {"a.b": np.ones(2), "a": {"b": np.zeros(2)}},
        {1: np.ones(2), "1": np.zeros(2)},
        {"a": [np.ones(2)], "a.0": np.zeros(2), "a.0'": np.full(2, 7.0)},
    ],
)
def test_keys_that_read_alike_keep_their_own_arrays(tree: Any) -> None:
    arrays, rest = pack(tree, "run")
    back = unpack(arrays, json.loads(json.dumps(rest)))
    np.testing.assert_equal(back, tree)


def test_numpy_scalars_become_plain_numbers() -> None:
    _, rest = pack({"n": np.int64(3), "x": np.float32(0.5)}, "t")
    assert json.loads(json.dumps(rest)) == {"dict": [["n", 3], ["x", 0.5]]}


def test_what_cannot_be_stored_is_named_by_its_path() -> None:
    with pytest.raises(ArgumentError, match=r"at run\.a\.1 expected, got set"):
        pack({"a": [1, {2}]}, "run")


@pytest.mark.parametrize(
    "rest",
    [{"array": "gone"}, {"list": []}, {}, {"dict": [[1]]}, {"dict": [[[], 2]]}, {"dict": [3]}],
)
def test_a_rest_that_was_not_packed_is_refused(rest: Any) -> None:
    with pytest.raises(CheckpointError, match="state that pack made"):
        unpack({}, rest)
