"""The fake device itself: what it refuses, and where it is like CuPy rather than like NumPy."""

from __future__ import annotations

import operator
import pickle
from typing import Any

import numpy as np
import pytest
from fake_device import XP, FakeArray, from_host, traffic

HOST = np.arange(6.0).reshape(2, 3)


@pytest.fixture
def x() -> FakeArray:
    return from_host(HOST)


# ------------------------------------------------------------------------------- it refuses
@pytest.mark.parametrize(
    "attempt",
    [
        np.asarray, np.array, np.add, np.sum, np.exp, pickle.dumps,
        lambda x: np.concatenate([x, x]), lambda x: np.stack([x]), lambda x: HOST + x,
        lambda x: x + HOST, lambda x: HOST.__eq__(x),
        lambda x: x.__iadd__(HOST), lambda x: x.dot(HOST.T), lambda x: x[np.array([0])],
        lambda x: x[[0, 1]], lambda x: x.__setitem__(0, HOST[0]), lambda x: x.__setitem__(0, [1]),
        lambda x: HOST[x.astype("int64")], lambda x: HOST.dot(x), lambda x: np.float64(2) * x,
        lambda x: XP.add(x, HOST), lambda x: XP.add(x, [1, 2, 3]), lambda x: XP.asarray(HOST),
        lambda x: XP.concatenate([x, HOST]), lambda x: XP.where(x > 0, x, HOST),
    ],
)  # fmt: skip
def test_an_implicit_copy_is_refused(attempt: Any, x: FakeArray) -> None:
    with traffic() as crossed, pytest.raises(TypeError):
        attempt(x)
    assert not crossed
    np.testing.assert_array_equal(x.get(), HOST)


@pytest.mark.parametrize(
    "attempt",
    [
        lambda x: XP.add(x, x, where=x > 0), lambda x: XP.exp(x, order="C"),
        lambda x: x.sum(where=x > 0), lambda x: x.max(initial=0.0), lambda x: XP.sum(x, initial=1),
        lambda x: x.argmax(0, None), lambda x: XP.full((2,), 0, like=x), lambda x: x.item(0),
    ],
)  # fmt: skip
def test_an_argument_that_cupy_lacks_is_refused(attempt: Any, x: FakeArray) -> None:
    with pytest.raises(TypeError):
        attempt(x)


@pytest.mark.parametrize("name", ["frompyfunc", "errstate", "vecdot", "unstack", "add.at"])
def test_a_function_that_cupy_lacks_is_absent(name: str) -> None:
    with pytest.raises(AttributeError):
        operator.attrgetter(name)(XP)


def test_orders_that_cupy_lacks_are_refused(x: FakeArray) -> None:
    with pytest.raises(ValueError, match="stable"):
        XP.argsort(x, kind="quicksort")
    with pytest.raises(NotImplementedError):
        x.ravel(order="K")


def test_indices_are_not_numbers_of_the_host(x: FakeArray) -> None:
    with pytest.raises(TypeError):
        range(3)[x[0, 0].astype("int64")]  # type: ignore[index]


@pytest.mark.parametrize("dtype", ["int64", "int8", "bool"])
def test_atomic_addition_exists_for_few_types(dtype: str) -> None:
    from fake_device import _scatter_add

    with pytest.raises(TypeError, match="only supports"):
        _scatter_add(XP.zeros(3, dtype=dtype), XP.arange(2), XP.ones(2, dtype=dtype))


# ------------------------------------------------------------------------------ it is like CuPy
@pytest.mark.parametrize(
    "made",
    [
        lambda x: x.sum(), lambda x: x[0, 0], lambda x: x.max(), lambda x: XP.add(x[0, 0], 1),
        lambda x: x[0].dot(x[1]), lambda x: x[0, 0] + 1, lambda x: XP.full((), 1.0),
        lambda x: x.argmax(), lambda x: (x > 0).all(), lambda x: -x[1, 1],
    ],
)  # fmt: skip
def test_what_has_no_axes_is_still_an_array(made: Any, x: FakeArray) -> None:
    with traffic() as crossed:
        found = made(x)
    assert type(found) is FakeArray and found.shape == () and not crossed


def test_index_arrays_wrap(x: FakeArray) -> None:
    index = XP.asarray([3, -1, -4])
    np.testing.assert_array_equal(x[..., index].get(), HOST[:, [0, 2, 2]])
    np.testing.assert_array_equal(x[XP.asarray([2]), None].get(), HOST[[0], None])
    with pytest.raises(IndexError):
        x[2]


def test_writing_through_a_view_changes_its_base(x: FakeArray) -> None:
    row = x[1][1:]
    row[...] = 9.0
    row += 1
    np.testing.assert_array_equal(x.get(), [[0, 1, 2], [3, 10, 10]])
    assert row.base is x and x.base is None and x.copy().base is None
    assert x.reshape(6).base is x and x.T.base is x and (x * 1).base is None


def test_output_arguments_are_filled_and_returned(x: FakeArray) -> None:
    room = XP.empty_like(x)
    assert XP.add(x, 1, out=room) is room and XP.multiply(room, 2, room) is room
    np.testing.assert_array_equal(room.get(), 2 * HOST + 2)


def test_operators_are_those_of_numpy(x: FakeArray) -> None:
    for found, wanted in [
        (2 - x, 2 - HOST), (x**2, HOST**2), (x @ x.T, HOST @ HOST.T), (-x, -HOST),
        (x <= 2, HOST <= 2), (~(x > 2), ~(HOST > 2)), ((x > 1) & (x < 4), (HOST > 1) & (HOST < 4)),
        (1 / x, np.divide(1, HOST, out=np.full((2, 3), np.inf), where=HOST != 0)),
    ]:  # fmt: skip
        np.testing.assert_array_equal(found.get(), wanted)
        assert found.dtype == wanted.dtype


def test_crossings_are_counted(x: FakeArray) -> None:
    with traffic() as crossed:
        float(x[0, 1])
        bool(x[0, 1])
        x.tolist()
        x[0, 1].item()
        x.get()
        from_host(HOST)
        XP.asarray(1.0)
    assert crossed == {"syncs": 4, "to_host": 1, "to_device": 2}
