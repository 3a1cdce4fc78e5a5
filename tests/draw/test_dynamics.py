"""Pictures of recurrences: they are drawn, and say what they show."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tinygrad_rnn.draw import plot_gradient_norms, plot_recursions
from tinygrad_rnn.errors import ArgumentError

matplotlib = pytest.importorskip("matplotlib", reason="pictures need matplotlib")


def test_gradient_norms_of_two_networks(tmp_path: Path) -> None:
    fading = 0.9 ** np.arange(50)[::-1]
    with matplotlib.rc_context({"svg.fonttype": "none"}):
        plot_gradient_norms(
            tmp_path / "n.svg", {"ρ = 0.9": fading, "dead": np.zeros(50)}, title="Vanishing"
        )
    text = (tmp_path / "n.svg").read_text(encoding="utf-8")
    assert all(word in text for word in ("ρ = 0.9", "dead", "Vanishing", "time step"))
    with pytest.raises(ArgumentError, match="at least one row"):
        plot_gradient_norms(tmp_path / "n.svg", {})


def test_recursions_with_their_fates(tmp_path: Path) -> None:
    with matplotlib.rc_context({"svg.fonttype": "none"}):
        plot_recursions(tmp_path / "r.svg", weights=[-6.0, -1.0, 0.5, 1.5], steps=200)
    text = (tmp_path / "r.svg").read_text(encoding="utf-8")
    words = ("sigmoid", "tanh", "relu", "fixed point", "cycle of two", "explosion")
    assert [word for word in words if word not in text] == []
    with pytest.raises(ArgumentError, match="sigmoid, tanh, relu"):
        plot_recursions(tmp_path / "r.svg", ["gelu"])
