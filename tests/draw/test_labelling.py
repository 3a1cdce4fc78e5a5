"""The picture of a labelling names each label once, where it is said."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tinygrad_rnn.draw import plot_labelling
from tinygrad_rnn.draw.labelling import _peaks
from tinygrad_rnn.errors import ArgumentError, ShapeError

matplotlib = pytest.importorskip("matplotlib", reason="pictures need matplotlib")


FOUND = np.tile([0.9, 0.05, 0.05], (20, 1))
FOUND[4:7] = [[0.3, 0.6, 0.1], [0.1, 0.8, 0.1], [0.4, 0.5, 0.1]]
FOUND[12] = [0.2, 0.1, 0.7]
FOUND[15] = [0.1, 0.9, 0.0]


def test_a_peak_is_the_top_of_a_stretch() -> None:
    assert _peaks(FOUND[:, 1]) == [5, 15]
    assert _peaks(FOUND[:, 2]) == [12]
    assert _peaks(np.zeros(9)) == []


def test_labels_stand_above_their_peaks(tmp_path: Path) -> None:
    heard = np.random.default_rng(0).random((60, 8))
    with matplotlib.rc_context({"svg.fonttype": "none"}):
        path = tmp_path / "labels.svg"
        plot_labelling(path, heard, FOUND, ["blank", "A", "B"], seconds=2, title="Two labels")
    text = path.read_text(encoding="utf-8")
    assert [text.count(f">{name}<") for name in ("A", "B", "blank")] == [2, 1, 1]
    assert "Two labels" in text and "mel band" in text and "seconds" in text


def draw(path: Path, heard: Any = ((1,),), names: str = "-ab", **options: Any) -> None:
    plot_labelling(path, heard, FOUND, list(names), **{"seconds": 1, **options})


BAD: dict[str, tuple[Callable[[Path], object], type[Exception]]] = {
    "names": (lambda path: draw(path, names="-a"), ShapeError),
    "axes": (lambda path: draw(path, heard=[1]), ShapeError),
    "time": (lambda path: draw(path, seconds=0), ArgumentError),
    "blank": (lambda path: draw(path, blank=3), ArgumentError),
    "file": (lambda path: draw(path.parent / "absent" / path.name), ArgumentError),
}


@pytest.mark.parametrize("name", BAD)
def test_a_mistake_is_named(name: str, tmp_path: Path) -> None:
    call, error = BAD[name]
    with pytest.raises(error):
        call(tmp_path / "x.png")
    assert list(tmp_path.iterdir()) == []
