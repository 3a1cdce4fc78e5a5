"""``train series`` and ``forecast`` as a user types them."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import numpy as np
import pytest

from tinygrad_rnn.baselines import nmse, persistence
from tinygrad_rnn.cli import main
from tinygrad_rnn.data import read_csv
from tinygrad_rnn.train import load_forecaster

SMALL = "--hidden 6 --window 12 --batch 8 --steps 12 --validate-every 4 --warmup 3".split()
NUMBER = r"(\d\S*|inf|nan)"

pytest.importorskip("matplotlib", reason="a training run ends with pictures")


@pytest.fixture
def river(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to stand in, with a table of 200 rows in it; the test part has 30."""
    monkeypatch.chdir(tmp_path)
    push = np.random.default_rng(5).standard_normal(200)
    flow = np.zeros(200)
    for t in range(1, 200):
        flow[t] = 0.8 * flow[t - 1] + push[t - 1] + 0.5 * np.sin(t / 3)
    lines = [f"day{t},{flow[t]:.6f},{push[t]:.6f}" for t in range(200)]
    path = Path("river.csv")
    path.write_text("\n".join(["day,flow,push", *lines]) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def trained(river: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    assert main(["train", "series", "river.csv", "--target", "flow", *SMALL]) == 0
    capsys.readouterr()
    return Path("runs/river")


def failing(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What a command that fails says; nothing else and no traceback."""
    assert main(list(arguments)) == 1
    said = capsys.readouterr()
    assert said.err.startswith("tinygrad-rnn: error: ")
    assert "Traceback" not in said.err
    return said.err


def table(path: str) -> dict[str, list[str]]:
    """The columns of a CSV file."""
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    return {name: [row[i] for row in rows[1:]] for i, name in enumerate(rows[0])}


def told(said: str, title: str) -> dict[str, float]:
    """The NMSE of every model in the table below a title."""
    part = said[said.index(title) :].split("\n\n")[0]
    found = re.findall(rf"^  (\S.*?\S) {{2,}}{NUMBER}(?: .*)?$", part, re.M)
    return {name: float(value) for name, value in found}


def test_training_ends_with_forecasts_and_pictures(
    river: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    inputs = ["--inputs", "push", "--horizon", "3"]
    assert main(["train", "series", "river.csv", "--target", "flow", *inputs, *SMALL]) == 0
    said = capsys.readouterr().out
    assert re.search(r"^  inputs +push$", said, re.M)
    assert "140 train · 30 validate · 30 test" in said
    assert "held out: NMSE 3 steps ahead" in said
    assert "Running freely, 1 run of 30 steps" in said
    for name in ("loss.png", "forecast.png"):
        assert Path("runs/river", name).stat().st_size > 10_000
    assert Path("runs/river/best.ckpt").exists()


def test_the_numbers_are_those_of_the_table(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["forecast", "runs/river/best.ckpt", "--steps", "10"]) == 0
    said = capsys.readouterr().out
    columns = table("runs/river/forecast.csv")
    series, _ = read_csv("river.csv", "flow")
    truth = np.array(columns["truth"], float)
    np.testing.assert_array_equal(truth, series[170:])
    assert columns["row"] == [str(row) for row in range(170, 200)]
    ahead = told(said, "One step ahead, 30 forecasts")
    assert list(ahead) == [name for name in columns if name in ahead]
    for name, error in ahead.items():
        assert error == pytest.approx(nmse(truth, np.array(columns[name], float)), rel=6e-3)
    np.testing.assert_array_equal(np.array(columns["persistence"], float), series[169:199])
    for name in ahead.keys() - {"LSTM 6"}:
        line = next(line for line in said.splitlines() if line.startswith(f"  {name} "))
        assert line.endswith("not beaten") != (ahead["LSTM 6"] < ahead[name])


def test_baselines_are_those_of_the_package(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["forecast", "runs/river/best.ckpt", "--steps", "10"])
    free = told(capsys.readouterr().out, "Running freely, 21 runs of 10 steps")
    series, _ = read_csv("river.csv", "flow")
    baseline = load_forecaster("runs/river/best.ckpt").baseline
    rivals = {"persistence": persistence(), f"linear AR({baseline.order})": baseline}
    truth = np.array([series[t : t + 10] for t in range(170, 191)])
    for name, rival in rivals.items():
        said = np.array([rival.forecast(series[:t], 10) for t in range(170, 191)])
        assert free[name] == pytest.approx(nmse(truth, said), rel=6e-3)
    columns = table("runs/river/forecast.csv")
    first = [float(v) for v in columns["persistence, free"] if v]
    assert first == [series[169]] * 10


def test_the_training_table_by_name_is_told_apart(
    trained: Path, river: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("copy.csv").write_text(river.read_text())
    for name in ("river.csv", "copy.csv"):
        assert main(["forecast", "runs/river/best.ckpt", name, "--steps", "5"]) == 0
        assert "note: the model was trained on the first rows" in capsys.readouterr().out
    assert main(["forecast", "runs/river/best.ckpt", "--steps", "5"]) == 0
    assert "note:" not in capsys.readouterr().out


def test_a_table_on_which_nothing_could_be_trained_is_forecast(
    river: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    inputs = ["--target", "flow", "--inputs", "push"]
    assert main(["train", "series", "river.csv", *inputs, *SMALL]) == 0
    rows = [f"{line.rpartition(',')[0]},1.5" for line in river.read_text().splitlines()[1:]]
    Path("steady.csv").write_text("\n".join(["day,flow,push", *rows]) + "\n")
    assert main(["forecast", "runs/river/best.ckpt", "steady.csv"]) == 0
    assert "note:" not in capsys.readouterr().out


def test_another_file_is_forecast_as_a_whole(
    trained: Path, river: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = river.read_text().splitlines()
    Path("other.csv").write_text("\n".join(lines[:81]) + "\n")
    assert main(["forecast", "runs/river/best.ckpt", "other.csv", "--out", "elsewhere"]) == 0
    order = load_forecaster("runs/river/best.ckpt").baseline.order
    first = max(12, order)
    said = capsys.readouterr().out
    assert f"One step ahead, {80 - first} forecasts" in said and "note:" not in said
    assert table("elsewhere/forecast.csv")["row"][0] == str(first)
    assert Path("elsewhere/forecast.png").exists()


def test_a_run_can_be_resumed(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "series", "--resume", "runs/river/last.ckpt", "--steps", "15"]) == 0
    assert "12 of 15 steps done" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda text: text.replace("day7,", "day7,,"), "3 cells in a row"),
        (lambda text: re.sub(r"^(day7,)[^,]*", r"\1", text, flags=re.M), "an empty cell in line 9"),
        (lambda text: re.sub(r"^(day7,)[^,]*", r"\1n/a", text, flags=re.M), "'n/a' in line 9"),
        (lambda text: re.sub(r"^(day7,)[^,]*", r"\1nan", text, flags=re.M), "'nan' in line 9"),
        (lambda text: text.replace("flow", "level"), "one column 'flow'"),
        (lambda text: "day,flow,push\n", "rows below the header"),
        (lambda text: "", "an empty one (river.csv)"),
        (lambda text: "\n".join(text.split("\n")[:15]), "lower --window or --horizon"),
        (lambda text: re.sub(r",[^,\n]*,", ",1,", text).replace("day,1,", "day,flow,"), "vary"),
    ],
)
def test_a_table_that_cannot_be_used_is_one_clear_error(
    change: object, expected: str, river: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    river.write_text(change(river.read_text()))  # type: ignore[operator]
    assert expected in failing(capsys, "train", "series", "river.csv", "--target", "flow", *SMALL)
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "FILE.csv in the command expected"),
        (["river.csv"], "--target COLUMN in the command expected"),
        (["absent.csv", "--target", "flow"], "no such file (absent.csv)"),
        (["river.csv", "--target", "flow", "--inputs", "rain"], "one column 'rain'"),
        (["river.csv", "--target", "flow", "--inputs", "flow"], "different columns"),
        (["river.csv", "--target", "flow", "--window", "1"], "window >= 2"),
    ],
)
def test_a_command_that_cannot_be_used_is_one_clear_error(
    arguments: list[str], expected: str, river: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert expected in failing(capsys, "train", "series", *arguments)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--steps", "0"], "--steps >= 1"),
        (["--steps", "31"], "at least 31 values to compare with expected, got 30"),
        (["absent.csv"], "no such file"),
        (["--out", "river.csv"], "a folder that can be made"),
    ],
)
def test_a_forecast_that_cannot_be_made_is_one_clear_error(
    arguments: list[str], expected: str, trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert expected in failing(capsys, "forecast", "runs/river/best.ckpt", *arguments)


@pytest.mark.parametrize("rows", [1, 3, 13])
def test_a_table_too_short_to_be_judged_on_is_one_clear_error(
    rows: int, trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = Path("river.csv").read_text(encoding="utf-8").splitlines()
    Path("short.csv").write_text("\n".join(lines[: 1 + rows]) + "\n", encoding="utf-8")
    said = failing(capsys, "forecast", "runs/river/best.ckpt", "short.csv", "--steps", "2")
    assert re.search(r"at least 2 values to compare with expected, got [01]\n", said)
    assert "longer table" in said
