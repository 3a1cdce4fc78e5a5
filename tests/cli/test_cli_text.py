"""``train text``, ``sample`` and ``demo`` as a user types them."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tinygrad_rnn import cuda_is_available
from tinygrad_rnn.baselines import NGram
from tinygrad_rnn.cli import main
from tinygrad_rnn.cli.runs import train_to_the_end
from tinygrad_rnn.train import Progress, load_char_lm, load_checkpoint, text_run
from tinygrad_rnn.train.settings import TextSettings

LINE = "the quick brown fox jumps over the lazy dog; pack my box with five dozen jugs.\n"
SMALL = (
    "--hidden 8 --embedding 4 --batch 4 --window 16 --steps 12 --validate-every 4 --warmup 3 "
    "--held-out 0.1"
).split()

pytest.importorskip("matplotlib", reason="a training run ends with a picture")


@pytest.fixture
def words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to stand in, with a text in it."""
    monkeypatch.chdir(tmp_path)
    path = Path("words.txt")
    path.write_text(LINE * 12, encoding="utf-8")
    return path


@pytest.fixture
def trained(words: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    assert main(["train", "text", "words.txt", *SMALL]) == 0
    capsys.readouterr()
    return Path("runs/words")


def failing(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What a command that fails says; nothing else and no traceback."""
    assert main(list(arguments)) == 1
    said = capsys.readouterr()
    assert said.err.startswith("tinygrad-rnn: error: ")
    assert "Traceback" not in said.err
    return said.err


# --------------------------------------------------------------------------- train text
def test_training_tells_settings_progress_and_verdict(
    words: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "text", "words.txt", *SMALL]) == 0
    said = capsys.readouterr().out
    for name, value in text_settings(Path("runs/words/last.ckpt")).to_dict().items():
        shown = "words.txt" if name == "files" else str(value)
        assert re.search(rf"^  {name} +{re.escape(shown)}$", said, re.M), name
    rows = re.findall(
        r"^ +(\d+) +(\d+\.\d{3}) +(\d+\.\d{3}) +[\d,]+ +\d+:\d\d( best)?$", said, re.M
    )
    assert [row[0] for row in rows] == ["4", "8", "12"]
    assert said.count("│") >= 3  # samples
    for name in ("LSTM 8", "1-gram", "2-gram", "3-gram", "4-gram", "5-gram"):
        assert re.search(rf"^  {name} +\d\.\d{{3}}", said, re.M), name
    assert "tinygrad-rnn sample runs/words/best.ckpt" in said


def test_a_run_leaves_checkpoints_and_a_picture(trained: Path) -> None:
    assert sorted(path.name for path in trained.iterdir()) == ["best.ckpt", "last.ckpt", "loss.png"]
    assert (trained / "loss.png").stat().st_size > 10_000


def test_without_matplotlib_no_picture_is_claimed(
    words: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert main(["train", "text", "words.txt", *SMALL]) == 0
    said = capsys.readouterr().out
    assert "No picture was drawn" in said
    assert "best.ckpt  the model" in said
    assert "loss.png" not in said


def text_settings(path: Path) -> TextSettings:
    return TextSettings.from_dict(load_checkpoint(path).state["about"]["settings"])


def test_the_numbers_in_the_verdict_are_true(
    words: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["train", "text", "words.txt", *SMALL])
    said = capsys.readouterr().out
    told = {n: float(v) for n, v in re.findall(r"^  (\d-gram|LSTM 8) +(\d\.\d+)", said, re.M)}
    run = text_run(text_settings(Path("runs/words/best.ckpt")))
    run.trainer.load_model("runs/words/best.ckpt")
    assert told["LSTM 8"] == pytest.approx(run.test_bits(), abs=6e-4)
    before = np.concatenate([run.train, run.validation])
    for order in range(1, 6):
        own = NGram.fit(run.train, order, len(run.vocabulary)).bits_per_char(run.test, before)
        assert told[f"{order}-gram"] == pytest.approx(own, abs=6e-4)
        beaten = told["LSTM 8"] < told[f"{order}-gram"]
        line = next(line for line in said.splitlines() if line.startswith(f"  {order}-gram"))
        assert line.endswith("not beaten") != beaten
    verdict = re.search(r"^The LSTM 8 .*\.$", said, re.M)
    assert verdict
    assert ("beats none" in verdict.group()) == all(told["LSTM 8"] >= v for v in told.values())


@pytest.mark.parametrize("cell", ["gru", "rnn"])
def test_other_cells_train_too(cell: str, trained: Path) -> None:
    assert main(["train", "text", "words.txt", *SMALL, "--cell", cell, "--out", cell]) == 0
    assert load_char_lm(f"{cell}/best.ckpt")[0].recurrent.__class__.__name__ == cell.upper()


def test_several_files_are_one_text(words: Path) -> None:
    Path("more.txt").write_text("ÄÖÜ " * 40, encoding="utf-8")
    assert main(["train", "text", "words.txt", "more.txt", *SMALL]) == 0
    assert "Ü" in load_char_lm("runs/words/best.ckpt")[1]


def test_a_second_run_takes_a_new_folder(trained: Path) -> None:
    before = (trained / "last.ckpt").read_bytes()
    assert main(["train", "text", "words.txt", *SMALL]) == 0
    assert Path("runs/words-2/last.ckpt").exists()
    assert (trained / "last.ckpt").read_bytes() == before


def test_a_folder_with_a_run_is_not_overwritten(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = failing(capsys, "train", "text", "words.txt", *SMALL, "--out", str(trained))
    assert "continue it with --resume runs/words/last.ckpt" in said


# ------------------------------------------------------------------------------- resume
def test_a_run_can_be_made_longer(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "text", "--resume", "runs/words/last.ckpt", "--steps", "16"]) == 0
    assert "12 of 16 steps done" in capsys.readouterr().out
    history = load_checkpoint(trained / "last.ckpt").tensors["history.losses"]
    assert len(history) == 16


def test_a_finished_run_has_nothing_left_to_do(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (trained / "last.ckpt").read_bytes()
    assert main(["train", "text", "--resume", "runs/words/last.ckpt"]) == 0
    assert "12 of 12 steps done" in capsys.readouterr().out
    assert (trained / "last.ckpt").read_bytes() == before


def test_a_resumed_run_is_not_another_run(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = failing(capsys, "train", "text", "--resume", "runs/words/last.ckpt", "--hidden", "9")
    assert "hidden = 8, as in the checkpoint, expected, got 9" in said


def test_a_run_cannot_be_made_shorter(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = failing(capsys, "train", "text", "--resume", "runs/words/last.ckpt", "--steps", "5")
    assert "--steps >= 12" in said


def test_a_changed_text_is_not_the_same_run(
    trained: Path, words: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words.write_text(words.read_text().replace("fox", "cow"))
    failing(capsys, "train", "text", "--resume", "runs/words/last.ckpt", "--steps", "16")


# ----------------------------------------------------------------------------- bad input
def bad_files(folder: Path) -> None:
    Path("empty.txt").write_text("")
    Path("latin.txt").write_bytes("Grüße\n".encode("latin-1") * 99)
    Path("short.txt").write_text("too short")
    Path("folder").mkdir()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("absent.txt", "no such file (absent.txt)"),
        ("folder", "a directory (folder)"),
        ("empty.txt", "an empty one (empty.txt)"),
        ("latin.txt", "byte 0xfc at offset 2, line 1 of latin.txt"),
        ("short.txt", "lower --batch or --window, or give more text"),
    ],
)
def test_a_file_that_is_no_text_is_one_clear_error(
    name: str, expected: str, words: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad_files(words)
    assert expected in failing(capsys, "train", "text", name, *SMALL)
    assert not Path("runs").exists()


def test_no_file_is_an_error_that_names_the_demo(
    words: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = failing(capsys, "train", "text")
    assert "at least one FILE" in said
    assert "tinygrad-rnn demo" in said


@pytest.mark.parametrize(
    ("option", "value"), [("--hidden", "0"), ("--dropout", "1"), ("--clip", "-1"), ("--lr", "0")]
)
def test_a_setting_outside_its_range_is_named(
    option: str, value: str, words: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert option.strip("-") in failing(capsys, "train", "text", "words.txt", *SMALL, option, value)


def test_a_loss_that_explodes_stops_the_run_and_names_the_step(
    words: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = failing(
        capsys, "train", "text", "words.txt", *SMALL, "--lr", "1e38", "--clip", "0",
        "--validate-every", "1", "--warmup", "0",
    )  # fmt: skip
    assert re.search(r"finite (loss|gradient norm|validation) expected, got (nan|inf)", said)
    assert "lower the learning rate" in said


# -------------------------------------------------------------------------------- sample
def sampled(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["sample", "runs/words/best.ckpt", *arguments]) == 0
    return capsys.readouterr().out


def test_a_sample_begins_with_the_prompt_and_has_the_length(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = sampled(capsys, "--prompt", "the quick", "--length", "40")
    assert said.startswith("the quick")
    assert said.endswith("\n")
    assert len(said) == len("the quick") + 40 + 1


def test_the_seed_decides_the_sample(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    texts = [sampled(capsys, "--length", "60", "--seed", seed) for seed in "112"]
    assert texts[0] == texts[1] != texts[2]


def test_greedy_samples_need_no_seed(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--prompt", "fox", "--length", "30"]
    greedy = [sampled(capsys, *options, "--temperature", "0") for _ in range(2)]
    greedy.append(sampled(capsys, *options, "--top-k", "1"))
    assert greedy[0] == greedy[1] == greedy[2]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--prompt", "naïve"], "'ï' (U+00EF) at position 2"),
        (["--temperature", "-1"], "temperature, a number >= 0"),
        (["--top-k", "0"], "top_k, a whole number >= 1"),
        (["--top-p", "2"], "top_p"),
        (["--length", "-1"], "--length >= 0"),
        (["--seed", "-1"], "--seed >= 0"),
    ],
)
def test_a_sample_that_cannot_be_drawn_is_one_clear_error(
    arguments: list[str], expected: str, trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert expected in failing(capsys, "sample", "runs/words/best.ckpt", *arguments)


def foreign(kind: str, trained: Path) -> None:
    whole = (trained / "best.ckpt").read_bytes()
    contents: dict[str, Any] = {
        "empty": b"",
        "text": b"not a checkpoint at all",
        "pickle": b"\x80\x04\x95\x10\x00\x00\x00",
        "cut": whole[: len(whole) // 2],
        "flipped": whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:],
    }
    Path("file.ckpt").write_bytes(contents[kind])


@pytest.mark.parametrize("kind", ["empty", "text", "pickle", "cut", "flipped"])
def test_a_file_that_is_no_checkpoint_is_one_clear_error(
    kind: str, trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    foreign(kind, trained)
    assert "file.ckpt" in failing(capsys, "sample", "file.ckpt")
    assert "file.ckpt" in failing(capsys, "train", "text", "--resume", "file.ckpt")


def test_a_checkpoint_that_is_not_there(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "No such file" in failing(capsys, "sample", "runs/absent.ckpt")


def test_a_checkpoint_of_a_forecaster_writes_no_text(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = failing(capsys, "forecast", "runs/words/best.ckpt")
    assert "a run of kind 'series' expected, got a run of kind 'text'" in said


# ---------------------------------------------------------------------------------- demo
def test_the_quick_demo_needs_nothing_and_can_be_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["demo", "--quick"]) == 0
    said = capsys.readouterr().out
    assert "beats the 1-gram" in said
    assert Path("runs/demo/best.ckpt").exists()
    assert Path("runs/demo/loss.png").stat().st_size > 10_000
    first = load_checkpoint("runs/demo/last.ckpt").tensors["model.output.weight"]
    assert main(["demo", "--quick"]) == 0
    again = load_checkpoint("runs/demo/last.ckpt").tensors["model.output.weight"]
    assert first.tobytes() == again.tobytes()


# -------------------------------------------------------------------------------- devices
def test_a_device_that_is_not_there_is_one_clear_error(
    words: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if cuda_is_available():
        pytest.skip("there is a GPU")
    said = failing(capsys, "train", "text", "words.txt", *SMALL, "--device", "cuda")
    assert 'use "cpu"' in said
    assert not Path("runs").exists()


def test_the_best_model_is_judged_and_not_the_last(words: Path) -> None:
    small = {"hidden": 8, "embedding": 4, "batch": 4, "window": 16, "held_out": 0.1}
    settings = TextSettings(files=("words.txt",), steps=4, validate_every=2, **small)
    run = text_run(settings)
    values = iter([1.0, 2.0])
    run.trainer.validate = lambda: next(values)
    progress = Progress(4, lambda batch: 1, "char", str)
    train_to_the_end(run.trainer, settings, Path("run"), "text", progress, lambda trainer: None)
    found = run.model.output.weight.detach().numpy()
    best, last = (
        load_checkpoint(f"run/{name}.ckpt").tensors["model.output.weight"]
        for name in ("best", "last")
    )
    assert (found == best).all()
    assert (found != last).any()
