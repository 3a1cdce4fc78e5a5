"""Tasks of "What it learns" run, are resumed by seed, and are recorded beside what is there."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import report
from benchmarks.processes import ROOT, environment
from benchmarks.tasks import __main__ as command
from benchmarks.tasks import record
from benchmarks.tasks.catalogue import find
from benchmarks.tasks.runner import Runner, kept
from benchmarks.tasks.task import Task, data_file
from benchmarks.tasks.worker import work

(XOR,) = find(["xor"])
RESULTS = (ROOT / "benchmarks" / "RESULTS.md").read_text(encoding="utf-8")


def made(name: str = "xor", **fields: Any) -> Task:
    given = {"title": "t", "target": "below 1", "met": lambda rows: all(r["e"] < 1 for r in rows)}
    return Task(name=name, run=lambda seed, quick: {"e": 0.5}, **(given | fields))


def row(seed: int, error: float, **settings: object) -> dict[str, Any]:
    about = {"machine": work(XOR, 0, quick=True)["machine"], "when": "2000-01-01"}
    stack = {"Python": "3", "numpy": "2", "llvmlite": "0", "commit": "c"}
    figures = {"seed": seed, "figures": {"e": error}, "seconds": 2.0, "cpu": 1.0}
    return {**figures, "settings": settings, "versions": stack, **about}


# ------------------------------------------------------------------------------------ every task
@pytest.mark.parametrize("task", find([]), ids=lambda task: task.name)
def test_task_runs_quickly(task: Task) -> None:
    if task.absent():
        pytest.skip(f"no {', '.join(task.absent())}")
    found = work(task, 0, quick=True)
    assert found["figures"] and np.isfinite(list(found["figures"].values())).all()
    assert task.met([found["figures"]]) in (True, False)
    assert json.loads(json.dumps(found))["settings"] == json.loads(json.dumps(dict(task.settings)))


def test_figures_that_are_not_finite_are_an_error() -> None:
    task = Task("xor", "t", "", lambda seed, quick: {"e": float("nan")}, lambda rows: True)
    with pytest.raises(ValueError, match="xor, seed 3: not finite: e"):
        work(task, 3)


# --------------------------------------------------------------------------------- finding, data
def test_unknown_names_are_said() -> None:
    with pytest.raises(SystemExit, match=r"no tasks xr; there are: .*xor"):
        command.main(["xr"])
    with pytest.raises(SystemExit, match=r"no task xor\.wide; there are: xor"):
        command.main(["xor.wide"])


def test_data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task = made(data=("a/b.txt",))
    monkeypatch.delenv("TINYGRAD_RNN_DATA", raising=False)
    assert task.absent() == ["a/b.txt"]
    with pytest.raises(FileNotFoundError, match="TINYGRAD_RNN_DATA"):
        data_file("a/b.txt")
    monkeypatch.setenv("TINYGRAD_RNN_DATA", str(tmp_path))
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b.txt").write_text("")
    assert not task.absent() and data_file("a/b.txt") == tmp_path / "a" / "b.txt"


# ----------------------------------------------------------------------------- running, resuming
def test_runner_keeps_seeds_and_says_failures(tmp_path: Path) -> None:
    runner = Runner(slots=2, quick=True, folder=tmp_path)
    broken = made("xor.absent")  # the worker does not find it
    found = {(task.name, seed): row for (task, seed), row in runner.run([(XOR, 1), (broken, 0)])}
    assert found["xor.absent", 0] is None and not kept(broken, tmp_path)
    assert kept(XOR, tmp_path) == [found["xor", 1]]
    assert command._jobs([XOR], command._parser().parse_args(["--seeds", "3"]), tmp_path) == [
        (XOR, 0), (XOR, 2),
    ]  # fmt: skip


def test_leaving_early_stops_what_runs(tmp_path: Path) -> None:
    runner = Runner(slots=2, folder=tmp_path)
    runner._start((XOR, 0))
    (process,) = runner.running.values()
    runner.run([]).close()  # never begun: nothing to stop
    runner._stop()
    assert process.returncode == -signal.SIGTERM and not runner.running


def test_seeds_with_other_settings_do_not_count(tmp_path: Path) -> None:
    task = made(settings={"sizes": (1, 2)})
    for seed, sizes in ((2, [1, 2]), (0, [1, 2]), (1, [1, 3])):
        text = json.dumps(row(seed, 0.1, sizes=sizes))
        (tmp_path / f"xor@{seed}.json").write_text(text)
    (tmp_path / "xor.other@3.json").write_text(json.dumps(row(3, 0.1, sizes=[1, 2])))
    assert [found["seed"] for found in kept(task, tmp_path)] == [0, 2]


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_command_line_is_interrupted_and_goes_on(tmp_path: Path) -> None:
    arguments = [sys.executable, "-m", "benchmarks.tasks", "xor", "--quick"]
    with subprocess.Popen(arguments, cwd=ROOT, env=environment(1), stdout=subprocess.PIPE) as run:
        assert run.stdout is not None
        run.stdout.readline()
        run.terminate()
        said = run.stdout.read().decode()
    assert run.returncode == 130 and "goes on with the seeds that are left" in said


# -------------------------------------------------------------------------------------- recording
def test_verdict_and_line() -> None:
    found = record.entry(made(seeds=3), [row(0, 0.5), row(1, 0.25)])
    assert record.verdict(found) == "met on 2 of 3 seeds"
    assert record.line("xor", found) == (
        "xor: met on 2 of 3 seeds; e 0.375 (0.25 … 0.5); 2 s; below 1"
    )
    assert record.verdict(record.entry(made(seeds=1), [row(0, 1.5)])) == "missed"


def test_record_merges_and_leaves_the_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    results, data = tmp_path / "RESULTS.md", tmp_path / "tasks.json"
    results.write_text(RESULTS, encoding="utf-8")
    for name, error in (("old", 0.5), ("new", 0.5), ("new", 2.0)):
        found = record.entry(made(name, seeds=1, note=f"tried {error}"), [row(0, error)])
        record.record({name: found}, data, results)
    text = results.read_text(encoding="utf-8")
    assert "| t (`new`) | below 1 | e 2 | 1 | 2 s | missed |" in text
    assert "| t (`old`) | below 1 | e 0.5 | 1 | 2 s | met |" in text
    assert "**1 of 2 targets met**, 0 more" in text and "- `new`: tried 2.0" in text
    for part in (0, 1):  # what stands before and after the section
        mark = (record.BEGIN, record.END)[part]
        assert text.split(mark)[part] == RESULTS.split(mark)[part]
    # and the benchmarks of speed leave this section as it is
    for name, path in (("RESULTS", results), ("DATA", tmp_path / "r.json")):
        monkeypatch.setattr(report, name, path)
    monkeypatch.setattr(report, "markdown", lambda _: "speeds")
    monkeypatch.setattr("benchmarks.picture.draw", lambda *_: None)
    report.record({})
    after = results.read_text(encoding="utf-8")
    assert "speeds" in after and after.split(record.BEGIN)[1] == text.split(record.BEGIN)[1]


def test_recorded_seeds_stay_beside_new_ones(tmp_path: Path) -> None:
    data, results = tmp_path / "tasks.json", tmp_path / "RESULTS.md"
    results.write_text(RESULTS, encoding="utf-8")
    task = made(settings={"sizes": (1, 2)})
    assert record.recorded(task, data) == []
    first = [row(seed, 0.25, sizes=[1, 2]) for seed in (0, 1)]
    record.record({"xor": record.entry(task, first)}, data, results)
    assert record.recorded(made(settings={"sizes": (1, 3)}), data) == []
    new = [row(seed, 2.0, sizes=[1, 2]) | {"when": "2000-01-02"} for seed in (2, 1)]
    new[0]["versions"] = {**new[0]["versions"], "commit": "d"}
    whole = record.entry(task, record.joined(record.recorded(task, data), new))
    kept_rows = [(r["seed"], r["figures"]["e"], r["commit"]) for r in whole["rows"]]
    assert kept_rows == [(0, 0.25, "c"), (1, 2.0, "c"), (2, 2.0, "d")]
    assert not whole["met"] and whole["when"] == "2000-01-02"
    shown = record.markdown({"xor": whole})
    assert "| 0 | e 0.25 | 2 s | 1 s | c |" in shown and "| 2 | e 2 | 2 s | 1 s | d |" in shown


def test_many_figures_have_a_table_of_their_own() -> None:
    found = record.entry(made("few.one", seeds=1), [row(0, 0.5)])
    figures = {f"net {k}": float(k) for k in range(record.WIDE)}
    many = [{**row(seed, 0.5), "figures": {"e": 0.5 + seed, **figures}} for seed in range(2)]
    text = record.markdown({"few.one": found, "wide.a": record.entry(made(seeds=2), many)})
    assert "| e 1 (0.5 … 1.5)<br>net 0 0<br>net 1 1 | 2 | 2 s | missed |" in text
    assert "All figures of `wide`" in text and "All figures of `few`" not in text
    assert "| | e | net 0 | net 1 |" in text and "| a | 1 | 0 | 1 |" in text


def test_hidden_figures_are_kept_but_not_shown() -> None:
    hidden = {**row(0, 0.5), "figures": {"e": 0.5, "_v": 0.25}}
    found = record.entry(made(seeds=1), [hidden])
    assert found["rows"][0]["figures"]["_v"] == 0.25
    assert "_v" not in record.markdown({"xor": found}) + record.line("xor", found)


def test_recorded_section_is_that_of_the_file() -> None:
    whole = json.loads((ROOT / "benchmarks" / "tasks.json").read_text(encoding="utf-8"))
    section = RESULTS.split(record.BEGIN)[1].split(record.END)[0]
    assert section == f"\n{record.markdown(whole)}\n"
