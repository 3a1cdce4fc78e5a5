"""The benchmarks run, compare before they time, judge rightly, and keep what is written by hand."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import report, worker
from benchmarks.__main__ import main
from benchmarks.measure import absolute, as_json, faster, from_json, longer, verdict
from benchmarks.parts import PARTS
from benchmarks.processes import ROOT, environment
from benchmarks.timing import (
    PAUSE,
    Contender,
    Effort,
    Spread,
    WrongResult,
    alternate,
    compare,
    compare_rounding,
)
from benchmarks.work import Settings

LINUX_ONLY = ("memory", "footprint")  # they read the resident set
OURS, THEIRS = Spread(2.0, 3.0), Spread(4.0, 3.0)


def gives(name: str, **arrays: Any) -> Contender:
    return Contender(name, lambda: None, lambda _: {n: np.array(a) for n, a in arrays.items()})


# ------------------------------------------------------------------------------------ every part
@pytest.mark.parametrize("part", PARTS)
def test_part_runs_without_peers(part: str) -> None:
    if part in LINUX_ONLY and sys.platform != "linux":
        pytest.skip("reads /proc/self")
    settings = Settings(quick=True, peers=False, effort=Effort.quick())
    measures = list(PARTS[part](settings))
    assert measures
    for measure in measures:
        assert measure.part == part
        assert np.isfinite([*measure.ours, *measure.figure]).all()
        assert from_json(json.loads(json.dumps(as_json(measure)))) == measure


def test_command_line_prints_and_writes(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    files = [tmp_path / "b.json", tmp_path / "b.png"]
    command = ["tape", "--quick", "--no-peers", "--threads", "1", "--json", files[0]]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", *command, "--picture", files[1]],
        cwd=ROOT, env=environment(1), capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "LSTM cell in a Python loop" in done.stdout
    (part,) = report.load(files[0]).values()
    assert part["threads"] == 1 and part["error"] is None and len(part["measures"]) == 2


def test_unknown_part_is_named() -> None:
    with pytest.raises(SystemExit, match=r"no part tapes; there are: tape,"):
        main(["tapes"])


def test_error_in_a_part_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(settings: Settings) -> Any:
        """Broken."""
        yield absolute("broken", "first", "", OURS)
        compare([gives("ours", y=[1.0]), gives("theirs", y=[2.0])])

    monkeypatch.setitem(PARTS, "broken", broken)
    worker.work("broken", 1, {"quick"})
    said = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [next(iter(fields)) for fields in said] == ["about", "measure", "error", "end"]
    assert said[2]["error"].startswith("WrongResult: y of ours against theirs: differs")


# -------------------------------------------------------------------------- comparing and timing
def test_equal_results_pass() -> None:
    agreed = [gives("a", y=[1.0, -2.0]), gives("b", y=[1.0, -2.0001]), gives("c", y=[1.0, -2.0])]
    assert compare(agreed) == pytest.approx(5e-5)


@pytest.mark.parametrize("wrong", [{"y": [1.0, 2.1]}, {"y": [1.0, np.nan]}, {"y": [1.0]}, {}])
def test_wrong_results_are_refused(wrong: dict[str, Any]) -> None:
    right = gives("right", y=[1.0, 2.0])
    with pytest.raises(WrongResult, match="y of wrong against right"):
        compare([right, gives("wrong", **wrong), right])


def test_errors_are_held_against_those_of_another() -> None:
    exact, other = gives("exact", y=[1.0, 2.0]), gives("other", y=[1.0, 2.002])
    assert compare_rounding(gives("a", y=[1.0, 2.004]), other, exact) == pytest.approx(2, rel=0.01)
    for y in ([1.0, 2.1], [np.nan, 2.0], [1.0]):
        with pytest.raises(WrongResult, match="y of wrong against exact"):
            compare_rounding(gives("wrong", y=y), other, exact)
    for y in ([np.nan, 2.0], [1.0, 2.1]):  # with which nothing can be held against
        with pytest.raises(WrongResult, match="y of b against exact"):
            compare_rounding(gives("a", y=[1.0, 2.0]), gives("b", y=y), exact)


def test_contenders_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.timing.BLOCK", 0.0)
    order: list[str] = []
    field = [Contender(n, lambda n=n: order.append(n), lambda _: {}) for n in "abc"]
    times = alternate(field, Effort(seconds=0.0, least=4, most=9))
    assert "".join(order) == "aabbcc" + "abc" + "bca" + "cab" + "abc"  # warm-up, then rounds
    assert list(times) == ["a", "b", "c"]
    assert all(0 < spread.low <= spread.median for spread in times.values())


def test_idle_threads_fall_asleep_before_the_next_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.timing.BLOCK", 0.0)
    order: list[str] = []
    monkeypatch.setattr("benchmarks.timing.time.sleep", lambda s: order.append(f" {s} "))
    field = [Contender(n, lambda n=n: order.append(n), lambda _: {}) for n in "ab"]
    for threads, turns in ((1, "ab"), (2, f" {PAUSE} aa {PAUSE} bb")):
        times = alternate(field, replace(Effort.on(threads), seconds=0.0, least=1))
        assert "".join(order) == "aabb" + turns
        assert set(times) == set("ab")
        order.clear()


# --------------------------------------------------------------------------- figures and verdicts
@pytest.mark.parametrize(
    ("measure", "said"),
    [
        (faster("p", "w", "", OURS, "peer", THEIRS, 1.0), "yes"),
        (faster("p", "w", "", OURS, "peer", THEIRS, 1.5), "by minimum"),
        (faster("p", "w", "", OURS, "peer", THEIRS, 2.5), "no"),
        (faster("p", "w", "", OURS, "peer", THEIRS), ""),
        (longer("p", "w", "", OURS, "peer", THEIRS, 1.0), "yes"),
        (longer("p", "w", "", THEIRS, "peer", OURS, 1.5), "by median"),
        (absolute("p", "w", "", OURS, "MB", 2.5), "by minimum"),
        (absolute("p", "w", "", OURS, "", 2.0, ">="), "yes"),
    ],
)
def test_verdicts(measure: Any, said: str) -> None:
    assert verdict(measure) == said


def a_report(**more: Any) -> report.Report:
    ours, theirs = Spread(5e-4, 6e-4), Spread(1e-3, 9e-4)
    measures = [
        faster("layers", "LSTM", "32, 16, 32", ours, "nn.LSTM", theirs, 1.9),
        absolute("layers", "memory", "", Spread(3.0, 3.0), "MB", 4.0),
    ]
    machine = {
        "processor": "P", "cores": 2, "memory": "8 GiB", "system": "S", "overrides": {"X": "y"},
    }  # fmt: skip
    part = {
        "part": "layers", "threads": 1, "title": "Layers.", "when": "2000-01-01", "error": None,
        "machine": machine, "versions": {"numpy": "2"}, "measures": [as_json(m) for m in measures],
        "others": 0.0,
    }  # fmt: skip
    return {"layers/1": part | more}


def test_table_says_it_all() -> None:
    text = report.markdown(a_report())
    assert (
        "| LSTM | 32, 16, 32 | 500 / 600 µs | nn.LSTM | 1000 / 900 µs | 2.00 / 1.50 × faster "
        "| ≥ 1.9 | by minimum |"
    ) in text
    assert "| memory |  | 3.00 MB |  |  |  | ≤ 4 | yes |" in text
    assert "**1 of 2 targets met.**" in text and "P, 2 cores, 8 GiB" in text and "X=y" in text
    assert "Not to be trusted" not in text
    assert "others kept 0.5 cores busy" in report.markdown(a_report(others=0.5))


def test_recording_keeps_the_notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")
    paths = {"RESULTS": "RESULTS.md", "PICTURE": "results.png", "DATA": "results.json"}
    for name, file in paths.items():
        monkeypatch.setattr(report, name, tmp_path / file)
    page = tmp_path / "RESULTS.md"
    page.write_text(f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n", encoding="utf-8")
    for _ in range(2):
        report.record(a_report())
    text = page.read_text(encoding="utf-8")
    assert text.startswith(f"before\n{report.BEGIN}\nMachine: P")
    assert text.endswith(f"{report.END}\nafter\n") and "old" not in text
    assert report.load(tmp_path / "results.json") == json.loads(json.dumps(a_report()))
    assert (tmp_path / "results.png").stat().st_size > 1000


def test_the_page_of_results_has_its_place_for_tables() -> None:
    text = report.RESULTS.read_text(encoding="utf-8")
    assert text.count(report.BEGIN) == text.count(report.END) == 1


def test_a_new_measurement_replaces_its_part_alone() -> None:
    old = {"a/1": {"n": 1}, "a/2": {"n": 2}}
    assert report.merged(old, {"a/2": {"n": 3}}) == {"a/1": {"n": 1}, "a/2": {"n": 3}}


def test_engines_are_known_before_the_first_scan() -> None:
    """Else what is measured first is measured on one engine alone."""
    command = "from benchmarks import cells; print(cells.engines())"
    done = subprocess.run(
        [sys.executable, "-c", command],
        cwd=ROOT, env=environment(1), capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "'numpy'" in done.stdout
