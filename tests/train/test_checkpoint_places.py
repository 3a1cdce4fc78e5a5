"""Places, disks and other processes: the old file or the new one always stands."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from checkpoint_files import MARKED, run, sealed

from tinygrad_rnn.errors import (
    CheckpointError,
)
from tinygrad_rnn.train import save_checkpoint, tensorfile

pytest.importorskip("safetensors")
LIMIT = 32 << 20  # bytes that loading may take beyond twice the file


def test_places_where_nothing_can_be_written(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").write_text("x")
    bad = {
        tmp_path / "absent" / "x": "No such file or directory",
        tmp_path / "file" / "x": "Not a directory",
        tmp_path: "Not a plain file",
        tmp_path / "pipe": "Not a plain file",
        Path("/dev/null"): "Not a plain file",
        tmp_path / ("x" * 250): "File name too long",
    }
    for path, reason in bad.items():
        with pytest.raises(CheckpointError) as caught:
            save_checkpoint(path, {"w": np.ones(3)})
        assert str(caught.value) == (
            f"save_checkpoint({str(path)!r}): a file that can be written expected, got {reason}\n"
            "hint: what stood at that path is unchanged"
        )
    assert sorted(os.listdir(tmp_path)) == ["file", "pipe"]


# argv: package root, checkpoint. As an ordinary user, for whom modes of directories count.
READ_ONLY = """
import os, sys
sys.path.insert(0, sys.argv[1])
import numpy as np
import safetensors.numpy
from tinygrad_rnn.errors import CheckpointError
from tinygrad_rnn.train import load_checkpoint, save_checkpoint
folder = os.path.dirname(sys.argv[2])
os.chmod(folder, 0o555)
here = os.open(folder, os.O_RDONLY)
if os.geteuid() == 0:
    os.fchdir(here)  # the folders above may be closed to others
    os.setuid(65534)
os.fchdir(here)
try:
    save_checkpoint("last.ckpt", {"w": np.ones(3)})
except CheckpointError as error:
    print(error.got)
print(load_checkpoint("last.ckpt").state["epoch"])
"""

# The system lets this process write 100,000 bytes to a file, as if the disk were full then.
FULL = """
import resource, sys
sys.path.insert(0, sys.argv[1])
import numpy as np
from tinygrad_rnn.errors import CheckpointError
from tinygrad_rnn.train import load_checkpoint, save_checkpoint
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    save_checkpoint(sys.argv[2], {"w": np.ones(100_000)})
except CheckpointError as error:
    print(error.got)
print(load_checkpoint(sys.argv[2]).state["epoch"])
"""

# Two processes save again and again while this one loads what stands there.
RACE = """
import os, sys
sys.path.insert(0, sys.argv[1])
import numpy as np
import safetensors.numpy
from tinygrad_rnn.train import load_checkpoint, save_checkpoint
def save(k):
    save_checkpoint(sys.argv[2], {"w": np.full(50_000, float(k))}, k)
def writer(k):
    if (pid := os.fork()) == 0:
        for _ in range(30):
            save(k)
        os._exit(0)
    return pid
save(0)
waiting, seen = {writer(1), writer(2)}, 0
while waiting:
    loaded = load_checkpoint(sys.argv[2])
    assert (loaded.tensors["w"] == loaded.state).all()
    pid, status = os.waitpid(-1, os.WNOHANG)
    assert status == 0
    waiting.discard(pid)
print(load_checkpoint(sys.argv[2]).state in (1, 2))
"""

# argv: package root, checkpoint. By how much loading raises the peak of memory, in KiB.
PEAK = """
import sys
sys.path.insert(0, sys.argv[1])
from tinygrad_rnn.errors import CheckpointError
from tinygrad_rnn.train import load_checkpoint

def peak():
    return next(int(x.split()[1]) for x in open("/proc/self/status") if x.startswith("VmHWM"))

before = peak()
try:
    load_checkpoint(sys.argv[2])
    print("loaded")
except CheckpointError as error:
    print("refused")
print(peak() - before)
"""


def test_a_read_only_directory(path: Path, good: bytes) -> None:
    assert run(READ_ONLY, path) == ["Permission denied", "3"]
    assert path.read_bytes() == good


def test_a_full_disk(path: Path, good: bytes) -> None:
    assert run(FULL, path) == ["File too large", "3"]
    assert os.listdir(path.parent) == [path.name]


def test_two_writers_and_a_reader_at_once(path: Path) -> None:
    assert run(RACE, path) == ["True"]
    assert os.listdir(path.parent) == [path.name]


needs_proc = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc")


@needs_proc
def test_loading_takes_at_most_twice_the_file(path: Path) -> None:
    save_checkpoint(path, {"w": np.zeros(6 << 20), "v": np.ones(1 << 20)})  # 56 MB
    outcome, peak = run(PEAK, path)
    assert outcome == "loaded"
    assert int(peak) * 1024 <= 2 * path.stat().st_size + LIMIT


@needs_proc
@pytest.mark.parametrize("unit", ["[],", "{},", "[1],", "1.5,", '\\"a\\",', "[["])
def test_a_header_made_to_exhaust_memory_is_harmless(path: Path, unit: str) -> None:
    count = (tensorfile.MAX_VALUES - 10) // max(1, sum(unit.count(mark) for mark in ",[{"))
    path.write_bytes(sealed(f'{{{MARKED}[{unit * count}1]"}}}}', b""))
    outcome, peak = run(PEAK, path)
    assert outcome == "refused"
    assert int(peak) * 1024 <= 2 * path.stat().st_size + LIMIT


def test_importing_train_loads_no_safetensors() -> None:
    script = "import sys; sys.path.insert(0, sys.argv[1]); import tinygrad_rnn.train; "
    assert run(script + "print('safetensors' in sys.modules)", Path()) == ["False"]
