"""Numbers in float32 drawn for all steps by compiled code: those of NumPy's generator."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("llvmlite")

import tinygrad_rnn as tg
from tinygrad_rnn.compiler import llvm_draws
from tinygrad_rnn.compiler.draws import drawn

SHAPES = st.lists(st.sampled_from([(2,), (4, 3), (), (3,), (1, 2, 5), (0, 2)]), min_size=1)


def one_by_one(
    generator: np.random.Generator, shapes: list[tuple[int, ...]], length: int, reverse: bool
) -> list[Any]:
    """What the loop draws."""
    found = [np.empty((length, *shape), np.float32) for shape in shapes]
    for t in range(length)[:: -1 if reverse else 1]:
        for shape, array in zip(shapes, found, strict=True):
            array[t] = generator.random(shape, np.float32)
    return found


@given(shapes=SHAPES, length=st.integers(1, 5), reverse=st.booleans(), begun=st.booleans())
def test_numbers_are_those_that_the_loop_draws(
    shapes: list[tuple[int, ...]], length: int, reverse: bool, begun: bool
) -> None:
    """Also if half of 64 bits is left from before; and the generator goes on as from there."""
    generator = np.random.Generator(np.random.PCG64(7))
    tg.manual_seed(7)
    if begun:
        generator.random(dtype=np.float32)
        tg.rand(1)
    found = drawn([("random", shape, np.float32) for shape in shapes], length, reverse)
    for mine, right in zip(found, one_by_one(generator, shapes, length, reverse), strict=True):
        np.testing.assert_array_equal(mine.numpy(), right)
    np.testing.assert_array_equal(tg.rand(3).numpy(), generator.random(3, np.float32))


@pytest.mark.parametrize(
    ("shapes", "begun", "kind", "mine"),
    [
        ([(2, 3), (4,)], False, np.random.PCG64, True),
        ([(2, 3), (3,)], False, np.random.PCG64, False),  # ends with half of the bits
        ([(2, 3), (4,)], True, np.random.PCG64, False),  # begins with half of them
        ([(2, 3), (4,)], False, np.random.SFC64, False),
    ],
)
def test_what_compiled_code_draws(shapes: Any, begun: bool, kind: Any, mine: bool) -> None:
    generator = np.random.Generator(kind(0))
    if begun:
        generator.random(dtype=np.float32)
    before = generator.bit_generator.state
    found = llvm_draws.uniform(generator, shapes, 3, False)
    assert (found is not None) == mine
    if found is None:  # then the generator is as it was
        assert str(generator.bit_generator.state) == str(before)
    else:
        assert [len(array.reshape(3, -1)[0]) for array in found] == [prod(s) for s in shapes]


def test_numbers_are_below_one_and_fill_the_interval() -> None:
    tg.manual_seed(0)
    (numbers,) = drawn([("random", (1000,), np.float32)], 40, False)
    array = numbers.numpy()
    assert array.min() >= 0 and array.max() < 1
    assert abs(float(array.mean(dtype=np.float64)) - 0.5) < 0.005
