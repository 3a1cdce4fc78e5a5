"""The command line as a process: signals, sudden death, pipes, exit codes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tinygrad_rnn import __version__
from tinygrad_rnn.train import load_checkpoint

ROOT = Path(__file__).resolve().parents[2]
LINE = "the quick brown fox jumps over the lazy dog; pack my box with five dozen jugs.\n"
SMALL = (
    "--hidden 8 --layers 2 --dropout 0.2 --embedding 4 --batch 4 --window 16 --steps 60 "
    "--validate-every 10 --warmup 3 --held-out 0.1"
).split()

pytest.importorskip("matplotlib", reason="a training run ends with a picture")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "words.txt").write_text(LINE * 12, encoding="utf-8")
    return tmp_path


def start(folder: Path, *arguments: str, **options: Any) -> subprocess.Popen[str]:
    words = [sys.executable, "-m", "tinygrad_rnn", *arguments]
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(words, cwd=folder, env=environment, text=True, **{**pipes, **options})


def run(folder: Path, *arguments: str) -> tuple[int, str, str]:
    with start(folder, *arguments) as process:
        out, err = process.communicate()
    return process.returncode, out, err


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    """A hang is a failure of the run; a process that ends early is one at once."""
    while not condition():
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)


def assert_same_run(one: Path, other: Path) -> None:
    a, b = load_checkpoint(one), load_checkpoint(other)
    assert a.tensors.keys() == b.tensors.keys()
    assert [n for n in a.tensors if a.tensors[n].tobytes() != b.tensors[n].tobytes()] == []
    assert {**a.state, "seconds": 0} == {**b.state, "seconds": 0}


def test_a_run_killed_at_any_time_resumes_bit_for_bit(folder: Path) -> None:
    long = [*SMALL, "--steps", "200"]  # so that it is not over before it is killed
    assert run(folder, "train", "text", "words.txt", *long, "--out", "whole")[0] == 0
    last = folder / "parts" / "last.ckpt"
    with start(folder, "train", "text", "words.txt", *long, "--out", "parts") as process:
        wait_for((folder / "parts" / "best.ckpt").exists, process)
        process.kill()
    assert process.returncode == -signal.SIGKILL
    done = len(load_checkpoint(last).tensors["history.losses"])
    assert done < 200, "the run ended before it could be killed"
    code, out, _ = run(folder, "train", "text", "--resume", "parts/last.ckpt")
    assert code == 0
    assert f"{done} of 200 steps done" in out
    assert_same_run(last, folder / "whole" / "last.ckpt")
    assert_same_run(folder / "parts" / "best.ckpt", folder / "whole" / "best.ckpt")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_saves_and_says_how_to_go_on(number: signal.Signals, folder: Path) -> None:
    many = [*SMALL, "--steps", "100000"]
    with start(folder, "train", "text", "words.txt", *many) as process:
        wait_for((folder / "runs/words/last.ckpt").exists, process)
        process.send_signal(number)
        out, err = process.communicate()
    assert process.returncode == 130
    assert err == ""
    done = len(load_checkpoint(folder / "runs/words/last.ckpt").tensors["history.losses"])
    assert f"Stopped after step {done:,} of 100,000; all is saved." in out
    assert "-m tinygrad_rnn train text --resume runs/words/last.ckpt" in out
    again = ["--resume", "runs/words/last.ckpt", "--steps", "100000"]
    with start(folder, "train", "text", *again) as process:
        assert process.stdout is not None
        assert any(f"{done:,} of 100,000 steps done" in line for line in process.stdout)
        process.send_signal(signal.SIGINT)


def test_a_reader_that_has_enough_is_no_error(folder: Path) -> None:
    assert run(folder, "train", "text", "words.txt", *SMALL, "--steps", "2")[0] == 0
    with start(folder, "sample", "runs/words/best.ckpt", "--length", "100000") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(10)
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 0


@pytest.mark.parametrize(
    ("arguments", "code", "expected"),
    [
        (["--version"], 0, f"tinygrad-rnn {__version__}\n"),
        (["--help"], 0, "exit codes: 0 done"),
        (["config"], 0, "engine taken"),
        ([], 2, "required: COMMAND"),
        (["train"], 2, "required: KIND"),
        (["train", "text", "--hidden", "many"], 2, "invalid int value: 'many'"),
        (["sample", "absent.ckpt"], 1, "tinygrad-rnn: error: load_checkpoint('absent.ckpt')"),
    ],
)
def test_exit_codes(arguments: list[str], code: int, expected: str, folder: Path) -> None:
    found, out, err = run(folder, *arguments)
    assert found == code
    assert expected in (out if code == 0 else err)
    assert (err if code == 0 else out) == ""


@pytest.mark.parametrize("encoding", ["cp1252", "ascii"])
@pytest.mark.parametrize(
    ("arguments", "code", "expected"),
    [
        (["explain", "rnn"], 0, r"\u03b4h_t"),
        (["explain", "δ.py:Cell"], 1, r"a file that exists expected, got \u03b4.py"),
        (["train", "text", "words.txt", *SMALL, "--steps", "2"], 0, r"\u2502"),
        (["explain", "--help"], 0, "--hidden"),
    ],
)
def test_a_console_that_lacks_a_character_shows_its_number(
    arguments: list[str], code: int, expected: str, encoding: str, folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("PYTHONIOENCODING", encoding)
    with start(folder, *arguments, encoding=encoding) as process:
        out, err = process.communicate()
    assert process.returncode == code
    assert expected in (err if code else out)
    assert "Traceback" not in err


def test_numpy_takes_the_threads_that_were_asked_for(folder: Path) -> None:
    pytest.importorskip("threadpoolctl", reason="threads are counted by threadpoolctl")
    script = (
        "import sys, threadpoolctl\n"
        "from tinygrad_rnn.cli import main, text\n"
        "def introduce(*_):\n"
        "    pools = threadpoolctl.threadpool_info()\n"
        "    sys.exit(str([p['num_threads'] for p in pools if p['user_api'] == 'blas']))\n"
        "text.introduce = introduce\n"
        "main()\n"
    )
    (folder / "run.py").write_text(script)
    for threads in (1, 2):
        words = ["train", "text", "words.txt", *SMALL, "--steps", "1", "--threads", str(threads)]
        with subprocess.Popen(
            [sys.executable, "run.py", *words],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.communicate()[1] == f"[{threads}]\n"
