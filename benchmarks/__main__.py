"""The command line: `python -m benchmarks [PART…] [--quick] [--threads 1,2] [--record]`."""

from __future__ import annotations

import argparse
import sys
from datetime import date
from pathlib import Path
from typing import Any

from .measure import from_json
from .parts import PARTS, THREADED
from .picture import draw
from .processes import environment, lines_of
from .report import (
    DATA,
    Report,
    disturbance,
    heading,
    line,
    load,
    merged,
    record,
    save,
    summary,
)

__all__ = ["main"]

RUNS = Path("runs")


def main(arguments: list[str] | None = None) -> int:
    """Measure, print, write; 1 if a part came to no end."""
    given = _parser().parse_args(arguments)
    report: Report = {}
    for part, threads in _plan(given):
        report[f"{part}/{threads}"] = _measured(part, threads, given)
        save(report, given.json)  # at once, so that a run that is cut short has not been in vain
    print("\n" + summary(report))
    draw(report, given.picture)
    if given.record:
        record(merged(load(DATA), report))
    return int(any(part["error"] for part in report.values()))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="Speed and memory beside the peers.",
        epilog=f"parts: {', '.join(PARTS)}",
    )  # fmt: skip
    parser.add_argument("parts", nargs="*", metavar="PART", help="all if none is named")
    parser.add_argument("--quick", action="store_true", help="once and tiny: does it run?")
    parser.add_argument(
        "--threads", type=_numbers, default=[1, 2], metavar="N,…",
        help="1 measures everything, more measure the large parts (default: 1,2)",
    )  # fmt: skip
    parser.add_argument("--no-peers", action="store_true", help="ours alone")
    parser.add_argument(
        "--torch-compile", action="store_true", help="torch.compile too (half a minute a size)"
    )
    parser.add_argument(
        "--own-kernels", action="store_true",
        help="drop variables such as OPENBLAS_CORETYPE that keep a library from its best kernels",
    )  # fmt: skip
    parser.add_argument("--json", type=Path, default=RUNS / "benchmarks.json", metavar="FILE")
    parser.add_argument("--picture", type=Path, default=RUNS / "benchmarks.png", metavar="FILE")
    parser.add_argument(
        "--record", action="store_true",
        help="also put what was measured in benchmarks/results.json, .png and RESULTS.md",
    )  # fmt: skip
    return parser


def _numbers(text: str) -> list[int]:
    numbers = [int(word) for word in text.split(",")]
    if min(numbers) < 1:
        raise argparse.ArgumentTypeError("threads are 1 or more")
    return numbers


def _plan(given: argparse.Namespace) -> list[tuple[str, int]]:
    """Parts with their numbers of threads: everything with the first, the large ones with all."""
    unknown = [part for part in given.parts if part not in PARTS]
    if unknown:
        sys.exit(f"no part {', '.join(unknown)}; there are: {', '.join(PARTS)}")
    first, *further = given.threads
    chosen = given.parts or list(PARTS)
    plan = [(part, first) for part in chosen]
    return plan + [(part, n) for n in further for part in chosen if part in THREADED]


def _measured(part: str, threads: int, given: argparse.Namespace) -> dict[str, Any]:
    """One part in a process of its own, printed as it comes."""
    flags = [name for name in ("quick", "no-peers", "torch-compile") if _is_set(given, name)]
    found: dict[str, Any] = {
        "part": part, "threads": threads, "when": date.today().isoformat(), "error": None,
        "measures": [],
    }  # fmt: skip
    command = ["-m", "benchmarks.worker", part, str(threads), *flags]
    for said in lines_of(command, environment(threads, given.own_kernels)):
        if "measure" in said:
            found["measures"].append(said["measure"])
            print(line(from_json(said["measure"])), flush=True)
        elif "error" in said:
            found |= said
            print(f"  {said['error']}", flush=True)
        else:
            found |= said.get("about", said.get("end"))
            if "about" in said:
                print(heading(part, threads, found["title"]), flush=True)
    print(f"  {found['seconds']:.0f} s. {disturbance(found)}".rstrip(), flush=True)
    return found


def _is_set(given: argparse.Namespace, name: str) -> bool:
    return bool(getattr(given, name.replace("-", "_")))


if __name__ == "__main__":
    sys.exit(main())
