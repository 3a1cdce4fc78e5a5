"""The command line with --device cuda, which here is the fake device if there is no other."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from both_devices import TARGET

import tinygrad_rnn as tg
from tinygrad_rnn import backend
from tinygrad_rnn.cli import main
from tinygrad_rnn.decode import as_step, beam_search
from tinygrad_rnn.train import load_char_lm

pytest.importorskip("matplotlib", reason="a training run ends with a picture")

TEXT = "she sells sea shells by the sea shore; the shells she sells are sea shells.\n" * 12
SMALL = "--batch 4 --steps 6 --validate-every 3 --warmup 2".split()


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder to work in, and a device called "cuda"."""
    monkeypatch.chdir(tmp_path)
    device = backend.get_backend(TARGET)
    monkeypatch.setattr(backend, "_by_name", {**backend._by_name, "cuda": device})


def said(arguments: str, capsys: pytest.CaptureFixture[str]) -> str:
    assert main(arguments.split() + (SMALL if arguments.startswith("train") else [])) == 0
    found = capsys.readouterr().out
    assert isinstance(found, str)
    return found


def test_a_text_is_learnt_and_continued(capsys: pytest.CaptureFixture[str]) -> None:
    Path("shore.txt").write_text(TEXT, encoding="utf-8")
    size = "--hidden 8 --embedding 4 --window 16 --held-out 0.1"
    told = {
        device: said(f"train text shore.txt --device {device} --out {device} {size}", capsys)
        for device in ("cpu", "cuda")
    }
    row = re.compile(r"^ +\d+ +(\d\.\d{3}) +(\d\.\d{3})", re.M)
    bits = {device: np.array(row.findall(text), float) for device, text in told.items()}
    assert bits["cuda"].shape == (2, 2)
    np.testing.assert_allclose(bits["cuda"], bits["cpu"], atol=0.002)
    written = {
        device: said(f"sample cuda/best.ckpt --prompt s --temperature 0 --device {device}", capsys)
        for device in ("cpu", "cuda")
    }
    assert written["cuda"] == written["cpu"]


def test_a_series_is_learnt_and_forecast(capsys: pytest.CaptureFixture[str]) -> None:
    flow = np.sin(np.arange(200) / 5) + 0.1 * np.random.default_rng(0).normal(size=200)
    rows = [f"day{t},{value:.6f}" for t, value in enumerate(flow)]
    Path("river.csv").write_text("\n".join(["day,flow", *rows]) + "\n", encoding="utf-8")
    said("train series river.csv --target flow --hidden 6 --window 9 --out r --device cuda", capsys)
    found = {
        device: said(f"forecast r/best.ckpt river.csv --steps 5 --device {device}", capsys)
        for device in ("cpu", "cuda")
    }
    number = re.compile(r"-?\d+\.\d+")
    numbers = {device: [float(x) for x in number.findall(text)] for device, text in found.items()}
    assert numbers["cuda"] and len(numbers["cuda"]) == len(numbers["cpu"])
    np.testing.assert_allclose(numbers["cuda"], numbers["cpu"], atol=0.01)


def test_a_beam_is_searched_on_the_device(capsys: pytest.CaptureFixture[str]) -> None:
    Path("shore.txt").write_text(TEXT, encoding="utf-8")
    said("train text shore.txt --hidden 8 --embedding 4 --window 16 --held-out 0.1 --out r", capsys)
    found = []
    for device in ("cpu", "cuda"):
        model, _ = load_char_lm("r/best.ckpt", device)
        state = model(tg.tensor([[3, 5]], device=device))[1]
        found.append(beam_search(
            as_step(model, device), state, [1, 2], beam_width=3, max_length=5, n_best=2, batch_dim=1
        ))  # fmt: skip
    for here, there in zip(*found, strict=True):
        assert [h.symbols for h in here] == [h.symbols for h in there]
        np.testing.assert_allclose([h.score for h in here], [h.score for h in there], rtol=1e-4)
