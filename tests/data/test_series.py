"""CSV files, scaling, the split in time, and windows into which no future leaks."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from tinygrad_rnn.data import Standardizer, read_csv, split_in_time, windows
from tinygrad_rnn.errors import ArgumentError, DataError, DTypeError, ShapeError

FINITE = st.floats(allow_nan=False, allow_infinity=False)


def write(folder: Path, text: str) -> Path:
    path = folder / "table.csv"
    path.write_text(text, encoding="utf-8")
    return path


# -- CSV -------------------------------------------------------------------------------------


@given(rows=st.lists(st.tuples(FINITE, FINITE, st.text("ab \"',", max_size=5)), min_size=1))
def test_numbers_come_back_to_the_last_bit(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[float, float, str]]
) -> None:
    path = tmp_path_factory.mktemp("csv") / "table.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("note", "x", "y"), *((n, x, y) for x, y, n in rows)])
    y, x = read_csv(path, "y", inputs=["x"])
    assert y.tolist() == [row[1] for row in rows]
    assert x.tolist() == [[row[0]] for row in rows]


def test_columns_are_taken_by_name_in_the_order_asked_for(tmp_path: Path) -> None:
    path = write(tmp_path, "date, a ,b,c\n2020-01-01,1, 2 ,-3e2\n2020-01-02,4,5,6\n\n ,,,\n\n")
    c, others = read_csv(str(path), "c", ["b", "a"])
    assert c.tolist() == [-300, 6]
    assert others.tolist() == [[2, 1], [5, 4]]
    assert read_csv(path, "a")[1].shape == (2, 0)
    assert read_csv(path, "a", "b")[1].tolist() == [[2], [5]]


def test_other_delimiters_and_quotes(tmp_path: Path) -> None:
    path = write(tmp_path, '\ufeff"a;b";y\r\n"x\n;";1.5\r\n')
    assert read_csv(path, "y", delimiter=";")[0].tolist() == [1.5]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a,y\n1,2\n3,\n", "a finite number expected, got an empty cell in line 3, column 'y' of"),
        ("a,y\n1, \n", "got an empty cell in line 2, column 'y' of"),
        ("a,y\n1,2\n3,n/a\n", "a finite number expected, got 'n/a' in line 3, column 'y' of"),
        ("a,y\n1,nan\n", "a finite number expected, got 'nan' in line 2, column 'y' of"),
        ("a,y\n1,-inf\n", "a finite number expected, got '-inf' in line 2, column 'y' of"),
        ("a,y\n1,1_000\n", "a finite number expected, got '1_000' in line 2, column 'y' of"),
        ('a,y\n1,"3,5"\n', "a finite number expected, got '3,5' in line 2, column 'y' of"),
        ("a,y\n1,2\n3\n", "2 cells in a row, as in the header, expected, got 1 in line 3 of"),
        ("a,y\n1,2,3\n", "2 cells in a row, as in the header, expected, got 3 in line 2 of"),
        ("a,y\n1,2\n\n3,4\n", "2 cells in a row, as in the header, expected, got 0 in line 3 of"),
        ("y\n1\n\n3\n", "1 cells in a row, as in the header, expected, got 0 in line 3 of"),
        ("a,b\n1,2\n", "one column 'y' expected, got none among \\['a', 'b'\\] in"),
        ("1,2\n3,4\n", "the first row must name the columns"),
        ("a;y\n1;2\n", r"none among \['a;y'\] in"),
        ("y,y\n1,2\n", "one column 'y' expected, got 2 among \\['y', 'y'\\] in"),
        ("y\n", "rows below the header expected, got none in"),
        ("\n\n", "a header and rows expected, got blank lines in"),
        ('y\n"1\n', "a well-formed CSV file expected, got unexpected end of data in line 2 of"),
        ('y\n"1"2\n', "a well-formed CSV file expected, got .* in line 2 of"),
    ],
)
def test_bad_file_is_named_by_line_and_column(tmp_path: Path, text: str, words: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(DataError, match=words) as caught:
        read_csv(path, "y")
    assert str(path) in str(caught.value)


def test_inputs_are_checked_like_the_target(tmp_path: Path) -> None:
    path = write(tmp_path, "day,y,x\nMon,1,1\nTue,2,?\n")
    assert read_csv(path, "y")[0].tolist() == [1, 2]
    with pytest.raises(DataError, match=r"got '\?' in line 3, column 'x' of"):
        read_csv(path, "y", ["x"])
    with pytest.raises(DataError, match="one column 'z' expected"):
        read_csv(path, "y", ["z"])
    with pytest.raises(DataError, match="got 'Mon' in line 2, column 'day' of"):
        read_csv(path, "day")


def test_file_and_arguments_are_checked(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="read_csv: a regular file expected, got no such file"):
        read_csv(tmp_path / "absent.csv", "y")
    path = write(tmp_path, "y,x\n1,2\n")
    for inputs in (["y"], ["x", "x"]):
        with pytest.raises(ArgumentError, match="different columns as target and inputs"):
            read_csv(path, "y", inputs)
    for delimiter in ("", "ab", "\n", '"'):
        with pytest.raises(ArgumentError, match="a delimiter of one character"):
            read_csv(path, "y", delimiter=delimiter)
    with pytest.raises(DTypeError, match="delimiter, a string"):
        read_csv(path, "y", delimiter=None)  # type: ignore[arg-type]


# -- standardizer ----------------------------------------------------------------------------

TABLES = arrays(
    np.float64,
    array_shapes(min_dims=1, max_dims=2, min_side=2, max_side=6),
    elements=st.floats(-1e6, 1e6),
)


@given(TABLES)
def test_standardized_values_have_mean_0_and_deviation_1_and_come_back(table: Any) -> None:
    assume((np.ptp(table, axis=0) > 1e-3).all())
    standardizer = Standardizer.fit(table)
    z = standardizer.transform(table)
    np.testing.assert_allclose(z.mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(z.std(axis=0), 1, rtol=1e-6)
    np.testing.assert_allclose(standardizer.inverse(z), table, rtol=1e-12, atol=1e-9)
    again = Standardizer.from_dict(json.loads(json.dumps(standardizer.to_dict())))
    np.testing.assert_array_equal(again.transform(table), z)


def test_batched_values_are_scaled_by_their_last_axis() -> None:
    standardizer = Standardizer.fit([[0, 10], [2, 30]])
    batch = standardizer.transform(np.ones((4, 3, 2), np.float32))
    np.testing.assert_allclose(batch[0, 0], [0, -1.9])
    single = Standardizer.fit([1, 3])
    assert single.inverse(np.zeros((4, 3, 1))).shape == (4, 3, 1)


@pytest.mark.parametrize("size", [1e-200, 1e-3, 1e150])
def test_scale_survives_extreme_units(size: float) -> None:
    standardizer = Standardizer.fit(np.array([1.0, 2.0, 3.0]) * size)
    np.testing.assert_allclose(standardizer.scale, np.sqrt(2 / 3) * size, rtol=1e-14)


@pytest.mark.parametrize(
    ("values", "error", "words"),
    [
        ([0.1, 0.1, 0.1], DataError, "column 0 that starts with 0.1 and has no measurable spread"),
        ([5.0], DataError, "columns that vary expected, got column 0"),
        ([[1, 5], [2, 5]], DataError, "got column 1 that starts with 5.0"),
        ([1e308, -1e308], DataError, "no measurable spread"),
        ([1, np.nan], DataError, r"values, all finite, expected, got nan at index \[1\]"),
        ([[1, 2], [3, np.inf]], DataError, r"values, all finite, .*got inf at index \[1, 1\]"),
        ([], ShapeError, r"values \(N,\) or \(N, I\) expected, got \(0,\)"),
        (np.ones((2, 2, 2)), ShapeError, r"got \(2, 2, 2\)"),
        (["a"], DTypeError, "values of numbers"),
        (3.0, ShapeError, "a single number"),
    ],
)
def test_what_cannot_be_standardized(values: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        Standardizer.fit(values)


def test_wrong_number_of_columns_is_refused() -> None:
    standardizer = Standardizer.fit([[0, 10], [2, 30]])
    for method in (standardizer.transform, standardizer.inverse):
        with pytest.raises(ShapeError, match=r"values of shape \(..., 2\) expected, got \(4, 1\)"):
            method(np.ones((4, 1)))


@pytest.mark.parametrize(
    "state",
    [
        {},
        {"mean": 0.0},
        {"mean": 0.0, "scale": 0.0},
        {"mean": 0.0, "scale": "one"},
        {"mean": [0.0, 1.0], "scale": [1.0]},
        {"mean": [[0.0]], "scale": [[1.0]]},
        {"mean": float("nan"), "scale": 1.0},
        {"mean": None, "scale": {}},
    ],
)
def test_foreign_scaling_is_refused(state: dict[str, Any]) -> None:
    with pytest.raises(DataError, match=r"Standardizer\.from_dict"):
        Standardizer.from_dict(state)


# -- split -----------------------------------------------------------------------------------


@given(st.integers(0, 2000), st.floats(0.01, 0.98), st.floats(0.01, 0.98))
def test_parts_follow_each_other_and_cover_the_series(n: int, train: float, share: float) -> None:
    validation = (1 - train) * share
    if not 0 < round(n * train) < round(n * (train + validation)) < n:
        with pytest.raises(DataError, match=f"three parts that are not empty expected, got {n} "):
            split_in_time(n, train, validation, 1 - train - validation)
        return
    parts = split_in_time(n, train, validation, 1 - train - validation)
    times = list(range(n))
    assert times[parts.train] + times[parts.validation] + times[parts.test] == times
    assert abs(len(times[parts.train]) - n * train) <= 1
    assert abs(len(times[parts.validation]) - n * validation) <= 1


@pytest.mark.parametrize("shares", [(0.7, 0.15, 0.1), (1, 0, 0), (0.5, 0.6, -0.1)])
def test_shares_must_sum_to_one(shares: tuple[float, float, float]) -> None:
    with pytest.raises(ArgumentError, match="three shares above 0 that sum to 1"):
        split_in_time(100, *shares)


@pytest.mark.parametrize("length", [-1, 2.5, "10"])
def test_length_is_a_whole_number(length: Any) -> None:
    with pytest.raises(ArgumentError, match="length, a whole number >= 0"):
        split_in_time(length)


# -- windows ---------------------------------------------------------------------------------


@given(st.integers(1, 6), st.integers(1, 5), st.integers(0, 9), st.integers(0, 2))
def test_every_window_is_the_series_around_its_origin(
    window: int, horizon: int, extra: int, count: int
) -> None:
    n = window + horizon + extra
    series = np.arange(n) + 0.5
    inputs = 100.0 * np.arange(n)[:, None] + np.arange(count)
    cut = windows(series, window, horizon, inputs)
    assert cut.origins.tolist() == list(range(window, n - horizon + 1))
    assert cut.history.shape == (window, extra + 1, 1 + count)
    assert cut.targets.shape == (horizon, extra + 1, 1)
    assert cut.controls.shape == (horizon, extra + 1, count)
    for b, origin in enumerate(cut.origins):
        past, future = slice(origin - window, origin), slice(origin, origin + horizon)
        np.testing.assert_array_equal(cut.history[:, b, 0], series[past])
        np.testing.assert_array_equal(cut.history[:, b, 1:], inputs[past])
        np.testing.assert_array_equal(cut.targets[:, b, 0], series[future])
        np.testing.assert_array_equal(cut.controls[:, b], inputs[future])
        one_ahead = slice(origin - window + 1, origin + 1)
        np.testing.assert_array_equal(cut.next_values[:, b, 0], series[one_ahead])


def test_nothing_of_the_future_is_in_a_history(rng: np.random.Generator) -> None:
    series, inputs = rng.normal(size=40), rng.normal(size=(40, 2))
    cut = windows(series, 5, 3, inputs)
    for b, origin in enumerate(cut.origins):
        changed, other = series.copy(), inputs.copy()
        changed[origin:] = other[origin:] = 99.0
        again = windows(changed, 5, 3, other)
        np.testing.assert_array_equal(again.history[:, b], cut.history[:, b])
        assert (again.targets[:, b] == 99).all()


def test_parts_share_no_target_and_the_past_may_be_seen() -> None:
    series = np.arange(100.0)
    parts = split_in_time(100)
    cuts = [windows(series, 8, 2, part=part) for part in parts]
    found = [set(cut.targets.ravel()) for cut in cuts]
    assert found == [set(map(float, range(8, 70))), set(range(70, 85)), set(range(85, 100))]
    assert cuts[1].history[:, 0, 0].tolist() == list(range(62, 70))


def test_one_input_may_come_without_an_axis() -> None:
    assert windows(np.zeros(5), 2, inputs=np.arange(5)).history.shape == (2, 3, 2)


def test_windows_are_copies() -> None:
    series = np.zeros(4)
    cut = windows(series, 2)
    cut.history[:] = 7
    assert not series.any()
    assert not cut.targets.any()


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"window": 0}, ArgumentError, "window, a whole number >= 1, expected, got 0"),
        ({"horizon": 1.5}, ArgumentError, "horizon, a whole number >= 1, expected, got 1.5"),
        ({"series": np.zeros((9, 1))}, ShapeError, r"\(N,\) expected, got \(9, 1\)"),
        ({"series": [0, np.nan]}, DataError, r"series, all finite, .*got nan at index \[1\]"),
        ({"inputs": np.zeros(8)}, ShapeError, r"inputs of shape \(9, I\).* got \(8,\)"),
        ({"inputs": np.zeros((9, 1, 1))}, ShapeError, r"got \(9, 1, 1\)"),
        ({"inputs": np.full(9, np.inf)}, DataError, r"inputs, all finite, expected, got inf"),
        ({"part": slice(0, 9, 2)}, ArgumentError, "a part of consecutive times"),
        ({"window": 9}, DataError, r"room for a history of 9 and 1 target\(s\) expected, got 9"),
        ({"part": slice(7, 9), "horizon": 3}, DataError, "targets from 7 to before 9"),
    ],
)
def test_windows_that_cannot_be_cut(
    arguments: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=f"windows: .*{words}"):
        windows(**{"series": np.zeros(9), "window": 2, **arguments})
