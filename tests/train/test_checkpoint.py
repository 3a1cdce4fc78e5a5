"""Checkpoints come back bit for bit, and say what does not fit."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoint_files import same, sample
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from tinygrad_rnn._version import __version__
from tinygrad_rnn.errors import (
    CheckpointError,
)
from tinygrad_rnn.train import Checkpoint, load_checkpoint, save_checkpoint, tensorfile

codec = pytest.importorskip("safetensors.numpy")
DTYPES = [np.dtype(name) for name in tensorfile.CODES]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@settings(max_examples=settings.default.max_examples // 5)
@given(data=st.data())
def test_every_dtype_and_shape_comes_back_bit_for_bit(
    dtype: np.dtype[Any], tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.getbasetemp() / "round_trip.ckpt"
    shapes = array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=3)
    array = data.draw(arrays(dtype, shapes))  # NaNs with payloads and subnormals too
    save_checkpoint(path, {"x": array})
    loaded = load_checkpoint(path).tensors["x"]
    assert same(loaded, array)
    assert loaded.flags.writeable and loaded.flags.c_contiguous


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_layouts_that_are_not_dense_or_not_little_endian(
    dtype: np.dtype[Any], path: Path, rng: np.random.Generator
) -> None:
    base = rng.integers(0, 2, (5, 6)).astype(dtype)
    views = {
        "transposed": base.T,
        "strided": base[::2, 1::3],
        "reversed": base[::-1, ::-1],
        "broadcast": np.broadcast_to(base[0], (3, 6)),
        "fortran": np.asfortranarray(base),
        "big-endian": base.astype(dtype.newbyteorder(">")),
        "big-endian, strided": base.astype(dtype.newbyteorder(">"))[:, ::2],
        "scalar": base[1, 1, ...],
        "read-only": np.frombuffer(base.tobytes(), dtype),
    }
    save_checkpoint(path, views)
    loaded = load_checkpoint(path).tensors
    assert list(loaded) == list(views)
    assert [name for name in views if not same(loaded[name], views[name])] == []


def test_arrays_keep_the_order_of_saving_and_own_their_memory(path: Path) -> None:
    tensors = {"z": np.ones(2, "f2"), "a": np.ones(2), "m": np.ones(2, "f4")}
    save_checkpoint(path, tensors)
    loaded = load_checkpoint(path).tensors
    assert list(loaded) == ["z", "a", "m"]
    loaded["a"][:] = 7
    assert load_checkpoint(path).tensors["a"].tolist() == [1, 1]


def test_saving_changes_nothing_that_was_passed(path: Path) -> None:
    tensors, state = sample()
    before = {name: array.copy() for name, array in tensors.items()}, json.dumps(state)
    save_checkpoint(path, tensors, state)
    assert json.dumps(state) == before[1]
    assert all(same(tensors[name], before[0][name]) for name in before[0])


def test_no_arrays_and_no_state(path: Path) -> None:
    save_checkpoint(path, {})
    loaded = load_checkpoint(path)
    assert (loaded.tensors, loaded.state) == ({}, None)


def test_header_says_what_wrote_it(path: Path) -> None:
    tensors, state = sample()
    save_checkpoint(path, tensors, state, backend="cupy")
    header = load_checkpoint(path).header
    digests = {name: sha256(array.tobytes()).hexdigest() for name, array in tensors.items()}
    assert header == {
        "format_version": 1,
        "library_version": __version__,
        "numpy_version": np.__version__,
        "backend": "cupy",
        "dtypes": ["bool", "float16", "float32", "int64"],
        "sha256": digests,
    }


def test_equal_content_gives_equal_files(path: Path, good: bytes) -> None:
    save_checkpoint(path, *sample())
    assert path.read_bytes() == good


def test_other_programs_read_the_arrays(path: Path, good: bytes) -> None:
    loaded = codec.load_file(path)
    tensors, _ = sample()
    assert loaded.keys() == tensors.keys()
    assert all(same(loaded[name], tensors[name]) for name in tensors)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**200), 2**200)
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text('ab"\\{}: ,\n\0é漢'), inner),
)


@given(state=JSON)
def test_any_json_state_comes_back(tmp_path_factory: pytest.TempPathFactory, state: Any) -> None:
    path = tmp_path_factory.getbasetemp() / "state.ckpt"
    save_checkpoint(path, {}, state)
    loaded = load_checkpoint(path).state
    assert loaded == state and repr(loaded) == repr(state)  # repr tells 1 from 1.0 and -0.0


def test_nan_tuples_and_numpy_scalars_in_the_state(path: Path) -> None:
    scalars = [np.float32(0.5), np.float64(0.1), np.int64(-3), np.bool_(True)]
    save_checkpoint(path, {}, {"nan": float("nan"), "pair": (1, (2,)), "scalars": scalars})
    state = load_checkpoint(path).state
    assert np.isnan(state["nan"]) and state["pair"] == [1, [2]]
    assert repr(state["scalars"]) == "[0.5, 0.1, -3, True]"


@pytest.mark.parametrize("name", ["PCG64", "PCG64DXSM", "MT19937", "Philox", "SFC64"])
def test_a_random_generator_continues_where_it_was(path: Path, name: str) -> None:
    generator = np.random.Generator(getattr(np.random, name)(11))
    generator.integers(10, size=5, dtype=np.int32)  # leaves half of a 64-bit word in the state
    save_checkpoint(path, {}, {"rng": generator.bit_generator.state})
    other = np.random.Generator(getattr(np.random, name)(0))
    other.bit_generator.state = load_checkpoint(path).state["rng"]
    assert (other.integers(2**31, size=99) == generator.integers(2**31, size=99)).all()
    assert (other.normal(size=99) == generator.normal(size=99)).all()


def test_a_text_that_looks_like_the_seal_is_only_text(path: Path) -> None:
    mark = f'"{tensorfile.MARK}":"{tensorfile.UNSEALED} '
    save_checkpoint(path, {mark: np.ones(1)}, {mark: mark})
    loaded = load_checkpoint(path)
    assert loaded.state == {mark: mark} and list(loaded.tensors) == [mark]

    # ------------------------------------------------------------------------------------- expect


def test_a_checkpoint_that_fits_is_returned() -> None:
    checkpoint = Checkpoint({"w": np.zeros((2, 3), "f4")}, {"step": 1, "more": 2}, {})
    assert checkpoint.expect({"w": np.ones((2, 3), "f4")}, ["step"]) is checkpoint


def test_all_differences_are_listed_at_once() -> None:
    have = {"w": np.zeros(2), "b": np.zeros(3), "old": np.zeros(1)}
    need = {"w": np.zeros(2, "f4"), "b": np.zeros((3, 1)), "new": np.zeros(1)}
    with pytest.raises(CheckpointError) as caught:
        Checkpoint(have, {"step": 1}, {}).expect(need, ["step", "rng", "epoch"])
    assert str(caught.value) == (
        "Checkpoint.expect: a checkpoint that fits expected, got these differences: "
        "'new' is missing; 'old' is unexpected; "
        "'w' is float64 (2,) where float32 (2,) is needed; "
        "'b' is float64 (3,) where float64 (3, 1) is needed; "
        "state 'rng' is missing; state 'epoch' is missing"
    )


def test_a_state_that_is_no_dict_has_no_keys() -> None:
    with pytest.raises(CheckpointError, match="state 'step' is missing"):
        Checkpoint({}, 5, {}).expect({}, ["step"])
