"""Public data sets: downloaded once, checked, and kept; by the optional package pooch.

Nothing else in the library asks the network for anything.
"""

from __future__ import annotations

import os
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tinygrad_rnn.errors import ArgumentError, DataError, MissingDependencyError

from .text import PathName

__all__ = ["PUBLIC_FILES", "PublicFile", "fetch"]

SHAKESPEARE = "karpathy/char-rnn/d1d7aa34fdb3626174bce1d753e6cc6845ce7087/data/tinyshakespeare"
MNIST = "https://storage.googleapis.com/cvdf-datasets/mnist"


@dataclass(frozen=True)
class PublicFile:
    """Where a file is, what it must be, and what whoever uses it owes to whom."""

    url: str
    sha256: str
    licence: str
    citation: str


def _mnist(part: str, sha256: str) -> PublicFile:
    citation = "LeCun, Bottou, Bengio, Haffner (1998), Gradient-based learning applied to documents"
    return PublicFile(f"{MNIST}/{part}-ubyte.gz", sha256, "CC BY-SA 3.0", citation)


PUBLIC_FILES = {
    "mnist-test-images": _mnist(
        "t10k-images-idx3", "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"
    ),
    "mnist-test-labels": _mnist(
        "t10k-labels-idx1", "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"
    ),
    "mnist-train-images": _mnist(
        "train-images-idx3", "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"
    ),
    "mnist-train-labels": _mnist(
        "train-labels-idx1", "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"
    ),
    "tiny-shakespeare": PublicFile(
        f"https://raw.githubusercontent.com/{SHAKESPEARE}/input.txt",
        "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
        "public domain",
        "Karpathy (2015), The unreasonable effectiveness of recurrent neural networks",
    ),
}


def fetch(
    source: str, sha256: str | None = None, *, cache: PathName | None = None, timeout: float = 30.0
) -> Path:
    """The path of a public file, downloaded if it is not in the cache already.

    What is in the cache is checked too, and needs no network. A download stands beside its place
    until its checksum is right, so a file is there wholly or not at all.

    Args:
        source: a name of `PUBLIC_FILES`, or an address with its `sha256`, 64 hexadecimal digits.
        cache: a folder; if not given that of the environment variable TINYGRAD_RNN_CACHE, or else
            the user's, as the operating system has it.
        timeout: seconds without an answer after which it gives up.

    Raises:
        ArgumentError: no such name, no checksum, or a cache that cannot be written.
        DataError: no network, no such file there, a download cut off, or another checksum.
        MissingDependencyError: pooch is not installed.
    """
    file = _public(source, sha256)
    pooch = _load_pooch()
    folder = Path(cache or os.environ.get("TINYGRAD_RNN_CACHE") or pooch.os_cache("tinygrad-rnn"))
    name = f"{file.sha256[:12]}-{_last_part(file.url)}"
    if not (folder / name).is_file():
        _prepare(folder)
    try:
        found = pooch.retrieve(
            file.url, f"sha256:{file.sha256}", name, folder,
            downloader=pooch.HTTPDownloader(timeout=timeout),
        )  # fmt: skip
    except OSError as error:  # those of requests among them
        hint = f"if {file.url} can be had in another way, put it there as {folder / name}"
        raise DataError("fetch", "a download without a fault", error, hint) from error
    except ValueError as error:
        hint = "the file was changed or damaged; nothing of it was kept"
        got = re.sub(r"\s+", " ", str(error))
        raise DataError("fetch", f"the SHA-256 {file.sha256}", got, hint) from error
    return Path(found)


def _public(source: str, sha256: str | None) -> PublicFile:
    if "://" not in source:
        if source not in PUBLIC_FILES or sha256 is not None:
            names = ", ".join(PUBLIC_FILES)
            raise ArgumentError("fetch", f"an address and its sha256, or one of {names}", source)
        return PUBLIC_FILES[source]
    if not source.startswith(("http://", "https://")):
        raise ArgumentError("fetch", "an address of http or https", source)
    if not re.fullmatch(r"[0-9a-fA-F]{64}", sha256 or ""):
        hint = "without it, nobody could tell a damaged file"
        raise ArgumentError("fetch", "a sha256 of 64 hexadecimal digits", repr(sha256), hint)
    return PublicFile(source, str(sha256).lower(), "", "")


def _load_pooch() -> Any:
    try:
        import pooch
    except ImportError:
        hint = 'pip install "tinygrad-rnn[download]"'
        raise MissingDependencyError("fetch", "the package pooch", "none", hint) from None
    return pooch


def _last_part(url: str) -> str:
    """A name for the file, of characters that every file system takes."""
    return re.sub(r"[^A-Za-z0-9._-]", "_", urlsplit(url).path.rpartition("/")[2])[-80:] or "file"


def _prepare(folder: Path) -> None:
    """Make the folder and try to write there, before anything is asked of the network."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        hint = "give another one: cache=…, or TINYGRAD_RNN_CACHE"
        raise ArgumentError("fetch", "a cache folder that can be written", error, hint) from error
