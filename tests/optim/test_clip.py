"""Clipping: the norm after is min(norm, θ), also where powers of the gradients would overflow."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optim_reference import gradients, host, start, tensors

import tinygrad_rnn as tg
from tinygrad_rnn import optim
from tinygrad_rnn.errors import ArgumentError, DTypeError, InPlaceError, TrainingError


def with_gradients(*gradients: Any, device: str = "cpu") -> list[tg.Tensor]:
    params = []
    for g in gradients:
        array = np.asarray(g)
        param = tg.tensor(np.zeros_like(array), device=device, requires_grad=True)
        param.grad = tg.tensor(array, device=device)
        params.append(param)
    return params


def grads(params: list[tg.Tensor]) -> np.ndarray:
    found = [host(p.grad).ravel().astype(np.float64) for p in params if p.grad is not None]
    return np.concatenate(found)


@pytest.mark.parametrize("norm_type", [0.5, 1.0, 2.0, 2.5, 4.0, math.inf])
@pytest.mark.parametrize("share", [0.1, 0.999, 1.001, 10.0])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_norm_after_is_the_smaller_of_norm_and_bound(
    dtype: str, share: float, norm_type: float, device: str, rng: np.random.Generator
) -> None:
    params = tensors(start(rng, dtype), device)
    for param, g in zip(params, next(gradients(rng, dtype, 1, missing=True)), strict=True):
        param.grad = None if g is None else tg.tensor(g, device=device)
    before = grads(params)
    norm = np.linalg.norm(before, norm_type)
    returned = optim.clip_grad_norm_(params, share * norm, norm_type)
    scale = 1e-5 if dtype == "float32" else 1e-13
    assert returned.shape == () and returned.dtype == np.dtype(dtype)
    assert returned.device == device
    assert returned.item() == pytest.approx(norm, rel=scale)
    assert np.linalg.norm(grads(params), norm_type) == pytest.approx(
        min(norm, share * norm), rel=scale
    )
    np.testing.assert_allclose(grads(params), before * min(1.0, share), rtol=scale)
    if share > 1:
        np.testing.assert_array_equal(grads(params), before)


@given(
    st.lists(st.floats(-1e3, 1e3, width=32), min_size=1, max_size=20),
    st.floats(1e-3, 1e3),
    st.floats(-25, 25),
)
def test_any_scale_of_float32(values: list[float], bound: float, exponent: float) -> None:
    g = (np.array(values) * 10.0**exponent).astype(np.float32)
    params = with_gradients(g)
    norm = float(np.linalg.norm(g.astype(np.float64)))
    optim.clip_grad_norm_(params, bound)
    after = np.linalg.norm(grads(params))
    assert after == pytest.approx(min(norm, bound), rel=1e-5, abs=1e-40)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_norms_whose_squares_overflow(dtype: str, device: str) -> None:
    largest = float(np.finfo(dtype).max) / 8
    params = with_gradients(np.full(16, largest, dtype), device=device)
    assert optim.clip_grad_norm_(params, 1.0).item() == pytest.approx(largest * 4, rel=1e-3)
    np.testing.assert_allclose(grads(params), 0.25, rtol=1e-3)


@pytest.mark.parametrize("size", [1e-30, 1e-21])  # squares that vanish, and that lose digits
def test_norms_whose_squares_are_too_small(size: float) -> None:
    params = with_gradients(np.full(4, size, np.float32))
    assert optim.clip_grad_norm_(params, size).item() == pytest.approx(2 * size, rel=1e-6)
    np.testing.assert_allclose(grads(params), 0.5 * size, rtol=1e-6)


@pytest.mark.parametrize(("norm_type", "norm"), [(1.0, 70000), (2.0, 70000**0.5)])
def test_sums_that_float16_cannot_hold(norm_type: float, norm: float, device: str) -> None:
    params = with_gradients(np.ones(70000, np.float16), device=device)
    optim.clip_grad_norm_(params, norm / 2, norm_type)
    np.testing.assert_allclose(grads(params), 0.5, rtol=1e-3)


def test_a_norm_beyond_the_dtype_still_clips() -> None:
    params = with_gradients(np.full(64, 3e38, np.float32))
    assert optim.clip_grad_norm_(params, 8.0).item() == math.inf  # 2.4e39 is no float32
    np.testing.assert_allclose(grads(params), 1.0, rtol=1e-6)


def test_dtypes_side_by_side() -> None:
    params = with_gradients(np.float32(3.0), np.float64(4.0), np.float16(12.0))
    assert optim.clip_grad_norm_(params, 1.3).item() == pytest.approx(13.0)
    np.testing.assert_allclose(grads(params), [0.3, 0.4, 1.2], rtol=1e-3)
    kinds = [p.grad.dtype for p in params if p.grad is not None]
    assert kinds == [tg.float32, tg.float64, tg.float16]


def test_one_tensor_and_no_gradient(device: str) -> None:
    x = tg.tensor([1.0], device=device, requires_grad=True)
    norm = optim.clip_grad_norm_(x, 1.0)
    assert (norm.item(), norm.dtype, norm.device) == (0.0, tg.float32, device)
    assert optim.clip_grad_norm_([x, tg.zeros(0, device=device)], 1.0, math.inf).item() == 0.0
    optim.clip_grad_value_(x, 1.0)
    assert x.grad is None


def test_a_gradient_in_two_places_counts_and_is_scaled_once() -> None:
    x, y = with_gradients([6.0, 8.0], [0.0, 0.0])
    y.grad = x.grad
    assert optim.clip_grad_norm_([x, y, x], 5.0).item() == pytest.approx(10.0)
    assert grads([x]) == pytest.approx([3.0, 4.0])


def test_measuring_changes_nothing() -> None:
    params = with_gradients([3e30, 4e30])
    assert optim.clip_grad_norm_(params, math.inf).item() == pytest.approx(5e30)
    assert grads(params).tolist() == [3e30, 4e30]


@pytest.mark.parametrize("writeable", [False, True])
def test_memory_that_is_not_the_gradients_own_is_left_alone(writeable: bool) -> None:
    x = tg.zeros(2, 3, requires_grad=True)
    row = np.array([3.0, 0.0, 4.0], np.float32)
    strides = (0, row.itemsize)
    x.grad = tg.Tensor(np.lib.stride_tricks.as_strided(row, (2, 3), strides, writeable=writeable))
    optim.clip_grad_norm_([x], math.sqrt(50) / 2)
    np.testing.assert_allclose(host(x.grad), [row / 2] * 2, rtol=1e-6)
    assert row.tolist() == [3.0, 0.0, 4.0]


def test_transposed_gradients_are_clipped_in_place() -> None:
    x = tg.zeros(2, 2, requires_grad=True)
    whole = np.array([[0.0, 3.0], [4.0, 0.0]], order="F")
    x.grad = g = tg.Tensor(whole.astype(np.float32, order="F"))
    optim.clip_grad_norm_([x], 2.5)
    assert x.grad is g
    np.testing.assert_allclose(host(g), whole / 2, rtol=1e-6)


def test_a_clipped_gradient_that_backward_needs_is_known_to_have_changed() -> None:
    x = tg.tensor([3.0], requires_grad=True)
    (x * x * x).sum().backward(create_graph=True)
    assert x.grad is not None
    y = (x.grad * x.grad).sum()
    optim.clip_grad_norm_([x], 1.0)
    with pytest.raises(InPlaceError):
        y.backward()


# ------------------------------------------------------------------------------ by value
def test_clipping_by_value(device: str, rng: np.random.Generator) -> None:
    g = rng.standard_normal((3, 4))
    params = with_gradients(g, np.array([0.5, -0.5]), device=device)
    params.append(tg.zeros(3, device=device, requires_grad=True))
    optim.clip_grad_value_(params, 0.5)
    np.testing.assert_array_equal(grads(params[:1]), np.clip(g, -0.5, 0.5).ravel())
    assert grads(params[1:2]).tolist() == [0.5, -0.5]
    assert params[2].grad is None


def test_infinity_is_clipped_by_value_and_nan_stays() -> None:
    params = with_gradients([math.inf, -math.inf, math.nan])
    optim.clip_grad_value_(params, 2.0)
    np.testing.assert_array_equal(grads(params), [2.0, -2.0, math.nan])


# -------------------------------------------------------------------------------- errors
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("clip", [optim.clip_grad_norm_, optim.clip_grad_value_])
def test_gradients_that_are_not_finite_can_be_refused(clip: Any, bad: float, device: str) -> None:
    params = with_gradients([3.0, 4.0], [1.0, bad], device=device)
    with pytest.raises(TrainingError, match=f"{clip.__name__}.*in parameter 1"):
        clip(params, 1.0, error_if_nonfinite=True)
    np.testing.assert_array_equal(grads(params), [3.0, 4.0, 1.0, bad])


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_gradients_that_are_not_finite_spread_as_in_pytorch(bad: float) -> None:
    params = with_gradients([3.0, 4.0], [1.0, bad])
    np.testing.assert_equal(optim.clip_grad_norm_(params, 1.0).item(), bad)
    expected = [bad * 0.0 if math.isinf(bad) else bad] * 4
    expected[:3] = [0.0] * 3 if math.isinf(bad) else [bad] * 3
    np.testing.assert_array_equal(grads(params), expected)


@pytest.mark.parametrize("bad", [0, 0.0, -1.0, math.nan, -math.inf, "1", None, True])
@pytest.mark.parametrize(
    ("clip", "name"), [(optim.clip_grad_norm_, "max_norm"), (optim.clip_grad_value_, "clip_value")]
)
def test_bounds_that_are_not_positive_numbers(clip: Any, name: str, bad: Any) -> None:
    params = with_gradients([3.0, 4.0])
    with pytest.raises(ArgumentError, match=f"{clip.__name__}: {name}"):
        clip(params, bad)
    assert grads(params).tolist() == [3.0, 4.0]


@pytest.mark.parametrize("bad", [0, -1.0, math.nan, "2"])
def test_norm_types_that_are_none(bad: Any) -> None:
    with pytest.raises(ArgumentError, match="norm_type"):
        optim.clip_grad_norm_(with_gradients([1.0]), 1.0, bad)


@pytest.mark.parametrize("clip", [optim.clip_grad_norm_, optim.clip_grad_value_])
def test_what_has_no_gradients_to_clip(clip: Any) -> None:
    with pytest.raises(ArgumentError, match="used up"):
        clip(iter([]), 1.0)
    for wrong in ([np.ones(3)], [None], 3, "weights"):
        with pytest.raises(DTypeError, match="tensors whose gradients"):
            clip(wrong, 1.0)
