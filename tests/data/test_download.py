"""Downloads from a server on this machine: whole and right, or not there at all."""

from __future__ import annotations

import hashlib
import os
import re
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tinygrad_rnn.data.download import PUBLIC_FILES, fetch
from tinygrad_rnn.errors import ArgumentError, DataError, MissingDependencyError

CONTENT = bytes(range(256)) * 300
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """/good gives the content, /short promises more than it gives, /slow waits."""

    asked: list[str] = []  # noqa: RUF012 - shared by all requests on purpose
    leave = threading.Event()

    def do_GET(self) -> None:
        self.asked.append(self.path)
        if self.path.startswith("/slow"):
            self.leave.wait(10)
        if "missing" in self.path:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.wfile.write(CONTENT[:70_000] if self.path.startswith("/short") else CONTENT)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture(autouse=True)
def _direct(monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxy stands between this machine and itself."""
    pytest.importorskip("pooch", reason="downloads need pooch")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    Handler.asked.clear()
    Handler.leave.clear()


@pytest.fixture
def server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{httpd.server_port}"
        Handler.leave.set()
        httpd.shutdown()
        thread.join()


def test_a_file_is_downloaded_once(server: str, tmp_path: Path) -> None:
    for _ in range(2):
        path = fetch(f"{server}/good/data.bin", SHA256.upper(), cache=tmp_path / "new" / "cache")
        assert path.read_bytes() == CONTENT
    assert path.parent == tmp_path / "new" / "cache" and path.name.endswith("-data.bin")
    assert Handler.asked == ["/good/data.bin"]


def test_the_cache_needs_no_network(server: str, tmp_path: Path) -> None:
    nowhere = "http://127.0.0.1:9/good/data.bin"
    first = fetch(f"{server}/good/data.bin", SHA256, cache=tmp_path)
    assert fetch(nowhere, SHA256, cache=tmp_path) == first


def test_the_environment_names_the_cache(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TINYGRAD_RNN_CACHE", str(tmp_path / "mine"))
    assert fetch(f"{server}/good", SHA256).parent == tmp_path / "mine"


def test_a_damaged_file_in_the_cache_is_downloaded_again(server: str, tmp_path: Path) -> None:
    path = fetch(f"{server}/good", SHA256, cache=tmp_path)
    path.write_bytes(CONTENT[:-1] + b"?")
    assert fetch(f"{server}/good", SHA256, cache=tmp_path).read_bytes() == CONTENT
    assert len(Handler.asked) == 2


FAULTS = {
    "another file": ("/good", "0" * 64, f"the SHA-256 {'0' * 64} expected, got .*{SHA256}"),
    "cut off": ("/short", SHA256, "without a fault expected"),
    "not there": ("/missing", SHA256, "404"),
    "no answer": ("/slow", SHA256, "without a fault expected, got .*[Tt]imed? ?out"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_failed_download_leaves_nothing(name: str, server: str, tmp_path: Path) -> None:
    path, sha256, words = FAULTS[name]
    with pytest.raises(DataError, match=words):
        fetch(server + path, sha256, cache=tmp_path, timeout=0.3 if name == "no answer" else 10)
    assert list(tmp_path.iterdir()) == []


def test_no_network(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=re.escape(str(tmp_path))):  # where to put it by hand
        fetch("http://127.0.0.1:9/data.bin", SHA256, cache=tmp_path, timeout=2)
    assert list(tmp_path.iterdir()) == []


def test_a_cache_that_is_a_file_is_refused_before_the_network(server: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    for cache in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(ArgumentError, match="cache folder that can be written"):
            fetch(f"{server}/good", SHA256, cache=cache)
    assert Handler.asked == [] and (tmp_path / "file").read_text() == "in the way"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root writes anywhere")
def test_a_read_only_cache_is_refused(server: str, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(ArgumentError, match="cache folder that can be written"):
        fetch(f"{server}/good", SHA256, cache=tmp_path)
    tmp_path.chmod(0o700)


@pytest.mark.parametrize(
    ("source", "sha256", "words"),
    [
        ("tiny-shakespear", None, "one of .*tiny-shakespeare"),
        ("tiny-shakespeare", SHA256, "an address and its sha256"),
        ("http://127.0.0.1/a", None, "64 hexadecimal"),
        ("http://127.0.0.1/a", "md5", "64 hexadecimal"),
        ("ftp://127.0.0.1/a", SHA256, "http or https"),
        ("file:///a", SHA256, "http or https"),
    ],
)
def test_a_mistake_is_named(source: str, sha256: str | None, words: str, tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match=words):
        fetch(source, sha256, cache=tmp_path)


def test_without_pooch_the_message_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "pooch", None)
    with pytest.raises(MissingDependencyError, match=r"tinygrad-rnn\[download\]"):
        fetch("tiny-shakespeare", cache=tmp_path)


def test_public_files_say_whose_they_are() -> None:
    for file in PUBLIC_FILES.values():
        assert file.url.startswith("https://") and re.fullmatch("[0-9a-f]{64}", file.sha256)
        assert file.licence and re.search(r"\(\d{4}\)", file.citation)
