"""Every engine gives what the loop gives: values, gradients, second order, whatever the options."""

from __future__ import annotations

from typing import Any

import pytest
from scan_cells import CELLS, difference, measured

import tinygrad_rnn as tg
from tinygrad_rnn.compiler import fallbacks
from tinygrad_rnn.scan import ENGINES

NAMES = sorted(name for name in ENGINES if name != "loop")
OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "one": {"steps": 1},
    "two_reversed": {"steps": 2, "reverse": True},
    "lengths": {"lengths": [7, 3, 1, 5]},
    "truncate": {"truncate": 3},
    "checkpoint": {"checkpoint_every": 3},
    "everything": {
        "lengths": [7, 3, 1, 5],
        "reverse": True,
        "truncate": 2,
        "checkpoint_every": 3,
    },
}
FALLS_BACK: dict[tuple[str, str], str] = {
    ("pieces", "lengths"): "rows",
    ("pieces", "everything"): "rows",
}


@pytest.mark.parametrize("engine", NAMES)
@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("name", CELLS)
def test_equals_the_loop(name: str, option: str, engine: str) -> None:
    options = dict(OPTIONS[option])
    if "lengths" in options:
        options["lengths"] = tg.tensor(options["lengths"])
    if (name, option) in FALLS_BACK:
        pytest.skip("outputs without rows have no lengths")
    second = option in ("plain", "everything")
    fallbacks.clear()
    found = measured(name, engine, second=second, **options)
    assert not fallbacks
    assert difference(found, measured(name, "loop", second=second, **options)) < 1e-12
