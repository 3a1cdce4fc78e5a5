"""The house has floors, and imports go only downward: read off the source, not promised.

A module imports lower floors and its own package; single files of one floor may use each other.
NumPy is the only third-party import at module level. The optional packages are imported inside a
function, each in one module alone, and nothing else is imported there.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import NamedTuple

import pytest
from floors import FLOOR_OF, PACKAGE

ROOT = Path(__file__).resolve().parents[1]

# Optional packages and the import names that come with each.
OPTIONAL = {
    "cupy": "cupy",
    "cupy_backends": "cupy",
    "cupyx": "cupy",
    "llvmlite": "llvmlite",
    "matplotlib": "matplotlib",
    "mpi4py": "mpi4py",
    "onnx": "onnx",
    "onnxruntime": "onnxruntime",
    "pooch": "pooch",
    "pydoc_data": "pydoc_data",  # half a megabyte of text; some distributions leave it out
    "safetensors": "safetensors",
    "tqdm": "tqdm",
}


class Import(NamedTuple):
    """One import statement (or call) of one module."""

    source: str  # dotted name of the importing module
    line: int
    target: str  # dotted name of the imported module
    in_function: bool
    for_types: bool  # under `if TYPE_CHECKING:`, so absent at run time

    def __str__(self) -> str:
        return f"{self.source}:{self.line} imports {self.target}"


def room(module: str) -> str:
    """The file or folder on a floor to which a module belongs; the façade is a room too."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else PACKAGE


def top(module: str) -> str:
    return module.split(".")[0]


@dataclass
class House:
    """A package read from its source."""

    modules: dict[str, Path]
    imports: list[Import]

    @classmethod
    def read(cls, folder: Path) -> House:
        modules = {dotted(path, folder.parent): path for path in sorted(folder.rglob("*.py"))}
        found = [i for name, path in modules.items() for i in Reader(name, path, modules).read()]
        return cls(modules, found)

    def is_file(self, name: str) -> bool:
        """Whether a room is a single file rather than a folder."""
        path = self.modules.get(f"{PACKAGE}.{name}")
        return path is not None and path.name != "__init__.py"

    def inner(self) -> Iterator[Import]:
        return (i for i in self.imports if top(i.target) == PACKAGE)

    def third_party(self) -> Iterator[Import]:
        own = {PACKAGE, *sys.stdlib_module_names}
        return (i for i in self.imports if top(i.target) not in own)


def dotted(path: Path, base: Path) -> str:
    parts = path.relative_to(base).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


class Reader(ast.NodeVisitor):
    """Collects the imports of one module."""

    def __init__(self, name: str, path: Path, modules: dict[str, Path]) -> None:
        self.name, self.path, self.modules = name, path, modules
        self.package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        self.found: list[Import] = []
        self.in_function = self.for_types = False

    def read(self) -> list[Import]:
        self.visit(ast.parse(self.path.read_text(encoding="utf-8")))
        return self.found

    def add(self, node: ast.AST, target: str) -> None:
        line = getattr(node, "lineno", 0)
        self.found.append(Import(self.name, line, target, self.in_function, self.for_types))

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            self.add(node, alias.name)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        base = node.module or ""
        if node.level:
            parents = self.package.split(".")
            base = ".".join([*parents[: len(parents) - node.level + 1], *([base] if base else [])])
        for alias in node.names:
            submodule = f"{base}.{alias.name}"
            self.add(node, submodule if submodule in self.modules else base)

    def visit_Call(self, node: ast.Call) -> None:
        called = ast.unparse(node.func)
        if called in ("__import__", "import_module", "importlib.import_module"):
            first = node.args[0] if node.args else None
            known = isinstance(first, ast.Constant) and isinstance(first.value, str)
            self.add(node, str(first.value) if known else "<computed>")  # type: ignore[union-attr]
        self.generic_visit(node)

    def visit_If(self, node: ast.If) -> None:
        before = self.for_types
        self.for_types |= ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")
        for child in node.body:
            self.visit(child)
        self.for_types = before
        for child in node.orelse:
            self.visit(child)

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) -> None:
        before, self.in_function = self.in_function, True
        self.generic_visit(node)
        self.in_function = before

    visit_AsyncFunctionDef = visit_FunctionDef  # noqa: N815
    visit_Lambda = visit_FunctionDef  # noqa: N815


# ------------------------------------------------------------------------------- the rules
def without_floor(house: House) -> list[str]:
    """A new room must be given a floor before anybody moves in."""
    rooms = sorted({room(name) for name in house.modules} - FLOOR_OF.keys())
    return [f"{name} has no floor: add it to tests/floors.py" for name in rooms]


def upward(house: House) -> list[str]:
    """Imports, those for types too, that go neither down nor stay in their own package."""

    def allowed(i: Import) -> bool:
        source, target = room(i.source), room(i.target)
        below = FLOOR_OF.get(target, -1) - FLOOR_OF.get(source, -1)
        files = house.is_file(source) and house.is_file(target)
        return source == target or below < 0 or (below == 0 and files)

    return [f"{i}, which is not on a lower floor" for i in house.inner() if not allowed(i)]


def cycles(house: House) -> list[str]:
    """Circles of modules that need each other when they are imported."""
    graph: dict[str, set[str]] = defaultdict(set)
    for i in house.inner():
        if not i.for_types:
            graph[i.source].add(i.target)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return ["import cycle: " + " <- ".join(error.args[1])]
    return []


def not_numpy(house: House) -> list[str]:
    """Third-party imports at module level; only NumPy may stand there."""
    outside = (i for i in house.third_party() if not i.in_function and not i.for_types)
    return [f"{i} at module level" for i in outside if top(i.target) != "numpy"]


def late(house: House) -> list[str]:
    """Late imports of anything but an optional package; the façade may name its rooms late."""
    inside = (i for i in house.imports if i.in_function and i.source != PACKAGE)
    return [f"{i} inside a function" for i in inside if top(i.target) not in OPTIONAL]


def scattered(house: House) -> list[str]:
    """Optional packages that more than one module imports."""
    users: dict[str, set[str]] = defaultdict(set)
    for i in house.imports:
        if top(i.target) in OPTIONAL:
            users[OPTIONAL[top(i.target)]].add(i.source)
    many = {name: sorted(found) for name, found in users.items() if len(found) > 1}
    return [f"{name} is imported in {', '.join(found)}" for name, found in many.items()]


RULES: list[Callable[[House], list[str]]] = [
    without_floor,
    upward,
    cycles,
    not_numpy,
    late,
    scattered,
]


@pytest.fixture(scope="module")
def house() -> House:
    return House.read(ROOT / PACKAGE)


@pytest.mark.parametrize("rule", RULES)
def test_package_keeps_the_rule(rule: Callable[[House], list[str]], house: House) -> None:
    assert house.modules, f"no module found under {PACKAGE}"
    broken = rule(house)
    assert not broken, "\n".join(broken)


# ------------------------------------------------------- each rule can fail, and only it does
BREACHES: list[tuple[Callable[[House], list[str]], dict[str, str]]] = [
    (without_floor, {"attic.py": ""}),
    (without_floor, {"attic/__init__.py": "", "attic/box.py": ""}),
    (upward, {"graph.py": "from .scan import x"}),
    (upward, {"graph.py": f"from {PACKAGE} import scan", "scan.py": ""}),
    (upward, {"graph.py": f"import {PACKAGE}"}),
    (upward, {"optim/__init__.py": "from ..nn import x", "nn/__init__.py": ""}),
    (upward, {"losses/__init__.py": "from ..functional import x", "functional.py": ""}),
    (upward, {"graph.py": "if TYPE_CHECKING:\n    from .ops import x", "ops/__init__.py": ""}),
    (upward, {"graph.py": f"import importlib\nimportlib.import_module('{PACKAGE}.scan')"}),
    (cycles, {"graph.py": "from . import tensor", "tensor.py": "from . import graph"}),
    (cycles, {"ops/__init__.py": "from .a import x", "ops/a.py": "from . import x"}),
    (not_numpy, {"graph.py": "import scipy"}),
    (not_numpy, {"graph.py": "try:\n    import tqdm\nexcept ImportError:\n    tqdm = None"}),
    (late, {"graph.py": "def f():\n    import json"}),
    (late, {"scan.py": "def f():\n    from .graph import x", "graph.py": ""}),
    (late, {"graph.py": "def f():\n    import scipy"}),
    (late, {"graph.py": "def f(name):\n    __import__(name)"}),
    (
        scattered,
        {"graph.py": "def f():\n    import cupy", "scan.py": "def f():\n    import cupyx.scipy"},
    ),
]
SOUND = {
    "__init__.py": "from .scan import scan\nfrom .ops import add",
    "errors.py": "import numpy as np",
    "backend.py": "from .errors import x\nx = lambda: __import__('cupy')",
    "tensor.py": "if TYPE_CHECKING:\n    from . import graph\nelse:\n    import json",
    "graph.py": "from .tensor import x",
    "ops/__init__.py": "from . import a\nfrom .a import add",
    "ops/a.py": "from ..tensor import x\nfrom .. import errors",
    "scan.py": f"from .graph import x\nfrom {PACKAGE}.ops import add",
    "cli.py": f"import {PACKAGE} as tg",
}


def build(folder: Path, files: dict[str, str]) -> House:
    for name, text in {"__init__.py": "", **files}.items():
        path = folder / PACKAGE / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return House.read(folder / PACKAGE)


@pytest.mark.parametrize(("rule", "files"), BREACHES)
def test_rule_notices_a_breach(
    rule: Callable[[House], list[str]], files: dict[str, str], tmp_path: Path
) -> None:
    broken = [each.__name__ for each in RULES if each(build(tmp_path, files))]
    assert broken == [rule.__name__]


def test_a_sound_house_breaks_no_rule(tmp_path: Path) -> None:
    sound = build(tmp_path, SOUND)
    assert [problem for rule in RULES for problem in rule(sound)] == []


def test_importing_the_package_loads_no_third_party_module_but_numpy() -> None:
    script = (
        "import sys, numpy.random\n"  # which NumPy itself loads late, with Cython's helpers
        "before = set(sys.modules)\n"
        f"import {PACKAGE}\n"
        "print(*sorted({name.split('.')[0] for name in set(sys.modules) - before}))"
    )
    result = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    loaded = set(result.stdout.split())
    assert PACKAGE in loaded
    assert loaded - {PACKAGE, "numpy", *sys.stdlib_module_names} == set()
