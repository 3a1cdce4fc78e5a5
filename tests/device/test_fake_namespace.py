"""What the fake device offers is what the installed CuPy has: names, arguments and their order."""

from __future__ import annotations

import inspect
import re
import sys
from typing import Any

import fake_cupy
import numpy as np
import pytest
from fake_device import XP, FakeArray

cupy = pytest.importorskip("cupy", reason="the fake device is held against an installed cupy")

ALL_FUNCTIONS = {
    **fake_cupy.FUNCTIONS, **{f"linalg.{name}": k for name, k in fake_cupy.LINALG.items()},
}  # fmt: skip


def _found(name: str) -> Any:
    where = cupy
    for part in name.split("."):
        where = getattr(where, part)
    return where


def _lists(known: str, theirs: list[str], unseen: frozenset[str] | set[str] = frozenset()) -> None:
    """`known` must begin like CuPy's arguments, and name none that CuPy has not."""
    by_position, _, by_name = known.partition("*")
    places = by_position.split()
    assert theirs[: len(places)] == places
    assert set(by_name.split()) <= set(theirs) | set(unseen)


def test_cupy_imports_without_a_gpu() -> None:
    assert "cupy" in sys.modules and cupy.__version__


@pytest.mark.parametrize("name", sorted(ALL_FUNCTIONS))
def test_function_has_these_arguments(name: str) -> None:
    theirs = list(inspect.signature(_found(name)).parameters)
    if ALL_FUNCTIONS[name]:
        _lists(ALL_FUNCTIONS[name], theirs, fake_cupy.UNSEEN_ARGUMENTS.get(name, set()))


def test_pad_takes_a_constant() -> None:
    """`constant_values` hides in **kwargs, but CuPy's documentation names it."""
    assert "constant_values" in cupy.pad.__doc__


def test_ufuncs_are_ufuncs() -> None:
    assert [n for n in fake_cupy.UFUNCS if not isinstance(getattr(cupy, n, None), cupy.ufunc)] == []
    assert all(getattr(cupy, n).nin == getattr(np, n).nin for n in fake_cupy.UFUNCS)
    assert "out" in inspect.signature(cupy.matmul).parameters


def test_constants_and_dtypes_are_the_same() -> None:
    assert all(hasattr(cupy, name) for name in fake_cupy.CONSTANTS)
    assert all(getattr(cupy, name) is getattr(np, name) for name in fake_cupy.DTYPES)


@pytest.mark.parametrize("name", sorted(fake_cupy.METHODS | fake_cupy.VARIADIC_METHODS))
def test_method_has_these_arguments(name: str) -> None:
    """Compiled methods show their arguments in the first line of their documentation."""
    first = getattr(cupy.ndarray, name).__doc__.splitlines()[0]
    listed = re.search(r"\((.*?)\)(?: ->|$)", first)
    assert listed is not None, first
    words = [re.sub(r"[=:].*", "", part).split()[-1] for part in listed[1].split(", ")]
    known = fake_cupy.METHODS.get(name)
    if known is None:
        assert set(fake_cupy.VARIADIC_METHODS[name].split()) <= set(words)
    else:
        _lists(known, words[1:])


def test_attributes_exist() -> None:
    assert [a for a in fake_cupy.ATTRIBUTES if not hasattr(cupy.ndarray, a)] == []


def test_operators_are_those_of_cupy() -> None:
    """Neither more (an __index__ that CuPy lacks would hide a copy) nor one that is missing."""
    plumbing = re.compile(
        r"__(array_.*|bytes|class.*|cuda.*|del.*|dir|dlpack|doc|format|get.*|init.*|module|new|"
        r"pyx.*|reduce.*|repr|set.*|sizeof|slots|str|subclasshook|r?divmod|i?div|hex|oct|pos|"
        r"weakref|annotations|firstlineno|static.*|match_args)__"
    )

    def operators(kind: type) -> set[str]:
        return {n for n in dir(kind) if n.startswith("__") and not plumbing.fullmatch(n)}

    assert operators(FakeArray) == operators(cupy.ndarray)


def test_arrays_can_be_watched_but_not_hashed() -> None:
    """`graph.touch` refers to arrays weakly and by identity; it must work on CuPy's."""
    assert cupy.ndarray.__weakrefoffset__ and cupy.ndarray.__hash__ is None
    assert FakeArray.__weakrefoffset__ and FakeArray.__hash__ is None


def test_namespace_offers_nothing_else() -> None:
    listed = {*fake_cupy.CONSTANTS, *fake_cupy.DTYPES, *fake_cupy.UFUNCS, *fake_cupy.FUNCTIONS}
    assert set(vars(XP)) == listed | {*fake_cupy.GENERALISED, "linalg", "ndarray", "asnumpy"}
    assert [name for name in vars(XP) if not hasattr(cupy, name)] == []


def test_special_functions_exist() -> None:
    from cupyx import scatter_add
    from cupyx.scipy.special import erf

    assert "float32" in scatter_add.__doc__ and erf.types == ["e->d", "f->f", "d->d"]
