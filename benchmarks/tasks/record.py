"""tasks.json and the section "What it learns" of RESULTS.md."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import fmean
from typing import Any

from .task import Task

__all__ = ["entry", "joined", "line", "markdown", "record", "recorded", "verdict"]

HERE = Path(__file__).parents[1]
DATA, RESULTS = HERE / "tasks.json", HERE / "RESULTS.md"
WIDE = 6  # a task with more figures than this has them in a table of its module,
FIRST = 3  # and these in the table of all tasks
BEGIN, END = "<!-- learned: begin -->", "<!-- learned: end -->"
Entry = dict[str, Any]
Record = dict[str, Entry]


# ------------------------------------------------------------------------------------ one task
def entry(task: Task, rows: list[dict[str, Any]]) -> Entry:
    """What is recorded of a task; rows as a worker made them."""
    last = max(rows, key=lambda row: row["when"])
    return {
        "title": task.title, "target": task.target, "note": task.note, "seeds": task.seeds,
        "met": task.met([row["figures"] for row in rows]), "threads": task.threads,
        **{name: last[name] for name in ("settings", "machine", "versions", "when")},
        "rows": [
            {n: row[n] for n in ("seed", "figures", "seconds", "cpu")}
            | {"commit": row["versions"]["commit"]}
            for row in rows
        ],
    }  # fmt: skip


def recorded(task: Task, data: Path = DATA) -> list[dict[str, Any]]:
    """The rows that are recorded with the task's settings, as a worker made them."""
    found = _read(data).get(task.name)
    if found is None or found["settings"] != json.loads(json.dumps(dict(task.settings))):
        return []
    about = {name: found[name] for name in ("settings", "machine", "when")}
    return [
        {**row, **about, "versions": {**found["versions"], "commit": _commit(found, row)}}
        for row in found["rows"]
    ]


def joined(old: list[dict[str, Any]], new: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows by seed; a new one takes the place of an old one."""
    rows = {row["seed"]: row for row in (*old, *new)}
    return [rows[seed] for seed in sorted(rows)]


def _commit(found: Entry, row: Mapping[str, Any]) -> str:
    """Of the row, or of the whole entry in records that kept no other."""
    commit: str = row.get("commit", found["versions"]["commit"])
    return commit


def verdict(found: Entry) -> str:
    """met or missed, and on how many seeds if not on all."""
    word, done = "met" if found["met"] else "missed", len(found["rows"])
    return word if done >= found["seeds"] else f"{word} on {done} of {found['seeds']} seeds"


def line(name: str, found: Entry) -> str:
    """An entry on one line."""
    return f"{name}: {verdict(found)}; {_figures(found, ', ')}; {_time(found)}; {found['target']}"


def _figures(found: Entry, between: str) -> str:
    return between.join(f"{name} {value}" for name, value in _means(found).items())


def _means(found: Entry) -> dict[str, str]:
    rows = [row["figures"] for row in found["rows"]]
    shown = [name for name in rows[0] if not name.startswith("_")]  # the others are in the file
    columns = {name: [row[name] for row in rows if name in row] for name in shown}
    return {name: _mean(values) for name, values in columns.items()}


def _listed(figures: Mapping[str, float]) -> str:
    return ", ".join(f"{n} {_digits(v)}" for n, v in figures.items() if not n.startswith("_"))


def _mean(values: list[float]) -> str:
    low, high = _digits(min(values)), _digits(max(values))
    return _digits(fmean(values)) + (f" ({low} … {high})" if low != high else "")


def _digits(value: float) -> str:
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"


def _time(found: Entry) -> str:
    """Wall time of a seed, on average."""
    seconds = fmean(row["seconds"] for row in found["rows"])
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


# -------------------------------------------------------------------------------------- the files
def record(new: Mapping[str, Entry], data: Path = DATA, results: Path = RESULTS) -> None:
    """Put these entries in the place of those of their names; write both files."""
    with _alone(data.parent):
        whole = dict(sorted({**_read(data), **new}.items()))
        _write(data, json.dumps(whole, indent=1, ensure_ascii=False) + "\n")
        before, rest = results.read_text(encoding="utf-8").split(BEGIN)
        after = rest.split(END)[1]
        _write(results, f"{before}{BEGIN}\n{markdown(whole)}\n{END}{after}")


def _read(data: Path) -> Record:
    whole: Record = json.loads(data.read_text(encoding="utf-8")) if data.exists() else {}
    return whole


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold off others that record at the same time, where the system has locks."""
    try:
        import fcntl
    except ImportError:
        yield
        return
    held = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield
    finally:
        os.close(held)


def _write(path: Path, text: str) -> None:
    half = path.with_name(f".{path.name}.half")
    half.write_text(text, encoding="utf-8")
    os.replace(half, path)


def markdown(whole: Record) -> str:
    """The table, what it was measured on, notes, wide tables, and the figures of every seed."""
    parts = (_table, _about, _notes, _wide_tables, _every_seed)
    return "\n".join(line for part in parts for line in part(whole))


def _table(whole: Record) -> Iterator[str]:
    words = [verdict(found) for found in whole.values()]
    short = sum(word.startswith("met on") for word in words)
    yield (
        f"**{words.count('met')} of {len(words)} targets met**, {short} more on the seeds run "
        "so far. Figures: means over seeds (least … most).\n"
    )
    yield "| task | at least | figures | seeds | a seed takes | |"
    yield "|---|---|---|---|---|---|"
    for name, found in whole.items():
        cells = [
            f"{found['title']} (`{name}`)", found["target"], _first_figures(found),
            str(len(found["rows"])), _time(found), verdict(found),
        ]  # fmt: skip
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _first_figures(found: Entry) -> str:
    """All of a few, else the first: the others are in a table of their own."""
    means = _means(found)
    shown = means if len(means) <= WIDE else dict([*means.items()][:FIRST])
    return "<br>".join(f"{name} {value}" for name, value in shown.items())


def _about(whole: Record) -> Iterator[str]:
    machines = {_machine(found["machine"]) for found in whole.values()}
    yield f"\nMachine: {'; '.join(sorted(machines))}."
    shown = ("Python", "numpy", "llvmlite")
    stacks = {", ".join(f"{n} {f['versions'][n]}" for n in shown) for f in whole.values()}
    days = sorted({found["when"] for found in whole.values()})
    yield f"Versions: {'; '.join(sorted(stacks))}. Run: {' to '.join({days[0]: 0, days[-1]: 0})}."


def _machine(about: Mapping[str, Any]) -> str:
    named = ", ".join(f"{name}={value}" for name, value in about["overrides"].items())
    found = f"{about['processor']}, {about['cores']} cores, {about['memory']}, {about['system']}"
    return found + (f", with {named} set" if named else "")


def _notes(whole: Record) -> Iterator[str]:
    for name, found in whole.items():
        if found["note"]:
            yield f"\n- `{name}`: {found['note']}"


def _wide_tables(whole: Record) -> Iterator[str]:
    """Means of all figures, one table for each module with tasks of many."""
    wide = {name: found for name, found in whole.items() if len(_means(found)) > WIDE}
    for module in dict.fromkeys(name.partition(".")[0] for name in wide):
        mine = {n: found for n, found in wide.items() if n.partition(".")[0] == module}
        columns = list(dict.fromkeys(c for found in mine.values() for c in _means(found)))
        yield f"\nAll figures of `{module}`, means over the seeds:\n"
        yield f"| | {' | '.join(columns)} |"
        yield "|---|" + "---|" * len(columns)
        for name, found in mine.items():
            means = {n: value.partition(" ")[0] for n, value in _means(found).items()}
            cells = [means.get(column, "") for column in columns]
            yield f"| {name.partition('.')[2]} | {' | '.join(cells)} |"


def _every_seed(whole: Record) -> Iterator[str]:
    yield "\n<details><summary>Every seed</summary>\n"
    yield "| task | seed | figures | wall time | processor time | commit |"
    yield "|---|---|---|---|---|---|"
    for name, found in whole.items():
        for row in found["rows"]:
            figures = _listed(row["figures"])
            times = f"{row['seconds']:.0f} s | {row['cpu']:.0f} s | {_commit(found, row)}"
            yield f"| `{name}` | {row['seed']} | {figures} | {times} |"
    yield "\n</details>"
