"""A matrix in panels has each number in its place, in whatever order the matrix is kept."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("llvmlite")

from tinygrad_rnn.compiler.llvm_panels import packed, panel


def orders(matrix: Any) -> dict[str, Any]:
    """The same matrix, kept in different ways."""
    rows, columns = matrix.shape
    found = {
        "rows": matrix,
        "read only": matrix.copy(),
        "columns": np.asfortranarray(matrix),
        "upside down": matrix[::-1].copy()[::-1],
        "right to left": np.asfortranarray(matrix[:, ::-1])[:, ::-1],
        "every second row": np.empty((2 * rows, columns), matrix.dtype)[::2],
        "every second number": np.empty((rows, 2 * columns), matrix.dtype)[:, ::2],
        "every second column": np.empty((2 * columns, rows), matrix.dtype)[::2].T,
        "part of columns": np.empty((columns, rows + 3), matrix.dtype)[:, 1:-2].T,
    }
    found["read only"].flags.writeable = False
    for name in list(found)[-4:]:
        found[name][...] = matrix
    return found


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("inner", [1, 3, 4, 16, 37])
@pytest.mark.parametrize("panels", [1, 3])
def test_each_number_is_in_its_place(dtype: str, inner: int, panels: int) -> None:
    width = panel(np.dtype(dtype))
    matrix = np.arange(inner * panels * width, dtype=dtype).reshape(inner, panels * width)
    expected = matrix.reshape(inner, panels, width).transpose(1, 0, 2)
    for name, array in orders(matrix).items():
        np.testing.assert_array_equal(packed(array), expected, err_msg=name)
