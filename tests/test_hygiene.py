"""The habits of the house, measured: short files, documented names, sorted ``__all__``."""

from __future__ import annotations

import ast
import importlib
import io
import re
import shutil
import subprocess
import tokenize
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from floors import FLOOR_OF

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "tinygrad_rnn"
MODULES = sorted(PACKAGE.rglob("*.py"))
TEST_FILES = sorted((ROOT / "tests").rglob("test_*.py"))

LONGEST_FILE = 400
CORE_BUDGET = 3600  # lines of code on floors 0 to 3
CHECKS = "arguments"  # stands on floor 3 because floor 4 reads it; the core does not
EVENING = ("graph.py", "tensor.py", "ops/elementwise.py", "autodiff.py", "scan.py")
EVENING_BUDGET = 1200  # lines of code in the five files that a learner reads in an evening

Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


# ---------------------------------------------------------------------------------- measures
def code_lines(source: str) -> int:
    """Lines that are neither blank nor comment nor docstring."""
    empty = {
        tokenize.COMMENT,
        tokenize.NL,
        tokenize.NEWLINE,
        tokenize.INDENT,
        tokenize.DEDENT,
        tokenize.ENCODING,
        tokenize.ENDMARKER,
    }
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in empty:
            lines.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, Documented) and ast.get_docstring(node, clean=False) is not None:
            first = node.body[0]
            lines.difference_update(range(first.lineno, (first.end_lineno or 0) + 1))
    return len(lines)


def undocumented(tree: ast.Module) -> list[str]:
    """The module itself, and its public functions and classes, that say nothing of themselves."""
    named = [n for n in tree.body if isinstance(n, ast.ClassDef | ast.FunctionDef)]
    public = {n.name: n for n in named if not n.name.startswith("_") and not is_overload(n)}
    everything: dict[str, Documented] = {"the module": tree, **public}
    return [name for name, node in everything.items() if not ast.get_docstring(node)]


def is_overload(node: ast.ClassDef | ast.FunctionDef) -> bool:
    return any(ast.unparse(d).endswith("overload") for d in node.decorator_list)


def repeated_tests(tree: ast.Module) -> list[str]:
    """Test names that occur twice in one scope, where the second silently hides the first."""
    scopes: list[ast.Module | ast.ClassDef] = [tree]
    scopes += [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    named = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    repeated = []
    for scope in scopes:
        names = Counter(n.name for n in scope.body if isinstance(n, named))
        repeated += [name for name, n in names.items() if n > 1 and name.lower()[:4] == "test"]
    return repeated


# A path from the root of somebody's machine; one inside a longer word or address is none.
MACHINE_PATH = re.compile(
    r"(?<![\w.:)}\]/-])/(?:home|root|work|Users|mnt|tmp|private|opt)/[\w.]|\b[A-Z]:\\\\?Users\\"
)


def tracked_files() -> Iterator[tuple[Path, str]]:
    """Every text file under version control, with its text."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for name in filter(None, listed.stdout.split("\0")):
        try:
            yield ROOT / name, (ROOT / name).read_text(encoding="utf-8")
        except (UnicodeDecodeError, FileNotFoundError):
            continue  # a picture, or a file removed but not yet committed


# -------------------------------------------------------------------------------- the package
@pytest.mark.parametrize("path", [*MODULES, *TEST_FILES], ids=name_of)
def test_a_file_is_short_enough_to_read(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").count("\n")
    assert lines <= LONGEST_FILE


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_module_documents_what_is_public(path: Path) -> None:
    assert undocumented(parse(path)) == []


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_all_is_sorted_and_true(path: Path) -> None:
    if path.name == "__main__.py":  # importing it would run the command line
        return
    parts = path.relative_to(ROOT).with_suffix("").parts
    module = importlib.import_module(".".join(parts).removesuffix(".__init__"))
    private = path.stem.startswith("_") and path.stem != "__init__"  # offers nothing, or says what
    assert private or hasattr(module, "__all__")
    names = list(getattr(module, "__all__", []))
    assert names == sorted(set(names))
    assert [name for name in names if not hasattr(module, name)] == []


def test_core_stays_small() -> None:
    rooms = {p: p.relative_to(PACKAGE).with_suffix("").parts[0] for p in MODULES}
    below = {room for room, floor in FLOOR_OF.items() if floor <= 3} - {CHECKS}
    sources = {name_of(p): p.read_text("utf-8") for p, room in rooms.items() if room in below}
    assert [name for name, source in sources.items() if f"{CHECKS} import" in source] == []
    sizes = {name: code_lines(source) for name, source in sources.items()}
    assert sum(sizes.values()) <= CORE_BUDGET, sizes


def test_the_evening_stays_an_evening() -> None:
    sizes = {n: code_lines((PACKAGE / n).read_text(encoding="utf-8")) for n in EVENING}
    assert sum(sizes.values()) <= EVENING_BUDGET, sizes


# ----------------------------------------------------------------------------- the repository
@pytest.mark.parametrize("path", TEST_FILES, ids=name_of)
def test_no_test_hides_another(path: Path) -> None:
    assert repeated_tests(parse(path)) == []


def test_test_files_have_names_of_their_own() -> None:
    names = Counter(path.name for path in TEST_FILES)
    assert [name for name, n in names.items() if n > 1] == []


@pytest.mark.skipif(
    shutil.which("git") is None or not (ROOT / ".git").exists(), reason="not a git checkout"
)
def test_no_file_names_a_path_of_one_machine() -> None:
    found = [
        f"{name_of(path)}:{text[: match.start()].count(chr(10)) + 1}: {match.group()}"
        for path, text in tracked_files()
        for match in MACHINE_PATH.finditer(text)
    ]
    assert found == []


# ------------------------------------------------------------------------- the measures measure
def test_code_lines_leaves_out_words_and_blanks() -> None:
    source = '"""Words.\n\nMore."""\n\n# comment\nx = """a\n\nb"""  # 3 lines\n\n\n'
    assert code_lines(source) == 3
    assert code_lines(source + 'def f():\n    """Words."""\n    return (\n        1\n    )\n') == 7


def test_undocumented_names_are_found() -> None:
    source = '"""Words."""\ndef f(): ...\ndef _g(): ...\nclass A: ...\nclass B:\n    "Words."\n'
    assert undocumented(ast.parse(source)) == ["f", "A"]
    assert undocumented(ast.parse("")) == ["the module"]


def test_hidden_tests_are_found() -> None:
    method = "    def test_b(self): ...\n"
    source = f"def test_a(): ...\nclass TestA:\n{method}{method}def test_a(): ...\ndef g(): ...\n"
    assert repeated_tests(ast.parse(source)) == ["test_a", "test_b"]


@pytest.mark.parametrize("folder", ["home", "root", "work", "Users", "tmp"])
def test_machine_paths_are_found(folder: str) -> None:
    assert MACHINE_PATH.search(f'open("/{folder}/data.txt")')
    assert not MACHINE_PATH.search(f"https://example.org/{folder}/data.txt")
    assert not MACHINE_PATH.search(f"tests/{folder}/data.txt")
