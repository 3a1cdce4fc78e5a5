"""Tables from measures: on the terminal, as JSON, in RESULTS.md, and as a picture.

    python -m benchmarks.report benchmarks/results.json

writes the tables of RESULTS.md and the picture anew from a file. A report is a dict: "part/threads"
→ what was measured there, when, and on what.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from .measure import Measure, from_json, verdict

__all__ = [
    "disturbance",
    "heading",
    "line",
    "load",
    "markdown",
    "merged",
    "record",
    "save",
    "summary",
]

HERE = Path(__file__).parent
RESULTS, PICTURE, DATA = (HERE / name for name in ("RESULTS.md", "results.png", "results.json"))
BEGIN, END = "<!-- tables: begin -->", "<!-- tables: end -->"
SCALES = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"))
SIGNS = {">=": "≥", "<=": "≤"}
BUSY = 0.1  # cores that others may use before a table says so
Report = dict[str, dict[str, Any]]


# ------------------------------------------------------------------------------------ the numbers
def _pair(spread: Any, unit: str) -> str:
    """Minimum and median in a unit that suits the median."""
    scale = 1.0
    if unit == "s":
        scale, unit = next((s for s in SCALES if abs(spread[1]) >= s[0]), SCALES[-1])
    low, median = (_digits(value / scale) for value in spread)
    return f"{low} / {median} {unit}".rstrip() if low != median else f"{low} {unit}".rstrip()


def _digits(value: float) -> str:
    """Three significant digits, without exponent."""
    size = abs(value)
    places = 0 if size >= 100 else 1 if size >= 10 else 2
    return f"{value:.{places}f}" if size >= 0.1 or value == 0 else f"{value:.2g}"


def _cells(m: Measure) -> tuple[str, ...]:
    """what, size, ours, against, theirs, figure, target, met."""
    figure = "" if m.figure == m.ours else _pair(m.figure, _figure_unit(m))
    target = "" if m.target is None else f"{SIGNS[m.sense]} {m.target:g}"
    theirs = _pair(m.theirs, m.unit) if m.theirs else ""
    return (m.what, m.size, _pair(m.ours, m.unit), m.against, theirs, figure, target, verdict(m))


def _figure_unit(m: Measure) -> str:
    return {"times faster": "× faster", "times": "× theirs"}.get(m.kind, m.unit)


# ----------------------------------------------------------------------------------- the terminal
def heading(part: str, threads: int, title: str) -> str:
    """What stands above the lines of a part."""
    return f"\n{part}, {threads} thread{'s' * (threads > 1)}: {title}"


def line(measure: Measure) -> str:
    """A measure on one line."""
    widths = (38, 12, 20, 15, 18, 22, 7)
    *columns, met = _cells(measure)
    text = " ".join(f"{column:<{width}}" for column, width in zip(columns, widths, strict=True))
    return f"  {text} {met}".rstrip()


def disturbance(part: Mapping[str, Any]) -> str:
    """What to say of a part if others kept the machine busy meanwhile."""
    others = part.get("others")
    busy = others is not None and others > BUSY
    return f"Not to be trusted: others kept {others:.1f} cores busy meanwhile." if busy else ""


def summary(report: Report) -> str:
    """How many targets are met, and which are not."""
    judged = [(key, m, verdict(m)) for key in report for m in _measures(report[key])]
    judged = [entry for entry in judged if entry[2]]
    met = sum(verdict == "yes" for _, _, verdict in judged)
    missed = [f"  {key}: {_missed(m, v)}" for key, m, v in judged if v != "yes"]
    errors = [f"  {key}: {part['error']}" for key, part in report.items() if part.get("error")]
    return "\n".join([f"{met} of {len(judged)} targets met", *missed, *errors])


def _missed(m: Measure, verdict: str) -> str:
    *_, figure, target, _met = _cells(m)
    against = f" against {m.against}" if m.against else ""
    value = figure or _pair(m.ours, m.unit)
    kept = f", met {verdict} only" if verdict.startswith("by") else ""
    return f"{m.what} ({m.size}){against}: {value}, target {target}{kept}"


def _measures(part: Mapping[str, Any]) -> list[Measure]:
    return [from_json(fields) for fields in part["measures"]]


# --------------------------------------------------------------------------------------- the files
def load(path: Path) -> Report:
    """The report that was saved; an empty one if there is no such file."""
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def merged(old: Report, new: Report) -> Report:
    """The new parts in the place of the old ones; the others stay."""
    return {**old, **new}


def save(report: Report, path: Path) -> None:
    """As JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(report, indent=1, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")


def record(report: Report) -> None:
    """Write results.json, results.png and the tables of RESULTS.md; notes around them stay."""
    from .picture import draw

    save(report, DATA)
    draw(report, PICTURE)
    text = RESULTS.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    RESULTS.write_text(f"{before}{BEGIN}\n{markdown(report)}\n{END}{after}", encoding="utf-8")


# ------------------------------------------------------------------------------------- RESULTS.md
def markdown(report: Report) -> str:
    """All tables, the machine above them."""
    return "\n".join([*_about(report), *_verdicts(report), *_tables(report)])


def _about(report: Report) -> Iterator[str]:
    """The machine and the versions; more than one line of each if the parts differ."""
    parts = list(report.values())
    for machine in _distinct(part["machine"] for part in parts):
        yield (
            f"Machine: {machine['processor']}, {machine['cores']} cores, {machine['memory']}, "
            f"{machine['system']}.\n"
        )
        if machine["overrides"]:
            named = ", ".join(f"{n}={v}" for n, v in machine["overrides"].items())
            yield f"Set in the environment, and kernels may not be the best here: {named}.\n"
    for versions in _distinct(part["versions"] for part in parts):
        yield "Versions: " + ", ".join(f"{n} {v}" for n, v in versions.items()) + ".\n"
    days = [part["when"] for part in parts]
    yield f"Measured: {' to '.join(_distinct([min(days), max(days)]))}.\n"


def _distinct(values: Any) -> list[Any]:
    kept: list[Any] = []
    for value in values:
        if value not in kept:
            kept.append(value)
    return kept


def _verdicts(report: Report) -> Iterator[str]:
    first, *missed = summary(report).splitlines()
    yield f"**{first}.**" + (" Those that are not:\n" if missed else "\n")
    yield from (f"- {entry.strip()}" for entry in missed)


def _tables(report: Report) -> Iterator[str]:
    for part in report.values():
        title = heading(part["part"], part["threads"], part["title"]).strip()
        yield f"\n### {title}\n"
        if disturbance(part):
            yield f"{disturbance(part)}\n"
        yield "| measure | T, B, H | ours | against | theirs | figure | target | met |"
        yield "|---|---|---|---|---|---|---|---|"
        yield from ("| " + " | ".join(_cells(m)) + " |" for m in _measures(part))


if __name__ == "__main__":
    record(load(Path(sys.argv[1])))
