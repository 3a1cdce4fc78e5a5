"""Pictures: they are drawn, they show what they should, and nothing else of matplotlib changes."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from tinygrad_rnn.draw import plot_forecast, plot_losses
from tinygrad_rnn.draw.plots import _push_apart
from tinygrad_rnn.errors import ArgumentError

matplotlib = pytest.importorskip("matplotlib", reason="pictures need matplotlib")


def words(path: Path) -> str:
    """All text in a picture; an SVG file keeps it, where matplotlib is told to."""
    texts = ElementTree.parse(path).iter("{http://www.w3.org/2000/svg}text")
    return "\n".join("".join(text.itertext()) for text in texts)


@pytest.fixture(autouse=True)
def _text_in_svg() -> Any:
    with matplotlib.rc_context({"svg.fonttype": "none"}):
        yield


def size(path: Path) -> tuple[int, int]:
    data = path.read_bytes()
    assert data.startswith(b"\x89PNG")
    return int.from_bytes(data[16:20]), int.from_bytes(data[20:24])


def test_losses_with_everything_beside_them(tmp_path: Path) -> None:
    losses = 5 * np.exp(-np.arange(300) / 60)
    options: dict[str, Any] = {
        "validations": [(100, 1.5), (200, 0.5)],
        "smoothed": losses + 0.1,
        "levels": {"1-gram 4.60": 4.6, "2-gram 3.26": 3.26},
        "ylabel": "bits per character",
        "title": "A character model",
    }
    plot_losses(tmp_path / "loss.png", losses, **options)
    width, height = size(tmp_path / "loss.png")
    assert width >= 1000
    assert height >= 600
    plot_losses(tmp_path / "loss.svg", losses, **options)
    for word in ("1-gram 4.60", "bits per character", "A character model", "training step"):
        assert word in words(tmp_path / "loss.svg")


def test_a_validation_at_the_last_step_is_seen_whole(tmp_path: Path) -> None:
    plot_losses(tmp_path / "loss.svg", [3.0, 2.0, 1.0], [(1, 2.5), (3, 1.5)])
    cut = "{http://www.w3.org/2000/svg}g[@clip-path]"
    marks = ".//{http://www.w3.org/2000/svg}use"
    picture = ElementTree.parse(tmp_path / "loss.svg")
    assert len(picture.findall(marks)) > 2
    assert [each for group in picture.iterfind(f".//{cut}") for each in group.findall(marks)] == []


@pytest.mark.parametrize("losses", [[1.0], [2.0, 2.0], [1.0, np.nan, 3.0], [1e-9, 1e9]])
@pytest.mark.parametrize("logarithmic", [False, True])
def test_losses_of_any_shape_can_be_drawn(
    losses: list[float], logarithmic: bool, tmp_path: Path
) -> None:
    plot_losses(tmp_path / "loss.png", losses, logarithmic=logarithmic)
    size(tmp_path / "loss.png")


def test_forecasts_in_panels(tmp_path: Path) -> None:
    t = np.arange(30)
    panels = {
        "One step": [("truth", t, np.sin(t)), ("model", t, np.sin(t + 0.1))],
        "Free": [("truth", t, np.sin(t)), ("explodes", t, np.exp(t))],
    }
    plot_forecast(tmp_path / "f.svg", panels, marks={"Free": 10}, ylabel="flow")
    for word in ("One step", "Free", "truth", "explodes", "flow", "time"):
        assert word in words(tmp_path / "f.svg")
    # The frame follows the truth: no tick reaches for what ran away.
    assert "10" in words(tmp_path / "f.svg")
    assert "1e" not in words(tmp_path / "f.svg")


def test_a_constant_truth_can_be_drawn(tmp_path: Path) -> None:
    plot_forecast(tmp_path / "f.png", {"flat": [("truth", [0, 1], [2.0, 2.0])]})
    size(tmp_path / "f.png")


def test_drawing_leaves_no_trace(tmp_path: Path) -> None:
    before = dict(matplotlib.rcParams)
    plot_losses(tmp_path / "loss.png", [2.0, 1.0])
    assert dict(matplotlib.rcParams) == before


@pytest.mark.parametrize("losses", [[], [[1.0, 2.0]]])
def test_losses_are_one_row_of_numbers(losses: Any, tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="at least one loss"):
        plot_losses(tmp_path / "loss.png", losses)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("panels", [{}, {"empty": []}])
def test_panels_have_curves(panels: Any, tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="panels with a curve each"):
        plot_forecast(tmp_path / "f.png", panels)


@pytest.mark.parametrize("name", ["absent/loss.png", "loss.xyz"])
def test_a_picture_that_cannot_be_written_is_one_clear_error(name: str, tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="a picture file that can be written"):
        plot_losses(tmp_path / name, [1.0])


@pytest.mark.parametrize(
    ("places", "expected"),
    [
        ([], []),
        ([0.1, 0.12, 0.5], [0.085, 0.135, 0.5]),
        ([0.1, 0.2], [0.1, 0.2]),
        ([0.3, 0.3, 0.3], [0.25, 0.3, 0.35]),
        ([0.1, 0.14, 0.18], [0.09, 0.14, 0.19]),
    ],
)
def test_names_are_pushed_apart_to_both_sides(places: list[float], expected: list[float]) -> None:
    assert _push_apart(places, 0.05) == pytest.approx(expected)
