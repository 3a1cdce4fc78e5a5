"""Files that are replaced whole or not at all, and files that open without surprises (POSIX).

A new version is written beside the old one, synced, and renamed over it: a reader, a power cut
or a second writer sees the old file or the new one, never a part of either. The writer holds a
lock on its unfinished file; the kernel drops the lock when the writer dies, so an unfinished
file that can be locked is an orphan, and the next writer removes it.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO

__all__ = ["open_plain", "replacing"]


@contextmanager
def open_plain(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Open a plain file for reading; an ``OSError`` for a pipe, device or directory, at once."""
    with open(path, "rb", opener=_open_at_once) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(errno.EINVAL, "Not a plain file", os.fspath(path))
        yield file


def _open_at_once(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)  # else a pipe nobody writes to blocks for ever


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Yield a file that takes the place of ``path`` if the block ends without an exception.

    The mode and, where permitted, the owner of an existing file are kept; a new one gets the
    umask's. A symbolic link stays, and the file it names is replaced.

    Raises:
        OSError: the file cannot be written; what stood at ``path`` is unchanged.
    """
    target = os.path.realpath(path)
    _refuse_special(target)
    _sweep(target)
    unfinished, descriptor = _create(target)
    try:
        with open(descriptor, "wb") as file:
            _inherit(descriptor, target)
            yield file
            file.flush()
            os.fsync(descriptor)
            os.replace(unfinished, target)
    except BaseException:
        with suppress(OSError):
            os.unlink(unfinished)
        raise
    _sync_directory(os.path.dirname(target))


def _refuse_special(target: str) -> None:
    """A rename would replace even ``/dev/null``."""
    if os.path.lexists(target) and not os.path.isfile(target):
        raise OSError(errno.EINVAL, "Not a plain file", target)


def _create(target: str) -> tuple[str, int]:
    folder, name = os.path.split(target)
    while True:
        path = os.path.join(folder, f".{name}.{os.urandom(8).hex()}.partial")
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        if _claim(descriptor):
            return path, descriptor
        os.close(descriptor)


def _claim(descriptor: int) -> bool:
    """Lock the new file, unless another writer's sweep found it in the moment before."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True  # a file system without locks: there nobody sweeps either
    return os.fstat(descriptor).st_nlink == 1


def _inherit(descriptor: int, target: str) -> None:
    with suppress(FileNotFoundError):
        old = os.stat(target)
        with suppress(PermissionError):
            os.fchown(descriptor, old.st_uid, old.st_gid)
        os.fchmod(descriptor, stat.S_IMODE(old.st_mode))


def _sweep(target: str) -> None:
    folder, name = os.path.split(target)
    orphan = re.compile(rf"\.{re.escape(name)}\.[0-9a-f]{{16}}\.partial")
    for found in filter(orphan.fullmatch, os.listdir(folder)):
        _remove_if_abandoned(os.path.join(folder, found))


def _remove_if_abandoned(path: str) -> None:
    with suppress(OSError), open(path, "rb", opener=_open_at_once) as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.unlink(path)


def _sync_directory(folder: str) -> None:
    """Make the rename itself durable, where the file system can; the file is whole either way."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
