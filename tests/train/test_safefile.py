"""Replacing a file whole: whatever happens to the writer, the old or the new file stands there."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tinygrad_rnn.train import safefile
from tinygrad_rnn.train.safefile import open_plain, replacing

ROOT = Path(__file__).resolve().parents[2]


def write(path: Path, content: bytes) -> None:
    with replacing(path) as file:
        file.write(content)


def partials(folder: Path) -> list[str]:
    return [name for name in os.listdir(folder) if name.endswith(".partial")]


@pytest.fixture
def target(tmp_path: Path) -> Path:
    path = tmp_path / "run[1].last"
    path.write_bytes(b"old")
    return path


@pytest.fixture
def umask() -> int:
    os.umask(mask := os.umask(0o022))
    return mask


def test_a_new_file_has_the_mode_of_the_umask(tmp_path: Path, umask: int) -> None:
    write(tmp_path / "new", b"x")
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o666 & ~umask


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664])
def test_an_old_file_keeps_its_mode(target: Path, mode: int) -> None:
    target.chmod(mode)
    write(target, b"new")
    assert target.read_bytes() == b"new"
    assert stat.S_IMODE(target.stat().st_mode) == mode


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_an_old_file_keeps_its_owner(target: Path) -> None:
    os.chown(target, 12, 34)
    write(target, b"new")
    assert (target.stat().st_uid, target.stat().st_gid) == (12, 34)


def test_a_symbolic_link_stays_and_its_file_is_replaced(target: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(target)
    write(link, b"new")
    assert link.is_symlink() and target.read_bytes() == b"new"


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_block_that_fails_leaves_the_old_file_alone(
    target: Path, error: type[BaseException]
) -> None:
    def fail() -> None:
        with replacing(target) as file:
            file.write(b"new")
            raise error

    with pytest.raises(error):
        fail()
    assert target.read_bytes() == b"old"
    assert partials(target.parent) == []


@pytest.mark.parametrize("call", ["fsync", "replace", "fchmod"])
def test_a_system_call_that_fails_leaves_the_old_file_alone(
    target: Path, call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(safefile.os, call, fail)
    with pytest.raises(OSError, match="Input/output"):
        write(target, b"new")
    assert target.read_bytes() == b"old"
    assert partials(target.parent) == []


def test_the_content_is_synced_before_the_rename_and_the_directory_after(
    target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    sync, rename = os.fsync, os.replace

    def fsync(descriptor: int) -> None:
        info = os.fstat(descriptor)
        calls.append("sync directory" if stat.S_ISDIR(info.st_mode) else f"sync {info.st_size}")
        sync(descriptor)

    def replace(source: str, destination: str) -> None:
        calls.append("rename")
        rename(source, destination)

    monkeypatch.setattr(safefile.os, "fsync", fsync)
    monkeypatch.setattr(safefile.os, "replace", replace)
    write(target, b"content")
    assert calls == ["sync 7", "rename", "sync directory"]


def test_two_writers_at_once_both_succeed_and_the_last_to_finish_stands(target: Path) -> None:
    with replacing(target) as slow:
        slow.write(b"slow")
        write(target, b"quick")
        assert target.read_bytes() == b"quick"
        assert len(partials(target.parent)) == 1  # the live one is not swept
    assert target.read_bytes() == b"slow"
    assert partials(target.parent) == []


def test_orphans_of_this_file_are_swept_and_nothing_else(target: Path) -> None:
    orphan = target.parent / f".{target.name}.{'0f' * 8}.partial"
    others = [
        target.parent / f".{target.name}.notes.partial",
        target.parent / f".run1.last.{'0f' * 8}.partial",  # would match [1] read as a pattern
        target.parent / f"{target.name}.partial",
    ]
    for path in [orphan, *others]:
        path.write_bytes(b"x")
    write(target, b"new")
    assert not orphan.exists()
    assert all(path.exists() for path in others)


@pytest.mark.parametrize("moment", ["while it sweeps", "after it swept"])
def test_a_file_swept_by_another_in_the_moment_before_its_lock_is_made_anew(
    target: Path, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = fcntl.flock
    seen: list[int] = []

    def flock(descriptor: int, how: int) -> None:
        seen.append(descriptor)
        if len(seen) == 1:
            (found,) = partials(target.parent)
            os.unlink(target.parent / found)
            if moment == "while it sweeps":
                raise BlockingIOError
        lock(descriptor, how)

    monkeypatch.setattr(safefile.fcntl, "flock", flock)
    write(target, b"new")
    assert len(seen) == 2 and seen[0] == seen[1]  # the first was closed: its number is free again
    assert target.read_bytes() == b"new"


def test_a_file_system_without_locks_is_written_and_never_swept(
    target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flock(*_: object) -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")

    orphan = target.parent / f".{target.name}.{'0f' * 8}.partial"
    orphan.write_bytes(b"")
    monkeypatch.setattr(safefile.fcntl, "flock", flock)
    write(target, b"new")
    assert target.read_bytes() == b"new"
    assert orphan.exists()


def test_a_directory_that_cannot_be_synced_is_no_failure(
    target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sync = os.fsync

    def fsync(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "Invalid argument")
        sync(descriptor)

    monkeypatch.setattr(safefile.os, "fsync", fsync)
    write(target, b"new")
    assert target.read_bytes() == b"new"


def test_what_is_no_plain_file_is_neither_replaced_nor_opened(tmp_path: Path) -> None:
    pipe, folder = tmp_path / "pipe", tmp_path / "folder"
    os.mkfifo(pipe)
    folder.mkdir()
    for path in (pipe, folder, Path("/dev/null")):
        with pytest.raises(OSError, match="Not a plain file"):
            write(path, b"x")
        with pytest.raises(OSError, match=r"Not a plain file|Is a directory"), open_plain(path):
            pass
    assert stat.S_ISFIFO(pipe.stat().st_mode)


# A writer is killed by the system at one point of its work. argv: package root, file, point.
KILLED = """
import os, resource, signal, sys
sys.path.insert(0, sys.argv[1])
from tinygrad_rnn.train.safefile import replacing
path, point = sys.argv[2:]

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

if point.isdigit():  # by SIGXFSZ in the middle of write(2), which wrote so many bytes
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(point), int(point)))
elif point == "directory":
    sync, calls = os.fsync, []
    os.fsync = lambda fd: die() if calls else calls.append(sync(fd))
else:
    setattr(os, point, die)
with replacing(path) as file:
    file.write(b"new" * 100_000)
"""


@pytest.mark.parametrize("point", ["0", "1", "150000", "299999", "fsync", "replace", "directory"])
def test_a_killed_writer_leaves_the_old_or_the_new_file(target: Path, point: str) -> None:
    command = [sys.executable, "-c", KILLED, str(ROOT), str(target), point]
    killed = subprocess.run(command, capture_output=True, text=True, check=False)
    assert killed.returncode < 0, killed.stderr
    done = point == "directory"
    assert target.read_bytes() == (b"new" * 100_000 if done else b"old")
    assert len(partials(target.parent)) == (0 if done else 1)
    write(target, b"next")
    assert target.read_bytes() == b"next"
    assert partials(target.parent) == []
