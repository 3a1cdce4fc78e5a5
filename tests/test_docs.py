"""README and the pages of docs/ tell the truth: their examples run, their links lead somewhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
MUST_EXIST = ["README.md", "adding_a_cell.md", "adding_an_op.md", "architecture.md"]

# Each page is run by a Python of its own: some register primitives, and one must not need another.
RUN_PAGE = """
import doctest, sys
flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
result = doctest.testfile(sys.argv[1], module_relative=False, optionflags=flags, encoding="utf-8")
print(result.attempted, "examples")
sys.exit(result.failed > 0)
"""


def run(*arguments: str) -> str:
    """What a Python prints that runs from the root of the repository; warnings are errors."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"}
    result = subprocess.run(
        [sys.executable, "-W", "error", *arguments],
        cwd=ROOT, env=environment, capture_output=True, encoding="utf-8", check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stderr == ""
    return result.stdout


def name_of(path: Path) -> str:
    return path.name


def test_the_pages_are_there() -> None:
    assert set(MUST_EXIST) <= {path.name for path in PAGES}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_examples_of_a_page_do_what_they_say(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    written = len(re.findall(r"^ *>>> ", text, re.MULTILINE))
    assert run("-c", RUN_PAGE, str(page)) == f"{written} examples\n"


LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")
NAMED = re.compile(r"`((?:docs|examples|tests|benchmarks|scripts)/[\w./]+\.\w+)`")


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_and_files_named_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    links = [page.parent / link for link in LINK.findall(text) if "://" not in link]
    named = [ROOT / name for name in NAMED.findall(text)]
    assert [str(path) for path in [*links, *named] if not path.exists()] == []


COUNTED = re.compile(r"^\| `([\w/]+\.py)` \| (\d+) \|", re.MULTILINE)


def test_reading_order_counts_lines_about_right() -> None:
    rows = COUNTED.findall((ROOT / "docs" / "architecture.md").read_text(encoding="utf-8"))
    assert len(rows) > 10
    lines = {
        name: (ROOT / "tinygrad_rnn" / name).read_text(encoding="utf-8").count("\n")
        for name, _ in rows
    }
    assert {n: said for n, said in rows if abs(int(said) - lines[n]) > 0.15 * lines[n] + 5} == {}


def test_the_map_of_the_compiler_names_every_file() -> None:
    files = {path.stem for path in (ROOT / "tinygrad_rnn" / "compiler").glob("[a-z]*.py")}
    text = (ROOT / "tinygrad_rnn" / "compiler" / "__init__.py").read_text(encoding="utf-8")
    assert files == set(re.findall(r"`(\w+)`", text.split('"""')[1])) - {"scan"}


def test_learn_compares_every_gradient_and_all_agree() -> None:
    output = run("docs/learn.py")
    last = output.rstrip().splitlines()[-1]
    assert re.fullmatch(r"\d+ numbers compared in \d+ lines, and all agree\.", last)
    for words in ("∂f/∂x", "∂f/∂z", "∂(uᵀh_6)/∂W", "D₃W D₂W D₁W", "truncate=3", "H v"):
        assert words in output
    circuit = output.split("2. The circuit")[1].split("\n\n")[0]
    assert re.findall(r"-?\d+\.\d{8}", circuit)[::2][:5] == [
        "3.00000000", "-12.00000000", "-4.00000000", "-4.00000000", "3.00000000",
    ]  # fmt: skip


def test_learn_stops_where_two_numbers_disagree(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "learn.py").read_text(encoding="utf-8")
    rule = "lambda g, out, x: g * (1.0 - out * out)"
    assert rule in text
    broken = tmp_path / "broken.py"
    broken.write_text(text.replace(rule, "lambda g, out, x: g * (1.0 - out)"), encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"}
    result = subprocess.run(
        [sys.executable, str(broken)],
        env=environment, capture_output=True, encoding="utf-8", check=False,
    )  # fmt: skip
    assert result.returncode != 0
    assert "AssertionError: b² + ab" in result.stderr
