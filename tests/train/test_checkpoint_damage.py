"""A damaged or hostile checkpoint is refused, whatever was done to it."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoint_files import MARKED, build, refusal, sample, sealed, split
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_rnn.errors import (
    CheckpointError,
)
from tinygrad_rnn.train import load_checkpoint, save_checkpoint, tensorfile

pytest.importorskip("safetensors")


def test_no_flipped_bit_goes_unnoticed(path: Path, good: bytes, rng: np.random.Generator) -> None:
    silent = []
    start = len(good) - sum(array.nbytes for array in sample()[0].values())
    everywhere = rng.choice(len(good) * 8, 400, replace=False)
    payload = range(start * 8, len(good) * 8, 3)
    for bit in {*range(64), *everywhere.tolist(), *payload}:
        damaged = bytearray(good)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        try:
            load_checkpoint(path)
        except CheckpointError:
            continue
        silent.append(bit)
    assert silent == []


def test_the_damaged_array_is_named(path: Path, good: bytes) -> None:
    at = good.index(sample()[0]["lstm.weight_hh_l0"].tobytes())
    damaged = good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :]
    expected = "array 'lstm.weight_hh_l0' as it was saved expected, got damaged bytes"
    assert refusal(path, damaged) == expected


def test_no_truncation_goes_unnoticed(path: Path, good: bytes) -> None:
    messages = [refusal(path, good[:length]) for length in range(len(good))]
    start = 8 + int.from_bytes(good[:8], "little")
    assert messages[0] == "a checkpoint expected, got an empty file"
    assert set(messages[1:start]) == {"a checkpoint expected, got a foreign, cut or damaged file"}
    assert messages[-1].endswith("hint: the file was cut short or something was appended")


def test_appended_bytes_are_noticed(path: Path, good: bytes) -> None:
    assert "bytes after the header expected" in refusal(path, good + b"\0")


def test_arrays_that_changed_places_are_noticed(path: Path) -> None:
    first, second = np.full(8, 1.0), np.full(8, 2.0)
    save_checkpoint(path, {"a": first, "b": second})
    content = path.read_bytes()
    bodies = first.tobytes() + second.tobytes()
    assert content.endswith(bodies)
    swapped = content.removesuffix(bodies) + second.tobytes() + first.tobytes()
    assert refusal(path, swapped) == "array 'a' as it was saved expected, got damaged bytes"


def test_a_file_that_changes_while_it_is_read(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_checkpoint(path, {"w": np.zeros(100_000)})
    check = tensorfile.read_layout

    def shrink(*args: Any) -> tensorfile.Layout:
        os.truncate(path, 50_000)
        return check(*args)

    monkeypatch.setattr("tinygrad_rnn.train.checkpoint.read_layout", shrink)
    expected = "a file that is at rest expected, got one that changed while it was read"
    assert refusal(path) == expected


# --------------------------------------------- hostile headers with a correct seal


def two_arrays(path: Path) -> tuple[dict[str, Any], dict[str, Any], bytes]:
    save_checkpoint(path, {"a": np.arange(4.0), "b": np.array([True, False])}, {"step": 1})
    return split(path.read_bytes())


def test_the_builder_of_hostile_files_builds_sound_ones(path: Path) -> None:
    path.write_bytes(build(*two_arrays(path)))
    assert load_checkpoint(path).state == {"step": 1}


def entry(name: str, **changes: Any) -> Callable[..., None]:
    return lambda table, run: table[name].update(changes)


def rename(name: str) -> Callable[..., None]:
    def change(table: dict[str, Any], run: dict[str, Any]) -> None:
        table[name] = table.pop("a")
        run["sha256"][name] = run["sha256"].pop("a")

    return change


HEADERS: list[tuple[str, Callable[..., Any], str]] = [
    ("overlap", entry("b", data_offsets=[31, 33]), "'b' to begin at 32 expected, got 31"),
    ("hole", entry("b", data_offsets=[33, 35]), "'b' to begin at 32 expected, got 33"),
    ("late start", entry("a", data_offsets=[8, 32], shape=[3]), "'a' to begin at 0 expected"),
    ("backwards", entry("b", data_offsets=[32, 30]), "2 bytes for 'b' expected, got -2"),
    ("too long", entry("b", data_offsets=[32, 40], shape=[8]), "40 bytes after the header"),
    ("shape too large", entry("a", shape=[5]), "40 bytes for 'a' expected, got 32"),
    ("shape too small", entry("a", shape=[3]), "24 bytes for 'a' expected, got 32"),
    ("overflow to size", entry("a", shape=[2**62, 4, 4]), "'a' to be addressable expected"),
    ("overflow to 32", entry("a", shape=[2**32 + 1, 2**32]), "'a' to be addressable expected"),
    ("0 and overflow", entry("a", shape=[0, 2**62, 2**62]), "'a' to be addressable expected"),
    ("size of 2**63", entry("a", shape=[2**63]), "sizes of 'a' expected"),
    ("negative size", entry("a", shape=[-4]), "sizes of 'a' expected, got [-4]"),
    ("float size", entry("a", shape=[4.0]), "sizes of 'a' expected, got [4.0]"),
    ("bool size", entry("a", shape=[True, 4]), "sizes of 'a' expected, got [True, 4]"),
    ("65 axes", entry("a", shape=[1] * 64 + [4]), "sizes of 'a' expected"),
    ("shape no list", entry("a", shape=4), "sizes of 'a' expected, got 4"),
    ("one offset", entry("a", data_offsets=[0]), "offsets of 'a' expected, got [0]"),
    ("text offset", entry("a", data_offsets=["0", "32"]), "offsets of 'a' expected"),
    ("unknown dtype", entry("a", dtype="F65"), "a known dtype of 'a' expected, got 'F65'"),
    ("foreign dtype", entry("a", dtype="BF16", shape=[16]), "a known dtype of 'a' expected"),
    ("dtype no text", entry("a", dtype=["F64"]), "a known dtype of 'a' expected"),
    ("other dtype", entry("b", dtype="U16"), "4 bytes for 'b' expected, got 2"),
    ("extra field", entry("a", alias="b"), "dtype, shape and data_offsets of 'a' expected"),
    ("no fields", lambda table, run: table.update(a={}), "dtype, shape and data_offsets of 'a'"),
    ("no dict", lambda table, run: table.update(a=[]), "dtype, shape and data_offsets of 'a'"),
    ("name ..", rename("../x"), "a usable name for every array expected, got a part that is"),
    ("absolute name", rename("/etc/x"), "a usable name for every array expected, got a part"),
    ("empty name", rename(""), "a usable name for every array expected, got 0 characters"),
    ("NUL in name", rename("a\0"), "a usable name for every array expected, got an unprintable"),
    ("long name", rename("a" * 2**20), "a usable name for every array expected, got 1048576"),
    ("lone surrogate", rename("\ud800"), "a usable name for every array expected, got an unpr"),
    ("missing array", lambda table, run: table.pop("b"), "the arrays it lists expected, got"),
    ("unlisted array", lambda table, run: run["sha256"].pop("b"), "unlisted ['b']"),
    ("no digests", lambda table, run: run.pop("sha256"), "'sha256' and 'state' in the run header"),
    ("no state", lambda table, run: run.pop("state"), "'sha256' and 'state' in the run header"),
    ("digest no text", lambda table, run: run["sha256"].update(a=1), "array 'a' as it was saved"),
    ("newer", lambda table, run: run.update(format_version=2), "a newer tinygrad_rnn wrote it"),
    ("older", lambda table, run: run.update(format_version=0), "format version 1 expected, got 0"),
    ("no version", lambda table, run: run.pop("format_version"), "version 1 expected, got None"),
    ("text version", lambda table, run: run.update(format_version="1"), "expected, got '1'"),
    ("float version", lambda table, run: run.update(format_version=1.0), "expected, got 1.0"),
    ("true version", lambda table, run: run.update(format_version=True), "expected, got True"),
]  # fmt: skip


@pytest.mark.parametrize(("what", "change", "message"), HEADERS, ids=[h[0] for h in HEADERS])
def test_a_malformed_header_is_refused(
    path: Path, what: str, change: Callable[..., Any], message: str
) -> None:
    table, run, body = two_arrays(path)
    change(table, run)
    # Where names went missing, the spans must still tile the file for the check to be reached.
    body = body if "b" in table else body[:32]
    assert message in refusal(path, build(table, run, body))


TEXTS = [
    ("duplicate array", f'{{{MARKED}{{}}"}},"a":{{}},"a":{{}}}}', "a key that occurs twice"),
    ("duplicate key", f'{{{MARKED}{{\\"a\\":1,\\"a\\":1}}"}}}}', "a key that occurs twice"),
    ("cut JSON", f'{{{MARKED}{{}}"}}', "a table in JSON expected"),
    ("cut run header", f'{{{MARKED}{{"}}}}', "a run header in JSON expected"),
    ("run header no dict", f'{{{MARKED}[]"}}}}', "a run header in JSON expected, got list"),
    ("deep", f'{{{MARKED}{"[" * 100_000}"}}}}', "recursion"),
    ("many digits", f'{{{MARKED}{"1" * 5000}"}}}}', "4300 digits"),
    ("two seals", f'{{{MARKED}{{}}"}},{MARKED}{{}}"}}}}', "one seal in the header expected, got 2"),
    ("seal elsewhere", f'{{"a":{{{MARKED}{{}}"}}}}}}', "a run header expected, got None"),
    ("many values", f'{{{MARKED}[{"1," * 500_000}1]"}}}}', "at most 400000 values in the header"),
    ("not UTF-8", b'{"\xff":1,' + f"{MARKED}".encode() + b'{}"}}', "can't decode byte 0xff"),
]


@pytest.mark.parametrize(("what", "text", "message"), TEXTS, ids=[t[0] for t in TEXTS])
def test_a_malformed_text_is_refused(
    path: Path, what: str, text: str | bytes, message: str
) -> None:
    assert message in refusal(path, sealed(text, b""))


def test_a_header_beyond_the_limit_is_not_even_read() -> None:
    class Watched(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            assert size is not None and 0 < size < 1000
            return super().read(size)

    length = 100 << 20
    file = Watched(length.to_bytes(8, "little") + b"{" + b" " * 1000)
    with pytest.raises(CheckpointError, match=f"at most {8 << 20} bytes expected, got {length}"):
        tensorfile.read_header("here", file, 8 + length)


def test_a_bool_that_is_neither_true_nor_false_is_refused(path: Path) -> None:
    table, run, body = two_arrays(path)
    body = body[:-1] + b"\2"
    run["sha256"]["b"] = sha256(body[32:]).hexdigest()
    assert refusal(path, build(table, run, body)) == "bytes 0 and 1 in 'b' expected, got 2"


EDITS = st.lists(
    st.tuples(
        st.sampled_from(["replace", "insert", "delete", "repeat"]),
        st.integers(0, 10**6),
        st.binary(min_size=1, max_size=4) | st.sampled_from([b"{", b'"', b"[", b",", b"0", b"-"]),
    ),
    min_size=1,
    max_size=4,
)


def edited(content: bytes, edits: list[tuple[str, int, bytes]]) -> bytes:
    for kind, place, new in edits:
        at = place % (len(content) + 1)
        behind = content[at + (len(new) if kind != "insert" else 0) :]
        middle = {"delete": b"", "repeat": content[at : at + 40] * 2}.get(kind, new)
        content = content[:at] + middle + behind
    return content


@given(edits=EDITS, reseal=st.booleans())
def test_an_edited_file_meets_no_other_error(
    tmp_path_factory: pytest.TempPathFactory, edits: list[tuple[str, int, bytes]], reseal: bool
) -> None:
    path = tmp_path_factory.getbasetemp() / "edited.ckpt"
    save_checkpoint(path, *sample())
    good = path.read_bytes()
    if reseal:
        start = 8 + int.from_bytes(good[:8], "little")
        text = good[8:start].replace(good[:start].split(b'rnn":"')[1][:64], b"0" * 64)
        bad = sealed(edited(text, edits), good[start:])
    else:
        bad = edited(good, edits)
    path.write_bytes(bad)
    try:
        load_checkpoint(path)
    except CheckpointError:
        return
    assert reseal or bad == good
