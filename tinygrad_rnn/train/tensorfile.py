"""The layout of a checkpoint file, checked before a byte of it is believed.

A checkpoint is a safetensors file: an 8-byte length, a JSON table of the arrays, the arrays.

    length | {"__metadata__": {"tinygrad_rnn": "<sha256> <run header>"}, name: {…}, …} | arrays

The run header is JSON text that names the run and gives the SHA-256 of every array. ``<sha256>``
seals the length and the whole table, run header included, with 64 zeros in its own place. So
every bit of the file is under a checksum. The seal keeps its place in every format version.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from hashlib import sha256
from math import prod
from reprlib import repr as brief
from typing import Any, BinaryIO

import numpy as np

from ..errors import CheckpointError

__all__ = [
    "CODES",
    "FORMAT_VERSION",
    "Layout",
    "MARK",
    "UNSEALED",
    "check_arrays",
    "flaw_of_name",
    "read_header",
    "read_layout",
    "seal",
]

FORMAT_VERSION = 1
MARK = "tinygrad_rnn"
UNSEALED = "0" * 64
MAX_HEADER = 8 << 20  # bytes; a run header is small, and a hostile one must stay harmless
MAX_VALUES = 400_000  # of JSON, each of which costs far more memory than its text
MAX_NAME = 512
MAX_RANK = 64  # NumPy's

CODES = {
    "bool": "BOOL", "int8": "I8", "int16": "I16", "int32": "I32", "int64": "I64",
    "uint8": "U8", "uint16": "U16", "uint32": "U32", "uint64": "U64",
    "float16": "F16", "float32": "F32", "float64": "F64",
}  # fmt: skip
_ITEMSIZE = {code: np.dtype(name).itemsize for name, code in CODES.items()}
# Quotes inside JSON strings are escaped, so only the metadata key itself can match.
_SEAL = re.compile(rf'"{MARK}":"([0-9a-f]{{64}}) '.encode())
# The NUL would make it the length of a header cut short.
_PICKLE = re.compile(rb"\x80[\x02-\x05][^\0]|\([dl]p|[}\]]q\x00")
_MAGIC = (
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
    (b"\x93NUMPY", "a NumPy .npy file"),
    (b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.", "an old PyTorch file (a pickle)"),
    (b"GGUF", "a GGUF file"),
    (b"\x1f\x8b", "a gzip file"),
)
_NO_PICKLE = "a pickle can run any code, so it is never opened; export its arrays to a checkpoint"


@dataclass(frozen=True, slots=True)
class Entry:
    """One array: type code, sizes, and the half-open span of bytes after the header."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


@dataclass(frozen=True, slots=True)
class Layout:
    """A header that has passed every check: where each array lies, and the run header."""

    start: int
    entries: tuple[Entry, ...]
    run: dict[str, Any]


def seal(blob: bytes) -> tuple[bytes, memoryview]:
    """Split a freshly written file into its header, now sealed, and its arrays."""
    start = 8 + int.from_bytes(blob[:8], "little")
    header = blob[:start]
    digest = sha256(header).hexdigest().encode()
    return header.replace(_mark(UNSEALED), _mark(digest.decode()), 1), memoryview(blob)[start:]


def _mark(digest: str) -> bytes:
    return f'"{MARK}":"{digest} '.encode()


def read_header(where: str, file: BinaryIO, size: int) -> bytes:
    """Read the length and the header, if they can be those of a safetensors file.

    Raises:
        CheckpointError: the file is empty, cut short, or of another kind, which is named.
    """
    head = file.read(512)
    if not head:
        raise CheckpointError(where, "a checkpoint", "an empty file")
    length = int.from_bytes(head[:8], "little")
    if len(head) < 10 or head[8:9] != b"{" or length > size - 8:
        raise _foreign(where, head)
    _check_length(where, length)
    file.seek(0)
    return file.read(8 + length)


def _check_length(where: str, length: int) -> None:
    _require(where, f"a header of at most {MAX_HEADER} bytes", length <= MAX_HEADER, length)


def _foreign(where: str, head: bytes) -> CheckpointError:
    kind = next((kind for magic, kind in _MAGIC if head.startswith(magic)), None)
    if head.startswith(b"PK\x03\x04"):
        kind = _kind_of_zip(head)
    elif kind is None and _PICKLE.match(head):
        kind = "a Python pickle"
    hint = _NO_PICKLE if kind and ("PyTorch" in kind or "pickle" in kind) else None
    return CheckpointError(where, "a checkpoint", kind or "a foreign, cut or damaged file", hint)


def _kind_of_zip(head: bytes) -> str:
    if b".pkl" in head:
        return "a PyTorch file (a zip archive with a pickle)"
    return "a NumPy .npz file" if b".npy" in head else "a zip archive"


def read_layout(where: str, header: bytes, size: int) -> Layout:
    """Check a header against its seal and the file's size, and take it apart.

    Raises:
        CheckpointError: anything at all is not as this version writes it.
    """
    _check_length(where, len(header) - 8)
    _check_seal(where, header)
    _require(where, f"at most {MAX_VALUES} values in the header", *_few_values(header))
    table = _parse(where, "table", header[8:])
    run = _read_run(where, table.pop("__metadata__", None))
    entries = sorted((_entry(where, *item) for item in table.items()), key=_span)
    _check_spans(where, entries, size - len(header))
    _check_digests_listed(where, run, {entry.name for entry in entries})
    return Layout(len(header), tuple(entries), run)


def check_arrays(where: str, layout: Layout, body: memoryview) -> None:
    """Compare the bytes of every array with their checksum, naming the first that differs."""
    for entry in layout.entries:
        data = body[entry.begin : entry.end]
        intact = sha256(data).hexdigest() == layout.run["sha256"][entry.name]
        _require(where, f"array {entry.name!r} as it was saved", intact, "damaged bytes")
        if entry.dtype == "BOOL" and data:
            largest = int(np.frombuffer(data, np.uint8).max())
            _require(where, f"bytes 0 and 1 in {entry.name!r}", largest <= 1, largest)


def flaw_of_name(name: object) -> str | None:
    """What is wrong with an array's name, if anything.

    >>> flaw_of_name("lstm.weight_ih_l0"), flaw_of_name("../x")
    (None, 'a part that is empty, "." or ".."')
    """
    if not isinstance(name, str):
        return f"a {type(name).__name__}"
    if not 0 < len(name) <= MAX_NAME:
        return f"{len(name)} characters"
    if not name.isprintable() or "\\" in name:
        return "an unprintable character or a backslash"
    if not {"", ".", ".."}.isdisjoint(name.split("/")):
        return 'a part that is empty, "." or ".."'
    return "a name the format keeps for itself" if name == "__metadata__" else None


def _require(where: str, expected: str, fulfilled: bool, got: object) -> None:
    if not fulfilled:
        raise CheckpointError(where, expected, got)


def _check_seal(where: str, header: bytes) -> None:
    found = _SEAL.findall(header)
    if not found and MARK.encode() not in header:
        hint = "safetensors.numpy.load_file reads its arrays; load_state_dict takes them"
        raise CheckpointError(where, "a checkpoint", "a safetensors file of another program", hint)
    _require(where, "one seal in the header", len(found) == 1, len(found))
    digest = found[0].decode()
    zeroed = header.replace(_mark(digest), _mark(UNSEALED), 1)
    _require(where, "a header as it was saved", sha256(zeroed).hexdigest() == digest, "damage")


def _few_values(header: bytes) -> tuple[bool, int]:
    count = sum(header.count(mark) for mark in (b",", b"[", b"{"))
    return count <= MAX_VALUES, count


def _parse(where: str, what: str, text: str | bytes) -> dict[str, Any]:
    try:
        parsed = json.loads(text, object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(where, f"a {what} in JSON", error) from None
    _require(where, f"a {what} in JSON", isinstance(parsed, dict), type(parsed).__name__)
    return parsed


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(unique := dict(pairs)) != len(pairs):
        raise ValueError("a key that occurs twice")
    return unique


def _read_run(where: str, metadata: object) -> dict[str, Any]:
    text = metadata.get(MARK) if isinstance(metadata, dict) else None
    if not isinstance(text, str):
        raise CheckpointError(where, "a run header", brief(metadata))
    run = _parse(where, "run header", text[len(UNSEALED) :])
    _check_version(where, run.get("format_version"))
    return run


def _check_version(where: str, version: object) -> None:
    hint = None
    if type(version) is int and version > FORMAT_VERSION:
        hint = "a newer tinygrad_rnn wrote it: upgrade to read it"
    if type(version) is not int or version != FORMAT_VERSION:
        expected = f"format version {FORMAT_VERSION}"
        raise CheckpointError(where, expected, brief(version), hint)


def _check_digests_listed(where: str, run: dict[str, Any], names: set[str]) -> None:
    listed = run.get("sha256")
    if not isinstance(listed, dict) or "state" not in run:
        raise CheckpointError(where, "'sha256' and 'state' in the run header", brief(sorted(run)))
    absent, unlisted = sorted(listed.keys() - names), sorted(names - listed.keys())
    same = not absent and not unlisted
    _require(
        where, "the arrays it lists", same, f"absent {brief(absent)}, unlisted {brief(unlisted)}"
    )


def _entry(where: str, name: str, value: object) -> Entry:
    flaw = flaw_of_name(name)
    _require(where, "a usable name for every array", flaw is None, flaw)
    if not isinstance(value, dict) or value.keys() != {"dtype", "shape", "data_offsets"}:
        raise CheckpointError(where, f"dtype, shape and data_offsets of {name!r}", brief(value))
    dtype, shape, span = value["dtype"], value["shape"], value["data_offsets"]
    _require(where, f"a known dtype of {name!r}", _is_code(dtype), brief(dtype))
    _require(
        where, f"sizes of {name!r}", _are_sizes(shape) and len(shape) <= MAX_RANK, brief(shape)
    )
    _require(where, f"offsets of {name!r}", _are_sizes(span) and len(span) == 2, brief(span))
    return Entry(name, dtype, tuple(shape), *span)


def _is_code(value: object) -> bool:
    return isinstance(value, str) and value in _ITEMSIZE


def _are_sizes(value: object) -> bool:
    return isinstance(value, list) and all(type(n) is int and 0 <= n < 2**63 for n in value)


def _span(entry: Entry) -> tuple[int, int]:
    return entry.begin, entry.end


def _check_spans(where: str, entries: list[Entry], total: int) -> None:
    """The spans must tile the bytes after the header: no overlap, no hole, nothing behind."""
    ends = [0, *(entry.end for entry in entries)]
    for entry, end in zip(entries, ends, strict=False):
        _require(where, f"{entry.name!r} to begin at {end}", entry.begin == end, entry.begin)
        # Sizes beyond memory overflow in NumPy even where another size is 0.
        need = prod(n for n in entry.shape if n) * _ITEMSIZE[entry.dtype]
        _require(where, f"{entry.name!r} to be addressable", need < 2**63, brief(entry.shape))
        need = 0 if 0 in entry.shape else need
        got = entry.end - entry.begin
        _require(where, f"{need} bytes for {entry.name!r}", got == need, got)
    hint = "the file was cut short or something was appended"
    if ends[-1] != total:
        raise CheckpointError(where, f"{ends[-1]} bytes after the header", total, hint)
